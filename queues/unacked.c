/* SPDX-License-Identifier: Apache-2.0 */
/* Holes keep their tag, so that the array stays sorted. First and last item are never holes; so
 * clients that settle in order, or from the newest backwards, leave none. */
#include "queues/unacked.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    UNACKED_CAPACITY_MIN = 16,
    /* A table that ran empty keeps at most so many places. */
    UNACKED_CAPACITY_KEPT = 1024,
};

void
unacked_table_init(struct unacked_table *table)
{
    *table = (struct unacked_table){0};
}

void
unacked_table_fini(struct unacked_table *table)
{
    assert(table->count == 0);
    free(table->items);
    unacked_table_init(table);
}

static bool
is_hole(const struct unacked *item)
{
    return item->queue == NULL;
}

/* Moves the open items together at the front. */
static void
table_compact(struct unacked_table *table)
{
    uint32_t kept = 0;
    for (uint32_t i = table->start; i < table->end; i++) {
        if (!is_hole(&table->items[i])) {
            table->items[kept++] = table->items[i];
        }
    }
    assert(kept == table->count);
    table->start = 0;
    table->end = kept;
}

/* Room for one item behind the last. Compacting is due only when it frees half of the array, so its
 * cost is shared by as many additions. */
static enum status
table_make_room(struct unacked_table *table)
{
    if (table->end < table->capacity) {
        return STATUS_OK;
    }
    if (table->count <= table->capacity / 2 && table->capacity > 0) {
        table_compact(table);
        return STATUS_OK;
    }
    assert(table->capacity <= UINT32_MAX / 2);
    uint32_t capacity = table->capacity == 0 ? UNACKED_CAPACITY_MIN : table->capacity * 2;
    struct unacked *items = try_realloc(table->items, capacity * sizeof(*items));
    if (items == NULL) {
        return STATUS_NO_MEMORY;
    }
    table->items = items;
    table->capacity = capacity;
    return STATUS_OK;
}

enum status
unacked_table_add(struct unacked_table *table, const struct unacked *item)
{
    assert(item->queue != NULL);
    assert(table->count == 0 || table->items[table->end - 1].tag < item->tag);
    if (table_make_room(table) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    table->items[table->end++] = *item;
    table->count++;
    return STATUS_OK;
}

/* The place of the first item whose tag is not below `tag`; `end` when there is none. */
static uint32_t
table_lower_bound(const struct unacked_table *table, uint64_t tag)
{
    uint32_t low = table->start;
    uint32_t high = table->end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->items[middle].tag < tag) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct unacked *
unacked_table_find(struct unacked_table *table, uint64_t tag)
{
    if (table->count == 0 || tag < table->items[table->start].tag) {
        return NULL;
    }
    /* Where it stands if no tag is missing in between; it cannot stand further back. */
    uint64_t distance = tag - table->items[table->start].tag;
    uint32_t place = table->end;
    if (distance < table->end - table->start) {
        place = table->start + (uint32_t)distance;
    }
    if (place == table->end || table->items[place].tag != tag) {
        place = table_lower_bound(table, tag);
    }
    if (place == table->end || table->items[place].tag != tag || is_hole(&table->items[place])) {
        return NULL;
    }
    return &table->items[place];
}

const struct unacked *
unacked_table_next(const struct unacked_table *table, uint64_t tag)
{
    uint32_t place = table->count == 0 ? table->end : table_lower_bound(table, tag);
    while (place < table->end && is_hole(&table->items[place])) {
        place++;
    }
    return place < table->end ? &table->items[place] : NULL;
}

/* It ran empty: starts again at the front, and gives back what a burst has made it grow to. */
static void
table_reset(struct unacked_table *table)
{
    table->start = 0;
    table->end = 0;
    if (table->capacity > UNACKED_CAPACITY_KEPT) {
        free(table->items);
        table->items = NULL;
        table->capacity = 0;
    }
}

static void
table_remove(struct unacked_table *table, struct unacked *item, struct unacked *item_out)
{
    *item_out = *item;
    item->queue = NULL;
    table->count--;
    if (table->count == 0) {
        table_reset(table);
        return;
    }
    while (is_hole(&table->items[table->start])) {
        table->start++;
    }
    while (is_hole(&table->items[table->end - 1])) {
        table->end--;
    }
}

bool
unacked_table_take(struct unacked_table *table, uint64_t tag, struct unacked *item_out)
{
    struct unacked *item = unacked_table_find(table, tag);
    if (item == NULL) {
        return false;
    }
    table_remove(table, item, item_out);
    return true;
}

bool
unacked_table_take_first(struct unacked_table *table, uint64_t tag_max, struct unacked *item_out)
{
    if (table->count == 0 || table->items[table->start].tag > tag_max) {
        return false;
    }
    table_remove(table, &table->items[table->start], item_out);
    return true;
}

bool
unacked_table_take_last(struct unacked_table *table, struct unacked *item_out)
{
    if (table->count == 0) {
        return false;
    }
    table_remove(table, &table->items[table->end - 1], item_out);
    return true;
}

static int
compare_tags(const void *left, const void *right)
{
    const struct unacked *a = left;
    const struct unacked *b = right;
    return (a->tag > b->tag) - (a->tag < b->tag);
}

enum status
unacked_table_put_back(struct unacked_table *table, struct unacked *items, uint32_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    assert(count <= UINT32_MAX / 2 - table->count);
    uint32_t merged_count = table->count + count;
    struct unacked *merged = try_alloc(merged_count * sizeof(*merged));
    if (merged == NULL) {
        return STATUS_NO_MEMORY;
    }
    qsort(items, count, sizeof(*items), compare_tags);
    uint32_t given = 0;
    uint32_t own = table->start;
    for (uint32_t i = 0; i < merged_count; i++) {
        while (own < table->end && is_hole(&table->items[own])) {
            own++;
        }
        bool take_given =
            own == table->end || (given < count && items[given].tag < table->items[own].tag);
        merged[i] = take_given ? items[given++] : table->items[own++];
    }
    free(table->items);
    *table = (struct unacked_table){
        .items = merged, .end = merged_count, .capacity = merged_count, .count = merged_count};
    return STATUS_OK;
}
