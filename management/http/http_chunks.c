/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/http_chunks.h"

enum { DIGITS_MAX = 15, HEX = 16 };

/* -1: it is no digit. */
static int
digit_of(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }
    uint8_t small = octet | 0x20;
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

static enum http_chunks_state
take_of_size(struct http_chunks *chunks, uint8_t octet)
{
    int digit = digit_of(octet);
    if (digit >= 0 && chunks->digits < DIGITS_MAX) {
        chunks->digits++;
        chunks->left = chunks->left * HEX + (uint64_t)digit;
        return CHUNKS_SIZE;
    }
    if (chunks->digits == 0 || digit >= 0) {
        return CHUNKS_BAD;
    }
    return octet == '\r' ? CHUNKS_SIZE_ENDS : CHUNKS_BAD;
}

static enum http_chunks_state
end_size(struct http_chunks *chunks)
{
    chunks->digits = 0;
    return chunks->left == 0 ? CHUNKS_END : CHUNKS_DATA;
}

/* Anything but octets of a chunk. */
static enum http_chunks_state
take_octet(struct http_chunks *chunks, uint8_t octet)
{
    switch (chunks->state) {
    case CHUNKS_SIZE_BEGINS:
    case CHUNKS_SIZE:
        return take_of_size(chunks, octet);
    case CHUNKS_SIZE_ENDS:
        return octet == '\n' ? end_size(chunks) : CHUNKS_BAD;
    case CHUNKS_DATA_ENDS:
        return octet == '\r' ? CHUNKS_DATA_ENDED : CHUNKS_BAD;
    case CHUNKS_DATA_ENDED:
        return octet == '\n' ? CHUNKS_SIZE_BEGINS : CHUNKS_BAD;
    case CHUNKS_END:
        return octet == '\r' ? CHUNKS_ENDED : CHUNKS_BAD;
    case CHUNKS_ENDED:
        return octet == '\n' ? CHUNKS_OVER : CHUNKS_BAD;
    case CHUNKS_DATA:
    case CHUNKS_OVER:
    case CHUNKS_BAD:
        break;
    }
    return chunks->state;
}

/* How many of them are octets of the chunk. */
static size_t
take_data(struct http_chunks *chunks, size_t size)
{
    size_t taken = size < chunks->left ? size : (size_t)chunks->left;
    chunks->left -= taken;
    if (chunks->left == 0) {
        chunks->state = CHUNKS_DATA_ENDS;
    }
    return taken;
}

void
http_chunks_take(struct http_chunks *chunks, struct bytes octets)
{
    size_t at = 0;
    while (at < octets.size && chunks->state != CHUNKS_OVER && chunks->state != CHUNKS_BAD) {
        if (chunks->state == CHUNKS_DATA) {
            at += take_data(chunks, octets.size - at);
        } else {
            chunks->state = take_octet(chunks, octets.data[at++]);
        }
    }
}
