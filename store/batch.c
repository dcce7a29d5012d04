/* SPDX-License-Identifier: Apache-2.0 */
#include "store/batch.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/crc32c.h"
#include "store/little_endian.h"

#include <stdlib.h>

enum { CONTENT_CHECK_AT = offsetof(struct content, check), RECORD_CHECK_AT = 16 };

_Static_assert(sizeof(struct content) == 16 && CONTENT_CHECK_AT == 12,
               "the header of a content is what docs/store-format.md says");

struct batch *
batch_new(void)
{
    return xalloc(sizeof(struct batch));
}

void
batch_free(struct batch **batch_pointer)
{
    struct batch *batch = *batch_pointer;
    if (batch == NULL) {
        return;
    }
    *batch_pointer = NULL;
    assert(batch->held_count == 0);
    list_remove(&batch->link);
    buffer_fini(&batch->control);
    free(batch->runs);
    free(batch->held);
    free(batch);
}

/* A batch of unusual size does not keep its memory. */
void
batch_clear(struct batch *batch)
{
    enum { CONTROL_KEPT = 64 * 1024, RUNS_KEPT = 512 };
    assert(batch->held_count == 0);
    batch->header = (struct batch_header){0};
    batch->end_lsn = 0;
    batch->wants_flush = false;
    batch->wants_report = false;
    batch->run_count = 0;
    if (batch->control.capacity > CONTROL_KEPT) {
        buffer_fini(&batch->control);
    }
    buffer_clear(&batch->control);
    if (batch->run_capacity > RUNS_KEPT) {
        free(batch->runs);
        batch->runs = NULL;
        batch->run_capacity = 0;
        free(batch->held);
        batch->held = NULL;
        batch->held_capacity = 0;
    }
}

uint32_t
content_check(struct bytes octets, uint64_t lsn)
{
    uint8_t place[sizeof(lsn)];
    put_u64_le(place, lsn);
    uint32_t crc = crc32c(0, octets.data, CONTENT_CHECK_AT);
    crc = crc32c(crc, octets.data + sizeof(struct content), octets.size - sizeof(struct content));
    return crc32c(crc, place, sizeof(place));
}

/* Where in the runs the walk over the data section has come. */
struct run_position {
    size_t run;
    uint64_t run_offset; /* of that run in the data section */
};

/* The octet of the data section at `offset`; offsets rise from call to call. */
static uint8_t *
run_octet(const struct batch *batch, struct run_position *position, uint64_t offset)
{
    while (offset >= position->run_offset + batch->runs[position->run].iov_len) {
        position->run_offset += batch->runs[position->run].iov_len;
        position->run++;
        assert(position->run < batch->run_count);
    }
    return (uint8_t *)batch->runs[position->run].iov_base + (offset - position->run_offset);
}

/* Returns how long the body is. */
static uint32_t
write_check(const struct batch *batch, const struct record *record, struct run_position *position)
{
    uint8_t *content = run_octet(batch, position, record->publish.offset);
    uint64_t lsn = batch->header.base_lsn + BATCH_HEADER_SIZE + record->publish.offset;
    uint32_t check = content_check(bytes_make(content, record->publish.size), lsn);
    put_u32_le(content + CONTENT_CHECK_AT, check);
    /* The record lies in the batch's own buffer. */
    uint8_t *octets = batch->control.data + (record->octets.data - batch->control.data);
    put_u32_le(octets + RECORD_CHECK_AT, check);
    return ((const struct content *)(const void *)content)->body_size;
}

void
batch_finish(struct batch *batch, uint64_t durable_lsn, struct index_shelf *shelf)
{
    struct bytes control = buffer_bytes(&batch->control);
    struct bytes left = control;
    struct run_position position = {0};
    struct record record;
    while (record_next(&left, &record) == STATUS_OK) {
        uint32_t body_size = 0;
        if (record.type == RECORD_PUBLISH) {
            body_size = write_check(batch, &record, &position);
        }
        if (shelf != NULL) {
            index_shelf_add(shelf, &record, &batch->header, body_size);
        }
    }
    assert(left.size == 0);
    batch->header.durable_lsn = durable_lsn;
    batch->header.control_crc = crc32c(0, control.data, control.size);
    batch_header_encode(&batch->header, batch->header_octets);
}
