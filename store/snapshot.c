/* SPDX-License-Identifier: Apache-2.0 */
#include "store/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "store/catalog.h"
#include "store/crc32c.h"
#include "store/index.h"
#include "store/little_endian.h"
#include "store/scan.h"

static const uint8_t SNAPSHOT_MAGIC[8] = {'B', 'R', 'S', 'S', 'N', 'A', 'P', 'S'};

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEADER_SIZE = 64,
    RECORDS_CRC_AT = 56,
    HEADER_CRC_AT = 60,
};

/* Reading -------------------------------------------------------------------------------------- */

static enum status
read_whole(const struct disk *disk, struct disk_file *file, struct buffer *octets)
{
    uint64_t size;
    enum status status = disk->size(disk->context, file, &size);
    if (status != STATUS_OK) {
        return status;
    }
    if (size < SNAPSHOT_HEADER_SIZE) {
        return STATUS_CORRUPT;
    }
    uint8_t *at = buffer_reserve(octets, (size_t)size);
    if (at == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t read = 0;
    status = disk->read(disk->context, file, at, (size_t)size, 0, &read);
    buffer_commit(octets, read);
    return status == STATUS_OK && read < size ? STATUS_CORRUPT : status;
}

static bool
header_is_right(struct bytes octets, uint64_t lsn)
{
    assert(octets.size >= SNAPSHOT_HEADER_SIZE); /* or read_whole would have said no */
    const uint8_t *at = octets.data;
    return memcmp(at, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC)) == 0 &&
           get_u32_le(at + HEADER_CRC_AT) == crc32c(0, at, HEADER_CRC_AT) &&
           get_u32_le(at + 8) == SNAPSHOT_VERSION && get_u32_le(at + 12) == SNAPSHOT_HEADER_SIZE &&
           get_u64_le(at + 16) == lsn && get_u64_le(at + 40) == octets.size - SNAPSHOT_HEADER_SIZE;
}

static bool
may_stand_in_snapshot(enum record_type type)
{
    switch (type) {
    case RECORD_VHOST_SET:
    case RECORD_USER_SET:
    case RECORD_EXCHANGE_SET:
    case RECORD_QUEUE_SET:
    case RECORD_BINDING_SET:
    case RECORD_POLICY_SET:
    case RECORD_GENERATION_SET:
    case RECORD_FACT_SET:
    case RECORD_HANDOUT:
        return true;
    default:
        return false;
    }
}

static enum status
decode(struct topology_fold *fold, struct bytes octets, uint64_t lsn)
{
    if (!header_is_right(octets, lsn)) {
        return STATUS_CORRUPT;
    }
    struct bytes left =
        bytes_make(octets.data + SNAPSHOT_HEADER_SIZE, octets.size - SNAPSHOT_HEADER_SIZE);
    if (get_u32_le(octets.data + RECORDS_CRC_AT) != crc32c(0, left.data, left.size)) {
        return STATUS_CORRUPT;
    }
    uint64_t count = 0;
    struct record record;
    enum status status;
    while ((status = record_next(&left, &record)) == STATUS_OK) {
        if (!may_stand_in_snapshot(record.type)) {
            return STATUS_CORRUPT;
        }
        status = topology_fold_apply(fold, &record);
        if (status != STATUS_OK) {
            return status;
        }
        count++;
    }
    uint64_t next_id = get_u64_le(octets.data + 24);
    if (status != STATUS_AGAIN || count != get_u64_le(octets.data + 32) || next_id == 0) {
        return STATUS_CORRUPT;
    }
    topology_fold_see_id(fold, next_id - 1);
    return STATUS_OK;
}

enum status
snapshot_read(struct topology_fold *fold, const struct disk *disk, uint64_t lsn)
{
    char name[STORE_NAME_SIZE];
    struct disk_file *file = NULL;
    struct buffer octets = {0};
    store_file_name(STORE_FILE_SNAPSHOT, lsn, 0, name);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_whole(disk, file, &octets);
    if (status == STATUS_OK) {
        status = decode(fold, buffer_bytes(&octets), lsn);
    }
    int error = errno;
    buffer_fini(&octets);
    disk->close(disk->context, &file);
    errno = error;
    return status;
}

/* Writing -------------------------------------------------------------------------------------- */

struct snapshot_octets {
    struct buffer octets;
    uint64_t count;
};

static enum status
put_record(void *context, const struct record *record)
{
    struct snapshot_octets *out = context;
    buffer_put_bytes(&out->octets, record->octets);
    out->count++;
    return out->octets.failed ? STATUS_NO_MEMORY : STATUS_OK;
}

static void
put_header(struct snapshot_octets *out, const struct topology_fold *fold, uint64_t lsn)
{
    uint8_t *at = out->octets.data + out->octets.start;
    size_t size = buffer_size(&out->octets) - SNAPSHOT_HEADER_SIZE;
    memcpy(at, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC));
    put_u32_le(at + 8, SNAPSHOT_VERSION);
    put_u32_le(at + 12, SNAPSHOT_HEADER_SIZE);
    put_u64_le(at + 16, lsn);
    put_u64_le(at + 24, fold->next_id);
    put_u64_le(at + 32, out->count);
    put_u64_le(at + 40, size);
    put_u32_le(at + RECORDS_CRC_AT, crc32c(0, at + SNAPSHOT_HEADER_SIZE, size));
    put_u32_le(at + HEADER_CRC_AT, crc32c(0, at, HEADER_CRC_AT));
}

static enum status
encode(struct snapshot_octets *out, const struct topology_fold *fold, uint64_t lsn)
{
    static const uint8_t empty[SNAPSHOT_HEADER_SIZE];
    buffer_put(&out->octets, empty, sizeof(empty));
    enum status status = topology_fold_walk(fold, put_record, out);
    if (status == STATUS_OK && out->octets.failed) {
        status = STATUS_NO_MEMORY;
    }
    if (status == STATUS_OK) {
        put_header(out, fold, lsn);
    }
    return status;
}

static enum status
fill_file(const struct disk *disk, struct disk_file *file, const char *name, struct bytes octets,
          struct log_failure *failure)
{
    if (disk_write_bytes(disk, file, octets.data, octets.size, 0) != STATUS_OK) {
        return log_failure_set(failure, "write", name, 0);
    }
    if (disk->flush(disk->context, file) != STATUS_OK) {
        return log_failure_set(failure, "flush", name, 0);
    }
    return STATUS_OK;
}

static enum status
write_file(const struct disk *disk, uint64_t lsn, struct bytes octets, struct log_failure *failure)
{
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    store_file_name(STORE_FILE_SNAPSHOT, lsn, 0, name);
    (void)snprintf(aside, sizeof(aside), "%s.tmp", name);
    (void)disk->unlink(disk->context, aside);
    struct disk_file *file = NULL;
    if (disk->open(disk->context, aside, DISK_OPEN_CREATE, &file) != STATUS_OK) {
        return log_failure_set(failure, "open", name, 0);
    }
    enum status status = fill_file(disk, file, name, octets, failure);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status == STATUS_OK && disk->rename(disk->context, aside, name) != STATUS_OK) {
        status = log_failure_set(failure, "rename", name, 0);
    }
    return status;
}

/* The manifest's rewrite flushes the directory, and with it the name of the snapshot. */
static enum status
install(const struct disk *disk, struct manifest *manifest, uint64_t lsn,
        struct log_failure *failure)
{
    uint64_t old = manifest->snapshot_lsn;
    if (disk->flush_directory(disk->context) != STATUS_OK) {
        return log_failure_set(failure, STORE_FLUSH_DIRECTORY, STORE_MANIFEST_NAME, 0);
    }
    manifest->snapshot_lsn = lsn;
    enum status status = manifest_write(manifest, disk, failure);
    if (status != STATUS_OK) {
        manifest->snapshot_lsn = old;
        return status;
    }
    if (old != 0 && old != lsn) {
        char name[STORE_NAME_SIZE];
        (void)disk->unlink(disk->context, store_file_name(STORE_FILE_SNAPSHOT, old, 0, name));
    }
    return STATUS_OK;
}

/* Folding -------------------------------------------------------------------------------------- */

/* What is folded: records of batches at or above `from` and below `to`, as far as their epochs go.
 */
struct fold_range {
    struct topology_fold fold;
    uint64_t from, to;
    const struct manifest *manifest; /* borrowed */
};

static enum status
fold_index(struct fold_range *range, const struct segment_index *index)
{
    struct bytes left = buffer_bytes(&index->records);
    struct record record;
    while (left.size > 8) {
        uint64_t batch_lsn = get_u64_le(left.data);
        left = bytes_make(left.data + 8, left.size - 8);
        if (record_next(&left, &record) != STATUS_OK) {
            return STATUS_CORRUPT;
        }
        if (batch_lsn >= range->from && batch_lsn < range->to) {
            enum status status = topology_fold_apply(&range->fold, &record);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

static enum status
fold_batch(struct fold_range *range, const struct scan *scan)
{
    if (scan->batch.base_lsn < range->from || scan->batch.base_lsn >= range->to) {
        return STATUS_OK;
    }
    struct bytes left = scan->control;
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        enum status status = topology_fold_apply(&range->fold, &record);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* Where what is folded ends in segments of that epoch: what lies behind the end of one that was cut
 * may be anything. */
static uint64_t
fold_end(const struct fold_range *range, uint64_t epoch)
{
    for (uint32_t i = 0; i < range->manifest->epoch_count; i++) {
        const struct manifest_epoch *known = &range->manifest->epochs[i];
        if (known->number == epoch && known->end_lsn != 0 && known->end_lsn < range->to) {
            return known->end_lsn;
        }
    }
    return range->to;
}

/* A segment without index is the one that is being written, or one whose index could not be: what
 * lies below `to` is committed, so it must be there. */
static enum status
fold_segment(struct fold_range *range, const struct disk *disk, const struct catalog_entry *entry,
             struct log_failure *failure)
{
    struct scan scan;
    enum status status = scan_open(&scan, disk, entry->name);
    while (status == STATUS_OK &&
           scan_lsn(&scan, scan.offset) < fold_end(range, scan.segment.epoch)) {
        status = scan_next(&scan);
        if (status == STATUS_OK) {
            status = fold_batch(range, &scan);
        }
    }
    if (status == STATUS_AGAIN) {
        status = STATUS_OK; /* what was committed behind it lies in the next segment */
    }
    if (status != STATUS_OK && failure != NULL) {
        int error = errno;
        (void)log_failure_set(failure, "read", entry->name, scan.offset);
        errno = error;
    }
    scan_close(&scan);
    return status;
}

static enum status
fold_entry(struct fold_range *range, const struct disk *disk, const struct catalog_entry *entry,
           struct log_failure *failure)
{
    struct segment_index index;
    enum status status = segment_index_peek(&index, disk, entry->header.number);
    bool is_own = status == STATUS_OK && index.base_lsn == entry->header.base_lsn;
    if (is_own && (index.topology_lsn < range->from || index.topology_lsn == 0)) {
        return STATUS_OK;
    }
    if (is_own) {
        status = segment_index_read(&index, disk, entry->header.number);
        if (status == STATUS_OK) {
            status = fold_index(range, &index);
            segment_index_fini(&index);
            return status;
        }
    }
    return fold_segment(range, disk, entry, failure);
}

static enum status
fold_all(struct fold_range *range, const struct disk *disk, struct log_failure *failure)
{
    struct catalog catalog;
    enum status status = catalog_read(&catalog, disk, failure);
    for (uint32_t i = 0; i < catalog.count && status == STATUS_OK; i++) {
        const struct catalog_entry *entry = &catalog.entries[i];
        uint64_t end = entry->header.base_lsn + entry->header.slot_size;
        /* A pack holds nothing but messages. */
        if (!entry->is_pack && end > range->from && entry->header.base_lsn < range->to) {
            status = fold_entry(range, disk, entry, failure);
        }
    }
    catalog_fini(&catalog);
    return status;
}

static enum status
start_fold(struct fold_range *range, const struct disk *disk, struct log_failure *failure)
{
    if (range->from == 0) {
        return STATUS_OK;
    }
    enum status status = snapshot_read(&range->fold, disk, range->from);
    if (status == STATUS_IO || status == STATUS_CORRUPT) {
        char name[STORE_NAME_SIZE];
        int error = errno;
        store_file_name(STORE_FILE_SNAPSHOT, range->from, 0, name);
        (void)log_failure_set(failure, "read", name, 0);
        errno = error;
    }
    return status;
}

enum status
snapshot_take(const struct disk *disk, struct manifest *manifest, uint64_t lsn,
              uint64_t *octets_out, struct log_failure *failure_out)
{
    struct fold_range range = {.from = manifest->snapshot_lsn, .to = lsn, .manifest = manifest};
    struct snapshot_octets out = {0};
    topology_fold_init(&range.fold);
    enum status status = start_fold(&range, disk, failure_out);
    if (status == STATUS_OK) {
        status = fold_all(&range, disk, failure_out);
    }
    if (status == STATUS_OK) {
        topology_fold_finish(&range.fold);
        status = encode(&out, &range.fold, lsn);
    }
    if (status == STATUS_OK) {
        status = write_file(disk, lsn, buffer_bytes(&out.octets), failure_out);
    }
    if (status == STATUS_OK) {
        status = install(disk, manifest, lsn, failure_out);
    }
    if (status == STATUS_OK) {
        *octets_out = buffer_size(&out.octets);
    }
    buffer_fini(&out.octets);
    topology_fold_fini(&range.fold);
    return status;
}
