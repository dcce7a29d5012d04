/* SPDX-License-Identifier: Apache-2.0 */
/* A queue that an operator has paused: nothing is handed out from it, whoever consumes. Publishers
 * go on, as do time (messages expire, and what waits comes in), limits, and settling what was
 * handed out before; consumers stay. basic.get is answered as if nothing were ready. A durable
 * queue is still paused after a restart.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_TOPOLOGY_PAUSE_H
#define BOURSE_BROKER_TOPOLOGY_PAUSE_H

#include "base/status.h"
#include "broker/core/core.h"

/* Pauses it, or lets it go on, and says so in the audit; nothing when it is as it should be. What
 * `*token_out` names is to be on disk before anybody is told (core_is_committed). STATUS_NO_MEMORY,
 * STATUS_FULL: it is as before. */
MUST_CHECK enum status core_pause_queue(struct core *core, struct queue *queue, bool is_paused,
                                        struct bytes user, struct bytes note, uint64_t *token_out);

#endif
