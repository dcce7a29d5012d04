/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an index back, and judging it. */
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
    uint64_t row_count, removal_count, state_count, attempts_count, records_size;
    uint32_t version, body_crc;
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
           get_u32_le(header + 8) >= INDEX_VERSION_MIN && get_u32_le(header + 8) <= INDEX_VERSION &&
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
    if (sizes->state_count > left / STATE_SIZE) {
        return false;
    }
    left -= sizes->state_count * STATE_SIZE;
    if (sizes->attempts_count > left / ROW_ATTEMPTS_SIZE ||
        sizes->attempts_count > sizes->state_count || sizes->attempts_count > UINT32_MAX) {
        return false;
    }
    left -= sizes->attempts_count * ROW_ATTEMPTS_SIZE;
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
    uint32_t version = get_u32_le(header + 8);
    struct index_sizes sizes = {
        .version = version,
        .row_count = get_u64_le(header + 48),
        .removal_count = get_u64_le(header + 56),
        .state_count = version > 1 ? get_u64_le(header + 80) : 0,
        .attempts_count = version > 2 ? get_u64_le(header + 88) : 0,
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

/* Takes one item of a list, as it stands in the file, at the end of that of the index. False: it is
 * none that may stand there. */
typedef bool take_item(struct segment_index *index, const uint8_t *at);

/* Reads `count` items of `size` octets, a part at a time. */
static inline enum status
read_items(struct index_input *input, struct segment_index *index, uint64_t count, size_t size,
           take_item *take)
{
    for (uint64_t part; count > 0; count -= part) {
        part = count < TRANSFER_SIZE / size ? count : TRANSFER_SIZE / size;
        enum status status = input_read(input, input->octets, part * size);
        if (status != STATUS_OK) {
            return status;
        }
        for (uint64_t i = 0; i < part; i++) {
            if (!take(index, input->octets + i * size)) {
                return STATUS_CORRUPT;
            }
        }
    }
    return STATUS_OK;
}

static bool
row_is_right(const struct segment_index *index, const struct index_row *row)
{
    if (row->lsn < index->base_lsn || row->lsn >= index->end_lsn ||
        row->lsn % RECORD_ALIGNMENT != 0 || row->content_size < 16 ||
        row->body_size > row->content_size - 16) {
        return false;
    }
    return row == index->rows ||
           index_row_compare(row - 1, row->lsn, row->queue & ~RECORD_QUEUE_HANDED_OUT) < 0;
}

static bool
take_row(struct segment_index *index, const uint8_t *at)
{
    struct index_row *row = &index->rows[index->row_count++];
    *row = (struct index_row){
        .lsn = get_u64_le(at),
        .queue = get_u64_le(at + 8),
        .body_size = get_u32_le(at + 16),
        .content_size = get_u32_le(at + 20),
        .arrival_ms = get_u64_le(at + 24),
    };
    return row_is_right(index, row);
}

static enum status
read_rows(struct index_input *input, struct segment_index *index, uint64_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    index->rows = try_alloc(count * sizeof(*index->rows));
    return index->rows == NULL ? STATUS_NO_MEMORY
                               : read_items(input, index, count, ROW_SIZE, take_row);
}

static bool
take_removal(struct segment_index *index, const uint8_t *at)
{
    struct index_removal removal = {.lsn = get_u64_le(at), .queue = get_u64_le(at + 8)};
    index->removals[index->removal_count++] = removal;
    return removal.lsn < index->base_lsn && removal.lsn % RECORD_ALIGNMENT == 0;
}

static enum status
read_removals(struct index_input *input, struct segment_index *index, uint64_t count)
{
    if (count == 0) {
        return STATUS_OK;
    }
    index->removals = try_alloc(count * sizeof(*index->removals));
    return index->removals == NULL ? STATUS_NO_MEMORY
                                   : read_items(input, index, count, REMOVAL_SIZE, take_removal);
}

static struct index_state
decode_state(const uint8_t octets[static STATE_SIZE])
{
    return (struct index_state){
        .lsn = get_u64_le(octets),
        .queue = get_u64_le(octets + 8),
        .place = get_u64_le(octets + 16),
        .state =
            {
                .due_ms = get_u64_le(octets + 24),
                .deadline_ms = get_u64_le(octets + 32),
                .arrival_ms = get_u64_le(octets + 40),
                .delivery_count = get_u32_le(octets + 48),
                .acquired_count = get_u32_le(octets + 52),
                .verdict = octets[56],
                .priority = octets[57],
            },
        .came_with_message = (octets[58] & STATE_CAME_WITH_MESSAGE) != 0,
    };
}

/* Said here, of a message that was there before or came with it. */
static bool
state_is_right(const struct segment_index *index, const struct index_state *state)
{
    if (state->lsn < RECORD_ALIGNMENT || state->lsn % RECORD_ALIGNMENT != 0 ||
        state->lsn >= index->end_lsn || state->queue == 0 ||
        (state->queue & RECORD_QUEUE_HANDED_OUT) != 0 || state->place < index->base_lsn ||
        state->place >= index->end_lsn || !row_state_is_right(&state->state)) {
        return false;
    }
    return state == index->states || index_state_compare(state - 1, state->lsn, state->queue) < 0;
}

/* `attempts` says whether they are said; what they are is read later. */
static bool
take_state(struct segment_index *index, const uint8_t *at)
{
    struct index_state *state = &index->states[index->state_count++];
    *state = decode_state(at);
    state->attempts = (at[58] & STATE_HAS_ATTEMPTS) != 0 ? 1 : 0;
    return state_is_right(index, state);
}

/* What states say of attempts comes behind them, in their order. */
static bool
number_attempts(struct segment_index *index, const struct index_sizes *sizes)
{
    uint32_t attempts_count = 0;
    for (uint64_t i = 0; i < index->state_count; i++) {
        struct index_state *state = &index->states[i];
        if (sizes->version <= 2 || state->attempts == 0) {
            state->attempts = 0;
        } else if (attempts_count == sizes->attempts_count) {
            return false;
        } else {
            state->attempts = ++attempts_count;
        }
    }
    return attempts_count == sizes->attempts_count;
}

static enum status
read_states(struct index_input *input, struct segment_index *index, const struct index_sizes *sizes)
{
    uint64_t count = sizes->state_count;
    if (count == 0) {
        return STATUS_OK;
    }
    index->states = try_alloc(count * sizeof(*index->states));
    if (index->states == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = read_items(input, index, count, STATE_SIZE, take_state);
    if (status == STATUS_OK && !number_attempts(index, sizes)) {
        status = STATUS_CORRUPT;
    }
    return status;
}

static bool
take_attempts(struct segment_index *index, const uint8_t *at)
{
    struct row_attempts attempts = row_attempts_decode(at);
    if (!row_attempts_is_right(&attempts)) {
        return false;
    }
    (void)row_attempts_list_add(&index->attempts, &attempts);
    return true;
}

static enum status
read_attempts(struct index_input *input, struct segment_index *index, uint64_t count)
{
    if (row_attempts_list_reserve(&index->attempts, count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    return read_items(input, index, count, ROW_ATTEMPTS_SIZE, take_attempts);
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
            record.type == RECORD_ACK || record.type == RECORD_ROW_STATE) {
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
        status = read_states(input, index, sizes);
    }
    if (status == STATUS_OK) {
        status = read_attempts(input, index, sizes->attempts_count);
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
