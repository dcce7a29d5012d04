/* SPDX-License-Identifier: Apache-2.0 */
/* Copying octets of bodies between page-aligned memories whose offsets a peer chooses. */
#ifndef BOURSE_NET_COPY_H
#define BOURSE_NET_COPY_H

#include "base/assert.h"

#include <stdint.h>
#include <string.h>

enum {
    COPY_PAGE_SIZE = 4096,
    COPY_PIECE_SIZE = 2048,
    COPY_SHIFT_BAD = 64, /* shifts from 1 to 63 octets are bad, 64 and more were measured good */
};

/* memcpy for sizes and offsets that are not ours to choose. From 4 KiB on the C library copies with
 * one string instruction, and on several processors that is 20 times slower when the target lies a
 * few octets above the source modulo the page size: each store then looks like what the next load
 * reads. Pieces under 4 KiB are copied with vector registers, which do not care. */
static inline void
copy_octets(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size == 0) {
        return;
    }
    assert(from != NULL);
    uintptr_t shift = ((uintptr_t)to - (uintptr_t)from) % COPY_PAGE_SIZE;
    if (size < COPY_PAGE_SIZE || shift == 0 || shift >= COPY_SHIFT_BAD) {
        memcpy(to, from, size);
        return;
    }
    while (size > COPY_PIECE_SIZE) {
        memcpy(to, from, COPY_PIECE_SIZE);
        to += COPY_PIECE_SIZE;
        from += COPY_PIECE_SIZE;
        size -= COPY_PIECE_SIZE;
    }
    memcpy(to, from, size);
}

#endif
