/* SPDX-License-Identifier: Apache-2.0 */
#include "store/spill.h"

#include "store/crc32c.h"
#include "store/segment.h"

#include <errno.h>

static enum status
open_file(const struct io_spill *spill, const struct disk *disk, struct disk_file **file_out)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SPILL, spill->number, 0, name);
    if (!spill->is_write) {
        return disk->open(disk->context, name, DISK_OPEN_READ, file_out);
    }
    enum status status = disk->open(disk->context, name, DISK_OPEN_WRITE, file_out);
    if (status == STATUS_IO && errno == ENOENT) {
        status = disk->open(disk->context, name, DISK_OPEN_CREATE, file_out);
    }
    return status;
}

static enum status
write_out(struct io_spill *spill, const struct disk *disk, struct disk_file *file)
{
    enum status status = disk_write_bytes(disk, file, spill->octets, spill->size, spill->offset);
    if (status == STATUS_OK) {
        spill->crc = crc32c(0, spill->octets, spill->size);
    }
    return status;
}

static enum status
read_back(const struct io_spill *spill, const struct disk *disk, struct disk_file *file)
{
    size_t size;
    enum status status =
        disk->read(disk->context, file, spill->octets, spill->size, spill->offset, &size);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_right = size == spill->size && crc32c(0, spill->octets, size) == spill->crc;
    return is_right ? STATUS_OK : STATUS_CORRUPT;
}

/* The file may never have been made: its first write failed. */
static enum status
remove_file(const struct io_spill *spill, const struct disk *disk)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SPILL, spill->number, 0, name);
    enum status status = disk->unlink(disk->context, name);
    return status == STATUS_IO && errno == ENOENT ? STATUS_OK : status;
}

enum status
spill_run(struct io_spill *spill, const struct disk *disk)
{
    if (spill->is_removal) {
        return remove_file(spill, disk);
    }
    struct disk_file *file;
    enum status status = open_file(spill, disk, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = spill->is_write ? write_out(spill, disk, file) : read_back(spill, disk, file);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status;
}
