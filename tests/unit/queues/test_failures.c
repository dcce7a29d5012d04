/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of messages that came back: rows by position, against an array. */
#include "queues/failures.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "base/random.h"
#include "queues/failure_history.h"
#include "queues/queue.h"
#include "tests/support/alloc_faults.h"

enum { POSITIONS_MAX = 4000 };

static struct queue *queue;
static struct entry_memory memory;

static void
set_up(void)
{
    entry_memory_init(&memory);
    queue = queue_new(1, &(struct queue_properties){.name = bytes_of("q"), .durable = true});
    queue_count_memory(queue, &memory);
}

static void
tear_down(void)
{
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0), "what the queue held is given back");
}

TestSuite(failures, .init = set_up, .fini = tear_down);

static struct failure_row *
add(uint64_t position)
{
    struct failure_row *row;
    enum status status = queue_add_failure(queue, position, &row);
    cr_assert(eq(int, status, STATUS_OK));
    return row;
}

Test(failures, a_row_is_found_by_position_until_it_is_taken)
{
    struct failure_row row;
    cr_expect(eq(ptr, queue_find_failure(queue, 7), NULL), "there is not even a table");
    add(7)->delivery_count = 3;
    cr_expect(eq(ptr, queue_find_failure(queue, 8), NULL));
    cr_expect(eq(u32, queue_find_failure(queue, 7)->delivery_count, 3));
    cr_expect(eq(u32, add(7)->delivery_count, 3), "there is one already");
    cr_expect(queue_take_failure(queue, 7, &row));
    cr_expect(eq(u32, row.delivery_count, 3));
    cr_expect(not(queue_take_failure(queue, 7, &row)));
    cr_expect(eq(u32, add(7)->delivery_count, 0), "a new one knows nothing of the old one");
}

/* Neighbours, far ones, and rows that move up when one in front of them is taken. */
Test(failures, table_is_what_an_array_would_be)
{
    static uint32_t counts[POSITIONS_MAX]; /* 0: no row */
    uint64_t seed = 3;
    struct random_source source = random_seeded(&seed);
    uint32_t row_count = 0;
    for (int i = 0; i < 60000; i++) {
        uint64_t place = random_u64(&source) % POSITIONS_MAX;
        uint64_t position = place % 3 == 0 ? 1 + (place << 40) : 1 + place;
        struct failure_row row;
        if (counts[place] == 0 && i < 40000) {
            add(position)->delivery_count = counts[place] = (uint32_t)i + 1;
            row_count++;
        } else if (counts[place] != 0) {
            cr_assert(queue_take_failure(queue, position, &row));
            cr_expect(eq(u32, row.delivery_count, counts[place]));
            counts[place] = 0;
            row_count--;
        }
        if (i % 1000 == 0) {
            queue_check(queue);
            queue_shrink_failures(queue);
        }
    }
    cr_expect(eq(u32, queue->failures->count, row_count));
    queue_check(queue);
}

Test(failures, a_walk_meets_every_row_and_may_take_it)
{
    for (uint64_t position = 1; position <= 500; position++) {
        (void)add(position);
    }
    uint32_t at = 0;
    uint32_t taken_count = 0;
    for (const struct failure_row *row; (row = queue_next_failure(queue, &at)) != NULL;) {
        struct failure_row taken;
        if (row->position % 2 == 0) {
            cr_assert(queue_take_failure(queue, row->position, &taken));
            at--;
            taken_count++;
        }
    }
    cr_expect(eq(u32, taken_count, 250));
    for (uint64_t position = 1; position <= 500; position++) {
        cr_expect(eq(int, queue_find_failure(queue, position) != NULL, position % 2 == 1));
    }
}

/* Counting cannot fail: the room is made before a message is lent, or it is not lent. */
Test(failures, room_for_every_lent_message_is_kept)
{
    uint64_t lent_count = 0;
    for (; lent_count < 1000; lent_count++) {
        enum status status = queue_keep_failure_room(queue);
        cr_assert(eq(int, status, STATUS_OK));
        queue->unacked_count++;
    }
    alloc_faults_plan(1);
    for (uint64_t position = 1; position <= lent_count; position++) {
        (void)add(position);
        queue->unacked_count--;
    }
    cr_expect(eq(u32, alloc_faults_left(), 1), "nothing was allocated");
    alloc_faults_plan(0);
}

Test(failures, without_memory_nothing_is_added_and_nothing_lost)
{
    for (uint64_t position = 1; position <= 12; position++) {
        (void)add(position);
    }
    struct failure_row *row;
    alloc_faults_plan(1);
    enum status status = queue_add_failure(queue, 13, &row);
    alloc_faults_plan(0);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(ptr, queue_find_failure(queue, 13), NULL));
    for (uint64_t position = 1; position <= 12; position++) {
        cr_expect(ne(ptr, queue_find_failure(queue, position), NULL));
    }
}

/* The first message of a queue that counts is not lent without room for what is known of it: of the
 * table of rows, and of the struct that has it. */
Test(failures, no_message_is_lent_without_room_to_count)
{
    for (uint32_t nth = 1; nth <= 2; nth++) {
        alloc_faults_plan(nth);
        cr_expect(eq(int, queue_keep_failure_room(queue), STATUS_NO_MEMORY), "%u", nth);
        cr_expect(eq(u32, alloc_faults_left(), 0));
        queue_check(queue);
    }
    cr_expect(eq(int, queue_keep_failure_room(queue), STATUS_OK));
    queue_check(queue);
}

/* A note of an attempt that there is no memory to keep is gone, and all else is as before. */
Test(failures, what_was_said_is_forgotten_without_memory)
{
    for (uint32_t nth = 1; nth <= 4; nth++) {
        struct failure_row *row = add(1);
        struct failure_note *note =
            failure_note_new(1, bytes_of("A"), bytes_of("one"), bytes_make(NULL, 0));
        cr_assert(note != NULL);
        alloc_faults_plan(nth);
        queue_keep_note(queue, row, 1, note);
        cr_expect(eq(u32, alloc_faults_left(), 0));
        cr_expect(eq(ptr, (void *)queue_find_history(queue, row), NULL));
        queue_check(queue);
    }
}

Test(failures, memory_goes_back_when_rows_do)
{
    for (uint64_t position = 1; position <= 3000; position++) {
        (void)add(position);
    }
    uint64_t bytes = memory.bytes;
    for (uint64_t position = 1; position <= 3000; position++) {
        struct failure_row row;
        cr_assert(queue_take_failure(queue, position, &row));
        queue_shrink_failures(queue);
    }
    cr_expect(lt(u64, memory.bytes, bytes / 64));
    queue_check(queue);
}

/* The first one, and the last four. */
Test(failures, times_of_the_first_and_of_the_last_failures_are_kept)
{
    struct failure_row *row = add(1);
    int64_t time_ms;
    row->arrival_ms = -500; /* before the broker began */
    for (uint64_t number = 1; number <= 9; number++) {
        failure_row_count(row, number * 1000, number % 2 == 0 ? RETRY_TIMEOUT : RETRY_NACK);
    }
    cr_expect(eq(u32, row->delivery_count, 9));
    for (uint32_t number = 1; number <= 9; number++) {
        bool is_kept = number == 1 || number > 5;
        time_ms = 0;
        cr_expect(eq(int, failure_row_time_ms(row, number, &time_ms), is_kept), "failure %u",
                  number);
        cr_expect(eq(i64, time_ms, is_kept ? (int64_t)number * 1000 : 0));
        if (is_kept) {
            cr_expect(eq(int, (int)failure_row_verdict(row, number),
                         number % 2 == 0 ? RETRY_TIMEOUT : RETRY_NACK));
        }
    }
    cr_expect(not(failure_row_time_ms(row, 10, &time_ms)));
}

Test(failures, times_that_are_not_known_are_not_told)
{
    struct failure_row *row = add(1);
    int64_t time_ms;
    row->delivery_count = 2; /* as the log of before gives it back */
    failure_row_count(row, 7, RETRY_LOST);
    cr_expect(not(failure_row_time_ms(row, 1, &time_ms)));
    cr_expect(not(failure_row_time_ms(row, 2, &time_ms)));
    cr_assert(failure_row_time_ms(row, 3, &time_ms));
    cr_expect(eq(i64, time_ms, 7));
}

/* Over a restart: the row comes back under another position, with another clock. */
Test(failures, times_and_verdicts_come_back_from_the_log)
{
    struct failure_row *before = add(1);
    before->arrival_ms = 500;
    for (uint64_t number = 1; number <= 7; number++) {
        failure_row_count(before, number * 1000, number % 2 == 0 ? RETRY_TIMEOUT : RETRY_LOST);
    }
    struct row_attempts attempts = failure_row_attempts(before);
    cr_expect(row_attempts_is_right(&attempts));
    struct failure_row *row = add(9);
    row->arrival_ms = -9500;
    row->delivery_count = 7;
    failure_row_restore(row, &attempts);
    failure_row_count(row, 200, RETRY_NACK);
    static const int64_t times_ms[] = {-9000, 0, 0, 0, -5000, -4000, -3000, 200};
    for (uint32_t number = 1; number <= 8; number++) {
        int64_t time_ms = 0;
        bool is_kept = number == 1 || number > 4;
        cr_expect(eq(int, failure_row_time_ms(row, number, &time_ms), is_kept), "%u", number);
        cr_expect(eq(i64, time_ms, times_ms[number - 1]));
    }
    cr_expect(eq(int, (int)failure_row_verdict(row, 6), RETRY_TIMEOUT));
    cr_expect(eq(int, (int)failure_row_verdict(row, 7), RETRY_LOST));
    cr_expect(eq(int, (int)failure_row_verdict(row, 8), RETRY_NACK));
}

/* What counts no more has no times, and takes no room in the log. */
Test(failures, that_are_forgiven_leave_nothing_for_the_log)
{
    struct failure_row *row = add(1);
    failure_row_count(row, 1000, RETRY_NACK);
    failure_row_forgive(row);
    struct row_attempts attempts = failure_row_attempts(row);
    cr_expect(row_attempts_is_empty(&attempts));
}

static void
keep_note(struct failure_row *row, uint32_t number, const char *text)
{
    struct failure_note *note =
        failure_note_new(1, bytes_of("class"), bytes_of(text), bytes_make(NULL, 0));
    cr_assert(note != NULL);
    queue_keep_note(queue, row, number, note);
}

Test(failures, what_was_said_stays_until_the_row_is_taken)
{
    struct failure_row row;
    keep_note(add(7), 1, "first");
    keep_note(add(8), 1, "other");
    keep_note(add(7), 2, "second");
    const struct failure_history *history = queue_find_history(queue, add(7));
    cr_assert(history != NULL);
    cr_expect(bytes_equal_text(history->note->text, "second"));
    cr_expect(bytes_equal_text(failure_history_class(history, 1), "class"));
    cr_expect(eq(ptr, (void *)failure_history_class(history, 3).data, NULL));
    queue_keep_no_note(queue, add(7), 1);
    cr_expect(eq(ptr, (void *)failure_history_class(history, 1).data, NULL));
    queue_check(queue);
    cr_expect(queue_take_failure(queue, 7, &row));
    cr_expect(eq(ptr, (void *)queue_find_history(queue, add(7)), NULL));
    cr_expect(queue_find_history(queue, add(8)) != NULL);
    queue_check(queue);
}

Test(failures, what_was_said_is_bounded)
{
    static char text[4000];
    memset(text, 'x', sizeof(text) - 1);
    uint64_t position = 0;
    do {
        keep_note(add(++position), 1, text);
        cr_assert(lt(u64, position, FAILURE_HISTORY_OCTETS_MAX / 4000 + 2));
    } while (queue_find_history(queue, add(position)) != NULL);
    cr_expect(ge(u64, queue->failures->history_octets, FAILURE_HISTORY_OCTETS_MAX));
    cr_expect(lt(u64, queue->failures->history_octets, FAILURE_HISTORY_OCTETS_MAX + 8192));
    keep_note(add(1), 2, "shorter");
    cr_expect(bytes_equal_text(queue_find_history(queue, add(1))->note->text, "shorter"));
    queue_check(queue);
}

/* Messages of which little was said may fail again, and then more is. */
Test(failures, what_is_said_later_is_bounded_as_well)
{
    static char text[4000];
    memset(text, 'x', sizeof(text) - 1);
    uint64_t count = 0;
    do {
        keep_note(add(++count), 1, "short");
    } while (queue_find_history(queue, add(count)) != NULL);
    for (uint64_t position = 1; position < count; position++) {
        keep_note(add(position), 2, text);
    }
    cr_expect(lt(u64, queue->failures->history_octets, FAILURE_HISTORY_OCTETS_MAX + 8192));
    const struct failure_history *history = queue_find_history(queue, add(count - 1));
    cr_expect(eq(ptr, (void *)history->note, NULL), "what was said before is not the last");
    cr_expect(bytes_equal_text(failure_history_class(history, 2), "class"));
    queue_check(queue);
}

Test(failures, what_was_said_is_not_kept_without_memory)
{
    struct failure_row *row = add(1);
    struct failure_note *note =
        failure_note_new(1, bytes_of("class"), bytes_of("text"), bytes_make(NULL, 0));
    alloc_faults_plan(1);
    queue_keep_note(queue, row, 1, note);
    alloc_faults_plan(0);
    cr_expect(eq(ptr, (void *)queue_find_history(queue, row), NULL));
    queue_check(queue);
}
