/* SPDX-License-Identifier: Apache-2.0 */
/* What the core writes down: bodies once, removals for whatever is done with, transactions in one
 * batch; when it asks for a flush; and how it heeds a log that has fallen behind. */
#include "broker/durability/durability.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "broker/upkeep/expiry.h"
#include "queues/clocks.h"
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

/* Writes the head of "q" down again, for "q" and "r", as if it were published. */
static void
log_again(const struct row_state *first, const struct row_state *second)
{
    struct core *core = rig->core;
    uint64_t lsn;
    struct content_ref content = queue_peek(find_queue(rig, "q"))->content;
    core_log_begin(core, chunk_pool_content(core->pool, content), 0);
    cr_assert(eq(int, core_log_target_with(core, find_queue(rig, "q"), first), STATUS_OK));
    cr_assert(eq(int, core_log_target_with(core, find_queue(rig, "r"), second), STATUS_OK));
    cr_assert(eq(int, core_log_publish(core, content, &lsn), STATUS_OK));
    cr_assert(ne(u64, lsn, 0));
    log_settle(disk);
}

/* Most messages have no state, and those of one publish mostly share it. */
Test(durability, queues_that_know_the_same_of_a_message_share_a_record)
{
    const struct row_state none = {0};
    const struct row_state soon = {.deadline_ms = 1000};
    const struct row_state late = {.deadline_ms = 2000};
    log_declare(disk, client, "r");
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    log_again(NULL, &none);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 0));
    log_again(&soon, &soon);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 1));
    cr_expect(eq(u32, disk->last_state.row_state.queue_count, 2));
    cr_expect(eq(u32, disk->last_batch[RECORD_ROW_STATE], disk->last_batch[RECORD_PUBLISH]));
    log_again(&soon, &late);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 3));
    cr_expect(eq(u64, disk->last_state.row_state.state.deadline_ms, 2000));
    log_again(NULL, &late);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 4));
    cr_expect(eq(u32, disk->last_state.row_state.queue_count, 1));
}

static void
publish_for(const char *expiration)
{
    struct properties properties = {.flags = PROPERTY_EXPIRATION,
                                    .expiration = bytes_of(expiration)};
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = "",
        .routing_key = "q",
        .properties = buffer_bytes(&block),
        .body = bytes_of("1"),
        .is_persistent = true,
    };
    rig_publish_as(rig, client, 1, &publish);
    buffer_fini(&block);
}

/* The wall clock goes on while nobody is there. */
Test(durability, deadline_of_a_message_is_written_with_it)
{
    publish_for("5000");
    uint64_t deadline_ms = (uint64_t)rig->now.wall_ms + 5000;
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 1));
    cr_expect(eq(u64, disk->last_state.row_state.state.deadline_ms, deadline_ms));
    rig_step(rig, 6000);
    log_settle(disk);
    cr_expect(eq(u64, live_rows("q"), 0), "its end is written as well");
    log_check(disk);
}

/* There is room for it when the commit begins. */
Test(durability, deadline_of_a_message_in_a_transaction_is_written_with_it)
{
    rig_send_id(rig, client, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, client, 1, METHOD_TX_SELECT_OK);
    publish_for("5000");
    publish_for("6000");
    rig_step(rig, 1000);
    uint64_t deadline_ms = (uint64_t)rig->now.wall_ms + 6000;
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 2));
    cr_expect(eq(u64, disk->last_state.row_state.state.deadline_ms, deadline_ms));
    log_check(disk);
}

/* As recovery hands it over. */
static void
restore_row(uint64_t lsn, uint64_t deadline_ms)
{
    struct recovered_row row = {
        .lsn = lsn,
        .queue = find_queue(rig, "q")->target.id,
        .body_size = 1,
        .state = {.deadline_ms = deadline_ms},
    };
    enum status status = core_restore_row(rig->core, &row);
    cr_assert(eq(int, status, STATUS_OK));
}

/* Overdue at start: never handed out. */
Test(durability, restored_message_dies_when_it_would_have_died)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    restore_row(8, wall_ms - 1);
    restore_row(16, wall_ms + 1000);
    restore_row(24, wall_ms + 500);
    restore_row(32, 0);
    struct queue *queue = find_queue(rig, "q");
    cr_expect(core_head_is_overdue(rig->core, queue));
    cr_expect(list_link_is_linked(&queue->times->link), "the next tick lets it die");
    struct queue_entry entry;
    uint64_t position;
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    enum status status = queue_take_expired(queue, now_ms, &entry, &position);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, queue_entry_lsn(&entry), 8));
    cr_expect(eq(u64, queue_next_deadline_ms(queue), (now_ms + 500 + 9) / 10 * 10));
    status = queue_take_expired(queue, now_ms + 1010, &entry, &position);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, queue_entry_lsn(&entry), 24), "the first that is due");
    cr_expect(eq(u64, queue->ready_count, 2));
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
}

/* The log knows when a message came; what it does not know any more came with the start. */
Test(durability, restored_message_came_when_it_came)
{
    static const uint64_t ages_ms[] = {86400000, 5000, 0};
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    struct queue *queue = find_queue(rig, "q");
    for (size_t i = 0; i < ARRAY_LEN(ages_ms); i++) {
        struct recovered_row row = {.lsn = 8 * (i + 1),
                                    .queue = queue->target.id,
                                    .body_size = 1,
                                    .arrival_ms = ages_ms[i] == 0 ? 0 : wall_ms - ages_ms[i]};
        enum status status = core_restore_row(rig->core, &row);
        cr_assert(eq(int, status, STATUS_OK));
    }
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    for (size_t i = 0; i < ARRAY_LEN(ages_ms); i++) {
        cr_expect(eq(u64, now_ms - queue_arrival_ms(queue, i + 1), ages_ms[i]));
    }
    cr_expect(eq(i64, rig->core->queue_memory.now_ms, (int64_t)now_ms));
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
}

/* A state counts in the account of space until the next one or the end of its message. */
Test(durability, a_returned_message_has_one_state_until_it_leaves)
{
    struct queue *queue = find_queue(rig, "q");
    struct row_state state = {.due_ms = 1000, .delivery_count = 1, .verdict = ROW_VERDICT_NACK};
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    uint64_t before = space_live_octets(disk->space);
    uint64_t first = core_log_return(rig->core, queue, queue_peek(queue), &state, NULL, 0);
    cr_assert(ne(u64, first, 0));
    log_settle(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), before + SPACE_STATE_OCTETS));
    cr_expect(row_state_equals(&disk->last_state.row_state.state, &state));
    cr_expect(not(disk->last_state.row_state.came_with_message));
    uint64_t second = core_log_return(rig->core, queue, queue_peek(queue), &state, NULL, first);
    cr_expect(lt(u64, first, second));
    log_settle(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), before + SPACE_STATE_OCTETS));
    struct queue_entry entry;
    uint64_t position;
    cr_assert(queue_pop(queue, &entry, &position));
    core_log_removal_with(rig->core, queue, &entry, second);
    queue_entry_release(&entry, rig->pool);
    log_settle(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), 0));
    log_check(disk);
}

/* What is not in the log has nothing to be kept of it. */
Test(durability, a_message_that_is_in_no_log_is_returned_without_a_record)
{
    struct queue *queue = find_queue(rig, "q");
    struct row_state state = {.due_ms = 1000};
    struct rig_publish publish = {.exchange = "", .routing_key = "q", .body = bytes_of("1")};
    rig_publish_as(rig, client, 1, &publish);
    cr_expect(eq(u64, core_log_return(rig->core, queue, queue_peek(queue), &state, NULL, 0), 0));
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 0));
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

static void
declare_quorum(const char *name)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-queue-type", bytes_of("quorum"));
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(name),
                                              .durable = true,
                                              .arguments = buffer_bytes(&arguments)}};
    rig_send(rig, client, 1, &method);
    log_commit(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    buffer_fini(&arguments);
}

/* Whatever their delivery mode; the classic queue that has the same message does not. */
Test(durability, a_quorum_queue_keeps_transient_messages)
{
    declare_quorum("r");
    declare_exchange(rig, client, "x", "fanout", NULL);
    bind_queue(rig, client, "q", "x", "");
    bind_queue(rig, client, "r", "x", "");
    log_settle(disk);
    struct method select = {.id = METHOD_CONFIRM_SELECT};
    rig_send(rig, client, 1, &select);
    (void)rig_expect(rig, client, 1, METHOD_CONFIRM_SELECT_OK);
    struct rig_publish publish = {.exchange = "x", .routing_key = "", .body = bytes_of("1")};
    rig_publish_as(rig, client, 1, &publish);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_ACK);
    cr_expect(eq(u64, live_rows("q"), 0));
    cr_expect(eq(u64, live_rows("r"), 1));
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
    log_settle(disk);
    cr_expect(eq(u64, live_rows("q"), 5));
    send_nack(rig, client, 1, 2, false, false);
    log_settle(disk);
    cr_expect(eq(u64, live_rows("q"), 4));
    cancel(rig, client, "c");
    send_nack(rig, client, 1, 4, true, true);
    log_settle(disk);
    cr_expect(eq(u64, live_rows("q"), 4));
    log_check(disk);
    (void)get_message(rig, client, "q", true);
    log_settle(disk);
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

/* An acknowledgement waits 10 ms for company before it is written, and then for a flush that others
 * ask for: 100 ms in all. */
Test(durability, an_acknowledgement_alone_is_flushed_within_100_ms)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    rig_step(rig, CORE_FLUSH_WAIT_MS);
    log_settle(disk);
    uint32_t flushes = disk->flush_count;
    uint32_t batches = disk->batch_count;
    send_ack(rig, client, 1, 1, false);
    cr_expect(eq(u32, disk->batch_count, batches), "it waits for company");
    cr_expect(eq(u64, core_wait_ms(rig->core), CORE_WRITE_WAIT_MS));
    rig_step(rig, CORE_WRITE_WAIT_MS);
    cr_expect(eq(u32, disk->batch_count, batches + 1), "handed over");
    cr_expect(eq(u32, disk->last_batch[RECORD_ACK], disk->batch_count));
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

/* Acknowledgements that come while the disk flushes are one batch, which is handed over soon after.
 */
Test(durability, acknowledgements_during_a_flush_are_one_batch_behind_it)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish_numbers(disk, client, "q", 1, 3);
    log_settle(disk);
    rig_step(rig, CORE_FLUSH_WAIT_MS);
    log_settle(disk);
    uint64_t other = messaging_client(rig);
    select_confirms(rig, other, 1);
    log_publish(disk, other, "", "q", "4");
    uint32_t batches = disk->batch_count;
    for (uint64_t tag = 1; tag <= 3; tag++) {
        send_ack(rig, client, 1, tag, false);
    }
    cr_expect(eq(u32, disk->batch_count, batches));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0), "the loop sleeps meanwhile");
    log_commit(disk);
    expect_confirm(rig, other, 1, 1, false);
    rig_step(rig, CORE_WRITE_WAIT_MS);
    cr_expect(eq(u32, disk->batch_count, batches + 1));
    cr_expect(eq(u32, disk->last_batch[RECORD_ACK], batches + 1));
    log_settle(disk);
    rig_step(rig, CORE_FLUSH_WAIT_MS);
    log_settle(disk);
    cr_expect(core_is_committed(rig->core, core_log_token(rig->core)), "flushed within 100 ms");
}

/* Who waits for what is still open has it handed over, flush or no flush. */
Test(durability, a_confirm_takes_along_what_waited)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    uint64_t other = messaging_client(rig);
    select_confirms(rig, other, 1);
    log_publish(disk, other, "", "q", "2");
    send_ack(rig, client, 1, 1, false);
    uint32_t batches = disk->batch_count;
    log_publish(disk, other, "", "q", "3");
    cr_expect(eq(u32, disk->batch_count, batches + 1));
    cr_expect(eq(u32, disk->last_batch[RECORD_ACK], batches + 1));
    log_settle(disk);
    log_check(disk);
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

/* Records that are made after the batch of the turn was handed over must not wait for somebody to
 * come. */
Test(durability, removals_of_a_purge_whose_client_has_gone_are_handed_over)
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
    cr_expect(eq(u64, core_wait_ms(rig->core), CORE_WRITE_WAIT_MS));
    rig_step(rig, CORE_WRITE_WAIT_MS);
    cr_expect(eq(u64, live_rows("q"), 0));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
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
Test(durability, a_large_purge_is_written_in_slices_and_answered_after_the_last)
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
Test(durability, a_queue_that_is_deleted_during_its_purge_leaves_nothing)
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
    cr_expect(ge(u32, nth, 4), "nothing was made to fail");
    cr_expect(eq(u64, live_rows("s"), 1));
}

/* The same for a commit of two messages, each for one of two queues, and a settlement. */
static bool
commit_without_memory(uint32_t nth)
{
    start_again(NULL, 0);
    log_declare(disk, client, "r");
    log_publish(disk, client, "", "r", "1");
    log_settle(disk);
    select_transactions(client);
    consume(rig, client, 1, "r", "c", false);
    log_settle(disk);
    (void)expect_delivery(rig, client, "1");
    send_ack(rig, client, 1, 1, false);
    log_publish(disk, client, "", "q", "2");
    log_publish(disk, client, "", "r", "3");
    have_rates(rig, "q");
    have_rates(rig, "r");
    alloc_faults_plan(nth);
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, live_rows("q"), failed ? 0 : 1));
    cr_expect(eq(u64, live_rows("r"), 1));
    return failed;
}

Test(durability, a_commit_without_memory_leaves_log_and_queues_agreeing)
{
    uint32_t nth = 1;
    while (commit_without_memory(nth)) {
        nth++;
        cr_assert(lt(u32, nth, 50));
    }
    cr_expect(ge(u32, nth, 2), "nothing was made to fail");
    (void)expect_delivery(rig, client, "3");
    (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
}

/* Falling behind ------------------------------------------------------------------------------- */

enum { MEGABYTE = 1024 * 1024, BACKLOG_MEGABYTES = CORE_LOG_BACKLOG_OCTETS / MEGABYTE };

static void
publish_megabyte(uint64_t link)
{
    uint8_t *body = xalloc(MEGABYTE);
    struct rig_publish publish = {.exchange = "",
                                  .routing_key = "q",
                                  .body = bytes_make(body, MEGABYTE),
                                  .is_persistent = true};
    rig_publish_as(rig, link, 1, &publish);
    free(body);
}

/* I11: 8 MiB may wait for the disk. Then publishers are not read, until half of it is written; who
 * does not publish is. */
Test(durability, a_publisher_that_is_faster_than_the_disk_is_not_read)
{
    uint64_t other = messaging_client(rig);
    int published = 0;
    while (!rig_link(rig, client)->is_paused && published < 2 * BACKLOG_MEGABYTES) {
        publish_megabyte(client);
        published++;
    }
    cr_expect(eq(int, published, BACKLOG_MEGABYTES + 1));
    cr_expect(not(rig_link(rig, other)->is_paused));
    uint32_t left = disk->batch_count - disk->written_count;
    log_write(disk, left / 2 - 1);
    cr_expect(rig_link(rig, client)->is_paused, "more than half of it waits");
    log_write(disk, 3);
    cr_expect(not(rig_link(rig, client)->is_paused));
    publish_megabyte(client);
    log_settle(disk);
    log_check(disk);
}

Test(durability, a_publisher_that_vanishes_while_it_is_not_read_is_forgotten)
{
    while (!rig_link(rig, client)->is_paused) {
        publish_megabyte(client);
    }
    rig_hang_up(rig, client);
    log_settle(disk);
    log_check(disk);
}

/* A transaction is written at its commit. */
Test(durability, transactions_that_are_faster_than_the_disk_are_not_read)
{
    select_transactions(client);
    int commits = 0;
    while (!rig_link(rig, client)->is_paused && commits < 2 * BACKLOG_MEGABYTES) {
        publish_megabyte(client);
        rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
        commits++;
    }
    cr_expect(eq(int, commits, BACKLOG_MEGABYTES + 1));
    log_settle(disk);
    cr_expect(not(rig_link(rig, client)->is_paused));
    log_check(disk);
}

/* So is topology, and a client need not wait for the answers. */
Test(durability, declarations_that_are_faster_than_the_disk_are_not_read)
{
    static char key[256];
    memset(key, 'k', sizeof(key) - 1);
    declare_exchange(rig, client, "memory", "fanout", NULL);
    struct method declare = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("x"),
                             .type = bytes_of("fanout"),
                             .durable = true,
                             .nowait = true},
    };
    rig_send(rig, client, 1, &declare);
    uint32_t bindings = 0;
    while (!rig_link(rig, client)->is_paused && bindings < 100000) {
        (void)snprintf(key, sizeof(key), "%08u", bindings);
        key[8] = 'k';
        struct method bind = {
            .id = METHOD_QUEUE_BIND,
            .queue_bind = {.queue = bytes_of("q"),
                           .exchange = bytes_of("x"),
                           .routing_key = bytes_of(key),
                           .nowait = true},
        };
        rig_send(rig, client, 1, &bind);
        bindings++;
    }
    cr_expect(lt(u32, bindings, 100000));
    log_settle(disk);
    cr_expect(not(rig_link(rig, client)->is_paused));
}

/* Alarms --------------------------------------------------------------------------------------- */

enum { MARK = 4 * CHUNK_SIZE, MANY_OCTETS = 1 << 30 };

static void
set_disk_space(uint64_t free_bytes)
{
    core_set_disk_space(rig->core, free_bytes, UINT64_C(1) << 40);
    rig_turn(rig);
}

static void
expect_blocked(uint64_t link, const char *reason)
{
    struct bytes said =
        rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED)->connection_blocked.reason;
    cr_expect(bytes_equal_text(said, reason), "%.*s", BYTES_FORMAT(said));
}

/* Said once, with all reasons there are; unblocked when the last has gone. */
Test(durability, two_alarms_are_said_once_and_end_with_the_second)
{
    struct core_settings settings = rig_settings();
    settings.memory_mark_bytes = MARK;
    settings.disk_mark_bytes = MANY_OCTETS;
    start_again(&settings, 0);
    struct content_ref ballast[16];
    size_t ballast_count = 0;
    while (chunk_pool_bytes(rig->pool) < MARK) {
        struct content_shape shape = {.body_size = 200 * 1024, .kind = CHUNK_KIND_TRANSIENT};
        uint8_t *body;
        cr_assert(eq(int, chunk_pool_reserve(rig->pool, &shape, &ballast[ballast_count++], &body),
                     STATUS_OK));
    }
    set_disk_space(MANY_OCTETS - 1);
    log_publish(disk, client, "", "q", "1");
    expect_blocked(client, "low on memory & disk");
    log_publish(disk, client, "", "q", "2");
    set_disk_space(2 * (uint64_t)MANY_OCTETS);
    rig_expect_nothing(rig, client);
    while (ballast_count > 0) {
        chunk_pool_release(rig->pool, ballast[--ballast_count]);
    }
    rig_turn(rig);
    rig_turn(rig);
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_UNBLOCKED);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    log_settle(disk);
    log_check(disk);
}

/* Consumers and their acknowledgements go on while the disk is full: that is what makes room. */
Test(durability, consumers_drain_while_the_disk_is_low)
{
    struct core_settings settings = rig_settings();
    settings.disk_mark_bytes = MANY_OCTETS;
    start_again(&settings, 0);
    log_publish_numbers(disk, client, "q", 1, 2);
    log_settle(disk);
    set_disk_space(MANY_OCTETS - 1);
    uint64_t consumer = messaging_client(rig);
    consume(rig, consumer, 1, "q", "c", false);
    log_settle(disk);
    cr_expect_str_eq(deliveries(rig, consumer), "1 2");
    send_ack(rig, consumer, 1, 2, true);
    log_settle(disk);
    cr_expect(eq(u64, live_rows("q"), 0));
    set_disk_space(MANY_OCTETS + MANY_OCTETS / 20);
    log_publish(disk, client, "", "q", "3");
    expect_blocked(client, "low on disk");
    set_disk_space(MANY_OCTETS + MANY_OCTETS / 10);
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_UNBLOCKED);
    log_settle(disk);
    log_check(disk);
}

/* What an alarm's end lets through is written down after the batch of the turn: it goes at once. */
Test(durability, what_an_alarm_held_is_handed_over_when_it_ends)
{
    struct core_settings settings = rig_settings();
    settings.disk_mark_bytes = MANY_OCTETS;
    start_again(&settings, 0);
    core_set_disk_space(rig->core, 0, MANY_OCTETS);
    log_publish(disk, client, "", "q", "1");
    core_set_disk_space(rig->core, 2 * (uint64_t)MANY_OCTETS, 2 * (uint64_t)MANY_OCTETS);
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig_turn(rig);
    cr_expect(eq(u64, live_rows("q"), 1));
}

/* Stopping ------------------------------------------------------------------------------------- */

/* First what was promised is committed and said; publishes after that are not taken on. */
Test(durability, a_stop_says_what_was_promised_first)
{
    uint64_t other = messaging_client(rig);
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    core_hold_publishers(rig->core);
    cr_expect(not(core_has_said_all(rig->core)));
    log_publish(disk, client, "", "q", "2");
    log_publish(disk, other, "", "q", "3");
    rig_expect_nothing(rig, other);
    cr_expect(not(core_has_said_all(rig->core)));
    log_settle(disk);
    cr_expect(core_has_said_all(rig->core));
    expect_confirm(rig, client, 1, 1, false);
    rig_expect_nothing(rig, client);
    core_shut_down(rig->core, "shutdown");
    rig_expect_close(rig, client, REPLY_CONNECTION_FORCED,
                     "broker forced connection closure with reason 'shutdown'");
    cr_expect(eq(u64, live_rows("q"), 1));
}

/* An acknowledgement alone waits for no flush, but a stop has it flushed. */
Test(durability, a_stop_has_everything_flushed)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    send_ack(rig, client, 1, 1, false);
    cr_expect(not(core_is_committed(rig->core, core_log_token(rig->core))));
    core_hold_publishers(rig->core);
    log_settle(disk);
    cr_expect(core_has_said_all(rig->core));
}

/* Who goes on acknowledging a long backlog keeps no stop waiting: nobody was promised anything for
 * it. */
Test(durability, a_stop_does_not_wait_for_consumers_that_go_on)
{
    log_publish_numbers(disk, client, "q", 1, 20);
    log_settle(disk);
    set_prefetch(rig, client, 1, 1, false);
    consume(rig, client, 1, "q", "c", false);
    log_settle(disk);
    core_hold_publishers(rig->core);
    bool has_said_all = false;
    for (uint64_t tag = 1; tag <= 10; tag++) {
        send_ack(rig, client, 1, tag, false);
        log_commit(disk);
        send_ack(rig, client, 1, ++tag, false);
        has_said_all |= core_has_said_all(rig->core);
    }
    cr_expect(has_said_all);
}

/* In memory a stop waits for nothing. */
Test(durability, a_stop_without_a_log_is_through_at_once)
{
    struct rig *plain = messaging_rig(NULL);
    core_hold_publishers(plain->core);
    rig_turn(plain);
    cr_expect(core_has_said_all(plain->core));
    cr_expect(ge(u64, core_wait_ms(plain->core), 1));
    rig_free(&plain);
}
