/* SPDX-License-Identifier: Apache-2.0 */
#include "management/json/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { DIGIT_BITS = 6, OCTET_BITS = 8, GROUP_OCTETS = 3, GROUP_DIGITS = 4 };

static void
put_group(struct buffer *out, const uint8_t *octets, size_t size)
{
    uint32_t bits = (uint32_t)octets[0] << 16;
    bits |= size > 1 ? (uint32_t)octets[1] << 8 : 0;
    bits |= size > 2 ? octets[2] : 0;
    for (size_t i = 0; i < GROUP_DIGITS; i++) {
        uint32_t digit = bits >> (DIGIT_BITS * (GROUP_DIGITS - 1 - i)) & 0x3f;
        buffer_put_u8(out, i <= size ? (uint8_t)digits[digit] : '=');
    }
}

void
base64_put(struct buffer *out, struct bytes octets)
{
    for (size_t at = 0; at < octets.size; at += GROUP_OCTETS) {
        size_t left = octets.size - at;
        put_group(out, octets.data + at, left < GROUP_OCTETS ? left : GROUP_OCTETS);
    }
}

static int
digit_of(uint8_t octet)
{
    const char *at = octet == 0 ? NULL : strchr(digits, octet);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Without the padding. */
static struct bytes
digits_of(struct bytes text)
{
    size_t size = text.size;
    while (size > 0 && text.size - size < 2 && text.data[size - 1] == '=') {
        size--;
    }
    return bytes_make(text.data, size);
}

bool
base64_read(struct buffer *out, struct bytes text)
{
    struct bytes digits_only = digits_of(text);
    uint32_t bits = 0;
    unsigned held = 0;
    if (digits_only.size % GROUP_DIGITS == 1) {
        return false;
    }
    for (size_t i = 0; i < digits_only.size; i++) {
        int digit = digit_of(digits_only.data[i]);
        if (digit < 0) {
            return false;
        }
        bits = bits << DIGIT_BITS | (uint32_t)digit;
        held += DIGIT_BITS;
        if (held >= OCTET_BITS) {
            held -= OCTET_BITS;
            buffer_put_u8(out, (uint8_t)(bits >> held));
        }
    }
    return !out->failed;
}
