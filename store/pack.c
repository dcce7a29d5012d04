/* SPDX-License-Identifier: Apache-2.0 */
/* Making a pack, step by step. Reading one is pack_read.c's. */
#include "store/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/crc32c.h"
#include "store/little_endian.h"
#include "store/manifest.h"
#include "store/pack_layout.h"
#include "store/pack_states.h"
#include "store/pack_work.h"

enum status
packing_fail(struct packing *packing, enum status status, const char *what, const char *name,
             uint64_t offset)
{
    int error = errno;
    (void)log_failure_set(packing->failure, what, name, offset);
    errno = error;
    return status;
}

/* Writing the rest ----------------------------------------------------------------------------- */

static int
compare_by_lsn(const void *a, const void *b)
{
    const struct pack_move *left = a;
    const struct pack_move *right = b;
    return left->lsn < right->lsn ? -1 : left->lsn > right->lsn;
}

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
    return status == STATUS_IO ? packing_fail(packing, status, "write", packing->name, 0) : status;
}

static enum status
open_aside(struct packing *packing)
{
    const struct disk *disk = packing->disk;
    (void)disk->unlink(disk->context, packing->aside);
    if (disk->open(disk->context, packing->aside, DISK_OPEN_CREATE, &packing->file) != STATUS_OK) {
        return packing_fail(packing, STATUS_IO, "open", packing->name, 0);
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
        enum status status = packing_fail(packing, STATUS_IO, "rename", packing->name, 0);
        (void)disk->unlink(disk->context, packing->aside);
        return status;
    }
    if (disk->flush_directory(disk->context) != STATUS_OK) {
        return packing_fail(packing, STATUS_IO, STORE_FLUSH_DIRECTORY, packing->name, 0);
    }
    return STATUS_OK;
}

/* What is left of them after a power cut is passed over by recovery, which knows that the pack
 * takes their place. That they are gone is on the disk before the pack itself can go: without it
 * they would mean something again. One that cannot be removed stays until then (pack_retire). */
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
               : packing_fail(packing, STATUS_IO, STORE_FLUSH_DIRECTORY, packing->name, 0);
}

/* Step by step --------------------------------------------------------------------------------- */

static enum status
begin(struct packing *packing)
{
    char why[256];
    struct manifest manifest;
    enum status status = packing_find_sources(packing);
    if (status != STATUS_OK) {
        return status;
    }
    status = manifest_read(&manifest, packing->disk, why, sizeof(why));
    if (status != STATUS_OK) {
        return packing_fail(packing, status, "read", STORE_MANIFEST_NAME, 0);
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
    enum status status = packing_gather_source(packing, &packing->sources[packing->gathered_count]);
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
                   ? packing_fail(packing, status, "read", entry->name, 0)
                   : status;
    }
    enum status status = packing_lay_out(packing);
    if (status == STATUS_OK) {
        status = open_aside(packing);
    }
    packing->phase = PACKING_COPY;
    return status;
}

static enum status
copy(struct packing *packing)
{
    enum status status = packing_copy_slice(packing);
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
