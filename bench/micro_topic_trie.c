/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to route by topic, nothing remembered: nanoseconds per route and octets per binding
 * with 10,000 and 1,000,000 bindings of the form `dev.N.*.temp`, and the worst that hostile keys
 * can do. Figures to compare, not to assert. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "routing/topic_trie.h"

enum { ROUTE_COUNT = 1000000, HOSTILE_BINDING_COUNT = 10000, HOSTILE_ROUTE_COUNT = 20 };

/* CPU time: what else the machine does matters less. */
static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A repeatable sequence (xorshift). */
static uint32_t
next_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static struct route_target *
targets_new(uint32_t count)
{
    struct route_target *targets = xalloc(count * sizeof(*targets));
    for (uint32_t i = 0; i < count; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, i);
    }
    return targets;
}

static void
bind_devices(struct topic_trie *trie, uint32_t count, struct route_target *targets)
{
    double start = seconds();
    for (uint32_t i = 0; i < count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "dev.%" PRIu32 ".*.temp", i);
        topic_trie_bind(trie, bytes_of(key), &targets[i]);
    }
    double elapsed = seconds() - start;
    printf("%8" PRIu32 " bindings: bind %.0f ns, %.0f octets each\n", count, 1e9 * elapsed / count,
           (double)topic_trie_memory_bytes(trie) / count);
}

static void
route_devices(struct topic_trie *trie, uint32_t count)
{
    static char keys[4096][64]; /* written before the clock runs */
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < 4096; i++) {
        snprintf(keys[i], sizeof(keys[i]), "dev.%" PRIu32 ".kitchen.temp",
                 next_number(&state) % count);
    }
    struct route_set set;
    route_set_init(&set);
    uint64_t found = 0;
    double start = seconds();
    for (uint32_t i = 0; i < ROUTE_COUNT; i++) {
        route_set_begin(&set);
        topic_trie_route(trie, bytes_of(keys[i % 4096]), &set);
        found += set.count;
    }
    double elapsed = seconds() - start;
    printf("%8" PRIu32 " bindings: route %.0f ns, %.2f targets\n", count,
           1e9 * elapsed / ROUTE_COUNT, (double)found / ROUTE_COUNT);
    route_set_fini(&set);
}

static void
measure_devices(uint32_t count)
{
    struct topic_trie *trie = topic_trie_new(1);
    struct route_target *targets = targets_new(count);
    bind_devices(trie, count, targets);
    route_devices(trie, count);
    double start = seconds();
    for (uint32_t i = 0; i < count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "dev.%" PRIu32 ".*.temp", i);
        topic_trie_unbind(trie, bytes_of(key), &targets[i]);
    }
    printf("%8" PRIu32 " bindings: unbind %.0f ns\n", count, 1e9 * (seconds() - start) / count);
    topic_trie_free(&trie);
    free(targets);
}

/* "#.a.#.*.#.a ..." in random order: every one of them matches "a.a.a ...", in as many ways as
 * there are. */
static void
measure_hostile(const char *words, uint32_t word_count)
{
    struct topic_trie *trie = topic_trie_new(1);
    struct route_target *targets = targets_new(HOSTILE_BINDING_COUNT);
    uint64_t state = 88172645463325252U;
    for (uint32_t i = 0; i < HOSTILE_BINDING_COUNT; i++) {
        char key[TOPIC_KEY_SIZE_MAX];
        memset(key, '.', sizeof(key));
        for (size_t at = 0; at < sizeof(key); at += 2) {
            key[at] = '#';
        }
        for (size_t at = 2; at < sizeof(key); at += 4) {
            key[at] = words[next_number(&state) % word_count];
        }
        topic_trie_bind(trie, bytes_make(key, sizeof(key)), &targets[i]);
    }
    char routing_key[TOPIC_KEY_SIZE_MAX];
    memset(routing_key, '.', sizeof(routing_key));
    for (size_t at = 0; at < sizeof(routing_key); at += 2) {
        routing_key[at] = 'a';
    }
    struct route_set set;
    route_set_init(&set);
    double start = seconds();
    for (uint32_t i = 0; i < HOSTILE_ROUTE_COUNT; i++) {
        route_set_begin(&set);
        topic_trie_route(trie, bytes_make(routing_key, sizeof(routing_key)), &set);
    }
    printf("   hostile \"%s\": route %.2f ms, %" PRIu32 " targets, %" PRIu64 " of %" PRIu32
           " nodes\n",
           words, 1e3 * (seconds() - start) / HOSTILE_ROUTE_COUNT, set.count,
           topic_trie_visit_count(trie), topic_trie_node_count(trie));
    route_set_fini(&set);
    topic_trie_free(&trie);
    free(targets);
}

int
main(void)
{
    measure_devices(10000);
    measure_devices(1000000);
    measure_hostile("ab", 2);
    measure_hostile("a*", 2);
    return EXIT_SUCCESS;
}
