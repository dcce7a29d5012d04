/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing, hashing and checking octets. */
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

static bool
is_ascii_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return (word & UINT64_C(0x8080808080808080)) == 0;
}

/* How many of the first octets are surely ASCII: all of them if all are, as in most names and keys,
 * else a multiple of eight. */
static size_t
ascii_prefix(struct bytes bytes)
{
    size_t size = 0;
    for (; bytes.size - size >= sizeof(uint64_t); size += sizeof(uint64_t)) {
        if (!is_ascii_word(bytes.data + size)) {
            return size;
        }
    }
    if (size > 0) {
        /* The last eight once more, which is quicker than the rest one by one. */
        return is_ascii_word(bytes.data + bytes.size - sizeof(uint64_t)) ? bytes.size : size;
    }
    uint8_t seen = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        seen |= bytes.data[i];
    }
    return seen < 0x80 ? bytes.size : 0;
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
