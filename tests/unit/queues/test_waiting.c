/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait for a time in a queue, on a clock of the test's own. */
#include "queues/waiting.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "queues/expiry.h"
#include "tests/support/alloc_faults.h"

static struct queue *queue;
static struct entry_memory memory;
static uint64_t released_count, released_lsn_sum;

static void
set_up(void)
{
    entry_memory_init(&memory);
    queue = queue_new(1, &(struct queue_properties){.name = bytes_of("q"), .durable = true});
    queue_count_memory(queue, &memory);
    released_count = 0;
    released_lsn_sum = 0;
}

static void
count_released(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    cr_expect(eq(u64, queue_id, *(const uint64_t *)context));
    released_count++;
    released_lsn_sum += queue_entry_lsn(entry);
}

/* Drops everything; returns how many messages that were. */
static uint64_t
purge(uint64_t queue_id)
{
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = count_released;
    discards.context = &queue_id;
    uint64_t count = queue_purge(queue, &discards) + queue_purge_waiting(queue, &discards);
    queue_discards_fini(&discards);
    return count;
}

static void
tear_down(void)
{
    (void)purge(1);
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0), "what the queue held is given back");
}

TestSuite(waiting, .init = set_up, .fini = tear_down);

/* Told apart by its LSN. */
static struct queue_entry
entry_of(uint64_t number)
{
    return (struct queue_entry){.lsn_and_flags = queue_entry_pack(8 * number, 0),
                                .size = (uint32_t)(number % 100)};
}

static uint64_t
number_of(const struct queue_entry *entry)
{
    return queue_entry_lsn(entry) / 8;
}

static void
delay(uint64_t number, uint64_t due_ms)
{
    struct queue_entry entry = entry_of(number);
    enum status status = queue_reserve_delayed(queue, waiting_due_ms(due_ms));
    cr_assert(eq(int, status, STATUS_OK));
    queue_push_delayed(queue, &entry, 0, waiting_due_ms(due_ms), 0);
}

static void
push(uint64_t number)
{
    struct queue_entry entry = entry_of(number);
    enum status status = queue_push(queue, &entry);
    cr_assert(eq(int, status, STATUS_OK));
}

static uint64_t
lend(struct queue_entry *entry_out)
{
    uint64_t position;
    enum status status = queue_lend(queue, entry_out, &position);
    cr_assert(eq(int, status, STATUS_OK));
    return position;
}

static void
wait_until(const struct queue_entry *entry, uint64_t position, uint64_t due_ms)
{
    enum status status = queue_wait(queue, entry, position, due_ms);
    cr_assert(eq(int, status, STATUS_OK));
}

/* Takes the first delayed message; its number. */
static uint64_t
take_first(void)
{
    struct due_key key = queue_first_waiting(queue)->key;
    struct due_row row;
    cr_assert(queue_take_waiting(queue, &key, &row));
    return number_of(&row.entry);
}

/* Takes the first message that was lent back to its place. */
static void
end_first_retry(void)
{
    struct due_key key = queue_first_waiting(queue)->key;
    struct queue_entry entry;
    enum status status = queue_end_retry(queue, &key, &entry);
    cr_assert(eq(int, status, STATUS_OK));
}

static uint64_t
pop(void)
{
    struct queue_entry entry;
    uint64_t position;
    cr_assert(queue_pop(queue, &entry, &position));
    return number_of(&entry);
}

/* Delayed -------------------------------------------------------------------------------------- */

Test(waiting, delayed_messages_come_in_the_order_in_which_they_are_due)
{
    delay(1, 500);
    delay(2, 100);
    delay(3, 500);
    delay(4, 300);
    cr_expect(eq(u64, queue_waiting_count(queue), 4));
    cr_expect(eq(u64, queue->ready_count, 0));
    cr_expect(eq(u64, queue_next_due_ms(queue), 100));
    queue_check(queue);
    static const uint64_t order[] = {2, 4, 1, 3};
    for (size_t i = 0; i < 4; i++) {
        cr_expect(eq(u64, take_first(), order[i]));
    }
    cr_expect(eq(u64, queue_next_due_ms(queue), NEVER_MS));
}

/* What a message says of its time to live is kept while it waits: exactly up to 24 days, then
 * rounded up to the second, up to ten years. */
Test(waiting, a_delayed_message_keeps_its_time_to_live)
{
    static const struct {
        uint64_t expiration, kept;
    } rows[] = {
        {0, 0},
        {1, 1},
        {1001, 1001},
        {UINT64_C(2147483647), UINT64_C(2147483647)},
        {UINT64_C(2147483650) + 1, UINT64_C(2147484000) + 1},
        {UINT64_C(315360000000) + 1, UINT64_C(315360000000) + 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct queue_entry entry = entry_of(1);
        enum status status = queue_reserve_delayed(queue, 100);
        cr_assert(eq(int, status, STATUS_OK));
        queue_push_delayed(queue, &entry, 0, 100, rows[i].expiration);
        cr_expect(eq(u64, delayed_expiration(&queue_first_waiting(queue)->entry), rows[i].kept));
        (void)take_first();
    }
}

/* Of the clocks of the queue, of what it knows of waiting, and of the row. */
Test(waiting, nothing_waits_without_memory_for_any_part_of_it)
{
    static const uint32_t nths[] = {1, 2, 2}; /* what was made before stays */
    for (size_t i = 0; i < sizeof(nths) / sizeof(nths[0]); i++) {
        alloc_faults_plan(nths[i]);
        enum status status = queue_reserve_delayed(queue, 100);
        cr_expect(eq(int, status, STATUS_NO_MEMORY), "%zu", i);
        cr_expect(eq(u32, alloc_faults_left(), 0));
        cr_expect(eq(u64, queue_waiting_count(queue), 0));
        queue_check(queue);
    }
    delay(1, 100);
    cr_expect(eq(u64, take_first(), 1));
}

/* A publish makes room in all of its queues before it is written down, and may then be refused. */
Test(waiting, room_that_was_reserved_is_given_up_without_a_trace)
{
    delay(1, 100);
    uint64_t octets = memory.bytes;
    for (uint64_t due_ms = 200; due_ms < 700; due_ms++) {
        enum status status = queue_reserve_delayed(queue, waiting_due_ms(due_ms));
        cr_assert(eq(int, status, STATUS_OK));
    }
    cr_expect(eq(u64, queue_waiting_count(queue), 1));
    for (uint64_t due_ms = 200; due_ms < 700; due_ms++) {
        queue_forget_delayed(queue, waiting_due_ms(due_ms));
    }
    cr_expect(eq(u64, memory.bytes, octets));
    queue_check(queue);
    delay(2, 50);
    cr_expect(eq(u64, take_first(), 2));
    cr_expect(eq(u64, take_first(), 1));
}

Test(waiting, nothing_changes_where_there_is_no_memory)
{
    delay(1, 100);
    while (queue_waiting_count(queue) < 102) {
        delay(2, 200);
    }
    uint64_t octets = memory.bytes;
    alloc_faults_plan(1);
    enum status status = queue_reserve_delayed(queue, 150);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    alloc_faults_plan(0);
    cr_expect(eq(u64, memory.bytes, octets));
    cr_expect(eq(u64, queue_waiting_count(queue), 102));
    queue_check(queue);
}

/* Retrying ------------------------------------------------------------------------------------- */

Test(waiting, a_message_that_waited_comes_back_to_its_old_place)
{
    for (uint64_t number = 1; number <= 4; number++) {
        push(number);
    }
    struct queue_entry first, second, third;
    uint64_t first_position = lend(&first);
    uint64_t second_position = lend(&second);
    uint64_t third_position = lend(&third);
    wait_until(&second, second_position, 500);
    wait_until(&first, first_position, 700);
    queue_return(queue, &third, third_position);
    cr_expect(eq(u64, queue->unacked_count, 0));
    cr_expect(eq(u64, queue->ready_count, 2));
    queue_check(queue);
    end_first_retry();
    cr_expect(eq(u64, pop(), 2));
    end_first_retry();
    queue_check(queue);
    uint8_t flags = queue_entry_flags(queue_peek(queue));
    cr_expect(ne(int, flags &ENTRY_REDELIVERED, 0));
    cr_expect(eq(u64, pop(), 1));
    cr_expect(eq(u64, pop(), 3));
    cr_expect(eq(u64, pop(), 4));
}

/* It must not be handed out late because it waited. */
Test(waiting, a_deadline_that_is_earlier_than_the_due_time_ends_the_wait)
{
    struct queue_entry entry = entry_of(1);
    enum status status = queue_push_until(queue, &entry, 300);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t position = lend(&entry);
    wait_until(&entry, position, 500);
    cr_expect(eq(u64, queue_next_due_ms(queue), 300));
    end_first_retry();
    status = queue_take_expired(queue, 300, &entry, &position);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, number_of(&entry), 1));
}

/* The time of a deadline that is far away stands beside the queue, and must outlive the emptiness
 * of what is ready and lent. */
Test(waiting, a_far_deadline_is_still_known_after_the_wait)
{
    static const uint64_t FAR_MS = UINT64_C(60000000000);
    struct queue_entry entry = entry_of(1);
    enum status status = queue_push_until(queue, &entry, FAR_MS);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t position = lend(&entry);
    wait_until(&entry, position, 500);
    struct queue_entry other = entry_of(2);
    status = queue_push_until(queue, &other, 1000);
    cr_assert(eq(int, status, STATUS_OK));
    end_first_retry();
    cr_expect(eq(u64, queue_head_deadline_ms(queue), FAR_MS));
    queue_check(queue);
}

Test(waiting, a_parked_message_never_comes_due_and_has_no_deadline)
{
    struct queue_entry entry = entry_of(1);
    enum status status = queue_push_until(queue, &entry, 300);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t position = lend(&entry);
    wait_until(&entry, position, PARKED_MS);
    cr_expect(eq(u64, queue_next_due_ms(queue), NEVER_MS));
    cr_expect(eq(u64, queue->waiting->counts[WAITING_PARKED], 1));
    delay(2, 100);
    cr_expect(eq(u64, queue_next_due_ms(queue), 100));
    cr_expect(eq(u64, take_first(), 2));
    end_first_retry();
    cr_expect(eq(u64, queue_head_deadline_ms(queue), NEVER_MS));
    queue_check(queue);
}

/* It has none itself, and stands before those that came in the order of theirs. */
Test(waiting, a_message_from_the_quarantine_hides_no_deadline)
{
    struct queue_entry first = entry_of(1);
    struct queue_entry second = entry_of(2);
    struct queue_entry expired;
    enum status status = queue_push_until(queue, &first, 300);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t position = lend(&first);
    wait_until(&first, position, PARKED_MS);
    status = queue_push_until(queue, &second, 400);
    cr_assert(eq(int, status, STATUS_OK));
    end_first_retry();
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 400));
    status = queue_take_expired(queue, 400, &expired, &position);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, number_of(&expired), 2));
    cr_expect(eq(u64, pop(), 1));
    queue_check(queue);
}

/* Nor those of what came back behind it. */
Test(waiting, a_message_from_the_quarantine_hides_no_deadline_of_what_came_back)
{
    struct queue_entry entries[] = {entry_of(1), entry_of(2)};
    uint64_t positions[2];
    for (int i = 0; i < 2; i++) {
        enum status status = queue_push_until(queue, &entries[i], 300 + 100 * (uint64_t)i);
        cr_assert(eq(int, status, STATUS_OK));
        positions[i] = lend(&entries[i]);
    }
    wait_until(&entries[0], positions[0], PARKED_MS);
    queue_return(queue, &entries[1], positions[1]);
    end_first_retry();
    cr_expect(eq(u64, queue_next_deadline_ms(queue), 400));
    queue_check(queue);
}

/* Somebody releases all of a large quarantine. The one that comes back last must not look at all
 * that came before it: a time limit that only a square of their number misses. */
Test(waiting, releasing_a_large_quarantine_costs_as_much_for_each, .timeout = 20)
{
    enum { MESSAGES = 200 * 1000 };
    (void)queue_times_of(queue);
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        push(number);
    }
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        struct queue_entry entry;
        uint64_t position = lend(&entry);
        wait_until(&entry, position, PARKED_MS);
    }
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        end_first_retry();
    }
    cr_expect(eq(u64, queue->ready_count, MESSAGES));
}

Test(waiting, without_memory_a_message_stays_where_it_is)
{
    push(1);
    struct queue_entry entry;
    uint64_t position = lend(&entry);
    alloc_faults_plan(1);
    enum status status = queue_wait(queue, &entry, position, 500);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    alloc_faults_plan(0);
    cr_expect(eq(u64, queue->unacked_count, 1));
    wait_until(&entry, position, 500);
    for (uint64_t number = 2; number < 18; number++) {
        push(number);
        (void)lend(&entry);
    }
    struct due_key key = queue_first_waiting(queue)->key;
    alloc_faults_plan(1);
    status = queue_end_retry(queue, &key, &entry);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    alloc_faults_plan(0);
    cr_expect(eq(u64, queue_waiting_count(queue), 1));
    end_first_retry();
    for (uint64_t number = 2; number < 18; number++) {
        entry = entry_of(number);
        queue_settle(queue, &entry, number);
    }
}

/* Taking out ----------------------------------------------------------------------------------- */

Test(waiting, a_message_is_taken_out_by_its_key_once)
{
    delay(1, 100);
    delay(2, 200);
    delay(3, 300);
    struct due_row row;
    struct due_key key = {.due_ms = waiting_due_ms(200),
                          .position = QUEUE_POSITION_DELAYED | 2 << DELAYED_NUMBER_SHIFT};
    cr_expect(queue_take_waiting(queue, &key, &row));
    cr_expect(eq(u64, number_of(&row.entry), 2));
    cr_expect(not(queue_take_waiting(queue, &key, &row)));
    queue_check(queue);
}

Test(waiting, a_purge_releases_every_message_once)
{
    uint64_t sum = 0;
    for (uint64_t number = 1; number <= 5000; number++) {
        delay(number, number * 7919 % 1000);
        sum += 8 * number;
    }
    push(6000);
    cr_expect(eq(u64, purge(1), 5001));
    cr_expect(eq(u64, released_count, 5001));
    cr_expect(eq(u64, released_lsn_sum, sum + 48000));
    cr_expect(eq(u64, queue_waiting_count(queue), 0));
    queue_check(queue);
}

/* Memory --------------------------------------------------------------------------------------- */

static uint64_t
octets_of_each(bool in_order)
{
    enum { MESSAGES = 100000 };
    uint64_t state = 1;
    for (uint64_t number = 1; number <= MESSAGES; number++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        delay(number, in_order ? number : 1 + (state >> 33));
    }
    /* malloc adds 16 octets to each block of 4 KiB. */
    return memory.bytes / 4096 * (4096 + 16) / MESSAGES;
}

/* Ten million delayed messages are to cost 64 octets of memory each, whatever their order. */
Test(waiting, messages_that_come_in_order_are_packed_densely)
{
    cr_expect(le(u64, octets_of_each(true), 41));
}

Test(waiting, messages_that_come_in_any_order_fit_64_octets)
{
    cr_expect(le(u64, octets_of_each(false), 63));
}
