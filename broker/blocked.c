/* SPDX-License-Identifier: Apache-2.0 */
/* What happens while the memory alarm is on. Publishers stop, consumers do not: a publish waits in
 * the connection it came from, and with it whatever follows on the same channel except settlements,
 * so that order within the channel stays while acknowledgements go through. Only when that has
 * piled up to HELD_OCTETS_MAX is the socket itself no longer read. */
#include "amqp/method.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/channel.h"
#include "broker/connection.h"

#include <inttypes.h>
#include <stdlib.h>

static const uint64_t HELD_OCTETS_MAX = 256 * 1024;

/* One event that waits; the payload of a method is copied behind it. */
struct held_event {
    struct list_link link; /* connection->held */
    struct net_event event;
    uint8_t octets[];
};

static void
connection_send_blocked(struct connection *connection)
{
    if (connection->blocked_sent ||
        (connection->capabilities & CAPABILITY_CONNECTION_BLOCKED) == 0) {
        return;
    }
    connection->blocked_sent = true;
    struct method blocked = {
        .id = METHOD_CONNECTION_BLOCKED,
        .connection_blocked = {.reason = bytes_of("low on memory")},
    };
    connection_send(connection, 0, &blocked);
}

static void
connection_send_unblocked(struct connection *connection)
{
    if (connection->blocked_sent && connection->state == CONNECTION_RUNNING) {
        struct method unblocked = {.id = METHOD_CONNECTION_UNBLOCKED};
        connection_send(connection, 0, &unblocked);
    }
    connection->blocked_sent = false;
}

static void
connection_hold(struct connection *connection, struct held_event *held, uint64_t octets)
{
    /* The first may be as large as it likes: it says nothing about whether the client heeds the
     * block. */
    if (!list_is_empty(&connection->held)) {
        connection->held_octets += octets + sizeof(*held);
    }
    list_append(&connection->held, &held->link);
    struct channel *channel = connection_find_channel(connection, held->event.channel);
    if (channel != NULL) {
        channel->has_held = true;
    }
    if (connection->held_octets > HELD_OCTETS_MAX) {
        connection_pause(connection, PAUSE_HELD);
    }
}

/* Message memory that the event keeps; it is set free only after the alarm has ended. */
static uint64_t
held_event_bytes(const struct core *core, const struct held_event *held)
{
    if (held->event.type != NET_EVENT_PUBLISH || !content_ref_is_set(held->event.publish.content)) {
        return 0;
    }
    const struct content *content = chunk_pool_content(core->pool, held->event.publish.content);
    return sizeof(*content) + content->exchange_size + content->routing_key_size +
           content->properties_size + content->body_size;
}

static bool
method_is_settlement(struct bytes payload)
{
    static const enum method_id settlements[] = {METHOD_BASIC_ACK, METHOD_BASIC_NACK,
                                                 METHOD_BASIC_REJECT};
    for (size_t i = 0; i < ARRAY_LEN(settlements); i++) {
        const struct method_info *info = method_info(settlements[i]);
        if (get_u16(payload.data) == info->class_id &&
            get_u16(payload.data + 2) == info->method_id) {
            return true;
        }
    }
    return false;
}

static bool
method_is_connection_close(struct bytes payload)
{
    const struct method_info *info = method_info(METHOD_CONNECTION_CLOSE);
    return get_u16(payload.data) == info->class_id && get_u16(payload.data + 2) == info->method_id;
}

/* Whether order within the channel asks the method to wait behind a publish. */
static bool
connection_must_hold(const struct connection *connection, uint16_t number, struct bytes payload)
{
    if (number == 0) {
        return method_is_connection_close(payload);
    }
    const struct channel *channel = connection_find_channel(connection, number);
    if (channel == NULL || !channel->has_held || channel->is_closing) {
        return false;
    }
    return channel->mode == CHANNEL_TX || !method_is_settlement(payload);
}

bool
connection_hold_method(struct connection *connection, uint16_t channel, struct bytes payload)
{
    if (list_is_empty(&connection->held) || connection->state != CONNECTION_RUNNING ||
        !connection_must_hold(connection, channel, payload)) {
        return false;
    }
    struct held_event *held = try_alloc(sizeof(*held) + payload.size);
    if (held == NULL) {
        struct fault fault;
        (void)fault_connection(&fault, REPLY_RESOURCE_ERROR, "no memory to hold the method back");
        connection_close(connection, &fault, get_u16(payload.data), get_u16(payload.data + 2));
        return true;
    }
    *held = (struct held_event){.event = {.type = NET_EVENT_METHOD}};
    memcpy(held->octets, payload.data, payload.size);
    held->event = (struct net_event){
        .type = NET_EVENT_METHOD,
        .channel = channel,
        .link = connection->link,
        .method = {.payload = bytes_make(held->octets, payload.size)},
    };
    connection_hold(connection, held, payload.size);
    return true;
}

bool
connection_hold_publish(struct connection *connection, const struct net_event *event)
{
    if (!connection->core->memory_alarm || connection->state != CONNECTION_RUNNING) {
        return false;
    }
    const struct channel *channel = connection_find_channel(connection, event->channel);
    if (channel == NULL || channel->is_closing) {
        return false;
    }
    connection_send_blocked(connection);
    struct bytes exchange = event->publish.exchange;
    struct bytes routing_key = event->publish.routing_key;
    struct held_event *held = xalloc(sizeof(*held) + exchange.size + routing_key.size);
    memcpy(held->octets, exchange.data, exchange.size);
    memcpy(held->octets + exchange.size, routing_key.data, routing_key.size);
    held->event = *event;
    held->event.publish.exchange = bytes_make(held->octets, exchange.size);
    held->event.publish.routing_key = bytes_make(held->octets + exchange.size, routing_key.size);
    connection->core->held_bytes += held_event_bytes(connection->core, held);
    connection_hold(connection, held, event->publish.body_size);
    return true;
}

static void
connection_run_held(struct connection *connection, const struct held_event *held)
{
    connection->core->held_bytes -= held_event_bytes(connection->core, held);
    if (held->event.type == NET_EVENT_PUBLISH) {
        connection_run_publish(connection, &held->event);
    } else if (connection->state != CONNECTION_CLOSED) {
        connection_run_method(connection, held->event.channel, held->event.method.payload);
    }
}

void
connection_release_held(struct connection *connection)
{
    for (uint16_t i = 0; i < connection->channel_capacity; i++) {
        if (connection->channels[i] != NULL) {
            connection->channels[i]->has_held = false;
        }
    }
    /* Bounded by what was held when reading stopped. The list is detached first: handling an event
     * may end the connection, which drops what is still held. */
    struct list_link *link;
    while ((link = list_pop(&connection->held)) != NULL) {
        struct held_event *held = CONTAINER_OF(link, struct held_event, link);
        connection_run_held(connection, held);
        free(held);
    }
    connection->held_octets = 0;
    connection_send_unblocked(connection);
    connection_resume(connection, PAUSE_HELD);
}

void
connection_drop_held(struct connection *connection)
{
    struct list_link *link;
    while ((link = list_pop(&connection->held)) != NULL) {
        struct held_event *held = CONTAINER_OF(link, struct held_event, link);
        connection->core->held_bytes -= held_event_bytes(connection->core, held);
        if (held->event.type == NET_EVENT_PUBLISH &&
            content_ref_is_set(held->event.publish.content)) {
            chunk_pool_release(connection->core->pool, held->event.publish.content);
        }
        free(held);
    }
    connection->held_octets = 0;
}

static void
core_release_all(struct core *core)
{
    LIST_FOR_EACH(&core->connection_list, link)
    {
        struct connection *connection = CONTAINER_OF(link, struct connection, core_link);
        if (connection->blocked_sent || !list_is_empty(&connection->held)) {
            connection_release_held(connection);
        }
    }
}

void
core_check_memory(struct core *core)
{
    uint64_t mark = core->settings.memory_mark_bytes;
    if (mark == 0) {
        return;
    }
    uint64_t used = chunk_pool_bytes(core->pool) + core->queue_bytes;
    assert(core->held_bytes <= used);
    /* What waits for the end of the alarm must not keep it up. */
    used -= core->held_bytes;
    if (!core->memory_alarm && used >= mark) {
        core->memory_alarm = true;
        log_warn(core->log, "memory.alarm_on", "used_bytes=%" PRIu64 " mark_bytes=%" PRIu64, used,
                 mark);
    } else if (core->memory_alarm && used < mark - mark / 10) {
        core->memory_alarm = false;
        log_info(core->log, "memory.alarm_off", "used_bytes=%" PRIu64 " mark_bytes=%" PRIu64, used,
                 mark);
        core_release_all(core);
    }
}
