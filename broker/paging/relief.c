/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves memory when it is short. From 0.8 of the memory mark on, chunks that the log has are
 * dropped, which writes nothing; what that does not bring is spilled: transient chunks and the
 * middle of long queues. Only when the mark itself is reached are publishers blocked (alarms.c).
 */
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"

#include <inttypes.h>

enum { OVERLONG_SPILLS_MAX = 4 };

static const uint64_t RETRY_MS = 1000;

/* Coming back from being written --------------------------------------------------------------- */

static void
end_spill(struct paging *paging, struct paging_job *job)
{
    bool is_written = job->io.status == STATUS_OK;
    paging->spills--;
    paging->spill_octets -= job->spill.size;
    if (!is_written) {
        log_limited(paging->core->log, LOG_LEVEL_WARN, "spill.failed",
                    "file=%s offset=%" PRIu64 " action=\"it stays in memory\"",
                    job->io.failure.file, job->spill.offset);
        paging->retry_ms = paging->core->now.monotonic_ms + RETRY_MS;
    }
    if (job->task == TASK_SPILL_CHUNK) {
        job->chunk.crc = job->spill.crc;
        chunk_pool_end_spill(paging->core->pool, &job->chunk, is_written);
    } else {
        job->entries.crc = job->spill.crc;
        entry_pages_end_spill(&job->entries, is_written, paging->core->pool);
    }
    paging_job_free(&job);
}

static void
end_written(struct paging *paging)
{
    struct list_link *link;
    while ((link = list_pop(&paging->written)) != NULL) {
        end_spill(paging, CONTAINER_OF(link, struct paging_job, link));
    }
}

/* Going out ------------------------------------------------------------------------------------ */

static void
submit_spill(struct paging *paging, struct paging_job *job, uint64_t place, uint8_t *octets,
             size_t size)
{
    job->spill = (struct io_spill){
        .is_write = true,
        .number = spill_place_file(place),
        .offset = spill_place_offset(place),
        .octets = octets,
        .size = (uint32_t)size,
    };
    paging->spills++;
    paging->spill_octets += size;
    paging_submit(paging, job);
}

static bool
spill_chunk(struct paging *paging)
{
    struct chunk_spill chunk;
    if (!chunk_pool_begin_spill(paging->core->pool, &chunk)) {
        return false;
    }
    struct paging_job *job = paging_job_new(paging, TASK_SPILL_CHUNK, NULL);
    job->chunk = chunk;
    submit_spill(paging, job, chunk.place, chunk.octets, chunk.size);
    return true;
}

static bool
spill_entries(struct paging *paging, bool under_pressure)
{
    struct entry_spill entries;
    if (!entry_memory_begin_spill(&paging->core->queue_memory, under_pressure, &entries)) {
        return false;
    }
    struct paging_job *job = paging_job_new(paging, TASK_SPILL_ENTRIES, NULL);
    job->entries = entries;
    submit_spill(paging, job, entries.place, entries.octets, entries.size);
    return true;
}

static void
spill_overlong(struct paging *paging)
{
    while (paging->spills < OVERLONG_SPILLS_MAX && spill_entries(paging, false)) {
    }
}

static void
spill_under_pressure(struct paging *paging, uint64_t octets)
{
    uint64_t wanted = paging->spill_octets + octets;
    bool found = true;
    while (found && paging->spills < SPILLS_MAX && paging->spill_octets < wanted) {
        found = spill_chunk(paging);
        found = spill_entries(paging, true) || found;
    }
}

static void
remove_empty_files(struct paging *paging)
{
    uint64_t number;
    while (spill_space_take_empty(paging->space, &number)) {
        struct paging_job *job = paging_job_new(paging, TASK_REMOVE_FILE, NULL);
        job->spill = (struct io_spill){.is_removal = true, .number = number};
        paging_submit(paging, job);
    }
}

static void
read_discards(struct paging *paging)
{
    struct entry_deque *deque = queue_discards_wants_read(&paging->core->discards);
    if (deque != NULL) {
        (void)paging_read_entries(paging, deque, NULL);
    }
}

/* How much has to go: 0 when memory is not short. What is on its way out counts as gone. */
static uint64_t
excess(const struct paging *paging)
{
    const struct core *core = paging->core;
    uint64_t used = chunk_pool_bytes(core->pool) + core->queue_memory.bytes;
    uint64_t low = core->settings.memory_mark_bytes / 10 * 8 + paging->spill_octets;
    return core->settings.memory_mark_bytes == 0 || used <= low ? 0 : used - low;
}

/* Chunks that are out of memory have a slot while entries in memory name them. */
static bool
slots_are_short(const struct paging *paging)
{
    return chunk_pool_slots_used(paging->core->pool) > (1U << CHUNK_SLOT_BITS) / 4 * 3;
}

static uint64_t
committed_lsn(const struct paging *paging)
{
    const struct journal *journal = paging->core->journal;
    uint64_t commit_lsn = journal == NULL ? 0 : journal_commit_lsn(journal);
    return commit_lsn > paging->committed_lsn ? commit_lsn : paging->committed_lsn;
}

static void
relieve(struct paging *paging)
{
    const struct core *core = paging->core;
    uint64_t wanted = excess(paging);
    paging->core->queue_memory.busy_lsn = committed_lsn(paging);
    bool may_spill = paging->retry_ms <= core->now.monotonic_ms;
    if (wanted > 0) {
        uint64_t dropped = chunk_pool_drop(core->pool, wanted, committed_lsn(paging));
        wanted -= dropped < wanted ? dropped : wanted;
    }
    if (wanted > 0) {
        paging_drop_idle_windows(paging, wanted);
    }
    if (may_spill && wanted > 0) {
        spill_under_pressure(paging, wanted);
    } else if (may_spill && slots_are_short(paging)) {
        while (paging->spills < SPILLS_MAX && spill_entries(paging, true)) {
        }
    }
    if (may_spill) {
        spill_overlong(paging);
    }
}

void
core_relieve_memory(struct core *core)
{
    struct paging *paging = core->paging;
    if (paging == NULL) {
        return;
    }
    end_written(paging);
    if (paging_is_open(paging)) {
        relieve(paging);
        read_discards(paging);
        remove_empty_files(paging);
    }
}

void
core_relieve_recovery(struct core *core)
{
    struct paging *paging = core->paging;
    if (paging == NULL) {
        return;
    }
    do {
        end_written(paging);
        bool is_short = excess(paging) > 0;
        while (paging->spills < SPILLS_MAX && spill_entries(paging, is_short)) {
        }
    } while (!list_is_empty(&paging->written));
}
