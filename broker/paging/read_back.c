/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing the head of a queue back into memory, and what comes behind it. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/death/retry.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"
#include "broker/topology/vhost.h"

enum {
    /* How far behind the head entries are looked at. */
    HORIZON = FETCH_ENTRIES_MAX * WINDOWS_AHEAD,
    /* What a content is expected to take beside its body. */
    CONTENT_ALLOWANCE = 128,
    /* What one may take that was published under other limits: its properties fit a frame. */
    PROPERTIES_ALLOWANCE = 256 * 1024,
};

static const uint64_t BLOCK_SIZE_MAX = UINT64_C(1) << 31;

/* Asking --------------------------------------------------------------------------------------- */

/* Where the content of an entry is; a dead one has none to be fetched. */
static enum content_place
place_of(const struct paging *paging, const struct queue_entry *entry)
{
    return queue_entry_is_dead(entry) ? CONTENT_IN_MEMORY
                                      : chunk_pool_place(paging->core->pool, entry->content);
}

uint32_t
paging_expected_octets(const struct queue_entry *entry)
{
    uint64_t octets = (uint64_t)entry->size + CONTENT_ALLOWANCE;
    return octets > UINT32_MAX ? UINT32_MAX : (uint32_t)octets;
}

void
paging_ask_for(struct io_fetch *fetch, const struct queue_entry *entry)
{
    fetch->lsns[fetch->count] = queue_entry_lsn(entry);
    fetch->sizes[fetch->count] = entry->size;
    fetch->count++;
}

/* A content that may not fit the usual block comes alone, at the front of one of its own. */
uint32_t
paging_block_size(uint32_t usual, const struct queue_entry *first)
{
    uint64_t octets = (uint64_t)paging_expected_octets(first) + PROPERTIES_ALLOWANCE;
    uint32_t size = usual;
    if (first->size > FETCH_WINDOW / 2 && octets > size) {
        size = octets > BLOCK_SIZE_MAX ? (uint32_t)BLOCK_SIZE_MAX : (uint32_t)octets;
        size = (size + 4095) & ~UINT32_C(4095);
    }
    return size;
}

bool
paging_submit_fetch(struct paging *paging, struct paging_job *job, uint32_t block_size)
{
    job->fetch.block = chunk_pool_lend_block(paging->core->pool, block_size);
    if (job->fetch.block == NULL) {
        paging_job_free(&job);
        return false;
    }
    job->fetch.block_size = block_size;
    paging->window_octets += block_size;
    paging->counters.fetches++;
    paging_submit(paging, job);
    return true;
}

static bool
submit_fetch(struct paging *paging, struct queue_windows *windows, struct paging_job *job,
             uint32_t block_size)
{
    windows->is_fetching = paging_submit_fetch(paging, job, block_size);
    return windows->is_fetching;
}

/* Entries of the deque from the cursor on, the first of which is in the log only. */
static bool
fetch_ahead(struct paging *paging, struct queue_windows *windows, struct entry_cursor cursor)
{
    const struct queue_entry *entry = entry_cursor_next(&cursor);
    uint32_t block_size = paging_block_size(windows->block_size, entry);
    struct paging_job *job = paging_job_new(paging, TASK_FETCH, windows->queue);
    struct io_fetch *fetch = &job->fetch;
    uint64_t octets = 0;
    job->end_position = windows->next_position;
    for (; entry != NULL && fetch->count < FETCH_ENTRIES_MAX; entry = entry_cursor_next(&cursor)) {
        enum content_place place = place_of(paging, entry);
        if (place == CONTENT_IN_LOG) {
            octets += paging_expected_octets(entry);
            bool is_last =
                fetch->count > 0 &&
                (octets > FETCH_WINDOW || windows->is_alone || block_size > FETCH_WINDOW ||
                 queue_entry_lsn(entry) <= fetch->lsns[fetch->count - 1]);
            if (is_last) {
                break;
            }
            paging_ask_for(fetch, entry);
        } else if (place != CONTENT_IN_MEMORY) {
            break;
        }
        job->end_position++;
    }
    return submit_fetch(paging, windows, job, block_size);
}

struct returned_message {
    uint64_t lsn;
    const struct queue_entry *entry;
};

static int
compare_returned(const void *left, const void *right)
{
    const struct returned_message *a = left;
    const struct returned_message *b = right;
    return (a->lsn > b->lsn) - (a->lsn < b->lsn);
}

/* The returned messages to ask for, the next one among them, in the order of the log. */
static uint32_t
choose_returned(const struct paging *paging, struct queue *queue, bool is_alone,
                struct returned_message asked[static FETCH_ENTRIES_MAX])
{
    uint64_t octets = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < queue->returned_count && i < FETCH_ENTRIES_MAX; i++) {
        const struct queue_entry *entry = queue_returned_entry(queue, i);
        if (entry != NULL &&
            chunk_pool_place(paging->core->pool, entry->content) == CONTENT_IN_LOG) {
            octets += paging_expected_octets(entry);
            if (count > 0 && (is_alone || octets > FETCH_WINDOW)) {
                break;
            }
            asked[count++] = (struct returned_message){queue_entry_lsn(entry), entry};
        }
    }
    assert(count > 0);
    qsort(asked, count, sizeof(*asked), compare_returned);
    return count;
}

/* The returned message that comes next, and others that came back. */
static bool
fetch_returned(struct paging *paging, struct queue_windows *windows)
{
    struct queue *queue = windows->queue;
    uint32_t block_size = paging_block_size(windows->block_size, queue_peek(queue));
    bool is_alone = windows->is_alone || block_size > FETCH_WINDOW;
    struct returned_message asked[FETCH_ENTRIES_MAX];
    uint32_t count = choose_returned(paging, queue, is_alone, asked);
    struct paging_job *job = paging_job_new(paging, TASK_FETCH, queue);
    job->is_returned = true;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || asked[i].lsn != asked[i - 1].lsn) {
            paging_ask_for(&job->fetch, asked[i].entry);
        }
    }
    return submit_fetch(paging, windows, job, block_size);
}

/* Behind the last of the entries from the cursor on that lie in one chunk. */
static uint64_t
end_of_chunk(struct entry_cursor cursor, uint64_t position)
{
    const struct queue_entry *first = entry_cursor_next(&cursor);
    const struct queue_entry *entry = first;
    while (entry != NULL && content_ref_same_chunk(entry->content, first->content)) {
        position++;
        entry = entry_cursor_next(&cursor);
    }
    return position;
}

static void
fill_spill(struct io_spill *spill, uint64_t place, uint8_t *octets, size_t size, uint32_t crc)
{
    *spill = (struct io_spill){
        .number = spill_place_file(place),
        .offset = spill_place_offset(place),
        .octets = octets,
        .size = (uint32_t)size,
        .crc = crc,
    };
}

bool
paging_submit_restore(struct paging *paging, struct paging_job *job, struct content_ref content)
{
    if (!chunk_pool_begin_restore(paging->core->pool, content, &job->chunk)) {
        paging_job_free(&job);
        return false;
    }
    fill_spill(&job->spill, job->chunk.place, job->chunk.octets, job->chunk.size, job->chunk.crc);
    paging_submit(paging, job);
    return true;
}

static bool
restore_chunk(struct paging *paging, struct queue_windows *windows, struct content_ref content,
              bool is_returned, uint64_t end_position)
{
    struct paging_job *job = paging_job_new(paging, TASK_RESTORE, windows->queue);
    job->is_returned = is_returned;
    job->end_position = end_position;
    windows->is_fetching = paging_submit_restore(paging, job, content);
    return windows->is_fetching;
}

bool
paging_read_entries(struct paging *paging, struct entry_deque *deque, struct queue *queue)
{
    if (!paging_is_open(paging)) {
        return false;
    }
    struct paging_job *job = paging_job_new(paging, TASK_READ_ENTRIES, queue);
    if (!entry_deque_begin_read(deque, &job->entries)) {
        paging_job_free(&job);
        return false;
    }
    fill_spill(&job->spill, job->entries.place, job->entries.octets, job->entries.size,
               job->entries.crc);
    paging_submit(paging, job);
    return true;
}

/* Moves next_position over what is in memory, and asks for what is not, if that is within the
 * horizon. */
static bool
ask_ahead(struct paging *paging, struct queue_windows *windows)
{
    struct queue *queue = windows->queue;
    uint64_t head = queue_deque_position(queue);
    if (windows->next_position < head) {
        windows->next_position = head;
    }
    struct entry_cursor cursor = entry_deque_seek(&queue->deque, windows->next_position - head);
    while (windows->next_position < head + HORIZON) {
        struct entry_cursor here = cursor;
        const struct queue_entry *entry = entry_cursor_next(&cursor);
        if (entry == NULL || windows->next_position == windows->stop_position) {
            return false;
        }
        switch (place_of(paging, entry)) {
        case CONTENT_IN_MEMORY:
            windows->next_position++;
            break;
        case CONTENT_IN_LOG:
            return fetch_ahead(paging, windows, here);
        case CONTENT_SPILLED:
            return restore_chunk(paging, windows, entry->content, false,
                                 end_of_chunk(here, windows->next_position));
        case CONTENT_COMING:
        case CONTENT_LOST:
            return false;
        }
    }
    return false;
}

/* Ahead of a head that is there. */
static void
read_ahead(struct paging *paging, struct queue_windows *windows)
{
    if (windows->used_ms != paging->core->now.monotonic_ms) {
        windows->used_ms = paging->core->now.monotonic_ms;
        list_remove(&windows->link);
        list_append(&paging->active, &windows->link);
    }
    paging_give_up_passed(paging, windows);
    bool is_due = !windows->is_fetching && windows->window_count < WINDOWS_AHEAD &&
                  !queue_head_is_returned(windows->queue) &&
                  windows->next_position < queue_deque_position(windows->queue) + HORIZON / 2;
    if (is_due && paging_is_open(paging) && paging_has_room_ahead(paging, FETCH_WINDOW)) {
        (void)ask_ahead(paging, windows);
    }
}

static bool
ask_for_head(struct paging *paging, struct queue_windows *windows, enum content_place place)
{
    struct queue *queue = windows->queue;
    paging_give_up_passed(paging, windows);
    if (place == CONTENT_COMING || !paging_is_open(paging)) {
        return false;
    }
    if (!paging_make_room(paging, FETCH_WINDOW)) {
        /* Who waits for room holds none: otherwise all might wait for each other. */
        paging_give_up_all(paging, windows);
        return false;
    }
    if (queue_head_is_returned(queue)) {
        return place == CONTENT_SPILLED
                   ? restore_chunk(paging, windows, queue_peek(queue)->content, true, 0)
                   : fetch_returned(paging, windows);
    }
    windows->next_position = queue_deque_position(queue);
    windows->stop_position = 0;
    return ask_ahead(paging, windows);
}

/* What cannot be read ----------------------------------------------------------------------------
 */

void
paging_tell_unreadable(struct paging *paging, struct queue *queue, const struct queue_entry *entry,
                       const struct log_failure *failure)
{
    if (!queue->deleted) {
        paging_windows_of(paging, queue)->unreadable_count++;
    }
    paging->counters.unreadable++;
    char text[QUEUE_FIELDS_SIZE];
    log_limited(paging->core->log, LOG_LEVEL_ERROR, "message.unreadable",
                "%s lsn=%" PRIu64 " what=\"%s\" file=%s offset=%" PRIu64
                " action=\"set aside; it stays in the log\"",
                vhost_queue_fields(queue, text), queue_entry_lsn(entry),
                failure->what == NULL ? "check" : failure->what, failure->file, failure->offset);
}

static void
set_aside(struct paging *paging, struct queue *queue, const struct log_failure *failure)
{
    struct queue_entry entry;
    uint64_t position;
    bool taken = queue_pop(queue, &entry, &position);
    assert(taken);
    paging_tell_unreadable(paging, queue, &entry, failure);
    core_set_failures_aside(paging->core, queue, &entry, position);
    queue_entry_release(&entry, paging->core->pool);
}

/* A message of no log whose spill file failed. */
static SELDOM void
lose_head(struct paging *paging, struct queue *queue)
{
    struct queue_entry entry;
    uint64_t position;
    bool taken = queue_pop(queue, &entry, &position);
    assert(taken);
    if (queue_entry_lsn(&entry) != 0) {
        paging_windows_of(paging, queue)->unreadable_count++;
        paging->counters.unreadable++;
    } else {
        paging->counters.lost++;
    }
    core_set_failures_aside(paging->core, queue, &entry, position);
    queue_entry_release(&entry, paging->core->pool);
}

/* The next message ----------------------------------------------------------------------------- */

const struct queue_entry *
core_head_in_memory(struct core *core, struct queue *queue)
{
    struct paging *paging = core->paging;
    if (paging == NULL) {
        return queue_peek(queue);
    }
    if (entry_deque_wants_read(&queue->deque)) {
        (void)paging_read_entries(paging, &queue->deque, queue);
    }
    while (queue->ready_count > 0) {
        const struct queue_entry *head = queue_peek(queue);
        if (head == NULL) {
            if (entry_deque_wants_read(&queue->deque)) {
                paging_wait_for_room(paging, paging_windows_of(paging, queue));
            }
            return NULL;
        }
        enum content_place place = chunk_pool_place(core->pool, head->content);
        if (place == CONTENT_IN_MEMORY) {
            if (queue->windows == NULL) {
                return head;
            }
            read_ahead(paging, queue->windows);
            return queue_peek(queue);
        }
        if (place != CONTENT_LOST) {
            struct queue_windows *windows = paging_windows_of(paging, queue);
            if (!windows->is_fetching && !ask_for_head(paging, windows, place)) {
                paging_wait_for_room(paging, windows);
            }
            return NULL;
        }
        lose_head(paging, queue);
    }
    return NULL;
}

static void
read_entries(struct paging *paging, struct queue *queue, struct entry_deque *deque)
{
    if (entry_deque_wants_read(deque) && !paging_read_entries(paging, deque, queue)) {
        paging_wait_for_room(paging, paging_windows_of(paging, queue));
    }
}

void
core_read_entries(struct core *core, struct queue *queue)
{
    struct paging *paging = core->paging;
    if (paging == NULL) {
        return;
    }
    read_entries(paging, queue, &queue->deque);
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        read_entries(paging, queue, &queue->levels->of[i].deque);
    }
}

/* Coming back ---------------------------------------------------------------------------------- */

/* Which of the contents the entry wants; -1: none. */
static int
find_fetched(const struct io_fetch *fetch, uint64_t lsn)
{
    int low = 0;
    int high = (int)fetch->fetched_count - 1;
    while (low <= high) {
        int middle = low + (high - low) / 2;
        if (fetch->lsns[middle] == lsn) {
            return middle;
        }
        if (fetch->lsns[middle] < lsn) {
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    return -1;
}

bool
paging_patch(struct chunk_pool *pool, struct queue_entry *entry, const struct io_fetch *fetch,
             struct content_ref chunk)
{
    uint64_t lsn = queue_entry_lsn(entry);
    int at = find_fetched(fetch, lsn);
    if (at < 0 || chunk_pool_place(pool, entry->content) != CONTENT_IN_LOG) {
        return at >= 0;
    }
    queue_entry_release(entry, pool);
    entry->content = content_ref_at(chunk, fetch->offsets[at]);
    queue_entry_retain(entry, pool);
    return true;
}

/* Patches entries of the deque up to `end_position`; returns behind the last that was not left out.
 * Another level may have come to the front since they were asked for. */
static uint64_t
patch_deque(struct paging *paging, struct queue_windows *windows, const struct paging_job *job,
            struct content_ref chunk)
{
    struct queue *queue = windows->queue;
    uint64_t first = queue_first_position_of(queue, job->end_position);
    uint64_t position = first;
    if (windows->next_position > position && windows->next_position <= job->end_position) {
        position = windows->next_position;
    }
    struct entry_cursor cursor =
        entry_deque_seek(queue_deque_of(queue, job->end_position), position - first);
    struct queue_entry *entry;
    while (position < job->end_position && (entry = entry_cursor_next(&cursor)) != NULL) {
        bool is_patched = paging_patch(paging->core->pool, entry, &job->fetch, chunk);
        if (!is_patched && place_of(paging, entry) != CONTENT_IN_MEMORY) {
            break;
        }
        position++;
    }
    return position;
}

static void
patch_returned(struct paging *paging, struct queue *queue, const struct io_fetch *fetch,
               struct content_ref chunk)
{
    for (uint32_t i = 0; i < queue->returned_count && i < 2 * FETCH_ENTRIES_MAX; i++) {
        struct queue_entry *entry = queue_returned_entry(queue, i);
        if (entry != NULL && paging_patch(paging->core->pool, entry, fetch, chunk)) {
            queue_note_patched(queue, i);
        }
    }
}

/* Makes a chunk of the block and gives the entries their contents. False: no slot for it. */
static bool
take_in(struct paging *paging, struct queue_windows *windows, struct paging_job *job)
{
    struct io_fetch *fetch = &job->fetch;
    struct window window = {.octets = fetch->block_size};
    if (chunk_pool_adopt(paging->core->pool, fetch->block, fetch->block_size, &window.chunk) !=
        STATUS_OK) {
        return false;
    }
    paging->counters.fetched_contents += fetch->fetched_count;
    if (job->is_returned) {
        patch_returned(paging, windows->queue, fetch, window.chunk);
    } else {
        windows->next_position = patch_deque(paging, windows, job, window.chunk);
        window.end_position = windows->next_position;
    }
    paging_add_window(paging, windows, &window, job->is_returned);
    return true;
}

static bool
head_is(const struct paging *paging, const struct queue *queue, uint64_t lsn)
{
    const struct queue_entry *head = queue_peek(queue);
    return head != NULL && queue_entry_lsn(head) == lsn &&
           chunk_pool_place(paging->core->pool, head->content) == CONTENT_IN_LOG;
}

/* The head may be among those that did not fit. */
static bool
head_is_in_log(const struct paging *paging, const struct queue *queue)
{
    const struct queue_entry *head = queue_peek(queue);
    return head != NULL && chunk_pool_place(paging->core->pool, head->content) == CONTENT_IN_LOG;
}

/* Nothing came: the block was too small, or the first content cannot be had. What was asked for
 * ahead of time is asked for once more when it is the head. */
static void
on_nothing(struct paging *paging, struct queue_windows *windows, const struct paging_job *job)
{
    const struct io_fetch *fetch = &job->fetch;
    windows->is_alone = true;
    if (job->io.status == STATUS_OK && fetch->block_size < BLOCK_SIZE_MAX) {
        windows->block_size = fetch->block_size * 2;
    } else if (job->io.status == STATUS_NO_MEMORY) {
        paging_wait_for_room(paging, windows);
    } else if (head_is(paging, windows->queue, fetch->lsns[0])) {
        set_aside(paging, windows->queue, &job->io.failure);
    } else {
        windows->stop_position = windows->next_position;
    }
}

void
paging_end_fetch(struct paging *paging, struct paging_job *job)
{
    struct queue *queue = queue_ref(job->queue);
    struct queue_windows *windows = queue->windows;
    paging->window_octets -= job->fetch.block_size;
    if (windows != NULL) {
        windows->is_fetching = false;
    }
    if (windows == NULL || job->fetch.fetched_count == 0 || !take_in(paging, windows, job)) {
        chunk_pool_take_back_block(paging->core->pool, job->fetch.block, job->fetch.block_size);
    }
    if (windows != NULL && job->fetch.fetched_count == 0) {
        on_nothing(paging, windows, job);
    } else if (windows != NULL) {
        windows->block_size = FETCH_WINDOW;
        windows->is_alone = job->is_returned && head_is_in_log(paging, queue);
    }
    paging_job_free(&job);
    core_head_is_there(paging->core, queue);
    queue_unref(&queue);
}

void
paging_log_spill_failure(struct paging *paging, const struct paging_job *job, const char *event)
{
    log_limited(paging->core->log, LOG_LEVEL_ERROR, event, "what=\"%s\" file=%s offset=%" PRIu64,
                job->io.failure.what == NULL ? "check" : job->io.failure.what, job->io.failure.file,
                job->spill.offset);
}

struct content_ref
paging_take_restored(struct paging *paging, struct paging_job *job)
{
    struct chunk_pool *pool = paging->core->pool;
    bool is_read = job->io.status == STATUS_OK;
    chunk_pool_end_restore(pool, &job->chunk, is_read);
    if (is_read) {
        return job->chunk.chunk;
    }
    paging_log_spill_failure(paging, job, "chunk.lost");
    chunk_pool_release(pool, job->chunk.chunk);
    return (struct content_ref){0};
}

void
paging_end_restore(struct paging *paging, struct paging_job *job)
{
    struct queue *queue = queue_ref(job->queue);
    struct queue_windows *windows = queue->windows;
    bool is_read = job->io.status == STATUS_OK;
    chunk_pool_end_restore(paging->core->pool, &job->chunk, is_read);
    if (!is_read) {
        paging_log_spill_failure(paging, job, "chunk.lost");
    }
    struct window window = {
        .chunk = job->chunk.chunk, .octets = job->chunk.size, .end_position = job->end_position};
    if (windows != NULL) {
        windows->is_fetching = false;
    }
    if (windows != NULL && is_read) {
        paging_add_window(paging, windows, &window, job->is_returned);
        if (!job->is_returned && windows->next_position < job->end_position) {
            windows->next_position = job->end_position;
        }
    } else {
        chunk_pool_release(paging->core->pool, window.chunk);
    }
    paging_job_free(&job);
    core_head_is_there(paging->core, queue);
    paging_wake_waiting(paging);
    queue_unref(&queue);
}

void
paging_end_read(struct paging *paging, struct paging_job *job)
{
    struct queue *queue = job->queue == NULL ? NULL : queue_ref(job->queue);
    struct entry_loss loss;
    const struct entry_deque *deque = entry_pages_deque(job->entries.pages);
    bool is_read = job->io.status == STATUS_OK;
    enum status status = entry_pages_end_read(&job->entries, is_read, &loss);
    if (status == STATUS_OK && !is_read) {
        paging_log_spill_failure(paging, job, "entries.lost");
        paging->counters.lost += loss.count;
        if (queue != NULL) {
            queue_lose(queue, deque, &loss);
        }
    }
    paging_job_free(&job);
    if (queue != NULL) {
        core_head_is_there(paging->core, queue);
        queue_unref(&queue);
    }
}
