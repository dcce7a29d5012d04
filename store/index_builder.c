/* SPDX-License-Identifier: Apache-2.0 */
/* An index as it grows, batch by batch of a segment that is read. The file is index.c's. */
#include "store/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/little_endian.h"

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
add_publish(struct index_builder *builder, const struct record *record,
            const struct batch_header *batch, uint32_t body_size)
{
    struct segment_index *index = &builder->index;
    uint64_t count = record->publish.queue_count;
    enum status status = grow((void **)&index->rows, index->row_count, &builder->row_capacity,
                              count, sizeof(*index->rows));
    if (status != STATUS_OK) {
        return status;
    }
    struct index_row *rows = index->rows + index->row_count;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (struct index_row){
            .lsn = batch->base_lsn + BATCH_HEADER_SIZE + record->publish.offset,
            .queue = record_queue(record, i),
            .body_size = body_size,
            .content_size = record->publish.size,
            .arrival_ms = batch->wall_ms > 0 ? (uint64_t)batch->wall_ms : 0,
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

/* Those that a state has, for which there is room; their number, or 0. */
static uint32_t
add_attempts(struct segment_index *index, const struct record *record)
{
    if (record->row_state.attempts == NULL) {
        return 0;
    }
    struct row_attempts attempts = record_state_attempts(record);
    return row_attempts_list_add(&index->attempts, &attempts);
}

static enum status
add_states(struct index_builder *builder, const struct record *record, uint64_t place)
{
    struct segment_index *index = &builder->index;
    enum status status = grow((void **)&index->states, index->state_count, &builder->state_capacity,
                              record->row_state.queue_count, sizeof(*index->states));
    if (status == STATUS_OK && record->row_state.attempts != NULL) {
        status = row_attempts_list_reserve(&index->attempts, 1);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t attempts = add_attempts(index, record);
    for (uint32_t i = 0; i < record->row_state.queue_count; i++) {
        index->states[index->state_count++] = (struct index_state){
            .lsn = record->row_state.lsn,
            .queue = record_state_queue(record, i),
            .place = place,
            .state = record->row_state.state,
            .came_with_message = record->row_state.came_with_message,
            .attempts = attempts,
        };
    }
    return STATUS_OK;
}

/* Counts the records of each batch; the place of this one. */
static uint64_t
next_place(struct index_builder *builder, uint64_t batch_lsn)
{
    if (builder->batch_lsn != batch_lsn) {
        builder->batch_lsn = batch_lsn;
        builder->record_count = 0;
    }
    return batch_lsn + builder->record_count++;
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

enum status
index_builder_add_record(struct index_builder *builder, const struct record *record,
                         const struct batch_header *batch, uint32_t body_size)
{
    uint64_t place = next_place(builder, batch->base_lsn);
    switch (record->type) {
    case RECORD_PUBLISH:
        return add_publish(builder, record, batch, body_size);
    case RECORD_ROW_STATE:
        return add_states(builder, record, place);
    case RECORD_ACK:
        return add_ack(builder, record);
    case RECORD_NOTE:
        return STATUS_OK;
    default:
        return add_small(builder, record, batch->base_lsn);
    }
}

static enum status
add_scanned(struct index_builder *builder, struct scan *scan, const struct record *record)
{
    uint32_t body_size = 0;
    if (record->type == RECORD_PUBLISH) {
        enum status status = scan_body_size(scan, record, &body_size);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return index_builder_add_record(builder, record, &scan->batch, body_size);
}

enum status
index_builder_add(struct index_builder *builder, struct scan *scan)
{
    struct bytes left = scan->control;
    struct record record;
    enum status status;
    while ((status = record_next(&left, &record)) == STATUS_OK) {
        status = add_scanned(builder, scan, &record);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return status == STATUS_AGAIN ? STATUS_OK : status;
}

static void
drop_ended_rows(struct segment_index *index)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < index->row_count; i++) {
        if (index->rows[i].content_size != 0) {
            index->rows[kept++] = index->rows[i];
        }
    }
    index->row_count = kept;
}

/* A removal stands behind all states of its row, since nothing is said of a row that has ended. */
static void
drop_removed_states(struct segment_index *index)
{
    for (uint64_t i = 0; i < index->removal_count; i++) {
        const struct index_removal *removal = &index->removals[i];
        const struct index_state *state =
            index_find_state(index->states, index->state_count, removal->lsn, removal->queue);
        if (state != NULL) {
            index->states[state - index->states].place = 0;
        }
    }
    uint64_t kept = 0;
    for (uint64_t i = 0; i < index->state_count; i++) {
        if (index->states[i].place != 0) {
            index->states[kept++] = index->states[i];
        }
    }
    index->state_count = kept;
}

/* Keeps the last state of each row that the segment does not end. */
static void
settle_states(struct segment_index *index)
{
    index->state_count = index_states_order(index->states, index->state_count);
    index_drop_rowless_states(index);
    bool is_any_of_older_row = index->state_count > 0 && index->states[0].lsn < index->base_lsn;
    if (is_any_of_older_row) {
        drop_removed_states(index);
    }
}

void
index_builder_finish(struct index_builder *builder, uint64_t end_lsn,
                     struct segment_index *index_out)
{
    struct segment_index *index = &builder->index;
    index->end_lsn = end_lsn;
    if (builder->ended > 0) {
        drop_ended_rows(index);
    }
    settle_states(index);
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
