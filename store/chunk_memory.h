/* SPDX-License-Identifier: Apache-2.0 */
/* Where the memory of chunks comes from, and the few that are kept for the next contents while they
 * are warm.
 *
 * Owner of a `struct chunk_spares`: one thread. Memory may be mapped by one and given back by
 * another, so all that belong to one pool map with the same functions. */
#ifndef BOURSE_STORE_CHUNK_MEMORY_H
#define BOURSE_STORE_CHUNK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNK_SIZE = 256 * 1024,
    CHUNK_SPARES_MAX = 64, /* freed chunks whose memory is kept, until chunk_spares_trim */
    /* The same of larger ones, which come fresh from the system with a page fault for every 4 KiB
     * and go back in one long step: so many, and so many octets in all, two bodies of 16 MiB. */
    LARGE_SPARES_MAX = 4,
    LARGE_SPARES_OCTETS = 34 * 1024 * 1024,
};

/* Anonymous mappings in production, what a test wants to see. `map` returns page-aligned memory
 * that is resident only where it was touched, or NULL. Both may be called by several threads. */
struct chunk_memory {
    void *(*map)(void *context, size_t size);
    void (*unmap)(void *context, void *memory, size_t size);
    void *context;
};

struct chunk_memory chunk_memory_anonymous(void);

struct large_spare {
    uint8_t *memory;
    size_t size;  /* as it was mapped */
    bool is_idle; /* it was there at the last trim */
};

struct chunk_spares {
    struct chunk_memory memory;
    uint8_t *spares[CHUNK_SPARES_MAX];
    uint32_t count;
    uint32_t count_min; /* since the last trim: so many were not needed */
    struct large_spare large[LARGE_SPARES_MAX];
    uint32_t large_count;
    size_t large_octets;
};

void chunk_spares_init(struct chunk_spares *spares, struct chunk_memory memory);
void chunk_spares_fini(struct chunk_spares *spares); /* what was taken stays with who took it */

/* Memory of so many octets, or NULL; a spare one of just that size if there is one. */
uint8_t *chunk_spares_map(struct chunk_spares *spares, size_t capacity);

/* The same for a content with a chunk of its own: also a spare one that is larger by an eighth at
 * most. */
uint8_t *chunk_spares_map_own(struct chunk_spares *spares, size_t wanted, size_t *capacity_out);

/* Takes memory that nobody needs any more; `capacity` as it was mapped. */
void chunk_spares_unmap(struct chunk_spares *spares, uint8_t *memory, size_t capacity);

/* Whether anything is kept. */
bool chunk_spares_are_kept(const struct chunk_spares *spares);

/* Gives back what was kept and not needed since the last call. True while more is kept: call again
 * after a second or so, and not at all once it is false. */
bool chunk_spares_trim(struct chunk_spares *spares);

#endif
