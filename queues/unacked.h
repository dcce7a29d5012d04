/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel was handed and has not settled: an array in order of delivery tag, found by index
 * while nothing is missing and by binary search else, compacted when half of it is settled. */
#ifndef BOURSE_QUEUES_UNACKED_H
#define BOURSE_QUEUES_UNACKED_H

#include "base/status.h"
#include "queues/consumer.h"
#include "queues/entry.h"

struct queue;

struct unacked {
    uint64_t tag;              /* the first of a channel is 1 */
    struct queue *queue;       /* a reference; NULL within a table: settled, a hole */
    uint64_t position;         /* in the queue */
    struct queue_entry entry;  /* the content's count is held here */
    struct consumer *consumer; /* a reference; NULL: basic.get */
    uint64_t delivered_ms;     /* monotonic; not before it was */
};

struct unacked_table {
    struct unacked *items; /* owned; NULL while empty */
    uint32_t start;        /* first item that is not a hole */
    uint32_t end;          /* behind the last item that is not a hole */
    uint32_t capacity;
    uint32_t count; /* open ones */
};

void unacked_table_init(struct unacked_table *table);
void unacked_table_fini(struct unacked_table *table); /* asserts that it is empty */

/* Tags rise from call to call. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status unacked_table_add(struct unacked_table *table, const struct unacked *item);

/* The open item under `tag`, or NULL. */
struct unacked *unacked_table_find(struct unacked_table *table, uint64_t tag);

/* The open item with the lowest tag that is not below `tag`, or NULL. */
const struct unacked *unacked_table_next(const struct unacked_table *table, uint64_t tag);

/* Takes the item out (copying it to `item_out`), which passes its references on. False when there
 * is none under that tag. */
bool unacked_table_take(struct unacked_table *table, uint64_t tag, struct unacked *item_out);

/* Takes the oldest open item whose tag is at most `tag_max`. False when there is none. */
bool unacked_table_take_first(struct unacked_table *table, uint64_t tag_max,
                              struct unacked *item_out);

/* Takes the newest open item. False when there is none. */
bool unacked_table_take_last(struct unacked_table *table, struct unacked *item_out);

/* Puts back `count` items that were taken out, in any order, each at the place of its tag: a
 * transaction that is rolled back. Sorts `items`. STATUS_NO_MEMORY changes nothing but their
 * order. */
MUST_CHECK enum status unacked_table_put_back(struct unacked_table *table, struct unacked *items,
                                              uint32_t count);

#endif
