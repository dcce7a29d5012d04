/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of class channel that reach an open channel; opening and closing are the connection's. */
#include "amqp/reply.h"
#include "broker/channels/channel.h"

enum status
channel_handle_flow(struct channel *channel, const struct channel_flow *args, struct fault *fault)
{
    if (!args->active) {
        return fault_connection(fault, REPLY_NOT_IMPLEMENTED, "active=false");
    }
    struct method answer = {.id = METHOD_CHANNEL_FLOW_OK, .channel_flow_ok = {.active = true}};
    channel_send(channel, &answer);
    return STATUS_OK;
}
