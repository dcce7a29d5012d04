/* SPDX-License-Identifier: Apache-2.0 */
/* From an exchange to queues: exchange-to-exchange bindings breadth first, each exchange once; the
 * alternate exchange of every exchange that matched nothing; one copy per queue however many
 * bindings, keys and paths lead to it.
 *
 * An exchange of the type x-delayed-message holds back what asks for it: what is found behind it is
 * to have the message later. A queue that another way leads to as well has it at once, and whatever
 * comes behind one such exchange is not delayed again by the next. */
#ifndef BOURSE_BROKER_PUBLISHING_ROUTE_H
#define BOURSE_BROKER_PUBLISHING_ROUTE_H

#include "base/bytes.h"
#include "broker/core/core.h"
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
 * published to `exchange` of `vhost`; queue_of_target gives them. The first core->prompt_count of
 * them are to have it at once, the others when core->route_due_ms (of a row, queues/waiting.h) has
 * come. A delay that cannot be read is none. Good until the next call. Never
 * follows a cycle twice; costs as much as the exchanges that it visits. */
void core_route(struct core *core, struct vhost *vhost, struct exchange *exchange,
                const struct route_message *message);

/* When the target at that place of core->routes is to have the message; 0: at once. */
static inline uint64_t
route_due_ms(const struct core *core, uint32_t at)
{
    return at < core->prompt_count ? 0 : core->route_due_ms;
}

#endif
