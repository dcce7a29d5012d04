/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher confirms. What a channel published in a tick is answered by one basic.ack, behind the
 * basic.returns that went out at once: at the tick's end where every queue has the message in
 * memory only, and else when the log is committed that far. */
#include "amqp/reply.h"
#include "broker/commit_wait.h"

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
    uint64_t token = channel->publish_token;
    channel->publish_token = 0;
    if (channel->publish_number != channel->noted_number) {
        channel->noted_number = channel->publish_number;
        channel_confirm_after(channel, channel->publish_number, token);
    }
}
