/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue that wait for a time: neither ready nor unacked nor dying. They are rows of a
 * due index, in the order in which they come due; a queue has this only once a message waited.
 *
 * Delayed: published with a delay. It has no place in the queue yet; when it is due it takes the
 * one at the end. Until then its key has a number of its own for a position
 * (QUEUE_POSITION_DELAYED), and `due` of its entry holds what the message says of its time to live.
 *
 * Retrying: was lent, and is to come back at its old place, later. It keeps position, flags and
 * deadline. One whose deadline is earlier than its due time comes back at its deadline, and
 * expires.
 *
 * Parked: as retrying, but its time never comes: somebody has to release it. It has no deadline any
 * more.
 *
 * Times are those of times.h; a row counts from WAITING_EPOCH_MS before them, so that messages that
 * were due before the broker began keep their order (waiting_due_ms). What happens when one comes
 * due, and when anybody looks, is the broker's (broker/upkeep/waiting.h). Owner: the core thread.
 */
#ifndef BOURSE_QUEUES_WAITING_H
#define BOURSE_QUEUES_WAITING_H

#include "queues/discards.h"
#include "queues/due_index.h"
#include "queues/queue.h"
#include "queues/times.h"

/* The position of a message that was published with a delay and has no place yet: this, its number
 * above the lowest 8 bits, and in those the level at which it will stand. */
#define QUEUE_POSITION_DELAYED (UINT64_C(1) << 55)
enum { DELAYED_NUMBER_SHIFT = 8 };

static inline uint8_t
delayed_level(uint64_t position)
{
    return (uint8_t)position;
}

/* A due time that never comes, in either clock. */
#define PARKED_MS (UINT64_MAX - 1)

/* Some five hundred years. */
#define WAITING_EPOCH_MS (UINT64_C(1) << 44)

enum waiting_kind {
    WAITING_DELAYED,
    WAITING_RETRY,
    WAITING_PARKED,
    WAITING_KIND_COUNT,
};

struct queue_waiting {
    struct queue *queue;
    struct due_index index;
    uint64_t next_number;    /* of the next delayed message */
    uint32_t reserved_count; /* rows without a message: the newest numbers */
    uint64_t counts[WAITING_KIND_COUNT];
    uint64_t bytes; /* body octets of all of them */

    /* The broker's (broker/upkeep/waiting.c). */
    struct list_link link; /* in its list of queues in which something is due */
    struct timer timer;    /* fires when something is due, or before that */
    uint64_t paced_us;     /* up to when what came in overdue has used the queue's release rate;
                              monotonic */
};

enum waiting_kind due_row_kind(const struct due_row *row);

/* When a row is due by a time of times.h. */
static inline uint64_t
waiting_due_ms(uint64_t time_ms)
{
    return time_ms == PARKED_MS ? PARKED_MS : time_ms + WAITING_EPOCH_MS;
}

/* Has the queue have it. STATUS_NO_MEMORY. */
MUST_CHECK enum status queue_make_waiting(struct queue *queue);

/* The queue is freed, and nothing waits in it. Its timer is not armed. */
void queue_forget_waiting(struct queue *queue);

/* How many wait, parked ones included. */
static inline uint64_t
queue_waiting_count(const struct queue *queue)
{
    return queue->waiting == NULL ? 0
                                  : queue->waiting->index.count - queue->waiting->reserved_count;
}

/* A message that was lent waits until `due_ms`, of times.h, instead of coming back (PARKED_MS: it
 * is parked). The count of its content passes to the queue. STATUS_NO_MEMORY changes nothing: it is
 * still lent. */
MUST_CHECK enum status queue_wait(struct queue *queue, const struct queue_entry *entry,
                                  uint64_t position, uint64_t due_ms);

/* A delayed message comes in two steps, with the time of its row: room for it, then the message,
 * which cannot fail; or the room is given up. Where several are reserved, they come, or are given
 * up, in the same order. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status queue_reserve_delayed(struct queue *queue, uint64_t due_ms);
void queue_forget_delayed(struct queue *queue, uint64_t due_ms);

/* `due_ms` as it was reserved, `level` of queue_level. `expiration` is what the message says of its
 * time to live, in ms, and 1; 0: nothing. The count of the content passes to the queue. */
void queue_push_delayed(struct queue *queue, const struct queue_entry *entry, uint8_t level,
                        uint64_t due_ms, uint64_t expiration);

/* What was said of the time to live of a message that is delayed, as above; rounded up to the
 * second beyond 24 days. */
uint64_t delayed_expiration(const struct queue_entry *entry);

/* The message that comes due first, or NULL. Valid until something in the queue waits or ceases to.
 */
const struct due_row *queue_first_waiting(const struct queue *queue);

/* When that is, of times.h; 0: before the broker began. NEVER_MS: nothing waits but what is parked.
 */
uint64_t queue_next_due_ms(const struct queue *queue);

/* Takes a message out, due or not; false: none waits under that key. The count of its content
 * passes to the caller, and a position that was kept is given up: one that was lent before is not
 * to come back. */
bool queue_take_waiting(struct queue *queue, const struct due_key *key, struct due_row *row_out);

/* Takes a message that was lent before back to its place among the returned ones; `*entry_out` is
 * what stands there. STATUS_NO_MEMORY: it still waits. */
MUST_CHECK enum status queue_end_retry(struct queue *queue, const struct due_key *key,
                                       struct queue_entry *entry_out);

/* Takes all of them out at once and has them released from `discards` later, as queue_purge does.
 * Returns how many there were. */
uint64_t queue_purge_waiting(struct queue *queue, struct queue_discards *discards);

/* Octets of memory. */
static inline uint64_t
queue_waiting_bytes(const struct queue *queue)
{
    return queue->waiting == NULL ? 0 : queue->waiting->index.bytes;
}

/* Asserts that rows and counts agree; for tests. */
void queue_check_waiting(const struct queue *queue);

#endif
