/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions, whose messages are refused by queues that are full: the history learns from the
 * core which of them, checks that, and hears of the commit before the end of the channel that
 * follows. */
#include "base/assert.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

void
world_begin_commit(struct world *world, const struct sent *sent)
{
    world->is_committing = true;
    world->committing = *sent;
    world->commit_first = server_log_first(&world->server);
    world->asked_count = 0;
    world->asked_at = 0;
}

/* What the queue has taken of this transaction so far. */
static struct history_load
load_of(const struct world *world, uint32_t queue)
{
    struct history_load load = {0};
    for (uint32_t i = 0; i < world->asked_count; i++) {
        const struct world_asked *asked = &world->asked[i];
        if (asked->queue == queue && asked->takes) {
            load.count++;
            load.bytes += asked->size;
        }
    }
    return load;
}

void
world_hear_asked(struct world *world, const struct queue *queue, uint32_t size, bool takes)
{
    uint32_t handle = world_find_handle(world, queue);
    if (handle == HISTORY_NONE) {
        return;
    }
    struct history_load load = load_of(world, handle);
    load.count++;
    load.bytes += size;
    history_check_limit(&world->history, handle, HISTORY_NONE, load, takes);
    world_note(world, takes ? "is let in" : "is refused", handle, size, load.count);
    *HISTORY_PUSH(world->asked, world->asked_count, world->asked_capacity) =
        (struct world_asked){.queue = handle, .size = size, .takes = takes};
    if (!takes && !world->is_breaking) {
        sent_begin_breaking(world, &world->committing, 406, true);
    }
}

/* Queues are asked message by message; what comes later is not asked about. */
void
world_find_takers(struct world *world, uint32_t number, bool takes[static HISTORY_TARGETS_MAX])
{
    const struct history_message *message = &world->history.messages[number];
    for (uint32_t i = 0; i < message->target_count; i++) {
        takes[i] = true;
    }
    if (message->due_ms != 0) {
        return;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < message->target_count; i++) {
        count += history_target(&world->history, number, i) != HISTORY_NONE;
    }
    for (; count > 0 && world->asked_at < world->asked_count; count--) {
        const struct world_asked *asked = &world->asked[world->asked_at++];
        for (uint32_t i = 0; i < message->target_count; i++) {
            bool is_it = history_target(&world->history, number, i) == asked->queue;
            takes[i] = is_it ? asked->takes : takes[i];
        }
    }
    if (count > 0) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "a commit gives messages to queues that were not asked");
    }
}

void
world_end_commit(struct world *world, const struct actor *actor, uint16_t channel)
{
    struct sent sent = world->committing;
    if (!world->is_committing || sent.actor != actor || sent.channel != channel ||
        sent.effect == NULL) {
        return;
    }
    world->committing.effect = NULL;
    sent.effect(world, &sent, server_span_from(&world->server, world->commit_first));
    world_see_deaths(world);
}
