/* SPDX-License-Identifier: Apache-2.0 */
/* From an exchange to queues: exchange-to-exchange bindings breadth first, each exchange once; the
 * alternate exchange of every exchange that matched nothing; one copy per queue however many
 * bindings, keys and paths lead to it. */
#ifndef BOURSE_BROKER_ROUTE_H
#define BOURSE_BROKER_ROUTE_H

#include "base/bytes.h"
#include "broker/core.h"
#include "exchanges/exchange.h"

struct vhost;

/* What decides where a message goes. */
struct route_message {
    const struct bytes *keys; /* the routing key, then those of the headers CC and BCC */
    uint32_t key_count;       /* at least 1 */
    struct bytes headers;     /* table body; empty when the message has none */
    struct bytes properties;  /* the message's property block, whole */
};

/* Leaves in core->routes the queues, and nothing but queues, that the message reaches when it is
 * published to `exchange` of `vhost`; queue_of_target gives them. Good until the next call. Never
 * follows a cycle twice; costs as much as the exchanges that it visits. */
void core_route(struct core *core, struct vhost *vhost, struct exchange *exchange,
                const struct route_message *message);

#endif
