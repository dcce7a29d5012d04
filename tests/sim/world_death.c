/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: the history learns from the core which message dies, and when one that is dying was
 * moved, for that may take its time; and from nobody else whether it arrived. */
#include "base/assert.h"
#include "broker/topology/vhost.h"
#include "tests/sim/body.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* Hearing -------------------------------------------------------------------------------------- */

uint32_t
world_find_message(const struct world *world, const struct queue_entry *entry)
{
    if (queue_entry_lsn(entry) != 0) {
        return history_logged_message(&world->history, queue_entry_lsn(entry));
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
        return HISTORY_TRIED_OUT;
    case DEATH_REASON_COUNT:
        break;
    }
    assert(!"a reason");
    return HISTORY_REJECTED;
}

uint32_t
world_find_handle(const struct world *world, const struct queue *queue)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        if (handle != HISTORY_NONE && world->history.queues[handle].id == queue->target.id) {
            return queue->deleted ? HISTORY_NONE : handle;
        }
    }
    return HISTORY_NONE;
}

/* One that was overdue when it came has none. */
static uint64_t
deadline_of(const struct world *world, const struct queue_entry *entry)
{
    return entry->due <= DUE_AT_ONCE + 1
               ? 0
               : world->server.core->base_ms + (uint64_t)entry->due * DUE_STEP_MS;
}

static uint32_t
failure_count(const struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    const struct failure_row *row =
        queue_entry_has_failed(entry) ? queue_find_failure(queue, position) : NULL;
    return row == NULL ? 0 : row->delivery_count;
}

void
world_hear_death(struct world *world, const struct queue *queue, const struct queue_entry *entry,
                 uint64_t position, enum death_reason reason)
{
    uint32_t handle = world_find_handle(world, queue);
    if (handle == HISTORY_NONE) {
        return;
    }
    world_see_deaths(world);
    bool is_refused = reason == DEATH_MAXLEN && queue->settings->overflow != OVERFLOW_DROP_HEAD;
    if (is_refused && world->is_committing) {
        return; /* the commit tells; nothing dies in such a world */
    }
    struct history_death death = {
        .reason = reason_of(reason),
        .is_refused = is_refused,
        .has_failed = queue_entry_has_failed(entry),
        .failure_count = failure_count(queue, entry, position),
        .message = world_find_message(world, entry),
        .size = entry->size,
        .lsn = queue_entry_lsn(entry),
        .position = position,
        .deadline_ms = deadline_of(world, entry),
        .copy = world->settling_copy,
        .note = world->settling_note,
    };
    world_note(world, "death", handle, death.message, (uint64_t)reason);
    history_hear_death(&world->history, handle, &death, server_log_first(&world->server));
}

void
world_hear_move(struct world *world, const struct queue *queue)
{
    uint32_t handle = world->history.queue_count;
    while (world->history.queues[--handle].id != queue->target.id) {
    }
    *HISTORY_PUSH(world->moves, world->move_count, world->move_capacity) =
        (struct world_move){.queue = handle, .is_parked = world->is_parking};
    world->is_parking = false;
}

/* Seeing --------------------------------------------------------------------------------------- */

void
world_see_deaths(struct world *world)
{
    struct history_span span = server_span_from(&world->server, world->death_first);
    for (uint32_t i = 0; i < world->move_count; i++) {
        struct world_move move = world->moves[i];
        world_note(world, move.is_parked ? "parked" : "moved", move.queue, 0, 0);
        if (move.is_parked) {
            history_park_dead(&world->history, move.queue, span);
        } else {
            history_move_dead(&world->history, move.queue, span);
        }
    }
    world->move_count = 0;
    world->death_first = server_log_first(&world->server);
}

bool
world_has_dying(const struct world *world)
{
    for (uint32_t i = 0; i < world->history.queue_count; i++) {
        if (world->history.queues[i].dying_count > 0 && !world->history.queues[i].is_over) {
            return true;
        }
    }
    return false;
}

void
world_forget_deaths(struct world *world)
{
    world->move_count = 0;
}
