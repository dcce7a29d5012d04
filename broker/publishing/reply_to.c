/* SPDX-License-Identifier: Apache-2.0 */
/* Direct reply-to, as RabbitMQ has it. There is no queue: the pseudo queue amq.rabbitmq.reply-to
 * stands for the channel itself. The token is 128 random bits, so a name cannot be guessed, and it
 * dies with the channel. */
#include "broker/publishing/reply_to.h"

#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/topology/vhost.h"

static const char REPLY_NAME_PREFIX[] = REPLY_TO_QUEUE ".";

_Static_assert(sizeof(REPLY_NAME_PREFIX) + RANDOM_NAME_SIZE <= REPLY_NAME_SIZE,
               "a reply name fits");
_Static_assert(sizeof(((struct channel *)0)->reply_token) >= RANDOM_NAME_SIZE, "a token fits");

static struct bytes
channel_reply_token(const struct channel *channel)
{
    return bytes_of(channel->reply_token);
}

static void
channel_start_replies(struct channel *channel, struct bytes tag)
{
    struct core *core = channel_core(channel);
    uint8_t *copy = xalloc(tag.size);
    memcpy(copy, tag.data, tag.size);
    channel->reply_consumer_tag = bytes_make(copy, tag.size);
    random_name(&core->ports.random, channel->reply_token);
    map_put(&core->reply_channels, channel_reply_token(channel), channel);
}

enum status
channel_consume_replies(struct channel *channel, const struct basic_consume *args,
                        struct fault *fault)
{
    if (!args->no_ack) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "reply consumer cannot acknowledge");
    }
    if (channel->reply_token[0] != '\0') {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "reply consumer already set");
    }
    char made[CONSUMER_TAG_SIZE];
    struct bytes tag = channel_consumer_tag(channel, args->consumer_tag, made);
    channel_start_replies(channel, tag);
    if (!args->nowait) {
        struct method answer = {.id = METHOD_BASIC_CONSUME_OK,
                                .basic_consume_ok = {.consumer_tag = tag}};
        channel_send(channel, &answer);
    }
    return STATUS_OK;
}

void
channel_stop_replies(struct channel *channel)
{
    if (channel->reply_token[0] == '\0') {
        return;
    }
    void *removed =
        map_remove(&channel_core(channel)->reply_channels, channel_reply_token(channel));
    assert(removed == channel);
    channel->reply_token[0] = '\0';
    free((void *)channel->reply_consumer_tag.data);
    channel->reply_consumer_tag = (struct bytes){0};
}

struct channel *
core_find_reply_channel(struct core *core, struct bytes name)
{
    size_t prefix_size = sizeof(REPLY_NAME_PREFIX) - 1;
    if (name.size <= prefix_size || memcmp(name.data, REPLY_NAME_PREFIX, prefix_size) != 0) {
        return NULL;
    }
    struct bytes token = bytes_make(name.data + prefix_size, name.size - prefix_size);
    return map_get(&core->reply_channels, token);
}

struct channel *
channel_find_requester(const struct channel *publisher, struct bytes name)
{
    struct channel *requester = core_find_reply_channel(channel_core(publisher), name);
    if (requester == NULL || channel_vhost(requester) != channel_vhost(publisher)) {
        return NULL;
    }
    return requester;
}

struct bytes
channel_reply_name(const struct channel *channel, char out[static REPLY_NAME_SIZE])
{
    assert(channel->reply_token[0] != '\0');
    int length = snprintf(out, REPLY_NAME_SIZE, "%s%s", REPLY_NAME_PREFIX, channel->reply_token);
    assert(length > 0 && length < REPLY_NAME_SIZE);
    return bytes_make(out, (size_t)length);
}

bool
channel_deliver_reply(struct channel *requester, struct bytes name, struct content_ref ref)
{
    struct core *core = channel_core(requester);
    if (!connection_has_window(requester->connection)) {
        return false;
    }
    const struct content *content = chunk_pool_name(core->pool, ref);
    struct net_action action = {
        .type = NET_ACTION_DELIVER,
        .channel = requester->number,
        .deliver = {.content = content,
                    .delivery_tag = requester->next_delivery_tag++,
                    .consumer_tag = requester->reply_consumer_tag,
                    .routing_key = name},
    };
    connection_post_content(requester->connection, &action, ref, content);
    requester->counters.delivered[DELIVERY_CONSUMED_FOR_GOOD]++;
    core->counters.delivered_by[DELIVERY_CONSUMED_FOR_GOOD]++;
    core->counters.delivered++;
    return true;
}
