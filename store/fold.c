/* SPDX-License-Identifier: Apache-2.0 */
#include "store/fold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/crc32c.h"
#include "store/little_endian.h"
#include "store/segment.h"

static const uint8_t DEAD_MAGIC[8] = {'B', 'R', 'S', 'D', 'E', 'A', 'D', '1'};

enum { DEAD_VERSION = 1, DEAD_HEADER_SIZE = 64, BITS_CRC_AT = 56, HEADER_CRC_AT = 60 };

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

enum status
dead_rows_init(struct dead_rows *dead, uint64_t number, uint64_t row_count)
{
    *dead = (struct dead_rows){.number = number, .row_count = row_count};
    size_t size = word_octets(row_count);
    dead->bits = try_alloc(size == 0 ? sizeof(uint64_t) : size);
    if (dead->bits == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(dead->bits, 0, size);
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
header_is_right(const uint8_t header[static DEAD_HEADER_SIZE], uint64_t number, uint64_t row_count)
{
    return memcmp(header, DEAD_MAGIC, sizeof(DEAD_MAGIC)) == 0 &&
           get_u32_le(header + HEADER_CRC_AT) == crc32c(0, header, HEADER_CRC_AT) &&
           get_u32_le(header + 8) == DEAD_VERSION && get_u32_le(header + 12) == DEAD_HEADER_SIZE &&
           get_u64_le(header + 16) == number && get_u64_le(header + 32) == row_count;
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
read_file(struct dead_rows *dead, const struct disk *disk, struct disk_file *file, uint64_t number,
          uint64_t row_count)
{
    uint8_t header[DEAD_HEADER_SIZE];
    uint64_t size;
    enum status status = disk->size(disk->context, file, &size);
    if (status == STATUS_OK && size != DEAD_HEADER_SIZE + file_octets(row_count)) {
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        status = read_exactly(disk, file, header, sizeof(header), 0);
    }
    if (status == STATUS_OK && !header_is_right(header, number, row_count)) {
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        status = dead_rows_init(dead, number, row_count);
    }
    if (status != STATUS_OK) {
        return status;
    }
    dead->folded_lsn = get_u64_le(header + 24);
    status = read_exactly(disk, file, dead->bits, file_octets(row_count), DEAD_HEADER_SIZE);
    if (status == STATUS_OK && !bits_are_right(dead, get_u32_le(header + BITS_CRC_AT))) {
        status = STATUS_CORRUPT;
    }
    return status;
}

enum status
dead_rows_read(struct dead_rows *dead, const struct disk *disk, uint64_t number, uint64_t row_count)
{
    char name[STORE_NAME_SIZE];
    struct disk_file *file = NULL;
    struct dead_rows found = {0};
    store_file_name(STORE_FILE_DEAD, number, 0, name);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_file(&found, disk, file, number, row_count);
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
    put_u32_le(header + BITS_CRC_AT, crc32c(0, dead->bits, size));
    put_u32_le(header + HEADER_CRC_AT, crc32c(0, header, HEADER_CRC_AT));
    struct iovec parts[] = {{.iov_base = header, .iov_len = sizeof(header)},
                            {.iov_base = dead->bits, .iov_len = size}};
    enum status status = disk->write(disk->context, file, parts, 2, 0);
    return status == STATUS_OK ? disk->flush(disk->context, file) : status;
}

enum status
dead_rows_write(const struct dead_rows *dead, const struct disk *disk)
{
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    store_file_name(STORE_FILE_DEAD, dead->number, 0, name);
    (void)snprintf(aside, sizeof(aside), "%s.tmp", name);
    (void)disk->unlink(disk->context, aside);
    struct disk_file *file = NULL;
    enum status status = disk->open(disk->context, aside, DISK_OPEN_CREATE, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = write_file(dead, disk, file);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status == STATUS_OK) {
        status = disk->rename(disk->context, aside, name);
    }
    return status == STATUS_OK ? disk->flush_directory(disk->context) : status;
}
