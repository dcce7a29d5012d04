/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the failures of a message that dies: what its queue has counted, what its
 * consumers said, and how its last delivery ended. */
#ifndef BOURSE_BROKER_DEATH_FAILURE_FACTS_H
#define BOURSE_BROKER_DEATH_FAILURE_FACTS_H

#include "broker/core/core.h"
#include "broker/message/failure.h"
#include "queues/dying.h"

/* What the queue has counted of a message that is dying in it; NULL: nothing. */
const struct failure_row *failure_row_of(const struct queue *queue,
                                         const struct dying_message *message);

/* Puts together what is known; false: it has not failed. What it refers to is the queue's and the
 * message's. */
bool failure_gather(const struct core *core, const struct queue *queue,
                    const struct dying_message *message, struct failure *failure_out);

#endif
