/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait: the history learns from the core which of them comes in, and what waits in a
 * new one. */
#include "queues/waiting.h"

#include "broker/desk/pending.h"
#include "broker/topology/vhost.h"
#include "queues/unacked.h"
#include "tests/sim/world.h"

/* By the clock that the history has. */
static uint64_t
due_of_row(const struct world *world, const struct due_row *row)
{
    return row->key.due_ms == PARKED_MS
               ? HISTORY_PARKED_MS
               : world->server.core->base_ms + row->key.due_ms - WAITING_EPOCH_MS;
}

void
world_hear_push(struct world *world, const struct queue *queue, const struct queue_entry *entry,
                uint64_t position)
{
    uint32_t handle = world->is_starting ? HISTORY_NONE : world_find_handle(world, queue);
    if (handle == HISTORY_NONE) {
        return;
    }
    struct history_position given = {
        .message = world_find_message(world, entry), .size = entry->size, .position = position};
    history_hear_position(&world->history, handle, given);
}

void
world_hear_coming(struct world *world, const struct queue *queue, const struct due_row *row)
{
    uint32_t handle = world_find_handle(world, queue);
    if (handle == HISTORY_NONE || world->is_sending) {
        return;
    }
    world_see_deaths(world);
    struct history_coming coming = {
        .message = world_find_message(world, &row->entry),
        .size = row->entry.size,
        .lsn = queue_entry_lsn(&row->entry),
        .position = row->key.position,
        .due_ms = due_of_row(world, row),
        .is_retry = (row->key.position & QUEUE_POSITION_DELAYED) == 0,
        .is_released = world->operation == OPERATION_RELEASE,
        .is_taken = world->operation == OPERATION_CANCEL,
        .first = server_log_first(&world->server),
    };
    world_note(world, "comes in", handle, coming.message, coming.due_ms);
    if (world->is_in_bulk) {
        world_hear_bulk(world, handle, coming.message, (uint32_t)due_row_kind(row));
    }
    history_hear_coming(&world->history, handle, &coming);
}

void
world_check_waiting(struct world *world)
{
    uint64_t now_ms = world->server.now.monotonic_ms - world->server.core->base_ms;
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        const struct queue *queue = handle == HISTORY_NONE ? NULL : world_find_queue(world, handle);
        if (queue != NULL) {
            history_check_waiting(&world->history, handle, queue_waiting_count(queue),
                                  queue_next_due_ms(queue) > now_ms);
        }
    }
}

void
world_look_at_waiting(struct world *world, const struct queue *queue)
{
    if (queue->waiting == NULL) {
        return;
    }
    struct due_cursor cursor = due_index_seek(&queue->waiting->index, &(struct due_key){0});
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        history_found_waiting(&world->history, queue->target.id, queue_entry_lsn(&row->entry),
                              due_of_row(world, row));
    }
}

/* Coming back ---------------------------------------------------------------------------------- */

static struct actor_held *
find_tag(struct actor_held *held, uint32_t count, uint64_t tag)
{
    for (uint32_t i = 0; i < count; i++) {
        if (held[i].tag == tag) {
            return &held[i];
        }
    }
    return NULL;
}

/* What a client holds, or has settled in a transaction. */
static struct actor_held *
find_held(struct world *world, uint64_t link, uint16_t number, uint64_t tag)
{
    struct actor_held *held = NULL;
    for (uint32_t i = 0; i < ACTORS_MAX && held == NULL; i++) {
        struct actor_channel *channel = actor_channel(&world->actors[i], number);
        if (world->actors[i].link == link) {
            held = find_tag(channel->held, channel->held_count, tag);
        }
        if (world->actors[i].link == link && held == NULL) {
            held = find_tag(channel->settled, channel->settled_count, tag);
        }
    }
    return held;
}

struct actor_held *
world_begin_return(struct world *world, uint64_t link, uint16_t channel, uint64_t tag)
{
    struct actor_held *held = find_held(world, link, channel, tag);
    if (held == NULL) {
        history_wrong(&world->history, HISTORY_UNEXPECTED, "something comes back that nobody had");
        return NULL;
    }
    world_see_deaths(world);
    world->settling_copy = held->copy;
    world->settling_note = held->note;
    world->returning_due_ms = 0;
    return held;
}

/* When a message is tried again that keeps its place; 0: it is not held there. */
static uint64_t
held_until_ms(const struct world *world, const struct unacked *item)
{
    const struct failure_row *row = queue_find_failure(item->queue, item->position);
    return row == NULL || row->due_ms == 0 ? 0 : world->server.core->base_ms + row->due_ms;
}

void
world_end_return(struct world *world, struct actor_held *held, const struct unacked *item,
                 uint8_t verdict, uint64_t first)
{
    uint64_t held_ms = world->returning_due_ms == 0 ? held_until_ms(world, item) : 0;
    struct history_failure failure = {
        .verdict = verdict,
        .due_ms = held_ms != 0 ? held_ms : world->returning_due_ms,
        .is_held = held_ms != 0,
        .note = held->note,
        .span = server_span_from(&world->server, first),
    };
    held->heard_verdict = verdict;
    world->settling_copy = HISTORY_NONE;
    world->settling_note = 0;
    world_note(world, "comes back", held->queue, held->copy, failure.due_ms);
    history_hear_return(&world->history, held->queue, held->copy, &failure);
}

void
world_begin_rejection(struct world *world, uint64_t link, uint16_t channel, uint64_t tag)
{
    const struct actor_held *held = find_held(world, link, channel, tag);
    world->settling_copy = held == NULL ? HISTORY_NONE : held->copy;
    world->settling_note = held == NULL ? 0 : held->note;
}

/* Operators ------------------------------------------------------------------------------------ */

/* Lets one in, or takes it out. */
static void
operate(struct world *world, struct queue *queue, struct due_key key,
        enum world_operation operation)
{
    struct core *core = world->server.core;
    uint64_t first = server_log_first(&world->server);
    world_note(world, "operate", (uint64_t)operation, queue->target.id, key.due_ms);
    world->operation = operation;
    bool is_done = operation == OPERATION_CANCEL
                       ? core_cancel_pending(core, queue, &key)
                       : core_release_pending(core, queue, &key) == STATUS_OK;
    world->operation = OPERATION_NONE;
    history_end_release(&world->history, server_span_from(&world->server, first).last);
    if (!is_done) {
        history_wrong(&world->history, HISTORY_ANSWER, "a message that waits is not found");
    }
}

static struct queue *
find_queue(const struct world *world, uint32_t name)
{
    struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    struct queue *queue = vhost_find_queue(vhost, bytes_of(sim_queue_name(name)));
    return queue != NULL && queue_waiting_count(queue) > 0 ? queue : NULL;
}

void
world_operate(struct world *world)
{
    struct dice *dice = &world->retries;
    struct queue *queue = find_queue(world, dice_below(dice, world->habits.queue_names));
    if (queue == NULL) {
        return;
    }
    struct due_cursor cursor = due_index_seek(&queue->waiting->index, &(struct due_key){0});
    const struct due_row *row = due_cursor_next(&cursor);
    for (uint32_t skipped = dice_below(dice, 5); skipped > 0; skipped--) {
        const struct due_row *next = due_cursor_next(&cursor);
        row = next == NULL ? row : next;
    }
    operate(world, queue, row->key,
            dice_below(dice, 4) == 0 ? OPERATION_CANCEL : OPERATION_RELEASE);
}

void
world_release_parked(struct world *world)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        struct queue *queue = find_queue(world, name);
        struct due_key parked = {.due_ms = PARKED_MS};
        while (queue != NULL && queue->waiting->counts[WAITING_PARKED] > 0 &&
               world->history.wrong_count == 0) {
            struct due_cursor cursor = due_index_seek(&queue->waiting->index, &parked);
            operate(world, queue, due_cursor_next(&cursor)->key, OPERATION_RELEASE);
        }
    }
}
