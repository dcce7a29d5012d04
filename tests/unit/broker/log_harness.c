/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's other side. */
#include "tests/unit/broker/log_harness.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "queues/waiting.h"
#include "tests/support/alloc_faults.h"

/* Noting --------------------------------------------------------------------------------------- */

static void *
grow(void *array, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity * 2 + 64;
    return xrealloc(array, *capacity * item_size);
}

/* The content that lies so far behind the beginning of the data section. */
static const struct content *
content_at(const struct batch *batch, size_t offset)
{
    size_t at = 0;
    for (size_t i = 0; i < batch->run_count; i++) {
        if (offset < at + batch->runs[i].iov_len) {
            return (const void *)((const uint8_t *)batch->runs[i].iov_base + (offset - at));
        }
        at += batch->runs[i].iov_len;
    }
    cr_fatal("a PUBLISH record names a content that the batch does not have");
    return NULL;
}

static uint64_t
number_in(struct bytes body)
{
    uint64_t number = 0;
    for (size_t i = 0; i < body.size && body.data[i] >= '0' && body.data[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(body.data[i] - '0');
    }
    return number;
}

static void
note_publish(struct log_rig *log, const struct batch *batch, const struct record *record)
{
    const struct content *content = content_at(batch, record->publish.offset);
    cr_assert(eq(sz, record->publish.size, content_octets(content)));
    for (uint32_t i = 0; i < record->publish.queue_count; i++) {
        uint64_t queue = record_queue(record, i);
        log->rows = grow(log->rows, log->row_count, &log->row_capacity, sizeof(*log->rows));
        log->rows[log->row_count++] = (struct logged_row){
            .queue = queue & ~RECORD_QUEUE_HANDED_OUT,
            .is_marked = (queue & RECORD_QUEUE_HANDED_OUT) != 0,
            .lsn = batch->header.base_lsn + BATCH_HEADER_SIZE + record->publish.offset,
            .number = number_in(content_body(content)),
            .body_size = content->body_size,
            .batch = log->batch_count,
        };
    }
}

static struct logged_row *
find_row(const struct log_rig *log, uint64_t queue, uint64_t lsn)
{
    size_t first = 0;
    size_t end = log->row_count;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (log->rows[middle].lsn < lsn) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    while (first < log->row_count && log->rows[first].lsn == lsn) {
        if (log->rows[first].queue == queue) {
            return &log->rows[first];
        }
        first++;
    }
    return NULL;
}

static void
note_removals(struct log_rig *log, const struct record *record)
{
    struct record_ack_position position = {0};
    uint64_t lsn;
    while (record_ack_next(record, &position, &lsn)) {
        struct logged_row *row = find_row(log, record->ack.queue, lsn);
        cr_assert(ne(ptr, row, NULL), "a removal speaks of a message that is in the log");
        cr_assert(row->end_batch == 0 || core_find_queue_by_id(log->rig->core, row->queue) == NULL,
                  "a message is removed once");
        row->end_batch = row->end_batch == 0 ? log->batch_count : row->end_batch;
    }
}

static void
note_mark(struct log_rig *log, const struct record *record)
{
    log->marks = grow(log->marks, log->mark_count, &log->mark_capacity, sizeof(*log->marks));
    log->marks[log->mark_count++] = (struct logged_mark){
        .queue = record->handout.queue, .lsn = record->handout.lsn, .batch = log->batch_count};
}

static void
note_deleted_queue(struct log_rig *log, uint64_t queue)
{
    for (size_t i = 0; i < log->row_count; i++) {
        if (log->rows[i].queue == queue && log->rows[i].end_batch == 0) {
            log->rows[i].end_batch = log->batch_count;
        }
    }
}

static void
note_record(struct log_rig *log, const struct batch *batch, const struct record *record)
{
    log->records[record->type]++;
    log->last_batch[record->type] = log->batch_count;
    switch (record->type) {
    case RECORD_PUBLISH:
        note_publish(log, batch, record);
        break;
    case RECORD_ACK:
        note_removals(log, record);
        break;
    case RECORD_HANDOUT:
        note_mark(log, record);
        break;
    case RECORD_ROW_STATE:
        log->last_state = *record;
        log->last_attempts = record->row_state.attempts == NULL ? (struct row_attempts){0}
                                                                : record_state_attempts(record);
        break;
    case RECORD_QUEUE_DELETE:
        note_deleted_queue(log, record->deleted.id);
        break;
    default:
        break;
    }
}

static void
take_batch(void *context, struct batch *batch)
{
    struct log_rig *log = context;
    bool was_on_hold = alloc_faults_hold(true);
    struct bytes control = buffer_bytes(&batch->control);
    struct record record;
    enum status status;
    uint32_t count = 0;
    log->batch_count++;
    while ((status = record_next(&control, &record)) == STATUS_OK) {
        note_record(log, batch, &record);
        count++;
    }
    cr_assert(eq(int, status, STATUS_AGAIN), "the batch has whole records only");
    cr_assert(eq(u32, count, batch->header.record_count));
    log->flush_count += batch->wants_flush ? 1 : 0;
    list_append(&log->handed_over, &batch->link);
    alloc_faults_hold(was_on_hold);
}

/* The rig -------------------------------------------------------------------------------------- */

struct log_rig *
log_rig_new(const struct core_settings *settings, uint64_t slot_size)
{
    struct log_rig *log = xalloc(sizeof(*log));
    slot_size = slot_size == 0 ? LOG_SLOT_SIZE : slot_size;
    list_init(&log->handed_over);
    log->rig = messaging_rig(settings);
    const struct journal_settings journal = {.epoch = 1,
                                             .segment_number = 1,
                                             .segment_base = slot_size,
                                             .segment_capacity = slot_size,
                                             .slot_size = slot_size};
    struct journal_port port = {.submit = take_batch, .context = log};
    log->journal = journal_new(&journal, log->rig->pool, &port);
    log->space = space_new(&(struct space_settings){.slot_size = slot_size});
    space_add_segment(log->space, 1, 1, 1, slot_size, slot_size);
    core_attach_store(log->rig->core, log->journal, log->space);
    return log;
}

static struct batch *
pop_batch(struct log_rig *log)
{
    struct list_link *link = list_pop(&log->handed_over);
    return link == NULL ? NULL : CONTAINER_OF(link, struct batch, link);
}

void
log_rig_free(struct log_rig **log_pointer)
{
    struct log_rig *log = *log_pointer;
    for (struct batch *batch; (batch = pop_batch(log)) != NULL;) {
        journal_batch_written(log->journal, batch);
    }
    core_attach_store(log->rig->core, NULL, NULL);
    journal_free(&log->journal);
    rig_free(&log->rig);
    space_free(&log->space);
    free(log->rows);
    free(log->marks);
    free(log);
    *log_pointer = NULL;
}

/* The disk ------------------------------------------------------------------------------------- */

static void
write_some(struct log_rig *log, uint32_t max)
{
    struct batch *batch;
    while (max-- > 0 && (batch = pop_batch(log)) != NULL) {
        log->flush_is_due |= batch->wants_flush;
        log->flush_is_due |= batch->segment_number != journal_segment_number(log->journal);
        log->written_count++;
        journal_batch_written(log->journal, batch);
    }
}

/* As the threads of the store are collected: both are told, whatever has happened. */
static void
tell_core(struct log_rig *log)
{
    core_on_written(log->rig->core);
    core_on_committed(log->rig->core);
    rig_turn(log->rig);
}

void
log_write(struct log_rig *log, uint32_t max)
{
    write_some(log, max);
    tell_core(log);
}

void
log_flush(struct log_rig *log)
{
    if (log->flush_is_due) {
        log->flush_is_due = false;
        log->committed_count = log->written_count;
        journal_committed(log->journal, journal_written_lsn(log->journal));
    }
    tell_core(log);
}

void
log_commit(struct log_rig *log)
{
    write_some(log, UINT32_MAX);
    log_flush(log);
}

void
log_settle(struct log_rig *log)
{
    rig_turn(log->rig);
    for (int i = 0; i < 1000; i++) {
        log_commit(log);
        if (!list_is_empty(&log->handed_over) || core_wait_ms(log->rig->core) == 0) {
            continue;
        }
        if (!journal_is_open(log->journal)) {
            return;
        }
        rig_step(log->rig, CORE_WRITE_WAIT_MS);
    }
    cr_fatal("the core never rests");
}

/* What the log says ---------------------------------------------------------------------------- */

static bool
row_lives(const struct logged_row *row, uint32_t batches)
{
    return row->batch <= batches && (row->end_batch == 0 || row->end_batch > batches);
}

uint64_t
log_row_count(const struct log_rig *log, uint64_t queue, uint32_t batches)
{
    uint64_t count = 0;
    for (size_t i = 0; i < log->row_count; i++) {
        count += log->rows[i].queue == queue && row_lives(&log->rows[i], batches) ? 1 : 0;
    }
    return count;
}

static bool
has_mark(const struct log_rig *log, const struct logged_row *row, uint32_t batches)
{
    bool is_marked = row->is_marked;
    for (size_t i = 0; i < log->mark_count && log->marks[i].batch <= batches; i++) {
        is_marked |= log->marks[i].queue == row->queue && log->marks[i].lsn >= row->lsn;
    }
    return is_marked;
}

bool
log_has_row(const struct log_rig *log, uint64_t queue, uint64_t number, uint32_t batches,
            bool *is_marked_out)
{
    for (size_t i = 0; i < log->row_count; i++) {
        const struct logged_row *row = &log->rows[i];
        if (row->queue == queue && row->number == number && row_lives(row, batches)) {
            *is_marked_out = has_mark(log, row, batches);
            return true;
        }
    }
    return false;
}

bool
log_tells_of_handout(const struct log_rig *log, uint64_t queue, uint64_t number)
{
    for (size_t i = 0; i < log->row_count; i++) {
        const struct logged_row *row = &log->rows[i];
        if (row->queue == queue && row->number == number) {
            /* Marks stay, so the first crash that leaves the row is the one to look at. */
            uint32_t batches = row->batch > log->written_count ? row->batch : log->written_count;
            return !row_lives(row, batches) || has_mark(log, row, batches);
        }
    }
    return true;
}

static uint64_t
live_octets(const struct log_rig *log)
{
    uint64_t octets = 0;
    for (size_t i = 0; i < log->row_count; i++) {
        if (row_lives(&log->rows[i], UINT32_MAX)) {
            octets += space_row_octets(log->rows[i].body_size);
        }
    }
    return octets;
}

/* Of states that were written after their messages, as queues know of them. */
static uint64_t
state_octets(const struct queue *queue)
{
    uint64_t octets = 0;
    uint32_t at = 0;
    const struct failure_row *row;
    while ((row = queue_next_failure(queue, &at)) != NULL) {
        octets += row->state_lsn == 0 ? 0 : SPACE_STATE_OCTETS;
    }
    return octets;
}

void
log_check(const struct log_rig *log)
{
    uint64_t octets = live_octets(log);
    uint32_t position = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&log->rig->core->durable_queues, &position)) != NULL) {
        const struct queue *queue = entry->value;
        queue_check(queue);
        uint64_t dying_count = queue->dying == NULL ? 0 : queue->dying->count;
        cr_assert(eq(u64, log_row_count(log, queue->target.id, UINT32_MAX),
                     queue->ready_count + queue->unacked_count + dying_count +
                         queue_waiting_count(queue)),
                  "queue %.*s", BYTES_FORMAT(queue_name(queue)));
        octets += state_octets(queue);
    }
    cr_assert(eq(u64, space_live_octets(log->space), octets));
}

/* Clients -------------------------------------------------------------------------------------- */

void
log_declare(struct log_rig *log, uint64_t link, const char *name)
{
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name), .durable = true},
    };
    rig_send(log->rig, link, 1, &method);
    log_commit(log);
    (void)rig_expect(log->rig, link, 1, METHOD_QUEUE_DECLARE_OK);
}

void
log_publish(struct log_rig *log, uint64_t link, const char *exchange, const char *key,
            const char *text)
{
    struct rig_publish publish = {
        .exchange = exchange, .routing_key = key, .body = bytes_of(text), .is_persistent = true};
    rig_publish_as(log->rig, link, 1, &publish);
}

void
log_publish_numbers(struct log_rig *log, uint64_t link, const char *key, int first, int last)
{
    for (int i = first; i <= last; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%d", i);
        log_publish(log, link, "", key, text);
    }
}

void
select_confirms(struct rig *rig, uint64_t link, uint16_t channel)
{
    rig_send_id(rig, link, channel, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, link, channel, METHOD_CONFIRM_SELECT_OK);
}

void
expect_confirm(struct rig *rig, uint64_t link, uint16_t channel, uint64_t number, bool multiple)
{
    const struct basic_ack ack = rig_expect(rig, link, channel, METHOD_BASIC_ACK)->basic_ack;
    cr_assert(eq(u64, ack.delivery_tag, number));
    cr_assert(eq(int, ack.multiple, multiple));
}
