/* SPDX-License-Identifier: Apache-2.0 */
/* Actions, from the core to a network. */
#include "net/seam_items.h"

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

_Static_assert(offsetof(struct deliver_item, octets) <= 40,
               "with a usual consumer tag a delivery is one cache line");

static void *
append_action(struct ring *ring, size_t size, const struct net_action *action)
{
    return append_head(ring, size, action->type, action->channel, action->link);
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

/* In ------------------------------------------------------------------------------------------- */

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

/* Out ------------------------------------------------------------------------------------------ */

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
