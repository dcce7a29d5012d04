/* SPDX-License-Identifier: Apache-2.0 */
#include "store/journal.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>

enum {
    IDLE_BATCHES_MAX = 64, /* as many ticks may pass while a slow flush is under way */
    RUNS_FIRST = 16,
    CONTROL_FIRST = 4096,
    /* An ACK that is under way and its end take less. */
    CONTROL_SLACK = RECORD_ACK_MAX + RECORD_ALIGNMENT,
    NOTE_SIZE = RECORD_HEADER_SIZE,
};

struct journal {
    struct journal_settings settings;
    struct chunk_pool *pool;
    struct journal_port port;
    int64_t wall_ms;

    /* The segment under way. */
    uint64_t segment_number;
    uint64_t removal_count; /* in the segment under way */
    uint64_t segment_base;
    uint64_t segment_end;
    uint64_t next_lsn; /* where the next batch begins */

    struct batch *open;           /* what the tick has appended so far; owned; NULL: nothing */
    struct record_ack_writer ack; /* the ACK at the end of its control section */
    uint64_t ack_queue;           /* 0: none is under way */

    uint64_t last_end_lsn; /* of the last batch handed over; 0: none yet */
    uint64_t written_lsn;
    uint64_t commit_lsn;
    uint64_t flush_lsn; /* end of the last batch that asked for a flush; 0: none yet */
    uint64_t backlog_octets;
    bool is_unflushed; /* something was handed over without asking for a flush, since the last that
                          did */

    struct list idle; /* batches to use again; owned */
    uint32_t idle_count;
    struct journal_segment *left; /* owned */
    size_t left_first, left_end, left_capacity;
};

static uint64_t
round_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static void
enter_segment(struct journal *journal, uint64_t number, uint64_t base, uint64_t capacity)
{
    journal->segment_number = number;
    journal->segment_base = base;
    journal->segment_end = base + capacity;
    journal->next_lsn = base + 4096;
    journal->removal_count = 0;
}

struct journal *
journal_new(const struct journal_settings *settings, struct chunk_pool *pool,
            const struct journal_port *port)
{
    struct journal *journal = xalloc(sizeof(*journal));
    journal->settings = *settings;
    if (journal->settings.removals_max == 0) {
        journal->settings.removals_max = JOURNAL_REMOVALS_MAX;
    }
    journal->pool = pool;
    journal->port = *port;
    list_init(&journal->idle);
    enter_segment(journal, settings->segment_number, settings->segment_base,
                  settings->segment_capacity);
    return journal;
}

static void
release_held(struct journal *journal, struct batch *batch)
{
    for (size_t i = 0; i < batch->held_count; i++) {
        chunk_pool_release(journal->pool, batch->held[i]);
    }
    batch->held_count = 0;
}

void
journal_free(struct journal **journal_pointer)
{
    struct journal *journal = *journal_pointer;
    if (journal == NULL) {
        return;
    }
    *journal_pointer = NULL;
    if (journal->open != NULL) {
        release_held(journal, journal->open);
        batch_free(&journal->open);
    }
    for (struct list_link *link; (link = list_pop(&journal->idle)) != NULL;) {
        struct batch *batch = CONTAINER_OF(link, struct batch, link);
        batch_free(&batch);
    }
    free(journal->left);
    free(journal);
}

/* The open batch ------------------------------------------------------------------------------- */

/* Records of a few octets must not fail: memory for them aborts like any small struct's. */
static void
make_control_room(struct batch *batch, size_t size)
{
    struct buffer *control = &batch->control;
    assert(control->start == 0);
    if (control->capacity - control->end >= size) {
        return;
    }
    size_t capacity = control->capacity == 0 ? CONTROL_FIRST : control->capacity * 2;
    while (capacity - control->end < size) {
        capacity *= 2;
    }
    control->data = xrealloc(control->data, capacity);
    control->capacity = capacity;
}

static void
end_ack(struct journal *journal)
{
    if (journal->ack_queue != 0) {
        make_control_room(journal->open, RECORD_ALIGNMENT);
        record_ack_end(&journal->ack, &journal->open->control);
        journal->ack_queue = 0;
    }
}

static void
open_batch(struct journal *journal)
{
    if (journal->open != NULL) {
        return;
    }
    struct list_link *link = list_pop(&journal->idle);
    struct batch *batch;
    if (link == NULL) {
        batch = batch_new();
    } else {
        batch = CONTAINER_OF(link, struct batch, link);
        journal->idle_count--;
    }
    bool is_first = journal->last_end_lsn == 0;
    uint64_t skipped = is_first ? 0 : journal->next_lsn - journal->last_end_lsn;
    assert(skipped <= UINT32_MAX);
    batch->header = (struct batch_header){
        .flags = is_first ? BATCH_FIRST_OF_EPOCH : 0,
        .group = journal->settings.group,
        .base_lsn = journal->next_lsn,
        .epoch = journal->settings.epoch,
        .skipped = (uint32_t)skipped,
    };
    batch->segment_number = journal->segment_number;
    batch->segment_base = journal->segment_base;
    journal->open = batch;
    if (is_first) {
        make_control_room(batch, RECORD_HEADER_SIZE + 8);
        record_put_epoch(&batch->control, journal->settings.epoch);
        batch->header.record_count++;
    }
}

/* Hands the open batch over. */
static void
submit(struct journal *journal, bool wants_flush)
{
    struct batch *batch = journal->open;
    end_ack(journal);
    journal->open = NULL;
    batch->wants_flush = wants_flush;
    batch->header.wall_ms = journal->wall_ms;
    batch->header.control_size = (uint32_t)buffer_size(&batch->control);
    batch->end_lsn = batch_header_end(&batch->header);
    assert(batch->end_lsn <= journal->segment_end);
    journal->next_lsn = batch->end_lsn;
    journal->last_end_lsn = batch->end_lsn;
    journal->is_unflushed = !wants_flush;
    if (wants_flush) {
        journal->flush_lsn = batch->end_lsn;
    }
    journal->backlog_octets += batch_size(batch);
    journal->port.submit(journal->port.context, batch);
}

/* Segments ------------------------------------------------------------------------------------- */

static void
remember_left(struct journal *journal)
{
    if (journal->left_end == journal->left_capacity) {
        size_t capacity = journal->left_capacity == 0 ? 8 : journal->left_capacity * 2;
        journal->left = xrealloc(journal->left, capacity * sizeof(*journal->left));
        journal->left_capacity = capacity;
    }
    journal->left[journal->left_end++] = (struct journal_segment){
        .number = journal->segment_number,
        .base_lsn = journal->segment_base,
        .end_lsn = journal->next_lsn,
    };
}

const struct journal_segment *
journal_oldest_left(const struct journal *journal)
{
    return journal->left_first == journal->left_end ? NULL : &journal->left[journal->left_first];
}

void
journal_forget_left(struct journal *journal)
{
    assert(journal->left_first < journal->left_end);
    if (++journal->left_first == journal->left_end) {
        journal->left_first = 0;
        journal->left_end = 0;
    }
}

/* Octets of the open batch, or of one to be opened, with so much more in it. */
static uint64_t
size_with(const struct journal *journal, uint64_t content_octets, uint64_t record_octets)
{
    const struct batch *batch = journal->open;
    uint64_t size = BATCH_HEADER_SIZE + CONTROL_SLACK + content_octets + record_octets;
    if (batch != NULL) {
        size += batch->header.data_size + buffer_size(&batch->control);
    }
    return round_up(size, BATCH_ALIGNMENT);
}

bool
journal_fits(const struct journal *journal, uint64_t content_octets, uint64_t record_octets)
{
    uint64_t room = journal->settings.slot_size - 4096 - 2 * BATCH_ALIGNMENT - CONTROL_SLACK -
                    BATCH_HEADER_SIZE;
    return content_octets <= room && record_octets <= room - content_octets;
}

/* Between batches only: what is to be in one batch is not torn apart for this. */
static bool
has_removals_enough(const struct journal *journal)
{
    return journal->open == NULL && journal->removal_count >= journal->settings.removals_max;
}

/* What is appended next goes into the segment under way, or into the next when it does not fit. The
 * batch so far needs no flush of its own: leaving a segment flushes it. */
static void
make_room(struct journal *journal, uint64_t content_octets, uint64_t record_octets)
{
    uint64_t base = journal->open != NULL ? journal->open->header.base_lsn : journal->next_lsn;
    if (base + size_with(journal, content_octets, record_octets) <= journal->segment_end &&
        !has_removals_enough(journal)) {
        return;
    }
    assert(journal_fits(journal, content_octets, record_octets));
    if (journal->open != NULL) {
        submit(journal, false);
    }
    remember_left(journal);
    enter_segment(journal, journal->segment_number + 1,
                  journal->segment_base + journal->settings.slot_size, journal->settings.slot_size);
}

void
journal_reserve(struct journal *journal, uint64_t content_octets, uint64_t record_octets)
{
    make_room(journal, content_octets, record_octets);
}

/* Appending ------------------------------------------------------------------------------------ */

/* Room for so many more runs, and for the contents that they are held by. */
static enum status
grow_runs(struct batch *batch, uint32_t count)
{
    assert(batch->run_count == batch->held_count);
    if (batch->run_capacity - batch->run_count >= count &&
        batch->held_capacity - batch->held_count >= count) {
        return STATUS_OK;
    }
    size_t capacity = batch->run_capacity == 0 ? RUNS_FIRST : batch->run_capacity * 2;
    while (capacity - batch->run_count < count) {
        capacity *= 2;
    }
    struct iovec *runs = try_realloc(batch->runs, capacity * sizeof(*runs));
    if (runs == NULL) {
        return STATUS_NO_MEMORY;
    }
    batch->runs = runs;
    struct content_ref *held = try_realloc(batch->held, capacity * sizeof(*held));
    if (held == NULL) {
        return STATUS_NO_MEMORY;
    }
    batch->held = held;
    batch->run_capacity = capacity;
    batch->held_capacity = capacity;
    return STATUS_OK;
}

/* Room in the open batch for so many contents, and so many octets of records with their ends. */
static inline enum status
grow_batch(struct batch *batch, uint32_t content_count, uint64_t record_octets)
{
    if (grow_runs(batch, content_count) != STATUS_OK ||
        buffer_reserve(&batch->control, record_octets) == NULL) {
        batch->control.failed = false;
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status
journal_reserve_publishes(struct journal *journal, uint32_t publish_count, uint64_t content_octets,
                          uint64_t record_octets)
{
    make_room(journal, content_octets, record_octets);
    if (publish_count == 0) {
        return STATUS_OK; /* nothing else fails, and an empty batch need not be opened for it */
    }
    open_batch(journal);
    return grow_batch(journal->open, publish_count, record_octets + CONTROL_SLACK);
}

/* Whether the content goes on where the last run ends, in the same chunk. */
static bool
continues_run(const struct batch *batch, const struct content *content, struct content_ref ref)
{
    if (batch->run_count == 0) {
        return false;
    }
    const struct iovec *last = &batch->runs[batch->run_count - 1];
    return (const uint8_t *)last->iov_base + last->iov_len == (const uint8_t *)content &&
           content_ref_same_chunk(batch->held[batch->held_count - 1], ref);
}

static void
add_to_runs(struct journal *journal, const struct content *content, struct content_ref ref,
            size_t size)
{
    struct batch *batch = journal->open;
    if (continues_run(batch, content, ref)) {
        batch->runs[batch->run_count - 1].iov_len += size;
    } else {
        batch->runs[batch->run_count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)content, .iov_len = size};
        batch->held[batch->held_count++] = ref;
        chunk_pool_retain(journal->pool, ref);
    }
    batch->header.data_size += (uint32_t)size;
}

enum status
journal_publish(struct journal *journal, struct content_ref ref, const uint64_t *queues,
                uint32_t queue_count, uint64_t *lsn_out)
{
    const struct content *content = chunk_pool_content(journal->pool, ref);
    size_t octets = content_octets(content);
    size_t size = round_up(octets, RECORD_ALIGNMENT);
    size_t record_size = record_publish_size(queue_count);
    make_room(journal, size, record_size);
    open_batch(journal);
    struct batch *batch = journal->open;
    if (grow_batch(batch, 1, record_size + RECORD_ALIGNMENT) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    end_ack(journal);
    *lsn_out = batch->header.base_lsn + BATCH_HEADER_SIZE + batch->header.data_size;
    record_put_publish(&batch->control, batch->header.data_size, (uint32_t)octets, queues,
                       queue_count);
    batch->header.record_count++;
    add_to_runs(journal, content, ref, size);
    return STATUS_OK;
}

/* Room for the message and its states in one batch, so that nothing of them fails after this. */
static enum status
reserve_with_states(struct journal *journal, struct content_ref ref, uint32_t queue_count,
                    const struct journal_state *states, uint32_t state_count)
{
    size_t octets = content_octets(chunk_pool_content(journal->pool, ref));
    size_t record_size = record_publish_size(queue_count);
    for (uint32_t i = 0; i < state_count; i++) {
        record_size += record_row_state_size_max(states[i].count);
    }
    make_room(journal, round_up(octets, RECORD_ALIGNMENT), record_size);
    open_batch(journal);
    return grow_batch(journal->open, 1, record_size + CONTROL_SLACK);
}

enum status
journal_publish_with(struct journal *journal, struct content_ref ref, const uint64_t *queues,
                     uint32_t queue_count, const struct journal_state *states, uint32_t state_count,
                     uint64_t *lsn_out)
{
    enum status status = reserve_with_states(journal, ref, queue_count, states, state_count);
    if (status == STATUS_OK) {
        status = journal_publish(journal, ref, queues, queue_count, lsn_out);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct batch *batch = journal->open;
    for (uint32_t i = 0; i < state_count; i++) {
        const struct journal_state *state = &states[i];
        assert(state->first < queue_count);
        assert(state->count <= queue_count - state->first);
        record_put_row_state(&batch->control, *lsn_out, &state->state, NULL, true,
                             queues + state->first, state->count);
        batch->header.record_count++;
    }
    return STATUS_OK;
}

uint64_t
journal_return(struct journal *journal, uint64_t queue, uint64_t lsn, const struct row_state *state,
               const struct row_attempts *attempts)
{
    assert(queue != 0);
    size_t size = record_row_state_size_max(1);
    make_room(journal, 0, size);
    open_batch(journal);
    end_ack(journal);
    make_control_room(journal->open, size);
    record_put_row_state(&journal->open->control, lsn, state, attempts, false, &queue, 1);
    journal->open->header.record_count++;
    return journal->open->header.base_lsn;
}

void
journal_remove(struct journal *journal, uint64_t queue, uint64_t lsn)
{
    assert(queue != 0);
    make_room(journal, 0, RECORD_ACK_MAX);
    open_batch(journal);
    struct batch *batch = journal->open;
    journal->removal_count++;
    make_control_room(batch, RECORD_ACK_MAX + RECORD_ALIGNMENT);
    if (journal->ack_queue == queue) {
        record_ack_add(&journal->ack, &batch->control, lsn);
        return;
    }
    end_ack(journal);
    make_control_room(batch, RECORD_ACK_MAX);
    record_ack_begin(&journal->ack, &batch->control, queue, lsn);
    journal->ack_queue = queue;
    batch->header.record_count++;
}

void
journal_put(struct journal *journal, struct bytes record)
{
    assert(record.size % RECORD_ALIGNMENT == 0);
    make_room(journal, 0, record.size);
    open_batch(journal);
    end_ack(journal);
    make_control_room(journal->open, record.size);
    buffer_put_bytes(&journal->open->control, record);
    journal->open->header.record_count++;
}

void
journal_hand_out(struct journal *journal, uint64_t queue, uint64_t lsn)
{
    enum { HANDOUT_SIZE = RECORD_HEADER_SIZE + 16 };
    make_room(journal, 0, HANDOUT_SIZE);
    open_batch(journal);
    end_ack(journal);
    make_control_room(journal->open, HANDOUT_SIZE);
    record_put_handout(&journal->open->control, queue, lsn);
    journal->open->header.record_count++;
    journal->open->wants_report = true; /* the queue's head waits for it */
}

uint64_t
journal_token(const struct journal *journal)
{
    return journal->open != NULL ? journal->open->header.base_lsn + 1 : journal->last_end_lsn;
}

/* Handing over --------------------------------------------------------------------------------- */

void
journal_set_time(struct journal *journal, int64_t wall_ms)
{
    journal->wall_ms = wall_ms;
}

bool
journal_can_wait(const struct journal *journal)
{
    enum { WORTH_HANDING_OVER_OCTETS = 16 * 1024 };
    const struct batch *batch = journal->open;
    if (batch == NULL || batch->wants_report ||
        batch->header.data_size + buffer_size(&batch->control) >= WORTH_HANDING_OVER_OCTETS) {
        return false;
    }
    bool flush_is_under_way = journal->commit_lsn < journal->flush_lsn;
    return flush_is_under_way || batch->run_count == 0;
}

bool
journal_seal(struct journal *journal, bool wants_flush)
{
    if (journal->open == NULL) {
        if (!wants_flush || !journal->is_unflushed) {
            return false;
        }
        make_room(journal, 0, NOTE_SIZE);
        open_batch(journal);
        make_control_room(journal->open, NOTE_SIZE);
        record_put_note(&journal->open->control);
        journal->open->header.record_count++;
    }
    submit(journal, wants_flush);
    return true;
}

bool
journal_is_open(const struct journal *journal)
{
    return journal->open != NULL;
}

bool
journal_wants_flush(const struct journal *journal)
{
    return journal->is_unflushed;
}

void
journal_batch_written(struct journal *journal, struct batch *batch)
{
    assert(batch->end_lsn > journal->written_lsn);
    journal->written_lsn = batch->end_lsn;
    assert(journal->backlog_octets >= batch_size(batch));
    journal->backlog_octets -= batch_size(batch);
    release_held(journal, batch);
    if (journal->idle_count == IDLE_BATCHES_MAX) {
        batch_free(&batch);
        return;
    }
    batch_clear(batch);
    list_append(&journal->idle, &batch->link);
    journal->idle_count++;
}

void
journal_committed(struct journal *journal, uint64_t commit_lsn)
{
    assert(commit_lsn >= journal->commit_lsn);
    assert(commit_lsn <= journal->last_end_lsn);
    journal->commit_lsn = commit_lsn;
}

/* Reading off ---------------------------------------------------------------------------------- */

uint64_t
journal_written_lsn(const struct journal *journal)
{
    return journal->written_lsn;
}

uint64_t
journal_commit_lsn(const struct journal *journal)
{
    return journal->commit_lsn;
}

uint64_t
journal_open_lsn(const struct journal *journal)
{
    return journal->open != NULL ? journal->open->header.base_lsn : journal->next_lsn;
}

uint64_t
journal_segment_number(const struct journal *journal)
{
    return journal->segment_number;
}

uint64_t
journal_segment_base(const struct journal *journal)
{
    return journal->segment_base;
}

uint64_t
journal_backlog_octets(const struct journal *journal)
{
    return journal->backlog_octets;
}
