/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/crc32c.h"
#include "store/little_endian.h"

static const uint8_t INDEX_MAGIC[8] = {'B', 'R', 'S', 'I', 'N', 'D', 'E', 'X'};

enum {
    INDEX_VERSION = 1,
    INDEX_HEADER_SIZE = 128,
    INDEX_BODY_CRC_AT = 116,
    INDEX_HEADER_CRC_AT = 124,
    ROW_SIZE = 32,
    REMOVAL_SIZE = 16,
    TRANSFER_SIZE = 256 * 1024, /* octets that are read or written at once */
};

_Static_assert(TRANSFER_SIZE % ROW_SIZE == 0, "rows are not cut");
_Static_assert(TRANSFER_SIZE % REMOVAL_SIZE == 0, "removals are not cut");

void
segment_index_fini(struct segment_index *index)
{
    free(index->rows);
    free(index->removals);
    buffer_fini(&index->records);
    *index = (struct segment_index){0};
}

struct index_runs
segment_index_runs(const struct segment_index *index)
{
    struct index_runs runs = {0};
    for (uint64_t i = 0; i < index->row_count; i++) {
        index_runs_add(&runs, &index->rows[i]);
    }
    return runs;
}

/* Building ------------------------------------------------------------------------------------- */

void
index_builder_init(struct index_builder *builder, const struct segment_header *segment)
{
    *builder = (struct index_builder){0};
    builder->index.number = segment->number;
    builder->index.base_lsn = segment->base_lsn;
    builder->index.epoch = segment->epoch;
}

void
index_builder_fini(struct index_builder *builder)
{
    segment_index_fini(&builder->index);
}

/* Makes room for `more` items of `size` octets in an array that grows by doubling. */
static enum status
grow(void **array, uint64_t count, uint64_t *capacity, uint64_t more, size_t size)
{
    if (more <= *capacity - count) {
        return STATUS_OK;
    }
    uint64_t wanted = *capacity == 0 ? 1024 : *capacity * 2;
    if (wanted < count + more) {
        wanted = count + more;
    }
    void *larger = try_realloc(*array, wanted * size);
    if (larger == NULL) {
        return STATUS_NO_MEMORY;
    }
    *array = larger;
    *capacity = wanted;
    return STATUS_OK;
}

static int
compare_rows(const void *a, const void *b)
{
    const struct index_row *other = b;
    return index_row_compare(a, other->lsn, other->queue & ~RECORD_QUEUE_HANDED_OUT);
}

/* Puts the rows of one message in the order of queues, each queue once. */
static void
order_rows(struct index_row *rows, uint64_t *count)
{
    bool is_ordered = true;
    for (uint64_t i = 1; i < *count && is_ordered; i++) {
        is_ordered = compare_rows(&rows[i - 1], &rows[i]) < 0;
    }
    if (is_ordered) {
        return;
    }
    qsort(rows, *count, sizeof(*rows), compare_rows);
    uint64_t kept = 1;
    for (uint64_t i = 1; i < *count; i++) {
        if (compare_rows(&rows[kept - 1], &rows[i]) != 0) {
            rows[kept++] = rows[i];
        }
    }
    *count = kept;
}

static enum status
add_publish(struct index_builder *builder, struct scan *scan, const struct record *record)
{
    struct segment_index *index = &builder->index;
    uint64_t count = record->publish.queue_count;
    uint32_t body_size;
    enum status status = scan_body_size(scan, record, &body_size);
    if (status == STATUS_OK) {
        status = grow((void **)&index->rows, index->row_count, &builder->row_capacity, count,
                      sizeof(*index->rows));
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct index_row *rows = index->rows + index->row_count;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (struct index_row){
            .lsn = scan_content_lsn(scan, record),
            .queue = record_queue(record, i),
            .body_size = body_size,
            .content_size = record->publish.size,
        };
    }
    order_rows(rows, &count);
    index->row_count += count;
    return STATUS_OK;
}

/* Where the search for a row begins and ends: removals mostly go from one row to one not far behind
 * it, so the steps from the cursor on grow from small ones. */
static void
narrow(const struct index_row *rows, uint64_t count, uint64_t lsn, uint64_t queue, uint64_t cursor,
       uint64_t *low, uint64_t *high)
{
    *low = 0;
    *high = count;
    if (cursor >= count) {
        return;
    }
    if (index_row_compare(&rows[cursor], lsn, queue) > 0) {
        *high = cursor;
        return;
    }
    *low = cursor;
    for (uint64_t step = 1; step < count - cursor; step *= 4) {
        if (index_row_compare(&rows[cursor + step], lsn, queue) >= 0) {
            *high = cursor + step + 1;
            return;
        }
        *low = cursor + step;
    }
}

uint64_t
index_find_row(const struct index_row *rows, uint64_t count, uint64_t lsn, uint64_t queue,
               uint64_t *cursor)
{
    uint64_t low;
    uint64_t high;
    narrow(rows, count, lsn, queue, *cursor, &low, &high);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index_row_compare(&rows[middle], lsn, queue) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *cursor = low;
    return low < count && index_row_compare(&rows[low], lsn, queue) == 0 ? low : count;
}

/* A row that its own segment ends is marked by a content of no octets, which no content has. */
static void
end_row(struct index_builder *builder, uint64_t lsn, uint64_t queue)
{
    struct segment_index *index = &builder->index;
    uint64_t at = index_find_row(index->rows, index->row_count, lsn, queue, &builder->cursor);
    if (at < index->row_count && index->rows[at].content_size != 0) {
        index->rows[at].content_size = 0;
        builder->ended++;
    }
}

static enum status
add_ack(struct index_builder *builder, const struct record *record)
{
    struct segment_index *index = &builder->index;
    enum status status =
        grow((void **)&index->removals, index->removal_count, &builder->removal_capacity,
             record->ack.count, sizeof(*index->removals));
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t queue = record->ack.queue;
    struct record_ack_position position = {0};
    uint64_t lsn;
    while (record_ack_next(record, &position, &lsn)) {
        if (lsn >= index->base_lsn) {
            end_row(builder, lsn, queue);
        } else {
            assert(index->removal_count < builder->removal_capacity);
            index->removals[index->removal_count++] =
                (struct index_removal){.lsn = lsn, .queue = queue};
        }
    }
    return STATUS_OK;
}

static enum status
add_small(struct index_builder *builder, const struct record *record, uint64_t batch_lsn)
{
    struct buffer *records = &builder->index.records;
    uint8_t place[8];
    put_u64_le(place, batch_lsn);
    buffer_put(records, place, sizeof(place));
    buffer_put_bytes(records, record->octets);
    if (record->type != RECORD_EPOCH) {
        builder->index.topology_lsn = batch_lsn;
    }
    return records->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status
add_record(struct index_builder *builder, struct scan *scan, const struct record *record)
{
    switch (record->type) {
    case RECORD_PUBLISH:
        return add_publish(builder, scan, record);
    case RECORD_ACK:
        return add_ack(builder, record);
    case RECORD_NOTE:
        return STATUS_OK;
    default:
        return add_small(builder, record, scan->batch.base_lsn);
    }
}

enum status
index_builder_add(struct index_builder *builder, struct scan *scan)
{
    struct bytes left = scan->control;
    struct record record;
    enum status status;
    while ((status = record_next(&left, &record)) == STATUS_OK) {
        status = add_record(builder, scan, &record);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return status == STATUS_AGAIN ? STATUS_OK : status;
}

void
index_builder_finish(struct index_builder *builder, uint64_t end_lsn,
                     struct segment_index *index_out)
{
    struct segment_index *index = &builder->index;
    index->end_lsn = end_lsn;
    if (builder->ended > 0) {
        uint64_t kept = 0;
        for (uint64_t i = 0; i < index->row_count; i++) {
            if (index->rows[i].content_size != 0) {
                index->rows[kept++] = index->rows[i];
            }
        }
        index->row_count = kept;
    }
    *index_out = *index;
    *builder = (struct index_builder){0};
}

enum status
segment_index_build(struct segment_index *index, const struct disk *disk, uint64_t number,
                    uint64_t end_lsn)
{
    char name[STORE_NAME_SIZE];
    struct scan scan;
    struct index_builder builder = {0};
    enum status status =
        scan_open(&scan, disk, store_file_name(STORE_FILE_SEGMENT, number, 0, name));
    if (status == STATUS_OK && scan.segment.number != number) {
        status = STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        index_builder_init(&builder, &scan.segment);
    }
    while (status == STATUS_OK && scan_lsn(&scan, scan.offset) < end_lsn) {
        status = scan_next(&scan);
        if (status == STATUS_OK) {
            status = index_builder_add(&builder, &scan);
        }
    }
    if (status == STATUS_AGAIN ||
        (status == STATUS_OK && scan_lsn(&scan, scan.offset) != end_lsn)) {
        status = STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        index_builder_finish(&builder, end_lsn, index);
        status = segment_index_write(index, disk);
        if (status != STATUS_OK) {
            segment_index_fini(index);
        }
    }
    index_builder_fini(&builder);
    scan_close(&scan);
    return status;
}

/* Writing -------------------------------------------------------------------------------------- */

/* Octets on their way into a file: gathered, summed up, written in large pieces. */
struct index_output {
    const struct disk *disk;
    struct disk_file *file;
    uint64_t offset;
    uint8_t *octets; /* TRANSFER_SIZE of them; owned */
    size_t size;
    uint32_t crc;
    enum status status;
};

static void
flush_output(struct index_output *output)
{
    if (output->status == STATUS_OK && output->size > 0) {
        output->crc = crc32c(output->crc, output->octets, output->size);
        output->status = disk_write_bytes(output->disk, output->file, output->octets, output->size,
                                          output->offset);
        output->offset += output->size;
    }
    output->size = 0;
}

static uint8_t *
output_room(struct index_output *output, size_t size)
{
    if (TRANSFER_SIZE - output->size < size) {
        flush_output(output);
    }
    uint8_t *at = output->octets + output->size;
    output->size += size;
    return at;
}

static void
write_rows(struct index_output *output, const struct segment_index *index)
{
    for (uint64_t i = 0; i < index->row_count; i++) {
        const struct index_row *row = &index->rows[i];
        uint8_t *at = output_room(output, ROW_SIZE);
        put_u64_le(at, row->lsn);
        put_u64_le(at + 8, row->queue);
        put_u32_le(at + 16, row->body_size);
        put_u32_le(at + 20, row->content_size);
        put_u64_le(at + 24, 0);
    }
}

static void
write_removals(struct index_output *output, const struct segment_index *index)
{
    for (uint64_t i = 0; i < index->removal_count; i++) {
        uint8_t *at = output_room(output, REMOVAL_SIZE);
        put_u64_le(at, index->removals[i].lsn);
        put_u64_le(at + 8, index->removals[i].queue);
    }
}

static void
write_records(struct index_output *output, const struct segment_index *index)
{
    struct bytes left = buffer_bytes(&index->records);
    while (left.size > 0) {
        size_t part = left.size < TRANSFER_SIZE ? left.size : TRANSFER_SIZE;
        memcpy(output_room(output, part), left.data, part);
        left = bytes_make(left.data + part, left.size - part);
    }
}

static void
encode_header(const struct segment_index *index, uint32_t body_crc,
              uint8_t out[static INDEX_HEADER_SIZE])
{
    memset(out, 0, INDEX_HEADER_SIZE);
    memcpy(out, INDEX_MAGIC, sizeof(INDEX_MAGIC));
    put_u32_le(out + 8, INDEX_VERSION);
    put_u32_le(out + 12, INDEX_HEADER_SIZE);
    put_u64_le(out + 16, index->number);
    put_u64_le(out + 24, index->base_lsn);
    put_u64_le(out + 32, index->end_lsn);
    put_u64_le(out + 40, index->epoch);
    put_u64_le(out + 48, index->row_count);
    put_u64_le(out + 56, index->removal_count);
    put_u64_le(out + 64, buffer_size(&index->records));
    put_u64_le(out + 72, index->topology_lsn);
    put_u32_le(out + INDEX_BODY_CRC_AT, body_crc);
    put_u32_le(out + INDEX_HEADER_CRC_AT, crc32c(0, out, INDEX_HEADER_CRC_AT));
}

enum status
segment_index_write_at(const struct segment_index *index, const struct disk *disk,
                       struct disk_file *file, uint64_t offset)
{
    struct index_output output = {.disk = disk, .file = file};
    output.offset = offset + INDEX_HEADER_SIZE;
    output.octets = try_alloc(TRANSFER_SIZE);
    if (output.octets == NULL) {
        return STATUS_NO_MEMORY;
    }
    write_rows(&output, index);
    write_removals(&output, index);
    write_records(&output, index);
    flush_output(&output);
    free(output.octets);
    if (output.status != STATUS_OK) {
        return output.status;
    }
    uint8_t header[INDEX_HEADER_SIZE];
    encode_header(index, output.crc, header);
    return disk_write_bytes(disk, file, header, sizeof(header), offset);
}

enum status
segment_index_write(const struct segment_index *index, const struct disk *disk)
{
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    store_file_name(STORE_FILE_INDEX, index->number, 0, name);
    (void)snprintf(aside, sizeof(aside), "%s.tmp", name);
    (void)disk->unlink(disk->context, aside);
    struct disk_file *file = NULL;
    enum status status = disk->open(disk->context, aside, DISK_OPEN_CREATE, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = segment_index_write_at(index, disk, file, 0);
    if (status == STATUS_OK) {
        status = disk->flush(disk->context, file);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    if (status == STATUS_OK) {
        status = disk->rename(disk->context, aside, name);
    }
    return status;
}

/* Reading -------------------------------------------------------------------------------------- */

/* A file that is read from front to back. */
struct index_input {
    const struct disk *disk;
    struct disk_file *file;
    uint64_t file_size;
    uint64_t offset;
    uint8_t *octets; /* TRANSFER_SIZE of them; owned */
    uint32_t crc;
};

struct index_sizes {
    uint64_t row_count, removal_count, records_size;
    uint32_t body_crc;
};

static enum status
input_open(struct index_input *input, const struct disk *disk, uint64_t number)
{
    char name[STORE_NAME_SIZE];
    *input = (struct index_input){.disk = disk};
    store_file_name(STORE_FILE_INDEX, number, 0, name);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &input->file);
    if (status == STATUS_OK) {
        status = disk->size(disk->context, input->file, &input->file_size);
    }
    if (status == STATUS_OK && (input->octets = try_alloc(TRANSFER_SIZE)) == NULL) {
        status = STATUS_NO_MEMORY;
    }
    return status;
}

static void
input_close(struct index_input *input)
{
    if (input->file != NULL) {
        input->disk->close(input->disk->context, &input->file);
    }
    free(input->octets);
}

static enum status
input_read(struct index_input *input, void *out, size_t size)
{
    size_t read = 0;
    enum status status =
        input->disk->read(input->disk->context, input->file, out, size, input->offset, &read);
    if (status != STATUS_OK) {
        return status;
    }
    if (read < size) {
        return STATUS_CORRUPT;
    }
    input->crc = crc32c(input->crc, out, size);
    input->offset += size;
    return STATUS_OK;
}

static bool
header_is_right(const uint8_t header[static INDEX_HEADER_SIZE], uint64_t number)
{
    return memcmp(header, INDEX_MAGIC, sizeof(INDEX_MAGIC)) == 0 &&
           get_u32_le(header + INDEX_HEADER_CRC_AT) == crc32c(0, header, INDEX_HEADER_CRC_AT) &&
           get_u32_le(header + 8) == INDEX_VERSION &&
           get_u32_le(header + 12) == INDEX_HEADER_SIZE && get_u64_le(header + 16) == number;
}

/* The file holds exactly what its header counts. */
static bool
sizes_fit(const struct index_sizes *sizes, uint64_t file_size)
{
    uint64_t left = file_size - INDEX_HEADER_SIZE;
    if (sizes->row_count > left / ROW_SIZE) {
        return false;
    }
    left -= sizes->row_count * ROW_SIZE;
    if (sizes->removal_count > left / REMOVAL_SIZE) {
        return false;
    }
    left -= sizes->removal_count * REMOVAL_SIZE;
    return sizes->records_size == left && left % RECORD_ALIGNMENT == 0;
}

static enum status
read_header(struct index_input *input, struct segment_index *index, uint64_t number,
            struct index_sizes *sizes_out)
{
    uint8_t header[INDEX_HEADER_SIZE];
    if (input->file_size < sizeof(header)) {
        return STATUS_CORRUPT;
    }
    enum status status = input_read(input, header, sizeof(header));
    if (status != STATUS_OK) {
        return status;
    }
    struct index_sizes sizes = {
        .row_count = get_u64_le(header + 48),
        .removal_count = get_u64_le(header + 56),
        .records_size = get_u64_le(header + 64),
        .body_crc = get_u32_le(header + INDEX_BODY_CRC_AT),
    };
    if (!header_is_right(header, number) || !sizes_fit(&sizes, input->file_size)) {
        return STATUS_CORRUPT;
    }
    *index = (struct segment_index){
        .number = number,
        .base_lsn = get_u64_le(header + 24),
        .end_lsn = get_u64_le(header + 32),
        .epoch = get_u64_le(header + 40),
        .topology_lsn = get_u64_le(header + 72),
    };
    bool is_ordered = index->end_lsn >= index->base_lsn && index->end_lsn >> 63 == 0;
    *sizes_out = sizes;
    return is_ordered ? STATUS_OK : STATUS_CORRUPT;
}

static bool
row_is_right(const struct segment_index *index, const struct index_row *row)
{
    if (row->lsn < index->base_lsn || row->lsn >= index->end_lsn ||
        row->lsn % RECORD_ALIGNMENT != 0 || row->content_size < 16 ||
        row->body_size > row->content_size - 16) {
        return false;
    }
    return row == index->rows || compare_rows(row - 1, row) < 0;
}

static enum status
read_rows(struct index_input *input, struct segment_index *index, uint64_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    index->rows = try_alloc(count * sizeof(*index->rows));
    if (index->rows == NULL) {
        return STATUS_NO_MEMORY;
    }
    while (index->row_count < count) {
        uint64_t left = count - index->row_count;
        uint64_t part = left < TRANSFER_SIZE / ROW_SIZE ? left : TRANSFER_SIZE / ROW_SIZE;
        enum status status = input_read(input, input->octets, part * ROW_SIZE);
        if (status != STATUS_OK) {
            return status;
        }
        for (uint64_t i = 0; i < part; i++) {
            const uint8_t *at = input->octets + i * ROW_SIZE;
            struct index_row *row = &index->rows[index->row_count++];
            *row = (struct index_row){
                .lsn = get_u64_le(at),
                .queue = get_u64_le(at + 8),
                .body_size = get_u32_le(at + 16),
                .content_size = get_u32_le(at + 20),
            };
            if (!row_is_right(index, row)) {
                return STATUS_CORRUPT;
            }
        }
    }
    return STATUS_OK;
}

static enum status
read_removals(struct index_input *input, struct segment_index *index, uint64_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    index->removals = try_alloc(count * sizeof(*index->removals));
    if (index->removals == NULL) {
        return STATUS_NO_MEMORY;
    }
    while (index->removal_count < count) {
        uint64_t left = count - index->removal_count;
        uint64_t part = left < TRANSFER_SIZE / REMOVAL_SIZE ? left : TRANSFER_SIZE / REMOVAL_SIZE;
        enum status status = input_read(input, input->octets, part * REMOVAL_SIZE);
        if (status != STATUS_OK) {
            return status;
        }
        for (uint64_t i = 0; i < part; i++) {
            const uint8_t *at = input->octets + i * REMOVAL_SIZE;
            struct index_removal removal = {.lsn = get_u64_le(at), .queue = get_u64_le(at + 8)};
            if (removal.lsn >= index->base_lsn || removal.lsn % RECORD_ALIGNMENT != 0) {
                return STATUS_CORRUPT;
            }
            index->removals[index->removal_count++] = removal;
        }
    }
    return STATUS_OK;
}

static bool
records_are_right(const struct segment_index *index)
{
    struct bytes left = buffer_bytes(&index->records);
    while (left.size > 0) {
        if (left.size < 8) {
            return false;
        }
        uint64_t lsn = get_u64_le(left.data);
        left = bytes_make(left.data + 8, left.size - 8);
        struct record record;
        if (lsn < index->base_lsn || lsn >= index->end_lsn ||
            record_next(&left, &record) != STATUS_OK || record.type == RECORD_PUBLISH ||
            record.type == RECORD_ACK) {
            return false;
        }
    }
    return true;
}

static enum status
read_records(struct index_input *input, struct segment_index *index, uint64_t size)
{
    if (size == 0) {
        return STATUS_OK;
    }
    uint8_t *at = buffer_reserve(&index->records, size);
    if (at == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = input_read(input, at, size);
    if (status != STATUS_OK) {
        return status;
    }
    buffer_commit(&index->records, size);
    return records_are_right(index) ? STATUS_OK : STATUS_CORRUPT;
}

static enum status
read_body(struct index_input *input, struct segment_index *index, const struct index_sizes *sizes)
{
    input->crc = 0;
    enum status status = read_rows(input, index, sizes->row_count);
    if (status == STATUS_OK) {
        status = read_removals(input, index, sizes->removal_count);
    }
    if (status == STATUS_OK) {
        status = read_records(input, index, sizes->records_size);
    }
    if (status == STATUS_OK && input->crc != sizes->body_crc) {
        status = STATUS_CORRUPT;
    }
    return status;
}

static enum status
read_input(struct segment_index *index, struct index_input *input, uint64_t number, bool with_body)
{
    struct index_sizes sizes;
    struct segment_index found = {0};
    enum status status = read_header(input, &found, number, &sizes);
    if (status == STATUS_OK && with_body) {
        status = read_body(input, &found, &sizes);
    }
    if (status == STATUS_OK) {
        *index = found;
    } else {
        segment_index_fini(&found);
    }
    return status;
}

static enum status
read_index(struct segment_index *index, const struct disk *disk, uint64_t number, bool with_body)
{
    struct index_input input;
    enum status status = input_open(&input, disk, number);
    if (status == STATUS_OK) {
        status = read_input(index, &input, number, with_body);
    }
    int error = errno;
    input_close(&input);
    errno = error;
    return status;
}

enum status
segment_index_read_at(struct segment_index *index, const struct disk *disk, struct disk_file *file,
                      uint64_t offset, uint64_t size, uint64_t number)
{
    struct index_input input = {.disk = disk, .file = file, .file_size = size, .offset = offset};
    input.octets = try_alloc(TRANSFER_SIZE);
    if (input.octets == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = read_input(index, &input, number, true);
    free(input.octets);
    return status;
}

enum status
segment_index_peek(struct segment_index *index, const struct disk *disk, uint64_t number)
{
    return read_index(index, disk, number, false);
}

enum status
segment_index_read(struct segment_index *index, const struct disk *disk, uint64_t number)
{
    return read_index(index, disk, number, true);
}
