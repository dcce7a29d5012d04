/* SPDX-License-Identifier: Apache-2.0 */
/* One message in memory, as it came over the wire. A content is written once, by a chunk writer
 * (store/chunk_writer.h), and never changed after it was published, so that any thread may read it
 * for as long as the core keeps its chunk (store/chunk.h). */
#ifndef BOURSE_STORE_CONTENT_H
#define BOURSE_STORE_CONTENT_H

#include "base/bytes.h"

#include <stdint.h>

enum chunk_kind {
    CHUNK_KIND_TRANSIENT,
    CHUNK_KIND_PERSISTENT, /* delivery mode 2 */
    CHUNK_KIND_COUNT,
};

enum content_flag {
    CONTENT_PERSISTENT = 1 << 0,  /* delivery mode 2 */
    CONTENT_HAS_HEADERS = 1 << 1, /* the headers table is present */
    CONTENT_HAS_DEATHS = 1 << 2,  /* the broker wrote the x-death in it, not a client */
    CONTENT_IS_REPLAYED = 1 << 3, /* an operator has replayed it since it died last */
};

/* The other bits of `flags` say how many times 8 octets lie behind the body: the keys of the header
 * BCC, which only the broker sees. A short with their number, then each as a longstr; zeros. */
enum { CONTENT_TAIL_SHIFT = 4, CONTENT_TAIL_MAX = (UINT16_MAX >> CONTENT_TAIL_SHIFT) * 8 };

/* One message as it came over the wire: this header, then exchange name, routing key, property
 * block (flag words and values) and body, without gaps, and the tail. Starts 8-byte aligned. */
struct content {
    uint32_t body_size;
    uint32_t properties_size;
    uint16_t flags; /* of enum content_flag, and the size of the tail */
    uint8_t exchange_size;
    uint8_t routing_key_size;
    uint32_t check; /* written by the log's thread; 0 while the content is in no log */
    uint8_t octets[];
};

_Static_assert(sizeof(struct content) == 16, "a content's header is two words");

static inline struct bytes
content_exchange(const struct content *content)
{
    return bytes_make(content->octets, content->exchange_size);
}

static inline struct bytes
content_routing_key(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size, content->routing_key_size);
}

static inline struct bytes
content_properties(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size + content->routing_key_size,
                      content->properties_size);
}

static inline struct bytes
content_body(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size + content->routing_key_size +
                          content->properties_size,
                      content->body_size);
}

/* Octets of the tail, by the flags. */
static inline size_t
content_tail_octets(uint16_t flags)
{
    return (size_t)(flags >> CONTENT_TAIL_SHIFT) * 8;
}

static inline struct bytes
content_tail(const struct content *content)
{
    struct bytes body = content_body(content);
    return bytes_make(body.data + body.size, content_tail_octets(content->flags));
}

/* Octets of the whole content, this header included. */
static inline size_t
content_octets(const struct content *content)
{
    return sizeof(*content) + content->exchange_size + content->routing_key_size +
           content->properties_size + content->body_size + content_tail_octets(content->flags);
}

/* The same by a header at any address. */
static inline size_t
content_octets_at(const uint8_t *header)
{
    struct content content;
    memcpy(&content, header, sizeof(content));
    return content_octets(&content);
}

/* What a content will consist of, known when its header frame has arrived. */
struct content_shape {
    struct bytes exchange;    /* at most 255 octets */
    struct bytes routing_key; /* at most 255 octets */
    struct bytes properties;
    uint32_t body_size;
    enum chunk_kind kind;
    uint16_t flags;    /* of enum content_flag */
    struct bytes tail; /* at most CONTENT_TAIL_MAX octets */
};

#endif
