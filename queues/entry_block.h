/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a deque of entries, shared by the two files that are it: entry_deque.c pushes and
 * takes, entry_pages.c spills the middle and reads it back. */
#ifndef BOURSE_QUEUES_ENTRY_BLOCK_H
#define BOURSE_QUEUES_ENTRY_BLOCK_H

#include "queues/entry_deque.h"

enum {
    ENTRY_BLOCK_BYTES = 8 * 1024,
    ENTRY_BLOCK_CAPACITY =
        (ENTRY_BLOCK_BYTES - sizeof(struct entry_block)) / sizeof(struct queue_entry),
};

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
    uint16_t count;
    bool is_logged; /* every entry has an LSN: 16 octets each */
};

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
};

/* Octets of memory that it counts. */
static inline size_t
entry_pages_bytes(const struct entry_pages *pages)
{
    return pages->run_capacity * sizeof(*pages->runs);
}

/* The deque has one block more: makes pages when it has become long. */
void entry_pages_on_block(struct entry_deque *deque);

/* The head block was finished and is about to leave the chain. */
void entry_pages_on_head_done(struct entry_pages *pages, const struct entry_block *block);

/* Frees the pages of a deque without looking into what is spilled. */
void entry_pages_free(struct entry_deque *deque);

#endif
