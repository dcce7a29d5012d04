/* SPDX-License-Identifier: Apache-2.0 */
/* The content header of class basic: body size, property flags and the values of the present
 * properties (specification, 4.2.6.1). The property block (flags and values) is kept as the octets
 * it came in; only what the broker itself reads is decoded. */
#ifndef BOURSE_AMQP_PROPERTIES_H
#define BOURSE_AMQP_PROPERTIES_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

enum property_flag {
    PROPERTY_CONTENT_TYPE = 1 << 15,
    PROPERTY_CONTENT_ENCODING = 1 << 14,
    PROPERTY_HEADERS = 1 << 13,
    PROPERTY_DELIVERY_MODE = 1 << 12,
    PROPERTY_PRIORITY = 1 << 11,
    PROPERTY_CORRELATION_ID = 1 << 10,
    PROPERTY_REPLY_TO = 1 << 9,
    PROPERTY_EXPIRATION = 1 << 8,
    PROPERTY_MESSAGE_ID = 1 << 7,
    PROPERTY_TIMESTAMP = 1 << 6,
    PROPERTY_TYPE = 1 << 5,
    PROPERTY_USER_ID = 1 << 4,
    PROPERTY_APP_ID = 1 << 3,
    PROPERTY_CLUSTER_ID = 1 << 2,
};

enum { DELIVERY_MODE_TRANSIENT = 1, DELIVERY_MODE_PERSISTENT = 2 };

/* Views into the block; a property whose flag is missing is empty or zero. */
struct properties {
    uint16_t flags; /* of enum property_flag */
    uint8_t delivery_mode;
    uint8_t priority;
    uint64_t timestamp;
    struct bytes content_type;
    struct bytes content_encoding;
    struct bytes headers; /* body of the table */
    struct bytes correlation_id;
    struct bytes reply_to;
    struct bytes expiration;
    struct bytes message_id;
    struct bytes type;
    struct bytes user_id;
    struct bytes app_id;
    struct bytes cluster_id;
};

/* The fixed front of a content header payload. */
struct content_header {
    uint16_t class_id;
    uint64_t body_size;
    struct bytes properties; /* the property block: flag word(s) and values; not yet validated */
};

/* STATUS_FAULT at connection scope: 502 when the payload is too short, 505 when its weight is not
 * 0. */
MUST_CHECK enum status content_header_decode(struct content_header *header, struct bytes payload,
                                             struct fault *fault);

/* Decodes and validates a property block, headers table included (501 for a table that cannot be
 * parsed, 502 for anything else that is cut short, has octets left over or sets an undefined flag).
 * `properties` is written on STATUS_OK only. Never allocates. */
MUST_CHECK enum status properties_decode(struct properties *properties, struct bytes block,
                                         struct fault *fault);

/* The same for a block that was decoded when it came and may have been added to since: its headers
 * may have more fields than a client may send. */
MUST_CHECK enum status properties_decode_kept(struct properties *properties, struct bytes block,
                                              struct fault *fault);

/* The property priority of a block that was decoded when it came; -1: it has none. Reads only what
 * stands in front of it. */
int properties_read_priority(struct bytes block);
static inline int
properties_priority(struct bytes block)
{
    return (get_u16(block.data) & PROPERTY_PRIORITY) == 0 ? -1 : properties_read_priority(block);
}

/* Appends the block for `properties`: flag word and the values whose flags are set. */
void properties_encode(struct buffer *out, const struct properties *properties);

#endif
