/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that never wait for an answer, over a disk that takes its time and is full at times:
 * whatever they ask for is answered once and in order, nothing is confirmed before it is committed
 * (I1), deliveries of a consumer lie between its consume-ok and its cancel-ok, and nothing of a
 * channel that was closed with a fault is seen on the next one. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "base/random.h"
#include "tests/unit/broker/log_harness.h"

enum {
    CLIENTS = 2,
    CHANNELS = 3,
    STEPS = 8000,
    ASKED_MAX = 4096,
    PUBLISHES_MAX = STEPS + 1,
    DISK_MARK = 1 << 20
};

/* One channel as its client sees it. */
struct side {
    uint64_t link;
    uint16_t number;
    enum method_id asked[ASKED_MAX]; /* answers that are due, in order, from `answered` on */
    uint32_t asked_count, answered;
    uint32_t numbers[PUBLISHES_MAX]; /* of the message, by publish number; 0: in no log */
    uint64_t published;              /* since the channel was opened */
    uint64_t confirmed;
    uint64_t delivered;  /* the last tag */
    uint64_t settled;    /* up to this tag */
    bool wants_consumer; /* it was asked for */
    bool has_consumer;   /* consume-ok came */
    bool is_faulty;      /* a fault was sent, channel.close has not come */
    bool is_gone;        /* channel.close came and is not answered yet */
    bool is_closing;     /* close and open were asked for, close-ok has not come */
};

static struct log_rig *disk;
static struct rig *rig;
static struct random_source random_source;
static uint64_t random_state;
static struct side sides[CLIENTS * CHANNELS];
static uint32_t message_count, queue_count;
static uint32_t batch_of[PUBLISHES_MAX]; /* of a message in the log, by its number; 0: none */
static size_t rows_seen;                 /* rows of the log that are in batch_of */

static uint64_t
choose(uint64_t limit)
{
    return random_u64(&random_source) % limit;
}

static void
set_up(void)
{
    random_source = random_seeded(&random_state);
    struct core_settings settings = rig_settings();
    settings.disk_mark_bytes = DISK_MARK;
    disk = log_rig_new(&settings, 256 * 1024);
    rig = disk->rig;
    for (int i = 0; i < CLIENTS; i++) {
        uint64_t link = messaging_client(rig);
        for (uint16_t number = 1; number <= CHANNELS; number++) {
            if (number > 1) {
                rig_open_channel(rig, link, number);
            }
            select_confirms(rig, link, number);
            sides[i * CHANNELS + number - 1] = (struct side){.link = link, .number = number};
        }
    }
    log_declare(disk, sides[0].link, "q");
    log_declare(disk, sides[0].link, "p");
    declare_queue(rig, sides[0].link, "t");
}

static void
tear_down(void)
{
    log_rig_free(&disk);
}

TestSuite(pipelining, .init = set_up, .fini = tear_down, .timeout = 120);

/* Asking --------------------------------------------------------------------------------------- */

static void
ask(struct side *side, const struct method *method, enum method_id answer)
{
    cr_assert(lt(u32, side->asked_count, ASKED_MAX));
    side->asked[side->asked_count++] = answer;
    rig_send(rig, side->link, side->number, method);
}

static void
publish(struct side *side, const char *queue, bool is_persistent)
{
    char text[16];
    uint32_t number = ++message_count;
    (void)snprintf(text, sizeof(text), "%u", number);
    struct rig_publish message = {.exchange = "",
                                  .routing_key = queue,
                                  .body = bytes_of(text),
                                  .is_persistent = is_persistent};
    side->numbers[++side->published] = is_persistent ? number : 0;
    rig_publish_as(rig, side->link, side->number, &message);
}

static void
ask_for_topology(struct side *side)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "d%u", queue_count);
    struct method method;
    switch (choose(3)) {
    case 0:
        queue_count++;
        (void)snprintf(name, sizeof(name), "d%u", queue_count);
        method = (struct method){.id = METHOD_QUEUE_DECLARE,
                                 .queue_declare = {.queue = bytes_of(name), .durable = true}};
        ask(side, &method, METHOD_QUEUE_DECLARE_OK);
        break;
    case 1:
        method =
            (struct method){.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of(name)}};
        ask(side, &method, METHOD_QUEUE_DELETE_OK);
        break;
    default:
        method = (struct method){.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("p")}};
        ask(side, &method, METHOD_QUEUE_PURGE_OK);
        break;
    }
}

static void
consume_or_cancel(struct side *side)
{
    struct method method = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of("c")}};
    if (!side->wants_consumer) {
        method = (struct method){.id = METHOD_BASIC_CONSUME,
                                 .basic_consume = {.queue = bytes_of(choose(2) == 0 ? "q" : "p"),
                                                   .consumer_tag = bytes_of("c")}};
    }
    side->wants_consumer = !side->wants_consumer;
    ask(side, &method, side->wants_consumer ? METHOD_BASIC_CONSUME_OK : METHOD_BASIC_CANCEL_OK);
}

static void
ask_for_messages(struct side *side)
{
    struct method method;
    switch (choose(4)) {
    case 0:
        method = (struct method){.id = METHOD_BASIC_GET,
                                 .basic_get = {.queue = bytes_of(choose(2) == 0 ? "q" : "p")}};
        ask(side, &method, METHOD_BASIC_GET_OK);
        break;
    case 1:
        method = (struct method){.id = METHOD_BASIC_QOS,
                                 .basic_qos = {.prefetch_count = (uint16_t)(1 + choose(5))}};
        ask(side, &method, METHOD_BASIC_QOS_OK);
        break;
    default:
        consume_or_cancel(side);
        break;
    }
}

static void
settle(struct side *side)
{
    if (side->delivered > side->settled) {
        side->settled = side->delivered;
        send_ack(rig, side->link, side->number, side->delivered, true);
    }
}

/* Everything from here to the new channel's confirm-select is sent in one go. */
static void
close_and_open(struct side *side)
{
    struct method close = {.id = METHOD_CHANNEL_CLOSE};
    struct method open = {.id = METHOD_CHANNEL_OPEN};
    struct method select = {.id = METHOD_CONFIRM_SELECT};
    side->is_closing = true;
    ask(side, &close, METHOD_CHANNEL_CLOSE_OK);
    ask(side, &open, METHOD_CHANNEL_OPEN_OK);
    ask(side, &select, METHOD_CONFIRM_SELECT_OK);
}

/* Settlements overtake whatever waits, so the fault may come before all of it. */
static void
settle_what_is_not_open(struct side *side)
{
    side->is_faulty = true;
    send_ack(rig, side->link, side->number, 1000000, false);
}

/* Hearing -------------------------------------------------------------------------------------- */

/* I1, against what the log was told: the message is in a batch that is committed. */
static void
check_committed(uint32_t number)
{
    for (; rows_seen < disk->row_count; rows_seen++) {
        batch_of[disk->rows[rows_seen].number] = disk->rows[rows_seen].batch;
    }
    cr_assert(ge(u32, batch_of[number], 1), "message %u is confirmed and in no log", number);
    cr_assert(le(u32, batch_of[number], disk->committed_count),
              "message %u is confirmed and not committed", number);
}

static void
hear_confirm(struct side *side, const struct basic_ack *ack)
{
    cr_assert(lt(u64, side->confirmed, ack->delivery_tag));
    cr_assert(le(u64, ack->delivery_tag, side->published), "more is confirmed than was published");
    while (side->confirmed < ack->delivery_tag) {
        uint32_t number = side->numbers[++side->confirmed];
        if (number != 0) {
            check_committed(number);
        }
    }
}

static void
forget_channel(struct side *side)
{
    side->is_closing = false;
    side->is_faulty = false;
    side->published = 0;
    side->confirmed = 0;
    side->delivered = 0;
    side->settled = 0;
    side->has_consumer = false;
    side->wants_consumer = false;
}

static void
hear_answer(struct side *side, enum method_id id)
{
    cr_assert(lt(u32, side->answered, side->asked_count), "%s was not asked for",
              method_info(id)->name);
    enum method_id expected = side->asked[side->answered++];
    if (expected == METHOD_BASIC_GET_OK && id == METHOD_BASIC_GET_EMPTY) {
        return;
    }
    cr_assert(eq(int, id, expected), "%s came instead of %s", method_info(id)->name,
              method_info(expected)->name);
    if (id == METHOD_BASIC_CONSUME_OK || id == METHOD_BASIC_CANCEL_OK) {
        side->has_consumer = id == METHOD_BASIC_CONSUME_OK;
    } else if (id == METHOD_CHANNEL_CLOSE_OK) {
        cr_assert(eq(u64, side->confirmed, side->published), "closed before all is confirmed");
        forget_channel(side);
    }
}

/* What was still to be handled has gone with the channel. */
static void
hear_close(struct side *side)
{
    cr_assert(side->is_faulty);
    forget_channel(side);
    side->answered = side->asked_count;
    side->is_gone = true;
}

static void
hear(struct side *side, const struct posted *posted)
{
    switch (posted->method.id) {
    case METHOD_BASIC_ACK:
        hear_confirm(side, &posted->method.basic_ack);
        break;
    case METHOD_BASIC_DELIVER:
        cr_assert(side->has_consumer, "a delivery without a consumer");
        side->delivered = posted->method.basic_deliver.delivery_tag;
        break;
    case METHOD_BASIC_GET_OK:
        side->delivered = posted->method.basic_get_ok.delivery_tag;
        hear_answer(side, METHOD_BASIC_GET_OK);
        break;
    case METHOD_CHANNEL_CLOSE:
        hear_close(side);
        break;
    default:
        hear_answer(side, posted->method.id);
        break;
    }
}

static void
listen(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        uint64_t link = sides[i * CHANNELS].link;
        for (const struct posted *posted; (posted = rig_next(rig, link)) != NULL;) {
            if (posted->channel > 0) {
                hear(&sides[i * CHANNELS + posted->channel - 1], posted);
                continue;
            }
            cr_assert(posted->method.id == METHOD_CONNECTION_BLOCKED ||
                          posted->method.id == METHOD_CONNECTION_UNBLOCKED,
                      "%s", method_info(posted->method.id)->name);
        }
    }
}

/* Once the broker reads again. */
static void
open_again(struct side *side)
{
    if (!side->is_gone || rig_link(rig, side->link)->is_paused) {
        return;
    }
    struct method open = {.id = METHOD_CHANNEL_OPEN};
    struct method select = {.id = METHOD_CONFIRM_SELECT};
    side->is_gone = false;
    rig_send_id(rig, side->link, side->number, METHOD_CHANNEL_CLOSE_OK);
    ask(side, &open, METHOD_CHANNEL_OPEN_OK);
    ask(side, &select, METHOD_CONFIRM_SELECT_OK);
}

/* Running -------------------------------------------------------------------------------------- */

/* A channel that is being closed is left alone: what its client would send is the next one's. */
static void
step_client(void)
{
    struct side *side = &sides[choose(CLIENTS * CHANNELS)];
    if (rig_link(rig, side->link)->is_paused || side->is_closing || side->is_faulty ||
        side->is_gone) {
        return;
    }
    uint64_t action = choose(100);
    if (action < 30) {
        publish(side, choose(2) == 0 ? "q" : "p", true);
    } else if (action < 40) {
        publish(side, "t", false);
    } else if (action < 55) {
        ask_for_topology(side);
    } else if (action < 75) {
        ask_for_messages(side);
    } else if (action < 97) {
        settle(side);
    } else if (action < 98) {
        settle_what_is_not_open(side);
    } else {
        close_and_open(side);
    }
}

static void
step_disk(void)
{
    switch (choose(12)) {
    case 0:
        log_write(disk, (uint32_t)choose(4));
        break;
    case 1:
        log_flush(disk);
        break;
    case 2:
        log_commit(disk);
        break;
    case 3:
        core_set_disk_space(rig->core, choose(4) == 0 ? 0 : 2 * DISK_MARK, 2 * DISK_MARK);
        rig_turn(rig);
        break;
    default:
        break;
    }
}

static void
run(uint64_t seed)
{
    random_state = seed;
    for (int i = 0; i < STEPS; i++) {
        rig->holds_turn = choose(2) == 0;
        step_client();
        if (rig->holds_turn) {
            rig->holds_turn = false;
            continue;
        }
        rig_turn(rig);
        step_disk();
        listen();
        open_again(&sides[choose(CLIENTS * CHANNELS)]);
    }
    core_set_disk_space(rig->core, 2 * DISK_MARK, 2 * DISK_MARK);
    log_settle(disk);
    listen();
    log_settle(disk);
    listen();
    for (int i = 0; i < CLIENTS * CHANNELS; i++) {
        cr_expect(eq(u32, sides[i].answered, sides[i].asked_count));
        cr_expect(eq(u64, sides[i].confirmed, sides[i].published));
    }
    log_check(disk);
    cr_expect(core_has_said_all(rig->core));
    cr_expect(eq(u64, rig->core->counters.internal_errors, 0));
}

Test(pipelining, answers_keep_their_order_and_confirms_wait_for_their_commit)
{
    run(1);
}

Test(pipelining, answers_keep_their_order_with_another_seed)
{
    run(20261125);
}
