/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/failure_facts.h"

#include "broker/core/core_clock.h"
#include "broker/death/retry.h"

const struct failure_row *
failure_row_of(const struct queue *queue, const struct dying_message *message)
{
    return (queue_entry_flags(&message->entry) & ENTRY_HAS_FAILED) == 0
               ? NULL
               : queue_find_failure(queue, message->position);
}

/* Wall clock; 0: it is not known. */
static uint64_t
time_of(const struct core *core, const struct failure_row *row, uint32_t number)
{
    int64_t time_ms;
    if (!failure_row_time_ms(row, number, &time_ms)) {
        return 0;
    }
    int64_t wall_ms = core->now.wall_ms - ((int64_t)core_now_ms(core) - time_ms);
    return wall_ms < 0 ? 0 : (uint64_t)wall_ms;
}

/* Those of the counted failures up to `count` whose time is known: the first, and the last ones. */
static void
add_counted(const struct core *core, const struct queue *queue, const struct failure_row *row,
            uint32_t count, struct failure *failure)
{
    const struct failure_history *history = queue_find_history(queue, row);
    for (uint32_t number = 1; number <= count; number = row_attempts_next(number, count)) {
        uint64_t time_ms = time_of(core, row, number);
        if (time_ms == 0) {
            continue;
        }
        struct failure_attempt attempt = {
            .time_ms = time_ms,
            .verdict = (uint8_t)retry_row_verdict(failure_row_verdict(row, number)),
        };
        if (history != NULL) {
            attempt.class = failure_history_class(history, number);
        }
        failure_add(failure, &attempt);
    }
    failure->first_ms = time_of(core, row, 1);
    failure->last_ms = time_of(core, row, count);
    failure->note = history == NULL ? NULL : history->note;
}

/* The attempt that it died of. */
static void
add_last(const struct failure *last, struct failure *failure)
{
    struct failure_attempt attempt = last->attempts[last->attempt_count - 1];
    if (last->note != NULL) {
        failure->note = last->note;
        attempt.class = last->note->class;
    }
    if (failure->count == 0) {
        failure->first_ms = attempt.time_ms;
    }
    failure_add(failure, &attempt);
}

/* Of its limit it dies with an attempt that has been counted, of a rejection for good with one that
 * has not. */
bool
failure_gather(const struct core *core, const struct queue *queue,
               const struct dying_message *message, struct failure *failure_out)
{
    const struct failure_row *row = failure_row_of(queue, message);
    const struct failure *last = message->failure;
    uint32_t count = row == NULL ? 0 : row->delivery_count;
    if (count > 0 && last != NULL && message->reason == DEATH_DELIVERY_LIMIT) {
        count--;
    }
    *failure_out = (struct failure){0};
    if (count > 0) {
        add_counted(core, queue, row, count, failure_out);
        failure_out->count = count;
    }
    if (last != NULL) {
        add_last(last, failure_out);
    }
    return failure_out->count > 0;
}
