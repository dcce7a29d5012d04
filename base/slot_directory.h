/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of 64-bit slots that never stops to grow: it is a directory of small tables, of
 * which one at a time is enlarged or divided in two, so that no insertion or removal moves more
 * than SLOT_TABLE_CAPACITY_MAX slots, however many there are. The upper bits of a hash choose the
 * table, the lower ones the slot in it: linear probing, at most half full. A removal moves up what
 * stands behind it, so nothing decays.
 *
 * What a slot means is the user's: he says what its hash is, and compares. */
#ifndef BOURSE_BASE_SLOT_DIRECTORY_H
#define BOURSE_BASE_SLOT_DIRECTORY_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SLOT_EMPTY = 0,                 /* no slot has this value */
    SLOT_TABLE_CAPACITY_MAX = 8192, /* of a table that can be divided */
    SLOT_DIRECTORY_DEPTH_MAX = 16,  /* tables of that depth grow instead */
};

struct slot_table {
    uint64_t *slots;   /* owned; SLOT_EMPTY or in use */
    uint32_t capacity; /* a power of two; 0 before the first insertion */
    uint32_t count;
    uint32_t depth; /* how many upper bits all its hashes share */
};

/* All zero is an empty one that holds no memory. */
struct slot_directory {
    struct slot_table only;     /* while `depth` is 0 */
    struct slot_table **tables; /* by the upper `depth` bits; owned, several places may hold one */
    uint32_t depth;
    uint32_t count; /* slots in use */
};

/* The hash of a slot. */
struct slot_hasher {
    uint32_t (*hash)(const void *context, uint64_t slot);
    const void *context;
};

void slot_directory_fini(struct slot_directory *directory); /* also makes it empty again */

/* Room for one more slot of that hash: adding it cannot fail then. STATUS_NO_MEMORY changes nothing
 * that anybody notices. */
MUST_CHECK enum status slot_directory_reserve(struct slot_directory *directory,
                                              const struct slot_hasher *hasher, uint32_t hash);

/* Adds `slot`, whose hash is `hash`; it is not there yet. */
void slot_directory_insert(struct slot_directory *directory, const struct slot_hasher *hasher,
                           uint32_t hash, uint64_t slot);

/* Takes `slot` out; it is there. */
void slot_directory_remove(struct slot_directory *directory, const struct slot_hasher *hasher,
                           uint32_t hash, uint64_t slot);

/* `to`, which has the same hash, stands where `from` stood. */
void slot_directory_replace(struct slot_directory *directory, uint32_t hash, uint64_t from,
                            uint64_t to);

/* The slot in use at or behind `*position`, or SLOT_EMPTY at the end; moves `*position` to it.
 * Start with 0; to go on behind the slot, add one. Removing it lets the walk go on where it is;
 * other changes let it begin anew. */
uint64_t slot_directory_next(const struct slot_directory *directory, uint64_t *position);

/* The lowest hash of the table that holds the slot at `position`, and the position where the table
 * for a hash begins. Tables are only ever divided: who has looked at all tables below a hash has
 * seen every slot below it that was there all the time, whatever changed meanwhile. */
uint32_t slot_directory_first_hash(const struct slot_directory *directory, uint64_t position);
uint64_t slot_directory_position(const struct slot_directory *directory, uint32_t first_hash);

uint64_t slot_directory_memory_bytes(const struct slot_directory *directory);

/* The table for a hash; its `slots` are NULL while the directory is empty. */
static inline const struct slot_table *
slot_directory_table(const struct slot_directory *directory, uint32_t hash)
{
    return directory->depth == 0 ? &directory->only
                                 : directory->tables[hash >> (32 - directory->depth)];
}

#endif
