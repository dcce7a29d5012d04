/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs a message to stand in a queue: pushed, lent to a consumer, settled; through a short
 * queue, whose entries stay in the cache, and through one of a million. */
#include <assert.h>
#include <stdlib.h>

#include "bench/micro.h"
#include "queues/queue.h"

enum { SHORT = 64, LONG = 1000000 };

static struct queue *
queue_of(uint64_t depth, struct entry_memory *memory)
{
    struct queue_properties properties = {.name = bytes_of("bench")};
    struct queue *queue = queue_new(1, &properties);
    assert(queue != NULL);
    queue_count_memory(queue, memory);
    for (uint64_t i = 0; i < depth; i++) {
        struct queue_entry entry = {.lsn_and_flags = queue_entry_pack(8 * i, 0), .size = 128};
        enum status status = queue_push(queue, &entry);
        assert(status == STATUS_OK);
    }
    return queue;
}

static void
push_and_settle(void *context, uint64_t count)
{
    struct queue *queue = context;
    for (uint64_t i = 0; i < count; i++) {
        struct queue_entry entry = {.lsn_and_flags = queue_entry_pack(8 * i, 0), .size = 128};
        uint64_t position;
        enum status pushed = queue_push(queue, &entry);
        enum status lent = queue_lend(queue, &entry, &position);
        assert(pushed == STATUS_OK);
        assert(lent == STATUS_OK);
        queue_settle(queue, &entry, position);
        micro_use(position);
    }
}

static void
push_and_pop(void *context, uint64_t count)
{
    struct queue *queue = context;
    for (uint64_t i = 0; i < count; i++) {
        struct queue_entry entry = {.lsn_and_flags = queue_entry_pack(8 * i, 0), .size = 128};
        uint64_t position;
        enum status pushed = queue_push(queue, &entry);
        bool popped = queue_pop(queue, &entry, &position);
        assert(pushed == STATUS_OK);
        assert(popped);
        micro_use(position);
    }
}

static void
measure(const struct micro *micro, const char *name, const char *words, micro_body *body,
        uint64_t depth)
{
    if (!micro_wants(micro, name)) {
        return;
    }
    struct entry_memory memory;
    entry_memory_init(&memory);
    struct queue *queue = queue_of(depth, &memory);
    micro_run(micro, name, words, body, queue);
    struct queue_entry entry;
    uint64_t position;
    while (queue_pop(queue, &entry, &position)) {
    }
    queue_unref(&queue);
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    measure(&micro, "entry-pop", "pushed and popped, a queue of 64", push_and_pop, SHORT);
    measure(&micro, "entry-settle", "pushed, lent and settled, a queue of 64", push_and_settle,
            SHORT);
    measure(&micro, "entry-settle-long", "the same, a queue of a million", push_and_settle, LONG);
    return EXIT_SUCCESS;
}
