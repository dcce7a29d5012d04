/* SPDX-License-Identifier: Apache-2.0 */
/* Every item begins with a head of two words. What is read here was written by the other half of
 * this file, so it is asserted and never doubted. */
#include "net/seam_ring.h"

#include "base/assert.h"

#include <string.h>

/* The type of a mark: a tick's number, in either direction. */
enum { ITEM_TICK = 0xFF };

enum item_flag {
    ITEM_MANDATORY = 1 << 0,
    ITEM_IMMEDIATE = 1 << 1,
    ITEM_REDELIVERED = 1 << 2,
    ITEM_OWN_EXCHANGE = 1 << 3, /* the content's own: nothing behind the item */
    ITEM_OWN_KEY = 1 << 4,
    ITEM_LOAN = 1 << 5, /* its number is the last that lies behind the item */
};

struct item_head {
    struct ring_item item;
    uint8_t type;  /* of enum net_event_type or net_action_type, or ITEM_TICK */
    uint8_t flags; /* of enum item_flag */
    uint16_t channel;
    uint64_t link;
};

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

struct number_item { /* WRITTEN, CLOSED, LOAN_RETURNED, CLOSE, and marks */
    struct item_head head;
    uint64_t number;
};

struct chunk_item {
    struct item_head head;
    struct chunk_notice notice;
};

struct deliver_item {
    struct item_head head;
    const struct content *content;
    uint64_t delivery_tag;
    uint8_t consumer_tag_size;
    uint8_t exchange_size; /* 0 where it is the content's own */
    uint8_t routing_key_size;
    uint8_t octets[];
};

struct content_item {
    struct item_head head;
    const struct content *content;
    uint8_t payload[];
};

struct tune_item {
    struct item_head head;
    uint32_t frame_max;
    uint16_t heartbeat_s;
};

struct returned_item {
    struct item_head head;
    uint8_t *memory;
    uint64_t capacity;
};

_Static_assert(sizeof(struct item_head) == 16, "an item's head is two words");
_Static_assert(offsetof(struct publish_item, octets) <= 64, "a publish is one cache line");
_Static_assert(offsetof(struct deliver_item, octets) <= 40, "with a usual consumer tag, as well");

/* Pieces -------------------------------------------------------------------------------------- */

static void *
append_head(struct ring *ring, size_t size, unsigned int type, uint16_t channel, uint64_t link)
{
    struct item_head *head = ring_append(ring, size);
    head->type = (uint8_t)type;
    head->flags = 0;
    head->channel = channel;
    head->link = link;
    return head;
}

static void *
append_event(struct ring *ring, size_t size, const struct net_event *event)
{
    return append_head(ring, size, event->type, event->channel, event->link);
}

static void *
append_action(struct ring *ring, size_t size, const struct net_action *action)
{
    return append_head(ring, size, action->type, action->channel, action->link);
}

static void
append_tick(struct ring *ring, uint64_t tick)
{
    struct number_item *item = append_head(ring, sizeof(*item), ITEM_TICK, 0, 0);
    item->number = tick;
}

static uint8_t *
put_octets(uint8_t *at, struct bytes octets)
{
    if (octets.size > 0) {
        memcpy(at, octets.data, octets.size);
    }
    return at + octets.size;
}

/* The item behind `head`, of which at least `size` octets must be there. */
static const void *
item_of(const struct item_head *head, size_t size)
{
    assert(head->item.size >= size);
    return head;
}

/* The octets of `item` from `at` on. */
static struct bytes
octets_behind(const struct item_head *item, const void *at)
{
    size_t before = (size_t)((const uint8_t *)at - (const uint8_t *)item);
    assert(before <= item->item.size);
    return bytes_make(at, item->item.size - before);
}

static uint64_t
read_number(const struct item_head *head)
{
    const struct number_item *item = item_of(head, sizeof(*item));
    return item->number;
}

static struct bytes
take_octets(struct bytes *left, size_t size)
{
    assert(size <= left->size);
    struct bytes taken = bytes_make(left->data, size);
    *left = bytes_make(left->data + size, left->size - size);
    return taken;
}

/* Behind everything else that lies behind an item. */
static void
put_loan(uint8_t *at, uint64_t loan)
{
    if (loan != 0) {
        memcpy(at, &loan, sizeof(loan));
    }
}

static size_t
loan_size(uint64_t loan)
{
    return loan != 0 ? sizeof(loan) : 0;
}

/* Takes the number of the loan off the end of what lies behind an item; 0: there is none. */
static uint64_t
take_loan(struct bytes *octets, const struct item_head *head)
{
    uint64_t loan = 0;
    if ((head->flags & ITEM_LOAN) != 0) {
        assert(octets->size >= sizeof(loan));
        octets->size -= sizeof(loan);
        memcpy(&loan, octets->data + octets->size, sizeof(loan));
    }
    return loan;
}

/* Not what they say but where they lie: who names the content's own did not copy it. */
static bool
is_same_view(struct bytes a, struct bytes b)
{
    return a.data == b.data && a.size == b.size;
}

/* Events in ----------------------------------------------------------------------------------- */

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

/* Events out ---------------------------------------------------------------------------------- */

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

/* Contents whose items come next are on their way while what is in front of them is handled: they
 * were written on another processor, or some time ago. */
enum { ITEMS_AHEAD = 8, FRONT_SIZE = 40 };

static void
prefetch_content(const struct content *content)
{
    if (content != NULL) {
        __builtin_prefetch(content);
        /* Names and properties of usual size, mostly in the same line. */
        __builtin_prefetch((const uint8_t *)content + FRONT_SIZE);
    }
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

/* Actions in ---------------------------------------------------------------------------------- */

static void
post_method_action(struct ring *ring, const struct net_action *action)
{
    struct bytes payload = action->method.payload;
    struct item_head *head = append_action(ring, sizeof(*head) + payload.size, action);
    put_octets((uint8_t *)(head + 1), payload);
}

static void
post_deliver(struct ring *ring, const struct net_action *action)
{
    const struct content *content = action->deliver.content;
    struct bytes tag = action->deliver.consumer_tag;
    struct bytes exchange = action->deliver.exchange;
    struct bytes routing_key = action->deliver.routing_key;
    unsigned int flags = (action->deliver.redelivered ? ITEM_REDELIVERED : 0U) |
                         (action->loan != 0 ? ITEM_LOAN : 0U);
    if (is_same_view(exchange, content_exchange(content))) {
        flags |= ITEM_OWN_EXCHANGE;
        exchange.size = 0;
    }
    if (is_same_view(routing_key, content_routing_key(content))) {
        flags |= ITEM_OWN_KEY;
        routing_key.size = 0;
    }
    struct deliver_item *item =
        append_action(ring,
                      offsetof(struct deliver_item, octets) + tag.size + exchange.size +
                          routing_key.size + loan_size(action->loan),
                      action);
    item->head.flags = (uint8_t)flags;
    item->content = content;
    item->delivery_tag = action->deliver.delivery_tag;
    item->consumer_tag_size = (uint8_t)tag.size;
    item->exchange_size = (uint8_t)exchange.size;
    item->routing_key_size = (uint8_t)routing_key.size;
    uint8_t *end = put_octets(put_octets(put_octets(item->octets, tag), exchange), routing_key);
    put_loan(end, action->loan);
}

static void
post_content(struct ring *ring, const struct net_action *action)
{
    struct bytes payload = action->content.payload;
    struct content_item *item =
        append_action(ring, sizeof(*item) + payload.size + loan_size(action->loan), action);
    item->head.flags = action->loan != 0 ? ITEM_LOAN : 0;
    item->content = action->content.content;
    put_loan(put_octets(item->payload, payload), action->loan);
}

static void
post_tune(struct ring *ring, const struct net_action *action)
{
    struct tune_item *item = append_action(ring, sizeof(*item), action);
    item->frame_max = action->tune.frame_max;
    item->heartbeat_s = action->tune.heartbeat_s;
}

static void
post_returned(struct ring *ring, const struct net_action *action)
{
    struct returned_item *item = append_action(ring, sizeof(*item), action);
    item->memory = action->chunk_returned.memory;
    item->capacity = action->chunk_returned.capacity;
}

static void
post_close(struct ring *ring, const struct net_action *action)
{
    struct number_item *item = append_action(ring, sizeof(*item), action);
    item->number = action->close.linger_ms;
}

void
seam_post_action(struct seam_core_end *end, const struct net_action *action)
{
    struct ring *ring = end->actions;
    switch (action->type) {
    case NET_ACTION_METHOD:
        post_method_action(ring, action);
        break;
    case NET_ACTION_DELIVER:
        post_deliver(ring, action);
        end->names_content = true;
        break;
    case NET_ACTION_CONTENT:
        post_content(ring, action);
        end->names_content = true;
        break;
    case NET_ACTION_TUNE:
        post_tune(ring, action);
        break;
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
        (void)append_action(ring, sizeof(struct item_head), action);
        break;
    case NET_ACTION_CLOSE:
        post_close(ring, action);
        break;
    case NET_ACTION_CHUNK_RETURNED:
        post_returned(ring, action);
        break;
    }
}

/* Actions out --------------------------------------------------------------------------------- */

static void
read_deliver(struct net_action *action, const struct deliver_item *item)
{
    struct bytes octets = octets_behind(&item->head, item->octets);
    action->loan = take_loan(&octets, &item->head);
    action->deliver.content = item->content;
    action->deliver.delivery_tag = item->delivery_tag;
    action->deliver.redelivered = (item->head.flags & ITEM_REDELIVERED) != 0;
    action->deliver.consumer_tag = take_octets(&octets, item->consumer_tag_size);
    action->deliver.exchange = (item->head.flags & ITEM_OWN_EXCHANGE) != 0
                                   ? content_exchange(item->content)
                                   : take_octets(&octets, item->exchange_size);
    action->deliver.routing_key = (item->head.flags & ITEM_OWN_KEY) != 0
                                      ? content_routing_key(item->content)
                                      : take_octets(&octets, item->routing_key_size);
}

static void
read_content(struct net_action *action, const struct content_item *item)
{
    struct bytes octets = octets_behind(&item->head, item->payload);
    action->loan = take_loan(&octets, &item->head);
    action->content.content = item->content;
    action->content.payload = octets;
}

static void
read_tune(struct net_action *action, const struct tune_item *item)
{
    action->tune.frame_max = item->frame_max;
    action->tune.heartbeat_s = item->heartbeat_s;
}

static void
read_returned(struct net_action *action, const struct returned_item *item)
{
    action->chunk_returned.memory = item->memory;
    action->chunk_returned.capacity = item->capacity;
}

/* What only some actions have. */
static void
read_action(struct net_action *action, const struct item_head *head)
{
    switch (action->type) {
    case NET_ACTION_METHOD:
        action->method.payload = octets_behind(head, head + 1);
        break;
    case NET_ACTION_DELIVER:
        read_deliver(action, item_of(head, offsetof(struct deliver_item, octets)));
        break;
    case NET_ACTION_CONTENT:
        read_content(action, item_of(head, sizeof(struct content_item)));
        break;
    case NET_ACTION_TUNE:
        read_tune(action, item_of(head, sizeof(struct tune_item)));
        break;
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
        break;
    case NET_ACTION_CLOSE:
        action->close.linger_ms = (uint32_t)read_number(head);
        break;
    case NET_ACTION_CHUNK_RETURNED:
        read_returned(action, item_of(head, sizeof(struct returned_item)));
        break;
    }
}

static void
hand_over_action(const struct item_head *head, const struct net_port *port)
{
    UNINITIALIZED struct net_action action;
    assert(head->type <= NET_ACTION_CHUNK_RETURNED);
    action.type = (enum net_action_type)head->type;
    action.channel = head->channel;
    action.link = head->link;
    action.loan = 0;
    read_action(&action, head);
    port->post(port->context, &action);
}

static void
prefetch_action(struct ring *actions)
{
    const struct item_head *ahead = ring_peek(actions);
    if (ahead != NULL && ahead->type == NET_ACTION_DELIVER) {
        prefetch_content(((const struct deliver_item *)ahead)->content);
    }
}

size_t
seam_take_actions(struct seam_network_end *end, size_t octets_max, const struct net_port *port)
{
    size_t octets = 0;
    const struct item_head *head;
    ring_look(end->actions);
    for (int i = 0; i < ITEMS_AHEAD; i++) {
        prefetch_action(end->actions);
    }
    while (octets < octets_max && (head = ring_next(end->actions)) != NULL) {
        octets += head->item.size;
        prefetch_action(end->actions);
        if (head->type == ITEM_TICK) {
            end->taken_tick = read_number(head);
        } else {
            hand_over_action(head, port);
        }
    }
    ring_release(end->actions);
    return octets;
}

/* Marks --------------------------------------------------------------------------------------- */

void
seam_network_end_init(struct seam_network_end *end, struct ring *events, struct ring *actions)
{
    *end = (struct seam_network_end){.events = events, .actions = actions};
}

void
seam_core_end_init(struct seam_core_end *end, struct ring *events, struct ring *actions)
{
    *end = (struct seam_core_end){.events = events, .actions = actions};
}

void
seam_report_passed(struct seam_network_end *end)
{
    if (end->passed_tick == end->taken_tick) {
        return;
    }
    end->passed_tick = end->taken_tick;
    append_tick(end->events, end->passed_tick);
}

void
seam_flush_actions(struct seam_core_end *end, uint64_t tick)
{
    bool is_waiting = end->passed_tick != end->named_tick;
    assert(tick > end->named_tick);
    if (!is_waiting) {
        /* Nothing is on its way, so the network reads nothing of earlier ticks. */
        end->passed_tick = end->names_content ? tick - 1 : tick;
    }
    if (end->names_content || !is_waiting) {
        end->named_tick = tick;
    }
    if (end->names_content) {
        append_tick(end->actions, tick);
        end->names_content = false;
    }
    ring_flush(end->actions);
}
