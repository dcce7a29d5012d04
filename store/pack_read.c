/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a pack: its table and index, one of its contents, and what is not right in it. Making one
 * is pack.c's. */
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

void
pack_fini(struct pack *pack)
{
    segment_index_fini(&pack->index);
    free(pack->entries);
    *pack = (struct pack){0};
}

const struct pack_entry *
pack_find(const struct pack *pack, uint64_t lsn)
{
    uint64_t low = 0;
    uint64_t high = pack->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (pack->entries[middle].lsn < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < pack->count && pack->entries[low].lsn == lsn ? &pack->entries[low] : NULL;
}

struct pack_input {
    const struct disk *disk;
    struct disk_file *file;
    uint64_t file_size;
    const char *reason;
};

static enum status
refuse(struct pack_input *input, const char *reason)
{
    input->reason = reason;
    return STATUS_CORRUPT;
}

static enum status
read_exactly(struct pack_input *input, void *out, size_t size, uint64_t offset)
{
    size_t read = 0;
    enum status status =
        input->disk->read(input->disk->context, input->file, out, size, offset, &read);
    return status == STATUS_OK && read < size ? refuse(input, "shorter than it says") : status;
}

/* Contents lie behind the index, within the file, and no LSN is there twice. */
static bool
entry_is_right(const struct pack *pack, uint64_t at, uint64_t contents_at, uint64_t file_size)
{
    const struct pack_entry *entry = &pack->entries[at];
    return entry->lsn % RECORD_ALIGNMENT == 0 && entry->lsn > pack->header.base_lsn &&
           (at == 0 || entry[-1].lsn < entry->lsn) && entry->size >= CONTENT_HEADER_SIZE &&
           entry->offset % RECORD_ALIGNMENT == 0 && entry->offset >= contents_at &&
           entry->offset <= file_size && entry->size <= file_size - entry->offset;
}

static enum status
read_entries(struct pack_input *input, struct pack *pack, uint64_t count, uint32_t crc,
             uint64_t contents_at)
{
    if (count == 0) {
        return STATUS_OK;
    }
    size_t size = (size_t)count * ENTRY_SIZE;
    uint8_t *octets = try_alloc(size);
    pack->entries = try_alloc((size_t)count * sizeof(*pack->entries));
    enum status status = octets == NULL || pack->entries == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (status == STATUS_OK) {
        status = read_exactly(input, octets, size, TABLE_AT + TABLE_HEADER_SIZE);
    }
    if (status == STATUS_OK && crc32c(0, octets, size) != crc) {
        status = refuse(input, "its table is damaged");
    }
    for (uint64_t i = 0; i < count && status == STATUS_OK; i++) {
        const uint8_t *at = octets + i * ENTRY_SIZE;
        pack->entries[i] = (struct pack_entry){
            .lsn = get_u64_le(at), .offset = get_u64_le(at + 8), .size = get_u32_le(at + 16)};
        pack->count++;
        if (!entry_is_right(pack, i, contents_at, input->file_size)) {
            status = refuse(input, "its table names what cannot be");
        }
    }
    free(octets);
    return status;
}

static enum status
read_table(struct pack_input *input, struct pack *pack)
{
    uint8_t header[TABLE_HEADER_SIZE];
    enum status status = read_exactly(input, header, sizeof(header), TABLE_AT);
    if (status != STATUS_OK) {
        return status;
    }
    if (memcmp(header, PACK_MAGIC, sizeof(PACK_MAGIC)) != 0 ||
        get_u32_le(header + TABLE_HEADER_CRC_AT) != crc32c(0, header, TABLE_HEADER_CRC_AT) ||
        get_u32_le(header + 8) != PACK_VERSION) {
        return refuse(input, "its table is damaged, or of a version that is not known");
    }
    uint64_t count = get_u64_le(header + 16);
    uint64_t index_size = get_u64_le(header + 24);
    uint64_t left = input->file_size - TABLE_AT - TABLE_HEADER_SIZE;
    if (count > left / ENTRY_SIZE || index_size > left - count * ENTRY_SIZE) {
        return refuse(input, "its table does not fit the file");
    }
    uint64_t index_at = TABLE_AT + TABLE_HEADER_SIZE + count * ENTRY_SIZE;
    status =
        read_entries(input, pack, count, get_u32_le(header + TABLE_CRC_AT), index_at + index_size);
    if (status != STATUS_OK) {
        return status;
    }
    status = segment_index_read_at(&pack->index, input->disk, input->file, index_at, index_size,
                                   pack->header.number);
    return status == STATUS_CORRUPT ? refuse(input, "its index is damaged") : status;
}

/* Every row has its content. */
static bool
rows_have_contents(const struct pack *pack)
{
    for (uint64_t i = 0; i < pack->index.row_count; i++) {
        const struct index_row *row = &pack->index.rows[i];
        const struct pack_entry *entry = pack_find(pack, row->lsn);
        if (entry == NULL || entry->size != row->content_size) {
            return false;
        }
    }
    return true;
}

static enum status
read_pack(struct pack_input *input, struct pack *pack)
{
    uint8_t octets[SEGMENT_HEADER_SIZE];
    enum status status = input->disk->size(input->disk->context, input->file, &input->file_size);
    if (status == STATUS_OK && input->file_size < TABLE_AT + TABLE_HEADER_SIZE) {
        return refuse(input, "shorter than its header");
    }
    if (status == STATUS_OK) {
        status = read_exactly(input, octets, sizeof(octets), 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (segment_header_decode(&pack->header, octets) != STATUS_OK) {
        return refuse(input, "its header is damaged");
    }
    if (input->file_size < pack->header.capacity) {
        return refuse(input, "shorter than its header says it is");
    }
    status = read_table(input, pack);
    if (status != STATUS_OK) {
        return status;
    }
    const struct segment_index *index = &pack->index;
    bool is_own = index->base_lsn == pack->header.base_lsn &&
                  index->end_lsn <= pack->header.base_lsn + pack->header.slot_size;
    return is_own && rows_have_contents(pack) ? STATUS_OK
                                              : refuse(input, "its index is of another pack");
}

enum status
pack_read(struct pack *pack, const struct disk *disk, const char *name, const char **reason_out)
{
    struct pack_input input = {.disk = disk, .reason = "cannot be read"};
    *pack = (struct pack){0};
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &input.file);
    if (status == STATUS_OK) {
        status = read_pack(&input, pack);
    }
    int error = errno;
    disk->close(disk->context, &input.file);
    if (status != STATUS_OK) {
        pack_fini(pack);
    }
    *reason_out = input.reason;
    errno = error;
    return status;
}

enum status
pack_source_index(struct segment_index *index, const struct disk *disk,
                  const struct catalog_entry *entry)
{
    struct pack pack;
    const char *reason;
    if (!entry->is_pack) {
        return segment_index_read(index, disk, entry->header.number);
    }
    enum status status = pack_read(&pack, disk, entry->name, &reason);
    if (status == STATUS_OK) {
        *index = pack.index;
        pack.index = (struct segment_index){0};
        pack_fini(&pack);
    }
    return status;
}

static enum status
check_content(const struct disk *disk, struct disk_file *file, const struct pack_entry *entry)
{
    uint8_t *octets = try_alloc(entry->size);
    if (octets == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t read = 0;
    enum status status = disk->read(disk->context, file, octets, entry->size, entry->offset, &read);
    if (status == STATUS_OK &&
        (read < entry->size || content_check(bytes_make(octets, read), entry->lsn) !=
                                   get_u32_le(octets + CONTENT_HEADER_SIZE - 4))) {
        status = STATUS_CORRUPT;
    }
    free(octets);
    return status;
}

enum status
pack_check_contents(const struct pack *pack, const struct disk *disk, const char *name,
                    void (*each)(void *context, const struct pack_entry *entry), void *context)
{
    struct disk_file *file = NULL;
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    for (uint64_t i = 0; i < pack->count && status == STATUS_OK; i++) {
        status = check_content(disk, file, &pack->entries[i]);
        if (status == STATUS_CORRUPT) {
            each(context, &pack->entries[i]);
            status = STATUS_OK;
        }
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status;
}
