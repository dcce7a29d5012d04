/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/body.h"

#include "tests/sim/dice.h"

static const uint64_t NUMBER_SALT = UINT64_C(0x0b0e5e) << 32;

static uint64_t
word_at(uint32_t number, uint32_t at)
{
    if (at == 0) {
        return NUMBER_SALT << 8 | number;
    }
    return dice_mix((uint64_t)number << 32 | at);
}

void
body_fill(uint8_t *out, uint32_t number, uint32_t size)
{
    for (uint32_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = word_at(number, at);
        memcpy(out + at, &word, size - at < sizeof(word) ? size - at : sizeof(word));
    }
}

uint32_t
body_number(struct bytes body)
{
    uint64_t word;
    if (body.size < sizeof(word)) {
        return UINT32_MAX;
    }
    memcpy(&word, body.data, sizeof(word));
    return (word ^ NUMBER_SALT << 8) <= UINT32_MAX ? (uint32_t)word : UINT32_MAX;
}

bool
body_is_right(struct bytes body, uint32_t number, uint32_t size)
{
    if (body.size != size) {
        return false;
    }
    for (uint32_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word = word_at(number, at);
        size_t part = size - at < sizeof(word) ? size - at : sizeof(word);
        if (memcmp(body.data + at, &word, part) != 0) {
            return false;
        }
    }
    return true;
}
