/* SPDX-License-Identifier: Apache-2.0 */
/* What the core writes down: bodies once, removals for whatever is done with, transactions in one
 * batch; when it asks for a flush; and how it heeds a log that has fallen behind. */
#include "broker/durability.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

enum { SMALL_SLOT = 64 * 1024 };

static struct log_rig *disk;
static struct rig *rig;
static uint64_t client;

static void
start(const struct core_settings *settings, uint64_t slot_size)
{
    disk = log_rig_new(settings, slot_size);
    rig = disk->rig;
    client = messaging_client(rig);
    log_declare(disk, client, "q");
}

static void
set_up(void)
{
    start(NULL, 0);
}

static void
tear_down(void)
{
    log_rig_free(&disk);
}

TestSuite(durability, .init = set_up, .fini = tear_down);

/* Other settings than those that the suite starts with. */
static void
start_again(const struct core_settings *settings, uint64_t slot_size)
{
    tear_down();
    start(settings, slot_size);
}

static uint64_t
live_rows(const char *queue)
{
    return log_row_count(disk, find_queue(rig, queue)->target.id, UINT32_MAX);
}

static void
send_purge(uint64_t link, const char *queue)
{
    struct method method = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of(queue)}};
    rig_send(rig, link, 1, &method);
}

static void
send_delete(uint64_t link, const char *queue)
{
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of(queue)}};
    rig_send(rig, link, 1, &method);
}

/* Messages ------------------------------------------------------------------------------------- */

/* Fan-out writes the body once; a transient queue in it is not spoken of. */
Test(durability, a_message_for_many_queues_is_written_once)
{
    declare_exchange(rig, client, "x", "fanout", NULL);
    declare_queue(rig, client, "transient");
    log_declare(disk, client, "r");
    bind_queue(rig, client, "q", "x", "");
    bind_queue(rig, client, "transient", "x", "");
    bind_queue(rig, client, "r", "x", "");
    log_publish(disk, client, "x", "", "1");
    cr_expect(eq(u32, disk->records[RECORD_PUBLISH], 1));
    cr_expect(eq(sz, disk->row_count, 2));
    cr_expect(eq(u64, ready_count(rig, "transient"), 1));
    log_check(disk);
}

/* Every queue takes room in the record: with enough of them a message that fits by itself does not.
 */
Test(durability, a_message_for_more_queues_than_a_segment_holds_is_refused)
{
    enum { QUEUES = 4000 };
    start_again(NULL, SMALL_SLOT);
    declare_exchange(rig, client, "x", "fanout", NULL);
    for (int i = 0; i < QUEUES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "q%d", i);
        struct method declare = {
            .id = METHOD_QUEUE_DECLARE,
            .queue_declare = {.queue = bytes_of(name), .durable = true, .nowait = true},
        };
        struct method bind = {
            .id = METHOD_QUEUE_BIND,
            .queue_bind = {.queue = bytes_of(name), .exchange = bytes_of("x"), .nowait = true},
        };
        rig_send(rig, client, 1, &declare);
        rig_send(rig, client, 1, &bind);
    }
    log_settle(disk);
    static char text[40001];
    memset(text, 'x', sizeof(text) - 1);
    log_publish(disk, client, "", "q1", text);
    cr_expect(eq(u64, ready_count(rig, "q1"), 1));
    log_publish(disk, client, "x", "", text);
    rig_expect_channel_close(
        rig, client, 1, REPLY_PRECONDITION_FAILED,
        "the message and the list of its queues do not fit a segment of the log");
    cr_expect(eq(u64, ready_count(rig, "q1"), 1));
    cr_expect(eq(u64, ready_count(rig, "q2"), 0));
    log_settle(disk);
    log_check(disk);
}

/* Neither a transient message nor one for a transient queue has anything to survive in. */
Test(durability, what_does_not_survive_is_not_written)
{
    declare_queue(rig, client, "transient");
    log_settle(disk);
    uint32_t before = disk->batch_count;
    publish_text(rig, client, "q", "transient");
    log_publish(disk, client, "", "transient", "1");
    log_publish(disk, client, "", "nowhere", "2");
    cr_expect(eq(u32, disk->batch_count, before));
}

/* Each way in which a message ends is a removal; coming back is none. */
Test(durability, whatever_is_done_with_is_removed)
{
    log_publish_numbers(disk, client, "q", 1, 6);
    log_settle(disk);
    consume(rig, client, 1, "q", "c", false);
    log_settle(disk);
    cr_assert_str_eq(deliveries(rig, client), "1 2 3 4 5 6");
    send_ack(rig, client, 1, 1, false);
    cr_expect(eq(u64, live_rows("q"), 5));
    send_nack(rig, client, 1, 2, false, false);
    cr_expect(eq(u64, live_rows("q"), 4));
    cancel(rig, client, "c");
    send_nack(rig, client, 1, 4, true, true);
    cr_expect(eq(u64, live_rows("q"), 4));
    log_check(disk);
    (void)get_message(rig, client, "q", true);
    cr_expect(eq(u64, live_rows("q"), 3));
    rig_hang_up(rig, client);
    log_check(disk);
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
}

Test(durability, a_delivery_without_acknowledgement_is_a_removal)
{
    consume(rig, client, 1, "q", "c", true);
    log_publish_numbers(disk, client, "q", 1, 2);
    cr_expect_str_eq(deliveries(rig, client), "1 2");
    cr_expect(eq(u64, live_rows("q"), 0));
    log_check(disk);
}

/* The record that deletes the queue speaks for all its messages. */
Test(durability, a_deleted_queue_takes_its_messages_along)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish_numbers(disk, client, "q", 1, 3);
    log_settle(disk);
    cr_assert_str_eq(deliveries(rig, client), "1 2 3");
    uint64_t other = messaging_client(rig);
    log_publish_numbers(disk, other, "q", 4, 5);
    uint32_t removals = disk->records[RECORD_ACK];
    send_delete(other, "q");
    send_ack(rig, client, 1, 2, true);
    log_settle(disk);
    (void)rig_expect(rig, other, 1, METHOD_QUEUE_DELETE_OK);
    rig_hang_up(rig, client);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ACK], removals));
    cr_expect(eq(u64, space_live_octets(disk->space), 0));
}

/* Flushing ------------------------------------------------------------------------------------- */

/* An acknowledgement is written at once and waits up to 100 ms for a flush that others ask for. */
Test(durability, an_acknowledgement_alone_is_flushed_within_100_ms)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    rig_step(rig, CORE_FLUSH_WAIT_MS);
    log_settle(disk);
    uint32_t flushes = disk->flush_count;
    send_ack(rig, client, 1, 1, false);
    cr_expect(eq(u32, disk->last_batch[RECORD_ACK], disk->batch_count), "handed over at once");
    cr_expect(eq(u32, disk->flush_count, flushes));
    cr_expect(eq(u64, core_wait_ms(rig->core), CORE_FLUSH_WAIT_MS));
    rig_step(rig, CORE_FLUSH_WAIT_MS - 10);
    cr_expect(eq(u32, disk->flush_count, flushes));
    rig_step(rig, 20);
    cr_expect(eq(u32, disk->flush_count, flushes + 1));
    log_settle(disk);
    cr_expect(core_is_committed(rig->core, core_log_token(rig->core)));
    rig_step(rig, 2 * CORE_FLUSH_WAIT_MS);
    cr_expect(eq(u32, disk->flush_count, flushes + 1), "nothing is left to flush");
}

/* The second who asks may have to wait for a batch that nobody wanted flushed. */
Test(durability, who_waits_for_an_earlier_batch_has_it_flushed)
{
    struct method nowait = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of("new"), .durable = true, .nowait = true},
    };
    rig_send(rig, client, 1, &nowait);
    log_settle(disk);
    struct method passive = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of("new"), .durable = true, .passive = true},
    };
    rig_send(rig, client, 1, &passive);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
}

/* Records that are made after the batch of the turn was handed over go with the next turn, which
 * must not wait for somebody to come. */
Test(durability, removals_of_a_purge_whose_client_has_gone_are_handed_over_at_once)
{
    log_publish_numbers(disk, client, "q", 1, 3);
    log_settle(disk);
    rig->holds_turn = true;
    send_purge(client, "q");
    rig_hang_up(rig, client);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig_turn(rig);
    cr_expect(eq(u64, live_rows("q"), 0));
    cr_expect(gt(u64, core_wait_ms(rig->core), 0));
    log_check(disk);
}

/* Purging -------------------------------------------------------------------------------------- */

static uint32_t
expect_purged(uint64_t link)
{
    return rig_expect(rig, link, 1, METHOD_QUEUE_PURGE_OK)->queue_purge_ok.message_count;
}

enum { MANY = 100000 };

static void
publish_many(const char *queue)
{
    rig->holds_turn = true;
    for (int first = 1; first <= MANY; first += 1000) {
        log_publish_numbers(disk, client, queue, first, first + 999);
        rig_turn(rig);
        log_commit(disk);
    }
    rig->holds_turn = false;
    log_settle(disk);
}

/* I10: the removal of many messages is written in slices; the answer follows the last. */
Test(durability, a_large_purge_is_written_in_slices_and_answered_after_the_last, .timeout = 120)
{
    publish_many("q");
    uint64_t other = messaging_client(rig);
    send_purge(client, "q");
    cr_expect(eq(u64, ready_count(rig, "q"), 0), "the queue is empty at once");
    log_publish(disk, other, "", "q", "1");
    uint32_t slices = 0;
    while (space_live_octets(disk->space) > space_row_octets(1)) {
        rig_expect_nothing(rig, client);
        log_commit(disk);
        slices++;
        cr_assert(lt(u32, slices, 20));
    }
    cr_expect(ge(u32, slices, MANY / CORE_DISCARDS_PER_TICK - 1));
    rig_expect_nothing(rig, client);
    log_settle(disk);
    cr_expect(eq(u32, expect_purged(client), MANY));
    log_check(disk);
}

/* What follows on the channel waits for the purge, and the count is the purge's own. */
Test(durability, two_purges_in_a_row_are_answered_one_by_one)
{
    log_publish_numbers(disk, client, "q", 1, 3);
    log_settle(disk);
    send_purge(client, "q");
    log_publish(disk, client, "", "q", "4");
    send_purge(client, "q");
    log_settle(disk);
    cr_expect(eq(u32, expect_purged(client), 3));
    cr_expect(eq(u32, expect_purged(client), 1));
    rig_expect_nothing(rig, client);
    log_check(disk);
}

/* Slices of a purge that come behind the record that deletes the queue harm nobody. */
Test(durability, a_queue_that_is_deleted_during_its_purge_leaves_nothing, .timeout = 120)
{
    publish_many("q");
    uint64_t other = messaging_client(rig);
    send_purge(client, "q");
    send_delete(other, "q");
    log_settle(disk);
    cr_expect(eq(u32, expect_purged(client), MANY));
    (void)rig_expect(rig, other, 1, METHOD_QUEUE_DELETE_OK);
    cr_expect(eq(u64, space_live_octets(disk->space), 0));
}

/* Transactions --------------------------------------------------------------------------------- */

static void
select_transactions(uint64_t link)
{
    rig_send_id(rig, link, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, link, 1, METHOD_TX_SELECT_OK);
}

/* I7: a crash leaves all of it or nothing. */
Test(durability, a_transaction_is_one_batch)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    (void)expect_delivery(rig, client, "1");
    select_transactions(client);
    send_ack(rig, client, 1, 1, false);
    log_publish_numbers(disk, client, "q", 2, 4);
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    cr_expect(eq(u32, disk->last_batch[RECORD_PUBLISH], disk->last_batch[RECORD_ACK]));
    for (size_t i = 1; i < disk->row_count; i++) {
        cr_expect(eq(u32, disk->rows[i].batch, disk->last_batch[RECORD_ACK]));
    }
    cr_expect_str_eq(deliveries(rig, client), "2 3 4");
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
}

enum { PIECE = 4000 };

static void
publish_piece(uint64_t link, char first)
{
    static char text[PIECE + 1];
    memset(text, 'x', PIECE);
    text[0] = first;
    log_publish(disk, link, "", "q", text);
}

/* Wherever the segment under way ends: it goes into the next one whole. */
Test(durability, a_transaction_is_one_batch_however_little_is_left_of_the_segment)
{
    for (int fill = 0; fill < 16; fill++) {
        start_again(NULL, SMALL_SLOT);
        uint64_t other = messaging_client(rig);
        select_transactions(client);
        for (int i = 0; i < fill; i++) {
            publish_piece(other, '0');
        }
        for (int i = 0; i < 8; i++) {
            publish_piece(client, '1');
        }
        rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
        uint32_t batch = disk->last_batch[RECORD_PUBLISH];
        for (size_t i = 0; i < disk->row_count; i++) {
            cr_expect(disk->rows[i].number != 1 || disk->rows[i].batch == batch, "fill %d", fill);
        }
        log_settle(disk);
        (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
        log_check(disk);
    }
}

Test(durability, a_transaction_that_no_segment_can_hold_is_refused)
{
    start_again(NULL, SMALL_SLOT);
    select_transactions(client);
    for (int i = 0; i < 16; i++) {
        publish_piece(client, '1');
    }
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    rig_expect_channel_close(rig, client, 1, REPLY_PRECONDITION_FAILED,
                             "transaction is larger than a segment of the log");
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(sz, disk->row_count, 0));
}

/* The limit is the log's: what it is not given does not count. */
Test(durability, a_transaction_in_memory_may_be_larger_than_a_segment)
{
    start_again(NULL, SMALL_SLOT);
    declare_queue(rig, client, "transient");
    select_transactions(client);
    static char text[PIECE + 1];
    memset(text, 'x', PIECE);
    for (int i = 0; i < 20; i++) {
        publish_text(rig, client, "q", text);
        log_publish(disk, client, "", "transient", text);
    }
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u64, ready_count(rig, "transient"), 20));
}

/* The log is told of the queue that has the name at commit, and of no other. */
Test(durability, a_queue_that_goes_before_commit_is_not_written_to)
{
    uint64_t other = messaging_client(rig);
    log_declare(disk, other, "goes");
    log_declare(disk, other, "returns");
    select_transactions(client);
    log_publish(disk, client, "", "goes", "1");
    log_publish(disk, client, "", "returns", "2");
    send_delete(other, "goes");
    send_delete(other, "returns");
    log_settle(disk);
    (void)rig_expect(rig, other, 1, METHOD_QUEUE_DELETE_OK);
    (void)rig_expect(rig, other, 1, METHOD_QUEUE_DELETE_OK);
    log_declare(disk, other, "returns");
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
    cr_expect(eq(sz, disk->row_count, 1));
    cr_expect(eq(u64, live_rows("returns"), 1));
    log_check(disk);
}

/* Memory --------------------------------------------------------------------------------------- */

/* A fan-out to three queues, the n-th allocation of which fails. Returns false when all went well.
 */
static bool
publish_without_memory(uint32_t nth)
{
    start_again(NULL, 0);
    declare_exchange(rig, client, "x", "fanout", NULL);
    log_declare(disk, client, "r");
    log_declare(disk, client, "s");
    bind_queue(rig, client, "q", "x", "");
    bind_queue(rig, client, "r", "x", "");
    bind_queue(rig, client, "s", "x", "");
    log_settle(disk);
    alloc_faults_plan(nth);
    log_publish(disk, client, "x", "", "1");
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, disk->rig->core->counters.internal_errors, 0));
    return failed;
}

Test(durability, a_publish_without_memory_leaves_log_and_queues_agreeing)
{
    uint32_t nth = 1;
    while (publish_without_memory(nth)) {
        (void)rig_expect(rig, client, 0, METHOD_CONNECTION_CLOSE);
        nth++;
        cr_assert(lt(u32, nth, 50));
    }
    cr_expect(gt(u32, nth, 3), "nothing was made to fail");
    cr_expect(eq(u64, live_rows("s"), 1));
}
