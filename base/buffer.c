/* SPDX-License-Identifier: Apache-2.0 */
/* Growing, moving and filling buffers. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { BUFFER_CAPACITY_MIN = 64 };

void
buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void
buffer_fini(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer);
}

void
buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->end = 0;
    buffer->failed = false;
}

void
buffer_consume(struct buffer *buffer, size_t size)
{
    assert(size <= buffer_size(buffer));
    buffer->start += size;
    if (buffer->start == buffer->end) {
        buffer->start = 0;
        buffer->end = 0;
    }
}

/* Moves the live octets to the front of the memory. */
static void
slide(struct buffer *buffer)
{
    size_t live = buffer_size(buffer);
    if (live > 0 && buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, live);
    }
    buffer->start = 0;
    buffer->end = live;
}

/* At least doubles the memory, so that filling octet by octet costs a constant each. */
static bool
grow(struct buffer *buffer, size_t capacity_needed)
{
    size_t capacity =
        buffer->capacity < BUFFER_CAPACITY_MIN / 2 ? BUFFER_CAPACITY_MIN / 2 : buffer->capacity;
    capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
    if (capacity < capacity_needed) {
        capacity = capacity_needed;
    }
    uint8_t *data = try_realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

/* buffer_reserve for when there is no room behind the end. */
static uint8_t *
make_room(struct buffer *buffer, size_t size)
{
    size_t live = buffer_size(buffer);
    /* Sliding more than half of the memory could be due again too soon to pay. */
    bool slide_is_enough = buffer->capacity - live >= size && live <= buffer->capacity / 2;
    if (buffer->data == NULL || !slide_is_enough) {
        buffer->failed = size > SIZE_MAX - live || !grow(buffer, live + size);
    }
    if (buffer->failed) {
        return NULL;
    }
    slide(buffer);
    return buffer->data + buffer->end;
}

static inline uint8_t *
reserve(struct buffer *buffer, size_t size)
{
    if (buffer->failed) {
        return NULL;
    }
    if (buffer->data == NULL || buffer->capacity - buffer->end < size) {
        return make_room(buffer, size);
    }
    return buffer->data + buffer->end;
}

uint8_t *
buffer_reserve(struct buffer *buffer, size_t size)
{
    return reserve(buffer, size);
}

/* Inlined, so that the fixed sizes below become single stores. */
static inline void
put(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *at = reserve(buffer, size);
    if (at != NULL) {
        memcpy(at, data, size);
        buffer_commit(buffer, size);
    }
}

void
buffer_put(struct buffer *buffer, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    put(buffer, data, size);
}

void
buffer_put_bytes(struct buffer *buffer, struct bytes bytes)
{
    buffer_put(buffer, bytes.data, bytes.size);
}

void
buffer_put_u8(struct buffer *buffer, uint8_t value)
{
    put(buffer, &value, sizeof(value));
}

void
buffer_put_u16(struct buffer *buffer, uint16_t value)
{
    uint8_t octets[sizeof(value)];
    put_u16(octets, value);
    put(buffer, octets, sizeof(octets));
}

void
buffer_put_u32(struct buffer *buffer, uint32_t value)
{
    uint8_t octets[sizeof(value)];
    put_u32(octets, value);
    put(buffer, octets, sizeof(octets));
}

void
buffer_put_u64(struct buffer *buffer, uint64_t value)
{
    uint8_t octets[sizeof(value)];
    put_u64(octets, value);
    put(buffer, octets, sizeof(octets));
}

void
buffer_put_shortstr(struct buffer *buffer, struct bytes text)
{
    assert(text.size <= UINT8_MAX);
    uint8_t *at = reserve(buffer, 1 + text.size);
    if (at == NULL) {
        return;
    }
    at[0] = (uint8_t)text.size;
    if (text.size > 0) {
        memcpy(at + 1, text.data, text.size);
    }
    buffer_commit(buffer, 1 + text.size);
}

void
buffer_put_longstr(struct buffer *buffer, struct bytes text)
{
    assert(text.size <= UINT32_MAX);
    buffer_put_u32(buffer, (uint32_t)text.size);
    buffer_put_bytes(buffer, text);
}

void
buffer_put_decimal(struct buffer *buffer, uint64_t value)
{
    enum { DIGITS_MAX = 20, BASE = 10 };
    char digits[DIGITS_MAX];
    char *first = digits + sizeof(digits);
    do {
        *--first = (char)('0' + value % BASE);
        value /= BASE;
    } while (value > 0);
    put(buffer, first, (size_t)(digits + sizeof(digits) - first));
}

/* Formats into memory that must hold `size` octets; returns what it takes without the NUL. */
static size_t format_text(uint8_t *at, size_t size, const char *format, va_list arguments)
    PRINTF_LIKE(3, 0);

static size_t
format_text(uint8_t *at, size_t size, const char *format, va_list arguments)
{
    int length = vsnprintf((char *)at, size, format, arguments);
    assert(length >= 0);
    return (size_t)length;
}

void
buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_text(NULL, 0, format, arguments);
    va_end(arguments);
    uint8_t *at = buffer_reserve(buffer, length + 1); /* vsnprintf wants room for its NUL */
    if (at != NULL) {
        va_start(arguments, format);
        buffer_commit(buffer, format_text(at, length + 1, format, arguments));
        va_end(arguments);
    }
}
