/* SPDX-License-Identifier: Apache-2.0 */
/* Copying with every shift, those that are copied in pieces included. */
#include "net/copy.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"

TestSuite(copy);

Test(copy, octets_arrive_whatever_the_shift_and_the_size)
{
    enum { SIZE = 9000, ROOM = SIZE + 4096 };
    static const size_t sizes[] = {0, 1, 2047, 2048, 4095, 4096, 4097, 6144, SIZE};
    static const size_t shifts[] = {0, 1, 16, 63, 64, 65, 2048, 4095};
    uint8_t *from = aligned_alloc(4096, 5 * 4096);
    uint8_t *to = aligned_alloc(4096, 5 * 4096);
    for (size_t i = 0; i < SIZE; i++) {
        from[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(shifts); i++) {
        size_t size = sizes[i % ARRAY_LEN(sizes)];
        size_t shift = shifts[i / ARRAY_LEN(sizes)];
        memset(to, 0xEE, ROOM);
        copy_octets(to + shift, from, size);
        cr_expect(zero(int, memcmp(to + shift, from, size)), "%zu octets by %zu", size, shift);
        cr_expect(eq(u8, to[shift + size], 0xEE), "%zu octets by %zu", size, shift);
    }
    free(from);
    free(to);
}
