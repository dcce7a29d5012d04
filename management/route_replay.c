/* SPDX-License-Identifier: Apache-2.0 */
/* Sending messages of a queue on, and dropping them; how far that is, and cancelling it. */
#include <stdlib.h>
#include <string.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/durability.h"
#include "broker/vhost.h"
#include "management/desk_ask.h"
#include "management/desk_filter_json.h"
#include "management/handlers.h"
#include "management/message_rows.h"

enum { WAIT_MS = 8000, WAIT_SECONDS = 30 };

/* A job as it is shown ------------------------------------------------------------------------- */

struct job_row {
    uint64_t number;
    enum desk_action action;
    struct desk_progress progress;
    bool is_on_disk, is_dry;
    uint32_t rate;
    enum replay_to to;
    struct bytes batch, vhost, queue, exchange, routing_key, note, user;
    struct desk_target_count *targets;
    uint32_t target_count;
};

static struct bytes
keep(struct arena *arena, struct bytes text)
{
    return text.data == NULL ? text : arena_copy(arena, text);
}

static void
copy_targets(struct job_row *row, struct arena *arena, const struct desk_job *job)
{
    uint32_t at = 0;
    const struct desk_target_count *target;
    row->targets = arena_alloc(arena, (DESK_TARGETS_MAX + 1) * sizeof(*row->targets));
    while ((target = desk_job_next_target(job, &at)) != NULL &&
           row->target_count <= DESK_TARGETS_MAX) {
        row->targets[row->target_count++] =
            (struct desk_target_count){.name = keep(arena, target->name), .count = target->count};
    }
}

static void
job_row_copy(struct job_row *row, struct arena *arena, const struct desk_job *job)
{
    const struct desk_order *order = desk_job_request(job);
    *row = (struct job_row){
        .number = desk_job_number(job),
        .action = order->action,
        .progress = *desk_job_progress(job),
        .is_dry = order->is_dry,
        .rate = order->rate,
        .to = order->target.to,
        .batch = keep(arena, order->batch),
        .vhost = keep(arena, desk_job_vhost_name(job)),
        .queue = keep(arena, desk_job_queue_name(job)),
        .exchange = keep(arena, order->target.exchange),
        .routing_key = keep(arena, order->target.routing_key),
        .note = keep(arena, order->note),
        .user = keep(arena, order->user),
    };
    copy_targets(row, arena, job);
}

static const char *
state_name(enum desk_state state)
{
    static const char *const names[] = {
        [DESK_RUNS] = "running",
        [DESK_WAITS_FOR_DISK] = "waits_for_disk",
        [DESK_WAITS_FOR_RATE] = "waits_for_rate",
        [DESK_WAITS_FOR_ROOM] = "waits_for_room",
        [DESK_WAITS_FOR_ALARM] = "waits_for_alarm",
        [DESK_IS_DONE] = "done",
        [DESK_IS_CANCELLED] = "cancelled",
        [DESK_HAS_GIVEN_UP] = "given_up",
    };
    return names[state];
}

static const char *const target_names[] = {
    [REPLAY_TO_ORIGIN_QUEUE] = "origin",
    [REPLAY_TO_ORIGIN_EXCHANGE] = "origin_exchange",
    [REPLAY_TO_EXCHANGE] = "exchange",
};

static void
write_counts(struct json_writer *json, const struct desk_progress *progress)
{
    json_put_string(json, "state", state_name(progress->state));
    json_put_unsigned(json, "total", progress->total_count);
    json_put_unsigned(json, "done", progress->done_count);
    json_put_unsigned(json, "done_octets", progress->done_octets);
    json_put_unsigned(json, "no_target_count", progress->no_target_count);
    json_put_unsigned(json, "full_count", progress->full_count);
    json_put_unsigned(json, "too_large_count", progress->too_large_count);
    json_put_unsigned(json, "unreadable_count", progress->unreadable_count);
    json_put_unsigned(json, "not_allowed_count", progress->not_allowed_count);
    json_put_time(json, "begun_ms", (uint64_t)progress->begun_wall_ms);
    json_put_time(json, "ended_ms", (uint64_t)progress->ended_wall_ms);
}

static void
write_job_targets(struct json_writer *json, const struct job_row *row)
{
    json_key(json, "targets");
    json_begin_array(json);
    for (uint32_t i = 0; i < row->target_count; i++) {
        json_begin_object(json);
        json_put_known(json, "queue", row->targets[i].name);
        json_put_unsigned(json, "count", row->targets[i].count);
        json_end_object(json);
    }
    json_end_array(json);
}

static void
job_row_write(struct json_writer *json, const struct job_row *row)
{
    bool is_replay = row->action == DESK_REPLAY;
    bool is_to_exchange = is_replay && row->to == REPLAY_TO_EXCHANGE;
    json_begin_object(json);
    json_put_unsigned(json, "id", row->number);
    json_put_known(json, "batch", is_replay ? row->batch : bytes_make(NULL, 0));
    json_put_string(json, "action", is_replay ? "replay" : "drop");
    json_put_text(json, "vhost", row->vhost);
    json_put_text(json, "queue", row->queue);
    json_put_known(json, "to", is_replay ? bytes_of(target_names[row->to]) : bytes_make(NULL, 0));
    json_put_known(json, "exchange", is_to_exchange ? row->exchange : bytes_make(NULL, 0));
    json_put_known(json, "routing_key", is_to_exchange ? row->routing_key : bytes_make(NULL, 0));
    json_put_bool(json, "dry_run", row->is_dry);
    json_put_unsigned(json, "rate", row->rate);
    json_put_known(json, "note", row->note);
    json_put_known(json, "user", row->user);
    write_counts(json, &row->progress);
    json_put_bool(json, "on_disk", row->is_on_disk);
    write_job_targets(json, row);
    json_end_object(json);
}

/* Beginning ------------------------------------------------------------------------------------ */

struct change_ask {
    struct desk_ask desk; /* the first */
    struct job_row row;
    struct arena arena; /* owned */
};

static void
take_job(struct desk_ask *ask, const struct desk_job *job)
{
    struct change_ask *change = CONTAINER_OF(ask, struct change_ask, desk);
    job_row_copy(&change->row, &change->arena, job);
}

static void
answer_job(struct call *call, struct desk_ask *ask)
{
    struct change_ask *change = CONTAINER_OF(ask, struct change_ask, desk);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    change->row.is_on_disk = ask->is_on_disk;
    json_init(&json);
    job_row_write(&json, &change->row);
    call_answer_json(call, ask->is_on_disk ? 200 : 202, &json);
    json_fini(&json);
}

static void
change_fini(struct desk_ask *ask)
{
    arena_fini(&CONTAINER_OF(ask, struct change_ask, desk)->arena);
}

static struct change_ask *
change_new(const struct call *call, enum desk_action action)
{
    struct change_ask *change = xalloc(sizeof(*change));
    desk_ask_init(&change->desk);
    change->desk.order.action = action;
    change->desk.order.user = caller_name(call);
    change->desk.order.is_by_user = call_user_name(call).data != NULL;
    change->desk.take = take_job;
    change->desk.answer = answer_job;
    change->desk.fini = change_fini;
    return change;
}

/* What both take; false: answered. */
static bool
read_common(struct call *call, const json_t *body, struct desk_ask *ask)
{
    char why[JSON_WHY_SIZE];
    struct desk_order *order = &ask->order;
    int64_t limit = 0;
    bool waits = false;
    if (!json_read_integer(body, "limit", 1, INT64_MAX, &limit, why) ||
        !json_read_text(body, "note", &order->note, why) ||
        !json_read_bool(body, "wait", &waits, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (order->note.size > DESK_NOTE_MAX) {
        call_fail(call, 400, "\"note\" has at most %d octets", DESK_NOTE_MAX);
        return false;
    }
    order->limit = (uint64_t)limit;
    ask->patience_ms = waits ? WAIT_MS : 0;
    return desk_filter_read(call, json_object_get(body, "filter"), &order->filter);
}

static void
start(struct call *call, struct change_ask *change)
{
    call_allow(call, WAIT_SECONDS);
    desk_ask_start(call, &change->desk);
}

/* Replaying ------------------------------------------------------------------------------------ */

/* An exchange that is named has to be there, and the caller to be allowed to publish to it. */
static bool
may_send_on(struct desk_ask *ask, struct core *core, struct queue *queue)
{
    const struct replay_target *target = &ask->order.target;
    const struct vhost *vhost = queue->vhost;
    if (target->to != REPLAY_TO_EXCHANGE) {
        return true;
    }
    if (!caller_has_right(core, ask->ask.call, vhost, ACCESS_WRITE, ACCESS_EXCHANGE,
                          target->exchange, &ask->refusal)) {
        return false;
    }
    if (vhost_find_exchange(vhost, target->exchange) == NULL) {
        struct fault fault;
        (void)fault_no_exchange(&fault, vhost, target->exchange);
        refusal_set(&ask->refusal, &fault);
        return false;
    }
    return true;
}

static bool
read_to(struct call *call, struct bytes to, enum replay_to *to_out)
{
    for (size_t i = 0; i < ARRAY_LEN(target_names); i++) {
        if (bytes_equal_text(to, target_names[i])) {
            *to_out = (enum replay_to)i;
            return true;
        }
    }
    call_fail(call, 400, "\"to\" is one of origin, origin_exchange, exchange");
    return false;
}

static bool
read_target(struct call *call, const json_t *body, struct replay_target *target)
{
    char why[JSON_WHY_SIZE];
    struct bytes to = bytes_make(NULL, 0);
    if (!json_read_text(body, "to", &to, why) ||
        !json_read_text(body, "exchange", &target->exchange, why) ||
        !json_read_text(body, "routing_key", &target->routing_key, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    bool has_exchange = target->exchange.data != NULL;
    target->to = has_exchange && to.data == NULL ? REPLAY_TO_EXCHANGE : REPLAY_TO_ORIGIN_QUEUE;
    if (to.data != NULL && !read_to(call, to, &target->to)) {
        return false;
    }
    bool is_to_exchange = target->to == REPLAY_TO_EXCHANGE;
    if (is_to_exchange != has_exchange || (target->routing_key.data != NULL && !is_to_exchange)) {
        call_fail(call, 400, "\"exchange\" and \"routing_key\" go with \"to\": \"exchange\"");
        return false;
    }
    if (target->exchange.size > UINT8_MAX || target->routing_key.size > UINT8_MAX) {
        call_fail(call, 400, "a name and a key have at most 255 octets");
        return false;
    }
    if (bytes_equal_text(target->exchange, "amq.default")) {
        target->exchange = bytes_make("", 0);
    }
    return true;
}

static bool
read_replay(struct call *call, const json_t *body, struct desk_order *order)
{
    char why[JSON_WHY_SIZE];
    int64_t rate = 0;
    if (!json_read_bool(body, "dry_run", &order->is_dry, why) ||
        !json_read_integer(body, "rate", 0, UINT32_MAX, &rate, why) ||
        !json_read_text(body, "batch", &order->batch, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (order->batch.size > DESK_BATCH_MAX) {
        call_fail(call, 400, "\"batch\" has at most %d octets", DESK_BATCH_MAX);
        return false;
    }
    order->rate = (uint32_t)rate;
    return read_target(call, body, &order->target);
}

void
handle_replay(struct call *call)
{
    static const char *const names[] = {"to",    "exchange", "routing_key", "filter",
                                        "limit", "dry_run",  "rate",        "batch",
                                        "note",  "wait",     NULL};
    const json_t *body = call_json(call);
    if (body == NULL || !json_has_only(call, body, names)) {
        return;
    }
    struct change_ask *change = change_new(call, DESK_REPLAY);
    change->desk.may_begin = may_send_on;
    if (read_common(call, body, &change->desk) && read_replay(call, body, &change->desk.order)) {
        start(call, change);
    } else {
        desk_ask_free(&change->desk);
    }
}

/* Dropping ------------------------------------------------------------------------------------- */

/* All of them only for who says so. */
static bool
read_all(struct call *call, const json_t *body, const struct desk_order *order)
{
    char why[JSON_WHY_SIZE];
    bool is_all = false;
    const json_t *filter = json_object_get(body, "filter");
    if (!json_read_bool(body, "all", &is_all, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (!is_all && order->limit == 0 && json_object_size(filter) == 0) {
        call_fail(call, 400,
                  "which messages? Give a \"filter\" or a \"limit\", or say \"all\": true");
        return false;
    }
    return true;
}

void
handle_drop(struct call *call)
{
    static const char *const names[] = {"filter", "limit", "note", "wait", "all", NULL};
    const json_t *body = call_json(call);
    if (body == NULL || !json_has_only(call, body, names)) {
        return;
    }
    struct change_ask *change = change_new(call, DESK_DROP);
    if (read_common(call, body, &change->desk) && read_all(call, body, &change->desk.order)) {
        start(call, change);
    } else {
        desk_ask_free(&change->desk);
    }
}

/* What is known of them ------------------------------------------------------------------------ */

struct jobs_ask {
    struct call_ask ask;
    uint64_t number; /* 0: all */
    bool cancels;
    bool was_over; /* it could not be cancelled */
    struct job_row *rows;
    uint32_t count;
    struct arena arena;
    struct refusal refusal;
};

/* A job is as visible as its queue: to who may read that, there or gone. */
static bool
may_see(struct jobs_ask *ask, struct core *core, const struct desk_job *job)
{
    enum desk_action action = desk_job_request(job)->action;
    const struct vhost *vhost = core_find_vhost(core, desk_job_vhost_name(job));
    bool is_change = action == DESK_REPLAY || action == DESK_DROP;
    return is_change &&
           (vhost == NULL ? call_user_name(ask->ask.call).data == NULL
                          : caller_has_right(core, ask->ask.call, vhost, ACCESS_READ, ACCESS_QUEUE,
                                             desk_job_queue_name(job), &ask->refusal));
}

static void
add_job(struct jobs_ask *ask, const struct core *core, const struct desk_job *job)
{
    struct job_row *row = &ask->rows[ask->count++];
    job_row_copy(row, &ask->arena, job);
    bool is_over = row->progress.ended_wall_ms != 0;
    row->is_on_disk = is_over && core_is_committed(core, row->progress.token);
}

static enum request_progress
jobs_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct jobs_ask *ask = CONTAINER_OF(request, struct jobs_ask, ask.desk.request);
    uint64_t at = ask->number == 0 ? 0 : ask->number - 1;
    const struct desk_job *job;
    (void)budget;
    ask->rows = xalloc((DESK_JOBS_MAX + DESK_FINISHED_KEPT + 1) * sizeof(*ask->rows));
    while ((job = desk_next(core, at)) != NULL) {
        at = desk_job_number(job);
        if (ask->number != 0 && at != ask->number) {
            break;
        }
        if (!may_see(ask, core, job)) {
            continue;
        }
        ask->was_over = ask->cancels && !desk_cancel(core, at);
        add_job(ask, core, job);
    }
    return REQUEST_DONE;
}

static void
answer_jobs(struct call *call, struct call_ask *call_ask)
{
    const struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_key(&json, "replays");
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->count; i++) {
        job_row_write(&json, &ask->rows[i]);
    }
    json_end_array(&json);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
answer_one(struct call *call, struct call_ask *call_ask)
{
    const struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    struct json_writer json;
    if (ask->count == 0 && ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
    } else if (ask->count == 0) {
        call_fail(call, 404, "there is no such job, or it has been over for long");
    } else if (ask->was_over) {
        call_fail(call, 400, "it is over");
    } else {
        json_init(&json);
        job_row_write(&json, &ask->rows[0]);
        call_answer_json(call, ask->cancels ? 202 : 200, &json);
        json_fini(&json);
    }
}

static void
free_jobs(struct call_ask *call_ask)
{
    struct jobs_ask *ask = CONTAINER_OF(call_ask, struct jobs_ask, ask);
    free(ask->rows);
    arena_fini(&ask->arena);
    free(ask);
}

static void
ask_for_jobs(struct call *call, bool is_one, bool cancels)
{
    int64_t number = 0;
    char why[JSON_WHY_SIZE];
    if (is_one) {
        struct bytes text = call_name(call, 0);
        json_t *object = json_pack("{s:s#}", "id", (const char *)text.data, (int)text.size);
        bool is_number = json_read_integer(object, "id", 1, INT64_MAX, &number, why);
        json_decref(object);
        if (!is_number) {
            call_fail(call, 404, "there is no such job, or it has been over for long");
            return;
        }
    }
    struct jobs_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = jobs_step;
    ask->ask.then = is_one ? answer_one : answer_jobs;
    ask->ask.free = free_jobs;
    ask->number = (uint64_t)number;
    ask->cancels = cancels;
    call_ask(call, &ask->ask);
}

void
handle_replays(struct call *call)
{
    ask_for_jobs(call, false, false);
}

void
handle_replay_show(struct call *call)
{
    ask_for_jobs(call, true, false);
}

void
handle_replay_cancel(struct call *call)
{
    ask_for_jobs(call, true, true);
}
