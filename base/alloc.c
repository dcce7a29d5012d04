/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory over malloc, and arenas as chains of growing blocks. */
#include "base/alloc.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static _Noreturn void
out_of_memory(size_t size)
{
    fprintf(stderr, "bourse: out of memory (%zu bytes)\n", size);
    abort();
}

void *
xalloc(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    if (memory == NULL) {
        out_of_memory(size);
    }
    return memory;
}

void *
xalloc_apart(size_t size)
{
    assert(size < SIZE_MAX - ALLOC_APART);
    size_t whole = (size + ALLOC_APART - 1) & ~(size_t)(ALLOC_APART - 1);
    void *memory = aligned_alloc(ALLOC_APART, whole == 0 ? ALLOC_APART : whole);
    if (memory == NULL) {
        out_of_memory(size);
    }
    memset(memory, 0, whole);
    return memory;
}

void *
xrealloc(void *memory, size_t size)
{
    void *moved = realloc(memory, size == 0 ? 1 : size);
    if (moved == NULL) {
        out_of_memory(size);
    }
    return moved;
}

char *
xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = xalloc(size);
    memcpy(copy, text, size);
    return copy;
}

void *
try_alloc(size_t size)
{
    return try_realloc(NULL, size);
}

void *
try_realloc(void *memory, size_t size)
{
    assert(size > 0);
    if (alloc_fault_is_due != NULL && alloc_fault_is_due()) {
        return NULL;
    }
    return realloc(memory, size);
}

/* Arenas ------------------------------------------------------------------------------------- */

/* Each block is twice as large as the one before, so that much takes few calls of malloc. */
enum { ARENA_BLOCK_SIZE = 4096, ARENA_BLOCK_SIZE_MAX = 64 * 1024 };

struct arena_block {
    struct arena_block *older;
    size_t size; /* of `data` */
    alignas(max_align_t) char data[];
};

void
arena_init(struct arena *arena)
{
    arena->blocks = NULL;
    arena->used = 0;
}

void
arena_fini(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->older;
        free(block);
    }
    arena->used = 0;
}

static size_t
next_block_size(const struct arena *arena)
{
    if (arena->blocks == NULL) {
        return ARENA_BLOCK_SIZE;
    }
    size_t twice = 2 * (arena->blocks->size + sizeof(struct arena_block));
    return twice < ARENA_BLOCK_SIZE_MAX ? twice : ARENA_BLOCK_SIZE_MAX;
}

/* Octets of a block for something of that size: it takes one of its own when it is large. */
static size_t
data_size_for(const struct arena *arena, size_t size)
{
    size_t usual = next_block_size(arena) - sizeof(struct arena_block);
    return usual < size ? size : usual;
}

/* The block's data is zero. */
static void
add_block(struct arena *arena, struct arena_block *block, size_t data_size)
{
    block->size = data_size;
    block->older = arena->blocks;
    arena->blocks = block;
    arena->used = 0;
}

static void
arena_grow(struct arena *arena, size_t size)
{
    size_t data_size = data_size_for(arena, size);
    add_block(arena, xalloc(sizeof(struct arena_block) + data_size), data_size);
}

static bool
try_grow(struct arena *arena, size_t size)
{
    size_t data_size = data_size_for(arena, size);
    struct arena_block *block = try_alloc(sizeof(*block) + data_size);
    if (block == NULL) {
        return false;
    }
    memset(block->data, 0, data_size);
    add_block(arena, block, data_size);
    return true;
}

static bool
has_room(const struct arena *arena, size_t size)
{
    return arena->blocks != NULL && arena->blocks->size - arena->used >= size;
}

bool
arena_reserve(struct arena *arena, size_t size, size_t count)
{
    enum { AROUND = alignof(max_align_t) }; /* rounding, and the octet behind a copy */
    return size < SIZE_MAX / 4 && count < SIZE_MAX / 4 / AROUND &&
           (has_room(arena, size + count * AROUND) || try_grow(arena, size + count * AROUND));
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    assert(size < SIZE_MAX / 2);
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!has_room(arena, size)) {
        arena_grow(arena, size);
    }
    void *memory = arena->blocks->data + arena->used;
    arena->used += size;
    return memory;
}

char *
arena_strdup(struct arena *arena, const char *text)
{
    return (char *)arena_copy(arena, bytes_of(text)).data;
}

struct bytes
arena_copy(struct arena *arena, struct bytes bytes)
{
    uint8_t *copy = arena_alloc(arena, bytes.size + 1);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_make(copy, bytes.size);
}
