/* SPDX-License-Identifier: Apache-2.0 */
/* Each step proves that the next octets are there before it looks at them. */
#include "net/whole_publish.h"

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/properties.h"

enum {
    PUBLISH_IDS = CLASS_BASIC << 16 | 40,
    PUBLISH_FIXED_SIZE = 4 + 2 + 1 + 1 + 1, /* ids, ticket, two lengths, bits */
    HEADER_FIXED_SIZE = 2 + 2 + 8 + 2,      /* class, weight, body size, flags */
    BIT_MANDATORY = 1,
    BIT_IMMEDIATE = 2,
};

/* The payload of the whole frame at the front of `*octets`, which moves behind it. False when the
 * frame is not all there or anything about it is unusual. */
static inline bool
take_frame(struct bytes *octets, enum frame_type type, uint16_t channel, uint32_t frame_max,
           struct bytes *payload_out)
{
    if (octets->size < FRAME_OVERHEAD || octets->data[0] != type ||
        get_u16(octets->data + 1) != channel) {
        return false;
    }
    size_t size = get_u32(octets->data + 3);
    if (size > frame_max - FRAME_OVERHEAD || size > octets->size - FRAME_OVERHEAD ||
        octets->data[FRAME_HEADER_SIZE + size] != FRAME_END) {
        return false;
    }
    *payload_out = bytes_make(octets->data + FRAME_HEADER_SIZE, size);
    *octets =
        bytes_make(octets->data + FRAME_OVERHEAD + size, octets->size - FRAME_OVERHEAD - size);
    return true;
}

static inline bool
read_method(struct whole_publish *publish, struct bytes payload)
{
    if (payload.size < PUBLISH_FIXED_SIZE || get_u32(payload.data) != PUBLISH_IDS) {
        return false;
    }
    const uint8_t *at = payload.data + 6; /* behind ids and ticket */
    size_t room = payload.size - PUBLISH_FIXED_SIZE;
    if (at[0] > room) {
        return false;
    }
    publish->shape.exchange = bytes_make(at + 1, at[0]);
    at += 1 + at[0];
    room -= publish->shape.exchange.size;
    if (at[0] != room) {
        return false;
    }
    publish->shape.routing_key = bytes_make(at + 1, at[0]);
    uint8_t bits = at[1 + at[0]];
    publish->mandatory = (bits & BIT_MANDATORY) != 0;
    publish->immediate = (bits & BIT_IMMEDIATE) != 0;
    return bytes_is_utf8(publish->shape.exchange) && bytes_is_utf8(publish->shape.routing_key);
}

/* Fills the properties and the size of the body. */
static inline bool
read_header(struct whole_publish *publish, struct bytes payload, uint64_t *body_size_out)
{
    if (payload.size < HEADER_FIXED_SIZE || get_u32(payload.data) != (uint32_t)CLASS_BASIC << 16) {
        return false;
    }
    *body_size_out = get_u64(payload.data + 4);
    publish->shape.properties = bytes_make(payload.data + 12, payload.size - 12);
    return true;
}

bool
whole_publish_decode(struct whole_publish *publish, struct bytes octets, uint32_t frame_max)
{
    if (octets.size < FRAME_OVERHEAD) {
        return false;
    }
    size_t size = octets.size;
    uint16_t channel = get_u16(octets.data + 1);
    uint64_t body_size;
    struct bytes payload;
    if (channel == 0 || !take_frame(&octets, FRAME_TYPE_METHOD, channel, frame_max, &payload) ||
        !read_method(publish, payload) ||
        !take_frame(&octets, FRAME_TYPE_HEADER, channel, frame_max, &payload) ||
        !read_header(publish, payload, &body_size)) {
        return false;
    }
    struct bytes body = bytes_make(octets.data, 0);
    if (body_size > 0 && (!take_frame(&octets, FRAME_TYPE_BODY, channel, frame_max, &body) ||
                          body.size != body_size)) {
        return false;
    }
    publish->shape.body_size = (uint32_t)body.size;
    publish->body = body.data;
    publish->channel = channel;
    publish->size = size - octets.size;
    return true;
}

bool
whole_publish_is_plain(struct bytes properties, uint8_t *delivery_mode_out)
{
    uint16_t flags = get_u16(properties.data);
    size_t mode_size = (flags & PROPERTY_DELIVERY_MODE) != 0 ? 1 : 0;
    size_t priority_size = (flags & PROPERTY_PRIORITY) != 0 ? 1 : 0;
    if ((flags & ~(PROPERTY_DELIVERY_MODE | PROPERTY_PRIORITY)) != 0 ||
        properties.size != 2 + mode_size + priority_size) {
        return false;
    }
    *delivery_mode_out = mode_size > 0 ? properties.data[2] : 0;
    return true;
}
