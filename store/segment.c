/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "store/crc32c.h"
#include "store/little_endian.h"
#include "store/log_failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Names ---------------------------------------------------------------------------------------- */

enum { NUMBER_DIGITS = 16 };

static const struct store_name {
    enum store_file_kind kind;
    const char *prefix; /* before the number */
    const char *suffix; /* behind it */
} STORE_NAMES[] = {
    {STORE_FILE_SEGMENT, "seg.", ""},   {STORE_FILE_INDEX, "seg.", ".idx"},
    {STORE_FILE_DEAD, "seg.", ".dead"}, {STORE_FILE_SNAPSHOT, "snap.", ""},
    {STORE_FILE_SPARE, "spare.", ""},   {STORE_FILE_SPILL, "spill.", ""},
};

static const char PACK_PREFIX[] = "pack.";

const char *
store_file_name(enum store_file_kind kind, uint64_t number, uint64_t last,
                char out[static STORE_NAME_SIZE])
{
    if (kind == STORE_FILE_PACK) {
        snprintf(out, STORE_NAME_SIZE, "%s%016" PRIx64 ".%016" PRIx64, PACK_PREFIX, number, last);
        return out;
    }
    for (size_t i = 0; i < ARRAY_LEN(STORE_NAMES); i++) {
        const struct store_name *name = &STORE_NAMES[i];
        if (name->kind == kind) {
            snprintf(out, STORE_NAME_SIZE, "%s%016" PRIx64 "%s", name->prefix, number,
                     name->suffix);
            return out;
        }
    }
    assert(kind == STORE_FILE_MANIFEST || kind == STORE_FILE_BALLAST);
    snprintf(out, STORE_NAME_SIZE, "%s",
             kind == STORE_FILE_MANIFEST ? STORE_MANIFEST_NAME : STORE_BALLAST_NAME);
    return out;
}

/* Takes 16 hexadecimal digits, the letters small, off the front of `*text`. */
static bool
take_number(struct bytes *text, uint64_t *number_out)
{
    if (text->size < NUMBER_DIGITS) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < NUMBER_DIGITS; i++) {
        uint8_t digit = text->data[i];
        if (digit >= '0' && digit <= '9') {
            number = number << 4 | (uint64_t)(digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            number = number << 4 | (uint64_t)(digit - 'a' + 10);
        } else {
            return false;
        }
    }
    *text = bytes_make(text->data + NUMBER_DIGITS, text->size - NUMBER_DIGITS);
    *number_out = number;
    return true;
}

static bool
take_prefix(struct bytes *text, const char *prefix)
{
    if (!bytes_starts_with(*text, prefix)) {
        return false;
    }
    *text = bytes_make(text->data + strlen(prefix), text->size - strlen(prefix));
    return true;
}

static bool
ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static bool
parse_pack(const char *name, uint64_t *first_out, uint64_t *last_out)
{
    struct bytes text = bytes_of(name);
    uint64_t first;
    uint64_t last;
    if (!take_prefix(&text, PACK_PREFIX) || !take_number(&text, &first) ||
        !take_prefix(&text, ".") || !take_number(&text, &last) || text.size > 0 || last < first) {
        return false;
    }
    *first_out = first;
    *last_out = last;
    return true;
}

enum store_file_kind
store_file_parse(const char *name, uint64_t *number_out, uint64_t *last_out)
{
    if (strcmp(name, "LOCK") == 0) {
        return STORE_FILE_LOCK;
    }
    if (strcmp(name, STORE_MANIFEST_NAME) == 0) {
        return STORE_FILE_MANIFEST;
    }
    if (strcmp(name, STORE_BALLAST_NAME) == 0) {
        return STORE_FILE_BALLAST;
    }
    if (ends_with(name, ".tmp")) {
        return STORE_FILE_TEMPORARY;
    }
    if (parse_pack(name, number_out, last_out)) {
        return STORE_FILE_PACK;
    }
    for (size_t i = 0; i < ARRAY_LEN(STORE_NAMES); i++) {
        struct bytes text = bytes_of(name);
        uint64_t number;
        if (take_prefix(&text, STORE_NAMES[i].prefix) && take_number(&text, &number) &&
            bytes_equal_text(text, STORE_NAMES[i].suffix)) {
            *number_out = number;
            *last_out = number;
            return STORE_NAMES[i].kind;
        }
    }
    return STORE_FILE_OTHER;
}

/* Headers -------------------------------------------------------------------------------------- */

enum {
    HEADER_VERSION = 1,
    HEADER_CRC_AT = 80,
    LSN_ALIGNMENT = 4096,
};

static const char HEADER_MAGIC[8] = {'B', 'R', 'S', 'S', 'E', 'G', 'M', 'T'};
static const uint64_t LSN_MAX = UINT64_C(1) << 63;

void
segment_header_encode(const struct segment_header *header, uint8_t out[static SEGMENT_HEADER_SIZE])
{
    memset(out, 0, SEGMENT_HEADER_SIZE);
    memcpy(out, HEADER_MAGIC, sizeof(HEADER_MAGIC));
    put_u32_le(out + 8, HEADER_VERSION);
    put_u32_le(out + 12, SEGMENT_HEADER_SIZE);
    put_u64_le(out + 16, header->number);
    put_u64_le(out + 24, header->base_lsn);
    put_u64_le(out + 32, header->slot_size);
    put_u64_le(out + 40, header->capacity);
    put_u64_le(out + 48, header->epoch);
    put_u32_le(out + 56, header->group);
    memcpy(out + 64, header->cluster_id, CLUSTER_ID_SIZE);
    put_u32_le(out + HEADER_CRC_AT, crc32c(0, out, HEADER_CRC_AT));
}

static bool
header_is_sound(const struct segment_header *header)
{
    return header->base_lsn % LSN_ALIGNMENT == 0 && header->base_lsn < LSN_MAX &&
           header->slot_size < LSN_MAX - header->base_lsn &&
           header->capacity <= header->slot_size && header->capacity > SEGMENT_HEADER_SIZE;
}

enum status
segment_header_decode(struct segment_header *header, const uint8_t *octets)
{
    if (memcmp(octets, HEADER_MAGIC, sizeof(HEADER_MAGIC)) != 0 ||
        get_u32_le(octets + 8) != HEADER_VERSION ||
        get_u32_le(octets + 12) != SEGMENT_HEADER_SIZE ||
        get_u32_le(octets + HEADER_CRC_AT) != crc32c(0, octets, HEADER_CRC_AT)) {
        return STATUS_CORRUPT;
    }
    struct segment_header found = {
        .number = get_u64_le(octets + 16),
        .base_lsn = get_u64_le(octets + 24),
        .slot_size = get_u64_le(octets + 32),
        .capacity = get_u64_le(octets + 40),
        .epoch = get_u64_le(octets + 48),
        .group = get_u32_le(octets + 56),
    };
    memcpy(found.cluster_id, octets + 64, CLUSTER_ID_SIZE);
    if (!header_is_sound(&found)) {
        return STATUS_CORRUPT;
    }
    *header = found;
    return STATUS_OK;
}

/* Files ---------------------------------------------------------------------------------------- */

/* How much one call writes, so that nobody waits long for the disk. */
enum {
    ZEROS_AT_ONCE = 1024 * 1024,
    ZEROS_UNFLUSHED_MAX = 4 * 1024 * 1024, /* a flush of the log waits for no more than these */
};

/* Nobody knows what of the file is on the disk: it goes. Leaves errno. */
static void
throw_away(const struct disk *disk, const char *name)
{
    int error = errno;
    (void)disk->unlink(disk->context, name);
    errno = error;
}

static enum status
flush_names(const struct disk *disk, const char *name, struct log_failure *failure)
{
    if (disk->flush_directory(disk->context) != STATUS_OK) {
        return log_failure_set(failure, STORE_FLUSH_DIRECTORY, name, 0);
    }
    return STATUS_OK;
}

static enum status
remove_if_there(const struct disk *disk, const char *name, struct log_failure *failure)
{
    if (disk->unlink(disk->context, name) != STATUS_OK && errno != ENOENT) {
        return log_failure_set(failure, "unlink", name, 0);
    }
    return STATUS_OK;
}

/* The disk has one queue for everybody: what waits here for the last flush, somebody's confirm
 * would have to wait for as well. */
static enum status
write_zeros(const struct disk *disk, struct disk_file *file, const char *name, uint64_t octets,
            struct log_failure *failure)
{
    uint8_t *zeros = xalloc(ZEROS_AT_ONCE);
    enum status status = STATUS_OK;
    for (uint64_t offset = 0; offset < octets && status == STATUS_OK; offset += ZEROS_AT_ONCE) {
        uint64_t left = octets - offset;
        size_t size = left < ZEROS_AT_ONCE ? (size_t)left : ZEROS_AT_ONCE;
        if (disk_write_bytes(disk, file, zeros, size, offset) != STATUS_OK) {
            status = log_failure_set(failure, "write", name, offset);
        } else if ((offset + size) % ZEROS_UNFLUSHED_MAX == 0 && left > size &&
                   disk->flush(disk->context, file) != STATUS_OK) {
            status = log_failure_set(failure, "flush", name, 0);
        }
    }
    free(zeros);
    return status;
}

static enum status
write_header(const struct disk *disk, struct disk_file *file, const char *name,
             const struct segment_header *header, struct log_failure *failure)
{
    uint8_t octets[SEGMENT_HEADER_SIZE];
    segment_header_encode(header, octets);
    if (disk_write_bytes(disk, file, octets, sizeof(octets), 0) != STATUS_OK) {
        return log_failure_set(failure, "write", name, 0);
    }
    return STATUS_OK;
}

/* Fills an open file and closes it: with zeros where `octets` is not 0, with a header where there
 * is one. It is on the disk on STATUS_OK, and gone otherwise. */
static enum status
fill_file(const struct disk *disk, struct disk_file *file, const char *name, uint64_t octets,
          const struct segment_header *header, struct log_failure *failure)
{
    enum status status = write_zeros(disk, file, name, octets, failure);
    if (status == STATUS_OK && header != NULL) {
        status = write_header(disk, file, name, header, failure);
    }
    if (status == STATUS_OK && disk->flush(disk->context, file) != STATUS_OK) {
        status = log_failure_set(failure, "flush", name, 0);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status != STATUS_OK) {
        throw_away(disk, name);
    }
    return status;
}

static enum status
make_file(const struct disk *disk, const char *name, uint64_t octets,
          const struct segment_header *header, struct log_failure *failure)
{
    enum status status = remove_if_there(disk, name, failure); /* of an attempt that failed */
    if (status != STATUS_OK) {
        return status;
    }
    struct disk_file *file;
    if (disk->open(disk->context, name, DISK_OPEN_CREATE, &file) != STATUS_OK) {
        return log_failure_set(failure, "open", name, 0);
    }
    return fill_file(disk, file, name, octets, header, failure);
}

/* STATUS_REJECTED: the spare is not as long as the segment is to be, and was removed. */
static enum status
use_spare(const struct disk *disk, const char *name, const struct segment_header *header,
          struct log_failure *failure)
{
    struct disk_file *file;
    if (disk->open(disk->context, name, DISK_OPEN_WRITE, &file) != STATUS_OK) {
        return log_failure_set(failure, "open", name, 0);
    }
    uint64_t size = 0;
    enum status status = disk->size(disk->context, file, &size);
    if (status == STATUS_OK && size == header->capacity) {
        return fill_file(disk, file, name, 0, header, failure);
    }
    if (status != STATUS_OK) {
        status = log_failure_set(failure, "size", name, 0);
    } else {
        status = STATUS_REJECTED;
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    throw_away(disk, name);
    return status;
}

/* Gives a finished file its name. */
static enum status
name_file(const struct disk *disk, const char *from, const char *to, struct log_failure *failure)
{
    if (disk->rename(disk->context, from, to) != STATUS_OK) {
        enum status status = log_failure_set(failure, "rename", to, 0);
        throw_away(disk, from);
        return status;
    }
    return flush_names(disk, to, failure);
}

static const char *
temporary_name(const char *name, char out[static STORE_NAME_SIZE])
{
    snprintf(out, STORE_NAME_SIZE, "%.40s.tmp", name);
    return out;
}

enum status
segment_prepare(const struct disk *disk, const struct segment_header *header, uint64_t spare,
                struct log_failure *failure)
{
    char name[STORE_NAME_SIZE];
    char from[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, header->number, 0, name);
    enum status status = STATUS_REJECTED;
    if (spare != 0) {
        store_file_name(STORE_FILE_SPARE, spare, 0, from);
        status = use_spare(disk, from, header, failure);
    }
    if (status == STATUS_REJECTED) {
        temporary_name(name, from);
        status = make_file(disk, from, header->capacity, header, failure);
    }
    return status == STATUS_OK ? name_file(disk, from, name, failure) : status;
}

enum status
spare_prepare(const struct disk *disk, uint64_t number, uint64_t octets,
              struct log_failure *failure)
{
    char name[STORE_NAME_SIZE];
    char from[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SPARE, number, 0, name);
    enum status status = make_file(disk, temporary_name(name, from), octets, NULL, failure);
    return status == STATUS_OK ? name_file(disk, from, name, failure) : status;
}

/* What is left of these means nothing without the segment, and goes at the next start at the
 * latest. */
static void
remove_companions(const struct disk *disk, uint64_t number)
{
    char name[STORE_NAME_SIZE];
    (void)disk->unlink(disk->context, store_file_name(STORE_FILE_INDEX, number, 0, name));
    (void)disk->unlink(disk->context, store_file_name(STORE_FILE_DEAD, number, 0, name));
}

static enum status
remove_file(const struct disk *disk, const char *name, struct log_failure *failure)
{
    enum status status = remove_if_there(disk, name, failure);
    return status == STATUS_OK ? flush_names(disk, name, failure) : status;
}

bool
segment_is_shared(const struct disk *disk, uint64_t number)
{
    char name[STORE_NAME_SIZE];
    struct disk_file *file;
    uint64_t count = 0;
    store_file_name(STORE_FILE_SEGMENT, number, 0, name);
    if (disk->open(disk->context, name, DISK_OPEN_READ, &file) != STATUS_OK) {
        return true;
    }
    enum status status = disk->link_count(disk->context, file, &count);
    disk->close(disk->context, &file);
    return status != STATUS_OK || count != 1;
}

enum status
segment_retire(const struct disk *disk, uint64_t number, uint64_t spare,
               struct log_failure *failure)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, number, 0, name);
    enum status status;
    if (spare == 0) {
        status = remove_file(disk, name, failure);
    } else {
        char to[STORE_NAME_SIZE];
        store_file_name(STORE_FILE_SPARE, spare, 0, to);
        if (disk->rename(disk->context, name, to) != STATUS_OK) {
            return log_failure_set(failure, "rename", name, 0);
        }
        status = flush_names(disk, to, failure);
    }
    if (status == STATUS_OK) {
        remove_companions(disk, number);
    }
    return status;
}

/* Files whose place a pack took, and which could not be removed then. */
struct replaced {
    uint64_t first; /* of the pack */
    uint64_t last;
    struct buffer names; /* each ends with a 0 */
};

static void
note_replaced(void *argument, const char *name)
{
    struct replaced *replaced = argument;
    uint64_t number;
    uint64_t last;
    enum store_file_kind kind = store_file_parse(name, &number, &last);
    bool is_source = kind == STORE_FILE_SEGMENT || kind == STORE_FILE_PACK;
    if (is_source && number >= replaced->first && last <= replaced->last &&
        !(kind == STORE_FILE_PACK && number == replaced->first && last == replaced->last)) {
        buffer_put(&replaced->names, name, strlen(name) + 1);
    }
}

static enum status
remove_names(const struct disk *disk, struct bytes names, struct log_failure *failure)
{
    enum status status = STATUS_OK;
    while (names.size > 0 && status == STATUS_OK) {
        const char *name = (const char *)names.data;
        status = remove_file(disk, name, failure);
        size_t size = strlen(name) + 1;
        names = bytes_make(names.data + size, names.size - size);
    }
    return status;
}

/* Without the pack they would mean something again. */
static enum status
remove_replaced(const struct disk *disk, uint64_t first, uint64_t last, struct log_failure *failure)
{
    struct replaced replaced = {.first = first, .last = last};
    enum status status = disk->list(disk->context, note_replaced, &replaced);
    if (status == STATUS_OK && replaced.names.failed) {
        errno = ENOMEM; /* one that was not noted would outlive the pack */
        status = STATUS_NO_MEMORY;
    }
    status = status == STATUS_OK ? remove_names(disk, buffer_bytes(&replaced.names), failure)
                                 : log_failure_set(failure, "list", ".", 0);
    buffer_fini(&replaced.names);
    return status;
}

enum status
pack_retire(const struct disk *disk, uint64_t first, uint64_t last, struct log_failure *failure)
{
    char name[STORE_NAME_SIZE];
    enum status status = remove_replaced(disk, first, last, failure);
    if (status == STATUS_OK) {
        store_file_name(STORE_FILE_PACK, first, last, name);
        status = remove_file(disk, name, failure);
    }
    if (status == STATUS_OK) {
        remove_companions(disk, first);
    }
    return status;
}
