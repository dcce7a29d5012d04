/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges and queues that were deleted and still have bindings. To everybody they are gone at
 * once: their names are free, the log knows, no message is routed to them. Their bindings, of which
 * a client can make a million, are taken away tick by tick; whatever was in one tick's reach is
 * gone before the method that deleted is answered. Taking away the last binding of an auto-delete
 * exchange deletes that one as well, and so on: such chains are as long as peers make them. */
#ifndef BOURSE_BROKER_TOPOLOGY_DOOMED_H
#define BOURSE_BROKER_TOPOLOGY_DOOMED_H

#include "broker/core/core.h"
#include "exchanges/exchange.h"
#include "routing/binding_table.h"

/* Bindings of deleted objects that are taken away in one tick: some ten milliseconds. */
enum { CORE_UNBINDS_PER_TICK = 8192 };

/* Takes an exchange out of its vhost; it is freed when it has no bindings left, on either side. */
void core_doom_exchange(struct core *core, struct exchange *exchange);

/* Goes on with a queue that was taken out of its vhost. Takes the vhost's reference. */
void core_doom_queue(struct core *core, struct queue *queue);

/* Takes away one binding of an object that stays; its source is doomed if it is auto-delete and
 * that was its last. */
void core_remove_binding(struct core *core, struct binding *binding);

/* Goes on as far as this tick allows. */
void core_unbind_doomed(struct core *core);

/* The same for a new tick; those who wait for the end of it go on when it has come. */
void core_begin_unbinding(struct core *core);

/* To the end, at once: when the core ends. */
void core_unbind_all(struct core *core);

/* Whether bindings are counted that should be gone already. */
bool core_is_unbinding(const struct core *core);

#endif
