/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to hand items from thread to thread: nanoseconds per item for the ring alone and
 * for a publish or a delivery through the seam, on one thread (fill, then drain) and on two that
 * sleep when they have nothing to do. Figures to compare, not to assert; built with SAN=thread it
 * shows that the ring needs no lock. */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/seam_ring.h"

enum {
    RING_SIZE = 1024 * 1024,
    ITEM_SIZE = 64,
    TICK_ITEMS = 64, /* flushed at once, as in a busy turn */
    ITEM_COUNT = 10 * 1000 * 1000,
    CONTENT_COUNT = 1024,
    CONTENT_SIZE = 64, /* a body of 16 octets with its names */
    TAKE_MAX = 1024 * 1024,
};

struct numbered {
    struct ring_item item;
    uint32_t number;
};

/* Two ends of one ring, and what goes through it. */
struct hop {
    struct ring *ring;
    struct bell consumer;
    struct bell producer;
    struct seam_network_end network;
    struct seam_core_end core;
    uint8_t *contents;
    void (*put)(struct hop *hop, uint32_t number);
    void (*take)(struct hop *hop); /* everything that is there */
    uint32_t taken_count;
    uint64_t seen; /* something of everything taken */
    uint32_t count;
    uint32_t sleep_count; /* of the consumer */
};

static double
seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What goes through --------------------------------------------------------------------------- */

static const struct content *
content_of(const struct hop *hop, uint32_t number)
{
    return (const struct content *)(hop->contents + number % CONTENT_COUNT * CONTENT_SIZE);
}

static void
put_bare(struct hop *hop, uint32_t number)
{
    struct numbered *item = ring_append(hop->ring, ITEM_SIZE);
    item->number = number;
}

static void
take_bare(struct hop *hop)
{
    const struct numbered *item;
    ring_look(hop->ring);
    while ((item = ring_next(hop->ring)) != NULL) {
        assert(item->number == hop->taken_count);
        hop->taken_count++;
    }
    ring_release(hop->ring);
}

static void
put_publish(struct hop *hop, uint32_t number)
{
    const struct content *content = content_of(hop, number);
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .channel = 1,
        .link = number,
        .publish = {.place = {.content = content, .chunk = 1},
                    .body_size = content->body_size,
                    .exchange = content_exchange(content),
                    .routing_key = content_routing_key(content)},
    };
    seam_post_event(&hop->network, &event);
}

static void
on_event(void *context, const struct net_event *event)
{
    struct hop *hop = context;
    assert(event->link == hop->taken_count);
    hop->taken_count++;
    hop->seen += event->publish.routing_key.size;
}

static void
take_events(struct hop *hop)
{
    struct net_events events = {.handle = on_event, .context = hop};
    (void)seam_take_events(&hop->core, TAKE_MAX, &events);
}

static void
put_deliver(struct hop *hop, uint32_t number)
{
    const struct content *content = content_of(hop, number);
    struct net_action action = {
        .type = NET_ACTION_DELIVER,
        .channel = 1,
        .link = number,
        .deliver = {.content = content,
                    .delivery_tag = number,
                    .consumer_tag = bytes_make("ctag1.1", 7),
                    .exchange = content_exchange(content),
                    .routing_key = content_routing_key(content)},
    };
    seam_post_action(&hop->core, &action);
}

static void
on_action(void *context, const struct net_action *action)
{
    struct hop *hop = context;
    assert(action->link == hop->taken_count);
    hop->taken_count++;
    hop->seen += action->deliver.routing_key.size;
}

static void
take_actions(struct hop *hop)
{
    struct net_port port = {.post = on_action, .context = hop};
    (void)seam_take_actions(&hop->network, TAKE_MAX, &port);
}

/* Hops ---------------------------------------------------------------------------------------- */

static void
hop_init(struct hop *hop)
{
    if (bell_open(&hop->consumer) != STATUS_OK || bell_open(&hop->producer) != STATUS_OK) {
        perror("eventfd");
        exit(EXIT_FAILURE);
    }
    hop->ring = ring_new(RING_SIZE, &hop->consumer, &hop->producer);
    seam_network_end_init(&hop->network, hop->ring, hop->ring);
    seam_core_end_init(&hop->core, hop->ring, hop->ring);
    hop->contents = xalloc((size_t)CONTENT_COUNT * CONTENT_SIZE);
    for (uint32_t i = 0; i < CONTENT_COUNT; i++) {
        struct content *content = (struct content *)(hop->contents + i * CONTENT_SIZE);
        content->body_size = 16;
        content->routing_key_size = 6;
    }
}

static void
hop_fini(struct hop *hop)
{
    ring_free(&hop->ring);
    bell_close(&hop->consumer);
    bell_close(&hop->producer);
    free(hop->contents);
}

static void
measure_one_thread(struct hop *hop, const char *name)
{
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t number = 0; number < hop->count;) {
        for (uint32_t i = 0; i < TICK_ITEMS; i++) {
            hop->put(hop, number++);
        }
        ring_flush(hop->ring);
        hop->take(hop);
    }
    double elapsed = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    assert(hop->taken_count == hop->count);
    printf("%-8s one thread:  %5.1f ns per item\n", name, 1e9 * elapsed / hop->count);
}

/* Sleeps until somebody rings, unless there is work. Returns whether it slept. */
static bool
rest(struct bell *bell, const struct ring *ring, bool (*has_work)(const struct ring *))
{
    bell_announce_sleep(bell);
    bool sleeps = !has_work(ring);
    if (sleeps) {
        struct pollfd wait = {.fd = bell->fd, .events = POLLIN};
        (void)poll(&wait, 1, -1);
    }
    bell_end_sleep(bell);
    return sleeps;
}

static void *
produce(void *context)
{
    struct hop *hop = context;
    for (uint32_t number = 0; number < hop->count;) {
        for (uint32_t i = 0; i < TICK_ITEMS; i++) {
            hop->put(hop, number++);
        }
        ring_flush(hop->ring);
        while (ring_overflow_octets(hop->ring) > 0) {
            (void)rest(&hop->producer, hop->ring, ring_can_move);
            ring_flush(hop->ring);
        }
    }
    return NULL;
}

static void
measure_two_threads(struct hop *hop, const char *name)
{
    double wall_start = seconds(CLOCK_MONOTONIC);
    double cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    pthread_t thread;
    if (pthread_create(&thread, NULL, produce, hop) != 0) {
        perror("pthread_create");
        exit(EXIT_FAILURE);
    }
    while (hop->taken_count < hop->count) {
        hop->sleep_count += rest(&hop->consumer, hop->ring, ring_has_items) ? 1 : 0;
        hop->take(hop);
    }
    pthread_join(thread, NULL);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
    printf("%-8s two threads: %5.1f ns per item, %.1f ns of CPU, %" PRIu32 " sleeps\n", name,
           1e9 * (seconds(CLOCK_MONOTONIC) - wall_start) / hop->count, 1e9 * cpu / hop->count,
           hop->sleep_count);
}

static void
measure(const char *name, uint32_t count, void (*put)(struct hop *, uint32_t),
        void (*take)(struct hop *), void (*how)(struct hop *, const char *))
{
    struct hop hop = {.put = put, .take = take, .count = count};
    hop_init(&hop);
    how(&hop, name);
    hop_fini(&hop);
}

/* `micro_ring [ITEMS]`: rounded up to whole ticks. */
int
main(int argument_count, char **arguments)
{
    uint32_t count = argument_count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : ITEM_COUNT;
    count = (count + TICK_ITEMS - 1) / TICK_ITEMS * TICK_ITEMS;
    measure("bare", count, put_bare, take_bare, measure_one_thread);
    measure("publish", count, put_publish, take_events, measure_one_thread);
    measure("deliver", count, put_deliver, take_actions, measure_one_thread);
    measure("bare", count, put_bare, take_bare, measure_two_threads);
    measure("publish", count, put_publish, take_events, measure_two_threads);
    measure("deliver", count, put_deliver, take_actions, measure_two_threads);
    return EXIT_SUCCESS;
}
