/* SPDX-License-Identifier: Apache-2.0 */
/* When the head of a queue may be handed out. It waits until it is due and in memory, and until the
 * log says that it may have been handed out: so a message that comes again after a crash is marked
 * redelivered, and a backlog that nobody has touched is not. */
#ifndef BOURSE_BROKER_DELIVERY_HANDING_OUT_H
#define BOURSE_BROKER_DELIVERY_HANDING_OUT_H

#include "broker/core/core.h"
#include "queues/queue.h"

/* Whether the head of the queue may be handed out. Otherwise what it waits for is under way, and
 * core_head_is_there is called when it has come. */
bool core_head_is_ready(struct core *core, struct queue *queue);

/* The queue waits for nothing any more (or is gone): it is dispatched again, and channels whose
 * basic.get waited for it go on at the end of the tick. */
void core_head_is_there(struct core *core, struct queue *queue);

/* The same for whoever has just looked at the deadlines of the queue: nothing new is known of them.
 */
void core_try_head_again(struct core *core, struct queue *queue);

/* Has those channels go on: one walk for all the queues of a tick. */
void core_release_getters(struct core *core);

/* The log is written up to `written_lsn`: queues whose marks are in it wait no more. */
void core_note_marks_written(struct core *core, uint64_t written_lsn);

#endif
