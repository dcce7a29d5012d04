/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's randomness, a repeatable generator, and names made of either. */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void
fill_from_system(void *context, void *out, size_t size)
{
    (void)context;
    uint8_t *at = out;
    while (size > 0) {
        ssize_t taken = getrandom(at, size, 0);
        if (taken > 0) {
            at += taken;
            size -= (size_t)taken;
        } else if (taken == 0 || errno != EINTR) {
            fprintf(stderr, "bourse: no randomness from the kernel: %s\n", strerror(errno));
            abort();
        }
    }
}

struct random_source
random_system(void)
{
    return (struct random_source){.fill = fill_from_system, .context = NULL};
}

/* SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
 * passes the usual test batteries and has one word of state. */
static uint64_t
next_seeded(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static void
fill_from_seed(void *context, void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        uint64_t word = next_seeded(context);
        size_t taken = size < sizeof(word) ? size : sizeof(word);
        memcpy(at, &word, taken);
        at += taken;
        size -= taken;
    }
}

struct random_source
random_seeded(uint64_t *state)
{
    return (struct random_source){.fill = fill_from_seed, .context = state};
}

uint64_t
random_u64(const struct random_source *source)
{
    uint64_t value;
    source->fill(source->context, &value, sizeof(value));
    return value;
}

void
random_name(const struct random_source *source, char out[static RANDOM_NAME_SIZE])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    enum { BITS_PER_CHARACTER = 6 };
    uint8_t octets[16];
    source->fill(source->context, octets, sizeof(octets));

    uint32_t bits = 0; /* the low `bit_count` ones are not yet written */
    unsigned bit_count = 0;
    size_t used = 0;
    for (size_t i = 0; i < sizeof(octets); i++) {
        bits = bits << 8 | octets[i];
        for (bit_count += 8; bit_count >= BITS_PER_CHARACTER; bit_count -= BITS_PER_CHARACTER) {
            out[used++] = alphabet[bits >> (bit_count - BITS_PER_CHARACTER) & 0x3F];
        }
    }
    out[used++] = alphabet[bits << (BITS_PER_CHARACTER - bit_count) & 0x3F];
    out[used] = '\0';
}
