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

static void
unmap(struct chunk_spares *spares, uint8_t *memory, size_t size)
{
    spares->memory.unmap(spares->memory.context, memory, size);
}

static uint8_t *
take_large(struct chunk_spares *spares, uint32_t at)
{
    uint8_t *memory = spares->large[at].memory;
    spares->large_octets -= spares->large[at].size;
    spares->large[at] = spares->large[--spares->large_count];
    return memory;
}

/* One of at least that size and not many more octets, or NULL. */
static uint8_t *
find_large(struct chunk_spares *spares, size_t wanted, size_t more_max, size_t *size_out)
{
    for (uint32_t i = 0; i < spares->large_count; i++) {
        size_t size = spares->large[i].size;
        if (size >= wanted && size - wanted <= more_max) {
            *size_out = size;
            return take_large(spares, i);
        }
    }
    return NULL;
}

static bool
keep_large(struct chunk_spares *spares, uint8_t *memory, size_t size)
{
    if (size <= CHUNK_SIZE || spares->large_count == LARGE_SPARES_MAX ||
        size > LARGE_SPARES_OCTETS - spares->large_octets) {
        return false;
    }
    spares->large[spares->large_count++] = (struct large_spare){.memory = memory, .size = size};
    spares->large_octets += size;
    return true;
}

void
chunk_spares_fini(struct chunk_spares *spares)
{
    while (spares->count > 0) {
        unmap(spares, spares->spares[--spares->count], CHUNK_SIZE);
    }
    while (spares->large_count > 0) {
        size_t size = spares->large[0].size;
        unmap(spares, take_large(spares, 0), size);
    }
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
    uint8_t *memory = find_large(spares, capacity, 0, &capacity);
    return memory != NULL ? memory : spares->memory.map(spares->memory.context, capacity);
}

uint8_t *
chunk_spares_map_own(struct chunk_spares *spares, size_t wanted, size_t *capacity_out)
{
    *capacity_out = wanted;
    uint8_t *memory = find_large(spares, wanted, wanted / 8, capacity_out);
    return memory != NULL ? memory : chunk_spares_map(spares, wanted);
}

void
chunk_spares_unmap(struct chunk_spares *spares, uint8_t *memory, size_t capacity)
{
    if (capacity == CHUNK_SIZE && spares->count < CHUNK_SPARES_MAX) {
        spares->spares[spares->count++] = memory;
    } else if (!keep_large(spares, memory, capacity)) {
        unmap(spares, memory, capacity);
    }
}

bool
chunk_spares_are_kept(const struct chunk_spares *spares)
{
    return spares->count > 0 || spares->large_count > 0;
}

static void
trim_large(struct chunk_spares *spares)
{
    for (uint32_t i = spares->large_count; i-- > 0;) {
        size_t size = spares->large[i].size;
        if (spares->large[i].is_idle) {
            unmap(spares, take_large(spares, i), size);
        }
    }
    for (uint32_t i = 0; i < spares->large_count; i++) {
        spares->large[i].is_idle = true;
    }
}

bool
chunk_spares_trim(struct chunk_spares *spares)
{
    for (; spares->count_min > 0; spares->count_min--) {
        unmap(spares, spares->spares[--spares->count], CHUNK_SIZE);
    }
    spares->count_min = spares->count;
    trim_large(spares);
    return chunk_spares_are_kept(spares);
}
