/* SPDX-License-Identifier: Apache-2.0 */
#include "store/manifest.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/crc32c.h"
#include "store/little_endian.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MANIFEST_VERSION =
        3, /* one of version 1 has no ROW_STATE records, one of 2 no attempts in them */
    MANIFEST_VERSION_MIN = 1,
    MANIFEST_FIXED_SIZE = 56,
    MANIFEST_EPOCH_SIZE = 24,
    MANIFEST_CRC_SIZE = 4,
    MANIFEST_SIZE_MIN = MANIFEST_FIXED_SIZE + MANIFEST_CRC_SIZE,
    MANIFEST_SIZE_MAX = 1024 * 1024, /* over 43,000 epochs that all have segments */
    MANIFEST_CLEAN = 1 << 0,
};

static const char MAGIC[8] = {'B', 'R', 'S', 'M', 'A', 'N', 'I', 'F'};
static const char TEMPORARY_NAME[] = STORE_MANIFEST_NAME ".tmp";

void
manifest_fini(struct manifest *manifest)
{
    free(manifest->epochs);
    *manifest = (struct manifest){0};
}

void
manifest_add_epoch(struct manifest *manifest, uint64_t number, uint64_t first_lsn)
{
    size_t count = (size_t)manifest->epoch_count + 1;
    manifest->epochs = xrealloc(manifest->epochs, count * sizeof(*manifest->epochs));
    manifest->epochs[manifest->epoch_count++] =
        (struct manifest_epoch){.number = number, .first_lsn = first_lsn};
}

void
manifest_drop_epochs(struct manifest *manifest, uint64_t lsn)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        const struct manifest_epoch *epoch = &manifest->epochs[i];
        if (epoch->end_lsn == 0 || epoch->end_lsn > lsn) {
            manifest->epochs[kept++] = *epoch;
        }
    }
    manifest->epoch_count = kept;
}

/* Reading -------------------------------------------------------------------------------------- */

static enum status
refuse(char *why, size_t why_size, const char *what)
{
    snprintf(why, why_size, "%s %s", STORE_MANIFEST_NAME, what);
    return STATUS_CORRUPT;
}

static bool
epochs_are_sound(const struct manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        const struct manifest_epoch *epoch = &manifest->epochs[i];
        bool is_last = i + 1 == manifest->epoch_count;
        if (epoch->end_lsn == 0 ? !is_last : epoch->end_lsn < epoch->first_lsn) {
            return false;
        }
        if (i > 0 && (epoch->number <= epoch[-1].number || epoch->first_lsn < epoch[-1].end_lsn)) {
            return false;
        }
    }
    return true;
}

static void
decode_epochs(struct manifest *manifest, const uint8_t *octets, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, octets += MANIFEST_EPOCH_SIZE) {
        manifest_add_epoch(manifest, get_u64_le(octets), get_u64_le(octets + 8));
        manifest->epochs[i].end_lsn = get_u64_le(octets + 16);
    }
}

static bool
checksum_is_right(const uint8_t *octets, size_t size)
{
    size_t covered = size - MANIFEST_CRC_SIZE;
    return get_u32_le(octets + covered) == crc32c(0, octets, covered);
}

static enum status
decode(struct manifest *manifest, const uint8_t *octets, size_t size, char *why, size_t why_size)
{
    if (size < MANIFEST_SIZE_MIN) {
        return refuse(why, why_size, "is shorter than any manifest");
    }
    if (memcmp(octets, MAGIC, sizeof(MAGIC)) != 0) {
        return refuse(why, why_size, "is no manifest: its first octets are not BRSMANIF");
    }
    uint32_t version = get_u32_le(octets + 8);
    if (version > MANIFEST_VERSION && checksum_is_right(octets, size)) {
        (void)refuse(why, why_size,
                     "was written by a newer version of Bourse, which this one cannot read");
        return STATUS_REJECTED;
    }
    if (version < MANIFEST_VERSION_MIN || version > MANIFEST_VERSION) {
        return refuse(why, why_size, "is of a version that this program does not know");
    }
    size_t covered = size - MANIFEST_CRC_SIZE;
    uint32_t count = get_u32_le(octets + 48);
    if (get_u32_le(octets + 12) != size ||
        (covered - MANIFEST_FIXED_SIZE) / MANIFEST_EPOCH_SIZE != count ||
        (covered - MANIFEST_FIXED_SIZE) % MANIFEST_EPOCH_SIZE != 0) {
        return refuse(why, why_size, "is not as long as it says");
    }
    if (!checksum_is_right(octets, size)) {
        return refuse(why, why_size, "is damaged: its checksum does not match");
    }
    struct manifest found = {
        .group = get_u32_le(octets + 32),
        .is_clean = (get_u32_le(octets + 36) & MANIFEST_CLEAN) != 0,
        .snapshot_lsn = get_u64_le(octets + 40),
    };
    memcpy(found.cluster_id, octets + 16, CLUSTER_ID_SIZE);
    decode_epochs(&found, octets + MANIFEST_FIXED_SIZE, count);
    if (!epochs_are_sound(&found)) {
        manifest_fini(&found);
        return refuse(why, why_size, "has epochs that do not follow each other");
    }
    *manifest = found;
    return STATUS_OK;
}

static enum status
read_file(struct manifest *manifest, const struct disk *disk, struct disk_file *file, char *why,
          size_t why_size)
{
    uint64_t size;
    enum status status = disk->size(disk->context, file, &size);
    if (status != STATUS_OK) {
        return status;
    }
    if (size > MANIFEST_SIZE_MAX) {
        return refuse(why, why_size, "is longer than any manifest");
    }
    uint8_t *octets = xalloc((size_t)size + 1);
    size_t read_size;
    status = disk->read(disk->context, file, octets, (size_t)size, 0, &read_size);
    if (status == STATUS_OK) {
        status = decode(manifest, octets, read_size, why, why_size);
    }
    int error = errno;
    free(octets);
    errno = error;
    return status;
}

enum status
manifest_read(struct manifest *manifest, const struct disk *disk, char *why, size_t why_size)
{
    struct disk_file *file;
    enum status status = disk->open(disk->context, STORE_MANIFEST_NAME, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_file(manifest, disk, file, why, why_size);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status;
}

/* Writing -------------------------------------------------------------------------------------- */

static void
encode(const struct manifest *manifest, uint8_t *out, size_t size)
{
    memcpy(out, MAGIC, sizeof(MAGIC));
    put_u32_le(out + 8, MANIFEST_VERSION);
    put_u32_le(out + 12, (uint32_t)size);
    memcpy(out + 16, manifest->cluster_id, CLUSTER_ID_SIZE);
    put_u32_le(out + 32, manifest->group);
    put_u32_le(out + 36, manifest->is_clean ? MANIFEST_CLEAN : 0);
    put_u64_le(out + 40, manifest->snapshot_lsn);
    put_u32_le(out + 48, manifest->epoch_count);
    uint8_t *at = out + MANIFEST_FIXED_SIZE;
    for (uint32_t i = 0; i < manifest->epoch_count; i++, at += MANIFEST_EPOCH_SIZE) {
        put_u64_le(at, manifest->epochs[i].number);
        put_u64_le(at + 8, manifest->epochs[i].first_lsn);
        put_u64_le(at + 16, manifest->epochs[i].end_lsn);
    }
    put_u32_le(at, crc32c(0, out, size - MANIFEST_CRC_SIZE));
}

static enum status
fill_file(const struct disk *disk, struct disk_file *file, const uint8_t *octets, size_t size,
          struct log_failure *failure)
{
    if (disk_write_bytes(disk, file, octets, size, 0) != STATUS_OK) {
        return log_failure_set(failure, "write", TEMPORARY_NAME, 0);
    }
    if (disk->flush(disk->context, file) != STATUS_OK) {
        return log_failure_set(failure, "flush", TEMPORARY_NAME, 0);
    }
    return STATUS_OK;
}

static enum status
write_aside(const struct disk *disk, const uint8_t *octets, size_t size,
            struct log_failure *failure)
{
    if (disk->unlink(disk->context, TEMPORARY_NAME) != STATUS_OK && errno != ENOENT) {
        return log_failure_set(failure, "unlink", TEMPORARY_NAME, 0);
    }
    struct disk_file *file;
    if (disk->open(disk->context, TEMPORARY_NAME, DISK_OPEN_CREATE, &file) != STATUS_OK) {
        return log_failure_set(failure, "open", TEMPORARY_NAME, 0);
    }
    enum status status = fill_file(disk, file, octets, size, failure);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status;
}

static enum status
take_its_place(const struct disk *disk, struct log_failure *failure)
{
    if (disk->rename(disk->context, TEMPORARY_NAME, STORE_MANIFEST_NAME) != STATUS_OK) {
        return log_failure_set(failure, "rename", STORE_MANIFEST_NAME, 0);
    }
    if (disk->flush_directory(disk->context) != STATUS_OK) {
        return log_failure_set(failure, STORE_FLUSH_DIRECTORY, STORE_MANIFEST_NAME, 0);
    }
    return STATUS_OK;
}

enum status
manifest_write(const struct manifest *manifest, const struct disk *disk,
               struct log_failure *failure)
{
    assert(epochs_are_sound(manifest));
    size_t size = MANIFEST_SIZE_MIN + (size_t)manifest->epoch_count * MANIFEST_EPOCH_SIZE;
    assert(size <= MANIFEST_SIZE_MAX);
    uint8_t *octets = xalloc(size);
    encode(manifest, octets, size);
    enum status status = write_aside(disk, octets, size, failure);
    free(octets);
    return status == STATUS_OK ? take_its_place(disk, failure) : status;
}
