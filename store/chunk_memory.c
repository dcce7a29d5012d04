/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_memory.h"

#include <sys/mman.h>

#include "base/assert.h"

static void *
anonymous_map(void *context, size_t size)
{
    (void)context;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void
anonymous_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    int result = munmap(memory, size);
    assert(result == 0);
}

struct chunk_memory
chunk_memory_anonymous(void)
{
    return (struct chunk_memory){.map = anonymous_map, .unmap = anonymous_unmap};
}

void
chunk_spares_init(struct chunk_spares *spares, struct chunk_memory memory)
{
    *spares = (struct chunk_spares){.memory = memory};
}

void
chunk_spares_fini(struct chunk_spares *spares)
{
    for (uint32_t i = 0; i < spares->count; i++) {
        spares->memory.unmap(spares->memory.context, spares->spares[i], CHUNK_SIZE);
    }
    spares->count = 0;
}

uint8_t *
chunk_spares_map(struct chunk_spares *spares, size_t capacity)
{
    if (capacity == CHUNK_SIZE && spares->count > 0) {
        spares->count--;
        if (spares->count < spares->count_min) {
            spares->count_min = spares->count;
        }
        return spares->spares[spares->count];
    }
    return spares->memory.map(spares->memory.context, capacity);
}

void
chunk_spares_unmap(struct chunk_spares *spares, uint8_t *memory, size_t capacity)
{
    if (capacity == CHUNK_SIZE && spares->count < CHUNK_SPARES_MAX) {
        spares->spares[spares->count++] = memory;
        return;
    }
    spares->memory.unmap(spares->memory.context, memory, capacity);
}

bool
chunk_spares_trim(struct chunk_spares *spares)
{
    for (; spares->count_min > 0; spares->count_min--) {
        spares->memory.unmap(spares->memory.context, spares->spares[--spares->count], CHUNK_SIZE);
    }
    spares->count_min = spares->count;
    return spares->count > 0;
}
