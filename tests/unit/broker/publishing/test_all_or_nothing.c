/* SPDX-License-Identifier: Apache-2.0 */
/* A publish to several queues is all or nothing, and so is a tx.commit, whichever of its
 * allocations fails: queues, log and open deliveries are as before then, and so is the transaction.
 */
#include "broker/publishing/transaction.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/entry_block.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

enum {
    MANY = 1000,    /* messages for one queue: some blocks of entries */
    FANNED_OUT = 3, /* messages for all queues */
    FIRST_COUNT = 6,
    TRIES_MAX = 200,
};

/* All are durable but the last; together more than the log's list of queues has room for at first.
 */
static const char *const QUEUES[] = {"settled", "long", "q1",  "q2",  "q3",  "q4",
                                     "q5",      "q6",   "q7",  "q8",  "q9",  "q10",
                                     "q11",     "q12",  "q13", "q14", "q15", "transient"};
enum { QUEUE_COUNT = ARRAY_LEN(QUEUES) };

static struct log_rig *disk; /* NULL: nothing is logged */
static struct rig *rig;
static uint64_t client, other;

/* What somebody could tell a commit by. */
struct state {
    uint64_t ready[QUEUE_COUNT], bytes[QUEUE_COUNT], open[QUEUE_COUNT], published[QUEUE_COUNT];
    uint64_t rows[QUEUE_COUNT]; /* that a recovery would find */
    uint64_t space_octets;
    uint64_t acked, delivered;
};

static void
declare_durable(const char *name)
{
    if (disk != NULL) {
        log_declare(disk, other, name);
        return;
    }
    struct queue_declare declare = {.queue = bytes_of(name), .durable = true};
    declare_queue_as(rig, other, &declare);
}

static void
publish(uint64_t link, const char *exchange, const char *key)
{
    struct rig_publish message = {
        .exchange = exchange, .routing_key = key, .body = bytes_of("1"), .is_persistent = true};
    rig_publish_as(rig, link, 1, &message);
}

static void
settle(void)
{
    if (disk != NULL) {
        log_settle(disk);
    } else {
        rig_turn(rig);
    }
}

/* Some messages are open on a transactional channel, and some of them settled in a transaction in
 * which messages for one and for all queues wait. */
static void
start(bool has_log)
{
    disk = has_log ? log_rig_new(NULL, 0) : NULL;
    rig = has_log ? disk->rig : messaging_rig(NULL);
    client = messaging_client(rig);
    other = messaging_client(rig);
    declare_exchange(rig, other, "x", "fanout", NULL);
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        if (i + 1 < QUEUE_COUNT) {
            declare_durable(QUEUES[i]);
        } else {
            declare_queue(rig, other, QUEUES[i]);
        }
        bind_queue(rig, other, QUEUES[i], "x", "");
    }
    for (int i = 0; i < FIRST_COUNT; i++) {
        publish(other, "", "settled");
    }
    settle();
    rig_send_id(rig, client, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, client, 1, METHOD_TX_SELECT_OK);
    consume(rig, client, 1, "settled", "c", false);
    settle();
    for (int i = 0; i < FIRST_COUNT; i++) {
        (void)expect_delivery(rig, client, "1");
    }
    cancel(rig, client, "c");
}

static void
fill_transaction(void)
{
    for (int i = 0; i < MANY; i++) {
        publish(client, "", "long");
        if (i % (MANY / FANNED_OUT) == 0 && i / (MANY / FANNED_OUT) < FANNED_OUT) {
            publish(client, "x", "");
        }
    }
    send_ack(rig, client, 1, 2, true);
    send_nack(rig, client, 1, 4, false, true);
    send_nack(rig, client, 1, 5, false, false);
    rig_expect_nothing(rig, client);
}

static void
stop(void)
{
    if (disk != NULL) {
        log_rig_free(&disk);
    } else {
        rig_free(&rig);
    }
}

static struct state
look(void)
{
    struct state state = {.acked = rig->core->counters.acked,
                          .delivered = rig->core->counters.delivered,
                          .space_octets = disk == NULL ? 0 : space_live_octets(disk->space)};
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        const struct queue *queue = find_queue(rig, QUEUES[i]);
        queue_check(queue);
        cr_expect(eq(u32, queue->announced_count, 0));
        state.ready[i] = queue->ready_count;
        state.bytes[i] = queue->ready_bytes;
        state.open[i] = queue->unacked_count;
        state.published[i] = queue->clocks == NULL ? 0 : queue->clocks->published_count;
        state.rows[i] = disk == NULL ? 0 : log_row_count(disk, queue->target.id, UINT32_MAX);
    }
    return state;
}

static void
expect_same(const struct state *state, const struct state *expected, uint32_t nth)
{
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        cr_expect(eq(u64, state->ready[i], expected->ready[i]), "%s, %u", QUEUES[i], nth);
        cr_expect(eq(u64, state->bytes[i], expected->bytes[i]), "%s, %u", QUEUES[i], nth);
        cr_expect(eq(u64, state->open[i], expected->open[i]), "%s, %u", QUEUES[i], nth);
        cr_expect(eq(u64, state->published[i], expected->published[i]), "%s, %u", QUEUES[i], nth);
        cr_expect(eq(u64, state->rows[i], expected->rows[i]), "%s, %u", QUEUES[i], nth);
    }
    cr_expect(eq(u64, state->space_octets, expected->space_octets), "%u", nth);
    cr_expect(eq(u64, state->acked, expected->acked), "%u", nth);
    cr_expect(eq(u64, state->delivered, expected->delivered), "%u", nth);
}

/* After a commit of what fill_transaction has said. */
static void
expect_all_of_it(void)
{
    struct state state = look();
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        uint64_t open = i == 0 ? FIRST_COUNT - 4 : 0;
        uint64_t ready = FANNED_OUT + (i == 0 ? 1 : 0) + (i == 1 ? MANY : 0);
        bool is_logged = disk != NULL && i + 1 < QUEUE_COUNT;
        cr_expect(eq(u64, state.ready[i], ready), "%s", QUEUES[i]);
        cr_expect(eq(u64, state.open[i], open), "%s", QUEUES[i]);
        cr_expect(eq(u64, state.rows[i], is_logged ? ready + open : 0), "%s", QUEUES[i]);
    }
    cr_expect(eq(u64, state.acked, 2));
}

/* What the client sees when the n-th allocation of a publish to all queues, each with so many
 * messages, fails: 506 ends the connection, and no queue has the message. False: all went well. */
static bool
publish_failing(bool has_log, uint32_t waiting_count, uint32_t nth)
{
    start(has_log);
    for (uint32_t i = 0; i < waiting_count; i++) {
        publish(other, "x", "");
    }
    settle();
    struct state expected = look();
    alloc_faults_plan(nth);
    publish(other, "x", "");
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    settle();
    if (failed) {
        rig_expect_close(rig, other, 506, "no memory for the message");
    } else {
        for (size_t i = 0; i < QUEUE_COUNT; i++) {
            expected.ready[i]++;
            expected.bytes[i]++;
            expected.published[i]++;
            expected.rows[i] += has_log && i + 1 < QUEUE_COUNT ? 1 : 0;
        }
    }
    struct state after = look();
    expected.space_octets = failed ? expected.space_octets : after.space_octets;
    expect_same(&after, &expected, nth);
    cr_expect(rig->core->queue_memory.spares == NULL);
    stop();
    return failed;
}

/* Every allocation of a publish in turn. Returns how many there were. */
static uint32_t
fail_publish_in_turn(bool has_log, uint32_t waiting_count)
{
    uint32_t nth = 1;
    while (publish_failing(has_log, waiting_count, nth)) {
        nth++;
        cr_assert(lt(u32, nth, TRIES_MAX));
    }
    return nth - 1;
}

Test(all_or_nothing, a_publish_that_fails_half_way_has_reached_no_queue)
{
    cr_expect(lt(u32, QUEUE_COUNT, fail_publish_in_turn(true, 0)), "queues and log");
}

Test(all_or_nothing, a_publish_in_memory_that_fails_half_way_has_reached_no_queue)
{
    cr_expect(ge(u32, fail_publish_in_turn(false, 0), QUEUE_COUNT - 1),
              "all queues but the one with messages");
}

/* Each queue takes a block for the message, and some have theirs when there is no more. */
Test(all_or_nothing, a_publish_to_long_queues_that_fails_half_way_gives_its_room_back)
{
    cr_expect(ge(u32, fail_publish_in_turn(false, ENTRY_BLOCK_CAPACITY), QUEUE_COUNT - 1),
              "all queues whose last block is full");
}

static void
have_all_rates(void)
{
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        have_rates(rig, QUEUES[i]);
    }
}

/* The n-th allocation of a commit fails, and the fault is not acted upon. False: all went well. */
static bool
commit_failing(uint32_t nth)
{
    struct channel *channel = connection_find_channel(core_find_connection(rig->core, client), 1);
    struct state before = look();
    uint64_t token;
    struct fault fault = {0};
    have_all_rates();
    alloc_faults_plan(nth);
    enum status status = transaction_commit(channel, &token, &fault);
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    cr_assert(eq(int, status, failed ? STATUS_FAULT : STATUS_OK), "%u", nth);
    cr_expect(rig->core->queue_memory.spares == NULL);
    if (failed) {
        cr_expect(eq(u16, fault.reply_code, 506));
        cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
        settle();
        struct state after = look();
        expect_same(&after, &before, nth);
    }
    return failed;
}

/* Every allocation of a commit in turn. After each failure the transaction is whole: it can be
 * committed again. Returns how many there were. */
static uint32_t
fail_in_turn(bool has_log)
{
    for (uint32_t nth = 1; nth < TRIES_MAX; nth++) {
        start(has_log);
        fill_transaction();
        bool failed = commit_failing(nth);
        if (failed) {
            rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
            settle();
            (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
        }
        settle();
        expect_all_of_it();
        stop();
        if (!failed) {
            return nth - 1;
        }
    }
    cr_fatal("the commit never passes");
    return 0;
}

Test(all_or_nothing, a_commit_that_fails_half_way_has_done_nothing)
{
    cr_expect(lt(u32, QUEUE_COUNT + 4, fail_in_turn(true)),
              "something of everything was made to fail");
}

Test(all_or_nothing, a_commit_in_memory_that_fails_half_way_has_done_nothing)
{
    cr_expect(lt(u32, QUEUE_COUNT, fail_in_turn(false)),
              "something of everything was made to fail");
}

/* What the client sees: 506 ends the connection. Its messages went nowhere, and what it was handed
 * is back in the queue, settled or not. */
static bool
commit_seen_failing(uint32_t nth)
{
    start(true);
    fill_transaction();
    struct state expected = look();
    alloc_faults_plan(nth);
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    settle();
    if (failed) {
        rig_expect_close(rig, client, 506, "no memory for the message");
        expected.ready[0] = FIRST_COUNT;
        expected.bytes[0] = FIRST_COUNT;
        expected.open[0] = 0;
        struct state after = look();
        expect_same(&after, &expected, nth);
        consume(rig, other, 1, "settled", "c", true);
        settle();
        for (int i = 0; i < FIRST_COUNT; i++) {
            cr_expect(expect_delivery(rig, other, "1")->method.basic_deliver.redelivered);
        }
    }
    stop();
    return failed;
}

Test(all_or_nothing, a_failed_commit_ends_the_connection_and_gives_everything_back)
{
    enum { OF_THE_TEST = 1 }; /* allocation: for the method */
    uint32_t nth = OF_THE_TEST + 1;
    for (; nth <= QUEUE_COUNT; nth++) {
        cr_assert(commit_seen_failing(nth), "%u", nth);
    }
}

/* A return that cannot be sent comes too late to undo anything: the client learns nothing, as when
 * its connection is lost before commit-ok. */
Test(all_or_nothing, a_return_that_cannot_be_sent_leaves_the_commit_done)
{
    start(true);
    struct rig_publish nowhere = {.exchange = "", .routing_key = "nowhere", .mandatory = true};
    rig_publish_as(rig, client, 1, &nowhere);
    fill_transaction();
    struct connection *connection = core_find_connection(rig->core, client);
    struct channel *channel = connection_find_channel(connection, 1);
    /* What failed before is tried again; in the end only the return is left to fail. What an
     * attempt has made for good would have the next one pass over it. */
    have_all_rates();
    for (size_t i = 0; i < QUEUE_COUNT; i++) {
        cr_assert(eq(int, queue_reserve_dying(find_queue(rig, QUEUES[i]), MANY), STATUS_OK));
    }
    uint64_t token;
    struct fault fault;
    buffer_fini(&rig->core->payload);
    uint32_t nth = 0;
    do {
        alloc_faults_plan(++nth);
        enum status status = transaction_commit(channel, &token, &fault);
        cr_assert(lt(u32, nth, TRIES_MAX));
        cr_assert(status == STATUS_OK || !channel->is_ended);
    } while (!channel->is_ended && alloc_faults_left() == 0);
    alloc_faults_plan(0);
    cr_assert(channel->is_ended);
    settle();
    struct state state = look();
    cr_expect(eq(u64, state.ready[1], MANY + FANNED_OUT));
    cr_expect(eq(u64, state.acked, 2));
    cr_expect(eq(u64, state.open[0], 0));
    cr_expect(eq(u64, state.ready[0], FANNED_OUT + 1 + 2), "what was left open is back");
    log_check(disk);
    stop();
}
