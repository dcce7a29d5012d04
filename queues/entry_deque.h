/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of a queue in order: blocks of 8 KiB (the first grows from 16 entries), of which
 * those in the middle may lie in a spill file. In front of and behind what is spilled stand blocks
 * in memory; the front is filled up from the file while the head is taken.
 *
 * A long deque is on its owner's list, from which whoever must save memory picks (entry_memory). A
 * run of blocks is written first and given up when it is written, so a disk that refuses costs
 * nothing but memory. Of an entry that is in the log, the file keeps 16 octets: the entry lets go
 * of its content, which is found by its LSN. An entry in no log goes as it is, and keeps its
 * content's chunk alive.
 *
 * A message may die where it stands (entry_dead.c). Its place stays, so that the positions of the
 * others do: in memory as a dead entry, and of what is spilled a list says which are dead until
 * they are read back. The oldest entry is never a dead one.
 *
 * Owner: the core thread. Jobs are carried out elsewhere (store/spill.h). */
#ifndef BOURSE_QUEUES_ENTRY_DEQUE_H
#define BOURSE_QUEUES_ENTRY_DEQUE_H

#include "base/list.h"
#include "base/status.h"
#include "queues/entry.h"
#include "queues/wait_times.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spill_space;
struct entry_pages; /* entry_pages.c */

enum {
    ENTRY_BLOCKS_MAX = 192,       /* a deque with more in memory is spilled, pressure or not */
    ENTRY_RUN_OCTETS = 64 * 1024, /* of one run in a spill file */
};

/* Memory of all deques of one owner, and what is to outlast each of them. */
struct entry_memory {
    uint64_t bytes;
    int64_t now_ms;            /* the owner's clock (times.h): what is pushed came then */
    struct spill_space *space; /* borrowed; NULL: nothing is spilled */
    struct list long_deques;   /* of entry_pages.link: those that may have something to spill; those
                                  with more than ENTRY_BLOCKS_MAX blocks first */
    uint64_t busy_lsn; /* what is logged from here on is not on disk yet, and is not spilled; 0: all
                          is */
    struct wait_times waits; /* counted by clocks.h */
    struct entry_block
        *spares; /* full-sized, for pushes that have reserved; owned, singly linked */
};

static inline void
entry_memory_init(struct entry_memory *memory)
{
    *memory = (struct entry_memory){0};
    list_init(&memory->long_deques);
}

/* Full to the last place but for the first and the last of a deque. */
struct entry_block {
    struct entry_block *next;
    uint32_t start; /* of the first entry that is still here */
    uint32_t end;
    uint32_t capacity;
    uint32_t dead_count; /* of the entries that are still here */
    struct queue_entry entries[];
};

/* All zero is an empty deque that nobody adds up. */
struct entry_deque {
    struct entry_block *head;    /* oldest in memory; owned, singly linked; NULL: none in memory */
    struct entry_block *tail;    /* where entry_deque_push appends */
    struct entry_pages *pages;   /* owned; NULL: was never long */
    struct entry_memory *memory; /* borrowed; NULL: nobody adds up */
    uint64_t bytes;              /* of memory, what the owner of the deque adds included */
    bool has_runs;               /* something is spilled */
    uint32_t dead_count;         /* places whose messages have died, spilled ones included */
};

/* Frees blocks and what is spilled without looking at the entries. No job is under way. */
void entry_deque_fini(struct entry_deque *deque);

/* Gives up what is spilled, and with it the entries there; the others move together. No job is
 * under way. */
void entry_deque_forget_spilled(struct entry_deque *deque);

/* Moves everything, a job under way included, to `to`, which was empty. */
void entry_deque_move(struct entry_deque *from, struct entry_deque *to);

/* Whether something should be read back now: little is left in front of what is spilled. */
bool entry_pages_wants_read(const struct entry_pages *pages);
static inline bool
entry_deque_wants_read(const struct entry_deque *deque)
{
    return deque->has_runs && entry_pages_wants_read(deque->pages);
}

/* Whether the oldest entry is spilled. */
bool entry_pages_head_is_away(const struct entry_pages *pages);
static inline bool
entry_deque_head_is_away(const struct entry_deque *deque)
{
    return deque->has_runs && entry_pages_head_is_away(deque->pages);
}

/* The entry `count` behind the oldest, if it stands in the same block; else NULL. */
static inline const struct queue_entry *
entry_deque_ahead(const struct entry_deque *deque, uint32_t count)
{
    const struct entry_block *block = deque->head;
    bool is_there = block != NULL && block->start + count < block->end;
    return is_there ? &block->entries[block->start + count] : NULL;
}

/* Whether the tail block has room for one more entry. */
static inline bool
entry_deque_has_room(const struct entry_deque *deque)
{
    return deque->tail != NULL && deque->tail->end < deque->tail->capacity;
}

/* Makes room for one more entry in the tail block. */
MUST_CHECK enum status entry_deque_make_room(struct entry_deque *deque);

/* Makes room for `count` more entries: as many pushes cannot fail. Whole blocks that this takes are
 * spares of the deque's memory, so nobody else pushes to a deque of that owner in between. The rest
 * stays with the deque until it runs empty. STATUS_NO_MEMORY: the same as with nothing reserved. */
MUST_CHECK enum status entry_deque_reserve(struct entry_deque *deque, uint32_t count);

/* Gives up the spares of all deques of the owner. */
void entry_memory_free_spares(struct entry_memory *memory);

/* STATUS_NO_MEMORY changes nothing. */
static inline MUST_CHECK enum status
entry_deque_push(struct entry_deque *deque, const struct queue_entry *entry)
{
    if (!entry_deque_has_room(deque) && entry_deque_make_room(deque) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct entry_block *block = deque->tail;
    queue_entry_copy(&block->entries[block->end++], entry);
    return STATUS_OK;
}

/* The oldest entry, or NULL: the deque is empty, or what comes next is spilled. Valid until the
 * deque changes. */
static inline struct queue_entry *
entry_deque_head(const struct entry_deque *deque)
{
    struct entry_block *block = deque->head;
    if (block == NULL || block->start == block->end || entry_deque_head_is_away(deque)) {
        return NULL;
    }
    return &block->entries[block->start];
}

/* The head block has nothing more to give. */
void entry_deque_finish_head(struct entry_deque *deque);

/* Gives up dead places in front, as far as they are in memory. */
void entry_deque_skip_dead(struct entry_deque *deque);

/* Takes the oldest entry; there is one. */
static inline void
entry_deque_take(struct entry_deque *deque, struct queue_entry *entry_out)
{
    struct entry_block *block = deque->head;
    assert(!entry_deque_head_is_away(deque));
    assert(block->start < block->end);
    *entry_out = block->entries[block->start++];
    if (block->start == block->end) {
        entry_deque_finish_head(deque);
    }
    if (deque->dead_count > 0) {
        entry_deque_skip_dead(deque);
    }
}

/* Lets the entry die that is `skip` places behind the oldest; there is one. `entry` is what the
 * caller remembers of it, and becomes what it was at the end: its content's name passes to the
 * caller, if it has not let go of it. STATUS_AGAIN: it was dead. STATUS_NO_MEMORY: it was spilled,
 * and lives. */
MUST_CHECK enum status entry_deque_kill(struct entry_deque *deque, uint64_t skip,
                                        struct queue_entry *entry);

/* Gives up everything, if all of its `place_count` places are dead and no job is under way. */
void entry_deque_drop_dead(struct entry_deque *deque, uint64_t place_count);

/* Walks entries from the oldest on, as far as they are in memory without a gap. */
struct entry_cursor {
    struct entry_block *block; /* NULL: at the end */
    uint32_t at;
    uint32_t blocks_left;
};
/* At the entry that is `skip` entries behind the oldest. */
struct entry_cursor entry_deque_seek(const struct entry_deque *deque, uint64_t skip);
/* The entry at the cursor, which moves on; NULL at the end. */
struct queue_entry *entry_cursor_next(struct entry_cursor *cursor);

/* Looking (entry_look.c): at any place, whatever is spilled, and nothing changes ----------------
 */

enum entry_sight {
    SIGHT_LIVING,
    SIGHT_DEAD,    /* the place of one that has died */
    SIGHT_SPILLED, /* it lives, or lived, in a run that has to be read first */
};

/* The entry that is `skip` places behind the oldest; there is one. */
enum entry_sight entry_deque_look(const struct entry_deque *deque, uint64_t skip,
                                  struct queue_entry *entry_out);

/* A run of entries as its file has it, for whoever looks; it stays where it is. */
struct entry_look {
    uint64_t place; /* store/spill_space.h */
    uint32_t size;  /* octets */
    uint32_t crc;   /* what it must be */
    uint32_t count; /* entries */
    bool is_logged;
};

/* The run that holds the spilled place `skip`, which is the `*at_out`-th entry of it. */
void entry_deque_find_run(const struct entry_deque *deque, uint64_t skip,
                          struct entry_look *look_out, uint32_t *at_out);

/* Entry `at` of the octets of that run; dead if it was when the run was written. */
struct queue_entry entry_look_read(const struct entry_look *look, const uint8_t *octets,
                                   uint32_t at);

/* The LSN of the last logged entry in the first `block_max` blocks; 0: none. */
uint64_t entry_deque_last_lsn(const struct entry_deque *deque, uint32_t block_max);

/* The owner's own memory, which counts as the deque's. */
void entry_deque_count_memory(struct entry_deque *deque, size_t freed, size_t taken);

/* Spilling (entry_pages.c) --------------------------------------------------------------------- */

/* One run on its way out or back. */
struct entry_spill {
    struct entry_pages *pages; /* whose; survives entry_deque_move */
    uint8_t *octets;           /* owned */
    size_t size;
    uint64_t place; /* store/spill_space.h */
    uint32_t crc;   /* out: set by the writer; back: what it must be */
};

/* Picks a deque that is worth spilling and says what to write where; false when there is none, or
 * no memory or room for it. `under_pressure`: even a short one. Each deque has one run under way at
 * most. */
bool entry_memory_begin_spill(struct entry_memory *memory, bool under_pressure,
                              struct entry_spill *spill_out);
/* The run was written, or not; entries that have an LSN let go of their contents in `pool`. Takes
 * `spill`. */
void entry_pages_end_spill(struct entry_spill *spill, bool is_written, struct chunk_pool *pool);

/* Says what to read. False when there is no memory. One read at a time. */
bool entry_deque_begin_read(struct entry_deque *deque, struct entry_spill *spill_out);
/* It was read, or could not be: then its entries are dead. How many of them were not dead before,
 * and the octets of their bodies, is 0 when all is well. STATUS_NO_MEMORY: it stays where it is.
 * Takes `spill`. The pages may be gone afterwards. */
struct entry_loss {
    uint64_t count;
    uint64_t bytes;
};
MUST_CHECK enum status entry_pages_end_read(struct entry_spill *spill, bool is_read,
                                            struct entry_loss *loss_out);
/* Whose deque it is now. */
struct entry_deque *entry_pages_deque(const struct entry_pages *pages);
/* No job is under way. */
bool entry_deque_is_settled(const struct entry_deque *deque);

/* Walks everything in memory and asserts that it agrees; `own_bytes` is what the owner has counted.
 * Returns how many places there are, dead and spilled ones included, and the octets of the bodies
 * of those that live. For tests. */
uint64_t entry_deque_check(const struct entry_deque *deque, uint64_t own_bytes,
                           uint64_t *body_bytes_out);

#endif
