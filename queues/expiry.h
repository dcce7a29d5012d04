/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue that have a deadline: coming in, and out when it has passed. What becomes of
 * a message that has expired, and when anybody looks, is the broker's. Times are those of times.h.
 *
 * Where there is no memory for a row of the index, the message is still never handed out late: it
 * dies when it comes to the head.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_EXPIRY_H
#define BOURSE_QUEUES_EXPIRY_H

#include "queues/queue.h"
#include "queues/times.h"

/* Made when the queue has none. */
struct queue_times *queue_times_of(struct queue *queue);

/* Gives up what is known of deadlines: the queue is deleted or freed. Its timers are not armed. */
void queue_forget_times(struct queue *queue);

/* As queue_push, for a message that may be handed out until `due_ms` and not later. Writes `due`
 * and flags of `entry`. */
MUST_CHECK enum status queue_push_until(struct queue *queue, struct queue_entry *entry,
                                        uint64_t due_ms);

/* The deadline of a message at `position`, ready or lent; NEVER_MS: it has none. */
uint64_t queue_deadline_ms(const struct queue *queue, const struct queue_entry *entry,
                           uint64_t position);

/* The deadline of the next message; NEVER_MS: it has none, or there is no message, or it is away.
 */
uint64_t queue_head_deadline_ms(const struct queue *queue);

/* When the queue is next to be looked at; NEVER_MS: nothing in it has a deadline, as far as is
 * known. What is away is not known of. */
uint64_t queue_next_deadline_ms(const struct queue *queue);

/* Takes the ready message that is due first, if it is due at `now_ms` or before; its content's name
 * passes to the caller. STATUS_AGAIN: none is. STATUS_FULL: nothing was taken, and more is to be
 * looked at. STATUS_NO_MEMORY: that one cannot be taken now, and is still ready. */
MUST_CHECK enum status queue_take_expired(struct queue *queue, uint64_t now_ms,
                                          struct queue_entry *entry_out, uint64_t *position_out);

/* Tries again what there was no memory for. STATUS_NO_MEMORY: there still is none. */
MUST_CHECK enum status queue_add_missing_rows(struct queue *queue);

/* Within the queue (queue.c), all of queues that have times: ------------------------------------
 */

/* A message without a deadline comes. */
void queue_times_on_endless(struct queue *queue);

/* The message was taken for good, lent, returned; `entry` is what stands in the queue or was lent,
 * and may get other flags. */
void queue_times_on_gone(struct queue *queue, const struct queue_entry *entry, uint64_t position);
void queue_times_on_lent(struct queue *queue, const struct queue_entry *entry, uint64_t position);
void queue_times_on_lent_last(struct queue *queue, const struct queue_entry *entry,
                              uint64_t position);
void queue_times_on_returned(struct queue *queue, struct queue_entry *entry, uint64_t position);

/* The entry of a returned message names another content now. */
void queue_times_on_patched(struct queue *queue, const struct queue_entry *entry,
                            uint64_t position);

/* The first message of a second level is about to come. */
void queue_times_on_levels(struct queue *queue);
/* A message without a deadline any more has come back to its place. */
void queue_times_on_released(struct queue *queue);

/* Every ready message was dropped. */
void queue_times_on_purged(struct queue *queue);

/* The returned message at `position` leaves; its place goes when it comes to the head.
 * STATUS_NO_MEMORY: it stays. */
MUST_CHECK enum status queue_times_kill_returned(struct queue *queue, uint64_t position);

/* Whether the returned message at `position` has died; takes note that it is gone if `take`. */
bool queue_times_is_dead(struct queue *queue, uint64_t position, bool take);

/* Octets of memory. */
static inline uint64_t
queue_times_bytes(const struct queue_times *times)
{
    return times->index.bytes + times->far.bytes + times->dead_returned.bytes;
}

/* Asserts that rows and messages agree; for tests. */
void queue_check_times(const struct queue *queue);

#endif
