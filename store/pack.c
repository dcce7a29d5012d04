/* SPDX-License-Identifier: Apache-2.0 */
/* Making a pack, step by step. Reading one is pack_read.c's. */
#include "store/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/batch.h"
#include "store/catalog.h"
#include "store/crc32c.h"
#include "store/fold.h"
#include "store/little_endian.h"
#include "store/manifest.h"
#include "store/pack_layout.h"
#include "store/pack_older.h"
#include "store/pack_states.h"

enum {
    WINDOW_SIZE = 1024 * 1024, /* octets of a source that are read at once */
    GAP_MAX = 64 * 1024,       /* octets between two contents that are rather read than skipped */
    OUTPUT_SIZE = 64 * 1024,   /* octets of one queue that are written at once */
    OUTPUT_COUNT = 256,        /* queues that are written side by side */
    SLICE_SIZE = 16 * 1024 * 1024, /* octets that are copied before others have their turn */
};

/* Gathering ------------------------------------------------------------------------------------ */

/* Where a content comes from and goes to. */
struct move {
    uint64_t lsn;
    uint64_t queue;  /* the first that it lives in */
    uint64_t from;   /* offset in its source */
    uint64_t offset; /* in the new file */
    uint32_t size;
    uint32_t source;
};

/* A segment or pack that goes into the new one. */
struct source {
    const struct catalog_entry *entry;
    struct disk_file *file; /* owned */
    struct pack pack;       /* of a pack; owned */
};

/* A stretch of a source, as it is on the disk. */
struct window {
    uint8_t *octets; /* owned */
    size_t size, capacity;
    uint64_t offset;
    uint32_t source;
};

/* Contents of one queue, or of some that share it, on their way into the new file. */
struct output {
    uint8_t *octets; /* OUTPUT_SIZE of them, once there are any; owned */
    size_t size;
    uint64_t offset;
};

enum packing_phase {
    PACKING_BEGIN,
    PACKING_GATHER,
    PACKING_STATES,
    PACKING_COPY,
    PACKING_END,
};

struct packing {
    struct disk own_disk;
    const struct disk *disk; /* own_disk */
    uint64_t first, last;
    uint64_t folded_lsn;
    enum packing_phase phase;
    struct log_failure *failure; /* of the step under way */
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    struct catalog catalog;
    struct source *sources; /* owned */
    uint32_t source_count;
    uint32_t gathered_count; /* of the sources */
    uint64_t snapshot_lsn;
    struct segment_index index; /* of the new pack; owned */
    uint64_t row_capacity, state_capacity;
    uint32_t compared_count; /* of the catalog, with the states that it keeps */
    struct move *moves;      /* by LSN, by queue, by source, by LSN again: as it is needed; owned */
    uint64_t move_count;
    uint64_t copied_count; /* of the moves */
    struct segment_header header;
    struct disk_file *file; /* the new one; owned */
    struct window window;
    struct output outputs[OUTPUT_COUNT];
};

static enum status
fail(struct packing *packing, enum status status, const char *what, const char *name,
     uint64_t offset)
{
    int error = errno;
    (void)log_failure_set(packing->failure, what, name, offset);
    errno = error;
    return status;
}

static enum status
read_source_index(struct packing *packing, struct source *source, struct segment_index *index)
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
    return status == STATUS_OK ? status : fail(packing, status, "read", source->entry->name, 0);
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
            status = fail(packing, status, "read", entry->name, 0);
        } else if (older_rows_has(&older, removal->lsn, removal->queue)) {
            status = STATUS_REJECTED;
        }
    }
    older_rows_fini(&older);
    return status;
}

/* Where nothing is committed yet nothing was folded, and nobody has made the file that says so. */
static enum status
read_dead(struct packing *packing, const struct source *source, const struct segment_index *index,
          struct dead_rows *dead)
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
    return status == STATUS_OK ? status : fail(packing, status, "read", name, 0);
}

static enum status
gather_source(struct packing *packing, struct source *source)
{
    struct segment_index index;
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

/* The files between the two numbers; both ends are there. One alone is worth it if it is a pack,
 * which may be large, and sparse by now. */
static enum status
find_sources(struct packing *packing)
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

/* Laying out ----------------------------------------------------------------------------------- */

static int
compare_by_queue(const void *a, const void *b)
{
    const struct move *left = a;
    const struct move *right = b;
    if (left->queue != right->queue) {
        return left->queue < right->queue ? -1 : 1;
    }
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

static int
compare_by_lsn(const void *a, const void *b)
{
    const struct move *left = a;
    const struct move *right = b;
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

static int
compare_by_source(const void *a, const void *b)
{
    const struct move *left = a;
    const struct move *right = b;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    return left->from < right->from ? -1 : left->from > right->from;
}

static uint64_t
padded(uint64_t size)
{
    return (size + RECORD_ALIGNMENT - 1) & ~(uint64_t)(RECORD_ALIGNMENT - 1);
}

static uint64_t
contents_begin(const struct packing *packing)
{
    return padded(TABLE_AT + TABLE_HEADER_SIZE + packing->move_count * ENTRY_SIZE +
                  segment_index_size(&packing->index));
}

static uint64_t
offset_in_source(const struct source *source, uint64_t lsn)
{
    if (!source->entry->is_pack) {
        return lsn - source->entry->header.base_lsn;
    }
    const struct pack_entry *entry = pack_find(&source->pack, lsn);
    return entry == NULL ? 0 : entry->offset; /* the check word tells */
}

/* Every content that a row names, once. */
static enum status
list_moves(struct packing *packing)
{
    const struct segment_index *index = &packing->index;
    uint32_t source = 0;
    packing->moves = try_alloc(((size_t)index->row_count + 1) * sizeof(*packing->moves));
    if (packing->moves == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint64_t i = 0; i < index->row_count; i++) {
        const struct index_row *row = &index->rows[i];
        if (i > 0 && row[-1].lsn == row->lsn) {
            continue;
        }
        while (source + 1 < packing->source_count &&
               row->lsn >= packing->sources[source + 1].entry->header.base_lsn) {
            source++;
        }
        packing->moves[packing->move_count++] =
            (struct move){.lsn = row->lsn,
                          .queue = row->queue & ~RECORD_QUEUE_HANDED_OUT,
                          .from = offset_in_source(&packing->sources[source], row->lsn),
                          .size = row->content_size,
                          .source = source};
    }
    return STATUS_OK;
}

/* Contents go to places in the order of queues, and are read in the order of the sources. Where all
 * of them live the file can be longer than the slot, which its header does not say. */
static enum status
lay_out(struct packing *packing)
{
    enum status status = list_moves(packing);
    if (status != STATUS_OK) {
        return status;
    }
    qsort(packing->moves, packing->move_count, sizeof(*packing->moves), compare_by_queue);
    uint64_t offset = contents_begin(packing);
    for (uint64_t i = 0; i < packing->move_count; i++) {
        packing->moves[i].offset = offset;
        offset += padded(packing->moves[i].size);
    }
    qsort(packing->moves, packing->move_count, sizeof(*packing->moves), compare_by_source);
    uint64_t slot_size = packing->header.slot_size;
    packing->header.capacity = offset < slot_size ? offset : slot_size;
    return STATUS_OK;
}

/* Copying -------------------------------------------------------------------------------------- */

/* How much of the source is worth reading at once, from content `at` on. */
static size_t
window_size(const struct packing *packing, uint64_t at)
{
    const struct move *moves = packing->moves;
    uint64_t start = moves[at].from;
    uint64_t end = start + moves[at].size;
    for (uint64_t i = at + 1; i < packing->move_count; i++) {
        uint64_t move_end = moves[i].from + moves[i].size;
        if (moves[i].source != moves[at].source || moves[i].from > end + GAP_MAX ||
            move_end > start + WINDOW_SIZE) {
            break;
        }
        end = move_end > end ? move_end : end;
    }
    return (size_t)(end - start);
}

static enum status
window_reserve(struct window *window, size_t size)
{
    if (size <= window->capacity) {
        return STATUS_OK;
    }
    size_t capacity = size < WINDOW_SIZE ? WINDOW_SIZE : size;
    free(window->octets);
    *window = (struct window){.octets = try_alloc(capacity)};
    window->capacity = window->octets == NULL ? 0 : capacity;
    return window->octets == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status
fill_window(struct packing *packing, uint64_t at)
{
    const struct move *move = &packing->moves[at];
    struct window *window = &packing->window;
    struct source *source = &packing->sources[move->source];
    const struct disk *disk = packing->disk;
    size_t size = window_size(packing, at);
    window->size = 0;
    enum status status = window_reserve(window, size);
    if (status != STATUS_OK) {
        return status;
    }
    if (source->file == NULL && disk->open(disk->context, source->entry->name, DISK_OPEN_READ,
                                           &source->file) != STATUS_OK) {
        return fail(packing, STATUS_IO, "open", source->entry->name, 0);
    }
    window->source = move->source;
    window->offset = move->from;
    status =
        disk->read(disk->context, source->file, window->octets, size, move->from, &window->size);
    return status == STATUS_OK ? status
                               : fail(packing, status, "read", source->entry->name, move->from);
}

static bool
window_holds(const struct window *window, const struct move *move)
{
    return window->source == move->source && move->from >= window->offset &&
           move->from + move->size <= window->offset + window->size;
}

/* Content `at`, checked. */
static enum status
read_content(struct packing *packing, uint64_t at, const uint8_t **octets_out)
{
    const struct move *move = &packing->moves[at];
    const struct window *window = &packing->window;
    if (!window_holds(window, move)) {
        enum status status = fill_window(packing, at);
        if (status != STATUS_OK) {
            return status;
        }
    }
    const uint8_t *octets = window->octets + (move->from - window->offset);
    if (!window_holds(window, move) || content_check(bytes_make(octets, move->size), move->lsn) !=
                                           get_u32_le(octets + CONTENT_HEADER_SIZE - 4)) {
        const char *name = packing->sources[move->source].entry->name;
        return fail(packing, STATUS_CORRUPT, "check", name, move->from);
    }
    *octets_out = octets;
    return STATUS_OK;
}

static enum status
flush_output(struct packing *packing, struct output *output)
{
    if (output->size == 0) {
        return STATUS_OK;
    }
    size_t size = output->size;
    output->size = 0;
    if (disk_write_bytes(packing->disk, packing->file, output->octets, size, output->offset) !=
        STATUS_OK) {
        return fail(packing, STATUS_IO, "write", packing->name, output->offset);
    }
    return STATUS_OK;
}

static enum status
write_large(struct packing *packing, const struct move *move, const uint8_t *octets)
{
    static const uint8_t zeros[RECORD_ALIGNMENT];
    const struct disk *disk = packing->disk;
    const struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)octets, .iov_len = move->size},
        {.iov_base = (void *)(uintptr_t)zeros, .iov_len = padded(move->size) - move->size},
    };
    if (disk->write(disk->context, packing->file, parts, ARRAY_LEN(parts), move->offset) !=
        STATUS_OK) {
        return fail(packing, STATUS_IO, "write", packing->name, move->offset);
    }
    return STATUS_OK;
}

/* Puts a content behind the one of its queue that came before it, mostly. */
static enum status
write_content(struct packing *packing, const struct move *move, const uint8_t *octets)
{
    struct output *output = &packing->outputs[move->queue % OUTPUT_COUNT];
    size_t size = padded(move->size);
    if (size > OUTPUT_SIZE) {
        return write_large(packing, move, octets);
    }
    if (output->offset + output->size != move->offset || output->size + size > OUTPUT_SIZE) {
        enum status status = flush_output(packing, output);
        if (status != STATUS_OK) {
            return status;
        }
        output->offset = move->offset;
    }
    if (output->octets == NULL && (output->octets = try_alloc(OUTPUT_SIZE)) == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *at = output->octets + output->size;
    memcpy(at, octets, move->size);
    memset(at + move->size, 0, size - move->size);
    output->size += size;
    return STATUS_OK;
}

/* Copies some contents. They are flushed at once, so that the last flush is not a long one. */
static enum status
copy_slice(struct packing *packing)
{
    enum status status = STATUS_OK;
    uint64_t octets_copied = 0;
    while (packing->copied_count < packing->move_count && octets_copied < SLICE_SIZE &&
           status == STATUS_OK) {
        const struct move *move = &packing->moves[packing->copied_count];
        const uint8_t *octets = NULL;
        status = read_content(packing, packing->copied_count, &octets);
        if (status == STATUS_OK) {
            status = write_content(packing, move, octets);
        }
        octets_copied += move->size;
        packing->copied_count++;
    }
    bool is_last = packing->copied_count == packing->move_count;
    for (size_t i = 0; i < OUTPUT_COUNT && is_last && status == STATUS_OK; i++) {
        status = flush_output(packing, &packing->outputs[i]);
    }
    if (status == STATUS_OK &&
        packing->disk->flush(packing->disk->context, packing->file) != STATUS_OK) {
        status = fail(packing, STATUS_IO, "flush", packing->name, 0);
    }
    return status;
}

/* Writing the rest ----------------------------------------------------------------------------- */

static enum status
write_table(struct packing *packing, struct disk_file *file)
{
    size_t size = TABLE_HEADER_SIZE + (size_t)packing->move_count * ENTRY_SIZE;
    uint8_t *octets = try_alloc(size);
    if (octets == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(octets, 0, size);
    qsort(packing->moves, packing->move_count, sizeof(*packing->moves), compare_by_lsn);
    for (uint64_t i = 0; i < packing->move_count; i++) {
        uint8_t *at = octets + TABLE_HEADER_SIZE + i * ENTRY_SIZE;
        put_u64_le(at, packing->moves[i].lsn);
        put_u64_le(at + 8, packing->moves[i].offset);
        put_u32_le(at + 16, packing->moves[i].size);
    }
    memcpy(octets, PACK_MAGIC, sizeof(PACK_MAGIC));
    put_u32_le(octets + 8, PACK_VERSION);
    put_u32_le(octets + 12, TABLE_HEADER_SIZE);
    put_u64_le(octets + 16, packing->move_count);
    put_u64_le(octets + 24, segment_index_size(&packing->index));
    put_u32_le(octets + TABLE_CRC_AT,
               crc32c(0, octets + TABLE_HEADER_SIZE, size - TABLE_HEADER_SIZE));
    put_u32_le(octets + TABLE_HEADER_CRC_AT, crc32c(0, octets, TABLE_HEADER_CRC_AT));
    enum status status = disk_write_bytes(packing->disk, file, octets, size, TABLE_AT);
    free(octets);
    return status;
}

static enum status
write_front(struct packing *packing)
{
    const struct disk *disk = packing->disk;
    uint8_t header[SEGMENT_HEADER_SIZE];
    uint64_t index_at = TABLE_AT + TABLE_HEADER_SIZE + packing->move_count * ENTRY_SIZE;
    segment_header_encode(&packing->header, header);
    enum status status = disk_write_bytes(disk, packing->file, header, sizeof(header), 0);
    if (status == STATUS_OK) {
        status = write_table(packing, packing->file);
    }
    if (status == STATUS_OK) {
        status = segment_index_write_at(&packing->index, disk, packing->file, index_at);
    }
    if (status == STATUS_OK) {
        status = disk->flush(disk->context, packing->file);
    }
    return status == STATUS_IO ? fail(packing, status, "write", packing->name, 0) : status;
}

static enum status
open_aside(struct packing *packing)
{
    const struct disk *disk = packing->disk;
    (void)disk->unlink(disk->context, packing->aside);
    if (disk->open(disk->context, packing->aside, DISK_OPEN_CREATE, &packing->file) != STATUS_OK) {
        return fail(packing, STATUS_IO, "open", packing->name, 0);
    }
    return STATUS_OK;
}

/* Throws away what was written aside. */
static void
drop_aside(struct packing *packing)
{
    if (packing->file != NULL) {
        int error = errno;
        packing->disk->close(packing->disk->context, &packing->file);
        (void)packing->disk->unlink(packing->disk->context, packing->aside);
        errno = error;
    }
}

static enum status
give_name(struct packing *packing)
{
    const struct disk *disk = packing->disk;
    disk->close(disk->context, &packing->file);
    if (disk->rename(disk->context, packing->aside, packing->name) != STATUS_OK) {
        return fail(packing, STATUS_IO, "rename", packing->name, 0);
    }
    if (disk->flush_directory(disk->context) != STATUS_OK) {
        return fail(packing, STATUS_IO, STORE_FLUSH_DIRECTORY, packing->name, 0);
    }
    return STATUS_OK;
}

/* What is left of them after a power cut is passed over by recovery, which knows that the pack
 * takes their place. That they are gone is on the disk before the pack itself can go: without it
 * they would mean something again. */
static enum status
remove_sources(struct packing *packing)
{
    const struct disk *disk = packing->disk;
    char other[STORE_NAME_SIZE];
    for (uint32_t i = 0; i < packing->source_count; i++) {
        const struct catalog_entry *entry = packing->sources[i].entry;
        uint64_t number = entry->header.number;
        if (strcmp(entry->name, packing->name) != 0) {
            (void)disk->unlink(disk->context, entry->name);
        }
        (void)disk->unlink(disk->context, store_file_name(STORE_FILE_INDEX, number, 0, other));
        (void)disk->unlink(disk->context, store_file_name(STORE_FILE_DEAD, number, 0, other));
    }
    return disk->flush_directory(disk->context) == STATUS_OK
               ? STATUS_OK
               : fail(packing, STATUS_IO, STORE_FLUSH_DIRECTORY, packing->name, 0);
}

/* Step by step --------------------------------------------------------------------------------- */

static enum status
begin(struct packing *packing)
{
    char why[256];
    struct manifest manifest;
    enum status status = find_sources(packing);
    if (status != STATUS_OK) {
        return status;
    }
    status = manifest_read(&manifest, packing->disk, why, sizeof(why));
    if (status != STATUS_OK) {
        return fail(packing, status, "read", STORE_MANIFEST_NAME, 0);
    }
    packing->snapshot_lsn = manifest.snapshot_lsn;
    manifest_fini(&manifest);
    packing->index.number = packing->first;
    packing->index.base_lsn = packing->header.base_lsn;
    packing->index.epoch = packing->header.epoch;
    packing->phase = PACKING_GATHER;
    return STATUS_OK;
}

static enum status
gather(struct packing *packing)
{
    enum status status = gather_source(packing, &packing->sources[packing->gathered_count]);
    if (status == STATUS_OK && ++packing->gathered_count == packing->source_count) {
        pack_states_settle(&packing->index, &packing->catalog);
        packing->phase = PACKING_STATES;
    }
    return status;
}

/* Looks at the states beside one more of the other files. */
static enum status
compare_states(struct packing *packing)
{
    struct segment_index *index = &packing->index;
    if (packing->compared_count < packing->catalog.count && index->state_count > 0) {
        const struct catalog_entry *entry = &packing->catalog.entries[packing->compared_count++];
        enum status status =
            pack_states_compare(index, packing->last, packing->disk, entry, packing->folded_lsn);
        return status == STATUS_IO || status == STATUS_CORRUPT
                   ? fail(packing, status, "read", entry->name, 0)
                   : status;
    }
    enum status status = lay_out(packing);
    if (status == STATUS_OK) {
        status = open_aside(packing);
    }
    packing->phase = PACKING_COPY;
    return status;
}

static enum status
copy(struct packing *packing)
{
    enum status status = copy_slice(packing);
    if (packing->copied_count == packing->move_count) {
        packing->phase = PACKING_END;
    }
    return status;
}

static enum status
end(struct packing *packing, uint64_t *octets_out)
{
    enum status status = write_front(packing);
    if (status == STATUS_OK) {
        status = give_name(packing);
    }
    if (status == STATUS_OK) {
        *octets_out = packing->header.capacity;
        status = remove_sources(packing);
    }
    return status;
}

struct packing *
packing_new(const struct disk *disk, uint64_t first, uint64_t last, uint64_t folded_lsn)
{
    struct packing *packing = xalloc(sizeof(*packing));
    packing->own_disk = *disk;
    packing->disk = &packing->own_disk;
    packing->first = first;
    packing->last = last;
    packing->folded_lsn = folded_lsn;
    store_file_name(STORE_FILE_PACK, first, last, packing->name);
    (void)snprintf(packing->aside, sizeof(packing->aside), "%s.tmp", packing->name);
    return packing;
}

void
packing_free(struct packing **packing_pointer)
{
    struct packing *packing = *packing_pointer;
    if (packing == NULL) {
        return;
    }
    *packing_pointer = NULL;
    packing->disk->close(packing->disk->context, &packing->file);
    for (uint32_t i = 0; i < packing->source_count; i++) {
        packing->disk->close(packing->disk->context, &packing->sources[i].file);
        pack_fini(&packing->sources[i].pack);
    }
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        free(packing->outputs[i].octets);
    }
    free(packing->window.octets);
    free(packing->sources);
    free(packing->moves);
    segment_index_fini(&packing->index);
    catalog_fini(&packing->catalog);
    free(packing);
}

static enum status
dispatch(struct packing *packing, uint64_t *octets_out)
{
    switch (packing->phase) {
    case PACKING_BEGIN:
        return begin(packing);
    case PACKING_GATHER:
        return gather(packing);
    case PACKING_STATES:
        return compare_states(packing);
    case PACKING_COPY:
        return copy(packing);
    case PACKING_END:
        break;
    }
    return end(packing, octets_out);
}

enum status
packing_step(struct packing *packing, uint64_t *octets_out, struct log_failure *failure_out)
{
    packing->failure = failure_out;
    bool was_last = packing->phase == PACKING_END;
    enum status status = dispatch(packing, octets_out);
    if (status == STATUS_OK) {
        return was_last ? STATUS_OK : STATUS_AGAIN;
    }
    drop_aside(packing);
    /* What a callee means by it is not what it means here. */
    return status == STATUS_AGAIN ? STATUS_CORRUPT : status;
}

enum status
pack_run(const struct disk *disk, uint64_t first, uint64_t last, uint64_t folded_lsn,
         uint64_t *octets_out, struct log_failure *failure_out)
{
    struct packing *packing = packing_new(disk, first, last, folded_lsn);
    enum status status;
    do {
        status = packing_step(packing, octets_out, failure_out);
    } while (status == STATUS_AGAIN);
    packing_free(&packing);
    return status;
}
