/* SPDX-License-Identifier: Apache-2.0 */
#include "store/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

void
catalog_fini(struct catalog *catalog)
{
    free(catalog->entries);
    *catalog = (struct catalog){0};
}

static void
note_file(void *argument, const char *name)
{
    struct catalog *catalog = argument;
    uint64_t number;
    uint64_t last;
    enum store_file_kind kind = store_file_parse(name, &number, &last);
    if (kind != STORE_FILE_SEGMENT && kind != STORE_FILE_PACK) {
        return;
    }
    if (catalog->count == catalog->capacity) {
        catalog->capacity = catalog->capacity == 0 ? 64 : catalog->capacity * 2;
        catalog->entries =
            xrealloc(catalog->entries, catalog->capacity * sizeof(*catalog->entries));
    }
    struct catalog_entry *entry = &catalog->entries[catalog->count++];
    *entry = (struct catalog_entry){.is_pack = kind == STORE_FILE_PACK, .last = last};
    entry->header.number = number;
    (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
}

/* STATUS_AGAIN: the file went meanwhile. */
static enum status
read_header(struct catalog_entry *entry, const struct disk *disk, struct log_failure *failure)
{
    uint64_t named = entry->header.number;
    uint8_t octets[SEGMENT_HEADER_SIZE];
    struct disk_file *file = NULL;
    size_t read = 0;
    enum status status = disk->open(disk->context, entry->name, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return errno == ENOENT ? STATUS_AGAIN : log_failure_set(failure, "open", entry->name, 0);
    }
    status = disk->read(disk->context, file, octets, sizeof(octets), 0, &read);
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status != STATUS_OK) {
        return log_failure_set(failure, "read", entry->name, 0);
    }
    if (read < sizeof(octets) || segment_header_decode(&entry->header, octets) != STATUS_OK ||
        entry->header.number != named) {
        (void)log_failure_set(failure, "header", entry->name, 0);
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

static int
compare_entries(const void *a, const void *b)
{
    const struct catalog_entry *left = a;
    const struct catalog_entry *right = b;
    if (left->header.base_lsn != right->header.base_lsn) {
        return left->header.base_lsn < right->header.base_lsn ? -1 : 1;
    }
    return left->last > right->last ? -1 : left->last < right->last;
}

/* What a pack has taken the place of may still be there. */
static void
drop_replaced(struct catalog *catalog)
{
    uint32_t kept = 0;
    uint64_t packed = 0; /* up to this number */
    for (uint32_t i = 0; i < catalog->count; i++) {
        const struct catalog_entry *entry = &catalog->entries[i];
        if (entry->header.number > packed) {
            packed = entry->is_pack ? entry->last : packed;
            catalog->entries[kept++] = *entry;
        }
    }
    catalog->count = kept;
}

static enum status
read_headers(struct catalog *catalog, const struct disk *disk, struct log_failure *failure)
{
    uint32_t kept = 0;
    enum status worst = STATUS_OK;
    for (uint32_t i = 0; i < catalog->count; i++) {
        enum status status = read_header(&catalog->entries[i], disk, failure);
        if (status == STATUS_OK) {
            catalog->entries[kept++] = catalog->entries[i];
        } else if (status == STATUS_CORRUPT) {
            worst = status;
        } else if (status != STATUS_AGAIN) {
            return status;
        }
    }
    catalog->count = kept;
    if (kept > 1) {
        qsort(catalog->entries, kept, sizeof(*catalog->entries), compare_entries);
    }
    drop_replaced(catalog);
    return worst;
}

enum status
catalog_read(struct catalog *catalog, const struct disk *disk, struct log_failure *failure_out)
{
    *catalog = (struct catalog){0};
    if (disk->list(disk->context, note_file, catalog) != STATUS_OK) {
        return log_failure_set(failure_out, "list", ".", 0);
    }
    enum status status = read_headers(catalog, disk, failure_out);
    if (status == STATUS_IO) {
        int error = errno;
        catalog_fini(catalog);
        errno = error;
    }
    return status;
}

const struct catalog_entry *
catalog_find(const struct catalog *catalog, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = catalog->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (catalog->entries[middle].header.base_lsn <= lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct catalog_entry *entry = &catalog->entries[low - 1];
    return lsn - entry->header.base_lsn < entry->header.slot_size ? entry : NULL;
}
