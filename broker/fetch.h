/* SPDX-License-Identifier: Apache-2.0 */
/* Messages whose contents are only on disk come back before they are handed out: the next ones of a
 * queue at a time, by a job of the store. */
#ifndef BOURSE_BROKER_FETCH_H
#define BOURSE_BROKER_FETCH_H

#include "broker/core.h"
#include "queues/queue.h"
#include "store/io_job.h"

/* Whether the content of the queue's head is in memory. Otherwise it is being fetched, and
 * core_head_is_there is called when it has come. */
bool core_head_is_in_memory(struct core *core, struct queue *queue);

/* A job of the types IO_FETCH and IO_SPILL is back. Takes it. */
void core_job_done(struct core *core, struct io_job *job);

#endif
