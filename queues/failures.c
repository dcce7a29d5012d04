/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probing over a power of two of places, of which at most three of four are taken. Positions
 * are mostly neighbours, which multiplying by an odd constant spreads; taking a row moves those
 * behind it up, so there are no holes. */
#include "queues/failures.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/failure_history.h"
#include "queues/queue.h"
#include "store/row_state.h"

enum { FAILURES_CAPACITY_MIN = 16, LATER_TIMES = FAILURE_TIMES_MAX - 1 };

static uint32_t
home_of(const struct queue_failures *failures, uint64_t position)
{
    static const uint64_t GOLDEN = UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(position * GOLDEN >> 32) & (failures->capacity - 1);
}

static uint32_t
next_place(const struct queue_failures *failures, uint32_t at)
{
    return (at + 1) & (failures->capacity - 1);
}

/* The place of the row, or the free one where it would be. */
static struct failure_row *
place_of(const struct queue_failures *failures, uint64_t position)
{
    uint32_t at = home_of(failures, position);
    while (failures->rows[at].position != 0 && failures->rows[at].position != position) {
        at = next_place(failures, at);
    }
    return &failures->rows[at];
}

/* Room ----------------------------------------------------------------------------------------- */

static uint64_t
bytes_of_rows(uint32_t capacity)
{
    return capacity * sizeof(struct failure_row);
}

/* How many rows the places are for. */
static uint32_t
rows_max(uint32_t capacity)
{
    return capacity - capacity / 4;
}

static enum status
resize(struct queue *queue, uint32_t capacity)
{
    struct queue_failures *failures = queue->failures;
    struct failure_row *rows = try_alloc(bytes_of_rows(capacity));
    if (rows == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(rows, 0, bytes_of_rows(capacity));
    struct queue_failures resized = {.rows = rows, .capacity = capacity};
    for (uint32_t i = 0; i < failures->capacity; i++) {
        if (failures->rows[i].position != 0) {
            *place_of(&resized, failures->rows[i].position) = failures->rows[i];
        }
    }
    entry_deque_count_memory(&queue->deque, bytes_of_rows(failures->capacity),
                             bytes_of_rows(capacity));
    free(failures->rows);
    failures->rows = rows;
    failures->capacity = capacity;
    return STATUS_OK;
}

/* Rows that there are and that may be added for what is lent. */
static uint64_t
rows_needed(const struct queue *queue)
{
    return (uint64_t)queue->failures->count + queue->unacked_count;
}

enum status
queue_keep_failure_room(struct queue *queue)
{
    if (queue->failures == NULL) {
        queue->failures = try_alloc(sizeof(*queue->failures));
        if (queue->failures == NULL) {
            return STATUS_NO_MEMORY;
        }
        *queue->failures = (struct queue_failures){.queue = queue};
    }
    uint32_t capacity = queue->failures->capacity;
    uint64_t needed = rows_needed(queue) + 1;
    if (capacity > 0 && needed <= rows_max(capacity)) {
        return STATUS_OK;
    }
    capacity = capacity == 0 ? FAILURES_CAPACITY_MIN : capacity;
    while (needed > rows_max(capacity)) {
        if (capacity > UINT32_MAX / 2) {
            return STATUS_NO_MEMORY;
        }
        capacity *= 2;
    }
    return resize(queue, capacity);
}

void
queue_shrink_failures(struct queue *queue)
{
    uint32_t capacity = queue->failures->capacity;
    if (capacity > FAILURES_CAPACITY_MIN && rows_needed(queue) <= capacity / 8) {
        /* A shrinking that fails leaves the larger array, which is as good. */
        enum status status = resize(queue, capacity / 2);
        (void)status;
    }
}

void
queue_forget_failures(struct queue *queue)
{
    struct queue_failures *failures = queue->failures;
    if (failures == NULL) {
        return;
    }
    assert(!timer_is_armed(&failures->timer));
    queue_forget_histories(queue);
    entry_deque_count_memory(&queue->deque, bytes_of_rows(failures->capacity), 0);
    free(failures->rows);
    free(failures);
    queue->failures = NULL;
}

/* Rows ----------------------------------------------------------------------------------------- */

struct failure_row *
queue_find_failure(const struct queue *queue, uint64_t position)
{
    const struct queue_failures *failures = queue->failures;
    if (failures == NULL || failures->count == 0) {
        return NULL;
    }
    struct failure_row *row = place_of(failures, position);
    return row->position == 0 ? NULL : row;
}

enum status
queue_add_failure(struct queue *queue, uint64_t position, struct failure_row **row_out)
{
    assert(position != 0);
    *row_out = queue_find_failure(queue, position);
    if (*row_out != NULL) {
        return STATUS_OK;
    }
    struct queue_failures *failures = queue->failures;
    if (failures == NULL || failures->count >= rows_max(failures->capacity)) {
        if (queue_keep_failure_room(queue) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        failures = queue->failures;
    }
    struct failure_row *row = place_of(failures, position);
    *row = (struct failure_row){.position = position};
    failures->count++;
    *row_out = row;
    return STATUS_OK;
}

/* Whether what stands at `at` would still be found if it stood at `hole`: its home is not between
 * the two. */
static bool
may_move_to(const struct queue_failures *failures, uint32_t hole, uint32_t at)
{
    uint32_t mask = failures->capacity - 1;
    uint32_t home = home_of(failures, failures->rows[at].position);
    return ((at - home) & mask) >= ((at - hole) & mask);
}

bool
queue_take_failure(struct queue *queue, uint64_t position, struct failure_row *row_out)
{
    struct queue_failures *failures = queue->failures;
    struct failure_row *row = queue_find_failure(queue, position);
    if (row == NULL) {
        return false;
    }
    queue_forget_history(queue, row);
    *row_out = *row;
    uint32_t hole = (uint32_t)(row - failures->rows);
    for (uint32_t at = next_place(failures, hole); failures->rows[at].position != 0;
         at = next_place(failures, at)) {
        if (may_move_to(failures, hole, at)) {
            failures->rows[hole] = failures->rows[at];
            hole = at;
        }
    }
    failures->rows[hole] = (struct failure_row){0};
    failures->count--;
    return true;
}

struct failure_row *
queue_next_failure(const struct queue *queue, uint32_t *at)
{
    const struct queue_failures *failures = queue->failures;
    while (failures != NULL && *at < failures->capacity) {
        struct failure_row *row = &failures->rows[(*at)++];
        if (row->position != 0) {
            return row;
        }
    }
    return NULL;
}

/* Times ---------------------------------------------------------------------------------------- */

enum { VERDICT_BITS = 3, VERDICT_MASK = (1 << VERDICT_BITS) - 1 };

_Static_assert(FAILURE_TIMES_MAX *VERDICT_BITS <= 16, "a verdict for each time");

static void
keep_verdict(struct failure_row *row, uint32_t number, enum retry_verdict verdict)
{
    uint32_t shift = row_attempts_place(number) * VERDICT_BITS;
    /* 0, or one more than which of the four bits it is. */
    uint32_t kept = verdict == RETRY_NO_VERDICT ? 0 : 1 + (uint32_t)__builtin_ctz(verdict);
    row->verdicts =
        (uint16_t)((row->verdicts & ~((uint32_t)VERDICT_MASK << shift)) | kept << shift);
}

enum retry_verdict
failure_row_verdict(const struct failure_row *row, uint32_t number)
{
    uint32_t kept = row->verdicts >> row_attempts_place(number) * VERDICT_BITS & VERDICT_MASK;
    return kept == 0 ? RETRY_NO_VERDICT : (enum retry_verdict)(1 << (kept - 1));
}

void
failure_row_forgive(struct failure_row *row)
{
    row->delivery_count = 0;
    row->verdicts = 0;
    memset(row->times_ms, 0, sizeof(row->times_ms));
}

void
failure_row_count(struct failure_row *row, uint64_t now_ms, enum retry_verdict verdict)
{
    int64_t age_ms = (int64_t)now_ms - row->arrival_ms;
    row->delivery_count += row->delivery_count < UINT32_MAX ? 1 : 0;
    /* 0 is no time, and the last one is anything later than 49 days. */
    age_ms = age_ms < 0 ? 1 : age_ms + 1;
    row->times_ms[row_attempts_place(row->delivery_count)] =
        age_ms < UINT32_MAX ? (uint32_t)age_ms : UINT32_MAX;
    keep_verdict(row, row->delivery_count, verdict);
}

bool
failure_row_time_ms(const struct failure_row *row, uint32_t number, int64_t *time_ms_out)
{
    bool is_kept = number == 1 || (number > 1 && number + LATER_TIMES > row->delivery_count);
    if (!is_kept || number > row->delivery_count ||
        row->times_ms[row_attempts_place(number)] == 0) {
        return false;
    }
    *time_ms_out = row->arrival_ms + row->times_ms[row_attempts_place(number)] - 1;
    return true;
}

/* The log has the verdicts by the same numbers. */
_Static_assert(1 << (ROW_VERDICT_NACK - 1) == RETRY_NACK, "numbers of verdicts");
_Static_assert(1 << (ROW_VERDICT_REJECT - 1) == RETRY_REJECT, "numbers of verdicts");
_Static_assert(1 << (ROW_VERDICT_LOST - 1) == RETRY_LOST, "numbers of verdicts");
_Static_assert(1 << (ROW_VERDICT_TIMEOUT - 1) == RETRY_TIMEOUT, "numbers of verdicts");

struct row_attempts
failure_row_attempts(const struct failure_row *row)
{
    struct row_attempts attempts = {.verdicts = row->verdicts};
    memcpy(attempts.times_ms, row->times_ms, sizeof(attempts.times_ms));
    return attempts;
}

void
failure_row_restore(struct failure_row *row, const struct row_attempts *attempts)
{
    memcpy(row->times_ms, attempts->times_ms, sizeof(row->times_ms));
    row->verdicts = attempts->verdicts;
}

/* Checking ------------------------------------------------------------------------------------- */

uint64_t
queue_check_failures(const struct queue *queue)
{
    const struct queue_failures *failures = queue->failures;
    if (failures == NULL) {
        return 0;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < failures->capacity; i++) {
        uint64_t position = failures->rows[i].position;
        if (position != 0) {
            assert(queue_find_failure(queue, position) == &failures->rows[i]);
            count++;
        }
    }
    assert(count == failures->count);
    assert(count <= rows_max(failures->capacity));
    return bytes_of_rows(failures->capacity) + failures->history_octets;
}
