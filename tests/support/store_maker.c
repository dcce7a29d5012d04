/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/store_maker.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/index.h"

void
store_maker_init(struct store_maker *maker, const struct disk *disk)
{
    *maker = (struct store_maker){
        .disk = *disk, .slot_size = STORE_MAKER_SLOT, .random_state = 7, .prepared_ahead = 1};
}

void
store_maker_end(struct store_maker *maker)
{
    if (maker->journal != NULL) {
        journal_free(&maker->journal);
        log_writer_free(&maker->writer);
        chunk_pool_end_tick(maker->pool, chunk_pool_tick(maker->pool));
        chunk_pool_free(&maker->pool);
    }
    recovery_fini(&maker->recovery);
}

void
store_maker_fini(struct store_maker *maker)
{
    store_maker_end(maker);
}

/* Segments ------------------------------------------------------------------------------------- */

static void
prepare(struct store_maker *maker, uint64_t number)
{
    while (maker->newest.number < number) {
        maker->newest.number++;
        maker->newest.base_lsn += maker->slot_size;
        maker->newest.capacity = maker->slot_size;
        enum status status = segment_prepare(&maker->disk, &maker->newest, 0, NULL);
        assert(status == STATUS_OK);
    }
}

static void
index_left(struct store_maker *maker)
{
    const struct journal_segment *left;
    while ((left = journal_oldest_left(maker->journal)) != NULL &&
           left->end_lsn <= log_writer_durable_lsn(maker->writer)) {
        if (!maker->without_index) {
            struct segment_index index;
            enum status status =
                segment_index_build(&index, &maker->disk, left->number, left->end_lsn);
            assert(status == STATUS_OK);
            segment_index_fini(&index);
        }
        journal_forget_left(maker->journal);
    }
}

static void
take_batch(void *context, struct batch *batch)
{
    struct store_maker *maker = context;
    struct log_failure failure;
    bool wants_flush = batch->wants_flush;
    prepare(maker, batch->segment_number + maker->prepared_ahead);
    struct list waiting;
    struct list written;
    list_init(&waiting);
    list_init(&written);
    list_append(&waiting, &batch->link);
    enum status status = log_writer_write(maker->writer, &waiting, &written, &failure);
    assert(status == STATUS_OK);
    list_remove(&batch->link);
    journal_batch_written(maker->journal, batch);
    if (wants_flush) {
        status = log_writer_flush(maker->writer, &failure);
        assert(status == STATUS_OK);
    }
    journal_committed(maker->journal, log_writer_durable_lsn(maker->writer));
}

static void
begin_epoch(struct store_maker *maker)
{
    const struct manifest *manifest = &maker->recovery.manifest;
    maker->newest = (struct segment_header){
        .number = maker->recovery.next_segment_number,
        .base_lsn = maker->recovery.next_segment_base,
        .slot_size = maker->slot_size,
        .capacity = maker->slot_size,
        .epoch = manifest->epochs[manifest->epoch_count - 1].number,
    };
    memcpy(maker->newest.cluster_id, manifest->cluster_id, CLUSTER_ID_SIZE);
    enum status status = segment_prepare(&maker->disk, &maker->newest, 0, NULL);
    assert(status == STATUS_OK);
    struct journal_settings settings = {
        .epoch = maker->newest.epoch,
        .segment_number = maker->newest.number,
        .segment_base = maker->newest.base_lsn,
        .segment_capacity = maker->slot_size,
        .slot_size = maker->slot_size,
    };
    struct journal_port port = {.submit = take_batch, .context = maker};
    maker->pool = chunk_pool_new();
    maker->writer = log_writer_new(&maker->disk);
    maker->journal = journal_new(&settings, maker->pool, &port);
    journal_set_time(maker->journal, 1700000000000);
}

enum status
store_maker_start(struct store_maker *maker, struct store_content *content, char *why,
                  size_t why_size)
{
    struct store_content nobody = {0};
    struct recovery_sink sink = store_content_sink(content != NULL ? content : &nobody);
    struct recovery_options options = {.slot_size = maker->slot_size, .may_write = true};
    struct random_source random = random_seeded(&maker->random_state);
    enum status status =
        recovery_run(&maker->recovery, &maker->disk, &options, &sink, &random, NULL, why, why_size);
    store_content_fini(&nobody);
    if (status == STATUS_OK) {
        begin_epoch(maker);
    }
    return status;
}

/* Changes -------------------------------------------------------------------------------------- */

uint8_t
store_maker_octet(const char *text, uint32_t at)
{
    size_t size = strlen(text);
    return (uint8_t)(size == 0 ? at : (uint8_t)text[at % size] + at / size);
}

uint64_t
store_maker_publish(struct store_maker *maker, const uint64_t *queues, uint32_t count,
                    const char *text, uint32_t size)
{
    return store_maker_publish_with(maker, queues, count, NULL, 0, text, size);
}

uint64_t
store_maker_publish_with(struct store_maker *maker, const uint64_t *queues, uint32_t count,
                         const struct journal_state *states, uint32_t state_count, const char *text,
                         uint32_t size)
{
    struct content_shape shape = {
        .exchange = bytes_of("orders"),
        .routing_key = bytes_of("eu.paid"),
        .properties = bytes_make("\x10\x00\x02", 3),
        .body_size = size,
        .kind = CHUNK_KIND_PERSISTENT,
        .flags = CONTENT_PERSISTENT,
    };
    struct content_ref ref;
    uint8_t *body;
    uint64_t lsn;
    enum status status = chunk_pool_reserve(maker->pool, &shape, &ref, &body);
    assert(status == STATUS_OK);
    for (uint32_t i = 0; i < size; i++) {
        body[i] = store_maker_octet(text, i);
    }
    status = journal_publish_with(maker->journal, ref, queues, count, states, state_count, &lsn);
    assert(status == STATUS_OK);
    chunk_pool_release(maker->pool, ref);
    return lsn;
}

void
store_maker_put(struct store_maker *maker, struct buffer *record)
{
    assert(!record->failed);
    journal_put(maker->journal, buffer_bytes(record));
    buffer_fini(record);
}

void
store_maker_vhost(struct store_maker *maker, uint64_t id, const char *name)
{
    struct buffer record = {0};
    record_put_vhost(&record, id, -1, -1, 0, bytes_of(name));
    store_maker_put(maker, &record);
}

void
store_maker_queue(struct store_maker *maker, uint64_t id, uint64_t vhost, const char *name)
{
    struct buffer record = {0};
    record_put_queue(&record, id, vhost, 0, bytes_of(name), bytes_make(NULL, 0));
    store_maker_put(maker, &record);
}

void
store_maker_seal(struct store_maker *maker, bool wants_flush)
{
    (void)journal_seal(maker->journal, wants_flush);
    chunk_pool_end_tick(maker->pool, chunk_pool_tick(maker->pool));
    index_left(maker);
}

/* What comes back ------------------------------------------------------------------------------ */

void
store_content_fini(struct store_content *content)
{
    free(content->rows);
    buffer_fini(&content->records);
    *content = (struct store_content){0};
}

static enum status
take_record(void *context, const struct record *record)
{
    struct store_content *content = context;
    content->record_count++;
    content->queue_count += record->type == RECORD_QUEUE_SET;
    content->binding_count += record->type == RECORD_BINDING_SET;
    buffer_put_bytes(&content->records, record->octets);
    assert(content->row_count == 0);
    return STATUS_OK;
}

static enum status
take_row(void *context, const struct recovered_row *row)
{
    struct store_content *content = context;
    if (content->row_count == content->row_capacity) {
        content->row_capacity = content->row_capacity == 0 ? 64 : 2 * content->row_capacity;
        content->rows = xrealloc(content->rows, content->row_capacity * sizeof(*content->rows));
    }
    content->rows[content->row_count++] = *row;
    return STATUS_OK;
}

struct recovery_sink
store_content_sink(struct store_content *content)
{
    return (struct recovery_sink){.record = take_record, .row = take_row, .context = content};
}
