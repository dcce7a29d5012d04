/* SPDX-License-Identifier: Apache-2.0 */
/* Rings: order, room, what waits for room, and two threads that wake each other. */
#include "base/ring.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/assert.h"
#include "base/random.h"

enum {
    CAPACITY = 256,
    INLINE_MAX = CAPACITY / 4,
    NUMBERED = 16, /* octets of an item that has a number and nothing else */
};

/* An item with a number, and octets behind it that follow from the number. */
struct numbered {
    struct ring_item item;
    uint32_t number;
    uint8_t octets[];
};

static struct ring *ring;
static struct bell consumer;
static struct bell producer;

static void
set_up(void)
{
    bell_init(&consumer);
    bell_init(&producer);
    ring = ring_new(CAPACITY, &consumer, &producer);
}

static void
tear_down(void)
{
    ring_free(&ring);
}

TestSuite(ring, .init = set_up, .fini = tear_down);

static void
put(struct ring *to, uint32_t number, size_t size)
{
    struct numbered *item = ring_append(to, size);
    cr_assert(eq(sz, (uintptr_t)item % 8, 0));
    item->number = number;
    memset(item->octets, (int)(number & 0xFF), size - sizeof(*item));
}

/* The next item is this one. */
static void
expect(struct ring *from, uint32_t number, size_t size)
{
    const struct numbered *item = ring_next(from);
    cr_assert(item != NULL, "number %u is missing", number);
    cr_assert(eq(u32, item->number, number));
    cr_assert(eq(u32, item->item.size, size));
    for (size_t i = 0; i < size - sizeof(*item); i++) {
        cr_assert(eq(u8, item->octets[i], number & 0xFF), "number %u, octet %zu", number, i);
    }
}

Test(ring, nothing_is_seen_before_the_flush)
{
    put(ring, 1, NUMBERED);
    ring_look(ring);
    cr_expect(not(ring_has_items(ring)));
    cr_expect(ring_next(ring) == NULL);
    ring_flush(ring);
    cr_expect(ring_has_items(ring));
    ring_look(ring);
    expect(ring, 1, NUMBERED);
    cr_expect(ring_next(ring) == NULL);
}

/* What is flushed later belongs to the consumer's next turn. */
Test(ring, one_look_shows_one_moment)
{
    put(ring, 1, NUMBERED);
    ring_flush(ring);
    ring_look(ring);
    put(ring, 2, NUMBERED);
    ring_flush(ring);
    expect(ring, 1, NUMBERED);
    cr_expect(ring_next(ring) == NULL);
    ring_look(ring);
    expect(ring, 2, NUMBERED);
}

/* All sizes at all places of the memory: with padding and without, item by item. */
Test(ring, items_of_every_size_come_around_the_end)
{
    uint32_t number = 0;
    for (size_t shift = 0; shift < CAPACITY / 8; shift++) {
        for (size_t size = sizeof(struct numbered); size <= INLINE_MAX; size++) {
            put(ring, ++number, size);
            ring_flush(ring);
            ring_look(ring);
            expect(ring, number, size);
            ring_release(ring);
            cr_assert(eq(sz, ring_overflow_octets(ring), 0));
        }
        put(ring, ++number, sizeof(struct numbered));
        ring_flush(ring);
        ring_look(ring);
        expect(ring, number, sizeof(struct numbered));
        ring_release(ring);
    }
}

Test(ring, is_full_with_as_many_octets_as_it_has)
{
    for (uint32_t i = 0; i < CAPACITY / NUMBERED; i++) {
        put(ring, i, NUMBERED);
    }
    cr_expect(eq(sz, ring_overflow_octets(ring), 0));
    put(ring, CAPACITY / NUMBERED, NUMBERED);
    cr_expect(eq(sz, ring_overflow_octets(ring), NUMBERED));
}

/* Room for the item alone is not enough where the end of the memory comes first. */
Test(ring, padding_needs_room_as_well)
{
    for (uint32_t i = 0; i < 3; i++) {
        put(ring, i, 64);
    }
    put(ring, 3, 32);
    ring_flush(ring);
    ring_look(ring);
    expect(ring, 0, 64);
    ring_release(ring); /* 32 octets are free at the end, 64 at the start */
    put(ring, 4, 64);
    cr_expect(eq(sz, ring_overflow_octets(ring), 0));
    put(ring, 5, NUMBERED);
    cr_expect(eq(sz, ring_overflow_octets(ring), NUMBERED));
    ring_flush(ring);
    ring_look(ring);
    expect(ring, 1, 64);
    expect(ring, 2, 64);
    expect(ring, 3, 32);
    expect(ring, 4, 64);
}

/* Room comes back as soon as it is given back, yet what waits goes first. */
Test(ring, what_waits_stays_ahead_of_everything_newer)
{
    uint32_t put_count = 0;
    while (ring_overflow_octets(ring) == 0) {
        put(ring, put_count++, NUMBERED);
    }
    ring_flush(ring);
    ring_look(ring);
    uint32_t taken_count = 0;
    for (; taken_count < 5; taken_count++) {
        expect(ring, taken_count, NUMBERED);
    }
    ring_release(ring);
    for (int i = 0; i < 20; i++) {
        put(ring, put_count++, NUMBERED);
    }
    while (taken_count < put_count) {
        ring_flush(ring);
        ring_look(ring);
        cr_assert(ring_has_items(ring));
        for (int i = 0; i < 3 && taken_count < put_count; i++) {
            expect(ring, taken_count++, NUMBERED);
        }
        ring_release(ring);
    }
    cr_expect(eq(sz, ring_overflow_octets(ring), 0));
}

Test(ring, an_item_larger_than_the_ring_goes_through_it_in_its_place)
{
    static const size_t sizes[] = {INLINE_MAX, INLINE_MAX + 1, CAPACITY, 100 * 1000};
    for (uint32_t i = 0; i < 3 * ARRAY_LEN(sizes); i++) {
        put(ring, i, sizes[i % ARRAY_LEN(sizes)]);
    }
    ring_flush(ring);
    ring_look(ring);
    for (uint32_t i = 0; i < 3 * ARRAY_LEN(sizes); i++) {
        if (!ring_has_items(ring)) {
            ring_release(ring);
            ring_flush(ring);
            ring_look(ring);
        }
        expect(ring, i, sizes[i % ARRAY_LEN(sizes)]);
    }
    ring_release(ring);
}

/* The leak checker watches. */
Test(ring, is_freed_with_everything_that_nobody_took)
{
    for (uint32_t i = 0; i < 5000; i++) {
        put(ring, i, i % 3 == 0 ? 1000 : INLINE_MAX);
    }
    ring_flush(ring);
    ring_look(ring);
    expect(ring, 0, 1000);
}

Test(ring, is_freed_with_what_was_never_shown)
{
    put(ring, 0, 1000);
}

/* A block of the FIFO is 64 KiB; one is kept for the next time. */
Test(ring, memory_of_what_waited_is_given_back)
{
    enum { COUNT = 100000 };
    uint32_t taken_count = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        put(ring, i, 24);
    }
    cr_expect(eq(sz, ring_overflow_octets(ring), COUNT * 24 - 240));
    while (taken_count < COUNT) {
        ring_flush(ring);
        ring_look(ring);
        while (ring_has_items(ring)) {
            expect(ring, taken_count++, 24);
        }
        ring_release(ring);
    }
    cr_expect(eq(sz, ring_overflow_octets(ring), 0));
}

/* One write of the descriptor for all that a flush shows, and none for who is awake. */
Test(ring, a_flush_rings_only_if_it_shows_something)
{
    bell_announce_sleep(&consumer);
    ring_flush(ring);
    cr_expect(not(bell_was_rung(&consumer)));
    put(ring, 1, NUMBERED);
    cr_expect(not(bell_was_rung(&consumer)));
    ring_flush(ring);
    cr_expect(bell_was_rung(&consumer));
}

Test(ring, room_rings_only_for_a_producer_that_waits_for_it)
{
    put(ring, 0, NUMBERED);
    ring_flush(ring);
    bell_announce_sleep(&producer);
    ring_look(ring);
    expect(ring, 0, NUMBERED);
    ring_release(ring);
    cr_expect(not(bell_was_rung(&producer)));
    bell_end_sleep(&producer);

    for (uint32_t i = 0; ring_overflow_octets(ring) == 0; i++) {
        put(ring, i, NUMBERED);
    }
    ring_flush(ring);
    cr_expect(not(ring_can_move(ring)));
    bell_announce_sleep(&producer);
    ring_look(ring);
    expect(ring, 0, NUMBERED);
    cr_expect(not(bell_was_rung(&producer)));
    ring_release(ring);
    cr_expect(bell_was_rung(&producer));
    cr_expect(ring_can_move(ring));
    bell_end_sleep(&producer);

    ring_flush(ring);
    bell_announce_sleep(&producer);
    ring_look(ring);
    expect(ring, 1, NUMBERED);
    ring_release(ring);
    cr_expect(not(bell_was_rung(&producer)));
}

Test(ring, a_capacity_that_is_no_power_of_two_is_a_bug, .signal = SIGABRT)
{
    ring = ring_new(192, NULL, NULL);
}

/* Two threads ----------------------------------------------------------------------------------
 * Each sleeps whenever it has nothing to do, so that every hundredth item or so is one that could
 * miss a sleeper. */

enum { STRESS_COUNT = 200000, STRESS_TIMEOUT_MS = 30 * 1000 };

static size_t
stress_size(uint32_t number)
{
    return number % 97 == 0 ? 300 : sizeof(struct numbered) + number * 7 % 50;
}

/* Sleeps until it is woken, unless `has_work` finds something. */
static void
sleep_until_rung(struct bell *bell, bool (*has_work)(const struct ring *))
{
    bell_announce_sleep(bell);
    if (!has_work(ring)) {
        struct pollfd wait = {.fd = bell->fd, .events = POLLIN};
        assert(poll(&wait, 1, STRESS_TIMEOUT_MS) == 1);
    }
    bell_end_sleep(bell);
}

static void *
produce(void *context)
{
    (void)context;
    uint64_t state = 1;
    struct random_source random = random_seeded(&state);
    for (uint32_t number = 0; number < STRESS_COUNT;) {
        uint8_t burst;
        random.fill(random.context, &burst, 1);
        for (uint32_t i = 0; i <= burst % 16 && number < STRESS_COUNT; i++, number++) {
            struct numbered *item = ring_append(ring, stress_size(number));
            item->number = number;
        }
        ring_flush(ring);
        while (ring_overflow_octets(ring) > 0) {
            sleep_until_rung(&producer, ring_can_move);
            ring_flush(ring);
        }
    }
    return NULL;
}

Test(ring, two_threads_lose_neither_items_nor_wake_ups)
{
    ring_free(&ring);
    cr_assert(eq(int, bell_open(&consumer), STATUS_OK));
    cr_assert(eq(int, bell_open(&producer), STATUS_OK));
    ring = ring_new(CAPACITY, &consumer, &producer);
    pthread_t thread;
    cr_assert(eq(int, pthread_create(&thread, NULL, produce, NULL), 0));
    for (uint32_t number = 0; number < STRESS_COUNT;) {
        sleep_until_rung(&consumer, ring_has_items);
        ring_look(ring);
        const struct numbered *item;
        while ((item = ring_next(ring)) != NULL) {
            assert(item->number == number);
            assert(item->item.size == stress_size(number));
            number++;
        }
        ring_release(ring);
    }
    pthread_join(thread, NULL);
    cr_expect(not(ring_has_items(ring)));
    bell_close(&consumer);
    bell_close(&producer);
}

static void
expect_peek(struct ring *peeked, uint32_t number)
{
    const struct numbered *item = ring_peek(peeked);
    cr_assert(ne(ptr, (void *)item, NULL), "item %u", number);
    cr_expect(eq(u32, item->number, number));
}

/* To look at what comes next without taking it. */
Test(ring, peeking_shows_one_item_after_the_other_of_the_last_look)
{
    cr_expect(eq(ptr, (void *)ring_peek(ring), NULL));
    put(ring, 1, NUMBERED);
    put(ring, 2, NUMBERED);
    put(ring, 3, INLINE_MAX + 8);
    put(ring, 4, NUMBERED);
    ring_flush(ring);
    cr_expect(eq(ptr, (void *)ring_peek(ring), NULL), "before a look");
    ring_look(ring);
    expect_peek(ring, 1);
    expect_peek(ring, 2);
    cr_expect(eq(ptr, (void *)ring_peek(ring), NULL), "a large one lies elsewhere");
    expect_peek(ring, 4);
    cr_expect(eq(ptr, (void *)ring_peek(ring), NULL), "that was all");
    expect(ring, 1, NUMBERED);
    expect(ring, 2, NUMBERED);
    expect(ring, 3, INLINE_MAX + 8);
    expect(ring, 4, NUMBERED);
}

/* The consumer may be ahead of what was peeked at, and the memory's end lie between items. */
Test(ring, peeking_goes_on_behind_what_was_taken_and_around_the_end)
{
    for (uint32_t number = 0; number < 1000; number += 3) {
        put(ring, number, NUMBERED + number % 40);
        put(ring, number + 1, NUMBERED);
        put(ring, number + 2, NUMBERED);
        ring_flush(ring);
        ring_look(ring);
        expect(ring, number, NUMBERED + number % 40);
        expect_peek(ring, number + 1);
        expect_peek(ring, number + 2);
        expect(ring, number + 1, NUMBERED);
        expect(ring, number + 2, NUMBERED);
        ring_release(ring);
    }
}
