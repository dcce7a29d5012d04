/* SPDX-License-Identifier: Apache-2.0 */
#include "store/fold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/catalog.h"
#include "store/crc32c.h"
#include "store/little_endian.h"
#include "store/pack.h"
#include "store/scan.h"

static const uint8_t DEAD_MAGIC[8] = {'B', 'R', 'S', 'D', 'E', 'A', 'D', '1'};

enum {
    DEAD_VERSION = 1,
    DEAD_HEADER_SIZE = 64,
    ROWS_CRC_AT = 40,
    BITS_CRC_AT = 56,
    HEADER_CRC_AT = 60,
};

/* What says which rows they are: when they came, older versions did not know. */
enum { ROW_SUMMED_UP = 24, ROWS_AT_ONCE = 64 };

_Static_assert(offsetof(struct index_row, arrival_ms) == ROW_SUMMED_UP,
               "rows are summed up as they lie in memory");

/* A word is written as it lies in memory: lowest octet first, lowest bit first. */
static size_t
word_octets(uint64_t row_count)
{
    return (size_t)((row_count + 63) / 64) * sizeof(uint64_t);
}

static size_t
file_octets(uint64_t row_count)
{
    return (size_t)((row_count + 7) / 8);
}

static uint32_t
sum_up_rows(const struct segment_index *index)
{
    uint8_t octets[ROWS_AT_ONCE * ROW_SUMMED_UP];
    uint32_t crc = 0;
    size_t size = 0;
    for (uint64_t i = 0; i < index->row_count; i++) {
        memcpy(octets + size, &index->rows[i], ROW_SUMMED_UP);
        size += ROW_SUMMED_UP;
        if (size == sizeof(octets) || i + 1 == index->row_count) {
            crc = crc32c(crc, octets, size);
            size = 0;
        }
    }
    return crc;
}

enum status
dead_rows_init(struct dead_rows *dead, const struct segment_index *index)
{
    *dead = (struct dead_rows){.number = index->number, .row_count = index->row_count};
    size_t size = word_octets(index->row_count);
    dead->bits = try_alloc(size == 0 ? sizeof(uint64_t) : size);
    if (dead->bits == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(dead->bits, 0, size);
    dead->rows_crc = sum_up_rows(index);
    return STATUS_OK;
}

void
dead_rows_fini(struct dead_rows *dead)
{
    free(dead->bits);
    *dead = (struct dead_rows){0};
}

/* Reading -------------------------------------------------------------------------------------- */

static enum status
read_exactly(const struct disk *disk, struct disk_file *file, void *out, size_t size,
             uint64_t offset)
{
    size_t read = 0;
    enum status status = disk->read(disk->context, file, out, size, offset, &read);
    return status == STATUS_OK && read < size ? STATUS_CORRUPT : status;
}

static bool
header_is_right(const uint8_t header[static DEAD_HEADER_SIZE], const struct segment_index *index)
{
    return memcmp(header, DEAD_MAGIC, sizeof(DEAD_MAGIC)) == 0 &&
           get_u32_le(header + HEADER_CRC_AT) == crc32c(0, header, HEADER_CRC_AT) &&
           get_u32_le(header + 8) == DEAD_VERSION && get_u32_le(header + 12) == DEAD_HEADER_SIZE &&
           get_u64_le(header + 16) == index->number;
}

static bool
is_about(const uint8_t header[static DEAD_HEADER_SIZE], const struct segment_index *index)
{
    return get_u64_le(header + 32) == index->row_count &&
           get_u32_le(header + ROWS_CRC_AT) == sum_up_rows(index);
}

/* Bits behind the last row would count rows that are not there. */
static bool
bits_are_right(const struct dead_rows *dead, uint32_t crc)
{
    uint64_t tail = dead->row_count % 64;
    return crc32c(0, dead->bits, file_octets(dead->row_count)) == crc &&
           (tail == 0 || dead->bits[dead->row_count / 64] >> tail == 0);
}

static enum status
read_file(struct dead_rows *dead, const struct disk *disk, struct disk_file *file,
          const struct segment_index *index)
{
    uint64_t row_count = index->row_count;
    uint8_t header[DEAD_HEADER_SIZE];
    enum status status = read_exactly(disk, file, header, sizeof(header), 0);
    if (status == STATUS_OK && !header_is_right(header, index)) {
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK && !is_about(header, index)) {
        return STATUS_AGAIN;
    }
    if (status == STATUS_OK) {
        status = dead_rows_init(dead, index);
    }
    if (status != STATUS_OK) {
        return status;
    }
    dead->folded_lsn = get_u64_le(header + 24);
    dead->rows_crc = get_u32_le(header + ROWS_CRC_AT);
    status = read_exactly(disk, file, dead->bits, file_octets(row_count), DEAD_HEADER_SIZE);
    if (status == STATUS_OK && !bits_are_right(dead, get_u32_le(header + BITS_CRC_AT))) {
        status = STATUS_CORRUPT;
    }
    return status;
}

enum status
dead_rows_read(struct dead_rows *dead, const struct disk *disk, const struct segment_index *index)
{
    char name[STORE_NAME_SIZE];
    struct disk_file *file = NULL;
    struct dead_rows found = {0};
    store_file_name(STORE_FILE_DEAD, index->number, 0, name);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_file(&found, disk, file, index);
    int error = errno;
    disk->close(disk->context, &file);
    if (status == STATUS_OK) {
        *dead = found;
    } else {
        dead_rows_fini(&found);
    }
    errno = error;
    return status;
}

/* Writing -------------------------------------------------------------------------------------- */

static enum status
write_file(const struct dead_rows *dead, const struct disk *disk, struct disk_file *file)
{
    uint8_t header[DEAD_HEADER_SIZE] = {0};
    size_t size = file_octets(dead->row_count);
    memcpy(header, DEAD_MAGIC, sizeof(DEAD_MAGIC));
    put_u32_le(header + 8, DEAD_VERSION);
    put_u32_le(header + 12, DEAD_HEADER_SIZE);
    put_u64_le(header + 16, dead->number);
    put_u64_le(header + 24, dead->folded_lsn);
    put_u64_le(header + 32, dead->row_count);
    put_u32_le(header + ROWS_CRC_AT, dead->rows_crc);
    put_u32_le(header + BITS_CRC_AT, crc32c(0, dead->bits, size));
    put_u32_le(header + HEADER_CRC_AT, crc32c(0, header, HEADER_CRC_AT));
    struct iovec parts[] = {{.iov_base = header, .iov_len = sizeof(header)},
                            {.iov_base = dead->bits, .iov_len = size}};
    enum status status = disk->write(disk->context, file, parts, 2, 0);
    return status == STATUS_OK ? disk->flush(disk->context, file) : status;
}

enum status
dead_rows_write(const struct dead_rows *dead, const struct disk *disk,
                struct log_failure *failure_out)
{
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    store_file_name(STORE_FILE_DEAD, dead->number, 0, name);
    (void)snprintf(aside, sizeof(aside), "%s.tmp", name);
    (void)disk->unlink(disk->context, aside);
    struct disk_file *file = NULL;
    if (disk->open(disk->context, aside, DISK_OPEN_CREATE, &file) != STATUS_OK) {
        return log_failure_set(failure_out, "open", name, 0);
    }
    enum status status = write_file(dead, disk, file);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status != STATUS_OK) {
        return log_failure_set(failure_out, "write", name, 0);
    }
    if (disk->rename(disk->context, aside, name) != STATUS_OK) {
        return log_failure_set(failure_out, "rename", name, 0);
    }
    return disk->flush_directory(disk->context) == STATUS_OK
               ? STATUS_OK
               : log_failure_set(failure_out, STORE_FLUSH_DIRECTORY, name, 0);
}

/* The job -------------------------------------------------------------------------------------- */

struct folding {
    const struct disk *disk;
    struct catalog catalog;
    struct segment_index index; /* of the segment that is folded into */
    bool is_pack;
    struct dead_rows dead;
    uint64_t folded_lsn;
    uint64_t cursor;
    struct log_failure *failure;
};

static void
fold_removal(struct folding *folding, uint64_t lsn, uint64_t queue)
{
    const struct segment_index *index = &folding->index;
    if (lsn < index->base_lsn || lsn >= index->end_lsn) {
        return;
    }
    uint64_t at = index_find_row(index->rows, index->row_count, lsn, queue, &folding->cursor);
    if (at < index->row_count) {
        dead_bit_set(folding->dead.bits, at);
    }
}

static void
fold_batch(struct folding *folding, const struct scan *scan)
{
    struct bytes left = scan->control;
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        if (record.type == RECORD_ACK) {
            struct record_ack_position position = {0};
            uint64_t lsn;
            while (record_ack_next(&record, &position, &lsn)) {
                fold_removal(folding, lsn, record.ack.queue);
            }
        }
    }
}

/* A segment without index: the one that is being written, or one whose index could not be. */
static enum status
fold_by_reading(struct folding *folding, const struct catalog_entry *entry)
{
    struct scan scan;
    enum status status = scan_open(&scan, folding->disk, entry->name);
    while (status == STATUS_OK && scan_lsn(&scan, scan.offset) < folding->folded_lsn) {
        status = scan_next(&scan);
        if (status == STATUS_OK && scan.batch.base_lsn < folding->folded_lsn) {
            fold_batch(folding, &scan);
        }
    }
    if (status == STATUS_AGAIN) {
        status = STATUS_OK; /* what was committed behind it lies in the next segment */
    } else if (status != STATUS_OK) {
        int error = errno;
        (void)log_failure_set(folding->failure, "read", entry->name, scan.offset);
        errno = error;
    }
    scan_close(&scan);
    return status;
}

static enum status
fold_entry(struct folding *folding, const struct catalog_entry *entry)
{
    struct segment_index index;
    enum status status = segment_index_read(&index, folding->disk, entry->header.number);
    if (status != STATUS_OK) {
        return status == STATUS_NO_MEMORY ? status : fold_by_reading(folding, entry);
    }
    for (uint64_t i = 0; i < index.removal_count; i++) {
        fold_removal(folding, index.removals[i].lsn, index.removals[i].queue);
    }
    segment_index_fini(&index);
    return STATUS_OK;
}

/* Every segment behind the one that is folded into, as far as it holds something new. */
static enum status
fold_all(struct folding *folding)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < folding->catalog.count && status == STATUS_OK; i++) {
        const struct catalog_entry *entry = &folding->catalog.entries[i];
        uint64_t end = entry->header.base_lsn + entry->header.slot_size;
        if (entry->header.base_lsn > folding->index.base_lsn && !entry->is_pack &&
            entry->header.base_lsn < folding->folded_lsn && end > folding->dead.folded_lsn) {
            status = fold_entry(folding, entry);
        }
    }
    return status;
}

static enum status
read_pack_index(struct folding *folding, const char *name)
{
    struct pack pack;
    const char *reason;
    enum status status = pack_read(&pack, folding->disk, name, &reason);
    if (status == STATUS_OK) {
        folding->is_pack = true;
        folding->index = pack.index;
        pack.index = (struct segment_index){0};
        pack_fini(&pack);
    }
    return status;
}

static enum status
read_own_index(struct folding *folding, uint64_t number)
{
    for (uint32_t i = 0; i < folding->catalog.count; i++) {
        const struct catalog_entry *entry = &folding->catalog.entries[i];
        if (entry->is_pack && entry->header.number == number) {
            return read_pack_index(folding, entry->name);
        }
    }
    return segment_index_read(&folding->index, folding->disk, number);
}

static enum status
fail(struct folding *folding, enum status status, enum store_file_kind kind, uint64_t number)
{
    char name[STORE_NAME_SIZE];
    int error = errno;
    (void)log_failure_set(folding->failure, "read", store_file_name(kind, number, 0, name), 0);
    errno = error;
    return status;
}

static enum status
begin_folding(struct folding *folding, uint64_t number)
{
    enum status status = catalog_read(&folding->catalog, folding->disk, folding->failure);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_own_index(folding, number);
    if (status != STATUS_OK) {
        return fail(folding, status, STORE_FILE_INDEX, number);
    }
    status = dead_rows_read(&folding->dead, folding->disk, &folding->index);
    if ((status == STATUS_IO && errno == ENOENT) || (status == STATUS_AGAIN && folding->is_pack)) {
        return dead_rows_init(&folding->dead, &folding->index);
    }
    status = status == STATUS_AGAIN ? STATUS_CORRUPT : status;
    return status == STATUS_OK ? status : fail(folding, status, STORE_FILE_DEAD, number);
}

enum status
fold_run(const struct disk *disk, uint64_t number, uint64_t folded_lsn,
         struct log_failure *failure_out)
{
    struct folding folding = {.disk = disk, .folded_lsn = folded_lsn, .failure = failure_out};
    enum status status = begin_folding(&folding, number);
    if (status == STATUS_OK) {
        status = fold_all(&folding);
    }
    if (status == STATUS_OK && folding.dead.folded_lsn < folded_lsn) {
        folding.dead.folded_lsn = folded_lsn;
        status = dead_rows_write(&folding.dead, disk, failure_out);
    }
    dead_rows_fini(&folding.dead);
    segment_index_fini(&folding.index);
    catalog_fini(&folding.catalog);
    return status;
}
