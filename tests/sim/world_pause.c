/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody pauses queues, and has them go on. */
#include "broker/topology/pause.h"

#include "broker/topology/vhost.h"
#include "tests/sim/world.h"

/* False: there is no such queue, or the log has no room. */
static bool
pause_queue(struct world *world, uint32_t name, bool is_paused)
{
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    uint32_t handle = history_find_queue(&world->history, name);
    struct queue *queue = vhost_find_queue(vhost, bytes_of(sim_queue_name(name)));
    if (handle == HISTORY_NONE || queue == NULL) {
        return false;
    }
    uint64_t token;
    uint64_t first = server_log_first(&world->server);
    enum status status = core_pause_queue(world->server.core, queue, is_paused,
                                          bytes_of(SERVER_USER), bytes_of(""), &token);
    world_note(world, is_paused ? "pause" : "end pause", handle, (uint64_t)status, 0);
    if (status != STATUS_OK) {
        return false;
    }
    history_pause(&world->history, handle, is_paused, server_span_from(&world->server, first));
    return true;
}

/* The longer one is paused the sooner it goes on. */
void
world_pause(struct world *world)
{
    uint32_t name = dice_below(&world->service, world->habits.queue_names);
    uint32_t handle = history_find_queue(&world->history, name);
    if (handle == HISTORY_NONE) {
        return;
    }
    if (world->history.queues[handle].pauses.is_paused) {
        (void)pause_queue(world, name, false);
    } else if (dice_below(&world->service, 3) == 0) {
        (void)pause_queue(world, name, true);
    }
}

void
world_end_pauses(struct world *world)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        if (handle != HISTORY_NONE && world->history.queues[handle].pauses.is_paused &&
            !pause_queue(world, name, false)) {
            history_wrong(&world->history, HISTORY_ANSWER, "a queue cannot go on");
        }
    }
}
