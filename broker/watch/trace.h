/* SPDX-License-Identifier: Apache-2.0 */
/* The firehose: a copy of every message that is published in a virtual host, and of every one that
 * is delivered there, goes to its exchange amq.rabbitmq.trace, where it is switched on. Keys are
 * publish.EXCHANGE and deliver.QUEUE; the body is the message's, and the headers say what it was,
 * as RabbitMQ's do. Messages of that exchange leave no trace themselves.
 *
 * Where nothing is traced the message path asks core_is_tracing and no more. A trace is made where
 * the message passes, and sent at the end of the tick, when no routing pass is in use and no queue
 * is being worked on. It is not persistent, and dropped where message memory is short: looking on
 * is never what fills it.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_WATCH_TRACE_H
#define BOURSE_BROKER_WATCH_TRACE_H

#include "broker/channels/channel.h"
#include "broker/topology/vhost.h"

#define TRACE_EXCHANGE "amq.rabbitmq.trace"

struct traces;
struct traces *traces_new(struct core *core);
void traces_free(struct traces **traces); /* what is not sent is dropped */

/* Switches tracing of the vhost on or off; false: it was so already. */
bool vhost_set_tracing(struct vhost *vhost, bool is_traced);

/* As it was before a restart; the log knows. */
void vhost_restore_tracing(struct vhost *vhost);

/* The vhost goes: so does what is not sent yet. */
void vhost_forget_traces(struct vhost *vhost);

/* Whether any vhost is traced. */
static inline bool
core_is_tracing(const struct core *core)
{
    return core->traced_vhost_count > 0;
}

/* One message that a channel has published and that is routed: core->routes has its queues.
 * `content` is what goes out; `keys` are its own and those of CC and BCC. */
SELDOM void channel_trace_publish(struct channel *channel, const struct content *content,
                                  const struct bytes *keys, uint32_t key_count);

/* One message of `queue` that goes to a client of the channel. */
SELDOM void channel_trace_delivery(struct channel *channel, const struct queue *queue,
                                   const struct content *content, bool is_redelivered);

/* The end of the tick: hands over what was traced in it. */
void core_send_traces(struct core *core);

#endif
