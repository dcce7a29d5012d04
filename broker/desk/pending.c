/* SPDX-License-Identifier: Apache-2.0 */
/* A request walks the index of its queue by key, so that rows may come and go between its slices.
 * Rows whose contents it has to read are noted apart, in the order of the log, and done with when
 * they have been read, or cannot be. */
#include "broker/desk/pending.h"

#include <stdlib.h>

#include "amqp/properties.h"
#include "base/alloc.h"
#include "broker/changes/audit.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"
#include "broker/upkeep/waiting.h"

/* When something is tried again that there was no memory or room for. */
static const uint64_t RETRY_MS = 100;

/* A row whose content is being read. */
struct noted_row {
    struct due_key key;
    struct queue_entry entry; /* names nothing */
};

struct pending_walk {
    struct list_link link; /* core->pending, or core->pending_waits while a job is under way */
    struct core *core;
    struct queue *queue;            /* a reference */
    struct pending_request request; /* its texts are behind the walk, in its allocation */
    struct due_key next;            /* what is before it was looked at */
    uint64_t end_number;            /* of delayed messages: those that came later are left alone */
    uint64_t count, unreadable;
    struct content_ref chunk; /* pinned: was restored for it; unset: none */
    uint32_t block_size;      /* of the next block; 0: the usual */
    struct timer retry;
    uint32_t noted_first, noted_end;
    struct noted_row noted[FETCH_ENTRIES_MAX];
};

/* Looking -------------------------------------------------------------------------------------- */

static bool
is_in_memory(const struct core *core, const struct queue_entry *entry)
{
    return chunk_pool_place(core->pool, entry->content) == CONTENT_IN_MEMORY;
}

static struct due_key
key_behind(struct due_key key)
{
    key.position++;
    return key;
}

uint32_t
core_list_pending(const struct core *core, const struct queue *queue, const struct due_key *after,
                  struct pending_message *out, uint32_t max)
{
    if (queue->waiting == NULL) {
        return 0;
    }
    struct due_key first = after == NULL ? (struct due_key){0} : key_behind(*after);
    struct due_cursor cursor = due_index_seek(&queue->waiting->index, &first);
    uint32_t count = 0;
    const struct due_row *row;
    while (count < max && (row = due_cursor_next(&cursor)) != NULL) {
        out[count++] = (struct pending_message){
            .kind = due_row_kind(row),
            .key = row->key,
            .due_wall_ms = core_wall_of_row_ms(core, row->key.due_ms),
            .lsn = queue_entry_lsn(&row->entry),
            .body_size = row->entry.size,
            .content = is_in_memory(core, &row->entry)
                           ? chunk_pool_content(core->pool, row->entry.content)
                           : NULL,
        };
    }
    return count;
}

/* One message ---------------------------------------------------------------------------------- */

enum status
core_release_pending(struct core *core, struct queue *queue, const struct due_key *key)
{
    if (queue->waiting == NULL || due_index_find(&queue->waiting->index, key) == NULL) {
        return STATUS_REJECTED;
    }
    return core_end_wait(core, queue, key);
}

bool
core_cancel_pending(struct core *core, struct queue *queue, const struct due_key *key)
{
    struct due_row row;
    if (!queue_take_waiting(queue, key, &row)) {
        return false;
    }
    core_log_departure(core, queue, &row.entry, key->position);
    queue_entry_release(&row.entry, core->pool);
    return true;
}

/* Requests ------------------------------------------------------------------------------------- */

/* Copies the text to `*end` and has it named there; what was NULL stays NULL. */
static void
keep_text(struct bytes *text, uint8_t **end)
{
    if (text->size > 0) {
        memcpy(*end, text->data, text->size);
    }
    text->data = text->data == NULL ? NULL : *end;
    *end += text->size;
}

enum status
core_request_pending(struct core *core, struct queue *queue, const struct pending_request *request)
{
    struct pending_walk *walk =
        try_alloc(sizeof(*walk) + request->message_id.size + request->user.size);
    if (walk == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *texts = (uint8_t *)(walk + 1);
    *walk = (struct pending_walk){
        .core = core,
        .queue = queue_ref(queue),
        .request = *request,
        .end_number = queue->waiting == NULL ? 0 : queue->waiting->next_number,
    };
    keep_text(&walk->request.message_id, &texts);
    keep_text(&walk->request.user, &texts);
    list_append(&core->pending, &walk->link);
    audit_pending(core, queue, request, (struct audit_entry){.phase = AUDIT_BEGUN});
    return STATUS_OK;
}

static void
release_chunk(struct pending_walk *walk)
{
    if (content_ref_is_set(walk->chunk)) {
        chunk_pool_release(walk->core->pool, walk->chunk);
        walk->chunk = (struct content_ref){0};
    }
}

static void
walk_free(struct pending_walk *walk)
{
    list_remove(&walk->link);
    timer_cancel(&walk->core->timers, &walk->retry);
    release_chunk(walk);
    queue_unref(&walk->queue);
    free(walk);
}

static void
end_walk(struct pending_walk *walk)
{
    walk->core->requests_go_on = true; /* who waits for it may be one of them */
    audit_pending(walk->core, walk->queue, &walk->request,
                  (struct audit_entry){.phase = AUDIT_ENDED,
                                       .done_count = walk->count,
                                       .stayed_count = walk->unreadable});
    if (walk->request.done != NULL) {
        walk->request.done(walk->request.context, walk->count, walk->unreadable,
                           core_log_token(walk->core));
    }
    walk_free(walk);
}

static void
go_on(struct pending_walk *walk)
{
    list_remove(&walk->link);
    list_append(&walk->core->pending, &walk->link);
}

static void
on_retry(struct timer *timer, void *context)
{
    (void)context;
    go_on(CONTAINER_OF(timer, struct pending_walk, retry));
}

/* What came back from the disk, or the timer, has it go on. */
static void
pause_walk(struct pending_walk *walk)
{
    list_remove(&walk->link);
    list_append(&walk->core->pending_waits, &walk->link);
}

static void
try_again_later(struct pending_walk *walk)
{
    struct core *core = walk->core;
    pause_walk(walk);
    timer_arm(&core->timers, &walk->retry, core->now.monotonic_ms + RETRY_MS, on_retry, NULL);
}

/* Matching ------------------------------------------------------------------------------------- */

static bool
has_message_id(const struct content *content, struct bytes message_id)
{
    struct bytes block = content_properties(content);
    if ((get_u16(block.data) & PROPERTY_MESSAGE_ID) == 0) {
        return false;
    }
    UNINITIALIZED struct properties properties;
    struct fault fault;
    return properties_decode_kept(&properties, block, &fault) == STATUS_OK &&
           bytes_equal(properties.message_id, message_id);
}

static bool
is_meant(const struct pending_walk *walk, const struct due_row *row)
{
    uint64_t number = (row->key.position & ~QUEUE_POSITION_DELAYED) >> DELAYED_NUMBER_SHIFT;
    bool is_new = (row->key.position & QUEUE_POSITION_DELAYED) != 0 && number >= walk->end_number;
    return !is_new && (walk->request.kinds & 1U << due_row_kind(row)) != 0;
}

/* False: there is no memory for it now. A message that came in by itself needs nothing any more. */
static bool
act(struct pending_walk *walk, const struct due_key *key)
{
    enum status status = STATUS_OK;
    if (walk->request.action == PENDING_CANCEL) {
        status = core_cancel_pending(walk->core, walk->queue, key) ? STATUS_OK : STATUS_REJECTED;
    } else {
        status = core_release_pending(walk->core, walk->queue, key);
    }
    walk->count += status == STATUS_OK ? 1 : 0;
    return status != STATUS_NO_MEMORY;
}

/* Reading -------------------------------------------------------------------------------------- */

static int
compare_noted(const void *left, const void *right)
{
    uint64_t a = queue_entry_lsn(&((const struct noted_row *)left)->entry);
    uint64_t b = queue_entry_lsn(&((const struct noted_row *)right)->entry);
    return (a > b) - (a < b);
}

/* Notes rows from walk->next on whose contents are in the log, until another one comes. */
static void
note_rows(struct pending_walk *walk)
{
    struct due_cursor cursor = due_index_seek(&walk->queue->waiting->index, &walk->next);
    uint64_t octets = 0;
    walk->noted_first = 0;
    walk->noted_end = 0;
    const struct due_row *row;
    while (walk->noted_end < FETCH_ENTRIES_MAX && octets < FETCH_WINDOW &&
           (row = due_cursor_next(&cursor)) != NULL) {
        if (is_meant(walk, row)) {
            if (chunk_pool_place(walk->core->pool, row->entry.content) != CONTENT_IN_LOG) {
                break;
            }
            octets += paging_expected_octets(&row->entry);
            walk->noted[walk->noted_end++] = (struct noted_row){
                .key = row->key,
                .entry = {.lsn_and_flags = row->entry.lsn_and_flags, .size = row->entry.size}};
        }
        walk->next = key_behind(row->key);
    }
    qsort(walk->noted, walk->noted_end, sizeof(walk->noted[0]), compare_noted);
}

static bool
may_read(struct pending_walk *walk)
{
    struct paging *paging = walk->core->paging;
    return paging != NULL && paging_is_open(paging) && paging_make_room(paging, FETCH_WINDOW);
}

/* Has the noted rows read, as far as a block holds them. */
static void
fetch_noted(struct pending_walk *walk)
{
    struct paging *paging = walk->core->paging;
    if (!may_read(walk)) {
        try_again_later(walk);
        return;
    }
    struct paging_job *job = paging_job_new(paging, TASK_FETCH, walk->queue);
    job->pending = walk;
    uint32_t block_size = paging_block_size(walk->block_size == 0 ? FETCH_WINDOW : walk->block_size,
                                            &walk->noted[walk->noted_first].entry);
    uint32_t count = block_size > FETCH_WINDOW ? 1 : walk->noted_end - walk->noted_first;
    for (uint32_t i = 0; i < count; i++) {
        paging_ask_for(&job->fetch, &walk->noted[walk->noted_first + i].entry);
    }
    if (paging_submit_fetch(paging, job, block_size)) {
        pause_walk(walk);
    } else {
        try_again_later(walk);
    }
}

/* Contents as they lie in the block, which nobody keeps. */
static void
look_at_fetched(struct pending_walk *walk, const struct io_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->fetched_count; i++) {
        const struct content *content =
            (const struct content *)(const void *)(fetch->block + fetch->offsets[i]);
        const struct noted_row *noted = &walk->noted[walk->noted_first];
        if (has_message_id(content, walk->request.message_id) && !act(walk, &noted->key)) {
            return; /* it is read again */
        }
        walk->noted_first++;
    }
}

/* The block was too small, or the first content cannot be had. */
static void
on_nothing(struct pending_walk *walk, const struct paging_job *job)
{
    if (job->io.status == STATUS_OK && job->fetch.block_size < UINT32_MAX / 4) {
        walk->block_size = job->fetch.block_size * 2;
    } else if (job->io.status != STATUS_NO_MEMORY) {
        walk->noted_first++;
        walk->unreadable++;
        walk->block_size = 0;
    }
}

void
pending_end_fetch(struct core *core, struct paging_job *job)
{
    struct pending_walk *walk = job->pending;
    core->paging->window_octets -= job->fetch.block_size;
    if (job->fetch.fetched_count == 0) {
        on_nothing(walk, job);
    } else {
        walk->block_size = 0;
        look_at_fetched(walk, &job->fetch);
    }
    chunk_pool_take_back_block(core->pool, job->fetch.block, job->fetch.block_size);
    paging_job_free(&job);
    paging_wake_waiting(core->paging);
    go_on(walk);
}

static void
restore_chunk(struct pending_walk *walk, struct content_ref content)
{
    release_chunk(walk);
    if (!may_read(walk)) {
        try_again_later(walk);
        return;
    }
    struct paging_job *job = paging_job_new(walk->core->paging, TASK_RESTORE, walk->queue);
    job->pending = walk;
    if (paging_submit_restore(walk->core->paging, job, content)) {
        pause_walk(walk);
    } else {
        try_again_later(walk);
    }
}

void
pending_end_restore(struct core *core, struct paging_job *job)
{
    struct pending_walk *walk = job->pending;
    walk->chunk = paging_take_restored(core->paging, job);
    paging_job_free(&job);
    paging_wake_waiting(core->paging);
    go_on(walk);
}

/* Walking -------------------------------------------------------------------------------------- */

/* Looks at a row whose content decides; false: that has to be read first, or memory is missing. */
static bool
look_at_content(struct pending_walk *walk, const struct due_row *row)
{
    const struct core *core = walk->core;
    struct due_key key = row->key;
    switch (chunk_pool_place(core->pool, row->entry.content)) {
    case CONTENT_IN_MEMORY:
        if (has_message_id(chunk_pool_content(core->pool, row->entry.content),
                           walk->request.message_id) &&
            !act(walk, &key)) {
            try_again_later(walk);
            return false;
        }
        return true;
    case CONTENT_IN_LOG:
        note_rows(walk);
        fetch_noted(walk);
        return false;
    case CONTENT_SPILLED:
        restore_chunk(walk, row->entry.content);
        return false;
    case CONTENT_COMING:
        try_again_later(walk);
        return false;
    case CONTENT_LOST:
        walk->unreadable++;
        break;
    }
    return true;
}

/* The first row at walk->next or behind it; NULL: there is none. */
static const struct due_row *
next_row(const struct pending_walk *walk)
{
    if (walk->queue->deleted || walk->queue->waiting == NULL) {
        return NULL;
    }
    struct due_cursor cursor = due_index_seek(&walk->queue->waiting->index, &walk->next);
    return due_cursor_next(&cursor);
}

/* False: it waits for something. */
static bool
look_at_row(struct pending_walk *walk, const struct due_row *row)
{
    struct due_key key = row->key;
    if (!is_meant(walk, row)) {
        return true;
    }
    if (walk->request.message_id.data != NULL) {
        return look_at_content(walk, row);
    }
    if (!act(walk, &key)) {
        try_again_later(walk);
        return false;
    }
    return true;
}

static void
work_on(struct pending_walk *walk)
{
    if (walk->noted_first < walk->noted_end && !walk->queue->deleted) {
        fetch_noted(walk);
        return;
    }
    for (uint32_t i = 0; i < CORE_PENDING_PER_TICK; i++) {
        const struct due_row *row = next_row(walk);
        if (row == NULL) {
            end_walk(walk);
            return;
        }
        struct due_key key = row->key;
        if (!look_at_row(walk, row)) {
            return;
        }
        walk->next = key_behind(key);
    }
    go_on(walk);
}

void
core_work_on_pending(struct core *core)
{
    struct list working;
    list_init(&working);
    struct list_link *link;
    while ((link = list_pop(&core->pending)) != NULL) {
        list_append(&working, link);
    }
    while ((link = list_pop(&working)) != NULL) {
        work_on(CONTAINER_OF(link, struct pending_walk, link));
    }
}

static void
leave_walks(const struct list *list, const void *context)
{
    LIST_FOR_EACH(list, link)
    {
        struct pending_walk *walk = CONTAINER_OF(link, struct pending_walk, link);
        if (walk->request.context == context) {
            walk->request.done = NULL;
        }
    }
}

void
core_leave_pending(struct core *core, const void *context)
{
    leave_walks(&core->pending, context);
    leave_walks(&core->pending_waits, context);
}

static void
forget_walks(struct list *list)
{
    struct list_link *link;
    while ((link = list_first(list)) != NULL) {
        walk_free(CONTAINER_OF(link, struct pending_walk, link));
    }
}

void
core_forget_pending(struct core *core)
{
    forget_walks(&core->pending);
    forget_walks(&core->pending_waits);
}
