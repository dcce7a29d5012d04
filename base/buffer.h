/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of octets with a consumed front: what a socket has not taken yet, a method being
 * encoded, a table being built. */
#ifndef BOURSE_BASE_BUFFER_H
#define BOURSE_BASE_BUFFER_H

#include "base/bytes.h"
#include "base/status.h"

/* `data + start` to `data + end` are the live octets. All zero is an empty buffer that holds no
 * memory. A reservation that fails sets `failed`, drops what was to be put, and so does every later
 * put: check `failed` once, at the end. */
struct buffer {
    uint8_t *data; /* owned */
    size_t start;
    size_t end;
    size_t capacity;
    bool failed;
};

void buffer_init(struct buffer *buffer);
void buffer_fini(struct buffer *buffer); /* also makes it empty again */

static inline size_t
buffer_size(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline struct bytes
buffer_bytes(const struct buffer *buffer)
{
    /* Adding even 0 to NULL is undefined. */
    if (buffer->data == NULL) {
        return bytes_make(NULL, 0);
    }
    return bytes_make(buffer->data + buffer->start, buffer_size(buffer));
}

/* Makes room for `size` more octets at the end, moving or growing; returns where they go, or NULL
 * (and sets `failed`) when there is no memory. Nothing is added until buffer_commit. Views of the
 * content end here. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);

static inline void
buffer_commit(struct buffer *buffer, size_t size)
{
    buffer->end += size;
}

/* Takes `size` octets off the front; there are as many. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Forgets the content and a failure, keeps the memory. */
void buffer_clear(struct buffer *buffer);

void buffer_put(struct buffer *buffer, const void *data, size_t size);
void buffer_put_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_put_u8(struct buffer *buffer, uint8_t value);
void buffer_put_u16(struct buffer *buffer, uint16_t value);
void buffer_put_u32(struct buffer *buffer, uint32_t value);
void buffer_put_u64(struct buffer *buffer, uint64_t value);
void buffer_put_shortstr(struct buffer *buffer, struct bytes text); /* asserts size <= 255 */
void buffer_put_longstr(struct buffer *buffer, struct bytes text);  /* asserts size < 2^32 */

/* Appends a number in decimal digits; printf takes ten times as long. */
void buffer_put_decimal(struct buffer *buffer, uint64_t value);

/* Appends text without its NUL. */
void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
