/* SPDX-License-Identifier: Apache-2.0 */
/* What still lives of the segments that are packed. */
#include "store/pack_work.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/fold.h"
#include "store/pack_older.h"
#include "store/pack_states.h"

static enum status
read_source_index(struct packing *packing, struct pack_source *source, struct segment_index *index)
{
    const char *reason;
    enum status status;
    if (!source->entry->is_pack) {
        status = segment_index_read(index, packing->disk, source->entry->header.number);
    } else {
        status = pack_read(&source->pack, packing->disk, source->entry->name, &reason);
        if (status == STATUS_OK) {
            *index = source->pack.index;
            source->pack.index = (struct segment_index){0};
        }
    }
    return status == STATUS_OK ? status
                               : packing_fail(packing, status, "read", source->entry->name, 0);
}

static enum status
add_rows(struct packing *packing, const struct segment_index *index, const struct dead_rows *dead)
{
    uint64_t wanted = packing->index.row_count + index->row_count;
    if (wanted > packing->row_capacity) {
        struct index_row *rows = try_realloc(packing->index.rows, (size_t)wanted * sizeof(*rows));
        if (rows == NULL) {
            return STATUS_NO_MEMORY;
        }
        packing->index.rows = rows;
        packing->row_capacity = wanted;
    }
    for (uint64_t i = 0; i < index->row_count; i++) {
        if (!dead_bit(dead->bits, i)) {
            packing->index.rows[packing->index.row_count++] = index->rows[i];
        }
    }
    return STATUS_OK;
}

static int
compare_removals(const void *a, const void *b)
{
    const struct index_removal *left = a;
    const struct index_removal *right = b;
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

/* A removal that ends a row which an older file still shows as alive is needed: STATUS_REJECTED.
 * One whose row has been left out of a pack is not. Puts the removals in the order of the files. */
static enum status
check_removals(struct packing *packing, struct segment_index *index)
{
    struct older_rows older = {0};
    enum status status = STATUS_OK;
    if (index->removal_count > 1) {
        qsort(index->removals, index->removal_count, sizeof(*index->removals), compare_removals);
    }
    for (uint64_t i = 0; i < index->removal_count && status == STATUS_OK; i++) {
        const struct index_removal *removal = &index->removals[i];
        const struct catalog_entry *entry = removal->lsn < packing->header.base_lsn
                                                ? catalog_find(&packing->catalog, removal->lsn)
                                                : NULL;
        if (entry == NULL) {
            continue;
        }
        if (entry != older.entry) {
            status = older_rows_read(&older, packing->disk, entry);
        }
        if (status != STATUS_OK) {
            status = packing_fail(packing, status, "read", entry->name, 0);
        } else if (older_rows_has(&older, removal->lsn, removal->queue)) {
            status = STATUS_REJECTED;
        }
    }
    older_rows_fini(&older);
    return status;
}

/* Where nothing is committed yet nothing was folded, and nobody has made the file that says so. */
static enum status
read_dead(struct packing *packing, const struct pack_source *source,
          const struct segment_index *index, struct dead_rows *dead)
{
    char name[STORE_NAME_SIZE];
    bool is_pack = source->entry->is_pack;
    enum status status = dead_rows_read(dead, packing->disk, index);
    bool is_missing = (status == STATUS_IO && errno == ENOENT) ||
                      (status == STATUS_AGAIN && is_pack); /* it is about what the pack was */
    if (is_missing && packing->folded_lsn == 0) {
        return dead_rows_init(dead, index);
    }
    store_file_name(STORE_FILE_DEAD, index->number, 0, name);
    return status == STATUS_OK ? status : packing_fail(packing, status, "read", name, 0);
}

enum status
packing_gather_source(struct packing *packing, struct pack_source *source)
{
    struct segment_index index = {0};
    struct dead_rows dead;
    uint64_t number = source->entry->header.number;
    enum status status = fold_run(packing->disk, number, packing->folded_lsn, packing->failure);
    if (status == STATUS_OK) {
        status = read_source_index(packing, source, &index);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (index.topology_lsn != 0 && index.topology_lsn >= packing->snapshot_lsn) {
        status = STATUS_REJECTED;
    } else {
        status = check_removals(packing, &index);
    }
    if (status == STATUS_OK) {
        status = read_dead(packing, source, &index, &dead);
        if (status == STATUS_OK) {
            status = add_rows(packing, &index, &dead);
            dead_rows_fini(&dead);
        }
        if (status == STATUS_OK) {
            status = pack_states_add(&packing->index, &packing->state_capacity, &index);
        }
    }
    packing->index.end_lsn = index.end_lsn;
    segment_index_fini(&index);
    return status;
}

enum status
packing_find_sources(struct packing *packing)
{
    enum status status = catalog_read(&packing->catalog, packing->disk, packing->failure);
    if (status != STATUS_OK) {
        return status;
    }
    packing->sources = xalloc(((size_t)packing->catalog.count + 1) * sizeof(*packing->sources));
    for (uint32_t i = 0; i < packing->catalog.count; i++) {
        const struct catalog_entry *entry = &packing->catalog.entries[i];
        if (entry->header.number >= packing->first && entry->last <= packing->last) {
            packing->sources[packing->source_count++].entry = entry;
        }
    }
    uint32_t count = packing->source_count;
    if (count == 0 || (count == 1 && !packing->sources[0].entry->is_pack) ||
        packing->sources[0].entry->header.number != packing->first ||
        packing->sources[count - 1].entry->last != packing->last) {
        return STATUS_REJECTED;
    }
    const struct segment_header *from = &packing->sources[0].entry->header;
    const struct segment_header *to = &packing->sources[count - 1].entry->header;
    packing->header = *to;
    packing->header.number = packing->first;
    packing->header.base_lsn = from->base_lsn;
    packing->header.slot_size = to->base_lsn + to->slot_size - from->base_lsn;
    return STATUS_OK;
}
