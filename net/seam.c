/* SPDX-License-Identifier: Apache-2.0 */
/* How many octets an action becomes. */
#include "net/seam.h"

#include "amqp/frame.h"
#include "base/assert.h"

enum {
    METHOD_IDS_SIZE = 4,
    CONTENT_HEADER_FIXED_SIZE = 12, /* class, weight, body size; the property block follows */
};

/* Into how many frames a body is cut. Nearly all fit one, and a division is slow. */
static uint32_t
body_frame_count(uint32_t body_size, uint32_t piece_max)
{
    if (body_size <= piece_max) {
        return body_size > 0 ? 1 : 0;
    }
    return (body_size - 1) / piece_max + 1;
}

/* Header frame and body frames. */
static uint64_t
content_wire_octets(const struct content *content, uint32_t frame_max)
{
    uint64_t frame_count = body_frame_count(content->body_size, frame_max - FRAME_OVERHEAD);
    return FRAME_OVERHEAD + CONTENT_HEADER_FIXED_SIZE + content->properties_size +
           frame_count * FRAME_OVERHEAD + content->body_size;
}

/* Consumer tag, delivery tag, redelivered, exchange, routing key. */
static uint64_t
deliver_payload_octets(const struct net_action *action)
{
    return METHOD_IDS_SIZE + 1 + action->deliver.consumer_tag.size + 8 + 1 + 1 +
           action->deliver.exchange.size + 1 + action->deliver.routing_key.size;
}

uint64_t
net_action_octets(const struct net_action *action, const struct content *content,
                  uint32_t frame_max)
{
    assert(frame_max > FRAME_OVERHEAD);
    switch (action->type) {
    case NET_ACTION_METHOD:
        return FRAME_OVERHEAD + action->method.payload.size;
    case NET_ACTION_DELIVER:
        return FRAME_OVERHEAD + deliver_payload_octets(action) +
               content_wire_octets(content, frame_max);
    case NET_ACTION_CONTENT:
        return FRAME_OVERHEAD + action->content.payload.size +
               content_wire_octets(content, frame_max);
    case NET_ACTION_TUNE:
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
    case NET_ACTION_CLOSE:
    case NET_ACTION_CHUNK_RETURNED:
        break;
    }
    return 0;
}
