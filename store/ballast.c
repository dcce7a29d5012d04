/* SPDX-License-Identifier: Apache-2.0 */
#include "store/ballast.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>

static enum status
remove_if_there(const struct disk *disk, struct log_failure *failure)
{
    if (disk->unlink(disk->context, STORE_BALLAST_NAME) != STATUS_OK && errno != ENOENT) {
        return log_failure_set(failure, "unlink", STORE_BALLAST_NAME, 0);
    }
    return STATUS_OK;
}

/* What an attempt that failed, or another life of the directory, has left goes. */
static enum status
open_ballast(const struct disk *disk, bool is_new, struct disk_file **file_out,
             struct log_failure *failure)
{
    enum status status = is_new ? remove_if_there(disk, failure) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    enum disk_open mode = is_new ? DISK_OPEN_CREATE : DISK_OPEN_WRITE;
    if (disk->open(disk->context, STORE_BALLAST_NAME, mode, file_out) != STATUS_OK) {
        return log_failure_set(failure, "open", STORE_BALLAST_NAME, 0);
    }
    return STATUS_OK;
}

/* The room is taken for certain only once it is flushed. */
static enum status
write_slice(const struct disk *disk, struct disk_file *file, uint64_t offset, size_t size,
            uint64_t seed, struct log_failure *failure)
{
    uint64_t state = seed + offset;
    struct random_source source = random_seeded(&state);
    uint8_t *octets = xalloc(size);
    source.fill(source.context, octets, size);
    enum status status = STATUS_OK;
    if (disk_write_bytes(disk, file, octets, size, offset) != STATUS_OK) {
        status = log_failure_set(failure, "write", STORE_BALLAST_NAME, offset);
    } else if (disk->flush(disk->context, file) != STATUS_OK) {
        status = log_failure_set(failure, "flush", STORE_BALLAST_NAME, 0);
    }
    free(octets);
    return status;
}

enum status
ballast_extend(const struct disk *disk, uint64_t *octets, uint64_t octets_max, uint64_t seed,
               struct log_failure *failure)
{
    assert(*octets < octets_max);
    uint64_t left = octets_max - *octets;
    size_t size = left < BALLAST_SLICE ? (size_t)left : BALLAST_SLICE;
    struct disk_file *file;
    enum status status = open_ballast(disk, *octets == 0, &file, failure);
    if (status != STATUS_OK) {
        return status;
    }
    status = write_slice(disk, file, *octets, size, seed, failure);
    disk->close(disk->context, &file);
    if (status == STATUS_OK) {
        *octets += size;
    }
    return status;
}

enum status
ballast_give_up(const struct disk *disk, struct log_failure *failure)
{
    enum status status = remove_if_there(disk, failure);
    if (status == STATUS_OK && disk->flush_directory(disk->context) != STATUS_OK) {
        status = log_failure_set(failure, STORE_FLUSH_DIRECTORY, STORE_BALLAST_NAME, 0);
    }
    return status;
}
