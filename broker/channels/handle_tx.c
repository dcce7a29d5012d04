/* SPDX-License-Identifier: Apache-2.0 */
/* Class tx. Messages are checked and routed when they are published, but enqueued, returned and
 * settled at commit. Everything of a commit happens in one event, so nobody sees half of it. */
#include "amqp/reply.h"
#include "broker/channels/commit_wait.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/publishing/transaction.h"

static enum status
check_mode(const struct channel *channel, struct fault *fault)
{
    if (channel->mode != CHANNEL_TX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "channel is not transactional");
    }
    return STATUS_OK;
}

static void
answer(struct channel *channel, enum method_id id)
{
    struct method method = {.id = id};
    channel_send(channel, &method);
}

enum status
channel_handle_tx_select(struct channel *channel, struct fault *fault)
{
    if (channel->mode == CHANNEL_CONFIRM) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "cannot switch from confirm to tx mode");
    }
    if (channel->mode != CHANNEL_TX) {
        channel->mode = CHANNEL_TX;
        channel->transaction = transaction_new(channel);
    }
    answer(channel, METHOD_TX_SELECT_OK);
    return STATUS_OK;
}

static enum status
answer_commit(struct channel *channel, uint64_t token)
{
    struct method method = {.id = METHOD_TX_COMMIT_OK};
    channel_send_after(channel, &method, token);
    return STATUS_OK;
}

/* Dead letters may not be where they go at once; the method waits for the last of them, and is
 * handled again then. */
enum status
channel_handle_tx_commit(struct channel *channel, struct fault *fault)
{
    struct core *core = channel_core(channel);
    if (channel->has_committed) {
        channel->has_committed = false;
        return answer_commit(channel, core_log_token(core));
    }
    uint64_t token = 0;
    if (check_mode(channel, fault) != STATUS_OK ||
        transaction_commit(channel, &token, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (!channel->is_ended && core_has_log(core) && !core_deaths_are_over(core, channel->deaths)) {
        list_append(&core->committers, &channel->wait_link);
        return STATUS_AGAIN;
    }
    return answer_commit(channel, token);
}

enum status
channel_handle_tx_rollback(struct channel *channel, struct fault *fault)
{
    if (check_mode(channel, fault) != STATUS_OK ||
        transaction_rollback(channel, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    answer(channel, METHOD_TX_ROLLBACK_OK);
    return STATUS_OK;
}
