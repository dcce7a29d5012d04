/* SPDX-License-Identifier: Apache-2.0 */
/* Two brokers are spoken to in AMQP, whatever they are called: both ends have the same client. */
#include "cli/amqp/drain.h"

#include <stdlib.h>
#include <string.h>

#include "cli/amqp/drain_flow.h"
#include "cli/command/interrupt.h"
#include "cli/command/whole_number.h"
#include "cli/output/output.h"
#include "cli/output/progress.h"

enum {
    DRAIN_TO,
    DRAIN_TO_EXCHANGE,
    DRAIN_TARGET,
    DRAIN_LIMIT,
    DRAIN_RATE,
    DRAIN_PREFETCH,
    DRAIN_FOLLOW,
    DRAIN_DROP_USER_ID,
    DRAIN_DRY_RUN,
};

enum {
    PREFETCH = 500,
    PREFETCH_MAX = 10000,
    WAIT_MS = 50,
    QUIET_MS = 200,   /* before the source is asked whether it is empty */
    STUCK_MS = 15000, /* it has messages and hands out none */
    CONFIRM_WAIT_MS = 10000,
};

static const char TARGET[] = "amqp://127.0.0.1:5672/";

const struct command_option drain_options[DRAIN_OPTION_COUNT] = {
    [DRAIN_TO] = {"to", "NAME", "the queue of the target that gets them"},
    [DRAIN_TO_EXCHANGE] = {"exchange", "NAME",
                           "instead: the exchange of the target, under the keys that they have"},
    [DRAIN_TARGET] = {"target", "ADDRESS",
                      "the target: amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST], @FILE or "
                      "env:NAME that hold one (amqp://127.0.0.1:5672/, as guest)"},
    [DRAIN_LIMIT] = {"limit", "NUMBER", "so many at most, from the front"},
    [DRAIN_RATE] = {"rate", "NUMBER", "so many a second at most"},
    [DRAIN_PREFETCH] = {"prefetch", "NUMBER", "so many under way at most: 1 to 10000 (500)"},
    [DRAIN_FOLLOW] = {"follow", NULL, "go on when it is empty, until interrupted"},
    [DRAIN_DROP_USER_ID] = {"drop-user-id", NULL,
                            "leave away the property user-id where it names somebody else"},
    [DRAIN_DRY_RUN] = {"dry-run", NULL, "say how many there are, and leave them there"},
};

struct drain {
    const struct command_line *line;
    const struct command_io *io;
    struct output output;
    struct amqp_address source_address, target_address;
    struct amqp_client *source, *target;
    struct drain_flow flow;
    struct progress progress;
    uint64_t total; /* in the source at first */
    uint64_t prefetch;
    uint64_t moved_ms;  /* when something moved last */
    uint64_t asked_ms;  /* whether the source is empty; 0: not since something moved */
    uint64_t ending_ms; /* since when only confirms are waited for; 0: it goes on */
    bool was_interrupted;
};

/* What is wanted ----------------------------------------------------------------------------- */

static int
read_numbers(struct drain *drain)
{
    uint64_t rate = 0;
    drain->prefetch = PREFETCH;
    const struct command_line *line = drain->line;
    int result = whole_number_read(&drain->prefetch, line, DRAIN_PREFETCH, PREFETCH_MAX, drain->io);
    if (result == COMMAND_OK) {
        result = whole_number_read(&rate, line, DRAIN_RATE, UINT32_MAX, drain->io);
    }
    drain_flow_init(&drain->flow, (uint32_t)drain->prefetch);
    drain->flow.rate = (double)rate;
    return result == COMMAND_OK
               ? whole_number_read(&drain->flow.limit, line, DRAIN_LIMIT, INT64_MAX, drain->io)
               : result;
}

static int
read_wish(struct drain *drain)
{
    const char *const *options = drain->line->options;
    const char *to = options[DRAIN_TO];
    const char *exchange = options[DRAIN_TO_EXCHANGE];
    const char *name = to != NULL ? to : exchange;
    if ((to == NULL) == (exchange == NULL)) {
        return command_misused(drain->io, "say where they go: --to QUEUE, or --exchange "
                                          "EXCHANGE");
    }
    if (name[0] == '\0' || strlen(name) > UINT8_MAX || !bytes_is_utf8(bytes_of(name))) {
        return command_misused(drain->io, "a name has 1 to 255 octets of UTF-8");
    }
    int result =
        amqp_address_read(&drain->source_address, drain->line->operands[0], true, drain->io);
    if (result == COMMAND_OK) {
        const char *target = options[DRAIN_TARGET];
        result = amqp_address_read(&drain->target_address, target != NULL ? target : TARGET, false,
                                   drain->io);
    }
    drain->flow.source_queue = drain->source_address.queue;
    drain->flow.target_queue = to;
    drain->flow.target_exchange = exchange;
    drain->flow.drops_user_id = options[DRAIN_DROP_USER_ID] != NULL;
    const char *user = drain->target_address.user;
    drain->flow.target_user = user != NULL ? user : "guest";
    return result;
}

/* Beginning ---------------------------------------------------------------------------------- */

static struct method
passive_declare(const char *queue)
{
    return (struct method){
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(queue), .passive = true},
    };
}

/* Looks whether there is what the names say. */
static int
look_at_source(struct drain *drain)
{
    struct method declare = passive_declare(drain->source_address.queue);
    struct method answer;
    int result = amqp_client_call(drain->source, &declare, METHOD_QUEUE_DECLARE_OK, &answer);
    if (result != COMMAND_OK) {
        return result;
    }
    drain->total = answer.queue_declare_ok.message_count;
    if (answer.queue_declare_ok.consumer_count > 0) {
        output_done(&drain->output,
                    "the source has %u consumers, which take messages as well: what they get does "
                    "not come here",
                    answer.queue_declare_ok.consumer_count);
    }
    return COMMAND_OK;
}

static int
look_at_exchange(struct drain *drain)
{
    struct method declare = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(drain->flow.target_exchange), .passive = true},
    };
    return amqp_client_call(drain->target, &declare, METHOD_EXCHANGE_DECLARE_OK, NULL);
}

static int
look_at_target(struct drain *drain, uint32_t *count_out)
{
    *count_out = 0;
    if (drain->flow.target_queue == NULL) {
        return look_at_exchange(drain);
    }
    struct method declare = passive_declare(drain->flow.target_queue);
    struct method answer;
    int result = amqp_client_call(drain->target, &declare, METHOD_QUEUE_DECLARE_OK, &answer);
    *count_out = result == COMMAND_OK ? answer.queue_declare_ok.message_count : 0;
    return result;
}

/* Its messages would go round for ever. */
static int
refuse_circle(const struct drain *drain)
{
    const char *to = drain->flow.target_queue;
    bool is_circle = to != NULL && strcmp(to, drain->source_address.queue) == 0 &&
                     strcmp(drain->target_address.vhost, drain->source_address.vhost) == 0 &&
                     amqp_clients_share_peer(drain->source, drain->target);
    return is_circle ? amqp_client_error(drain->target, COMMAND_FAILED,
                                         "this is the source itself: name another broker with "
                                         "--target, or another queue with --to")
                     : COMMAND_OK;
}

static int
begin_flow(struct drain *drain)
{
    struct method confirm = {.id = METHOD_CONFIRM_SELECT};
    struct method qos = {
        .id = METHOD_BASIC_QOS,
        .basic_qos = {.prefetch_count = (uint16_t)drain->prefetch},
    };
    struct method consume = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(drain->source_address.queue)},
    };
    int result = amqp_client_call(drain->target, &confirm, METHOD_CONFIRM_SELECT_OK, NULL);
    if (result == COMMAND_OK) {
        result = amqp_client_call(drain->source, &qos, METHOD_BASIC_QOS_OK, NULL);
    }
    return result == COMMAND_OK
               ? amqp_client_call(drain->source, &consume, METHOD_BASIC_CONSUME_OK, NULL)
               : result;
}

/* Under way ---------------------------------------------------------------------------------- */

static uint64_t
expected_count(const struct drain *drain)
{
    uint64_t limit = drain->flow.limit;
    bool is_endless = drain->line->options[DRAIN_FOLLOW] != NULL;
    return is_endless ? limit : limit != 0 && limit < drain->total ? limit : drain->total;
}

static void
show_progress(struct drain *drain)
{
    uint64_t expected = expected_count(drain);
    uint64_t done = drain->flow.done_count;
    const char *state = amqp_client_is_blocked(drain->target) ? "the target blocks publishers" : "";
    if (expected == 0) {
        progress_show(&drain->progress, done, 0, "%llu messages  %s", (unsigned long long)done,
                      state);
    } else {
        progress_show(&drain->progress, done, expected, "%llu of %llu  %s",
                      (unsigned long long)done, (unsigned long long)expected, state);
    }
}

/* The source has nothing for us: is it empty, or does it hand out nothing? */
static void
doubt_source(struct drain *drain, uint64_t now_ms)
{
    bool is_quiet = now_ms - drain->moved_ms >= QUIET_MS && drain_flow_is_empty(&drain->flow);
    if (!is_quiet || drain->line->options[DRAIN_FOLLOW] != NULL || drain->flow.is_ending) {
        return;
    }
    if (now_ms - drain->moved_ms >= STUCK_MS) {
        drain->flow.result = amqp_client_error(
            drain->source, COMMAND_FAILED,
            "the queue holds messages and hands out none: has it another single active consumer, "
            "or is it paused?");
        drain_flow_end(&drain->flow);
    } else if (now_ms - drain->asked_ms >= QUIET_MS) {
        struct method declare = passive_declare(drain->source_address.queue);
        amqp_client_send(drain->source, &declare);
        drain->asked_ms = now_ms;
    }
}

/* Confirms that do not come are not waited for. */
static bool
waits_too_long(struct drain *drain, uint64_t now_ms)
{
    if (!drain->flow.is_ending) {
        return false;
    }
    drain->ending_ms = drain->ending_ms == 0 ? now_ms : drain->ending_ms;
    return now_ms - drain->ending_ms > CONFIRM_WAIT_MS;
}

static void
heed_interrupt(struct drain *drain)
{
    if (interrupt_came() && !drain->was_interrupted) {
        drain->was_interrupted = true;
        drain_flow_end(&drain->flow);
    }
}

/* One turn. False: it is over. */
static bool
turn(struct drain *drain)
{
    struct amqp_client *const clients[] = {drain->source, drain->target};
    uint64_t before = drain->flow.published;
    bool was_idle;
    int64_t count;
    heed_interrupt(drain);
    bool goes_on = drain_flow_turn(&drain->flow, &was_idle, &count);
    uint64_t now_ms = amqp_client_now_ms();
    if (drain->flow.published != before || !was_idle) {
        drain->moved_ms = now_ms;
    }
    if (count == 0 && drain_flow_is_empty(&drain->flow)) {
        drain_flow_end(&drain->flow);
        return false;
    }
    if (!goes_on || waits_too_long(drain, now_ms)) {
        return false;
    }
    doubt_source(drain, now_ms);
    show_progress(drain);
    int wait_ms = was_idle || drain->flow.is_ending ? WAIT_MS : drain->flow.rate > 0 ? 5 : WAIT_MS;
    int result = amqp_clients_wait(clients, 2, wait_ms);
    drain->flow.result = drain->flow.result == COMMAND_OK ? result : drain->flow.result;
    return result == COMMAND_OK;
}

/* The end ------------------------------------------------------------------------------------ */

static void
say_end(const struct drain *drain)
{
    const struct drain_flow *flow = &drain->flow;
    if (drain->output.format == OUTPUT_JSON) {
        json_t *answer =
            json_pack("{s:I, s:I, s:b}", "drained", (json_int_t)flow->done_count, "redelivered",
                      (json_int_t)flow->again_count, "interrupted", drain->was_interrupted);
        output_json(&drain->output, answer);
        json_decref(answer);
        return;
    }
    output_done(&drain->output, "%llu message%s drained", (unsigned long long)flow->done_count,
                flow->done_count == 1 ? "" : "s");
    if (flow->again_count > 0) {
        output_done(&drain->output,
                    "%llu had been delivered before: a run that was killed may have brought them "
                    "here once already",
                    (unsigned long long)flow->again_count);
    }
}

static int
judge_end(const struct drain *drain)
{
    const struct drain_flow *flow = &drain->flow;
    if (flow->result == COMMAND_OK && !drain_flow_is_empty(flow)) {
        return amqp_client_error(drain->target, COMMAND_FAILED,
                                 "it has not confirmed %llu messages; they stay in the source, and "
                                 "may come twice when this is run again",
                                 (unsigned long long)(flow->published - flow->settled));
    }
    bool is_early = drain->was_interrupted && drain->line->options[DRAIN_FOLLOW] == NULL;
    if (flow->result == COMMAND_OK && is_early) {
        return command_error(drain->io, COMMAND_FAILED,
                             "interrupted: the rest stays where it is; run this again to go on");
    }
    return flow->result;
}

static int
carry_over(struct drain *drain)
{
    drain->flow.source = drain->source;
    drain->flow.target = drain->target;
    drain->progress = progress_begin(drain->io, drain->output.is_quiet);
    drain->moved_ms = amqp_client_now_ms();
    int result = begin_flow(drain);
    if (result != COMMAND_OK) {
        return result;
    }
    while (turn(drain)) {
    }
    progress_end(&drain->progress);
    drain_flow_settle(&drain->flow);
    result = judge_end(drain);
    say_end(drain);
    return result;
}

static int
say_plan(const struct drain *drain, uint32_t target_count)
{
    uint64_t expected = expected_count(drain);
    const struct output *output = &drain->output;
    if (output->format == OUTPUT_JSON) {
        json_t *answer =
            json_pack("{s:I, s:I, s:I}", "ready", (json_int_t)drain->total, "would_drain",
                      (json_int_t)expected, "ready_in_target", (json_int_t)target_count);
        output_json(output, answer);
        json_decref(answer);
        return COMMAND_OK;
    }
    output_done(output, "%llu messages would be drained, of %llu that are ready in %s",
                (unsigned long long)expected, (unsigned long long)drain->total,
                drain->source_address.shown);
    if (drain->flow.target_queue != NULL) {
        output_done(output, "the queue of the target, %s, holds %u", drain->target_address.shown,
                    target_count);
    }
    return COMMAND_OK;
}

static int
run(struct drain *drain)
{
    uint32_t target_count;
    int result = amqp_client_open(&drain->source, &drain->source_address, "source", drain->io);
    if (result == COMMAND_OK) {
        result = look_at_source(drain);
    }
    if (result == COMMAND_OK) {
        result = amqp_client_open(&drain->target, &drain->target_address, "target", drain->io);
    }
    if (result == COMMAND_OK) {
        result = look_at_target(drain, &target_count);
    }
    if (result == COMMAND_OK) {
        result = refuse_circle(drain);
    }
    if (result == COMMAND_OK) {
        result = drain->line->options[DRAIN_DRY_RUN] != NULL ? say_plan(drain, target_count)
                                                             : carry_over(drain);
    }
    amqp_client_close(&drain->source);
    amqp_client_close(&drain->target);
    return result;
}

int
drain_run(const struct command_line *line, const struct command_io *io)
{
    struct drain drain = {.line = line, .io = io, .output = output_of(line, io)};
    int result = read_numbers(&drain);
    if (result == COMMAND_OK) {
        result = read_wish(&drain);
    }
    if (result == COMMAND_OK) {
        interrupt_watch();
        result = run(&drain);
    }
    amqp_address_fini(&drain.source_address);
    amqp_address_fini(&drain.target_address);
    drain_flow_fini(&drain.flow);
    return result;
}
