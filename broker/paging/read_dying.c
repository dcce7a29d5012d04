/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing contents of dying messages back into memory, so that they can be moved: one job for a
 * queue at a time, and one window that is pinned until the first of those that wait is not in it,
 * or cannot be moved. */
#include <stdlib.h>

#include "base/assert.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"

void
core_give_up_dying_window(struct core *core, struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    if (!content_ref_is_set(dying->window)) {
        return;
    }
    chunk_pool_release(core->pool, dying->window);
    core->paging->window_octets -= dying->window_octets;
    dying->window = (struct content_ref){0};
    dying->window_octets = 0;
    paging_wake_waiting(core->paging);
}

void
core_heed_dying_window(struct core *core, struct queue *queue)
{
    const struct dying_message *first = queue_first_dying(queue);
    if (first == NULL || !content_ref_same_chunk(first->entry.content, queue->dying->window)) {
        core_give_up_dying_window(core, queue);
    }
}

/* Takes over the pin on `chunk`. */
static void
keep_window(struct paging *paging, struct queue *queue, struct content_ref chunk, uint64_t octets)
{
    struct queue_dying *dying = queue->dying;
    core_give_up_dying_window(paging->core, queue);
    dying->window = chunk;
    dying->window_octets = octets;
    paging->window_octets += octets;
}

/* Asking --------------------------------------------------------------------------------------- */

static int
compare_lsn(const void *left, const void *right)
{
    uint64_t a = queue_entry_lsn(*(const struct queue_entry *const *)left);
    uint64_t b = queue_entry_lsn(*(const struct queue_entry *const *)right);
    return (a > b) - (a < b);
}

/* The first, and what else is in the log only among those that follow, in the order of the log. */
static uint32_t
choose(const struct paging *paging, struct queue *queue, bool is_alone,
       const struct queue_entry *chosen[static FETCH_ENTRIES_MAX])
{
    struct dying_cursor cursor = queue_dying_begin(queue);
    const struct dying_message *message;
    uint64_t octets = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < FETCH_ENTRIES_MAX; i++) {
        message = dying_cursor_next(&cursor);
        if (message == NULL || (count > 0 && is_alone)) {
            break;
        }
        if (chunk_pool_place(paging->core->pool, message->entry.content) != CONTENT_IN_LOG) {
            continue;
        }
        octets += paging_expected_octets(&message->entry);
        if (count > 0 && octets > FETCH_WINDOW) {
            break;
        }
        chosen[count++] = &message->entry;
    }
    qsort((void *)chosen, count, sizeof(struct queue_entry *), compare_lsn);
    return count;
}

static bool
fetch(struct paging *paging, struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    uint32_t usual = dying->block_size == 0 ? FETCH_WINDOW : dying->block_size;
    uint32_t block_size = paging_block_size(usual, &queue_first_dying(queue)->entry);
    const struct queue_entry *chosen[FETCH_ENTRIES_MAX];
    uint32_t count = choose(paging, queue, dying->is_alone || block_size > FETCH_WINDOW, chosen);
    struct paging_job *job = paging_job_new(paging, TASK_FETCH, queue);
    job->is_dying = true;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || queue_entry_lsn(chosen[i]) != queue_entry_lsn(chosen[i - 1])) {
            paging_ask_for(&job->fetch, chosen[i]);
        }
    }
    dying->is_fetching = paging_submit_fetch(paging, job, block_size);
    return dying->is_fetching;
}

static bool
restore(struct paging *paging, struct queue *queue)
{
    struct paging_job *job = paging_job_new(paging, TASK_RESTORE, queue);
    job->is_dying = true;
    queue->dying->is_fetching =
        paging_submit_restore(paging, job, queue_first_dying(queue)->entry.content);
    return queue->dying->is_fetching;
}

/* The content is out of memory. */
static enum dying_content
ask(struct paging *paging, struct queue *queue, enum content_place place)
{
    core_give_up_dying_window(paging->core, queue);
    if (!paging_is_open(paging) || !paging_make_room(paging, FETCH_WINDOW)) {
        return DYING_WAITS;
    }
    bool is_asked = place == CONTENT_SPILLED ? restore(paging, queue) : fetch(paging, queue);
    return is_asked ? DYING_COMES : DYING_WAITS;
}

enum dying_content
core_bring_dying(struct core *core, struct queue *queue)
{
    const struct queue_entry *entry = &queue_first_dying(queue)->entry;
    if (queue->dying->is_fetching) {
        return DYING_COMES;
    }
    enum content_place place = chunk_pool_place(core->pool, entry->content);
    switch (place) {
    case CONTENT_IN_MEMORY:
        return DYING_IS_THERE;
    case CONTENT_LOST:
        core->paging->counters.lost++;
        return DYING_IS_LOST;
    case CONTENT_COMING: /* somebody else's job does not tell us */
        return DYING_WAITS;
    case CONTENT_IN_LOG:
    case CONTENT_SPILLED:
        break;
    }
    return ask(core->paging, queue, place);
}

/* Coming back ---------------------------------------------------------------------------------- */

/* The first may be among those that did not fit. */
static bool
first_is_in_log(const struct paging *paging, struct queue *queue)
{
    const struct dying_message *first = queue_first_dying(queue);
    return first != NULL &&
           chunk_pool_place(paging->core->pool, first->entry.content) == CONTENT_IN_LOG;
}

/* Makes a chunk of the block and gives the messages their contents. False: no slot for it. */
static bool
take_in(struct paging *paging, struct queue *queue, struct paging_job *job)
{
    struct io_fetch *fetched = &job->fetch;
    struct content_ref chunk;
    if (chunk_pool_adopt(paging->core->pool, fetched->block, fetched->block_size, &chunk) !=
        STATUS_OK) {
        return false;
    }
    paging->counters.fetched_contents += fetched->fetched_count;
    struct dying_cursor cursor = queue_dying_begin(queue);
    struct dying_message *message;
    for (uint32_t i = 0; i < FETCH_ENTRIES_MAX; i++) {
        message = dying_cursor_next(&cursor);
        if (message == NULL) {
            break;
        }
        (void)paging_patch(paging->core->pool, &message->entry, fetched, chunk);
    }
    keep_window(paging, queue, chunk, fetched->block_size);
    return true;
}

/* It stays in the log where it died, and nowhere else. */
static void
set_aside(struct paging *paging, struct queue *queue, const struct log_failure *failure)
{
    paging_tell_unreadable(paging, queue, &queue_first_dying(queue)->entry, failure);
    core_set_dying_aside(paging->core, queue);
}

/* Nothing came: the block was too small, or the content with the lowest LSN cannot be had. If that
 * is not the first one's, the first is asked for alone. */
static void
on_nothing(struct paging *paging, struct queue *queue, const struct paging_job *job)
{
    struct queue_dying *dying = queue->dying;
    const struct dying_message *first = queue_first_dying(queue);
    dying->is_alone = true;
    if (job->io.status == STATUS_OK && job->fetch.block_size < UINT32_MAX / 4) {
        dying->block_size = job->fetch.block_size * 2;
    } else if (job->io.status != STATUS_NO_MEMORY && first != NULL &&
               queue_entry_lsn(&first->entry) == job->fetch.lsns[0]) {
        set_aside(paging, queue, &job->io.failure);
    }
}

void
paging_end_dying_fetch(struct paging *paging, struct paging_job *job)
{
    struct queue *queue = queue_ref(job->queue);
    struct queue_dying *dying = queue->dying;
    paging->window_octets -= job->fetch.block_size;
    dying->is_fetching = false;
    if (job->fetch.fetched_count == 0 || !take_in(paging, queue, job)) {
        chunk_pool_take_back_block(paging->core->pool, job->fetch.block, job->fetch.block_size);
    }
    if (job->fetch.fetched_count == 0) {
        on_nothing(paging, queue, job);
    } else {
        dying->block_size = 0;
        dying->is_alone = first_is_in_log(paging, queue);
    }
    paging_job_free(&job);
    core_dying_is_there(paging->core, queue);
    queue_unref(&queue);
}

void
paging_end_dying_restore(struct paging *paging, struct paging_job *job)
{
    struct queue *queue = queue_ref(job->queue);
    struct content_ref chunk = paging_take_restored(paging, job);
    queue->dying->is_fetching = false;
    if (content_ref_is_set(chunk)) {
        keep_window(paging, queue, chunk, job->chunk.size);
    }
    paging_job_free(&job);
    core_dying_is_there(paging->core, queue);
    paging_wake_waiting(paging);
    queue_unref(&queue);
}
