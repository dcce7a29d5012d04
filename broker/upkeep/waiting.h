/* SPDX-License-Identifier: Apache-2.0 */
/* When messages that wait for a time come in (queues/waiting.h). Each queue in which something
 * waits has a timer; when it fires, the queue is put on a list, and what is due comes in before
 * consumers are served: so many messages a queue and tick, in the order in which they are due, the
 * rest in the next one. A message that there is no memory for goes on waiting and is tried again.
 *
 * After a downtime many are overdue at once. A queue may have a rate for those
 * (settings.release_rate): what is late by CORE_OVERDUE_MS comes in evenly spread, still in the
 * order in which it was due, so that what is due behind it is late as well until all have come.
 *
 * Times are milliseconds since core->base_ms (queues/times.h). Owner: the core thread. */
#ifndef BOURSE_BROKER_UPKEEP_WAITING_H
#define BOURSE_BROKER_UPKEEP_WAITING_H

#include "broker/core/core.h"
#include "queues/waiting.h"
#include "store/row_state.h"

/* Messages that come in by time in one tick. */
enum { CORE_WAITED_PER_QUEUE = 256, CORE_WAITED_PER_TICK = 8192 };

/* What is later than that counts against the release rate of its queue. */
enum { CORE_OVERDUE_MS = 1000 };

/* A message that was lent is not to come back before `due_ms`, or before somebody releases it
 * (PARKED_MS): as queue_wait. What the log is to keep of it is the caller's to say
 * (core_log_return). The queue is not deleted. */
MUST_CHECK enum status core_wait(struct core *core, struct queue *queue,
                                 const struct queue_entry *entry, uint64_t position,
                                 uint64_t due_ms);

/* Something waits until `due_ms`: has the queue looked at then. */
void core_look_at_waiting(struct core *core, struct queue *queue, uint64_t due_ms);

/* Lets the message in that waits under `key`, due or not, and writes it down if that is before its
 * time. STATUS_NO_MEMORY: it still waits. */
MUST_CHECK enum status core_end_wait(struct core *core, struct queue *queue,
                                     const struct due_key *key);

/* Lets in what is due in any queue, as far as this tick may. */
void core_end_waits(struct core *core);

/* A message from the log that was delayed when that ended: it comes in when it is due, in the ticks
 * to come where that is over. `entry` is marked as handed out before, if it may have been. */
MUST_CHECK enum status core_restore_delayed(struct core *core, struct queue *queue,
                                            struct queue_entry *entry,
                                            const struct row_state *state);

/* The queue is deleted: drops what waits in it. */
void core_forget_waiting(struct core *core, struct queue *queue);

/* A time of times.h as the log keeps it (store/row_state.h); INT64_MAX for PARKED_MS. */
uint64_t core_wall_of_due_ms(const struct core *core, uint64_t due_ms);

/* And back, as far as that goes: 0 for what was before the broker began. */
uint64_t core_due_of_wall_ms(const struct core *core, uint64_t wall_ms);

/* The time of a row (queues/waiting.h) as the log keeps it, and back. */
uint64_t core_wall_of_row_ms(const struct core *core, uint64_t row_due_ms);
uint64_t core_row_of_wall_ms(const struct core *core, uint64_t wall_ms);

#endif
