/* SPDX-License-Identifier: Apache-2.0 */
/* Which messages may leave before what is written: a message that was delivered before a crash and
 * is found after it comes back marked as redelivered. So the log says ahead that messages of a
 * queue may have been handed out; who was given nothing may be told otherwise, who was given
 * something never. */
#include "broker/durability/durability.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

static struct log_rig *disk;
static struct rig *rig;
static uint64_t publisher, client;

static void
set_up(void)
{
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    publisher = messaging_client(rig);
    client = messaging_client(rig);
    log_declare(disk, publisher, "q");
}

static void
tear_down(void)
{
    log_rig_free(&disk);
}

TestSuite(handing_out, .init = set_up, .fini = tear_down);

static uint64_t
id_of(const char *queue)
{
    return find_queue(rig, queue)->target.id;
}

static bool
is_unmarked(uint64_t number)
{
    bool is_marked;
    return log_has_row(disk, id_of("q"), number, UINT32_MAX, &is_marked) && !is_marked;
}

static void
send_get(void)
{
    struct method method = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, client, 1, &method);
}

/* A consumer that waits is served in the turn of the publish: the record itself says so. */
Test(handing_out, a_message_for_a_waiting_consumer_goes_at_once_and_is_marked_in_its_record)
{
    consume(rig, client, 1, "q", "c", false);
    log_publish(disk, publisher, "", "q", "1");
    (void)expect_delivery(rig, client, "1");
    cr_expect(not(is_unmarked(1)));
    cr_expect(eq(u32, disk->records[RECORD_HANDOUT], 0));
}

/* What nobody was given is not redelivered after a crash. */
Test(handing_out, a_backlog_that_nobody_touches_is_not_marked)
{
    log_publish_numbers(disk, publisher, "q", 1, 3);
    log_settle(disk);
    cr_expect(is_unmarked(1));
    cr_expect(is_unmarked(3));
}

/* The mark is written before the first message leaves, and reaches ahead of it. */
Test(handing_out, the_head_of_a_backlog_waits_until_its_mark_is_written)
{
    log_publish_numbers(disk, publisher, "q", 1, 3);
    log_settle(disk);
    consume(rig, client, 1, "q", "c", false);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u32, disk->records[RECORD_HANDOUT], 1));
    log_write(disk, UINT32_MAX);
    cr_expect_str_eq(deliveries(rig, client), "1 2 3");
    cr_expect(eq(u32, disk->records[RECORD_HANDOUT], 1));
    for (uint64_t number = 1; number <= 3; number++) {
        cr_assert(log_tells_of_handout(disk, id_of("q"), number));
    }
}

Test(handing_out, a_get_waits_until_the_mark_is_written)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    rig_expect_nothing(rig, client);
    log_write(disk, UINT32_MAX);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_GET_OK);
    cr_assert(log_tells_of_handout(disk, id_of("q"), 1));
}

/* What follows the get on its channel waits with it, but for settlements. */
Test(handing_out, what_follows_a_waiting_get_keeps_its_order)
{
    publish_text(rig, client, "q", "in memory");
    (void)get_message(rig, client, "q", false);
    log_publish_numbers(disk, publisher, "q", 1, 2);
    log_settle(disk);
    send_get();
    publish_text(rig, client, "q", "behind the get");
    send_get();
    send_ack(rig, client, 1, 1, false);
    cr_expect(eq(u64, find_queue(rig, "q")->unacked_count, 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    rig_expect_nothing(rig, client);
    log_settle(disk);
    cr_expect(bytes_equal_text(rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK)->body, "1"));
    cr_expect(bytes_equal_text(rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK)->body, "2"));
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* One mark lets all of them go on, each with a message of its own. */
Test(handing_out, gets_of_many_channels_on_many_queues_go_on_together)
{
    enum { CHANNELS = 40, QUEUES = 4 };
    static const char *const names[QUEUES] = {"a", "b", "c", "d"};
    for (int i = 0; i < QUEUES; i++) {
        log_declare(disk, publisher, names[i]);
        log_publish_numbers(disk, publisher, names[i], 1, CHANNELS / QUEUES - 1);
    }
    log_settle(disk);
    for (uint16_t channel = 2; channel < 2 + CHANNELS; channel++) {
        rig_open_channel(rig, client, channel);
    }
    for (uint16_t channel = 2; channel < 2 + CHANNELS; channel++) {
        struct method get = {.id = METHOD_BASIC_GET,
                             .basic_get = {.queue = bytes_of(names[channel % QUEUES])}};
        rig_send(rig, client, channel, &get);
    }
    rig_expect_nothing(rig, client);
    log_settle(disk);
    int got = 0;
    int empty = 0;
    for (const struct posted *posted; (posted = rig_next(rig, client)) != NULL;) {
        got += posted->method.id == METHOD_BASIC_GET_OK ? 1 : 0;
        empty += posted->method.id == METHOD_BASIC_GET_EMPTY ? 1 : 0;
    }
    cr_expect(eq(int, got, CHANNELS - QUEUES));
    cr_expect(eq(int, empty, QUEUES));
}

/* The get is copied to be handled again; without memory for that its connection ends. */
Test(handing_out, a_get_that_cannot_be_held_ends_its_connection)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    alloc_faults_plan(1);
    send_get();
    cr_expect(eq(u32, alloc_faults_left(), 0));
    rig_expect_close(rig, client, 506, "no memory to hold the method back");
    log_settle(disk);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* A get that waits ends with its channel, with the queue, and with the connection. */
Test(handing_out, a_waiting_get_ends_with_its_channel)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    send_ack(rig, client, 1, 0, false); /* a mistake that nothing held can mend */
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    log_settle(disk);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* The client knows the tag before it has read the message. */
Test(handing_out, an_ack_behind_a_get_that_waits_settles_its_message)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    send_ack(rig, client, 1, 1, false);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(u64, rig->core->counters.acked, 1));
}

Test(handing_out, a_get_whose_queue_is_deleted_meanwhile_finds_it_gone)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, publisher, 1, &method);
    rig_expect_channel_close(rig, client, 1, 404, "no queue 'q' in vhost '/'");
    log_settle(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), 0));
}

Test(handing_out, a_get_whose_message_is_purged_meanwhile_finds_the_queue_empty)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    struct method method = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, publisher, 1, &method);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_GET_EMPTY);
}

Test(handing_out, a_connection_that_vanishes_while_its_get_waits_is_forgotten)
{
    log_publish(disk, publisher, "", "q", "1");
    log_settle(disk);
    send_get();
    rig_hang_up(rig, client);
    log_settle(disk);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

static void
publish_number(uint64_t number)
{
    log_publish_numbers(disk, publisher, "q", (int)number, (int)number);
}

/* A consumer with two open deliveries that has refused a third message. */
static void
start_full_consumer(void)
{
    set_prefetch(rig, client, 1, 2, false);
    consume(rig, client, 1, "q", "c", false);
    publish_number(1);
    publish_number(2);
    publish_number(3);
    cr_assert_str_eq(deliveries(rig, client), "1 2");
}

/* In one turn, room for two comes, and behind `number` - 1, which waited, `number` is published
 * before and the next one after: mark and message are in one batch, so either both are there after
 * a crash or neither. */
static void
publish_and_make_room(uint64_t number)
{
    rig->holds_turn = true;
    publish_number(number);
    send_ack(rig, client, 1, number - 2, true);
    publish_number(number + 1);
    rig->holds_turn = false;
    rig_turn(rig);
}

Test(handing_out, a_mark_in_the_batch_of_its_message_will_do)
{
    start_full_consumer();
    publish_and_make_room(4);
    cr_expect_str_eq(deliveries(rig, client), "3 4");
    cr_expect(eq(u32, disk->records[RECORD_HANDOUT], 1));
    cr_expect(eq(u32, disk->last_batch[RECORD_HANDOUT], disk->last_batch[RECORD_PUBLISH]));
}

/* A queue whose mark is raised turn by turn must not keep others waiting for theirs. */
Test(handing_out, a_queue_that_is_marked_again_and_again_holds_nobody_up)
{
    log_declare(disk, publisher, "other");
    log_publish(disk, publisher, "", "other", "100");
    log_settle(disk);
    start_full_consumer();
    publish_and_make_room(4);
    uint64_t waiting = messaging_client(rig);
    consume(rig, waiting, 1, "other", "c", false);
    rig_expect_nothing(rig, waiting);
    for (uint64_t number = 6; number <= 20; number += 2) {
        publish_and_make_room(number);
        log_write(disk, disk->batch_count - disk->written_count - 1);
    }
    cr_expect(ge(u32, disk->records[RECORD_HANDOUT], 8));
    (void)expect_delivery(rig, waiting, "100");
}

/* The mark is raised at half way, so that a steady consumer never waits. */
Test(handing_out, a_consumer_that_keeps_up_waits_for_one_mark_only)
{
    enum { COUNT = 3000 };
    log_publish_numbers(disk, publisher, "q", 1, COUNT);
    log_settle(disk);
    set_prefetch(rig, client, 1, 10, false);
    consume(rig, client, 1, "q", "c", false);
    log_write(disk, UINT32_MAX);
    uint64_t received = 0;
    while (received < COUNT) {
        const struct posted *posted = rig_next(rig, client);
        cr_assert(ne(ptr, (void *)posted, NULL), "stands still at %u", (unsigned)received);
        received++;
        cr_assert(log_tells_of_handout(disk, id_of("q"), received));
        send_ack(rig, client, 1, received, false);
        if (received % 64 == 0) {
            log_write(disk, UINT32_MAX);
        }
    }
    cr_expect(le(u32, disk->records[RECORD_HANDOUT], 40));
}
