/* SPDX-License-Identifier: Apache-2.0 */
/* What the core, its queues, exchanges and channels count of messages, as clients move them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "broker/channels/channel.h"
#include "broker/topology/vhost.h"
#include "queues/clocks.h"
#include "tests/unit/broker/log_harness.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;
static const struct core_counters *counters;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    counters = &rig->core->counters;
    declare_queue(rig, a, "q");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(counters, .init = set_up, .fini = tear_down);

static const struct channel *
channel_of(uint64_t link)
{
    return connection_find_channel(core_find_connection(rig->core, link), 1);
}

/* The four ways in which a message is handed out, each in its place, in queue, channel and core. */
Test(counters, tell_how_messages_were_handed_out)
{
    uint64_t b = messaging_client(rig);
    publish_numbers(rig, a, "q", 1, 6);
    (void)get_message(rig, a, "q", false);
    (void)get_message(rig, a, "q", true);
    (void)get_message(rig, a, "q", true);
    set_prefetch(rig, b, 1, 2, false);
    consume(rig, b, 1, "q", "slow", false);
    (void)deliveries(rig, b);
    consume(rig, b, 1, "q", "fast", true);
    (void)deliveries(rig, b);
    const struct queue_clocks *clocks = find_queue(rig, "q")->clocks;
    static const uint64_t expected[DELIVERY_KIND_COUNT] = {
        [DELIVERY_CONSUMED] = 2,
        [DELIVERY_CONSUMED_FOR_GOOD] = 1,
        [DELIVERY_GOT] = 1,
        [DELIVERY_GOT_FOR_GOOD] = 2,
    };
    for (int kind = 0; kind < DELIVERY_KIND_COUNT; kind++) {
        cr_expect(eq(u64, clocks->delivered_counts[kind], expected[kind]), "kind %d", kind);
        cr_expect(eq(u64, counters->delivered_by[kind], expected[kind]), "kind %d", kind);
    }
    cr_expect(eq(u64, counters->delivered, 6));
    cr_expect(eq(u64, channel_of(b)->counters.delivered[DELIVERY_CONSUMED], 2));
    cr_expect(eq(u64, channel_of(b)->counters.delivered[DELIVERY_CONSUMED_FOR_GOOD], 1));
    cr_expect(eq(u64, channel_of(a)->counters.delivered[DELIVERY_GOT_FOR_GOOD], 2));
}

/* A queue of which nobody ever took anything knows that somebody has tried. */
Test(counters, tell_of_gets_that_found_nothing)
{
    cr_expect(eq(ptr, (void *)get_message(rig, a, "q", true), NULL));
    cr_expect(eq(ptr, (void *)get_message(rig, a, "q", false), NULL));
    cr_expect(eq(u64, find_queue(rig, "q")->clocks->get_empty_count, 2));
    cr_expect(eq(u64, channel_of(a)->counters.get_empty, 2));
    cr_expect(eq(u64, counters->get_empty, 2));
}

Test(counters, tell_what_channels_do_with_messages)
{
    publish_numbers(rig, a, "q", 1, 3);
    (void)get_message(rig, a, "q", false);
    send_nack(rig, a, 1, 1, false, true);
    (void)get_message(rig, a, "q", false);
    send_ack(rig, a, 1, 2, false);
    const struct channel_counters *of_channel = &channel_of(a)->counters;
    cr_expect(eq(u64, of_channel->published, 3));
    cr_expect(eq(u64, of_channel->redelivered, 1));
    cr_expect(eq(u64, of_channel->acked, 1));
}

/* Into an exchange, and out of it to as many queues as it reached. */
Test(counters, tell_what_goes_through_an_exchange)
{
    declare_queue(rig, a, "r");
    declare_exchange(rig, a, "x", "fanout", NULL);
    bind_queue(rig, a, "q", "x", "");
    bind_queue(rig, a, "r", "x", "");
    rig_publish(rig, a, 1, "x", "", "one");
    rig_publish(rig, a, 1, "x", "", "two");
    const struct exchange *exchange = vhost_find_exchange(rig_vhost(rig), bytes_of("x"));
    cr_expect(eq(u64, exchange->published_count, 2));
    cr_expect(eq(u64, exchange->routed_count, 4));
}

/* The literal bounds of RabbitMQ's histogram: 100 octets are below 100, 101 are not. */
Test(counters, sort_messages_by_their_size)
{
    char text[1002];
    memset(text, 'x', sizeof(text));
    static const size_t sizes[] = {0, 100, 101, 1000, 1001};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char keep = text[sizes[i]];
        text[sizes[i]] = '\0';
        publish_text(rig, a, "q", text);
        text[sizes[i]] = keep;
    }
    cr_expect(eq(u64, counters->message_sizes[0], 2));
    cr_expect(eq(u64, counters->message_sizes[1], 2));
    cr_expect(eq(u64, counters->message_sizes[2], 1));
    cr_expect(eq(u64, counters->message_bytes, 2202));
}

/* Declared is every declaration, created only what was not there. */
Test(counters, tell_how_queues_come_and_go)
{
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "r");
    cr_expect(eq(u64, counters->queues_declared, 3));
    cr_expect(eq(u64, counters->queues_created, 2));
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("r")}};
    rig_send(rig, a, 1, &method);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    cr_expect(eq(u64, counters->queues_deleted, 1));
}

/* A channel is a publisher from its first message on until it ends. */
Test(counters, know_how_many_channels_publish)
{
    uint64_t b = messaging_client(rig);
    cr_expect(eq(u64, counters->publishers, 0));
    publish_text(rig, b, "q", "one");
    publish_text(rig, b, "q", "two");
    publish_text(rig, a, "q", "three");
    cr_expect(eq(u64, counters->publishers, 2));
    rig_hang_up(rig, b);
    cr_expect(eq(u64, counters->publishers, 1));
}

/* From publish to confirm, by the core's clock; three publishes that one commit covers count
 * thrice. */
Test(counters, know_how_long_confirms_took, .init = NULL, .fini = NULL)
{
    struct log_rig *disk = log_rig_new(NULL, 0);
    uint64_t client = messaging_client(disk->rig);
    log_declare(disk, client, "d");
    select_confirms(disk->rig, client, 1);
    for (int i = 0; i < 3; i++) {
        log_publish(disk, client, "", "d", "1");
    }
    rig_step(disk->rig, 30);
    log_commit(disk);
    const struct core_counters *found = &disk->rig->core->counters;
    cr_expect(eq(u64, found->published_for_confirm, 3));
    cr_expect(eq(u64, found->confirmed, 3));
    cr_expect(eq(u64, found->confirm_times[5], 3)); /* up to 50 ms */
    cr_expect(eq(u64, found->confirm_ms, 90));
    log_rig_free(&disk);
}
