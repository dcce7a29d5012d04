/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness: the generator that repeats, the one that does not, and the names made of them. */
#include "base/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

Test(random, one_seed_gives_one_sequence)
{
    uint64_t first_state = 5;
    uint64_t second_state = 5;
    uint64_t third_state = 6;
    struct random_source first = random_seeded(&first_state);
    struct random_source second = random_seeded(&second_state);
    struct random_source third = random_seeded(&third_state);
    for (int i = 0; i < 100; i++) {
        uint64_t value = random_u64(&first);
        cr_expect(eq(u64, value, random_u64(&second)));
        cr_expect(ne(u64, value, random_u64(&third)));
    }
}

/* The published first output of SplitMix64 from the seed 0. */
Test(random, the_seeded_generator_is_splitmix64)
{
    uint64_t state = 0;
    struct random_source source = random_seeded(&state);
    cr_expect(eq(u64, random_u64(&source), UINT64_C(0xE220A8397B1DCDAF)));
}

Test(random, fills_every_size_and_nothing_more)
{
    uint64_t state = 9;
    struct random_source sources[] = {random_seeded(&state), random_system()};
    for (int i = 0; i < 2; i++) {
        for (size_t size = 0; size <= 300; size++) {
            uint8_t out[302];
            memset(out, 0, sizeof(out));
            sources[i].fill(sources[i].context, out, size);
            cr_assert(eq(u8, out[size], 0));
            cr_assert(eq(u8, out[size + 1], 0));
        }
    }
}

Test(random, the_system_does_not_repeat_itself)
{
    struct random_source source = random_system();
    cr_expect(ne(u64, random_u64(&source), random_u64(&source)));
}

/* Names go into URLs, shells and routing keys without escaping. */
Test(random, names_are_22_characters_of_url_safe_base64)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t state = 3;
    struct random_source source = random_seeded(&state);
    char previous[RANDOM_NAME_SIZE] = "";
    bool seen[sizeof(alphabet)] = {false};
    for (int i = 0; i < 1000; i++) {
        char name[RANDOM_NAME_SIZE];
        memset(name, '?', sizeof(name));
        random_name(&source, name);
        cr_assert(eq(sz, strlen(name), 22));
        cr_assert(eq(sz, strspn(name, alphabet), 22), "%s", name);
        cr_assert(ne(str, name, previous));
        memcpy(previous, name, sizeof(name));
        for (int at = 0; at < 22; at++) {
            seen[strchr(alphabet, name[at]) - alphabet] = true;
        }
    }
    for (size_t i = 0; i < 64; i++) {
        cr_expect(seen[i], "'%c' never came", alphabet[i]);
    }
}

/* Sixteen known octets, as any base64 tool writes them. */
static void
fill_with_count(void *context, void *out, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = (uint8_t)(i * 17);
    }
}

Test(random, names_are_the_base64_of_their_octets)
{
    struct random_source source = {.fill = fill_with_count};
    char name[RANDOM_NAME_SIZE];
    random_name(&source, name);
    cr_expect(eq(str, name, "ABEiM0RVZneImaq7zN3u_w"));
}
