/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing, hashing, checking and reading octets. */
#include "base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

int
bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

uint64_t
bytes_hash(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

/* UTF-8 (RFC 3629) --------------------------------------------------------------------------- */

static bool
is_continuation(uint8_t octet)
{
    return (octet & 0xC0) == 0x80;
}

/* How many octets a character that begins with `lead` has; 0 when none begins so. */
static size_t
utf8_length(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return 3;
    }
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* Some leads narrow what may follow: no overlong forms, no surrogates, nothing over U+10FFFF. */
static bool
utf8_second_is_allowed(uint8_t lead, uint8_t second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second <= 0x9F;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second <= 0x8F;
    default:
        return true;
    }
}

size_t
bytes_utf8_char(struct bytes bytes)
{
    size_t length = bytes.size == 0 ? 0 : utf8_length(bytes.data[0]);
    if (length > bytes.size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(bytes.data[i])) {
            return 0;
        }
    }
    if (length > 1 && !utf8_second_is_allowed(bytes.data[0], bytes.data[1])) {
        return 0;
    }
    return length;
}

/* How many of the first octets are ASCII, in steps of eight: names and keys mostly are. */
static size_t
ascii_prefix(struct bytes bytes)
{
    size_t size = 0;
    for (; bytes.size - size >= sizeof(uint64_t); size += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes.data + size, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    return size;
}

bool
bytes_is_utf8(struct bytes bytes)
{
    size_t at = ascii_prefix(bytes);
    while (at < bytes.size) {
        size_t length = bytes_utf8_char(bytes_make(bytes.data + at, bytes.size - at));
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

size_t
bytes_utf8_prefix(struct bytes bytes, size_t size_max)
{
    size_t size = bytes.size < size_max ? bytes.size : size_max;
    size_t tail = 0; /* octets from the last lead to the end, but for the lead */
    while (tail < 3 && tail + 1 < size && is_continuation(bytes.data[size - 1 - tail])) {
        tail++;
    }
    if (size > 0 && utf8_length(bytes.data[size - 1 - tail]) > tail + 1) {
        return size - 1 - tail;
    }
    return size;
}

/* Reader ------------------------------------------------------------------------------------- */

/* Steps over `size` octets and returns where they are; NULL when there are not as many. */
static const uint8_t *
step(struct byte_reader *reader, size_t size)
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

uint8_t
byte_reader_u8(struct byte_reader *reader)
{
    const uint8_t *at = step(reader, sizeof(uint8_t));
    return at == NULL ? 0 : *at;
}

uint16_t
byte_reader_u16(struct byte_reader *reader)
{
    const uint8_t *at = step(reader, sizeof(uint16_t));
    return at == NULL ? 0 : get_u16(at);
}

uint32_t
byte_reader_u32(struct byte_reader *reader)
{
    const uint8_t *at = step(reader, sizeof(uint32_t));
    return at == NULL ? 0 : get_u32(at);
}

uint64_t
byte_reader_u64(struct byte_reader *reader)
{
    const uint8_t *at = step(reader, sizeof(uint64_t));
    return at == NULL ? 0 : get_u64(at);
}

struct bytes
byte_reader_take(struct byte_reader *reader, size_t size)
{
    const uint8_t *at = step(reader, size);
    return bytes_make(at, at == NULL ? 0 : size);
}

struct bytes
byte_reader_shortstr(struct byte_reader *reader)
{
    const uint8_t *start = reader->next;
    size_t size = byte_reader_u8(reader);
    struct bytes text = byte_reader_take(reader, size);
    if (reader->failed) {
        reader->next = start;
    }
    return text;
}

struct bytes
byte_reader_longstr(struct byte_reader *reader)
{
    const uint8_t *start = reader->next;
    size_t size = byte_reader_u32(reader);
    struct bytes text = byte_reader_take(reader, size);
    if (reader->failed) {
        reader->next = start;
    }
    return text;
}
