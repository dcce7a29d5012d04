/* SPDX-License-Identifier: Apache-2.0 */
/* Everything is read through one window that only moves when what is asked for lies outside of it.
 * A control section that is larger than the window is read into memory of its own; since its size
 * stands under a CRC and fits the file, a file can ask for no more memory than it has octets. */
#include "store/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/chunk.h"
#include "store/crc32c.h"
#include "store/little_endian.h"

enum {
    WINDOW_FIRST = 8 * 1024,       /* for headers alone */
    WINDOW_SIZE = 2 * 1024 * 1024, /* a batch is what a tick takes in, mostly under 1 MiB */
    CONTENT_CHECK_AT = 12,
    CONTENT_HEADER_SIZE = 16,
};

static const uint32_t BATCH_MAGIC = 0x54414252;

/* The window ----------------------------------------------------------------------------------- */

/* Who only looks at a header needs no more than the first window. */
static enum status
widen(struct scan *scan, size_t size)
{
    uint64_t wanted = scan->file_size < size ? scan->file_size + 1 : size;
    if (scan->window_capacity >= wanted) {
        return STATUS_OK;
    }
    uint8_t *window = try_realloc(scan->window, (size_t)wanted);
    if (window == NULL) {
        scan->reason = "too little memory to read it";
        return STATUS_NO_MEMORY;
    }
    scan->window = window;
    scan->window_capacity = (size_t)wanted;
    return STATUS_OK;
}

/* Moves the window to `offset`. What is in it already is not read again: a batch that the end of
 * the window cuts would be copied out of the page cache twice. */
static enum status
move_window(struct scan *scan, uint64_t offset)
{
    size_t kept = 0;
    if (offset >= scan->window_offset && offset < scan->window_offset + scan->window_size) {
        size_t skipped = (size_t)(offset - scan->window_offset);
        kept = scan->window_size - skipped;
        memmove(scan->window, scan->window + skipped, kept);
    }
    size_t read = 0;
    scan->window_size = 0;
    enum status status = scan->disk->read(scan->disk->context, scan->file, scan->window + kept,
                                          scan->window_capacity - kept, offset + kept, &read);
    if (status == STATUS_OK) {
        scan->window_offset = offset;
        scan->window_size = kept + read;
    }
    return status;
}

/* Makes `size` octets at `offset` visible. STATUS_CORRUPT: the file ends before. */
static enum status
view(struct scan *scan, uint64_t offset, size_t size, const uint8_t **out)
{
    if (size > scan->window_capacity) {
        return STATUS_CORRUPT; /* the window is as large as the file, or as anybody asks for */
    }
    uint64_t end = scan->window_offset + scan->window_size;
    if (offset < scan->window_offset || offset + size > end) {
        enum status status = move_window(scan, offset);
        if (status != STATUS_OK) {
            scan->reason = "cannot be read";
            scan->stop_offset = offset;
            return status;
        }
    }
    if (offset + size > scan->window_offset + scan->window_size) {
        return STATUS_CORRUPT;
    }
    *out = scan->window + (offset - scan->window_offset);
    return STATUS_OK;
}

/* The CRC of `size` octets at `offset`, behind `*crc`. */
static enum status
add_crc(struct scan *scan, uint64_t offset, uint64_t size, uint32_t *crc)
{
    while (size > 0) {
        size_t part = size < WINDOW_SIZE ? (size_t)size : WINDOW_SIZE;
        const uint8_t *at;
        enum status status = view(scan, offset, part, &at);
        if (status != STATUS_OK) {
            return status;
        }
        *crc = crc32c(*crc, at, part);
        offset += part;
        size -= part;
    }
    return STATUS_OK;
}

/* Stopping ------------------------------------------------------------------------------------- */

static enum status
stop_at(struct scan *scan, enum scan_stop stop, uint64_t offset, const char *reason)
{
    scan->stop = stop;
    scan->reason = reason;
    scan->stop_offset = offset;
    return stop <= SCAN_STOP_NOTHING ? STATUS_AGAIN : STATUS_CORRUPT;
}

/* Opening -------------------------------------------------------------------------------------- */

static enum status
read_header(struct scan *scan)
{
    const uint8_t *at;
    enum status status = view(scan, 0, SEGMENT_HEADER_SIZE, &at);
    if (status == STATUS_CORRUPT) {
        return stop_at(scan, SCAN_STOP_HEADER, scan->file_size, "shorter than its header");
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (segment_header_decode(&scan->segment, at) != STATUS_OK) {
        bool is_newer = memcmp(at, "BRSSEGMT", 8) == 0 && get_u32_le(at + 8) > 1;
        return stop_at(scan, SCAN_STOP_HEADER, 0,
                       is_newer ? "written by a newer version of Bourse, which this one cannot read"
                                : "its header is damaged");
    }
    if (scan->file_size < scan->segment.capacity) {
        return stop_at(scan, SCAN_STOP_HEADER, scan->file_size,
                       "shorter than its header says it is");
    }
    return STATUS_OK;
}

enum status
scan_open(struct scan *scan, const struct disk *disk, const char *name)
{
    *scan = (struct scan){.disk = disk, .reason = "cannot be read"};
    (void)snprintf(scan->name, sizeof(scan->name), "%s", name);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &scan->file);
    if (status == STATUS_OK) {
        status = disk->size(disk->context, scan->file, &scan->file_size);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = widen(scan, WINDOW_FIRST);
    if (status == STATUS_OK) {
        status = read_header(scan);
    }
    scan->offset = SEGMENT_HEADER_SIZE;
    scan->limit =
        scan->segment.capacity < scan->file_size ? scan->segment.capacity : scan->file_size;
    return status;
}

void
scan_close(struct scan *scan)
{
    if (scan->file != NULL) {
        scan->disk->close(scan->disk->context, &scan->file);
    }
    free(scan->window);
    free(scan->large);
    scan->window = NULL;
    scan->large = NULL;
}

/* One batch ------------------------------------------------------------------------------------ */

enum status
scan_peek(struct scan *scan, uint64_t offset, struct batch_header *header)
{
    if (offset + BATCH_HEADER_SIZE > scan->limit) {
        return STATUS_AGAIN;
    }
    const uint8_t *at;
    enum status status = view(scan, offset, BATCH_HEADER_SIZE, &at);
    if (status != STATUS_OK) {
        return status == STATUS_CORRUPT ? STATUS_AGAIN : status;
    }
    struct batch_header found;
    if (batch_header_decode(&found, at) != STATUS_OK || found.base_lsn != scan_lsn(scan, offset) ||
        found.epoch != scan->segment.epoch || found.group != scan->segment.group) {
        return STATUS_AGAIN;
    }
    *header = found;
    return STATUS_OK;
}

/* Only what the header says about itself; how it joins the segment before is for those who know
 * that one. */
static const char *
header_problem(const struct scan *scan)
{
    const struct batch_header *batch = &scan->batch;
    if (batch->data_size % RECORD_ALIGNMENT != 0 || batch->control_size % RECORD_ALIGNMENT != 0) {
        return "a batch header with sizes that cannot be";
    }
    if (batch_header_end(batch) > scan_lsn(scan, scan->limit)) {
        return "a batch that does not fit the segment";
    }
    if (scan->offset != SEGMENT_HEADER_SIZE && batch->skipped != 0) {
        return "a batch that does not follow the one before it";
    }
    return NULL;
}

static enum status
load_large_control(struct scan *scan, uint64_t offset, size_t size)
{
    if (scan->large_capacity < size) {
        uint8_t *larger = try_realloc(scan->large, size);
        if (larger == NULL) {
            scan->reason = "too little memory for its records";
            return STATUS_NO_MEMORY;
        }
        scan->large = larger;
        scan->large_capacity = size;
    }
    size_t read = 0;
    enum status status =
        scan->disk->read(scan->disk->context, scan->file, scan->large, size, offset, &read);
    if (status == STATUS_OK && read < size) {
        return STATUS_CORRUPT;
    }
    scan->control = bytes_make(scan->large, size);
    return status;
}

/* The whole batch is made visible at once where the window holds it. */
static enum status
load_control(struct scan *scan)
{
    uint64_t offset = scan->offset + BATCH_HEADER_SIZE + scan->batch.data_size;
    size_t size = scan->batch.control_size;
    uint64_t whole = batch_header_end(&scan->batch) - scan->batch.base_lsn;
    if (whole > WINDOW_SIZE) {
        return load_large_control(scan, offset, size);
    }
    const uint8_t *at;
    enum status status = view(scan, scan->offset, (size_t)whole, &at);
    if (status == STATUS_OK) {
        scan->control = bytes_make(at + (offset - scan->offset), size);
    }
    return status;
}

/* Contents lie behind each other, so that no two records can make the same octets count twice. */
static bool
content_fits(const struct scan *scan, const struct record *record, uint64_t *end)
{
    uint64_t offset = record->publish.offset;
    uint64_t size = record->publish.size;
    if (offset < *end || size < CONTENT_HEADER_SIZE || offset + size > scan->batch.data_size) {
        return false;
    }
    *end = offset + size;
    return true;
}

/* A state is that of a message which was written before, or in this batch. */
static bool
state_fits(const struct scan *scan, const struct record *record)
{
    uint64_t base = scan->batch.base_lsn;
    uint64_t lsn = record->row_state.lsn;
    return lsn < base + BATCH_HEADER_SIZE + scan->batch.data_size &&
           (lsn > base || !record->row_state.came_with_message);
}

static bool
control_is_whole(const struct scan *scan)
{
    return crc32c(0, scan->control.data, scan->control.size) == scan->batch.control_crc;
}

/* What is wrong with records that are those that were written. */
static const char *
record_problem(const struct scan *scan)
{
    struct bytes left = scan->control;
    struct record record;
    uint32_t count = 0;
    uint64_t content_end = 0;
    enum status status;
    while ((status = record_next(&left, &record)) == STATUS_OK) {
        if (record.type == RECORD_PUBLISH && !content_fits(scan, &record, &content_end)) {
            return "a record that names a content where none can be";
        }
        if (record.type == RECORD_ROW_STATE && !state_fits(scan, &record)) {
            return "a record about a message that there is not yet";
        }
        count++;
    }
    if (status == STATUS_CORRUPT) {
        return "a record of a kind or form that this version does not know, as a newer one may "
               "write";
    }
    return count == scan->batch.record_count ? NULL : "a batch with another number of records";
}

/* Contents ------------------------------------------------------------------------------------- */

static uint64_t
content_offset(const struct scan *scan, const struct record *publish)
{
    return scan->batch.base_lsn - scan->segment.base_lsn + BATCH_HEADER_SIZE +
           publish->publish.offset;
}

/* Octets that a content must have by its header, and the check word in it. */
static uint64_t
content_size(const uint8_t *at)
{
    return (uint64_t)CONTENT_HEADER_SIZE + get_u32_le(at) + get_u32_le(at + 4) + at[10] + at[11];
}

static enum status
check_content_at(struct scan *scan, uint64_t offset, uint32_t size, const uint32_t *recorded)
{
    const uint8_t *at;
    enum status status = view(scan, offset, CONTENT_HEADER_SIZE, &at);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t check = get_u32_le(at + CONTENT_CHECK_AT);
    if ((recorded != NULL && check != *recorded) || content_size(at) != size) {
        return STATUS_CORRUPT;
    }
    uint32_t crc = crc32c(0, at, CONTENT_CHECK_AT);
    status = add_crc(scan, offset + CONTENT_HEADER_SIZE, size - CONTENT_HEADER_SIZE, &crc);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t place[8];
    put_u64_le(place, scan_lsn(scan, offset));
    return crc32c(crc, place, sizeof(place)) == check ? STATUS_OK : STATUS_CORRUPT;
}

enum status
scan_check_content(struct scan *scan, const struct record *publish)
{
    return check_content_at(scan, content_offset(scan, publish), publish->publish.size,
                            &publish->publish.check);
}

enum status
scan_check_row(struct scan *scan, uint64_t lsn, uint32_t size)
{
    uint64_t offset = lsn - scan->segment.base_lsn;
    if (lsn < scan->segment.base_lsn || offset >= scan->limit || size < CONTENT_HEADER_SIZE ||
        size > scan->limit - offset) {
        return STATUS_CORRUPT;
    }
    enum status status = widen(scan, WINDOW_SIZE);
    return status == STATUS_OK ? check_content_at(scan, offset, size, NULL) : status;
}

enum status
scan_body_size(struct scan *scan, const struct record *publish, uint32_t *size_out)
{
    const uint8_t *at;
    enum status status = view(scan, content_offset(scan, publish), CONTENT_HEADER_SIZE, &at);
    if (status == STATUS_OK) {
        *size_out = get_u32_le(at);
    }
    return status;
}

static enum status
check_contents(struct scan *scan)
{
    struct bytes left = scan->control;
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        if (record.type != RECORD_PUBLISH) {
            continue;
        }
        enum status status = scan_check_content(scan, &record);
        if (status == STATUS_CORRUPT) {
            return stop_at(scan, SCAN_STOP_CONTENT, content_offset(scan, &record),
                           "a message that is not what was written");
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* The walk ------------------------------------------------------------------------------------- */

static enum status
read_batch(struct scan *scan)
{
    const char *problem = header_problem(scan);
    if (problem != NULL) {
        return stop_at(scan, SCAN_STOP_HEADER, scan->offset, problem);
    }
    enum status status = load_control(scan);
    if (status == STATUS_CORRUPT) {
        return stop_at(scan, SCAN_STOP_HEADER, scan->offset, "a batch that the file cuts off");
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!control_is_whole(scan)) {
        return stop_at(scan, SCAN_STOP_CONTROL, scan->offset,
                       "a batch whose records have another checksum than was written");
    }
    problem = record_problem(scan);
    if (problem != NULL) {
        return stop_at(scan, SCAN_STOP_RECORD, scan->offset, problem);
    }
    return check_contents(scan);
}

enum status
scan_next(struct scan *scan)
{
    scan->stop = SCAN_STOP_NONE;
    if (scan->offset + BATCH_HEADER_SIZE > scan->limit) {
        return stop_at(scan, SCAN_STOP_END, scan->offset, "the end of the segment");
    }
    enum status status = widen(scan, WINDOW_SIZE);
    if (status != STATUS_OK) {
        return status;
    }
    status = scan_peek(scan, scan->offset, &scan->batch);
    if (status == STATUS_AGAIN) {
        return stop_at(scan, SCAN_STOP_NOTHING, scan->offset, "no batch where one belongs");
    }
    if (status == STATUS_OK) {
        status = read_batch(scan);
    }
    if (status == STATUS_OK) {
        scan->offset = batch_header_end(&scan->batch) - scan->segment.base_lsn;
    }
    return status;
}

/* Moves `*offset` on to the next place that begins as a header does, as far as the window shows. */
static enum status
skip_to_magic(struct scan *scan, uint64_t *offset)
{
    const uint8_t *at;
    enum status status = view(scan, *offset, BATCH_HEADER_SIZE, &at);
    if (status != STATUS_OK) {
        return status;
    }
    const uint8_t *end = scan->window + scan->window_size;
    while ((size_t)(end - at) >= BATCH_HEADER_SIZE && get_u32_le(at) != BATCH_MAGIC) {
        at += BATCH_ALIGNMENT;
        *offset += BATCH_ALIGNMENT;
    }
    return STATUS_OK;
}

enum status
scan_seek(struct scan *scan, uint64_t offset)
{
    offset = (offset + BATCH_ALIGNMENT - 1) & ~(uint64_t)(BATCH_ALIGNMENT - 1);
    enum status status = widen(scan, WINDOW_SIZE);
    while (status == STATUS_OK && offset + BATCH_HEADER_SIZE <= scan->limit) {
        uint64_t start = offset;
        status = skip_to_magic(scan, &offset);
        if (status != STATUS_OK || offset != start) {
            continue;
        }
        status = scan_peek(scan, offset, &scan->batch);
        if (status != STATUS_AGAIN) {
            scan->offset = offset;
            return status;
        }
        offset += BATCH_ALIGNMENT;
        status = STATUS_OK;
    }
    scan->offset = scan->limit;
    return status == STATUS_OK || status == STATUS_CORRUPT ? STATUS_AGAIN : status;
}
