/* SPDX-License-Identifier: Apache-2.0 */
/* Where the contents of a pack go, and their way there. */
#include "store/pack_work.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/batch.h"
#include "store/little_endian.h"
#include "store/pack_layout.h"

enum {
    WINDOW_SIZE = 1024 * 1024, /* octets of a source that are read at once */
    GAP_MAX = 64 * 1024,       /* octets between two contents that are rather read than skipped */
    OUTPUT_SIZE = 64 * 1024,   /* octets of one queue that are written at once */
    SLICE_SIZE = 16 * 1024 * 1024, /* octets that are copied before others have their turn */
};

/* Laying out ----------------------------------------------------------------------------------- */

static int
compare_by_queue(const void *a, const void *b)
{
    const struct pack_move *left = a;
    const struct pack_move *right = b;
    if (left->queue != right->queue) {
        return left->queue < right->queue ? -1 : 1;
    }
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

static int
compare_by_source(const void *a, const void *b)
{
    const struct pack_move *left = a;
    const struct pack_move *right = b;
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
offset_in_source(const struct pack_source *source, uint64_t lsn)
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
            (struct pack_move){.lsn = row->lsn,
                               .queue = row->queue & ~RECORD_QUEUE_HANDED_OUT,
                               .from = offset_in_source(&packing->sources[source], row->lsn),
                               .size = row->content_size,
                               .source = source};
    }
    return STATUS_OK;
}

enum status
packing_lay_out(struct packing *packing)
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
    const struct pack_move *moves = packing->moves;
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
window_reserve(struct pack_window *window, size_t size)
{
    if (size <= window->capacity) {
        return STATUS_OK;
    }
    size_t capacity = size < WINDOW_SIZE ? WINDOW_SIZE : size;
    free(window->octets);
    *window = (struct pack_window){.octets = try_alloc(capacity)};
    window->capacity = window->octets == NULL ? 0 : capacity;
    return window->octets == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status
fill_window(struct packing *packing, uint64_t at)
{
    const struct pack_move *move = &packing->moves[at];
    struct pack_window *window = &packing->window;
    struct pack_source *source = &packing->sources[move->source];
    const struct disk *disk = packing->disk;
    size_t size = window_size(packing, at);
    window->size = 0;
    enum status status = window_reserve(window, size);
    if (status != STATUS_OK) {
        return status;
    }
    if (source->file == NULL && disk->open(disk->context, source->entry->name, DISK_OPEN_READ,
                                           &source->file) != STATUS_OK) {
        return packing_fail(packing, STATUS_IO, "open", source->entry->name, 0);
    }
    window->source = move->source;
    window->offset = move->from;
    status =
        disk->read(disk->context, source->file, window->octets, size, move->from, &window->size);
    return status == STATUS_OK
               ? status
               : packing_fail(packing, status, "read", source->entry->name, move->from);
}

static bool
window_holds(const struct pack_window *window, const struct pack_move *move)
{
    return window->source == move->source && move->from >= window->offset &&
           move->from + move->size <= window->offset + window->size;
}

/* Content `at`, checked. */
static enum status
read_content(struct packing *packing, uint64_t at, const uint8_t **octets_out)
{
    const struct pack_move *move = &packing->moves[at];
    const struct pack_window *window = &packing->window;
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
        return packing_fail(packing, STATUS_CORRUPT, "check", name, move->from);
    }
    *octets_out = octets;
    return STATUS_OK;
}

static enum status
flush_output(struct packing *packing, struct pack_output *output)
{
    if (output->size == 0) {
        return STATUS_OK;
    }
    size_t size = output->size;
    output->size = 0;
    if (disk_write_bytes(packing->disk, packing->file, output->octets, size, output->offset) !=
        STATUS_OK) {
        return packing_fail(packing, STATUS_IO, "write", packing->name, output->offset);
    }
    return STATUS_OK;
}

static enum status
write_large(struct packing *packing, const struct pack_move *move, const uint8_t *octets)
{
    static const uint8_t zeros[RECORD_ALIGNMENT];
    const struct disk *disk = packing->disk;
    const struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)octets, .iov_len = move->size},
        {.iov_base = (void *)(uintptr_t)zeros, .iov_len = padded(move->size) - move->size},
    };
    if (disk->write(disk->context, packing->file, parts, ARRAY_LEN(parts), move->offset) !=
        STATUS_OK) {
        return packing_fail(packing, STATUS_IO, "write", packing->name, move->offset);
    }
    return STATUS_OK;
}

/* Puts a content behind the one of its queue that came before it, mostly. */
static enum status
write_content(struct packing *packing, const struct pack_move *move, const uint8_t *octets)
{
    assert(octets != NULL);
    struct pack_output *output = &packing->outputs[move->queue % OUTPUT_COUNT];
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

enum status
packing_copy_slice(struct packing *packing)
{
    enum status status = STATUS_OK;
    uint64_t octets_copied = 0;
    while (packing->copied_count < packing->move_count && octets_copied < SLICE_SIZE &&
           status == STATUS_OK) {
        const struct pack_move *move = &packing->moves[packing->copied_count];
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
        status = packing_fail(packing, STATUS_IO, "flush", packing->name, 0);
    }
    return status;
}
