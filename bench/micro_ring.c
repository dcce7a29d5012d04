/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to hand an item from thread to thread: the ring alone, and a publish or a delivery
 * through the seam; on one thread (fill, then drain), and on two that sleep when they have nothing
 * to do, where the time is that of both. Built with SAN=thread it shows that the ring needs no
 * lock. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "bench/micro.h"
#include "net/seam_ring.h"

enum {
    RING_SIZE = 1024 * 1024,
    ITEM_SIZE = 64,
    TICK_ITEMS = 64, /* flushed at once, as in a busy turn */
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
    uint32_t put_count;
    uint32_t taken_count;
    uint64_t round; /* steps of it */
};

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
    micro_use(event->publish.routing_key.size);
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
    micro_use(action->deliver.routing_key.size);
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

/* Puts whole ticks until `count` steps or a few more are done. */
static void
on_one_thread(void *context, uint64_t count)
{
    struct hop *hop = context;
    for (uint64_t done = 0; done < count; done += TICK_ITEMS) {
        for (uint32_t i = 0; i < TICK_ITEMS; i++) {
            hop->put(hop, hop->put_count++);
        }
        ring_flush(hop->ring);
        hop->take(hop);
    }
}

/* Sleeps until somebody rings, unless there is work. */
static void
rest(struct bell *bell, const struct ring *ring, bool (*has_work)(const struct ring *))
{
    bell_announce_sleep(bell);
    if (!has_work(ring)) {
        struct pollfd wait = {.fd = bell->fd, .events = POLLIN};
        (void)poll(&wait, 1, -1);
    }
    bell_end_sleep(bell);
}

static void *
produce(void *context)
{
    struct hop *hop = context;
    for (uint64_t done = 0; done < hop->round; done += TICK_ITEMS) {
        for (uint32_t i = 0; i < TICK_ITEMS; i++) {
            hop->put(hop, hop->put_count++);
        }
        ring_flush(hop->ring);
        while (ring_overflow_octets(hop->ring) > 0) {
            rest(&hop->producer, hop->ring, ring_can_move);
            ring_flush(hop->ring);
        }
    }
    return NULL;
}

static void
on_two_threads(void *context, uint64_t count)
{
    struct hop *hop = context;
    uint32_t end =
        hop->taken_count + (uint32_t)((count + TICK_ITEMS - 1) / TICK_ITEMS * TICK_ITEMS);
    hop->round = count;
    pthread_t thread;
    if (pthread_create(&thread, NULL, produce, hop) != 0) {
        perror("pthread_create");
        exit(EXIT_FAILURE);
    }
    while (hop->taken_count != end) {
        rest(&hop->consumer, hop->ring, ring_has_items);
        hop->take(hop);
    }
    pthread_join(thread, NULL);
}

/* What goes through, and how. */
struct hop_case {
    const char *name;
    const char *words;
    void (*put)(struct hop *hop, uint32_t number);
    void (*take)(struct hop *hop);
    micro_body *body;
};

static const struct hop_case CASES[] = {
    {"ring-item", "an item of 64 octets, one thread", put_bare, take_bare, on_one_thread},
    {"ring-publish", "a publish, one thread", put_publish, take_events, on_one_thread},
    {"ring-deliver", "a delivery, one thread", put_deliver, take_actions, on_one_thread},
    {"ring-item-2", "an item of 64 octets, two threads", put_bare, take_bare, on_two_threads},
    {"ring-publish-2", "a publish, two threads", put_publish, take_events, on_two_threads},
    {"ring-deliver-2", "a delivery, two threads", put_deliver, take_actions, on_two_threads},
};

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct hop hop = {.put = CASES[i].put, .take = CASES[i].take};
        hop_init(&hop);
        micro_run(&micro, CASES[i].name, CASES[i].words, CASES[i].body, &hop);
        hop_fini(&hop);
    }
    return EXIT_SUCCESS;
}
