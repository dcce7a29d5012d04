/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of one queue by the time at which something is to happen to them: a tree of blocks of
 * 4 KiB, ordered by due time and then by position in the queue. A row is 40 octets, so that ten
 * millions of them can wait in memory. What happens at the due time is the owner's.
 *
 * A block that runs empty is freed, and one that is half full because its rows were removed stays
 * so: the index never holds more than it did at its largest.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_DUE_INDEX_H
#define BOURSE_QUEUES_DUE_INDEX_H

#include "base/status.h"
#include "queues/entry.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct due_node; /* due_index.c */

/* When, and of which message. No two rows of an index have the same. */
struct due_key {
    uint64_t due_ms;   /* of the owner's clock */
    uint64_t position; /* in the queue */
};

struct due_row {
    struct due_key key;
    struct queue_entry entry;
};

_Static_assert(sizeof(struct due_row) == 40, "millions of these wait");

/* All zero: empty. */
struct due_index {
    struct due_node *root;  /* owned; NULL: empty */
    struct due_node *first; /* the leaf with the earliest rows */
    uint64_t count;
    uint64_t bytes;  /* of memory */
    uint32_t height; /* levels above the leaves */
};

/* Frees the index without looking at its rows. */
void due_index_fini(struct due_index *index);

/* STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status due_index_add(struct due_index *index, const struct due_row *row);

/* The earliest row, or NULL. Valid until the index changes; the entry may be written to. */
struct due_row *due_index_first(const struct due_index *index);

/* Takes the row under `key` out; false when there is none. Never fails for want of memory. */
bool due_index_take(struct due_index *index, const struct due_key *key, struct due_row *row_out);

/* The row under `key`, or NULL; as due_index_first. */
struct due_row *due_index_find(const struct due_index *index, const struct due_key *key);

/* Walks rows in order; any change of the index ends the walk. */
struct due_cursor {
    struct due_node *leaf; /* NULL: at the end */
    uint32_t at;
};
/* At the first row that is not before `key`. */
struct due_cursor due_index_seek(const struct due_index *index, const struct due_key *key);
/* The row at the cursor, which moves on; NULL at the end. */
struct due_row *due_cursor_next(struct due_cursor *cursor);

/* Walks everything and asserts that it is in order and that the counters agree; for tests. */
void due_index_check(const struct due_index *index);

#endif
