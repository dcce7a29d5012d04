/* SPDX-License-Identifier: Apache-2.0 */
/* A long deque whose middle lies in a spill file, against a disk of the test's own. */
#include "queues/entry_deque.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "queues/discards.h"
#include "store/spill_space.h"
#include "tests/support/alloc_faults.h"

static struct entry_memory memory;
static struct entry_deque deque;
static struct chunk_pool *pool;
static uint64_t pushed, taken;
static uint8_t *file; /* the first spill file */

static void
set_up(void)
{
    entry_memory_init(&memory);
    memory.space = spill_space_new();
    deque = (struct entry_deque){.memory = &memory};
    pool = chunk_pool_new();
    file = calloc(1, SPILL_FILE_SIZE);
    pushed = 0;
    taken = 0;
}

static void
tear_down(void)
{
    entry_deque_fini(&deque);
    cr_expect(eq(u64, memory.bytes, 0), "what the deque held is given back");
    cr_expect(eq(u64, spill_space_bytes(memory.space), 0), "and what it had spilled");
    cr_expect(list_is_empty(&memory.long_deques));
    spill_space_free(&memory.space);
    chunk_pool_free(&pool);
    free(file);
}

TestSuite(entry_deque, .init = set_up, .fini = tear_down);

/* Logged entries are told apart by their LSN, others by where their content lies. */
static struct queue_entry
entry_number(uint64_t number, bool is_logged)
{
    struct queue_entry entry = {.size = (uint32_t)(number % 1000), .due = (uint32_t)number};
    entry.lsn_and_flags = queue_entry_pack(is_logged ? 8 * (number + 1) : 0, number % 2);
    entry.content.bits = is_logged ? 0 : number + 1;
    return entry;
}

static bool
is_logged_number(uint64_t number)
{
    return number % 5000 != 4999;
}

static void
push(uint64_t count)
{
    for (; count > 0; count--) {
        struct queue_entry entry = entry_number(pushed, is_logged_number(pushed));
        enum status status = entry_deque_push(&deque, &entry);
        cr_assert(eq(int, status, STATUS_OK));
        pushed++;
    }
}

static bool
take(void)
{
    if (entry_deque_head(&deque) == NULL) {
        return false;
    }
    struct queue_entry expected = entry_number(taken, is_logged_number(taken));
    struct queue_entry entry;
    entry_deque_take(&deque, &entry);
    cr_assert(eq(u64, entry.lsn_and_flags, expected.lsn_and_flags), "entry %ju", (uintmax_t)taken);
    cr_assert(eq(u64, entry.content.bits, expected.content.bits));
    cr_assert(eq(u32, entry.size, expected.size));
    cr_assert(eq(u32, entry.due, expected.due));
    taken++;
    return true;
}

static void
check(void)
{
    uint64_t body_bytes;
    uint64_t count = entry_deque_check(&deque, 0, &body_bytes);
    cr_assert(eq(u64, count, pushed - taken));
}

static void
write_out(struct entry_spill *spill)
{
    cr_assert(eq(u64, spill_place_file(spill->place), 1));
    memcpy(file + spill_place_offset(spill->place), spill->octets, spill->size);
    spill->crc = 4711;
}

/* Spills what there is to spill; returns how many runs. */
static int
spill_all(bool under_pressure)
{
    struct entry_spill spill;
    int runs = 0;
    while (entry_memory_begin_spill(&memory, under_pressure, &spill)) {
        write_out(&spill);
        entry_pages_end_spill(&spill, true, pool);
        check();
        runs++;
    }
    return runs;
}

static void
read_in(struct entry_spill *spill)
{
    cr_assert(eq(u32, spill->crc, 4711));
    memcpy(spill->octets, file + spill_place_offset(spill->place), spill->size);
}

static void
read_run(void)
{
    struct entry_spill spill;
    cr_assert(entry_deque_begin_read(&deque, &spill));
    read_in(&spill);
    struct entry_loss loss;
    enum status status = entry_pages_end_read(&spill, true, &loss);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, loss.count, 0));
    check();
}

static void
take_all(void)
{
    while (pushed > taken) {
        if (!take()) {
            cr_assert(entry_deque_wants_read(&deque));
            read_run();
        }
    }
}

/* The point of it: memory stays bounded while a queue grows. */
Test(entry_deque, long_deque_keeps_little_in_memory_and_its_order)
{
    for (int i = 0; i < 30; i++) {
        push(20000);
        (void)spill_all(false);
    }
    cr_expect(le(u64, memory.bytes, (ENTRY_BLOCKS_MAX + 10) * 8192));
    cr_expect(le(u64, spill_space_bytes(memory.space), pushed * 20));
    take_all();
}

/* With other memory short, even a deque of some thousand entries goes. */
Test(entry_deque, under_pressure_all_but_front_and_tail_goes)
{
    push(10000);
    cr_expect(eq(int, spill_all(false), 0));
    cr_expect(ge(int, spill_all(true), 2));
    cr_expect(le(u64, memory.bytes, 6 * 8192));
    take_all();
}

Test(entry_deque, short_deque_is_left_alone)
{
    push(1000);
    cr_expect(eq(int, spill_all(true), 0));
    take_all();
    cr_expect(eq(u64, memory.bytes, 0));
}

/* A steady drain must not wait for the disk: the next run is asked for before the front is empty.
 */
Test(entry_deque, next_run_is_wanted_before_the_front_is_empty)
{
    push(30000);
    (void)spill_all(true);
    cr_expect(entry_deque_wants_read(&deque));
    read_run();
    cr_expect(not(entry_deque_wants_read(&deque)));
    while (!entry_deque_wants_read(&deque)) {
        cr_assert(take());
    }
    for (int i = 0; i < 1000; i++) {
        cr_assert(take());
    }
    take_all();
}

/* While a run is on its way to the disk, its entries are where they were. */
Test(entry_deque, head_that_reaches_a_run_under_way_takes_it_from_memory)
{
    push(10000);
    struct entry_spill spill;
    cr_assert(entry_memory_begin_spill(&memory, true, &spill));
    while (take()) {
    }
    cr_expect(eq(u64, taken, pushed));
    write_out(&spill);
    entry_pages_end_spill(&spill, true, pool);
    push(10);
    take_all();
}

/* A spilled entry lets go of its content, and who asks for it back reads the log: nothing may go of
 * which the log is not on disk yet. */
Test(entry_deque, entries_stay_until_the_log_has_them)
{
    push(20000);
    memory.busy_lsn = 8;
    cr_expect(eq(int, spill_all(true), 0), "nothing is on disk");
    cr_expect(not(list_is_empty(&memory.long_deques)), "it is not forgotten");
    memory.busy_lsn = 8 * 5000;
    cr_expect(ge(int, spill_all(true), 1), "what is on disk may go");
    check();
    uint64_t bytes = memory.bytes;
    cr_expect(eq(int, spill_all(true), 0), "and nothing else");
    memory.busy_lsn = 8 * 20001;
    cr_expect(ge(int, spill_all(true), 1));
    cr_expect(lt(u64, memory.bytes, bytes));
    take_all();
}

/* The next run of a deque begins where the last ended, which is known when it has ended. */
Test(entry_deque, has_one_run_under_way_at_most)
{
    push(30000);
    struct entry_spill spill;
    struct entry_spill second;
    cr_assert(entry_memory_begin_spill(&memory, true, &spill));
    push(1000);
    cr_expect(not(entry_memory_begin_spill(&memory, true, &second)));
    write_out(&spill);
    entry_pages_end_spill(&spill, true, pool);
    cr_expect(ge(int, spill_all(true), 1), "then it goes on");
    take_all();
}

/* Without pressure nobody looks beyond the first that is short. */
Test(entry_deque, deque_that_grows_while_a_run_is_under_way_is_still_before_short_ones)
{
    struct entry_deque other = {.memory = &memory};
    for (uint64_t i = 0; i < 3000; i++) {
        struct queue_entry entry = entry_number(i, true);
        cr_assert(eq(int, entry_deque_push(&other, &entry), STATUS_OK));
    }
    push(70000);
    struct entry_spill spill;
    cr_assert(entry_memory_begin_spill(&memory, false, &spill));
    cr_expect(eq(ptr, entry_pages_deque(spill.pages), &deque));
    push(20000);
    write_out(&spill);
    entry_pages_end_spill(&spill, true, pool);
    cr_expect(ge(int, spill_all(false), 1), "it has far too many blocks in memory");
    cr_expect(le(u64, deque.bytes, (ENTRY_BLOCKS_MAX + 10) * 8192));
    entry_deque_fini(&other);
}

/* A full disk costs nothing but memory. */
Test(entry_deque, run_that_could_not_be_written_stays_in_memory)
{
    push(10000);
    struct entry_spill spill;
    cr_assert(entry_memory_begin_spill(&memory, true, &spill));
    entry_pages_end_spill(&spill, false, pool);
    check();
    cr_expect(ge(int, spill_all(true), 1), "it is tried again");
    take_all();
}

/* Entries that cannot be read back are accounted for, and what stands behind them goes on, at the
 * position that it had. */
Test(entry_deque, run_that_cannot_be_read_back_is_reported_as_lost)
{
    push(20000);
    (void)spill_all(true);
    uint64_t before;
    uint64_t bytes_before;
    before = entry_deque_check(&deque, 0, &bytes_before);
    struct entry_spill spill;
    cr_assert(entry_deque_begin_read(&deque, &spill));
    struct entry_loss loss;
    enum status status = entry_pages_end_read(&spill, false, &loss);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(lt(u64, 1000, loss.count));
    uint64_t bytes_after;
    uint64_t after = entry_deque_check(&deque, 0, &bytes_after);
    cr_expect(eq(u64, after, before), "their places stay");
    cr_expect(eq(u64, deque.dead_count, loss.count));
    cr_expect(eq(u64, bytes_after, bytes_before - loss.bytes));
    while (take()) {
    }
    taken += loss.count;
    take_all();
}

Test(entry_deque, reading_without_memory_changes_nothing)
{
    push(20000);
    (void)spill_all(true);
    struct entry_spill spill;
    cr_assert(entry_deque_begin_read(&deque, &spill));
    read_in(&spill);
    struct entry_loss loss;
    alloc_faults_plan(3);
    enum status status = entry_pages_end_read(&spill, true, &loss);
    alloc_faults_plan(0);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    check();
    take_all();
}

/* What is found by its LSN lets go of the memory it had; what is not keeps its chunk alive. */
Test(entry_deque, spilled_entry_lets_go_of_its_content_only_if_the_log_has_it)
{
    for (uint64_t i = 0; i < 20000; i++) {
        struct content_shape shape = {.body_size = 100, .kind = CHUNK_KIND_PERSISTENT};
        struct queue_entry entry = {.size = 100};
        uint8_t *body;
        enum status status = chunk_pool_reserve(pool, &shape, &entry.content, &body);
        cr_assert(eq(int, status, STATUS_OK));
        entry.lsn_and_flags = queue_entry_pack(i == 9999 ? 0 : 8 * (i + 1), 0);
        queue_entry_retain(&entry, pool);
        chunk_pool_release(pool, entry.content);
        status = entry_deque_push(&deque, &entry);
        cr_assert(eq(int, status, STATUS_OK));
    }
    pushed = 20000;
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    uint64_t bytes = chunk_pool_bytes(pool);
    cr_expect(ge(int, spill_all(true), 3));
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(lt(u64, chunk_pool_bytes(pool), bytes / 3));
    for (uint64_t i = 0; i < pushed; i++, taken++) {
        if (entry_deque_head(&deque) == NULL) {
            read_run();
        }
        struct queue_entry entry;
        entry_deque_take(&deque, &entry);
        cr_assert(eq(u64, queue_entry_lsn(&entry), i == 9999 ? 0 : 8 * (i + 1)));
        if (i == 9999) {
            cr_expect(eq(u32, chunk_pool_content(pool, entry.content)->body_size, 100));
        }
        queue_entry_release(&entry, pool);
    }
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

/* The window of the next fetch is looked up a way behind the head. */
Test(entry_deque, cursor_walks_what_is_in_memory_without_a_gap)
{
    push(10000);
    (void)spill_all(true);
    for (int i = 0; i < 100; i++) {
        cr_assert(take());
    }
    struct entry_cursor cursor = entry_deque_seek(&deque, 7);
    uint64_t number = taken + 7;
    for (struct queue_entry *entry; (entry = entry_cursor_next(&cursor)) != NULL; number++) {
        cr_assert(eq(u32, entry->due, (uint32_t)number));
    }
    cr_expect(ge(u64, number, 4 * 330));
    cr_expect(lt(u64, number, 5 * 341), "behind it lies what is spilled");
    cursor = entry_deque_seek(&deque, 5000);
    cr_expect(zero(ptr, entry_cursor_next(&cursor)));
    take_all();
}

static uint64_t released_count;

static void
count_released(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    (void)context;
    cr_assert(eq(u64, queue_id, 9));
    cr_assert(eq(u32, entry->due, (uint32_t)released_count));
    released_count++;
}

static void
count_any(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    (void)context;
    (void)queue_id;
    cr_expect(not(queue_entry_is_dead(entry)));
    released_count++;
}

/* A purge has to name each message to the log, so it reads back what is spilled; jobs that are
 * under way when the queue is purged end well. */
Test(entry_deque, purged_deque_is_read_back_to_be_released)
{
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = count_released;
    push(50000);
    (void)spill_all(true);
    push(5000);
    struct entry_spill out;
    struct entry_spill back;
    cr_assert(entry_memory_begin_spill(&memory, true, &out));
    cr_assert(entry_deque_begin_read(&deque, &back));
    queue_discards_add(&discards, 9, &deque);
    cr_expect(zero(ptr, entry_deque_head(&deque)));
    while (queue_discards_release(&discards, 100)) {
    }
    cr_expect(not(queue_discards_can_go_on(&discards)));
    write_out(&out);
    entry_pages_end_spill(&out, true, pool);
    read_in(&back);
    struct entry_loss loss;
    enum status status = entry_pages_end_read(&back, true, &loss);
    cr_assert(eq(int, status, STATUS_OK));
    while (!queue_discards_is_empty(&discards)) {
        if (!queue_discards_release(&discards, 100) && !queue_discards_is_empty(&discards)) {
            struct entry_deque *wants = queue_discards_wants_read(&discards);
            cr_assert(not(zero(ptr, wants)));
            cr_assert(entry_deque_begin_read(wants, &back));
            read_in(&back);
            status = entry_pages_end_read(&back, true, &loss);
            cr_assert(eq(int, status, STATUS_OK));
        }
    }
    cr_expect(eq(u64, released_count, pushed));
    cr_expect(eq(u64, discards.released_sequence, 1));
    queue_discards_fini(&discards);
}

/* At the end of the process nobody reads back any more, but what is in memory is still counted. */
Test(entry_deque, discards_that_end_release_what_is_in_memory_before_and_behind_the_spilled)
{
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = count_any;
    push(50000);
    (void)spill_all(true);
    push(5000);
    queue_discards_add(&discards, 9, &deque);
    queue_discards_fini(&discards);
    cr_expect(ge(u64, released_count, 5000 + 4 * 330));
}

/* Behind what is spilled the dead may come first, which they never do in front of all. */
Test(entry_deque, discards_that_end_release_nobody_who_died_behind_the_spilled)
{
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = count_any;
    push(50000);
    (void)spill_all(true);
    push(5000);
    struct queue_entry entry;
    uint64_t left = 55000;
    for (; entry_deque_head(&deque) != NULL; left--) {
        entry_deque_take(&deque, &entry);
    }
    uint64_t living = 1000;
    for (uint64_t skip = left - living - 1; skip >= 40000; skip--) {
        entry = (struct queue_entry){.lsn_and_flags = queue_entry_pack(8, 0)};
        cr_assert(eq(int, entry_deque_kill(&deque, skip, &entry), STATUS_OK));
    }
    queue_discards_add(&discards, 9, &deque);
    queue_discards_fini(&discards);
    cr_expect(eq(u64, released_count, living));
}

/* Pushes, takes, spills and reads in any order, against two counters. */
Test(entry_deque, keeps_its_order_whatever_happens_in_between)
{
    enum { STEPS = 4000 };
    uint32_t seed = 12345;
    struct entry_spill out;
    struct entry_spill back;
    bool is_out = false;
    bool is_back = false;
    for (int i = 0; i < STEPS; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t choice = seed >> 16;
        switch (choice % 6) {
        case 0:
        case 1:
            push(choice / 6 % 1000);
            break;
        case 2:
            for (uint32_t n = choice / 6 % 1800; n > 0 && take(); n--) {
            }
            break;
        case 3:
            if (!is_out) {
                is_out = entry_memory_begin_spill(&memory, true, &out);
            }
            break;
        case 4:
            if (is_out) {
                write_out(&out);
                entry_pages_end_spill(&out, choice / 6 % 8 != 0, pool);
                is_out = false;
            }
            break;
        default:
            if (is_back) {
                read_in(&back);
                struct entry_loss loss;
                enum status status = entry_pages_end_read(&back, true, &loss);
                cr_assert(eq(int, status, STATUS_OK));
                is_back = false;
            } else if (entry_deque_wants_read(&deque)) {
                is_back = entry_deque_begin_read(&deque, &back);
            }
        }
        check();
    }
    if (is_out) {
        write_out(&out);
        entry_pages_end_spill(&out, true, pool);
    }
    if (is_back) {
        read_in(&back);
        struct entry_loss loss;
        enum status status = entry_pages_end_read(&back, true, &loss);
        cr_assert(eq(int, status, STATUS_OK));
    }
    take_all();
    cr_expect(lt(u64, 100000, pushed));
}

/* For whoever wants to fetch early what comes soon. */
Test(entry_deque, looking_ahead_goes_no_further_than_the_first_block)
{
    enum { COUNT = 2000 };
    cr_expect(eq(ptr, (void *)entry_deque_ahead(&deque, 0), NULL));
    push(COUNT);
    uint64_t seen = 0;
    while (taken < COUNT) {
        const struct queue_entry *ahead = entry_deque_ahead(&deque, 3);
        if (ahead != NULL) {
            struct queue_entry expected = entry_number(taken + 3, is_logged_number(taken + 3));
            cr_assert(eq(u64, ahead->lsn_and_flags, expected.lsn_and_flags));
            seen++;
        }
        cr_assert(take());
    }
    cr_expect(lt(u64, COUNT * 9 / 10, seen));
    cr_expect(eq(ptr, (void *)entry_deque_ahead(&deque, 0), NULL));
}

/* Reserving ------------------------------------------------------------------------------------ */

static enum status
reserve(uint32_t count)
{
    return entry_deque_reserve(&deque, count);
}

/* As many pushes as were reserved for take nothing that can fail, and use up what was reserved. */
static void
push_reserved(uint32_t count)
{
    cr_assert(eq(int, reserve(count), STATUS_OK));
    alloc_faults_plan(1);
    push(count);
    cr_expect(eq(u32, alloc_faults_left(), 1), "nothing was allocated");
    alloc_faults_plan(0);
    cr_expect(memory.spares == NULL);
    check();
}

Test(entry_deque, pushes_that_have_reserved_do_not_fail)
{
    static const uint32_t counts[] = {0, 1, 15, 16, 17, 64, 300, 340, 341, 342, 1000, 5000};
    static const uint64_t taken_first[] = {0, 1, 9, 16, 50, 200, 400};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        for (size_t j = 0; j < ARRAY_LEN(taken_first); j++) {
            push(taken_first[j] + j);
            for (uint64_t k = 0; k < taken_first[j]; k++) {
                cr_assert(take());
            }
            push_reserved(counts[i]);
            push_reserved(1);
            while (take()) {
            }
        }
    }
}

/* Behind runs that are spilled, and with nothing else in memory. */
Test(entry_deque, spilled_deque_reserves_behind_its_runs)
{
    push(20000);
    (void)spill_all(true);
    push_reserved(700);
    take_all();
}

Test(entry_deque, reserving_without_memory_leaves_the_entries_alone)
{
    push(10);
    uint32_t nth = 1;
    for (;; nth++) {
        alloc_faults_plan(nth);
        enum status status = reserve(2000);
        alloc_faults_plan(0);
        entry_memory_free_spares(&memory);
        check();
        if (status == STATUS_OK) {
            break;
        }
        cr_assert(lt(u32, nth, 20));
    }
    cr_expect(lt(u32, 5, nth));
    push_reserved(2000);
    take_all();
}
