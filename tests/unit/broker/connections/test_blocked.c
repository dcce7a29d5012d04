/* SPDX-License-Identifier: Apache-2.0 */
/* The memory mark: publishers wait in their connection, everybody else goes on. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "tests/unit/broker/core_harness.h"

enum { MARK = 4 * CHUNK_SIZE, BLOCK = 200 * 1024 };

static struct rig *rig;
static struct content_ref ballast[16]; /* message memory that nobody in the core holds */
static size_t ballast_count;

static void
set_up(void)
{
    struct core_settings settings = rig_settings();
    settings.memory_mark_bytes = MARK;
    rig = rig_new(&settings);
    rig_add_user(rig, "alice", "secret");
    ballast_count = 0;
}

static void
reserve_ballast(void)
{
    while (chunk_pool_bytes(rig->pool) < MARK) {
        struct content_shape shape = {.body_size = BLOCK, .kind = CHUNK_KIND_TRANSIENT};
        uint8_t *body;
        cr_assert(eq(int, chunk_pool_reserve(rig->pool, &shape, &ballast[ballast_count++], &body),
                     STATUS_OK));
    }
}

static void
raise_alarm(void)
{
    reserve_ballast();
    rig_turn(rig);
    cr_assert(rig->core->alarms != 0);
}

static void
drop_ballast(void)
{
    while (ballast_count > 0) {
        chunk_pool_release(rig->pool, ballast[--ballast_count]);
    }
}

static void
clear_alarm(void)
{
    drop_ballast();
    rig_turn(rig);
    cr_assert(not(rig->core->alarms != 0));
    rig_turn(rig); /* what was held */
}

static void
tear_down(void)
{
    drop_ballast();
    rig_free(&rig);
}

TestSuite(blocked, .init = set_up, .fini = tear_down);

static void
declare(uint64_t link, const char *queue)
{
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(queue)}};
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
}

static void
consume(uint64_t link, uint16_t channel, const char *queue, bool no_ack)
{
    struct method method = {.id = METHOD_BASIC_CONSUME,
                            .basic_consume = {.queue = bytes_of(queue),
                                              .consumer_tag = bytes_of(queue),
                                              .no_ack = no_ack}};
    rig_send(rig, link, channel, &method);
    (void)rig_expect(rig, link, channel, METHOD_BASIC_CONSUME_OK);
}

/* A connection with queue "q" and two channels. */
static uint64_t
connect_publisher(void)
{
    uint64_t link = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, link, 1);
    rig_open_channel(rig, link, 2);
    declare(link, "q");
    return link;
}

static uint64_t
ready_count(const char *queue)
{
    uint64_t link = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, link, 1);
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(queue), .passive = true}};
    rig_send(rig, link, 1, &method);
    uint64_t count =
        rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK)->queue_declare_ok.message_count;
    rig_hang_up(rig, link);
    return count;
}

/* Told once, when the first publish has to wait: a connection that never publishes hears nothing.
 */
Test(blocked, a_publisher_is_told_once_and_held)
{
    uint64_t link = connect_publisher();
    uint64_t idle = connect_publisher();
    raise_alarm();
    rig_expect_nothing(rig, link);
    rig_publish(rig, link, 1, "", "q", "first");
    const struct method *blocked = rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    cr_expect(bytes_equal_text(blocked->connection_blocked.reason, "low on memory"));
    rig_publish(rig, link, 1, "", "q", "second");
    rig_publish(rig, link, 2, "", "q", "third");
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 0));
    clear_alarm();
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    rig_expect_nothing(rig, link);
    rig_expect_nothing(rig, idle);
    cr_expect(eq(u64, ready_count("q"), 3));
}

Test(blocked, a_second_alarm_tells_again)
{
    uint64_t link = connect_publisher();
    for (int i = 0; i < 2; i++) {
        raise_alarm();
        rig_publish(rig, link, 1, "", "q", "body");
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
        clear_alarm();
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    }
}

/* A client that did not announce the capability would not know what it hears. */
Test(blocked, without_the_capability_publishes_are_held_in_silence)
{
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    rig_start_ok(rig, link, "PLAIN", bytes_make("\0alice\0secret", 13), false);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
    rig_tune_ok(rig, link, 2047, 131072, 60);
    rig_open_vhost(rig, link, "/");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    rig_open_channel(rig, link, 1);
    declare(link, "q");
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "body");
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 0));
    clear_alarm();
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 1));
}

/* A service that consumes and publishes on one connection can still drain the backlog. */
Test(blocked, settlements_pass_a_publish_that_waits)
{
    uint64_t link = connect_publisher();
    for (int i = 0; i < 3; i++) {
        rig_publish(rig, link, 1, "", "q", "backlog");
    }
    consume(link, 1, "q", false);
    for (int i = 0; i < 3; i++) {
        (void)rig_expect(rig, link, 1, METHOD_BASIC_DELIVER);
    }
    raise_alarm();
    rig_publish(rig, link, 1, "", "other", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 1}};
    struct method nack = {.id = METHOD_BASIC_NACK, .basic_nack = {.delivery_tag = 2}};
    struct method reject = {.id = METHOD_BASIC_REJECT, .basic_reject = {.delivery_tag = 3}};
    uint64_t before = rig->core->counters.acked;
    rig_send(rig, link, 1, &ack);
    cr_expect(eq(u64, rig->core->counters.acked, before + 1));
    rig_send(rig, link, 1, &nack);
    rig_send(rig, link, 1, &reject);
    rig_send(rig, link, 1, &ack); /* answered at once as well: it is not known any more */
    rig_expect_channel_close(rig, link, 1, REPLY_PRECONDITION_FAILED, "unknown delivery tag 1");
}

/* Order within a channel is what the client wrote; other channels are not touched. */
Test(blocked, what_follows_on_the_channel_waits_and_other_channels_do_not)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, link, 1, &purge);
    rig_expect_nothing(rig, link);
    rig_send(rig, link, 2, &purge);
    cr_expect(
        eq(u32, rig_expect(rig, link, 2, METHOD_QUEUE_PURGE_OK)->queue_purge_ok.message_count, 0));
    rig_open_channel(rig, link, 3);
    clear_alarm();
    cr_expect(
        eq(u32, rig_expect(rig, link, 1, METHOD_QUEUE_PURGE_OK)->queue_purge_ok.message_count, 1));
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    rig_expect_nothing(rig, link);
}

/* In a transaction the order of settlements and publishes is the point. */
Test(blocked, a_transaction_waits_whole)
{
    uint64_t link = connect_publisher();
    rig_publish(rig, link, 2, "", "q", "backlog");
    rig_send_id(rig, link, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, link, 1, METHOD_TX_SELECT_OK);
    consume(link, 1, "q", false);
    (void)rig_expect(rig, link, 1, METHOD_BASIC_DELIVER);
    raise_alarm();
    rig_publish(rig, link, 1, "", "other", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 1}};
    rig_send(rig, link, 1, &ack);
    rig_send_id(rig, link, 1, METHOD_TX_COMMIT);
    rig_expect_nothing(rig, link);
    clear_alarm();
    (void)rig_expect(rig, link, 1, METHOD_TX_COMMIT_OK);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
}

Test(blocked, confirms_come_when_the_publish_was_let_through)
{
    uint64_t link = connect_publisher();
    rig_send_id(rig, link, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, link, 1, METHOD_CONFIRM_SELECT_OK);
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "first");
    rig_publish(rig, link, 1, "", "q", "second");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    rig_expect_nothing(rig, link);
    clear_alarm();
    rig_turn(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    const struct basic_ack ack = rig_expect(rig, link, 1, METHOD_BASIC_ACK)->basic_ack;
    cr_expect(eq(u64, ack.delivery_tag, 2));
    cr_expect(ack.multiple);
}

/* Released in the order in which it came, across channels. */
Test(blocked, what_was_held_is_released_in_order)
{
    uint64_t link = connect_publisher();
    uint64_t consumer = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, consumer, 1);
    consume(consumer, 1, "q", true);
    raise_alarm();
    static const char *const bodies[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < 6; i++) {
        rig_publish(rig, link, (uint16_t)(1 + i % 2), "", "q", bodies[i]);
    }
    rig_expect_nothing(rig, consumer);
    clear_alarm();
    rig_turn(rig);
    for (size_t i = 0; i < 6; i++) {
        const struct posted *deliver = rig_expect_posted(rig, consumer, 1, METHOD_BASIC_DELIVER);
        cr_expect(bytes_equal_text(deliver->body, bodies[i]), "message %zu", i);
    }
}

/* Consumers are served while publishers wait: that is how memory comes back. */
Test(blocked, deliveries_go_on)
{
    uint64_t link = connect_publisher();
    for (int i = 0; i < 10; i++) {
        rig_publish(rig, link, 1, "", "q", "backlog");
    }
    raise_alarm();
    uint64_t consumer = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, consumer, 1);
    consume(consumer, 1, "q", true);
    for (int i = 0; i < 10; i++) {
        (void)rig_expect(rig, consumer, 1, METHOD_BASIC_DELIVER);
    }
}

static void
publish_octets(uint64_t link, size_t size)
{
    char *body = calloc(1, size + 1);
    memset(body, 'x', size);
    rig_publish(rig, link, 1, "", "q", body);
    free(body);
}

/* A client that goes on publishing although it was told is no longer read. The first message says
 * nothing about that, however large it is. */
Test(blocked, reading_pauses_when_256_kib_are_held_behind_the_first)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    publish_octets(link, 300000);
    for (int i = 0; i < 4; i++) {
        publish_octets(link, 60000);
        cr_expect(not(rig_link(rig, link)->is_paused), "publish %d", i);
    }
    publish_octets(link, 30000);
    cr_expect(rig_link(rig, link)->is_paused, "270,000 octets");
    clear_alarm();
    cr_expect(not(rig_link(rig, link)->is_paused));
    cr_expect(eq(u64, ready_count("q"), 6));
}

/* Small things cost memory too. */
Test(blocked, empty_messages_and_methods_count_as_what_they_take)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    size_t sent = 0;
    while (!rig_link(rig, link)->is_paused) {
        cr_assert(lt(sz, ++sent, 256 * 1024 / 32));
        rig_publish(rig, link, 1, "", "q", "");
    }
    clear_alarm();
    cr_expect(eq(u64, ready_count("q"), sent));
}

/* Closing after a publish does not discard it. */
Test(blocked, a_close_waits_behind_what_is_held)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE);
    rig_send_id(rig, link, 0, METHOD_CONNECTION_CLOSE);
    rig_expect_nothing(rig, link);
    cr_expect(not(rig_is_closed(rig, link)));
    clear_alarm();
    (void)rig_expect(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(rig_is_closed(rig, link));
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 1));
}

/* tear_down asserts that every content was released. */
Test(blocked, a_connection_that_ends_while_held_leaks_nothing)
{
    enum { HANG_UP, OUR_CLOSE, WITH_THE_CORE, WAY_COUNT };
    for (int way = 0; way < WAY_COUNT; way++) {
        uint64_t link = connect_publisher();
        raise_alarm();
        rig_publish(rig, link, 1, "", "q", "held");
        rig_publish(rig, link, 2, "missing", "q", "held too");
        rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE);
        if (way == HANG_UP) {
            rig_hang_up(rig, link);
        } else if (way == OUR_CLOSE) {
            rig_send_id(rig, link, 0, METHOD_CONNECTION_OPEN);
        }
        if (way != WITH_THE_CORE) {
            clear_alarm();
            cr_expect(eq(u64, ready_count("q"), 0), "way %d", way);
        }
    }
}

/* What is released may be wrong: the error is told as if it had just come, once. */
Test(blocked, a_held_publish_that_fails_closes_its_channel_when_released)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "missing", "key", "first");
    rig_publish(rig, link, 1, "", "q", "dropped: its channel is closing");
    rig_publish(rig, link, 2, "", "q", "arrives");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    clear_alarm();
    rig_expect_channel_close(rig, link, 1, REPLY_NOT_FOUND, "no exchange 'missing' in vhost '/'");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 1));
}

/* Unblocked is not said on a connection that what was held has closed. */
Test(blocked, a_held_method_that_closes_the_connection_ends_the_release)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "arrives");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_OPEN);
    rig_publish(rig, link, 1, "", "q", "too late");
    rig_expect_nothing(rig, link);
    clear_alarm();
    rig_expect_close(rig, link, REPLY_CHANNEL_ERROR, "second 'channel.open' seen");
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 1));
}

/* I10: what many connections hold is released over several turns, and each keeps its order. */
Test(blocked, what_many_connections_hold_is_released_in_slices)
{
    enum { CLIENTS = 14, HELD = 1500 };
    uint64_t links[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        links[i] = connect_publisher();
    }
    raise_alarm();
    rig->holds_turn = true;
    for (int i = 0; i < CLIENTS; i++) {
        for (int n = 0; n < HELD; n++) {
            rig_publish(rig, links[i], 1, "", "q", "");
        }
    }
    rig->holds_turn = false;
    rig_turn(rig);
    clear_alarm();
    const struct queue *queue = vhost_find_queue(rig_vhost(rig), bytes_of("q"));
    uint64_t released = queue->ready_count;
    cr_expect(ge(u64, released, CORE_REPLAYS_PER_TICK - CLIENTS));
    cr_expect(lt(u64, released, CORE_REPLAYS_PER_TICK + HELD));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig_turn(rig);
    cr_expect(eq(u64, queue->ready_count, CLIENTS * HELD));
}

/* The number is used again at once. What was published on the channel before would be published,
 * and counted for confirms, on the one that came after it. */
Test(blocked, what_a_closed_channel_held_is_not_handled_on_the_next_of_its_number)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "of the first channel");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 0}};
    rig_send(rig, link, 1, &ack);
    rig_expect_channel_close(rig, link, 1, REPLY_PRECONDITION_FAILED, "unknown delivery tag 0");
    rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, link, 1);
    rig_send_id(rig, link, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, link, 1, METHOD_CONFIRM_SELECT_OK);
    clear_alarm();
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 0));
}

/* A publish on a channel that does not exist is an error now, not later. */
Test(blocked, a_publish_without_a_channel_is_not_held)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 9, "", "q", "body");
    rig_expect_close(rig, link, REPLY_CHANNEL_ERROR, "expected 'channel.open'");
}

/* The alarm goes off a tenth below the mark, so that it does not flutter. */
Test(blocked, the_alarm_ends_below_nine_tenths_of_the_mark)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    cr_expect(rig_logged(rig, "memory.alarm_on"));
    rig->core->settings.memory_mark_bytes = chunk_pool_bytes(rig->pool) + 1;
    rig_turn(rig);
    cr_expect(rig->core->alarms != 0, "below the mark, but not by a tenth");
    clear_alarm();
    cr_expect(rig_logged(rig, "memory.alarm_off"));
}

/* Nothing else may happen after the last message was settled: the turn that gives its memory back
 * asks for another one at once, which lets publishers go. */
Test(blocked, the_turn_after_memory_was_given_back_unblocks)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "held");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    drop_ballast();
    rig_turn(rig);
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig_turn(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
}

/* What waits is memory too, but memory that only the end of the alarm can set free: it must not
 * keep the alarm up by itself, however many publishers wait. */
Test(blocked, what_is_held_does_not_keep_the_alarm_up)
{
    enum { PUBLISHERS = 6 }; /* of 300,000 octets each: more than the mark */
    uint64_t links[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++) {
        links[i] = connect_publisher();
    }
    raise_alarm();
    for (int i = 0; i < PUBLISHERS; i++) {
        publish_octets(links[i], 300000);
        (void)rig_expect(rig, links[i], 0, METHOD_CONNECTION_BLOCKED);
    }
    drop_ballast();
    rig_turn(rig);
    rig_turn(rig);
    for (int i = 0; i < PUBLISHERS; i++) {
        (void)rig_expect(rig, links[i], 0, METHOD_CONNECTION_UNBLOCKED);
    }
    cr_expect(eq(u64, ready_count("q"), PUBLISHERS));
    cr_expect(rig->core->alarms != 0, "now it is the queue's memory");
}

/* Without a mark there is no alarm. */
/* I11: what is held does not count against the mark, so it has a bound of its own, over all
 * connections. */
Test(blocked, contents_are_allowed_up_to_a_quarter_above_the_mark)
{
    uint64_t link = connect_publisher();
    raise_alarm();
    uint64_t room = core_contents_allowed(rig->core) - rig->core->opened_bytes;
    cr_expect(eq(u64, room, MARK + MARK / 4 - chunk_pool_bytes(rig->pool)));
    static char body[CHUNK_SIZE + 1];
    memset(body, 'x', CHUNK_SIZE);
    rig_publish(rig, link, 1, "", "q", body);
    cr_expect(lt(u64, CHUNK_SIZE, rig->core->held_bytes));
    cr_expect(eq(u64, core_contents_allowed(rig->core), rig->core->opened_bytes));
    clear_alarm();
    cr_expect(lt(u64, rig->core->opened_bytes + MARK / 2, core_contents_allowed(rig->core)));
    rig->core->settings.memory_mark_bytes = 0;
    cr_expect(eq(u64, core_contents_allowed(rig->core), UINT64_MAX));
}

Test(blocked, a_mark_of_zero_never_blocks)
{
    rig->core->settings.memory_mark_bytes = 0;
    uint64_t link = connect_publisher();
    reserve_ballast();
    rig_turn(rig);
    rig_publish(rig, link, 1, "", "q", "body");
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, ready_count("q"), 1));
}

/* Transactions under the alarm --------------------------------------------------------------------
 */

static uint64_t
connect_transaction(void)
{
    uint64_t link = connect_publisher();
    rig_send_id(rig, link, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, link, 1, METHOD_TX_SELECT_OK);
    return link;
}

static void
commit(uint64_t link)
{
    rig_send_id(rig, link, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, link, 1, METHOD_TX_COMMIT_OK);
}

/* Messages of a transaction cannot leave memory. Here two have filled it between them, and neither
 * can go on to its commit: one has to make room for the other. */
Test(blocked, transactions_do_not_wait_for_each_others_memory_for_ever)
{
    uint64_t links[] = {connect_transaction(), connect_transaction()};
    for (int i = 0; i < 4; i++) {
        publish_octets(links[i % 2], 300000);
    }
    cr_assert(rig->core->alarms != 0);
    for (int i = 0; i < 2; i++) {
        publish_octets(links[i], 1000);
        (void)rig_expect(rig, links[i], 0, METHOD_CONNECTION_BLOCKED);
    }
    rig_step(rig, 9990);
    rig_turn(rig);
    rig_expect_nothing(rig, links[0]);
    rig_step(rig, 20);
    rig_turn(rig);
    rig_expect_channel_close(rig, links[0], 1, REPLY_PRECONDITION_FAILED,
                             "transaction discarded: memory is short, "
                             "and open transactions keep 1200076 octets of it");
    rig_turn(rig);
    cr_expect(eq(int, rig->core->alarms, 0));
    (void)rig_expect(rig, links[1], 0, METHOD_CONNECTION_UNBLOCKED);
    commit(links[1]);
    cr_expect(eq(u64, ready_count("q"), 3));
}

/* It is not what keeps the alarm up. */
Test(blocked, a_small_transaction_outlasts_an_alarm)
{
    uint64_t link = connect_transaction();
    rig_publish(rig, link, 1, "", "q", "first");
    raise_alarm();
    rig_publish(rig, link, 1, "", "q", "second");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_BLOCKED);
    rig_step(rig, 60000);
    rig_turn(rig);
    rig_expect_nothing(rig, link);
    clear_alarm();
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UNBLOCKED);
    commit(link);
    cr_expect(eq(u64, ready_count("q"), 2));
}

/* The alarm is not as old as the first one. */
Test(blocked, a_new_alarm_gives_transactions_their_time_anew)
{
    uint64_t link = connect_transaction();
    publish_octets(link, 300000);
    raise_alarm();
    rig_step(rig, 9000);
    clear_alarm();
    rig_step(rig, 500);
    raise_alarm();
    rig_step(rig, 9000);
    rig_turn(rig);
    rig_expect_nothing(rig, link);
}
