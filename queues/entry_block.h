/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a deque of entries, shared by the files that are it: entry_deque.c pushes and takes,
 * entry_pages.c spills the middle and reads it back, entry_dead.c lets entries die, entry_look.c
 * looks. */
#ifndef BOURSE_QUEUES_ENTRY_BLOCK_H
#define BOURSE_QUEUES_ENTRY_BLOCK_H

#include "queues/due_index.h"
#include "queues/entry_deque.h"

enum {
    ENTRY_BLOCK_BYTES = 8 * 1024,
    ENTRY_BLOCK_CAPACITY =
        (ENTRY_BLOCK_BYTES - sizeof(struct entry_block)) / sizeof(struct queue_entry),
    ENTRY_RUN_COUNT_MAX = (1 << 15) - 1, /* more than ENTRY_RUN_OCTETS hold */
};

_Static_assert(ENTRY_RUN_OCTETS / 16 <= ENTRY_RUN_COUNT_MAX, "entries of a run are counted");

static inline size_t
entry_block_bytes(uint32_t capacity)
{
    return sizeof(struct entry_block) + capacity * sizeof(struct queue_entry);
}

/* A run of entries in a spill file. */
struct entry_run {
    uint64_t place;
    uint64_t body_bytes;
    uint32_t crc;
    unsigned count : 15;
    unsigned is_logged : 1;   /* every entry that lives has an LSN: 16 octets each */
    unsigned dead_count : 16; /* that were dead when it was written */
};

_Static_assert(sizeof(struct entry_run) == 24, "one for each 64 KiB of a long backlog");

/* What a long deque has beside its blocks. The blocks are one chain from deque->head; the first
 * `front_count` of them stand in front of the runs, the others behind. */
struct entry_pages {
    struct list_link link; /* entry_memory.long_deques */
    struct entry_deque *deque;
    uint32_t block_count;           /* of the whole chain */
    uint32_t front_count;           /* 0 while there are no runs: all blocks are behind none */
    struct entry_block *front_last; /* NULL while front_count is 0 */
    struct entry_run *runs;         /* a ring; owned */
    uint32_t run_first, run_count, run_capacity;
    struct entry_block *spilling; /* first block of the run that is being written; NULL: none, or
                                     the head has come that far */
    uint32_t spilling_count;      /* of its blocks */
    bool is_spilling;             /* a run is under way to the disk */
    bool is_reading;              /* the first run is under way back */
    bool died_meanwhile;          /* an entry in memory, while a run was under way to the disk */

    /* Places are numbered: the first of the first block has the number finished_count. */
    uint64_t finished_count; /* places of blocks that are done */
    uint64_t run_places;     /* of all runs */
    struct due_index dead;   /* spilled entries that have died since; due 0, position: the number */

    /* The blocks of the chain, so that one in the middle is found at once; made when it is first
     * asked for, and again when the chain has changed otherwise than at its ends. */
    struct entry_block **directory; /* owned; NULL: not made */
    uint32_t directory_first, directory_count, directory_capacity;
};

/* Octets of memory that it counts. */
static inline size_t
entry_pages_bytes(const struct entry_pages *pages)
{
    return pages->run_capacity * sizeof(*pages->runs) +
           pages->directory_capacity * sizeof(struct entry_block *) + pages->dead.bytes;
}

/* Where an entry stands. */
struct entry_place {
    struct entry_block *block; /* NULL: it is spilled */
    uint32_t at;               /* in the block */
    uint64_t number;           /* of its place, if it is spilled */
};

/* Of the one that is `skip` places behind the oldest. */
struct entry_place entry_deque_find(const struct entry_deque *deque, uint64_t skip);

/* Octets of the run in its file. */
size_t entry_run_octets(const struct entry_run *run);

/* The deque has one block more: makes pages when it has become long. */
void entry_pages_on_block(struct entry_deque *deque);

/* The head block was finished and is about to leave the chain. */
void entry_pages_on_head_done(struct entry_pages *pages, const struct entry_block *block);

/* The chain has changed in the middle. */
void entry_pages_forget_directory(struct entry_pages *pages);

/* The number of the first entry of the first run. */
static inline uint64_t
entry_pages_first_run_number(const struct entry_pages *pages)
{
    return pages->finished_count + (uint64_t)pages->front_count * ENTRY_BLOCK_CAPACITY;
}

/* Entries of the run that is under way to the disk died in memory, which the file does not know:
 * lists those of the blocks from `block` on, whose first has the number `number`. `octets` is what
 * the file has. STATUS_NO_MEMORY lists none. */
MUST_CHECK enum status entry_pages_list_dead(struct entry_pages *pages,
                                             const struct entry_block *block, uint64_t number,
                                             const struct entry_run *run, const uint8_t *octets);

/* Marks what is listed as dead in the blocks of the first run, which are back in memory and not in
 * the chain yet. */
void entry_pages_apply_dead(struct entry_pages *pages, struct entry_block *chain);

/* Reads one entry of a run; returns behind it. */
const uint8_t *entry_pages_read_entry(const uint8_t *at, bool is_logged,
                                      struct queue_entry *entry_out);

/* Frees the pages of a deque without looking into what is spilled. */
void entry_pages_free(struct entry_deque *deque);

#endif
