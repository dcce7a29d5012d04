/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: the history learns from the core which message dies, and when one that is dying was
 * moved, for that may take its time; and from nobody else whether it arrived. */
#include "base/assert.h"
#include "broker/vhost.h"
#include "tests/sim/body.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* Hearing -------------------------------------------------------------------------------------- */

void
world_hear_logged(struct world *world, uint64_t lsn, uint32_t message)
{
    while (world->logged_count > 0 && world->logged[world->logged_count - 1].lsn >= lsn) {
        world->logged_count--; /* a crash has taken those out of the log */
    }
    *HISTORY_PUSH(world->logged, world->logged_count, world->logged_capacity) =
        (struct world_logged){.lsn = lsn, .message = message};
}

static uint32_t
find_logged(const struct world *world, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = world->logged_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (world->logged[middle].lsn < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < world->logged_count);
    assert(world->logged[low].lsn == lsn);
    return world->logged[low].message;
}

/* By its body, by its place in the log, or HISTORY_NONE: it is transient and was spilled. */
static uint32_t
find_message(const struct world *world, const struct queue_entry *entry)
{
    if (queue_entry_lsn(entry) != 0) {
        return find_logged(world, queue_entry_lsn(entry));
    }
    const struct chunk_pool *pool = world->server.core->pool;
    if (chunk_pool_place(pool, entry->content) != CONTENT_IN_MEMORY) {
        return HISTORY_NONE;
    }
    return body_number(content_body(chunk_pool_content(pool, entry->content)));
}

static enum history_reason
reason_of(enum death_reason reason)
{
    switch (reason) {
    case DEATH_REJECTED:
        return HISTORY_REJECTED;
    case DEATH_EXPIRED:
        return HISTORY_EXPIRED;
    case DEATH_MAXLEN:
        return HISTORY_TOO_MANY;
    case DEATH_DELIVERY_LIMIT:
    case DEATH_REASON_COUNT:
        break;
    }
    assert(!"no client counts deliveries");
    return HISTORY_REJECTED;
}

/* Of a queue that is there, or HISTORY_NONE. */
static uint32_t
find_handle(const struct world *world, const struct queue *queue)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        if (handle != HISTORY_NONE && world->history.queues[handle].id == queue->target.id) {
            return queue->deleted ? HISTORY_NONE : handle;
        }
    }
    return HISTORY_NONE;
}

void
world_hear_death(struct world *world, const struct queue *queue, const struct queue_entry *entry,
                 enum death_reason reason)
{
    uint32_t handle = find_handle(world, queue);
    if (handle == HISTORY_NONE) {
        return;
    }
    world_see_deaths(world);
    struct history_death death = {
        .reason = reason_of(reason),
        .is_refused = reason == DEATH_MAXLEN && queue->settings->overflow != OVERFLOW_DROP_HEAD,
        .message = find_message(world, entry),
        .lsn = queue_entry_lsn(entry),
        .deadline_ms = world->server.core->base_ms + (uint64_t)entry->due * DUE_STEP_MS,
    };
    world_note(world, "death", handle, death.message, (uint64_t)reason);
    uint64_t first = server_log_first(&world->server);
    history_hear_death(&world->history, handle, &death, first);
    world_note_death(world, handle, first);
}

/* Seeing --------------------------------------------------------------------------------------- */

void
world_note_death(struct world *world, uint32_t handle, uint64_t first)
{
    const struct history_queue *queue = &world->history.queues[handle];
    for (uint32_t i = 0; i < world->dying_count; i++) {
        if (world->dying[i].handle == handle) {
            return;
        }
    }
    if (queue->dying_count == 0) {
        return;
    }
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    struct queue *found = vhost_find_queue(vhost, bytes_of(sim_queue_name(queue->name)));
    assert(found != NULL);
    assert(found->target.id == queue->id);
    assert(world->dying_count < WORLD_DYING_MAX);
    world->death_first = world->dying_count == 0 ? first : world->death_first;
    world->dying[world->dying_count++] =
        (struct world_dying){.handle = handle, .queue = queue_ref(found)};
}

/* What the core has fewer of than the history. While the history has not heard of the newest
 * deaths, the core may have more. */
static void
see_queue(struct world *world, const struct world_dying *dying, struct history_span span)
{
    uint64_t left = dying->queue->dying == NULL ? 0 : dying->queue->dying->count;
    uint32_t known = world->history.queues[dying->handle].dying_count;
    if (left < known) {
        world_note(world, "dead letters", dying->handle, known - left, left);
        history_move_dead(&world->history, dying->handle, known - (uint32_t)left, span);
    }
}

void
world_see_deaths(struct world *world)
{
    if (world->dying_count == 0) {
        return;
    }
    struct history_span span = server_span_from(&world->server, world->death_first);
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < world->dying_count; i++) {
        struct world_dying dying = world->dying[i];
        see_queue(world, &dying, span);
        if (world->history.queues[dying.handle].dying_count > 0) {
            world->dying[kept_count++] = dying;
        } else {
            queue_unref(&dying.queue);
        }
    }
    world->dying_count = kept_count;
    world->death_first = server_log_first(&world->server);
}

void
world_forget_deaths(struct world *world)
{
    while (world->dying_count > 0) {
        queue_unref(&world->dying[--world->dying_count].queue);
    }
}
