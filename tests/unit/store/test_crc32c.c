/* SPDX-License-Identifier: Apache-2.0 */
/* The checksum of everything on disk. */
#include "store/crc32c.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/random.h"

enum {
    LONGEST = 3 * 4096 + 100,
};

static uint8_t octets[LONGEST + 16];

static void
set_up(void)
{
    uint64_t state = 20;
    struct random_source random = random_seeded(&state);
    random.fill(random.context, octets, sizeof(octets));
}

TestSuite(crc32c, .init = set_up);

/* The definition, one bit at a time: what both ways have to agree with. */
static uint32_t
reference(uint32_t crc, const uint8_t *at, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
        }
    }
    return ~crc;
}

/* RFC 3720, B.4, and the check value of the catalogues: what any other program computes. */
Test(crc32c, gives_the_published_values)
{
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t rising[32];
    uint8_t falling[32];
    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        rising[i] = i;
        falling[i] = 31 - i;
    }
    const struct {
        const void *data;
        size_t size;
        uint32_t crc;
    } rows[] = {
        {"", 0, 0},
        {"123456789", 9, 0xe3069283},
        {zeros, sizeof(zeros), 0x8a9136aa},
        {ones, sizeof(ones), 0x62a8ab43},
        {rising, sizeof(rising), 0x46dd794e},
        {falling, sizeof(falling), 0x113fdb5c},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(u32, crc32c(0, rows[i].data, rows[i].size), rows[i].crc));
        cr_expect(eq(u32, crc32c_by_tables(0, rows[i].data, rows[i].size), rows[i].crc));
    }
}

static void
expect_all_agree(uint32_t crc, const uint8_t *at, size_t size)
{
    uint32_t right = reference(crc, at, size);
    cr_assert(eq(u32, crc32c_by_tables(crc, at, size), right), "%zu octets by tables", size);
    cr_assert(eq(u32, crc32c(crc, at, size), right), "%zu octets", size);
    if (crc32c_has_instruction()) {
        cr_assert(eq(u32, crc32c_by_instruction(crc, at, size), right), "%zu by instruction", size);
    }
}

/* A log written on one machine is read on another. Every length at which a loop begins or ends is
 * among these. */
Test(crc32c, both_ways_agree_at_every_length_and_alignment)
{
    for (size_t size = 0; size <= 1100; size++) {
        expect_all_agree((uint32_t)(size * 0x9e3779b9), octets + size % 8, size);
    }
    for (size_t size = 1101; size <= LONGEST; size += 61) {
        expect_all_agree(0, octets + size % 16, size);
    }
}

/* A batch is checked in pieces as they lie in memory. */
Test(crc32c, in_pieces_gives_the_same_as_in_one)
{
    uint64_t state = 21;
    struct random_source random = random_seeded(&state);
    for (int round = 0; round < 500; round++) {
        size_t size = random_u64(&random) % LONGEST;
        uint32_t crc = 0;
        for (size_t done = 0; done < size;) {
            size_t piece = random_u64(&random) % (size - done + 1);
            crc = crc32c(crc, octets + done, piece);
            done += piece;
        }
        cr_assert(eq(u32, crc, crc32c_by_tables(0, octets, size)));
    }
}

/* The one promise of a CRC of 32 bits: a burst of up to 32 damaged bits never passes. */
Test(crc32c, any_flipped_bit_changes_it)
{
    uint32_t whole = crc32c(0, octets, 1040);
    for (size_t bit = 0; bit < (size_t)1040 * 8; bit++) {
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(ne(u32, crc32c(0, octets, 1040), whole));
        octets[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
