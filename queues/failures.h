/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of messages that came back to a queue that counts: how often they were handed out,
 * how often and in which way that failed. A message that never came back has no row here, and its
 * entry says so (ENTRY_HAS_FAILED); so all others cost one test of a flag.
 *
 * A row lives from the first return of its message until that leaves the queue, wherever it is
 * meanwhile: ready, lent, waiting for its next try, or dying. Rows are found by the position of
 * the message. Room for the row of every message that is lent is kept while the queue counts, as
 * its place among the returned ones is, so that counting cannot fail.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_FAILURES_H
#define BOURSE_QUEUES_FAILURES_H

#include "base/map.h"
#include "base/status.h"
#include "base/timer.h"
#include "queues/retry_settings.h"
#include "store/row_attempts.h"

#include <stdbool.h>
#include <stdint.h>

struct queue;

/* Times of failures that a row keeps: of the first, and of the last ones. */
enum { FAILURE_TIMES_MAX = ROW_ATTEMPTS_MAX };

struct failure_row {
    uint64_t position;       /* of the message; 0: no row */
    uint64_t state_lsn;      /* where the log has it (core_log_return); 0: nowhere */
    int64_t arrival_ms;      /* when the message came, in the clock of times.h; one that came
                                before the broker began is below 0 */
    uint64_t due_ms;         /* its queue hands out nothing before; the same clock; 0: not held */
    uint32_t delivery_count; /* failures that count */
    uint32_t acquired_count; /* all times that it was handed out and came back */
    uint8_t verdict;         /* the last, of enum retry_verdict; 0: none yet */
    bool is_in_deque : 1;    /* it was restored there; also when it was handed out since */
    bool has_history : 1;    /* more is kept of it (failure_history.h) */
    uint16_t verdicts;       /* three bits for each of the times: how that failure ended */
    uint32_t times_ms[FAILURE_TIMES_MAX]; /* of counted failures, since its arrival: the first, and
                                             of failure n > 1 at 1 + (n - 2) % 4 */
};

_Static_assert(sizeof(struct failure_row) == 64, "one cache line");

/* Made with the first message that is lent while the queue counts; kept for its counters. */
struct queue_failures {
    struct queue *queue;      /* whose they are */
    struct failure_row *rows; /* open addressing; owned; NULL: no room yet */
    uint32_t capacity;        /* a power of two; 0: no room yet */
    uint32_t count;

    struct map *histories;   /* of struct failure_history by position; owned; NULL: nothing yet */
    uint64_t history_octets; /* of memory that they take */

    uint64_t next_return; /* number of the next message that comes back to a quorum queue */

    uint64_t failed_count;      /* failures, ever */
    uint64_t retried_count;     /* of them: after which the message waited */
    uint64_t quarantined_count; /* messages that were parked */

    /* The broker's (broker/death/retry.c). */
    struct timer timer;     /* armed while the head is held back */
    uint64_t held_position; /* of the message that the timer is for; 0: none is held */
    bool has_told;          /* the log has said that messages are parked here */
};

/* With the queue. Its timer is not armed. */
void queue_forget_failures(struct queue *queue);

/* Has room for a row of each message that is lent, and one more. STATUS_NO_MEMORY: as before. */
MUST_CHECK enum status queue_keep_failure_room(struct queue *queue);

/* The row of the message at `position`, or NULL. Valid until rows are added or taken. */
struct failure_row *queue_find_failure(const struct queue *queue, uint64_t position);

/* The same, with a new row where there is none. STATUS_NO_MEMORY: there is none and no room, for
 * the queue did not count when the message was lent. */
MUST_CHECK enum status queue_add_failure(struct queue *queue, uint64_t position,
                                         struct failure_row **row_out);

/* Takes the row out, and forgets its history; false when there is none. */
bool queue_take_failure(struct queue *queue, uint64_t position, struct failure_row *row_out);

/* Notes one more failure that counts, at `now_ms` of the clock of times.h. */
void failure_row_count(struct failure_row *row, uint64_t now_ms, enum retry_verdict verdict);

/* What a row knows of the times, as the log keeps it; and back. Where there is nothing of that, the
 * times are not known. */
struct row_attempts failure_row_attempts(const struct failure_row *row);
void failure_row_restore(struct failure_row *row, const struct row_attempts *attempts);

/* The time of counted failure `number` (from 1 on) in the clock of times.h; false when it is not
 * kept. */
bool failure_row_time_ms(const struct failure_row *row, uint32_t number, int64_t *time_ms_out);

/* How counted failure `number` ended, whose time is kept. */
enum retry_verdict failure_row_verdict(const struct failure_row *row, uint32_t number);

/* No failure counts any more. */
void failure_row_forgive(struct failure_row *row);

/* Walks rows in no order that means anything; `at` begins with 0. NULL at the end. The row that it
 * gave may be taken meanwhile if `at` is then one less again; none may be added. */
struct failure_row *queue_next_failure(const struct queue *queue, uint32_t *at);

/* Less is lent or kept than before: gives memory back when seven of eight places are unused. */
void queue_shrink_failures(struct queue *queue);

/* Octets of memory that are counted as the queue's; asserts that everything agrees. For tests. */
uint64_t queue_check_failures(const struct queue *queue);

#endif
