/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of a queue as an operator sees them: docs/queue-clocks.md. */
#ifndef BOURSE_BROKER_UPKEEP_QUEUE_CLOCKS_H
#define BOURSE_BROKER_UPKEEP_QUEUE_CLOCKS_H

#include "broker/core/core.h"
#include "queues/clocks.h"

/* Reads the clocks of the queue at the tick's time; messages whose time is over die first, as far
 * as the tick allows. */
void core_read_queue_clocks(struct core *core, struct queue *queue,
                            struct queue_clock_reading *reading_out);

#endif
