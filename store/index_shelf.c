/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index_shelf.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <pthread.h>
#include <stdlib.h>

struct index_shelf {
    struct index_builder builder; /* of the segment under way; the log's thread's */
    bool is_building;             /* false: there is none, or it was too large to be kept */

    pthread_mutex_t mutex; /* guards everything below it */
    struct segment_index full[INDEX_SHELF_SEGMENTS];
    size_t full_count;
};

struct index_shelf *
index_shelf_new(void)
{
    struct index_shelf *shelf = xalloc(sizeof(*shelf));
    pthread_mutex_init(&shelf->mutex, NULL);
    return shelf;
}

void
index_shelf_free(struct index_shelf **shelf_pointer)
{
    struct index_shelf *shelf = *shelf_pointer;
    if (shelf == NULL) {
        return;
    }
    *shelf_pointer = NULL;
    index_builder_fini(&shelf->builder);
    for (size_t i = 0; i < shelf->full_count; i++) {
        segment_index_fini(&shelf->full[i]);
    }
    pthread_mutex_destroy(&shelf->mutex);
    free(shelf);
}

static void
give_up(struct index_shelf *shelf)
{
    index_builder_fini(&shelf->builder);
    shelf->builder = (struct index_builder){0};
    shelf->is_building = false;
}

void
index_shelf_begin(struct index_shelf *shelf, const struct segment_header *segment)
{
    give_up(shelf);
    index_builder_init(&shelf->builder, segment);
    shelf->is_building = true;
}

void
index_shelf_add(struct index_shelf *shelf, const struct record *record,
                const struct batch_header *batch, uint32_t body_size)
{
    if (shelf->is_building &&
        (index_builder_add_record(&shelf->builder, record, batch, body_size) != STATUS_OK ||
         index_builder_octets(&shelf->builder) > INDEX_SHELF_OCTETS)) {
        give_up(shelf);
    }
}

void
index_shelf_end(struct index_shelf *shelf, uint64_t end_lsn)
{
    if (!shelf->is_building) {
        return;
    }
    pthread_mutex_lock(&shelf->mutex);
    if (shelf->full_count < INDEX_SHELF_SEGMENTS) {
        index_builder_finish(&shelf->builder, end_lsn, &shelf->full[shelf->full_count++]);
    }
    pthread_mutex_unlock(&shelf->mutex);
    give_up(shelf);
}

/* Segments come and are taken in their order: one before the one that is asked for is asked for no
 * more. */
bool
index_shelf_take(struct index_shelf *shelf, uint64_t number, uint64_t end_lsn,
                 struct segment_index *index_out)
{
    bool is_found = false;
    size_t kept = 0;
    pthread_mutex_lock(&shelf->mutex);
    for (size_t i = 0; i < shelf->full_count; i++) {
        struct segment_index *full = &shelf->full[i];
        if (full->number > number) {
            shelf->full[kept++] = *full;
        } else if (full->number == number && full->end_lsn == end_lsn) {
            *index_out = *full;
            is_found = true;
        } else {
            segment_index_fini(full);
        }
    }
    shelf->full_count = kept;
    pthread_mutex_unlock(&shelf->mutex);
    return is_found;
}
