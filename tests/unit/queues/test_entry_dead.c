/* SPDX-License-Identifier: Apache-2.0 */
/* Entries that die in the middle of a deque, in memory, spilled, and on the way between. */
#include "queues/entry_deque.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/random.h"
#include "store/spill_space.h"
#include "tests/support/alloc_faults.h"

/* Entries are numbered as they are pushed; the reference knows of each whether it lives. */
enum { ENTRIES_MAX = 200000, FILE_OCTETS = SPILL_FILE_SIZE };

static struct chunk_pool *pool;
static struct entry_memory memory;
static struct entry_deque deque;
static uint8_t *file;
static bool *is_dead;
static uint64_t pushed, head, living_count, living_bytes;
static struct entry_spill writing, reading;
static bool is_writing, is_reading;

static void
set_up(void)
{
    pool = chunk_pool_new();
    entry_memory_init(&memory);
    memory.space = spill_space_new();
    deque = (struct entry_deque){.memory = &memory};
    file = malloc(FILE_OCTETS);
    is_dead = calloc(ENTRIES_MAX, sizeof(*is_dead));
    pushed = head = living_count = living_bytes = 0;
    is_writing = is_reading = false;
}

static void
tear_down(void)
{
    entry_deque_fini(&deque);
    cr_expect(eq(u64, memory.bytes, 0), "what the deque held is given back");
    cr_expect(eq(u64, spill_space_bytes(memory.space), 0));
    spill_space_free(&memory.space);
    chunk_pool_free(&pool);
    free(file);
    free(is_dead);
}

TestSuite(entry_dead, .init = set_up, .fini = tear_down);

/* Every fiftieth is in no log, so that runs of both kinds are written. */
static struct queue_entry
entry_number(uint64_t number)
{
    bool is_logged = number % 4096 < 3000 || number % 50 != 0;
    struct queue_entry entry = {.size = (uint32_t)(number % 1000), .due = (uint32_t)number};
    entry.lsn_and_flags = queue_entry_pack(is_logged ? 8 * (number + 1) : 0, ENTRY_PERSISTENT);
    entry.content.bits = is_logged ? 0 : number + 1;
    return entry;
}

static void
check(void)
{
    uint64_t body_bytes;
    uint64_t count = entry_deque_check(&deque, 0, &body_bytes);
    cr_assert(eq(u64, count - deque.dead_count, living_count));
    cr_assert(eq(u64, body_bytes, living_bytes));
}

static void
push(uint64_t count)
{
    for (; count > 0 && pushed < ENTRIES_MAX; count--) {
        struct queue_entry entry = entry_number(pushed);
        enum status status = entry_deque_push(&deque, &entry);
        cr_assert(eq(int, status, STATUS_OK));
        living_count++;
        living_bytes += entry.size;
        pushed++;
    }
}

/* Where the oldest place is, as the owner of a deque knows it. */
static uint64_t
first_place(void)
{
    return pushed - (living_count + deque.dead_count);
}

static void
expect_entry(const struct queue_entry *entry, uint64_t number)
{
    struct queue_entry expected = entry_number(number);
    cr_assert(eq(u64, entry->lsn_and_flags, expected.lsn_and_flags), "entry %ju",
              (uintmax_t)number);
    cr_assert(eq(u64, entry->content.bits, expected.content.bits));
    cr_assert(eq(u32, entry->size, expected.size));
}

static void
leave(uint64_t number)
{
    is_dead[number] = true;
    living_count--;
    living_bytes -= entry_number(number).size;
}

static bool
take(void)
{
    if (entry_deque_head(&deque) == NULL) {
        return false;
    }
    while (is_dead[head]) {
        head++;
    }
    cr_assert(eq(u64, first_place(), head), "the dead in front are gone");
    struct queue_entry entry;
    entry_deque_take(&deque, &entry);
    expect_entry(&entry, head);
    leave(head++);
    return true;
}

/* The caller passes what it remembers, which is what was pushed. */
static enum status
kill_number(uint64_t number)
{
    struct queue_entry entry = entry_number(number);
    enum status status = entry_deque_kill(&deque, number - first_place(), &entry);
    if (status == STATUS_OK) {
        cr_assert(not(is_dead[number]));
        expect_entry(&entry, number);
        leave(number);
    }
    return status;
}

static void
end_writing(bool is_written)
{
    memcpy(file + spill_place_offset(writing.place), writing.octets, writing.size);
    entry_pages_end_spill(&writing, is_written, pool);
    is_writing = false;
}

/* Places in memory in front of what is spilled. */
static uint64_t
count_front(void)
{
    struct entry_cursor cursor = entry_deque_seek(&deque, 0);
    uint64_t count = 0;
    while (entry_cursor_next(&cursor) != NULL) {
        count++;
    }
    return count;
}

/* What is lost is what lived in the run. */
static void
end_reading(bool is_read)
{
    uint64_t number = first_place() + count_front();
    memcpy(reading.octets, file + spill_place_offset(reading.place), reading.size);
    struct entry_loss loss;
    enum status status = entry_pages_end_read(&reading, is_read, &loss);
    cr_assert(eq(int, status, STATUS_OK));
    is_reading = false;
    living_count -= loss.count;
    living_bytes -= loss.bytes;
    for (; loss.count > 0; number++) {
        loss.count -= is_dead[number] ? 0 : 1;
        is_dead[number] = true;
    }
}

static void
take_all(void)
{
    while (living_count > 0) {
        if (!take()) {
            cr_assert(entry_deque_begin_read(&deque, &reading));
            end_reading(true);
        }
    }
    if (is_writing) {
        end_writing(true);
    }
    entry_deque_drop_dead(&deque, deque.dead_count);
    check();
    cr_expect(eq(u32, deque.dead_count, 0));
}

/* What dies in the middle is not taken, and leaves the others where they are. */
Test(entry_dead, entry_that_dies_in_memory_is_skipped)
{
    push(2000);
    for (uint64_t number = 0; number < 2000; number += 3) {
        enum status status = kill_number(number);
        cr_expect(eq(int, status, STATUS_OK));
    }
    check();
    enum status again = kill_number(3);
    cr_expect(eq(int, again, STATUS_AGAIN), "it dies once");
    while (take()) {
    }
    check();
    cr_expect(eq(u32, deque.dead_count, 0));
}

Test(entry_dead, oldest_entry_is_never_a_dead_one)
{
    push(5000);
    for (uint64_t number = 1; number < 4000; number++) {
        enum status status = kill_number(number);
        cr_assert(eq(int, status, STATUS_OK));
    }
    cr_expect(eq(u64, first_place(), 0));
    cr_assert(take());
    cr_expect(eq(u64, first_place(), 4000), "all the dead behind it are gone at once");
    check();
}

/* A run cannot be changed: what has died in it is known when it comes back. */
Test(entry_dead, entry_that_dies_while_it_is_spilled_does_not_come_back)
{
    push(20000);
    while (entry_memory_begin_spill(&memory, true, &writing)) {
        end_writing(true);
    }
    for (uint64_t number = 5000; number < 15000; number += 7) {
        enum status status = kill_number(number);
        cr_assert(eq(int, status, STATUS_OK));
    }
    check();
    take_all();
    cr_expect(eq(u64, head, 20000));
}

/* The file says that it lives. */
Test(entry_dead, entry_that_dies_while_its_run_is_written_does_not_come_back)
{
    push(20000);
    cr_assert(entry_memory_begin_spill(&memory, true, &writing));
    for (uint64_t number = 1500; number < 4000; number += 2) {
        enum status status = kill_number(number);
        cr_assert(eq(int, status, STATUS_OK));
    }
    end_writing(true);
    check();
    take_all();
}

/* Without memory to note what died meanwhile the run is given up, and written again later. */
Test(entry_dead, run_whose_dead_cannot_be_noted_stays_in_memory)
{
    push(20000);
    cr_assert(entry_memory_begin_spill(&memory, true, &writing));
    enum status status = kill_number(2000);
    cr_assert(eq(int, status, STATUS_OK));
    alloc_faults_plan(1);
    end_writing(true);
    alloc_faults_plan(0);
    cr_expect(not(deque.has_runs));
    check();
    cr_assert(entry_memory_begin_spill(&memory, true, &writing));
    end_writing(true);
    cr_expect(deque.has_runs);
    check();
    take_all();
}

Test(entry_dead, spilled_entry_lives_on_when_there_is_no_memory_for_its_death)
{
    push(20000);
    cr_assert(entry_memory_begin_spill(&memory, true, &writing));
    end_writing(true);
    alloc_faults_plan(1);
    enum status status = kill_number(2000);
    alloc_faults_plan(0);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    check();
    take_all();
}

/* A deque that holds nothing but the dead need not be read back. */
Test(entry_dead, deque_of_the_dead_is_given_up)
{
    push(20000);
    while (entry_memory_begin_spill(&memory, true, &writing)) {
        end_writing(true);
    }
    for (uint64_t number = 0; number < 20000; number++) {
        enum status status = kill_number(number);
        cr_assert(eq(int, status, STATUS_OK));
    }
    cr_expect(ge(u32, deque.dead_count, 1), "what is spilled waits");
    entry_deque_drop_dead(&deque, pushed - first_place());
    cr_expect(eq(u32, deque.dead_count, 0));
    cr_expect(eq(u64, memory.bytes, 0));
}

/* One step of the long test below. */
static void
do_something(const struct random_source *random)
{
    uint64_t what = random_u64(random) % 16;
    uint64_t first = first_place();
    if (what < 3) {
        push(random_u64(random) % 1500);
    } else if (what < 6) {
        for (uint64_t count = random_u64(random) % 900; count > 0 && take(); count--) {
        }
    } else if (what < 10 && pushed > first) {
        uint64_t from = first + random_u64(random) % (pushed - first);
        for (uint64_t number = from; number < from + 300 && number < pushed; number += what - 5) {
            if (number >= first_place() && !is_dead[number]) {
                enum status status = kill_number(number);
                cr_assert(eq(int, status, STATUS_OK));
            }
        }
    } else if (what < 12 && !is_writing) {
        is_writing = entry_memory_begin_spill(&memory, true, &writing);
    } else if (what < 13 && is_writing) {
        end_writing(random_u64(random) % 8 != 0);
    } else if (what < 14 && !is_reading && entry_deque_wants_read(&deque)) {
        is_reading = entry_deque_begin_read(&deque, &reading);
    } else if (is_reading) {
        end_reading(random_u64(random) % 8 != 0);
    }
}

/* Against an array that says of each entry whether it lives. */
Test(entry_dead, dead_and_living_are_told_apart_whatever_happens_in_between)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t state = seed;
        struct random_source random = random_seeded(&state);
        while (pushed < ENTRIES_MAX / 8 * (seed + 1)) {
            do_something(&random);
            if (random_u64(&random) % 8 == 0) {
                check();
            }
        }
    }
    if (is_reading) {
        end_reading(true);
    }
    take_all();
}
