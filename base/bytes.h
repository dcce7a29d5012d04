/* SPDX-License-Identifier: Apache-2.0 */
/* Views of octets that somebody else owns, big-endian access to them, and a reader that walks them
 * without ever stepping over the end. */
#ifndef BOURSE_BASE_BYTES_H
#define BOURSE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed run of octets; `data` may be NULL when `size` is 0. Not NUL-terminated. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes
bytes_make(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes
bytes_of(const char *text)
{
    return bytes_make(text, strlen(text));
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

static inline bool
bytes_starts_with(struct bytes bytes, const char *prefix)
{
    size_t size = strlen(prefix);
    return bytes.size >= size && (size == 0 || memcmp(bytes.data, prefix, size) == 0);
}

/* Octet order, shorter first when one is a prefix of the other: <0, 0 or >0. */
int bytes_compare(struct bytes a, struct bytes b);

/* True when `bytes` is well-formed UTF-8 (no overlong forms, surrogates or values over U+10FFFF).
 */
bool bytes_is_utf8(struct bytes bytes);

/* How many octets the UTF-8 character at the front of `bytes` has (1 to 4); 0 when there is no
 * well-formed one, as at the end. */
size_t bytes_utf8_char(struct bytes bytes);

/* The length of the longest prefix of `bytes` of at most `size_max` octets that does not end within
 * a UTF-8 character. */
size_t bytes_utf8_prefix(struct bytes bytes, size_t size_max);

/* Seeded XXH3; for tables whose keys a peer chooses, so that collisions cannot be prepared. */
uint64_t bytes_hash(struct bytes bytes, uint64_t seed);

/* For printf's "%.*s". */
#define BYTES_FORMAT(view) (int)(view).size, (const char *)(view).data

static inline uint16_t
get_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return __builtin_bswap16(value);
}

static inline uint32_t
get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return __builtin_bswap32(value);
}

static inline uint64_t
get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return __builtin_bswap64(value);
}

static inline void
put_u16(uint8_t *at, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(at, &value, sizeof(value));
}

static inline void
put_u32(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof(value));
}

static inline void
put_u64(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof(value));
}

/* Walks octets from front to back. The first read that would step over the end sets `failed`, reads
 * as zero and moves nothing; so does every later one: check `failed` once, after the last read. */
struct byte_reader {
    const uint8_t *next;
    const uint8_t *end;
    bool failed;
};

static inline struct byte_reader
byte_reader_make(struct bytes bytes)
{
    /* Adding even 0 to NULL is undefined. */
    const uint8_t *end = bytes.size == 0 ? bytes.data : bytes.data + bytes.size;
    return (struct byte_reader){.next = bytes.data, .end = end, .failed = false};
}

static inline size_t
byte_reader_left(const struct byte_reader *reader)
{
    return (size_t)(reader->end - reader->next);
}

/* Steps over `size` octets and returns where they are; NULL when there are not as many. */
static inline const uint8_t *
byte_reader_step(struct byte_reader *reader, size_t size)
{
    if (reader->failed || byte_reader_left(reader) < size) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->next;
    if (size > 0) {
        reader->next += size;
    }
    return at;
}

static inline uint8_t
byte_reader_u8(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint8_t));
    return at == NULL ? 0 : *at;
}

static inline uint16_t
byte_reader_u16(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint16_t));
    return at == NULL ? 0 : get_u16(at);
}

static inline uint32_t
byte_reader_u32(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint32_t));
    return at == NULL ? 0 : get_u32(at);
}

static inline uint64_t
byte_reader_u64(struct byte_reader *reader)
{
    const uint8_t *at = byte_reader_step(reader, sizeof(uint64_t));
    return at == NULL ? 0 : get_u64(at);
}

static inline struct bytes
byte_reader_take(struct byte_reader *reader, size_t size)
{
    const uint8_t *at = byte_reader_step(reader, size);
    return bytes_make(at, reader->failed ? 0 : size);
}

/* Octets behind their length; a length that is there without its octets is not read either. */
static inline struct bytes
byte_reader_counted(struct byte_reader *reader, const uint8_t *start, size_t size)
{
    struct bytes text = byte_reader_take(reader, size);
    if (reader->failed) {
        reader->next = start;
    }
    return text;
}

/* An octet of length, then octets. */
static inline struct bytes
byte_reader_shortstr(struct byte_reader *reader)
{
    const uint8_t *start = reader->next;
    size_t size = byte_reader_u8(reader);
    return byte_reader_counted(reader, start, size);
}

/* A length of 32 bits, then octets. */
static inline struct bytes
byte_reader_longstr(struct byte_reader *reader)
{
    const uint8_t *start = reader->next;
    size_t size = byte_reader_u32(reader);
    return byte_reader_counted(reader, start, size);
}

#endif
