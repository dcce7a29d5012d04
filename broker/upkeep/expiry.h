/* SPDX-License-Identifier: Apache-2.0 */
/* When messages and queues expire. Each queue with a deadline in it has a timer; when it fires, or
 * when a message comes that is due at once, the queue is put on a list, and what is due dies at the
 * end of the tick, after consumers were served: so many messages a queue and tick, the rest in the
 * next one. Whoever looks at the head of a queue, or counts its messages, has those die first that
 * are due, so that nothing is handed out or counted late.
 *
 * A queue that is itself to expire has a lease, which begins anew whenever it is used: declared,
 * read with basic.get, or left by its last consumer; and when the broker starts.
 *
 * Deadlines are milliseconds since core->base_ms (queues/times.h). Owner: the core thread. */
#ifndef BOURSE_BROKER_UPKEEP_EXPIRY_H
#define BOURSE_BROKER_UPKEEP_EXPIRY_H

#include "broker/core/core.h"
#include "queues/expiry.h"

/* Messages that die by time in one tick. */
enum { CORE_EXPIRED_PER_QUEUE = 256, CORE_EXPIRED_PER_TICK = 8192 };

/* As queue_push, for a message that lives for `ttl_ms` from now on; 0: it is handed out in this
 * tick or not at all. */
MUST_CHECK enum status core_push_for(struct core *core, struct queue *queue,
                                     struct queue_entry *entry, uint64_t ttl_ms);

/* The same for one that should have come `late_ms` ago, from when its time counts: if that is over,
 * it is not handed out. */
MUST_CHECK enum status core_push_late(struct core *core, struct queue *queue,
                                      struct queue_entry *entry, uint64_t ttl_ms, uint64_t late_ms);

/* The time to live of a message in a queue: the shorter of what queue and message say. `expiration`
 * as in struct logged_message (publish.h). UINT64_MAX: it lives for ever. */
uint64_t queue_time_to_live_ms(const struct queue *queue, uint64_t expiration);

static inline bool
queue_is_endless(const struct queue *queue, uint64_t expiration)
{
    return queue->settings->message_ttl_ms < 0 && expiration == 0;
}

/* When a message that comes now expires, as the log keeps it (store/row_state.h); 0: never. */
uint64_t core_wall_deadline_ms(const struct core *core, const struct queue *queue,
                               uint64_t expiration);

/* As queue_push, for a message from the log with such a deadline. One that is over by now is never
 * handed out, and dies in the ticks to come. */
MUST_CHECK enum status core_restore_mortal(struct core *core, struct queue *queue,
                                           struct queue_entry *entry, uint64_t wall_deadline_ms);

/* A message that was lent has come back to the queue: it may be due again. */
void core_watch_returned(struct core *core, struct queue *queue, const struct queue_entry *entry,
                         uint64_t position);

/* Lets the messages die that are due, as far as this tick may; what is left waits for the next. */
void core_let_due_die(struct core *core, struct queue *queue);

/* Whether the next message may still be handed out, or there is none; those before it that are due
 * die. False: more are due than may die in this tick, and the queue waits for the next one. */
bool core_head_is_on_time(struct core *core, struct queue *queue);

/* Whether the next message may not be handed out any more. The queue has times. */
bool core_head_is_overdue(const struct core *core, const struct queue *queue);

/* Has the queue looked at before the tick ends. */
void core_expire_soon(struct core *core, struct queue *queue);

/* Looks at all that are to be looked at. */
void core_expire(struct core *core);

/* The queue was used: its lease, if it has one, begins anew. */
void core_use_queue(struct core *core, struct queue *queue);

/* The queue is deleted. */
void core_forget_times(struct core *core, struct queue *queue);

#endif
