/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue knows of time: when its messages came (arrival_marks.h), how long they waited until
 * they were acknowledged, how many come and go in a second, and how they fail. It costs the same
 * however long the queue is, and nothing while the queue is idle: rates are brought up to date by
 * whatever happens to the queue when a second is over, and by whoever reads them.
 *
 * The time of all of it is `now_ms` of the entry_memory that the queue counts in: the broker sets
 * it when a tick begins.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_CLOCKS_H
#define BOURSE_QUEUES_CLOCKS_H

#include "queues/arrival_marks.h"
#include "queues/dying.h"
#include "queues/queue.h"
#include "queues/wait_times.h"

/* How a message is handed out. */
enum delivery_kind {
    DELIVERY_CONSUMED,          /* to a consumer that is to settle it */
    DELIVERY_CONSUMED_FOR_GOOD, /* to one that is not (no_ack) */
    DELIVERY_GOT,               /* by basic.get, in the same two ways */
    DELIVERY_GOT_FOR_GOOD,
    DELIVERY_KIND_COUNT,
};

/* What rates are kept of. */
enum queue_event {
    EVENT_ARRIVED,
    EVENT_SERVED,    /* acknowledged, delivered for good, or rejected for good */
    EVENT_ACKED,     /* of them: by their consumer */
    EVENT_DELIVERED, /* and so many more: by the way in which */
    EVENT_REDELIVERED = EVENT_DELIVERED + DELIVERY_KIND_COUNT, /* of them: delivered before */
    EVENT_GOT_NOTHING,                                         /* basic.get that found nothing */
    EVENT_DIED, /* and so many more: by what they died of */
    EVENT_COUNT = EVENT_DIED + DEATH_REASON_COUNT,
};

/* Over which time a rate is taken: older seconds count less, by a factor e in that time. */
enum { RATE_STEP_MS = 1000 };
enum rate_window { RATE_10_S, RATE_1_MIN, RATE_WINDOW_COUNT };

/* Made when something has happened that it counts; as long as there is no memory for it, that is
 * not counted. */
struct queue_activity {
    struct wait_times waits;
    int64_t folded_ms;                            /* up to here the rates know what happened */
    uint64_t known[EVENT_COUNT];                  /* what the counters were then */
    double rates[RATE_WINDOW_COUNT][EVENT_COUNT]; /* a second */
};

/* The messages that were served last: those of one mark, at one time. */
struct served_messages {
    uint64_t position, count; /* of the mark; count 0: none */
    int64_t now_ms;
    uint64_t wait_ms;
    uint32_t bucket;
};

static inline uint64_t
delivery_count(const uint64_t counts[static DELIVERY_KIND_COUNT])
{
    return counts[DELIVERY_CONSUMED] + counts[DELIVERY_CONSUMED_FOR_GOOD] + counts[DELIVERY_GOT] +
           counts[DELIVERY_GOT_FOR_GOOD];
}

/* Made with the first message, or when somebody asks for one; kept until the queue goes. */
struct queue_clocks {
    uint64_t published_count, delivered_counts[DELIVERY_KIND_COUNT]; /* by the broker, */
    uint64_t redelivered_count, acked_count, get_empty_count;        /* like these */
    uint64_t lent_bytes;             /* octets of bodies of messages that are lent */
    struct arrival_marks marks;      /* in a queue with levels each has its own (levels.h) */
    struct queue_activity *activity; /* owned; NULL: none yet */
    struct served_messages served;   /* there is an activity while it is not empty */
    int64_t began_ms;                /* rates are of the time since then */
};

/* When the message at `position`, which is ready or lent, came into the queue: milliseconds as in
 * times.h, wrong by at most a hundredth of its age. It may have come before the broker began; then
 * the time is negative, taken modulo 2^64: `now_ms - queue_arrival_ms()` is the age either way. A
 * message that waits elsewhere (waiting, dying) may be taken for one that came later. */
uint64_t queue_arrival_ms(const struct queue *queue, uint64_t position);

/* What happens in a second, as it was lately. */
struct queue_rates {
    double arrived, served, acked;
    double delivered, redelivered, got_nothing;
    double delivered_by[DELIVERY_KIND_COUNT];
    double retried_part;             /* of all deliveries: those of messages that had been delivered
                                        before; 0 to 1 */
    double died[DEATH_REASON_COUNT]; /* a second, those without a dead-letter exchange included */
    uint64_t drained_ms; /* until nothing is ready, if it goes on like this; NEVER_MS: more comes
                            than goes */
};

/* Adds what adds up: all that is a number a second, but for deaths. */
void queue_rates_add(struct queue_rates *sum, const struct queue_rates *rates);

/* Everything at one time. Ages are since the message came into the queue. */
struct queue_clock_reading {
    uint64_t oldest_ready_ms;   /* age; NEVER_MS: none is ready */
    uint64_t oldest_unacked_ms; /* age; NEVER_MS: none is lent */
    struct queue_rates rates[RATE_WINDOW_COUNT];
    struct wait_times waits; /* of all messages that were acknowledged, or delivered for good,
                                since the broker began */
    uint64_t wait_count;
    uint64_t died[DEATH_REASON_COUNT]; /* ever */
};

/* Reads them. It walks what has come back to the queue, in a quorum queue or if something is lent
 * as well; else it costs the same for every queue. */
void queue_read_clocks(struct queue *queue, struct queue_clock_reading *reading_out);

/* Brings the rates up to date, if a second is over. To be called when something happens that is
 * counted and that none of the functions here is told of. */
void queue_clocks_fold(struct queue *queue);
static inline void
queue_clocks_touch(struct queue *queue)
{
    const struct queue_clocks *clocks = queue->clocks;
    if (clocks != NULL && queue->deque.memory != NULL &&
        (clocks->activity == NULL ||
         queue->deque.memory->now_ms - clocks->activity->folded_ms >= RATE_STEP_MS)) {
        queue_clocks_fold(queue);
    }
}

/* The message is acknowledged, or is delivered for good: how long that took is counted, if there is
 * memory to. Call before it is settled, or when it was popped. */
void queue_clocks_on_others_served(struct queue *queue, uint64_t position);
static inline void
queue_clocks_on_served(struct queue *queue, uint64_t position)
{
    struct queue_clocks *clocks = queue->clocks;
    if (position - clocks->served.position >= clocks->served.count ||
        queue->deque.memory->now_ms != clocks->served.now_ms) {
        queue_clocks_on_others_served(queue, position);
        return;
    }
    wait_times_count(&clocks->activity->waits, clocks->served.bucket, clocks->served.wait_ms);
    wait_times_count(&queue->deque.memory->waits, clocks->served.bucket, clocks->served.wait_ms);
}

/* Has the queue have them, before anything comes that they count. STATUS_NO_MEMORY. */
MUST_CHECK enum status queue_make_clocks(struct queue *queue);

/* Within the queue (queue.c, expiry.c): -------------------------------------------------------- */

/* Whether the time has changed since the last message, or there was none. */
static inline bool
queue_clocks_are_behind(const struct queue *queue)
{
    const struct entry_memory *memory = queue->deque.memory;
    int64_t now_ms = memory == NULL ? 0 : memory->now_ms;
    return queue->clocks == NULL || queue->clocks->marks.newest.latest_ms != now_ms;
}

/* A message was pushed when they were behind. */
void queue_clocks_on_new_time(struct queue *queue, uint64_t position);

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

/* Messages of the deque in front were lost. Those of all deques are about to be dropped; those that
 * had been returned have gone before. */
void queue_clocks_on_lost(struct queue *queue, uint64_t count);
void queue_clocks_on_purged(struct queue *queue);

/* The queue has levels now. */
void queue_clocks_on_levels(struct queue *queue);

void queue_forget_clocks(struct queue *queue);

/* Octets of memory that are counted as the queue's; asserts that clocks and messages agree. */
uint64_t queue_check_clocks(const struct queue *queue);

#endif
