/* SPDX-License-Identifier: Apache-2.0 */
/* basic.publish. The order of the checks is RabbitMQ's and can be seen from outside; a message that
 * fails one is stored nowhere and closes its channel. Properties are looked at only when their
 * flags say that one is there that concerns the broker, so that a plain message is not even
 * decoded. */
#include "broker/publishing/publish.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/channels/failure_notes.h"
#include "broker/durability/durability.h"
#include "broker/message/delay.h"
#include "broker/message/expiration.h"
#include "broker/publishing/reply_to.h"
#include "broker/publishing/route.h"
#include "broker/publishing/transaction.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/limits.h"
#include "broker/users/access.h"
#include "broker/watch/tap.h"
#include "broker/watch/trace.h"

/* Properties that the broker reads. The delivery mode was seen by the network side. */
enum {
    PROPERTIES_READ = PROPERTY_HEADERS | PROPERTY_REPLY_TO | PROPERTY_EXPIRATION | PROPERTY_USER_ID,
};

/* One message on its way through the checks. */
struct publish {
    struct channel *channel;
    struct exchange *exchange;
    struct content_ref content; /* what goes out: as it came, or rewritten */
    const struct content *octets;
    bool mandatory;
    uint64_t expiration; /* as in struct logged_message */
    struct route_message message;
};

enum status
fault_no_memory(struct fault *fault)
{
    return fault_connection(fault, REPLY_RESOURCE_ERROR, "no memory for the message");
}

enum status
fault_not_logged(struct fault *fault, enum status status)
{
    if (status != STATUS_FULL) {
        return fault_no_memory(fault);
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "the message and the list of its queues do not fit a segment of the log");
}

static struct core *
publish_core(const struct publish *publish)
{
    return channel_core(publish->channel);
}

/* `text` as it may stand in a reply-text: UTF-8, cut to fit. */
static const char *
printable(struct bytes text, char *out, size_t out_size)
{
    struct table_value value = {.type = 'S', .raw = text};
    return table_value_text(&value, out, out_size);
}

/* Handing over --------------------------------------------------------------------------------- */

void
channel_return_message(struct channel *channel, struct content_ref ref)
{
    struct core *core = channel_core(channel);
    const struct content *content = chunk_pool_content(core->pool, ref);
    struct method method = {
        .id = METHOD_BASIC_RETURN,
        .basic_return = {.reply_code = REPLY_NO_ROUTE,
                         .reply_text = bytes_of(reply_code_name(REPLY_NO_ROUTE)),
                         .exchange = content_exchange(content),
                         .routing_key = content_routing_key(content)},
    };
    channel->counters.returned++;
    core->counters.unroutable_returned++;
    channel_send_content(channel, &method, ref);
}

/* Has the message wait for tx.commit, once for each queue that it reached. */
static enum status
buffer_for_queues(const struct publish *publish, struct fault *fault)
{
    const struct core *core = publish_core(publish);
    for (uint32_t i = 0; i < core->routes.count; i++) {
        struct queue *queue = queue_of_target(core->routes.targets[i]);
        if (transaction_add_message(publish->channel, queue, publish->content,
                                    route_due_ms(core, i), fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    return STATUS_OK;
}

/* Writes the message down, once, for all queues that keep it over a restart. */
static enum status
log_for_queues(const struct publish *publish, uint64_t *lsn_out)
{
    struct core *core = publish_core(publish);
    core_log_begin(core, publish->octets, publish->expiration);
    for (uint32_t i = 0; i < core->routes.count; i++) {
        const struct queue *queue = queue_of_target(core->routes.targets[i]);
        if (core_logs(core, queue, publish->octets) &&
            core_log_target_until(core, queue, route_due_ms(core, i)) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return core_log_publish(core, publish->content, lsn_out);
}

/* Takes queues that refuse the message, because they are full, out of those that it reached at
 * once, and returns how many they are: they stand behind the others. */
static SELDOM uint32_t
set_refusing_apart(const struct publish *publish)
{
    struct core *core = publish_core(publish);
    struct route_set *routes = &core->routes;
    uint32_t reached_count = routes->count;
    for (uint32_t i = 0; i < core->prompt_count;) {
        struct route_target *target = routes->targets[i];
        if (core_refuses(core, queue_of_target(target), publish->octets->body_size)) {
            routes->targets[i] = routes->targets[--core->prompt_count];
            routes->targets[core->prompt_count] = routes->targets[--routes->count];
            routes->targets[routes->count] = target;
        } else {
            i++;
        }
    }
    return reached_count - routes->count;
}

/* A dead letter is routed like any other message: what this one has reached is put aside. */
static SELDOM void
end_refused(const struct publish *publish, uint32_t refused_count)
{
    struct core *core = publish_core(publish);
    struct route_set reached = core->routes;
    core->routes = (struct route_set){.stamp = reached.stamp};
    for (uint32_t i = 0; i < refused_count; i++) {
        core_end_refused(core, queue_of_target(reached.targets[reached.count + i]),
                         publish->content, publish->octets);
    }
    reached.stamp = core->routes.stamp;
    route_set_fini(&core->routes);
    core->routes = reached;
}

/* Of what is transient only quorum queues keep something over a restart. */
static bool
keeps_transient(const struct queue *queue)
{
    return queue->settings->type == QUEUE_TYPE_QUORUM;
}

/* Room where those queues bury what they refuse; they stand behind the others. */
static enum status
reserve_graves(const struct core *core, uint32_t refused_count)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < refused_count && status == STATUS_OK; i++) {
        struct queue *queue = queue_of_target(core->routes.targets[core->routes.count + i]);
        status = core_reserve_burial(queue, 1);
    }
    return status;
}

/* Room for the message in every queue that it reached, and in the log; so many have refused it.
 * STATUS_REJECTED: one is full, as far as nobody takes messages from it now. */
static enum status
reserve_and_log(const struct publish *publish, uint32_t refused_count, uint64_t *lsn_out)
{
    struct core *core = publish_core(publish);
    if (reserve_graves(core, refused_count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    bool may_be_kept = (publish->octets->flags & CONTENT_PERSISTENT) != 0;
    for (uint32_t i = 0; i < core->prompt_count; i++) {
        struct queue *queue = queue_of_target(core->routes.targets[i]);
        may_be_kept |= keeps_transient(queue);
        if (queue_would_refuse(queue, publish->octets->body_size)) {
            return STATUS_REJECTED;
        }
        if (queue_reserve(queue, content_level(publish->octets, queue)) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    bool is_any_delayed = core->prompt_count < core->routes.count;
    if (is_any_delayed && core_reserve_delayed(core) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = core->prompt_count; i < core->routes.count; i++) {
        may_be_kept |= keeps_transient(queue_of_target(core->routes.targets[i]));
    }
    bool may_be_logged = may_be_kept && core_has_log(core);
    enum status status = may_be_logged ? log_for_queues(publish, lsn_out) : STATUS_OK;
    if (status != STATUS_OK) {
        core_forget_delayed(core, core->routes.count);
    }
    return status;
}

/* Gives every queue that the message reached its copy: all of them, or on STATUS_FAULT none.
 * STATUS_REJECTED: some have refused it, the others have it. */
static enum status
publish_to_queues(const struct publish *publish, struct fault *fault)
{
    struct core *core = publish_core(publish);
    struct channel *channel = publish->channel;
    struct logged_message message = {.expiration = publish->expiration};
    uint32_t refused_count = 0;
    enum status status;
    while ((status = reserve_and_log(publish, refused_count, &message.lsn)) == STATUS_REJECTED) {
        refused_count += set_refusing_apart(publish);
    }
    if (status != STATUS_OK) {
        entry_memory_free_spares(&core->queue_memory);
        return fault_not_logged(fault, status);
    }
    if (message.lsn != 0) {
        channel->publish_token = core_log_token(core);
        connection_heed_log(channel->connection);
    }
    for (uint32_t i = 0; i < core->routes.count; i++) {
        struct queue *queue = queue_of_target(core->routes.targets[i]);
        message.due_ms = route_due_ms(core, i);
        core_enqueue(core, queue, publish->content, publish->octets, &message);
    }
    if (refused_count == 0) {
        return STATUS_OK;
    }
    entry_memory_free_spares(&core->queue_memory); /* reserved anew after each refusal */
    end_refused(publish, refused_count);
    return STATUS_REJECTED;
}

/* Whether an earlier key is the same; bounded by the keys that a message may have. */
static bool
key_is_repeated(const struct route_message *message, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (bytes_equal(message->keys[i], message->keys[at])) {
            return true;
        }
    }
    return false;
}

/* Replies to direct reply-to consumers: keys on the default exchange that name no queue. */
static enum status
publish_replies(const struct publish *publish, uint32_t *reached_count, struct fault *fault)
{
    struct channel *channel = publish->channel;
    for (uint32_t i = 0; i < publish->message.key_count; i++) {
        struct bytes name = publish->message.keys[i];
        struct channel *requester = channel_find_requester(channel, name);
        if (requester == NULL || key_is_repeated(&publish->message, i)) {
            continue;
        }
        if (channel->mode == CHANNEL_TX) {
            if (transaction_add_reply(channel, name, publish->content, fault) != STATUS_OK) {
                return STATUS_FAULT;
            }
            (*reached_count)++;
        } else if (channel_deliver_reply(requester, name, publish->content)) {
            (*reached_count)++;
        }
    }
    return STATUS_OK;
}

/* Nobody is there to take the message. */
static void
publish_unroutable(const struct publish *publish)
{
    publish->exchange->unroutable_count++;
    publish->exchange->unroutable_ms = core_from_now_ms(publish_core(publish));
    if (!publish->mandatory) {
        publish_core(publish)->counters.unroutable_dropped++;
    } else if (publish->channel->mode != CHANNEL_TX) {
        channel_return_message(publish->channel, publish->content);
    }
}

static void
count_publish(const struct publish *publish, uint32_t reached_count)
{
    struct core_counters *counters = &publish_core(publish)->counters;
    uint32_t size = publish->octets->body_size;
    unsigned bucket = 0;
    while (size > core_message_size_bounds[bucket]) {
        bucket++;
    }
    publish->exchange->published_count++;
    publish->exchange->routed_count += reached_count;
    publish->channel->counters.published++;
    counters->published++;
    counters->message_sizes[bucket]++;
    counters->message_bytes += size;
}

/* All checks are passed: routes the message and hands it to everyone it reaches. */
static enum status
publish_deliver(const struct publish *publish, struct fault *fault)
{
    struct core *core = publish_core(publish);
    core_route(core, channel_vhost(publish->channel), publish->exchange, &publish->message);
    uint32_t reached_count = core->routes.count;
    if (core_is_tracing(core)) {
        channel_trace_publish(publish->channel, publish->octets, publish->message.keys,
                              publish->message.key_count);
    }
    if (core_is_tapped(core)) {
        core_tap_exchanges(core, channel_vhost(publish->channel), publish->exchange,
                           publish->octets, publish->message.keys, publish->message.key_count);
    }
    core_spend(core, 1 + reached_count + core->routes.visit_count);
    enum status status = publish->channel->mode == CHANNEL_TX ? buffer_for_queues(publish, fault)
                                                              : publish_to_queues(publish, fault);
    if (status != STATUS_OK && status != STATUS_REJECTED) {
        return STATUS_FAULT;
    }
    if (publish->exchange->name.size == 0 &&
        publish_replies(publish, &reached_count, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    count_publish(publish, reached_count);
    if (reached_count == 0) {
        publish_unroutable(publish);
    } else {
        core->counters.routed++;
    }
    if (publish->channel->mode == CHANNEL_CONFIRM) {
        channel_confirm_publish(publish->channel, status == STATUS_REJECTED);
    }
    if (publish->channel->mode == CHANNEL_TX && publish->mandatory) {
        return transaction_add_return(publish->channel, publish->content, fault);
    }
    return STATUS_OK;
}

/* Properties ----------------------------------------------------------------------------------- */

enum status
publish_collect_keys(struct bytes headers, const char *name, struct bytes *keys,
                     uint32_t *key_count, struct fault *fault)
{
    struct table_value value;
    if (!table_find(headers, name, &value)) {
        return STATUS_OK;
    }
    if (table_value_class(&value) != TABLE_CLASS_ARRAY) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name,
                             table_type_name(value.type));
    }
    struct byte_reader reader = byte_reader_make(value.raw);
    struct table_value item;
    while (table_array_next(&reader, &item)) {
        if (table_value_class(&item) != TABLE_CLASS_STRING) {
            continue;
        }
        if (*key_count > PUBLISH_HEADER_KEYS_MAX) {
            return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                                 "invalid message: CC and BCC name more than %d routing keys",
                                 PUBLISH_HEADER_KEYS_MAX);
        }
        keys[(*key_count)++] = item.raw;
    }
    return STATUS_OK;
}

static enum status
check_user_id(const struct publish *publish, const struct properties *properties,
              struct fault *fault)
{
    struct bytes name = publish->channel->connection->user->name;
    if ((properties->flags & PROPERTY_USER_ID) == 0 || bytes_equal(properties->user_id, name)) {
        return STATUS_OK;
    }
    char claimed[96];
    char actual[96];
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "user_id property set to '%s' but authenticated user was '%s'",
                         printable(properties->user_id, claimed, sizeof(claimed)),
                         printable(name, actual, sizeof(actual)));
}

static enum status
check_keys(const struct publish *publish, struct fault *fault)
{
    const struct exchange *exchange = publish->exchange;
    for (uint32_t i = 0; i < publish->message.key_count; i++) {
        if (access_require_topic(publish->channel->connection, ACCESS_WRITE, exchange->name,
                                 publish->message.keys[i], fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    return STATUS_OK;
}

static inline enum status
check_topics(const struct publish *publish, struct fault *fault)
{
    return publish->exchange->type->is_topic ? check_keys(publish, fault) : STATUS_OK;
}

/* What the exchange itself cannot heed is the publisher's mistake; one that lies behind it lets the
 * message pass. */
static enum status
check_delay(const struct publish *publish, struct fault *fault)
{
    uint64_t delay_ms;
    return publish->exchange->is_delayed
               ? delay_read(publish->message.headers, publish_core(publish)->now.wall_ms, &delay_ms,
                            fault)
               : STATUS_OK;
}

static bool
asks_for_direct_reply(const struct properties *properties)
{
    return (properties->flags & PROPERTY_REPLY_TO) != 0 &&
           bytes_equal_text(properties->reply_to, REPLY_TO_QUEUE);
}

/* The checks that RabbitMQ makes before it looks at keys and rights. */
static enum status
check_properties(const struct publish *publish, const struct properties *properties,
                 uint64_t *expiration_out, struct fault *fault)
{
    *expiration_out = 0;
    if (asks_for_direct_reply(properties) && publish->channel->reply_token[0] == '\0') {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "fast reply consumer does not exist");
    }
    if ((properties->flags & PROPERTY_EXPIRATION) != 0) {
        return expiration_read(properties->expiration, expiration_out, fault);
    }
    return STATUS_OK;
}

/* Rewriting ------------------------------------------------------------------------------------ */

/* What a dead letter needs to go where the message went: the keys of BCC, as far as they fit. */
static void
put_blind_keys(struct buffer *tail, struct bytes headers)
{
    UNINITIALIZED struct bytes keys[1 + PUBLISH_HEADER_KEYS_MAX];
    uint32_t key_count = 0;
    struct fault fault;
    enum status status = publish_collect_keys(headers, "BCC", keys, &key_count, &fault);
    assert(status == STATUS_OK); /* it was looked at before */
    uint32_t fitting_count = 0;
    size_t size = sizeof(uint16_t);
    while (fitting_count < key_count &&
           size + sizeof(uint32_t) + keys[fitting_count].size <= CONTENT_TAIL_MAX) {
        size += sizeof(uint32_t) + keys[fitting_count++].size;
    }
    if (fitting_count == 0) {
        return;
    }
    buffer_put_u16(tail, (uint16_t)fitting_count);
    for (uint32_t i = 0; i < fitting_count; i++) {
        buffer_put_longstr(tail, keys[i]);
    }
}

/* Copies the content with another property block and a tail; on STATUS_OK the copy is counted once.
 */
static enum status
copy_with_properties(struct chunk_pool *pool, struct content_ref *ref, struct bytes block,
                     struct bytes tail)
{
    const struct content *old = chunk_pool_content(pool, *ref);
    bool is_persistent = (old->flags & CONTENT_PERSISTENT) != 0;
    struct content_shape shape = {
        .exchange = content_exchange(old),
        .routing_key = content_routing_key(old),
        .properties = block,
        .body_size = old->body_size,
        .kind = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = old->flags,
        .tail = tail,
    };
    struct bytes old_body = content_body(old);
    struct content_ref copy;
    uint8_t *body;
    enum status status = chunk_pool_reserve(pool, &shape, &copy, &body);
    if (status != STATUS_OK) {
        return status;
    }
    if (old_body.size > 0) {
        memcpy(body, old_body.data, old_body.size);
    }
    *ref = copy;
    return STATUS_OK;
}

/* Puts a copy without BCC, and with the name that replies go to, in the place of the content. */
static enum status
publish_rewrite(struct publish *publish, const struct properties *properties)
{
    struct properties rewritten = *properties;
    struct buffer headers;
    struct buffer block;
    struct buffer tail;
    buffer_init(&headers);
    buffer_init(&block);
    buffer_init(&tail);
    put_blind_keys(&tail, properties->headers);
    table_copy_without(&headers, properties->headers, "BCC");
    rewritten.headers = buffer_bytes(&headers);
    char reply_name[REPLY_NAME_SIZE];
    if (asks_for_direct_reply(properties)) {
        rewritten.reply_to = channel_reply_name(publish->channel, reply_name);
    }
    properties_encode(&block, &rewritten);
    enum status status = STATUS_NO_MEMORY;
    if (!headers.failed && !block.failed && !tail.failed) {
        status = copy_with_properties(publish_core(publish)->pool, &publish->content,
                                      buffer_bytes(&block), buffer_bytes(&tail));
    }
    buffer_fini(&tail);
    buffer_fini(&block);
    buffer_fini(&headers);
    return status;
}

static enum status
publish_rewritten(struct publish *publish, const struct properties *properties, struct fault *fault)
{
    if (publish_rewrite(publish, properties) != STATUS_OK) {
        return fault_no_memory(fault);
    }
    publish->octets = chunk_pool_content(publish_core(publish)->pool, publish->content);
    enum status status = publish_deliver(publish, fault);
    chunk_pool_release(publish_core(publish)->pool, publish->content);
    return status;
}

/* A message with properties that the broker reads. Keys stay views of the content as it came. */
static enum status
publish_with_properties(const struct publish *plain, struct bytes block, struct fault *fault)
{
    UNINITIALIZED struct properties properties;
    UNINITIALIZED struct bytes keys[1 + PUBLISH_HEADER_KEYS_MAX];
    uint32_t key_count = 1;
    uint64_t expiration = 0;
    keys[0] = plain->message.keys[0];
    if (properties_decode(&properties, block, fault) != STATUS_OK ||
        check_properties(plain, &properties, &expiration, fault) != STATUS_OK ||
        publish_collect_keys(properties.headers, "CC", keys, &key_count, fault) != STATUS_OK ||
        publish_collect_keys(properties.headers, "BCC", keys, &key_count, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct publish publish = *plain;
    publish.expiration = expiration;
    publish.message = (struct route_message){
        .keys = keys,
        .key_count = key_count,
        .headers = properties.headers,
        .properties = block,
    };
    if (check_topics(&publish, fault) != STATUS_OK ||
        check_user_id(&publish, &properties, fault) != STATUS_OK ||
        check_delay(&publish, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct table_value bcc;
    if (asks_for_direct_reply(&properties) || table_find(properties.headers, "BCC", &bcc)) {
        return publish_rewritten(&publish, &properties, fault);
    }
    return publish_deliver(&publish, fault);
}

/* Entrance ------------------------------------------------------------------------------------- */

static enum status
check_size(const struct core *core, uint64_t body_size, struct fault *fault)
{
    if (body_size <= core->settings.message_bytes_max) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "message size %" PRIu64 " is larger than configured max size %" PRIu64,
                         body_size, core->settings.message_bytes_max);
}

/* The exchange that the channel published to last, if that is the one and neither its rights nor
 * the exchanges of the vhost have changed since. */
static struct exchange *
recall_exchange(const struct channel *channel, struct bytes name)
{
    const struct publish_memory *memory = &channel->last_publish;
    if (memory->exchange == NULL ||
        memory->exchange_deletions != channel_vhost(channel)->exchange_deletions ||
        memory->user_version != channel->connection->user->version ||
        !bytes_equal(memory->exchange->name, name)) {
        return NULL;
    }
    return memory->exchange;
}

static void
remember_exchange(struct channel *channel, struct exchange *exchange)
{
    channel->last_publish = (struct publish_memory){
        .exchange = exchange,
        .exchange_deletions = channel_vhost(channel)->exchange_deletions,
        .user_version = channel->connection->user->version,
    };
}

/* Rights first: a 404 must not tell a stranger which names exist. */
static enum status
find_exchange(struct channel *channel, struct bytes name, struct exchange **exchange_out,
              struct fault *fault)
{
    if (access_require(channel->connection, ACCESS_WRITE, ACCESS_EXCHANGE, name, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    const struct vhost *vhost = channel_vhost(channel);
    struct exchange *exchange = vhost_find_exchange(vhost, name);
    if (exchange == NULL) {
        return fault_no_exchange(fault, vhost, name);
    }
    if (exchange->internal) {
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_ACCESS_REFUSED, "cannot publish to internal %s",
                             vhost_exchange_text(vhost, name, text));
    }
    if (!channel->is_publisher) {
        channel->is_publisher = true;
        channel_core(channel)->counters.publishers++;
    }
    if (!bytes_equal_text(name, CONTROL_EXCHANGE)) {
        remember_exchange(channel, exchange); /* of that one, each key is looked at */
    }
    *exchange_out = exchange;
    return STATUS_OK;
}

enum status
channel_handle_publish(struct channel *channel, const struct net_event *event,
                       struct content_ref content, struct fault *fault)
{
    const struct core *core = channel_core(channel);
    if (event->publish.immediate) {
        return fault_connection(fault, REPLY_NOT_IMPLEMENTED, "immediate=true");
    }
    if (check_size(core, event->publish.body_size, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct exchange *exchange = recall_exchange(channel, event->publish.exchange);
    if (exchange == NULL && channel_is_note(channel, event)) {
        return channel_take_note(channel, event, fault);
    }
    if (exchange == NULL &&
        find_exchange(channel, event->publish.exchange, &exchange, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    assert(exchange != NULL);
    assert(content_ref_is_set(content));
    const struct content *octets = event->publish.place.content;
    struct bytes block = content_properties(octets);
    /* Field by field: a string instruction that zeroes it first costs a tenth of a small message.
     */
    UNINITIALIZED struct publish publish;
    publish.channel = channel;
    publish.exchange = exchange;
    publish.content = content;
    publish.octets = octets;
    publish.mandatory = event->publish.mandatory;
    publish.expiration = 0;
    publish.message.keys = &event->publish.routing_key;
    publish.message.key_count = 1;
    publish.message.headers = bytes_make(NULL, 0);
    publish.message.properties = block;
    if ((get_u16(block.data) & PROPERTIES_READ) != 0) {
        return publish_with_properties(&publish, block, fault);
    }
    if (check_topics(&publish, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return publish_deliver(&publish, fault);
}
