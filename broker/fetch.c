/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/fetch.h"

#include "base/alloc.h"
#include "broker/durability.h"
#include "store/fetch.h"

#include <inttypes.h>
#include <stdlib.h>

/* What a content takes beside its body, at most: header, names, and properties of one frame. */
enum { CONTENT_EXTRA = sizeof(struct content) + 2 * UINT8_MAX + 8 };

struct core_fetch {
    struct io_job job; /* first: CONTAINER_OF */
    struct io_fetch fetch;
    struct queue *queue; /* a reference */
};

static bool
is_absent(const struct core *core, const struct queue_entry *entry)
{
    return chunk_pool_place(core->pool, entry->content) == CONTENT_IN_LOG;
}

static void
note(struct io_fetch *fetch, const struct queue_entry *entry)
{
    fetch->lsns[fetch->count] = queue_entry_lsn(entry);
    fetch->sizes[fetch->count] = entry->size;
    fetch->count++;
}

/* The next messages whose contents are absent, one behind the other. */
static void
choose(const struct core *core, const struct queue *queue, struct io_fetch *fetch)
{
    if (queue->returned_count > 0) {
        note(fetch, queue_peek(queue));
        return;
    }
    struct entry_cursor cursor = entry_deque_seek(&queue->deque, 0);
    uint64_t octets = 0;
    const struct queue_entry *entry;
    while (fetch->count < FETCH_ENTRIES_MAX && octets < FETCH_WINDOW &&
           (entry = entry_cursor_next(&cursor)) != NULL && is_absent(core, entry)) {
        note(fetch, entry);
        octets += entry->size;
    }
}

static uint32_t
block_size(const struct core *core, const struct io_fetch *fetch)
{
    uint64_t frame = core->settings.frame_max != 0 ? core->settings.frame_max : 1 << 20;
    uint64_t first = (uint64_t)fetch->sizes[0] + CONTENT_EXTRA + frame;
    return (uint32_t)(first > FETCH_WINDOW ? first : FETCH_WINDOW);
}

/* Without memory the queue waits; the next message or consumer asks again. */
static bool
start(struct core *core, struct queue *queue)
{
    struct core_fetch *fetch = xalloc(sizeof(*fetch));
    choose(core, queue, &fetch->fetch);
    fetch->fetch.block_size = block_size(core, &fetch->fetch);
    fetch->fetch.block = chunk_pool_lend_block(core->pool, fetch->fetch.block_size);
    if (fetch->fetch.block == NULL) {
        free(fetch);
        return false;
    }
    fetch->queue = queue_ref(queue);
    fetch->job = (struct io_job){.type = IO_FETCH, .fetch = &fetch->fetch};
    core->ports.io.submit(core->ports.io.context, &fetch->job);
    return true;
}

bool
core_head_is_in_memory(struct core *core, struct queue *queue)
{
    const struct queue_entry *head = queue_peek(queue);
    if (head == NULL || !is_absent(core, head)) {
        return true;
    }
    if (!queue->is_fetching) {
        queue->is_fetching = start(core, queue);
    }
    return false;
}

/* Gives the entry its content, if it is the one that was fetched. */
static void
place(struct core *core, struct queue_entry *entry, const struct io_fetch *fetch, uint32_t at,
      struct content_ref chunk)
{
    if (queue_entry_lsn(entry) != fetch->lsns[at] || !is_absent(core, entry)) {
        return;
    }
    queue_entry_release(entry, core->pool);
    entry->content = content_ref_at(chunk, fetch->offsets[at]);
    queue_entry_retain(entry, core->pool);
}

/* The queue may have changed meanwhile: what is no longer at its head is fetched again when it is
 * needed. */
static void
place_all(struct core *core, struct queue *queue, const struct io_fetch *fetch,
          struct content_ref chunk)
{
    if (queue->returned_count > 0) {
        place(core, (struct queue_entry *)(uintptr_t)queue_peek(queue), fetch, 0, chunk);
    }
    struct entry_cursor cursor = entry_deque_seek(&queue->deque, 0);
    struct queue_entry *entry;
    for (uint32_t at = 0; at < fetch->fetched_count; at++) {
        while (at == 0 && (entry = entry_cursor_next(&cursor)) != NULL &&
               queue_entry_lsn(entry) != fetch->lsns[0]) {
        }
        if (at > 0) {
            entry = entry_cursor_next(&cursor);
        }
        if (entry == NULL) {
            return;
        }
        place(core, entry, fetch, at, chunk);
    }
}

static void
take_over(struct core *core, struct core_fetch *fetch)
{
    struct content_ref chunk;
    if (fetch->fetch.fetched_count == 0 || fetch->queue->deleted ||
        chunk_pool_adopt(core->pool, fetch->fetch.block, fetch->fetch.block_size, &chunk) !=
            STATUS_OK) {
        chunk_pool_take_back_block(core->pool, fetch->fetch.block, fetch->fetch.block_size);
        return;
    }
    place_all(core, fetch->queue, &fetch->fetch, chunk);
    chunk_pool_release(core->pool, chunk);
}

void
core_job_done(struct core *core, struct io_job *job)
{
    struct core_fetch *fetch = CONTAINER_OF(job, struct core_fetch, job);
    if (job->status != STATUS_OK && fetch->fetch.fetched_count == 0) {
        log_limited(core->log, LOG_LEVEL_ERROR, "message.unreadable",
                    "file=%s offset=%" PRIu64 " status=%s", job->failure.file, job->failure.offset,
                    status_name(job->status));
    }
    take_over(core, fetch);
    fetch->queue->is_fetching = false;
    core_head_is_there(core, fetch->queue);
    queue_unref(&fetch->queue);
    free(fetch);
}
