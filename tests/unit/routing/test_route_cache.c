/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/route_cache.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct route_cache *cache;
static struct route_target target_a;
static struct route_target target_b;
static struct route_set set;

static void
set_up(void)
{
    cache = route_cache_new(7);
    route_set_init(&set);
    route_target_init(&target_a, ROUTE_TARGET_QUEUE, 1);
    route_target_init(&target_b, ROUTE_TARGET_QUEUE, 2);
}

static void
tear_down(void)
{
    route_set_fini(&set);
    route_cache_free(&cache);
}

TestSuite(route_cache, .init = set_up, .fini = tear_down);

static bool
find(uint64_t source_id, uint64_t generation, const char *key)
{
    route_set_begin(&set);
    return route_cache_find(cache, source_id, generation, bytes_of(key), &set);
}

Test(route_cache, a_stored_result_is_found_again)
{
    struct route_target *targets[] = {&target_a, &target_b};
    cr_expect(not(find(1, 1, "key")));
    route_cache_store(cache, 1, 1, bytes_of("key"), targets, 2);
    cr_expect(find(1, 1, "key"));
    cr_expect(eq(u32, set.count, 2));
    cr_expect(eq(ptr, set.targets[1], &target_b));
}

/* That nothing matches is worth remembering, too. */
Test(route_cache, an_empty_result_and_an_empty_key_are_remembered)
{
    route_cache_store(cache, 1, 1, bytes_of(""), NULL, 0);
    cr_expect(find(1, 1, ""));
    cr_expect(eq(u32, set.count, 0));
}

Test(route_cache, another_source_generation_or_key_is_not_found)
{
    struct route_target *targets[] = {&target_a};
    route_cache_store(cache, 1, 5, bytes_of("key"), targets, 1);
    cr_expect(not(find(2, 5, "key")));
    cr_expect(not(find(1, 6, "key")), "bindings have changed");
    cr_expect(not(find(1, 5, "kez")));
    cr_expect(find(1, 5, "key"));
}

/* Far more keys than entries: whatever is found must be right. */
Test(route_cache, a_collision_replaces_and_never_answers_for_another_key)
{
    struct route_target *a[] = {&target_a};
    struct route_target *b[] = {&target_b};
    char key[32];
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "key.%u", i);
        route_cache_store(cache, 1, 1, bytes_of(key), i % 2 == 0 ? a : b, 1);
        route_cache_store(cache, 1, 1, bytes_of(key), i % 2 == 0 ? a : b, 1);
        cr_assert(find(1, 1, key));
    }
    uint32_t found_count = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "key.%u", i);
        if (find(1, 1, key)) {
            found_count++;
            cr_assert(eq(ptr, set.targets[0], i % 2 == 0 ? &target_a : &target_b));
        }
    }
    cr_expect(found_count > 1000);
    cr_expect(found_count <= ROUTE_CACHE_ENTRIES);
}

/* A stream of keys that do not come again must not push out those that do, nor cost a copy each. */
Test(route_cache, what_is_stored_once_does_not_replace)
{
    struct route_target *targets[] = {&target_a};
    char key[32];
    route_cache_store(cache, 1, 1, bytes_of("again"), targets, 1);
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "once.%u", i);
        route_cache_store(cache, 1, 1, bytes_of(key), targets, 1);
    }
    cr_expect(find(1, 1, "again"));
}

/* After a change of bindings the same key is asked for anew: what is stale is no rival. */
Test(route_cache, a_new_generation_replaces_at_once)
{
    struct route_target *a[] = {&target_a};
    struct route_target *b[] = {&target_b};
    route_cache_store(cache, 1, 1, bytes_of("key"), a, 1);
    route_cache_store(cache, 1, 2, bytes_of("key"), b, 1);
    cr_expect(find(1, 2, "key"));
    cr_expect(eq(ptr, set.targets[0], &target_b));
}

Test(route_cache, large_results_and_long_keys_are_not_kept)
{
    struct route_target *targets[ROUTE_CACHE_TARGETS_MAX + 1];
    char key[ROUTE_CACHE_KEY_SIZE_MAX + 2];
    for (size_t i = 0; i <= ROUTE_CACHE_TARGETS_MAX; i++) {
        targets[i] = &target_a;
    }
    route_cache_store(cache, 1, 1, bytes_of("wide"), targets, ROUTE_CACHE_TARGETS_MAX + 1);
    cr_expect(not(find(1, 1, "wide")));
    route_cache_store(cache, 1, 1, bytes_of("wide"), targets, ROUTE_CACHE_TARGETS_MAX);
    cr_expect(find(1, 1, "wide"));
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    route_cache_store(cache, 1, 1, bytes_of(key), targets, 1);
    cr_expect(not(find(1, 1, key)));
}
