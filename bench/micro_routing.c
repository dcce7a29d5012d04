/* SPDX-License-Identifier: Apache-2.0 */
/* What routing costs with very many bindings, and what a binding and a queue cost in memory. One
 * line a case: CPU nanoseconds, instructions (where the kernel counts them) and allocations of one
 * operation. Figures to compare, not to assert.
 *
 *     micro_routing [--routes=N] [CASE...]      all cases, or those named
 *
 * Where the kernel counts no instructions, callgrind does, some fifty times slower:
 *
 *     valgrind --tool=callgrind --collect-atstart=no --toggle-collect=topic_trie_route \
 *         build/bench/micro_routing --routes=100000 topic
 *
 * What it collected, divided by the calls in its output, is one route that is not cached; with
 * --toggle-collect=route_cache_find one search of the cache, hit or miss. */
#include <inttypes.h>
#include <linux/perf_event.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "exchanges/exchange.h"
#include "queues/queue.h"
#include "routing/route_cache.h"
#include "routing/topic_trie.h"

enum {
    MILLION = 1000000,
    TARGET_COUNT = 100000,
    KEY_COUNT = 1 << 16, /* more than the cache has entries */
    KEY_SIZE = 64,
    HOSTILE_BINDING_COUNT = 10000,
};

/* Counting ------------------------------------------------------------------------------------ */

static uint64_t allocation_count;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *
malloc(size_t size)
{
    allocation_count++;
    return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    allocation_count++;
    return __libc_calloc(count, size);
}

void *
realloc(void *memory, size_t size)
{
    allocation_count++;
    return __libc_realloc(memory, size);
}

static uint64_t
heap_octets(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int instruction_counter = -1;

static void
open_instruction_counter(void)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof(attributes),
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    instruction_counter = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

static uint64_t
instructions(void)
{
    uint64_t count = 0;
    if (instruction_counter >= 0 &&
        read(instruction_counter, &count, sizeof(count)) != (ssize_t)sizeof(count)) {
        count = 0;
    }
    return count;
}

/* CPU time: what else the machine does matters less. */
static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct measure {
    double start;
    uint64_t instructions, allocations, octets;
};

static struct measure
measure_begin(void)
{
    return (struct measure){.octets = heap_octets(),
                            .instructions = instructions(),
                            .allocations = allocation_count,
                            .start = seconds()};
}

/* Prints what each of `count` operations cost since `from`. */
static void
measure_end(const struct measure *from, uint64_t count, const char *what)
{
    double elapsed = seconds() - from->start;
    uint64_t done = instructions() - from->instructions;
    uint64_t allocated = allocation_count - from->allocations;
    char text[32] = "-";
    if (instruction_counter >= 0) {
        (void)snprintf(text, sizeof(text), "%.0f", (double)done / (double)count);
    }
    printf("%-52s %10.1f ns %8s instructions %6.2f allocations %7.1f octets\n", what,
           1e9 * elapsed / (double)count, text, (double)allocated / (double)count,
           (double)(int64_t)(heap_octets() - from->octets) / (double)count);
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

/* Worlds --------------------------------------------------------------------------------------- */

static uint32_t routes = MILLION; /* in one measurement */
static struct route_target *targets;
static char (*keys)[KEY_SIZE]; /* routing keys, written before the clock runs */

static void
init_world(void)
{
    targets = xalloc(TARGET_COUNT * sizeof(*targets));
    keys = xalloc(KEY_COUNT * sizeof(*keys));
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, i + 1);
    }
}

static struct exchange *
exchange_of_type(const struct exchange_type *type)
{
    struct exchange_properties properties = {
        .name = bytes_of("e"), .type = type, .tools = {.seed = 42}};
    struct exchange *exchange = exchange_new(1, &properties);
    if (exchange == NULL) {
        abort();
    }
    return exchange;
}

static void
bind(struct exchange *exchange, uint32_t target, struct bytes key, struct bytes arguments)
{
    bool created;
    struct fault fault;
    if (exchange_bind(exchange, &targets[target % TARGET_COUNT], key, arguments, true, &created,
                      &fault) != STATUS_OK ||
        !created) {
        abort();
    }
}

__attribute__((format(printf, 3, 4))) static struct bytes
format_key(char *out, size_t size, const char *form, ...)
{
    va_list arguments;
    va_start(arguments, form);
    (void)vsnprintf(out, size, form, arguments);
    va_end(arguments);
    return bytes_of(out);
}

/* Routes by the first `key_count` keys in turn. */
static void
route_keys(struct exchange *exchange, struct route_cache *cache, uint32_t key_count,
           uint32_t route_count, const char *what)
{
    struct route_set set;
    route_set_init(&set);
    uint64_t found = 0;
    struct measure from = {0};
    for (uint32_t round = 0; round < 2; round++) { /* the first warms up */
        found = 0;
        from = measure_begin();
        for (uint32_t i = 0; i < route_count; i++) {
            struct exchange_message message = {.routing_key = bytes_of(keys[i % key_count])};
            route_set_begin(&set);
            exchange_route(exchange, &message, cache, &set);
            found += set.count;
        }
    }
    char text[96];
    (void)snprintf(text, sizeof(text), "%s (%.2f targets)", what,
                   (double)found / (double)route_count);
    measure_end(&from, route_count, text);
    route_set_fini(&set);
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        targets[i].stamp = 0; /* the next set starts anew */
    }
}

static void
unbind_all(struct exchange *exchange, uint32_t count, const char *what)
{
    struct measure from = measure_begin();
    for (struct binding *binding; (binding = binding_table_any(&exchange->bindings)) != NULL;) {
        exchange_unbind_binding(exchange, binding);
    }
    measure_end(&from, count, what);
    exchange_free(&exchange);
}

/* Cases ---------------------------------------------------------------------------------------- */

static void
route_topic_keys(struct exchange *exchange)
{
    struct route_cache *cache = route_cache_new(7);
    route_keys(exchange, NULL, KEY_COUNT, routes, "topic: route, not cached");
    route_keys(exchange, cache, 1024, routes, "topic: route, 1,024 keys, cached");
    route_keys(exchange, cache, KEY_COUNT, routes, "topic: route, 65,536 keys, the cache thrashes");
    route_cache_free(&cache);
}

/* `dev.N.*.temp`, a key of 18 octets or less. */
static void
measure_topic(void)
{
    struct exchange *exchange = exchange_of_type(&exchange_type_topic);
    uint64_t state = 88172645463325252U;
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < MILLION; i++) {
        char key[KEY_SIZE];
        bind(exchange, i, format_key(key, sizeof(key), "dev.%" PRIu32 ".*.temp", i), bytes_of(""));
    }
    measure_end(&from, MILLION, "topic: bind, 1,000,000 of dev.N.*.temp");
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        (void)format_key(keys[i], KEY_SIZE, "dev.%" PRIu32 ".kitchen.temp",
                         next_number(&state) % MILLION);
    }
    route_topic_keys(exchange);
    unbind_all(exchange, MILLION, "topic: unbind");
}

/* Patterns of all kinds, some of them behind `*` and `#`. */
static void
measure_mixed(void)
{
    static const char *const patterns[][2] = {
        {"dev.", ".*.temp"},    {"dev.", ".#"},      {"plant.", ".line.4.on"},
        {"*.", ".humid"},       {"#.alarm.", ""},    {"plant.", ".line.*.off"},
        {"site.a.", ".#.last"}, {"#.", ".pressure"},
    };
    static const char *const forms[][2] = {
        {"dev.", ".attic.temp"}, {"plant.", ".line.4.on"}, {"x.y.alarm.", ""},
        {"dev.", ".humid"},      {"site.a.", ".b.c.last"},
    };
    struct exchange *exchange = exchange_of_type(&exchange_type_topic);
    uint64_t state = 88172645463325252U;
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < MILLION; i++) {
        char key[KEY_SIZE];
        const char *const *pattern = patterns[i % ARRAY_LEN(patterns)];
        bind(exchange, i,
             format_key(key, sizeof(key), "%s%" PRIu32 "%s", pattern[0], i, pattern[1]),
             bytes_of(""));
    }
    measure_end(&from, MILLION, "mixed topic: bind, 1,000,000 with * and # anywhere");
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        const char *const *form = forms[i % ARRAY_LEN(forms)];
        (void)format_key(keys[i], KEY_SIZE, "%s%" PRIu32 "%s", form[0],
                         next_number(&state) % MILLION, form[1]);
    }
    route_topic_keys(exchange);
    unbind_all(exchange, MILLION, "mixed topic: unbind");
}

/* "#.a.#.*.#.a ..." in random order: every one of them matches "a.a.a ...", in as many ways as
 * there are. */
static void
measure_hostile(void)
{
    struct topic_trie *trie = topic_trie_new(1);
    char(*patterns)[TOPIC_KEY_SIZE_MAX] = xalloc(HOSTILE_BINDING_COUNT * sizeof(*patterns));
    uint64_t state = 88172645463325252U;
    for (uint32_t i = 0; i < HOSTILE_BINDING_COUNT; i++) {
        for (size_t at = 0; at < TOPIC_KEY_SIZE_MAX; at++) {
            patterns[i][at] = "#.a."[at % 4];
            if (at % 4 == 2 && next_number(&state) % 2 == 0) {
                patterns[i][at] = '*';
            }
        }
        topic_trie_bind(trie, bytes_make(patterns[i], TOPIC_KEY_SIZE_MAX), &targets[i]);
    }
    char key[TOPIC_KEY_SIZE_MAX];
    for (size_t at = 0; at < sizeof(key); at++) {
        key[at] = at % 2 == 0 ? 'a' : '.';
    }
    struct route_set set;
    route_set_init(&set);
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < 20; i++) {
        route_set_begin(&set);
        topic_trie_route(trie, bytes_make(key, sizeof(key)), &set);
    }
    char text[96];
    (void)snprintf(text, sizeof(text), "hostile topic: %" PRIu32 " match, %" PRIu64 " visits",
                   set.count, topic_trie_visit_count(trie));
    measure_end(&from, 20, text);
    route_set_fini(&set);
    topic_trie_free(&trie);
    free(patterns);
}

static void
measure_direct(void)
{
    struct exchange *exchange = exchange_of_type(&exchange_type_direct);
    uint64_t state = 88172645463325252U;
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < MILLION; i++) {
        char key[KEY_SIZE];
        bind(exchange, i, format_key(key, sizeof(key), "dev.%" PRIu32 ".x.temp", i), bytes_of(""));
    }
    measure_end(&from, MILLION, "direct: bind, 1,000,000 keys");
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        (void)format_key(keys[i], KEY_SIZE, "dev.%" PRIu32 ".x.temp",
                         next_number(&state) % MILLION);
    }
    route_keys(exchange, NULL, KEY_COUNT, routes, "direct: route");
    unbind_all(exchange, MILLION, "direct: unbind");
}

static void
measure_fanout(void)
{
    struct exchange *exchange = exchange_of_type(&exchange_type_fanout);
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        bind(exchange, i, bytes_of(""), bytes_of(""));
    }
    measure_end(&from, TARGET_COUNT, "fanout: bind, 100,000 targets");
    route_keys(exchange, NULL, 1, 100, "fanout: route, 100,000 targets");
    unbind_all(exchange, TARGET_COUNT, "fanout: unbind");
}

/* A table of two fields: `x-match`, and one that tells the bindings apart. */
static void
put_arguments(struct buffer *out, uint32_t number)
{
    char value[16];
    buffer_clear(out);
    static const char start[] = "\7x-matchS\0\0\0\3all\6deviceS\0\0\0\10";
    buffer_put_bytes(out, bytes_make(start, sizeof(start) - 1));
    (void)snprintf(value, sizeof(value), "%08" PRIu32, number);
    buffer_put_bytes(out, bytes_of(value));
}

static void
measure_headers(void)
{
    enum { HEADERS_COUNT = 10000 };
    struct exchange *exchange = exchange_of_type(&exchange_type_headers);
    struct buffer arguments;
    buffer_init(&arguments);
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < HEADERS_COUNT; i++) {
        put_arguments(&arguments, i);
        bind(exchange, i, bytes_of(""), buffer_bytes(&arguments));
    }
    measure_end(&from, HEADERS_COUNT, "headers: bind, 10,000");
    put_arguments(&arguments, 77);
    struct exchange_message message = {.headers = buffer_bytes(&arguments)};
    struct route_set set;
    route_set_init(&set);
    from = measure_begin();
    for (uint32_t i = 0; i < 100; i++) {
        route_set_begin(&set);
        exchange_route(exchange, &message, NULL, &set);
    }
    measure_end(&from, 100, set.count == 1 ? "headers: route, 10,000 bindings" : "headers: WRONG");
    route_set_fini(&set);
    buffer_fini(&arguments);
    unbind_all(exchange, HEADERS_COUNT, "headers: unbind");
}

static void
measure_queues(void)
{
    struct queue **queues = xalloc(TARGET_COUNT * sizeof(struct queue *));
    struct measure from = measure_begin();
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        char name[KEY_SIZE];
        struct queue_properties properties = {
            .name = format_key(name, sizeof(name), "queue-%07" PRIu32, i), .durable = true};
        queues[i] = queue_new(i + 1, &properties);
        if (queues[i] == NULL) {
            abort();
        }
    }
    measure_end(&from, TARGET_COUNT, "queue: make, idle");
    struct queue_entry entry = {.lsn_and_flags = queue_entry_pack(8, ENTRY_PERSISTENT)};
    struct entry_memory memory;
    entry_memory_init(&memory);
    from = measure_begin();
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        queue_count_memory(queues[i], &memory);
        if (queue_push(queues[i], &entry) != STATUS_OK) {
            abort();
        }
    }
    measure_end(&from, TARGET_COUNT, "queue: push the first message");
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        struct queue_entry taken;
        uint64_t position;
        (void)queue_pop(queues[i], &taken, &position);
        queue_unref(&queues[i]);
    }
    free(queues);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(void);
    } cases[] = {
        {"topic", measure_topic},   {"mixed", measure_mixed},   {"hostile", measure_hostile},
        {"direct", measure_direct}, {"fanout", measure_fanout}, {"headers", measure_headers},
        {"queues", measure_queues},
    };
    static const char option[] = "--routes=";
    if (argc > 1 && strncmp(argv[1], option, strlen(option)) == 0) {
        routes = (uint32_t)strtoul(argv[1] + strlen(option), NULL, 10);
        argc--;
        argv++;
    }
    open_instruction_counter();
    init_world();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool is_named = argc == 1;
        for (int j = 1; j < argc; j++) {
            is_named = is_named || strcmp(argv[j], cases[i].name) == 0;
        }
        if (is_named) {
            cases[i].measure();
        }
    }
    free(targets);
    free(keys);
    return EXIT_SUCCESS;
}
