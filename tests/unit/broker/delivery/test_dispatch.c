/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which message, and when: turns, prefetch, priorities, windows, single active consumers.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a, b, c; /* clients, each with channel 1 */

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    c = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(dispatch, .init = set_up, .fini = tear_down);

static void
expect_texts(uint64_t link, const char *texts)
{
    cr_expect(eq(str, (char *)deliveries(rig, link), (char *)texts));
}

Test(dispatch, consume_ok_comes_before_the_first_delivery)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 3);
    consume(rig, b, 1, "q", "t", true); /* takes consume-ok */
    expect_texts(b, "1 2 3");
}

Test(dispatch, consumers_of_a_queue_take_turns)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    consume(rig, c, 1, "q", "", true);
    publish_numbers(rig, a, "q", 1, 6);
    expect_texts(b, "1 3 5");
    expect_texts(c, "2 4 6");
}

Test(dispatch, delivers_with_the_names_and_tags_of_the_message)
{
    declare_queue(rig, a, "q");
    bind_queue(rig, a, "q", "amq.direct", "the.key");
    consume(rig, b, 1, "q", "me", false);
    rig_publish(rig, a, 1, "amq.direct", "the.key", "x");
    rig_publish(rig, a, 1, "amq.direct", "the.key", "y");
    for (uint64_t tag = 1; tag <= 2; tag++) {
        const struct basic_deliver *deliver =
            &expect_delivery(rig, b, tag == 1 ? "x" : "y")->method.basic_deliver;
        cr_expect(bytes_equal_text(deliver->consumer_tag, "me"));
        cr_expect(bytes_equal_text(deliver->exchange, "amq.direct"));
        cr_expect(bytes_equal_text(deliver->routing_key, "the.key"));
        cr_expect(eq(u64, deliver->delivery_tag, tag));
        cr_expect(not(deliver->redelivered));
    }
}

/* Whichever of a delivery's allocations fails: its consumer has nothing that it could settle. */
Test(dispatch, a_consumer_that_memory_was_short_for_is_served_later)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", false);
    for (uint32_t nth = 1;; nth++) {
        rig->holds_turn = true;
        rig_publish(rig, a, 1, "", "q", "x");
        rig->holds_turn = false;
        alloc_faults_plan(nth);
        rig_turn(rig);
        bool failed = alloc_faults_left() == 0;
        alloc_faults_plan(0);
        rig_step(rig, CORE_HUNGER_MS);
        rig_turn(rig);
        expect_texts(b, "x");
        cr_expect(eq(u64, ready_count(rig, "q"), 0));
        if (!failed) {
            break;
        }
    }
}

Test(dispatch, prefetch_bounds_what_a_consumer_holds)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 2, false);
    consume(rig, b, 1, "q", "", false);
    publish_numbers(rig, a, "q", 1, 5);
    expect_texts(b, "1 2");
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    send_ack(rig, b, 1, 1, false);
    expect_texts(b, "3");
    send_ack(rig, b, 1, 3, true);
    expect_texts(b, "4 5");
}

/* RabbitMQ: basic.qos with global=false concerns consumers that start later. */
Test(dispatch, prefetch_of_a_consumer_is_what_it_was_when_it_started)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", false);
    set_prefetch(rig, b, 1, 1, false);
    publish_numbers(rig, a, "q", 1, 3);
    expect_texts(b, "1 2 3");
}

Test(dispatch, prefetch_does_not_concern_consumers_without_acknowledgement)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, false);
    set_prefetch(rig, b, 1, 1, true);
    consume(rig, b, 1, "q", "", true);
    publish_numbers(rig, a, "q", 1, 3);
    expect_texts(b, "1 2 3");
}

Test(dispatch, global_prefetch_is_shared_by_the_channels_consumers)
{
    declare_queue(rig, a, "q1");
    declare_queue(rig, a, "q2");
    set_prefetch(rig, b, 1, 3, true);
    consume(rig, b, 1, "q1", "", false);
    consume(rig, b, 1, "q2", "", false);
    publish_numbers(rig, a, "q1", 1, 2);
    publish_numbers(rig, a, "q2", 3, 5);
    expect_texts(b, "1 2 3");
    send_ack(rig, b, 1, 1, false);
    expect_texts(b, "4");
    set_prefetch(rig, b, 1, 4, true);
    expect_texts(b, "5");
}

/* Threat: the first consumer of a channel is served alone as long as its queue has messages. */
Test(dispatch, queues_of_a_channel_share_its_prefetch_fairly)
{
    const char *const queues[] = {"q1", "q2", "q3"};
    set_prefetch(rig, b, 1, 1, true);
    for (size_t i = 0; i < 3; i++) {
        declare_queue(rig, a, queues[i]);
        consume(rig, b, 1, queues[i], "", false);
    }
    for (size_t i = 0; i < 6; i++) {
        publish_text(rig, a, queues[i / 2], queues[i / 2]);
    }
    for (uint64_t tag = 1; tag <= 6; tag++) {
        (void)expect_delivery(rig, b, queues[(tag - 1) % 3]);
        rig_expect_nothing(rig, b);
        send_ack(rig, b, 1, tag, false);
    }
}

Test(dispatch, consumers_of_a_channel_share_its_prefetch_fairly)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, true);
    consume(rig, b, 1, "q", "odd", false);
    consume(rig, b, 1, "q", "even", false);
    publish_numbers(rig, a, "q", 1, 6);
    for (uint64_t tag = 1; tag <= 6; tag++) {
        const struct method *method = rig_expect(rig, b, 1, METHOD_BASIC_DELIVER);
        cr_expect(
            bytes_equal_text(method->basic_deliver.consumer_tag, tag % 2 == 1 ? "odd" : "even"));
        send_ack(rig, b, 1, tag, false);
    }
}

/* Room that a cancelled consumer leaves goes to the others of its channel. */
Test(dispatch, a_cancelled_consumer_passes_its_place_in_the_channel_on)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, true);
    consume(rig, b, 1, "q", "t1", false);
    consume(rig, b, 1, "q", "t2", false);
    publish_numbers(rig, a, "q", 1, 2);
    expect_texts(b, "1");
    cancel(rig, b, "t1");
    rig_expect_nothing(rig, b);
    send_ack(rig, b, 1, 1, false);
    expect_texts(b, "2");
}

Test(dispatch, basic_get_counts_against_no_prefetch)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 3);
    set_prefetch(rig, b, 1, 1, true);
    cr_expect(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    cr_expect(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    consume(rig, b, 1, "q", "", false);
    expect_texts(b, "3");
}

Test(dispatch, the_highest_priority_with_room_is_served)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 2, false);
    consume_with_priority(rig, b, "q", "high", 10);
    consume_with_priority(rig, c, "q", "low", 0);
    publish_numbers(rig, a, "q", 1, 4);
    expect_texts(b, "1 2");
    expect_texts(c, "3 4");
    send_ack(rig, b, 1, 2, true);
    publish_numbers(rig, a, "q", 5, 5);
    expect_texts(b, "5");
    expect_texts(c, "");
}

/* Threat: a consumer that does not read its socket makes us hold output without end. */
Test(dispatch, a_client_that_does_not_read_gets_one_window_and_slows_nobody)
{
    enum { BODY = 16 * 1024, MESSAGES = 100 };
    static char body[BODY + 1];
    memset(body, 'x', BODY);
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    consume(rig, c, 1, "q", "", true);
    rig_link(rig, b)->is_stuck = true;
    for (int i = 0; i < MESSAGES; i++) {
        publish_text(rig, a, "q", body);
    }
    size_t stuck_count = rig_count(rig, b, NET_ACTION_DELIVER);
    cr_expect(ge(sz, stuck_count, CORE_WINDOW_OCTETS / BODY - 1));
    cr_expect(le(sz, stuck_count, CORE_WINDOW_OCTETS / BODY + 1));
    cr_expect(eq(sz, rig_count(rig, c, NET_ACTION_DELIVER), MESSAGES - stuck_count));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

Test(dispatch, a_client_that_reads_again_is_served_again)
{
    enum { BODY = 64 * 1024, MESSAGES = 12 };
    static char body[BODY + 1];
    memset(body, 'x', BODY);
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    rig_link(rig, b)->is_stuck = true;
    for (int i = 0; i < MESSAGES; i++) {
        publish_text(rig, a, "q", body);
    }
    cr_expect(ge(u64, ready_count(rig, "q"), 1));
    rig_link(rig, b)->is_stuck = false;
    for (int i = 0; i < MESSAGES; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(sz, rig_count(rig, b, NET_ACTION_DELIVER), MESSAGES));
}

/* One busy queue must not keep others waiting, nor a tick from ending. Several connections, so that
 * no window is in the way. */
Test(dispatch, queues_take_turns_and_a_tick_is_bounded)
{
    enum { QUEUES = 6, MESSAGES = CORE_DISPATCH_PER_TICK / 4 };
    uint64_t links[QUEUES];
    for (int i = 0; i < QUEUES; i++) {
        links[i] = messaging_client(rig);
    }
    rig->holds_turn = true;
    for (int i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%d", i);
        declare_queue(rig, a, name);
        for (int message = 0; message < MESSAGES; message++) {
            publish_text(rig, a, name, "");
        }
        consume(rig, links[i], 1, name, "", true);
    }
    core_end_tick(rig->core);
    size_t sum = 0;
    for (int i = 0; i < QUEUES; i++) {
        size_t count = rig_count(rig, links[i], NET_ACTION_DELIVER);
        cr_expect(ge(sz, count, CORE_DISPATCH_PER_TICK / QUEUES - CORE_DISPATCH_PER_QUEUE));
        cr_expect(le(sz, count, CORE_DISPATCH_PER_TICK / QUEUES + CORE_DISPATCH_PER_QUEUE));
        sum += count;
    }
    cr_expect(eq(sz, sum, CORE_DISPATCH_PER_TICK));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    for (int i = 0; i < 10; i++) {
        rig_turn(rig);
    }
    for (int i = 0; i < QUEUES; i++) {
        cr_expect(eq(sz, rig_count(rig, links[i], NET_ACTION_DELIVER), MESSAGES));
    }
    cr_expect(ge(u64, core_wait_ms(rig->core), 1));
}

/* I10: octets are bounded as well as messages. Each queue has its turn, and every message arrives.
 */
Test(dispatch, a_tick_hands_out_a_bounded_number_of_octets)
{
    enum { QUEUES = 40, BODY = 60 * 1024, MESSAGES = 4 };
    static char body[BODY + 1];
    memset(body, 'x', BODY);
    uint64_t links[QUEUES];
    rig->holds_turn = true;
    for (int i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%d", i);
        links[i] = messaging_client(rig);
        declare_queue(rig, a, name);
        for (int message = 0; message < MESSAGES; message++) {
            publish_text(rig, a, name, body);
        }
        consume(rig, links[i], 1, name, "", true);
    }
    core_end_tick(rig->core);
    size_t sum = 0;
    for (int i = 0; i < QUEUES; i++) {
        size_t count = rig_count(rig, links[i], NET_ACTION_DELIVER);
        cr_expect(ge(sz, count, 1), "queue %d", i);
        sum += count;
    }
    cr_expect(le(sz, sum * BODY, (size_t)CORE_DISPATCH_OCTETS_PER_TICK + BODY));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    for (int i = 0; i < 10; i++) {
        rig_turn(rig);
    }
    for (int i = 0; i < QUEUES; i++) {
        cr_expect(eq(sz, rig_count(rig, links[i], NET_ACTION_DELIVER), MESSAGES));
    }
}

/* The network side reads a large content where it lies for as long as it takes, while the message
 * has long been settled; then its memory goes. */
Test(dispatch, memory_of_a_large_message_stays_until_the_network_gives_it_back)
{
    static char body[CHUNK_BODY_OWN + 2];
    memset(body, 'x', CHUNK_BODY_OWN + 1);
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    rig->keeps_loans = true;
    uint64_t before = chunk_pool_bytes(rig->pool);
    publish_text(rig, a, "q", body);
    cr_assert(eq(sz, rig_count(rig, b, NET_ACTION_DELIVER), 1));
    cr_assert(eq(sz, rig->loan_count, 1));
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(lt(u64, before + CHUNK_BODY_OWN, chunk_pool_bytes(rig->pool)));
    rig_return_loans(rig);
    rig_turn(rig);
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), before));
    publish_text(rig, a, "q", body + 1);
    cr_expect(eq(sz, rig->loan_count, 0), "a smaller one is copied");
}

Test(dispatch, a_channel_without_prefetch_holds_at_most_the_configured_maximum)
{
    struct core_settings settings = rig_settings();
    settings.unacked_max = 5;
    rig_free(&rig);
    rig = messaging_rig(&settings);
    a = messaging_client(rig);
    b = messaging_client(rig);
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", false);
    publish_numbers(rig, a, "q", 1, 8);
    expect_texts(b, "1 2 3 4 5");
    send_ack(rig, b, 1, 2, true);
    expect_texts(b, "6 7");
}

static void
declare_single_active(const char *type)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_boolean(&arguments, "x-single-active-consumer", true);
    table_put_text(&arguments, "x-queue-type", bytes_of(type));
    struct queue_declare declare = {
        .queue = bytes_of("q"), .durable = true, .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

Test(dispatch, the_next_single_active_consumer_starts_with_what_the_last_one_held)
{
    declare_single_active("classic");
    set_prefetch(rig, b, 1, 2, false);
    consume(rig, b, 1, "q", "", false);
    consume(rig, c, 1, "q", "", false);
    publish_numbers(rig, a, "q", 1, 4);
    expect_texts(b, "1 2");
    expect_texts(c, "");
    rig_hang_up(rig, b);
    expect_texts(c, "1 2 3 4");
}

Test(dispatch, a_cancelled_single_active_consumer_keeps_its_open_deliveries)
{
    declare_single_active("classic");
    consume(rig, b, 1, "q", "t", false);
    consume(rig, c, 1, "q", "", false);
    publish_numbers(rig, a, "q", 1, 2);
    expect_texts(b, "1 2");
    cancel(rig, b, "t");
    publish_numbers(rig, a, "q", 3, 3);
    expect_texts(c, "3");
    send_ack(rig, b, 1, 2, true);
    rig_expect_nothing(rig, b);
}

/* RabbitMQ's quorum queues: a higher priority takes over when the active one has settled. */
Test(dispatch, a_quorum_queue_hands_its_active_consumer_over_to_a_higher_priority)
{
    declare_single_active("quorum");
    consume_with_priority(rig, b, "q", "", 1);
    publish_numbers(rig, a, "q", 1, 2);
    expect_texts(b, "1 2");
    consume_with_priority(rig, c, "q", "", 5);
    publish_numbers(rig, a, "q", 3, 4);
    expect_texts(b, "");
    expect_texts(c, "");
    send_ack(rig, b, 1, 2, true);
    expect_texts(b, "");
    expect_texts(c, "3 4");
}

/* What RabbitMQ does, and its Java client's tests expect: a message goes to the consumer that waits
 * for it at once, also when the next method comes in the same turn. */
Test(dispatch, basic_get_takes_nothing_that_a_consumer_waits_for)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "q", "", false);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 2);
    const struct posted *posted = get_message(rig, a, "q", true);
    cr_assert(ne(ptr, (void *)posted, NULL));
    cr_expect(eq(u32, posted->method.basic_get_ok.message_count, 0));
    expect_texts(b, "1");
    cr_expect(eq(ptr, (void *)get_message(rig, a, "q", true), NULL));
}

Test(dispatch, queues_are_counted_without_what_consumers_wait_for)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    rig->holds_turn = true;
    for (int passive = 0; passive <= 1; passive++) {
        publish_numbers(rig, a, "q", 1, 600);
        struct method declare = {.id = METHOD_QUEUE_DECLARE,
                                 .queue_declare = {.queue = bytes_of("q"), .passive = passive}};
        rig_send(rig, a, 1, &declare);
        const struct method *method = rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
        cr_expect(eq(u32, method->queue_declare_ok.message_count, 0));
        cr_expect(eq(sz, rig_count(rig, b, NET_ACTION_DELIVER), 600 * (size_t)(passive + 1)));
    }
}

Test(dispatch, what_a_consumer_waits_for_is_not_purged)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "q", "", false);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 3);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    const struct method *method = rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK);
    cr_expect(eq(u32, method->queue_purge_ok.message_count, 2));
    expect_texts(b, "1");
}

Test(dispatch, a_queue_whose_consumer_waits_is_deleted_as_empty)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "", true);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 1);
    struct method delete = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = bytes_of("q"), .if_empty = true}};
    rig_send(rig, a, 1, &delete);
    const struct method *method = rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    cr_expect(eq(u32, method->queue_delete_ok.message_count, 0));
    (void)expect_delivery(rig, b, "1");
}

Test(dispatch, nothing_follows_cancel_ok)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "t", true);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 1);
    cancel(rig, b, "t");
    rig_turn(rig);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(dispatch, an_auto_delete_queue_goes_with_its_last_consumer)
{
    struct queue_declare declare = {.queue = bytes_of("q"), .auto_delete = true};
    declare_queue_as(rig, a, &declare);
    cr_expect(eq(ptr, (void *)get_message(rig, a, "q", true), NULL));
    cr_expect(ne(ptr, find_queue(rig, "q"), NULL), "it never had a consumer");
    consume(rig, b, 1, "q", "t1", false);
    consume(rig, c, 1, "q", "t2", false);
    cancel(rig, b, "t1");
    cr_expect(ne(ptr, find_queue(rig, "q"), NULL));
    rig_hang_up(rig, c);
    cr_expect(eq(ptr, find_queue(rig, "q"), NULL));
}

Test(dispatch, consumers_of_a_deleted_queue_are_told)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "t", false);
    publish_numbers(rig, a, "q", 1, 1);
    expect_texts(b, "1");
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &method);
    const struct method *notice = rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect(bytes_equal_text(notice->basic_cancel.consumer_tag, "t"));
    cr_expect(notice->basic_cancel.nowait);
    send_ack(rig, b, 1, 1, false); /* still open, though its queue is gone */
    rig_expect_nothing(rig, b);
}

Test(dispatch, an_exclusive_consumer_is_alone)
{
    struct method exclusive = {.id = METHOD_BASIC_CONSUME,
                               .basic_consume = {.queue = bytes_of("q"), .exclusive = true}};
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "t", false);
    rig_send(rig, c, 1, &exclusive);
    rig_expect_channel_close(rig, c, 1, 403, "queue 'q' in vhost '/' in exclusive use");
    cancel(rig, b, "t");
    rig_send(rig, b, 1, &exclusive);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CONSUME_OK);
    struct method second = {.id = METHOD_BASIC_CONSUME, .basic_consume = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &second);
    rig_expect_channel_close(rig, a, 1, 403, "queue 'q' in vhost '/' in exclusive use");
}

Test(dispatch, a_consumer_tag_is_used_once)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "t", false);
    struct method method = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of("q"), .consumer_tag = bytes_of("t")}};
    rig_send(rig, b, 1, &method);
    rig_expect_close(rig, b, 530, "attempt to reuse consumer tag 't'");
}
