/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/paging/paging.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/desk/desk_walk.h"
#include "broker/desk/pending.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"

void
core_attach_paging(struct core *core, const struct io_port *port)
{
    assert(core->paging == NULL);
    struct paging *paging = xalloc(sizeof(*paging));
    paging->core = core;
    paging->port = *port;
    paging->space = spill_space_new();
    list_init(&paging->active);
    list_init(&paging->waiting);
    list_init(&paging->walks);
    list_init(&paging->written);
    core->paging = paging;
    core->queue_memory.space = paging->space;
    chunk_pool_use_spill(core->pool, paging->space);
}

void
core_set_paging_port(struct core *core, const struct io_port *port, uint64_t committed_lsn)
{
    if (core->paging != NULL) {
        core->paging->port = port == NULL ? (struct io_port){0} : *port;
        core->paging->committed_lsn = committed_lsn;
    }
}

const struct paging_counters *
core_paging_counters(const struct core *core)
{
    static const struct paging_counters none;
    return core->paging == NULL ? &none : &core->paging->counters;
}

/* Jobs ----------------------------------------------------------------------------------------- */

struct paging_job *
paging_job_new(struct paging *paging, enum paging_task task, struct queue *queue)
{
    struct paging_job *job = xalloc(sizeof(*job));
    (void)paging;
    job->task = task;
    job->queue = queue == NULL ? NULL : queue_ref(queue);
    if (task == TASK_FETCH) {
        job->io.type = IO_FETCH;
        job->io.fetch = &job->fetch;
    } else {
        job->io.type = IO_SPILL;
        job->io.spill = &job->spill;
    }
    return job;
}

void
paging_job_free(struct paging_job **job_pointer)
{
    struct paging_job *job = *job_pointer;
    *job_pointer = NULL;
    queue_unref(&job->queue);
    free(job);
}

void
paging_submit(struct paging *paging, struct paging_job *job)
{
    paging->port.submit(paging->port.context, &job->io);
}

/* What a reading could not have may be had the next time: no descriptor, or no memory, was free.
 * Octets that came and were not right do not get better. */
static bool
is_tried_again(struct paging *paging, struct paging_job *job)
{
    enum { TRIES_MAX = 4 };
    bool is_reading = job->task == TASK_FETCH || job->task == TASK_RESTORE ||
                      job->task == TASK_READ_ENTRIES || job->task == TASK_LOOK_AT_ENTRIES;
    if (!is_reading || job->io.status != STATUS_IO || !paging_is_open(paging) ||
        ++job->tries >= TRIES_MAX) {
        return false;
    }
    paging_submit(paging, job);
    return true;
}

static void
end_fetch(struct core *core, struct paging_job *job)
{
    if (job->desk != NULL) {
        desk_walk_end_fetch(core, job);
    } else if (job->pending != NULL) {
        pending_end_fetch(core, job);
    } else if (job->is_dying) {
        paging_end_dying_fetch(core->paging, job);
    } else {
        paging_end_fetch(core->paging, job);
    }
}

static void
end_restore(struct core *core, struct paging_job *job)
{
    if (job->desk != NULL) {
        desk_walk_end_restore(core, job);
    } else if (job->pending != NULL) {
        pending_end_restore(core, job);
    } else if (job->is_dying) {
        paging_end_dying_restore(core->paging, job);
    } else {
        paging_end_restore(core->paging, job);
    }
}

/* A job that has written something gives memory up, which the tick's output may still name: that
 * waits until the tick ends. */
void
core_job_done(struct core *core, struct io_job *io)
{
    struct paging *paging = core->paging;
    struct paging_job *job = CONTAINER_OF(io, struct paging_job, io);
    if (is_tried_again(paging, job)) {
        return;
    }
    switch (job->task) {
    case TASK_FETCH:
        end_fetch(core, job);
        break;
    case TASK_RESTORE:
        end_restore(core, job);
        break;
    case TASK_READ_ENTRIES:
        paging_end_read(paging, job);
        break;
    case TASK_LOOK_AT_ENTRIES:
        desk_walk_end_look(core, job);
        break;
    case TASK_SPILL_CHUNK:
    case TASK_SPILL_ENTRIES:
        list_append(&paging->written, &job->link);
        break;
    case TASK_REMOVE_FILE:
        paging_job_free(&job);
        break;
    }
}

void
paging_free(struct paging **paging_pointer)
{
    struct paging *paging = *paging_pointer;
    if (paging == NULL) {
        return;
    }
    *paging_pointer = NULL;
    assert(list_is_empty(&paging->active));
    assert(list_is_empty(&paging->written));
    assert(paging->spills == 0);
    timer_cancel(&paging->core->timers, &paging->retry);
    paging->core->queue_memory.space = NULL;
    chunk_pool_use_spill(paging->core->pool, NULL);
    spill_space_free(&paging->space);
    free(paging);
}
