/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher confirms. What a channel published in a tick is answered by one basic.ack, behind the
 * basic.returns that went out at once: at the tick's end where every queue has the message in
 * memory only, and else when the log is committed that far. What a queue has refused is answered by
 * basic.nack, in its place among them. */
#include "amqp/reply.h"
#include "broker/channels/commit_wait.h"

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

/* Has what was published since the last time answered as is due to it. What was refused waits for
 * nothing but its turn. */
static void
note_publishes(struct channel *channel)
{
    if (channel->publish_number == channel->noted_number) {
        return;
    }
    channel->noted_number = channel->publish_number;
    if (channel->is_refusing) {
        channel_refuse_after(channel, channel->publish_number);
    } else {
        uint64_t token = channel->publish_token;
        channel->publish_token = 0;
        channel_confirm_after(channel, channel->publish_number, token);
    }
}

void
channel_confirm_publish(struct channel *channel, bool is_refused)
{
    assert(channel->mode == CHANNEL_CONFIRM);
    if (is_refused != channel->is_refusing) {
        note_publishes(channel);
        channel->is_refusing = is_refused;
    }
    channel->publish_number++;
    channel_core(channel)->counters.published_for_confirm++;
    if (!list_link_is_linked(&channel->confirm_link)) {
        list_append(&channel_core(channel)->confirming, &channel->confirm_link);
    }
}

void
channel_flush_confirms(struct channel *channel)
{
    list_remove(&channel->confirm_link);
    note_publishes(channel);
    channel->publish_token = 0;
}
