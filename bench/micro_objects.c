/* SPDX-License-Identifier: Apache-2.0 */
/* What queues and bindings take of the heap, the allocator's own share included: what is asked of
 * it for a hundred thousand of each, divided by that. */
#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "bench/micro.h"
#include "exchanges/exchange.h"
#include "queues/queue.h"

enum { OBJECTS = 100000, NAME_MAX_OCTETS = 32 };

static double
heap_octets(void)
{
    struct mallinfo2 heap = mallinfo2();
    return (double)(heap.uordblks + heap.hblkhd);
}

static void
print(const struct micro *micro, const char *name, const char *words, double octets)
{
    if (micro->json) {
        printf("{\"case\": \"%s\", \"what\": \"%s\", \"octets\": %.1f}\n", name, words,
               octets / OBJECTS);
    } else {
        printf("%-20s %8.1f octets   %s\n", name, octets / OBJECTS, words);
    }
}

static void
make_queues(struct queue **queues)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        char name[NAME_MAX_OCTETS];
        snprintf(name, sizeof(name), "bench.q%05" PRIu32, i);
        struct queue_properties properties = {.name = bytes_of(name)};
        queues[i] = queue_new(i + 1, &properties);
        assert(queues[i] != NULL);
    }
}

static void
bind_all(struct exchange *exchange, struct queue **queues)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        char key[NAME_MAX_OCTETS];
        struct fault fault;
        bool created;
        snprintf(key, sizeof(key), "dev.%06" PRIu32 ".*.temp", i);
        enum status status = exchange_bind(exchange, &queues[i]->target, bytes_of(key),
                                           (struct bytes){0}, false, &created, &fault);
        assert(status == STATUS_OK);
        assert(created);
    }
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    struct queue **queues = xalloc(OBJECTS * sizeof(struct queue *));
    struct exchange_properties properties = {.name = bytes_of("bench"),
                                             .type = &exchange_type_topic};
    struct exchange *exchange = exchange_new(1, &properties);
    assert(exchange != NULL);
    double empty = heap_octets();
    make_queues(queues);
    double with_queues = heap_octets();
    bind_all(exchange, queues);
    double with_bindings = heap_octets();
    print(&micro, "queue-octets", "an empty queue", with_queues - empty);
    print(&micro, "binding-octets", "a topic binding, one a queue", with_bindings - with_queues);
    exchange_free(&exchange);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        queue_unref(&queues[i]);
    }
    free(queues);
    return EXIT_SUCCESS;
}
