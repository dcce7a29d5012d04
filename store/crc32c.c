/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C, reflected, polynomial 0x82f63b78. All tables follow from a few constants: what a table
 * says of an octet is the exclusive or of what it says of the octet's bits, because the checksum is
 * linear. The compiler fills them in. */
#include "store/crc32c.h"

#include <endian.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* 256 entries from those of the octets 1, 2, 4, ... 128. */
#define OCTET(a, b, c, d, e, f, g, h)                                                              \
    {                                                                                              \
        OCTET_8(0U, a, b, c, d, e, f, g, h)                                                        \
    }
#define OCTET_8(x, a, b, c, d, e, f, g, h)                                                         \
    OCTET_7(x, a, b, c, d, e, f, g), OCTET_7((x) ^ (h), a, b, c, d, e, f, g)
#define OCTET_7(x, a, b, c, d, e, f, g)                                                            \
    OCTET_6(x, a, b, c, d, e, f), OCTET_6((x) ^ (g), a, b, c, d, e, f)
#define OCTET_6(x, a, b, c, d, e, f) OCTET_5(x, a, b, c, d, e), OCTET_5((x) ^ (f), a, b, c, d, e)
#define OCTET_5(x, a, b, c, d, e) OCTET_4(x, a, b, c, d), OCTET_4((x) ^ (e), a, b, c, d)
#define OCTET_4(x, a, b, c, d) OCTET_3(x, a, b, c), OCTET_3((x) ^ (d), a, b, c)
#define OCTET_3(x, a, b, c) OCTET_2(x, a, b), OCTET_2((x) ^ (c), a, b)
#define OCTET_2(x, a, b) OCTET_1(x, a), OCTET_1((x) ^ (b), a)
#define OCTET_1(x, a) (x), (x) ^ (a)

/* [n][octet]: the checksum after the octet and n octets of zero. */
static const uint32_t SLICES[8][256] = {
    OCTET(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
          0x82f63b78),
    OCTET(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
          0xfbc3faf9),
    OCTET(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
          0x8b277743),
    OCTET(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
          0x52a0c93f),
    OCTET(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
          0x6ea2d55c),
    OCTET(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
          0x1c08b7d6),
    OCTET(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
          0xf56e0ef4),
    OCTET(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
          0x34019664),
};

static uint64_t
load_u64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

uint32_t
crc32c_by_tables(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word = load_u64(at) ^ crc;
        crc = SLICES[7][word & 0xff] ^ SLICES[6][word >> 8 & 0xff] ^ SLICES[5][word >> 16 & 0xff] ^
              SLICES[4][word >> 24 & 0xff] ^ SLICES[3][word >> 32 & 0xff] ^
              SLICES[2][word >> 40 & 0xff] ^ SLICES[1][word >> 48 & 0xff] ^ SLICES[0][word >> 56];
    }
    for (; size > 0; size--, at++) {
        crc = SLICES[0][(crc ^ *at) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

#if defined(__x86_64__)

/* Long enough that joining costs little, short enough that a message of half a KiB gains. */
enum {
    STRIDE_SHORT = 168,
    STRIDE_LONG = 1360,
};

/* [n][octet]: the octet at place n of a checksum, then a stride of zeros. */
static const uint32_t OVER_SHORT[4][256] = {
    OCTET(0xdaece73e, 0xb035b88d, 0x658707eb, 0xcb0e0fd6, 0x93f0695d, 0x220ca44b, 0x44194896,
          0x8832912c),
    OCTET(0x158954a9, 0x2b12a952, 0x562552a4, 0xac4aa548, 0x5d793c61, 0xbaf278c2, 0x70088775,
          0xe0110eea),
    OCTET(0xc5ce6b25, 0x8e70a0bb, 0x190d3787, 0x321a6f0e, 0x6434de1c, 0xc869bc38, 0x953f0e81,
          0x2f926bf3),
    OCTET(0x5f24d7e6, 0xbe49afcc, 0x797f2969, 0xf2fe52d2, 0xe010d355, 0xc5cdd05b, 0x8e77d647,
          0x1903da7f),
};

static const uint32_t OVER_LONG[4][256] = {
    OCTET(0x79113270, 0xf22264e0, 0xe1a8bf31, 0xc6bd0893, 0x889667d7, 0x14c0b95f, 0x298172be,
          0x5302e57c),
    OCTET(0xa605caf8, 0x49e7e301, 0x93cfc602, 0x2273faf5, 0x44e7f5ea, 0x89cfebd4, 0x1673a159,
          0x2ce742b2),
    OCTET(0x59ce8564, 0xb39d0ac8, 0x62d66361, 0xc5acc6c2, 0x8eb5fb75, 0x1887801b, 0x310f0036,
          0x621e006c),
    OCTET(0xc43c00d8, 0x8d947741, 0x1ec49873, 0x3d8930e6, 0x7b1261cc, 0xf624c398, 0xe9a5f1c1,
          0xd6a79573),
};

#define WITH_INSTRUCTION __attribute__((target("sse4.2")))

static uint64_t
shifted(const uint32_t over[4][256], uint64_t crc)
{
    return over[0][crc & 0xff] ^ over[1][crc >> 8 & 0xff] ^ over[2][crc >> 16 & 0xff] ^
           over[3][crc >> 24 & 0xff];
}

/* Three streams of `stride` octets side by side: the instruction takes three cycles, and one can
 * begin in each. `over` shifts a checksum over `stride` octets of zero. */
WITH_INSTRUCTION static uint64_t
three_streams(uint64_t crc, const uint8_t *at, size_t stride, const uint32_t over[4][256])
{
    uint64_t second = 0;
    uint64_t third = 0;
    for (const uint8_t *end = at + stride; at < end; at += 8) {
        crc = _mm_crc32_u64(crc, load_u64(at));
        second = _mm_crc32_u64(second, load_u64(at + stride));
        third = _mm_crc32_u64(third, load_u64(at + 2 * stride));
    }
    return shifted(over, shifted(over, crc) ^ second) ^ third;
}

/* Fewer octets than three short streams. */
WITH_INSTRUCTION static uint64_t
one_stream(uint64_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 8; size -= 8, at += 8) {
        crc = _mm_crc32_u64(crc, load_u64(at));
    }
    for (; size > 0; size--, at++) {
        crc = _mm_crc32_u8((uint32_t)crc, *at);
    }
    return crc;
}

int
crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}

WITH_INSTRUCTION uint32_t
crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t state = (uint32_t)~crc;
    for (; size >= 3 * STRIDE_LONG; size -= 3 * STRIDE_LONG, at += 3 * STRIDE_LONG) {
        state = three_streams(state, at, STRIDE_LONG, OVER_LONG);
    }
    for (; size >= 3 * STRIDE_SHORT; size -= 3 * STRIDE_SHORT, at += 3 * STRIDE_SHORT) {
        state = three_streams(state, at, STRIDE_SHORT, OVER_SHORT);
    }
    return ~(uint32_t)one_stream(state, at, size);
}

#else

int
crc32c_has_instruction(void)
{
    return 0;
}

uint32_t
crc32c_by_instruction(uint32_t crc, const void *data, size_t size)
{
    return crc32c_by_tables(crc, data, size);
}

#endif

uint32_t
crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_has_instruction() ? crc32c_by_instruction(crc, data, size)
                                    : crc32c_by_tables(crc, data, size);
}
