/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue knows of time: when its messages came (arrival_marks.h).
 *
 * The time of a push, and of everything else here, is `now_ms` of the entry_memory that the queue
 * counts in: the broker sets it when a tick begins.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_CLOCKS_H
#define BOURSE_QUEUES_CLOCKS_H

#include "queues/arrival_marks.h"
#include "queues/queue.h"

/* Made with the first message; kept until the queue goes. */
struct queue_clocks {
    struct arrival_marks marks;
};

/* When the message at `position`, which is ready or lent, came into the queue: milliseconds as in
 * times.h, wrong by at most a hundredth of its age. It may have come before the broker began; then
 * the time is negative, taken modulo 2^64: `now_ms - queue_arrival_ms()` is the age either way. A
 * message that waits elsewhere (waiting, dying) may be taken for one that came later. */
uint64_t queue_arrival_ms(const struct queue *queue, uint64_t position);

/* Within the queue (queue.c, expiry.c): -------------------------------------------------------- */

/* By itself: the time has changed since the last message, or there was none. */
void queue_clocks_on_new_time(struct queue *queue, uint64_t position);

/* A message was pushed. */
static inline void
queue_clocks_on_push(struct queue *queue, uint64_t position)
{
    const struct entry_memory *memory = queue->deque.memory;
    int64_t now_ms = memory == NULL ? 0 : memory->now_ms;
    if (queue->clocks == NULL || queue->clocks->marks.newest.latest_ms != now_ms) {
        queue_clocks_on_new_time(queue, position);
    }
}

/* A message that was ready or lent has left for good, or waits elsewhere; the latter may come back.
 */
void queue_clocks_on_gone_elsewhere(struct queue *queue, uint64_t position);
static inline void
queue_clocks_on_gone(struct queue *queue, uint64_t position)
{
    struct arrival_mark *found = queue->clocks->marks.found;
    if (position - found->position < queue->clocks->marks.found_count) {
        found->gone_count++;
    } else {
        queue_clocks_on_gone_elsewhere(queue, position);
    }
}
void queue_clocks_on_back(struct queue *queue, uint64_t position);

/* Messages of the deque were lost. All of them from `position` on, which is its first, were
 * dropped, and those that had been returned have gone before. */
void queue_clocks_on_lost(struct queue *queue, uint64_t count);
void queue_clocks_on_purged(struct queue *queue, uint64_t position);

void queue_forget_clocks(struct queue *queue);

/* Octets of memory that are counted as the queue's; asserts that clocks and messages agree. */
uint64_t queue_check_clocks(const struct queue *queue);

#endif
