/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: the history learns from the core when a message that is dying was moved, for that
 * may take its time, and from nobody else whether it arrived. */
#include "base/assert.h"
#include "broker/vhost.h"
#include "tests/sim/world.h"

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
