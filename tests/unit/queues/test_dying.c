/* SPDX-License-Identifier: Apache-2.0 */
/* The list of messages that have died and wait to be moved. */
#include "queues/dying.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "queues/queue.h"
#include "tests/support/alloc_faults.h"

static struct queue *queue;

static void
set_up(void)
{
    struct queue_properties properties = {.name = bytes_of("q")};
    queue = queue_new(1, &properties);
}

static void
tear_down(void)
{
    queue_unref(&queue);
}

TestSuite(dying, .init = set_up, .fini = tear_down);

static void
add(uint32_t number)
{
    struct dying_message message = {.entry = {.size = number}, .number = number};
    cr_assert(eq(int, queue_reserve_dying(queue, 1), STATUS_OK));
    queue_add_dying(queue, &message);
    cr_assert(eq(u64, queue_last_dying(queue)->number, number));
}

/* Room for many is there as a whole, or whoever asks for it is told. */
Test(dying, room_is_made_before_anything_dies)
{
    enum { COUNT = 500 };
    uint32_t failed_count = 0;
    for (bool has_failed = true; has_failed;) {
        alloc_faults_plan(3);
        enum status status = queue_reserve_dying(queue, COUNT);
        has_failed = alloc_faults_left() == 0;
        cr_assert(eq(int, status, has_failed ? STATUS_NO_MEMORY : STATUS_OK));
        failed_count += has_failed;
        queue_check(queue);
    }
    cr_expect(ge(u32, failed_count, 2));
    alloc_faults_plan(1);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct dying_message message = {.number = i};
        queue_add_dying(queue, &message);
    }
    cr_expect(eq(u32, alloc_faults_left(), 1));
    alloc_faults_plan(0);
    queue_check(queue);
    for (uint32_t i = 0; i < COUNT; i++) {
        queue_take_dying(queue);
    }
    queue_check(queue);
}

/* Ordering in the target is the order of deaths. */
Test(dying, messages_come_out_in_the_order_in_which_they_died)
{
    enum { COUNT = 1000 };
    uint32_t taken = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        add(i);
        if (i % 3 == 0) {
            cr_assert(eq(u32, queue_first_dying(queue)->entry.size, taken++));
            queue_take_dying(queue);
        }
        queue_check(queue);
    }
    struct dying_cursor cursor = queue_dying_begin(queue);
    for (uint32_t i = taken; i < COUNT; i++) {
        cr_assert(eq(u32, dying_cursor_next(&cursor)->entry.size, i));
    }
    cr_expect(eq(ptr, (void *)dying_cursor_next(&cursor), NULL));
    for (; taken < COUNT; taken++) {
        cr_assert(eq(u32, queue_first_dying(queue)->entry.size, taken));
        queue_take_dying(queue);
    }
    cr_expect(eq(ptr, (void *)queue_first_dying(queue), NULL));
}

/* What is dying counts towards the memory mark, and gives it back. */
Test(dying, their_memory_is_the_queues)
{
    for (uint32_t i = 0; i < 300; i++) {
        add(i);
    }
    cr_expect(ge(u64, queue_memory_bytes(queue), 300 * sizeof(struct dying_message)));
    while (queue_first_dying(queue) != NULL) {
        queue_take_dying(queue);
    }
    cr_expect(eq(u64, queue_memory_bytes(queue), 0));
}

/* A queue may be deleted while messages of it are dying. */
Test(dying, the_queue_lives_as_long_as_something_is_dying)
{
    add(1);
    add(2);
    struct queue *others = queue;
    cr_expect(eq(u32, queue->references, 2));
    queue_unref(&others);
    queue_take_dying(queue);
    cr_expect(eq(u32, queue->references, 1));
    (void)queue_ref(queue); /* for tear_down */
    queue_take_dying(queue);
}

Test(dying, reasons_have_the_names_that_clients_read)
{
    cr_expect(eq(str, (char *)death_reason_name(DEATH_REJECTED), "rejected"));
    cr_expect(eq(str, (char *)death_reason_name(DEATH_EXPIRED), "expired"));
    cr_expect(eq(str, (char *)death_reason_name(DEATH_MAXLEN), "maxlen"));
    cr_expect(eq(str, (char *)death_reason_name(DEATH_DELIVERY_LIMIT), "delivery_limit"));
}
