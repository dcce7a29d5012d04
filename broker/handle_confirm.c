/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher confirms. Messages live in memory, so a queue has taken responsibility as soon as it
 * has the message: everything that a channel published in a tick is answered by one basic.ack at
 * the tick's end, behind the basic.returns that went out at once. */
#include "amqp/reply.h"
#include "broker/channel.h"

enum status
channel_handle_confirm_select(struct channel *channel, const struct confirm_select *args,
                              struct fault *fault)
{
    if (channel->mode == CHANNEL_TX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "cannot switch from tx to confirm mode");
    }
    channel->mode = CHANNEL_CONFIRM;
    if (!args->nowait) {
        struct method answer = {.id = METHOD_CONFIRM_SELECT_OK};
        channel_send(channel, &answer);
    }
    return STATUS_OK;
}

void
channel_confirm_publish(struct channel *channel)
{
    assert(channel->mode == CHANNEL_CONFIRM);
    channel->publish_number++;
    if (!list_link_is_linked(&channel->confirm_link)) {
        list_append(&channel_core(channel)->confirming, &channel->confirm_link);
    }
}

void
channel_flush_confirms(struct channel *channel)
{
    list_remove(&channel->confirm_link);
    uint64_t count = channel->publish_number - channel->confirmed_number;
    if (count == 0) {
        return;
    }
    channel->confirmed_number = channel->publish_number;
    channel_core(channel)->counters.confirmed += count;
    struct method ack = {
        .id = METHOD_BASIC_ACK,
        .basic_ack = {.delivery_tag = channel->publish_number, .multiple = count > 1},
    };
    channel_send(channel, &ack);
}
