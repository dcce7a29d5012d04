/* SPDX-License-Identifier: Apache-2.0 */
/* Events, from a network to the core. */
#include "net/seam_items.h"

struct opened_item {
    struct item_head head;
    struct net_peer *peer;
};

struct publish_item {
    struct item_head head;
    const struct content *content; /* NULL: the names lie behind the item */
    uint64_t body_size;
    uint32_t chunk;
    uint8_t exchange_size;
    uint8_t routing_key_size;
    uint8_t octets[];
};

struct fault_item {
    struct item_head head;
    uint16_t class_id;
    uint16_t method_id;
    uint16_t reply_code;
    uint8_t scope; /* of enum fault_scope */
    char text[];   /* NUL-terminated */
};

struct chunk_item {
    struct item_head head;
    struct chunk_notice notice;
};

_Static_assert(offsetof(struct publish_item, octets) <= 64, "a publish is one cache line");

static void *
append_event(struct ring *ring, size_t size, const struct net_event *event)
{
    return append_head(ring, size, event->type, event->channel, event->link);
}

/* In ------------------------------------------------------------------------------------------- */

static void
post_opened(struct ring *ring, const struct net_event *event)
{
    struct opened_item *item = append_event(ring, sizeof(*item), event);
    item->peer = event->opened.peer;
}

static void
post_method_event(struct ring *ring, const struct net_event *event)
{
    struct bytes payload = event->method.payload;
    struct item_head *head = append_event(ring, sizeof(*head) + payload.size, event);
    put_octets((uint8_t *)(head + 1), payload);
}

/* A content has its names within it. */
static void
post_publish(struct ring *ring, const struct net_event *event)
{
    bool has_content = event->publish.place.content != NULL;
    struct bytes exchange = event->publish.exchange;
    struct bytes routing_key = event->publish.routing_key;
    size_t names_size = has_content ? 0 : exchange.size + routing_key.size;
    struct publish_item *item =
        append_event(ring, offsetof(struct publish_item, octets) + names_size, event);
    item->head.flags = (uint8_t)((event->publish.mandatory ? ITEM_MANDATORY : 0) |
                                 (event->publish.immediate ? ITEM_IMMEDIATE : 0));
    item->content = event->publish.place.content;
    item->body_size = event->publish.body_size;
    item->chunk = event->publish.place.chunk;
    item->exchange_size = (uint8_t)exchange.size;
    item->routing_key_size = (uint8_t)routing_key.size;
    if (!has_content) {
        put_octets(put_octets(item->octets, exchange), routing_key);
    }
}

static void
post_fault(struct ring *ring, const struct net_event *event)
{
    const struct fault *fault = event->fault.fault;
    size_t text_size = strlen(fault->text) + 1;
    struct fault_item *item =
        append_event(ring, offsetof(struct fault_item, text) + text_size, event);
    item->class_id = event->fault.class_id;
    item->method_id = event->fault.method_id;
    item->reply_code = fault->reply_code;
    item->scope = (uint8_t)fault->scope;
    memcpy(item->text, fault->text, text_size);
}

static void
post_number_event(struct ring *ring, const struct net_event *event, uint64_t number)
{
    struct number_item *item = append_event(ring, sizeof(*item), event);
    item->number = number;
}

static void
post_chunk(struct ring *ring, const struct net_event *event)
{
    struct chunk_item *item = append_event(ring, sizeof(*item), event);
    item->notice = event->chunk;
}

/* Of message memory that the event brings. */
static uint64_t
body_octets(const struct net_event *event)
{
    bool has_content = event->type == NET_EVENT_PUBLISH && event->publish.place.content != NULL;
    return has_content ? event->publish.body_size : 0;
}

void
seam_post_event(struct seam_network_end *end, const struct net_event *event)
{
    struct ring *ring = end->events;
    switch (event->type) {
    case NET_EVENT_OPENED:
        post_opened(ring, event);
        break;
    case NET_EVENT_METHOD:
        post_method_event(ring, event);
        break;
    case NET_EVENT_PUBLISH:
        post_publish(ring, event);
        end->posted_octets += body_octets(event);
        break;
    case NET_EVENT_FAULT:
        post_fault(ring, event);
        break;
    case NET_EVENT_WRITTEN:
        post_number_event(ring, event, event->written.octets);
        break;
    case NET_EVENT_CLOSED:
        post_number_event(ring, event, event->closed.reason);
        break;
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
        post_chunk(ring, event);
        break;
    case NET_EVENT_LOAN_RETURNED:
        post_number_event(ring, event, event->returned.loan);
        break;
    }
}

/* Out ------------------------------------------------------------------------------------------ */

static void
read_publish(struct net_event *event, const struct publish_item *item)
{
    event->publish.place = (struct chunk_place){.content = item->content, .chunk = item->chunk};
    event->publish.body_size = item->body_size;
    event->publish.mandatory = (item->head.flags & ITEM_MANDATORY) != 0;
    event->publish.immediate = (item->head.flags & ITEM_IMMEDIATE) != 0;
    if (item->content != NULL) {
        event->publish.exchange = content_exchange(item->content);
        event->publish.routing_key = content_routing_key(item->content);
        return;
    }
    struct bytes octets = octets_behind(&item->head, item->octets);
    event->publish.exchange = take_octets(&octets, item->exchange_size);
    event->publish.routing_key = take_octets(&octets, item->routing_key_size);
}

static void
read_fault(struct net_event *event, const struct fault_item *item, struct fault *fault)
{
    struct bytes text = octets_behind(&item->head, item->text);
    assert(text.size > 0);
    assert(text.size <= sizeof(fault->text));
    fault->scope = (enum fault_scope)item->scope;
    fault->reply_code = item->reply_code;
    memcpy(fault->text, text.data, text.size);
    event->fault.fault = fault;
    event->fault.class_id = item->class_id;
    event->fault.method_id = item->method_id;
}

static void
read_opened(struct net_event *event, const struct opened_item *item)
{
    event->opened.peer = item->peer;
}

static void
read_chunk(struct net_event *event, const struct chunk_item *item)
{
    event->chunk = item->notice;
}

/* What only some events have. `fault` is where the facts of a fault go. */
static void
read_event(struct net_event *event, const struct item_head *head, struct fault *fault)
{
    switch (event->type) {
    case NET_EVENT_OPENED:
        read_opened(event, item_of(head, sizeof(struct opened_item)));
        break;
    case NET_EVENT_METHOD:
        event->method.payload = octets_behind(head, head + 1);
        break;
    case NET_EVENT_PUBLISH:
        read_publish(event, item_of(head, offsetof(struct publish_item, octets)));
        break;
    case NET_EVENT_FAULT:
        read_fault(event, item_of(head, offsetof(struct fault_item, text)), fault);
        break;
    case NET_EVENT_WRITTEN:
        event->written.octets = read_number(head);
        break;
    case NET_EVENT_CLOSED:
        event->closed.reason = (enum net_close_reason)read_number(head);
        break;
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
        read_chunk(event, item_of(head, sizeof(struct chunk_item)));
        break;
    case NET_EVENT_LOAN_RETURNED:
        event->returned.loan = read_number(head);
        break;
    }
}

static void
hand_over_event(struct seam_core_end *end, const struct item_head *head,
                const struct net_events *events)
{
    UNINITIALIZED struct fault fault;
    UNINITIALIZED struct net_event event;
    assert(head->type <= NET_EVENT_LOAN_RETURNED);
    event.type = (enum net_event_type)head->type;
    event.channel = head->channel;
    event.link = head->link;
    read_event(&event, head, &fault);
    end->taken_octets += body_octets(&event);
    events->handle(events->context, &event);
}

static void
prefetch_event(struct ring *events)
{
    const struct item_head *ahead = ring_peek(events);
    if (ahead != NULL && ahead->type == NET_EVENT_PUBLISH) {
        prefetch_content(((const struct publish_item *)ahead)->content);
    }
}

size_t
seam_take_events(struct seam_core_end *end, size_t octets_max, const struct net_events *events)
{
    size_t octets = 0;
    const struct item_head *head;
    ring_look(end->events);
    for (int i = 0; i < ITEMS_AHEAD; i++) {
        prefetch_event(end->events);
    }
    while (octets < octets_max && (head = ring_next(end->events)) != NULL) {
        octets += head->item.size;
        prefetch_event(end->events);
        if (head->type == ITEM_TICK) {
            end->passed_tick = read_number(head);
        } else {
            hand_over_event(end, head, events);
        }
    }
    ring_release(end->events);
    return octets;
}
