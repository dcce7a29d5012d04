/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/crc32c.h"
#include "store/index_layout.h"
#include "store/little_endian.h"

void
segment_index_fini(struct segment_index *index)
{
    free(index->rows);
    free(index->removals);
    free(index->states);
    row_attempts_list_fini(&index->attempts);
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

static uint64_t
count_attempts(const struct segment_index *index)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < index->state_count; i++) {
        count += index->states[i].attempts != 0;
    }
    return count;
}

uint64_t
segment_index_size(const struct segment_index *index)
{
    return INDEX_HEADER_SIZE + ROW_SIZE * index->row_count + REMOVAL_SIZE * index->removal_count +
           STATE_SIZE * index->state_count + ROW_ATTEMPTS_SIZE * count_attempts(index) +
           buffer_size(&index->records);
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
        put_u64_le(at + 24, row->arrival_ms);
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
encode_state(const struct index_state *row, uint8_t out[static STATE_SIZE])
{
    const struct row_state *state = &row->state;
    put_u64_le(out, row->lsn);
    put_u64_le(out + 8, row->queue);
    put_u64_le(out + 16, row->place);
    put_u64_le(out + 24, state->due_ms);
    put_u64_le(out + 32, state->deadline_ms);
    put_u64_le(out + 40, state->arrival_ms);
    put_u32_le(out + 48, state->delivery_count);
    put_u32_le(out + 52, state->acquired_count);
    put_u64_le(out + 56, 0);
    out[56] = state->verdict;
    out[57] = state->priority;
    out[58] = (row->came_with_message ? STATE_CAME_WITH_MESSAGE : 0) |
              (row->attempts != 0 ? STATE_HAS_ATTEMPTS : 0);
}

static void
write_states(struct index_output *output, const struct segment_index *index)
{
    for (uint64_t i = 0; i < index->state_count; i++) {
        encode_state(&index->states[i], output_room(output, STATE_SIZE));
    }
}

/* In the order of the states that have them. */
static void
write_attempts(struct index_output *output, const struct segment_index *index)
{
    for (uint64_t i = 0; i < index->state_count; i++) {
        const struct row_attempts *attempts =
            row_attempts_list_at(&index->attempts, index->states[i].attempts);
        if (attempts != NULL) {
            row_attempts_encode(attempts, output_room(output, ROW_ATTEMPTS_SIZE));
        }
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
    put_u64_le(out + 80, index->state_count);
    put_u64_le(out + 88, count_attempts(index));
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
    write_states(&output, index);
    write_attempts(&output, index);
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
