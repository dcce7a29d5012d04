/* SPDX-License-Identifier: Apache-2.0 */
/* Integers as they stand on disk: the lowest octet first, at any address. */
#ifndef BOURSE_STORE_LITTLE_ENDIAN_H
#define BOURSE_STORE_LITTLE_ENDIAN_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "contents and integers are written as they lie in memory");

static inline uint16_t
get_u16_le(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t
get_u32_le(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t
get_u64_le(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline void
put_u16_le(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void
put_u32_le(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void
put_u64_le(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

#endif
