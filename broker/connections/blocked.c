/* SPDX-License-Identifier: Apache-2.0 */
/* Events that wait in their connection. While an alarm is on, publishers stop and consumers do not:
 * a publish waits, and with it whatever follows on the same channel except settlements, so that
 * order within the channel stays while acknowledgements go through: all but those of a tag that
 * only something held can bring about. A fault waits for what arrived before it, and so does the
 * client's connection.close; nothing that follows what ends the connection is heard. In the same
 * way what has to wait for the disk waits: a basic.get whose message is not there, a purge in
 * slices, and what must not overtake an answer that waits for its commit; and what would make a
 * tick too long waits for the next one, and all that follows a settlement of very many. Only when
 * that has piled up to HELD_OCTETS_MAX is the socket itself no longer read.
 */
#include "amqp/method.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/connections/connection.h"

#include <stdlib.h>

static const uint64_t HELD_OCTETS_MAX = 256 * 1024;

/* One event that waits; the payload of a method is copied behind it. */
struct held_event {
    struct list_link link;      /* connection->held */
    uint64_t octets;            /* what it counts for */
    struct content_ref content; /* PUBLISH: pinned; not set when there is none */
    struct net_event event;
    struct fault *fault; /* FAULT: what `event` points to; owned */
    uint8_t octets_behind[];
};

static bool
method_is(struct bytes payload, enum method_id id)
{
    const struct method_info *info = method_info(id);
    return get_u16(payload.data) == info->class_id && get_u16(payload.data + 2) == info->method_id;
}

static bool
held_is(const struct held_event *held, enum method_id id)
{
    return held->event.type == NET_EVENT_METHOD && method_is(held->event.method.payload, id);
}

static bool
method_is_settlement(struct bytes payload)
{
    return method_is(payload, METHOD_BASIC_ACK) || method_is(payload, METHOD_BASIC_NACK) ||
           method_is(payload, METHOD_BASIC_REJECT);
}

/* Whether the settlement, which may be cut short, is of a delivery that has not gone out: what is
 * held may bring it about, such as a basic.get whose answer the client need not wait for. */
static bool
settlement_is_ahead(const struct channel *channel, struct bytes payload)
{
    enum { TAG_AT = 4 };
    return payload.size >= TAG_AT + sizeof(uint64_t) &&
           get_u64(payload.data + TAG_AT) >= channel->next_delivery_tag;
}

/* What settles open deliveries: later settlements wait behind it. One that is ahead of its delivery
 * settles none that they could. */
static bool
held_is_settlement(const struct channel *channel, const struct held_event *held)
{
    return held->event.type == NET_EVENT_METHOD &&
           method_is_settlement(held->event.method.payload) &&
           !settlement_is_ahead(channel, held->event.method.payload);
}

/* Puts the event behind those that wait. The first may be as large as it likes: it says nothing
 * about whether the client heeds the block. */
static void
connection_hold(struct connection *connection, struct held_event *held)
{
    if (!list_is_empty(&connection->held)) {
        connection->held_octets += held->octets + sizeof(*held);
    }
    list_append(&connection->held, &held->link);
    struct channel *channel = connection_find_channel(connection, held->event.channel);
    if (channel != NULL) {
        channel->has_held = true;
        channel->has_held_select |= held_is(held, METHOD_TX_SELECT);
        channel->has_held_settlement |= held_is_settlement(channel, held);
    }
    connection->has_held_close |=
        held->event.channel == 0 && held_is(held, METHOD_CONNECTION_CLOSE);
    if (connection->held_octets > HELD_OCTETS_MAX) {
        connection_pause(connection, PAUSE_HELD);
    }
    if (core_has_worked(connection->core)) {
        connection_replay_later(connection);
    }
}

static void
held_event_free(struct held_event *held)
{
    free(held->fault);
    free(held);
}

/* Message memory that the event keeps; it is set free only after the alarm has ended. */
static uint64_t
held_event_bytes(const struct core *core, const struct held_event *held)
{
    if (!content_ref_is_set(held->content)) {
        return 0;
    }
    const struct content *content = chunk_pool_content(core->pool, held->content);
    return sizeof(*content) + content->exchange_size + content->routing_key_size +
           content->properties_size + content->body_size;
}

/* Whether the method has to wait for what its channel has not said yet: the end of the channel says
 * that everything before is done, and a message that it makes leave must not overtake an answer. */
static bool
method_waits_for_commit(const struct channel *channel, struct bytes payload)
{
    if (!channel_waits(channel)) {
        return false;
    }
    return method_is(payload, METHOD_CHANNEL_CLOSE) ||
           (channel_has_waiting_answer(channel) &&
            (method_is(payload, METHOD_BASIC_CONSUME) || method_is(payload, METHOD_BASIC_GET) ||
             method_is(payload, METHOD_BASIC_RECOVER) ||
             method_is(payload, METHOD_BASIC_RECOVER_ASYNC)));
}

/* Whether it makes, binds or deletes something: what this tick has no more time for. */
static bool
method_is_change(struct bytes payload)
{
    uint16_t class_id = get_u16(payload.data);
    return class_id == CLASS_EXCHANGE || class_id == CLASS_QUEUE;
}

static bool
connection_has_held_channel(const struct connection *connection)
{
    return !list_is_empty(&connection->held);
}

/* Whether order asks the method to wait. */
static bool
connection_must_hold(const struct connection *connection, uint16_t number, struct bytes payload)
{
    if (number == 0) {
        return method_is(payload, METHOD_CONNECTION_CLOSE) &&
               (connection->waiting_channels > 0 || connection_has_held_channel(connection));
    }
    const struct channel *channel = connection_find_channel(connection, number);
    if (channel == NULL) {
        return false;
    }
    if (channel->is_closing) {
        /* What it held is dropped before its number may be used again. */
        return channel->has_held;
    }
    if (channel_is_settling(channel)) {
        return true;
    }
    if (channel->has_held || channel_is_held_up(channel)) {
        return channel->mode == CHANNEL_TX || channel->has_held_select ||
               channel->has_held_settlement || !method_is_settlement(payload) ||
               settlement_is_ahead(channel, payload);
    }
    return (core_has_worked(connection->core) && method_is_change(payload)) ||
           method_waits_for_commit(channel, payload);
}

/* Holds a copy of the method. Without memory for it the connection ends. */
static void
connection_copy_and_hold(struct connection *connection, uint16_t channel, struct bytes payload)
{
    struct held_event *held = try_alloc(sizeof(*held) + payload.size);
    if (held == NULL) {
        struct fault fault;
        (void)fault_connection(&fault, REPLY_RESOURCE_ERROR, "no memory to hold the method back");
        connection_close(connection, &fault, get_u16(payload.data), get_u16(payload.data + 2));
        return;
    }
    *held = (struct held_event){.octets = payload.size, .event = {.type = NET_EVENT_METHOD}};
    memcpy(held->octets_behind, payload.data, payload.size);
    held->event = (struct net_event){
        .type = NET_EVENT_METHOD,
        .channel = channel,
        .link = connection->link,
        .method = {.payload = bytes_make(held->octets_behind, payload.size)},
    };
    connection_hold(connection, held);
}

bool
connection_hold_method(struct connection *connection, uint16_t channel, struct bytes payload)
{
    if ((list_is_empty(&connection->held) && connection->waiting_channels == 0 &&
         !core_has_worked(connection->core)) ||
        connection->state != CONNECTION_RUNNING ||
        !connection_must_hold(connection, channel, payload)) {
        return false;
    }
    connection_copy_and_hold(connection, channel, payload);
    return true;
}

void
connection_hold_again(struct connection *connection, uint16_t channel, struct bytes payload)
{
    if (connection->state == CONNECTION_RUNNING) {
        connection_copy_and_hold(connection, channel, payload);
    }
}

/* A note belongs to a settlement that follows it, and goes through as that does; but for the
 * numbers that publishes have in confirm mode. */
static bool
note_must_wait(const struct channel *channel)
{
    return channel->has_held && (channel->mode != CHANNEL_PLAIN || channel->has_held_select);
}

/* Whether an alarm or the order within its channel asks the publish to wait. */
static bool
connection_must_hold_publish(const struct connection *connection, const struct net_event *event)
{
    const struct channel *channel = connection_find_channel(connection, event->channel);
    if (connection->state != CONNECTION_RUNNING || channel == NULL || channel->is_closing) {
        return false;
    }
    if (channel_is_note(channel, event)) {
        return note_must_wait(channel);
    }
    return connection->core->alarms != 0 || core_has_worked(connection->core) || channel->has_held;
}

static SELDOM bool
hold_publish(struct connection *connection, const struct net_event *event,
             struct content_ref content)
{
    if (!connection_must_hold_publish(connection, event)) {
        return false;
    }
    connection_send_blocked(connection);
    struct bytes exchange = event->publish.exchange;
    struct bytes routing_key = event->publish.routing_key;
    struct held_event *held = xalloc(sizeof(*held) + exchange.size + routing_key.size);
    uint8_t *names = held->octets_behind;
    memcpy(names, exchange.data, exchange.size);
    memcpy(names + exchange.size, routing_key.data, routing_key.size);
    held->octets = event->publish.body_size;
    held->content = content;
    held->event = *event;
    held->event.publish.exchange = bytes_make(names, exchange.size);
    held->event.publish.routing_key = bytes_make(names + exchange.size, routing_key.size);
    connection->core->held_bytes += held_event_bytes(connection->core, held);
    connection_hold(connection, held);
    return true;
}

bool
connection_hold_publish(struct connection *connection, const struct net_event *event,
                        struct content_ref content)
{
    const struct core *core = connection->core;
    bool is_free = core->alarms == 0 && list_is_empty(&connection->held) && !core_has_worked(core);
    return !is_free && hold_publish(connection, event, content);
}

/* The channel that the fault ends; NULL: it ends the connection. */
static const struct channel *
fault_channel_of(const struct connection *connection, const struct net_event *event)
{
    return event->fault.fault->scope == FAULT_CHANNEL
               ? connection_find_channel(connection, event->channel)
               : NULL;
}

/* Whether something waits that arrived before the fault and belongs to what it ends. */
static bool
connection_must_hold_fault(const struct connection *connection, const struct net_event *event)
{
    const struct channel *channel = fault_channel_of(connection, event);
    return channel != NULL ? channel->has_held : connection_has_held_channel(connection);
}

bool
connection_hold_fault(struct connection *connection, const struct net_event *event)
{
    if (connection->state != CONNECTION_RUNNING || list_is_empty(&connection->held) ||
        !connection_must_hold_fault(connection, event)) {
        return false;
    }
    struct held_event *held = xalloc(sizeof(*held));
    held->fault = xalloc(sizeof(*held->fault));
    *held->fault = *event->fault.fault;
    held->event = *event;
    held->event.fault.fault = held->fault;
    held->octets = sizeof(*held->fault);
    connection->has_held_fault = fault_channel_of(connection, event) == NULL;
    connection_hold(connection, held);
    return true;
}

static void
connection_run_held(struct connection *connection, const struct held_event *held)
{
    core_take_time(connection->core);
    connection->core->held_bytes -= held_event_bytes(connection->core, held);
    connection->runs_held = true;
    if (held->event.type == NET_EVENT_PUBLISH) {
        connection_run_publish(connection, &held->event, held->content);
    } else if (held->event.type == NET_EVENT_FAULT) {
        connection_run_fault(connection, &held->event);
    } else if (connection->state != CONNECTION_CLOSED) {
        connection_run_method(connection, held->event.channel, held->event.method.payload);
    }
    connection->runs_held = false;
}

static bool
held_must_wait(const struct connection *connection, const struct held_event *held)
{
    if (connection->state != CONNECTION_RUNNING) {
        return false;
    }
    const struct net_event *event = &held->event;
    if (event->type == NET_EVENT_FAULT) {
        return connection_must_hold_fault(connection, event);
    }
    return event->type == NET_EVENT_PUBLISH
               ? connection_must_hold_publish(connection, event)
               : connection_must_hold(connection, event->channel, event->method.payload);
}

static void
clear_held_marks(struct connection *connection)
{
    for (uint16_t i = 0; i < connection->channel_capacity; i++) {
        if (connection->channels[i] != NULL) {
            connection->channels[i]->has_held = false;
            connection->channels[i]->has_held_select = false;
            connection->channels[i]->has_held_settlement = false;
        }
    }
}

/* As connection_hold counts them: all but the first. */
static uint64_t
count_held_octets(const struct connection *connection)
{
    uint64_t octets = 0;
    LIST_FOR_EACH(&connection->held, link)
    {
        const struct held_event *held = CONTAINER_OF(link, struct held_event, link);
        octets += link == connection->held.head.next ? 0 : held->octets + sizeof(*held);
    }
    return octets;
}

uint32_t
connection_replay_held(struct connection *connection)
{
    clear_held_marks(connection);
    uint32_t count = 0;
    LIST_FOR_EACH(&connection->held, link)
    {
        count++;
    }
    /* Bounded by what was held when reading stopped. What has to wait again goes behind what is
     * still to be looked at, and so keeps its order. Handling an event may end the connection,
     * which drops what is still held. */
    for (uint32_t left = count; left > 0 && !list_is_empty(&connection->held); left--) {
        struct held_event *held =
            CONTAINER_OF(list_pop(&connection->held), struct held_event, link);
        if (held_must_wait(connection, held)) {
            connection_hold(connection, held);
        } else {
            connection_run_held(connection, held);
            held_event_free(held);
        }
    }
    connection->held_octets = count_held_octets(connection);
    if (connection->held_octets <= HELD_OCTETS_MAX) {
        connection_resume(connection, PAUSE_HELD);
    }
    if (connection->core->alarms == 0) {
        connection_send_unblocked(connection);
    }
    return count;
}

void
connection_replay_later(struct connection *connection)
{
    if (!list_is_empty(&connection->held) && !list_link_is_linked(&connection->replay_link)) {
        list_append(&connection->core->replays, &connection->replay_link);
    }
}

void
connection_drop_held(struct connection *connection)
{
    struct list_link *link;
    while ((link = list_pop(&connection->held)) != NULL) {
        struct held_event *held = CONTAINER_OF(link, struct held_event, link);
        connection->core->held_bytes -= held_event_bytes(connection->core, held);
        if (content_ref_is_set(held->content)) {
            chunk_pool_release(connection->core->pool, held->content);
        }
        held_event_free(held);
    }
    connection->held_octets = 0;
    connection->has_held_fault = false;
    connection->has_held_close = false;
}
