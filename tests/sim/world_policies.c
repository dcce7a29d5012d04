/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: one for each queue that they govern, all of them other ones from time to time, while
 * messages wait. And what the broker then does by itself. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buffer.h"
#include "broker/topology/doomed.h"
#include "broker/topology/vhost.h"
#include "queues/waiting.h"
#include "tests/sim/world.h"

struct world_policies {
    struct config_policy rows[HISTORY_NAMES];
    uint32_t count;
    struct buffer definitions[HISTORY_NAMES];
    char patterns[HISTORY_NAMES][8];
};

void
world_free_policies(struct world *world)
{
    if (world->policies != NULL) {
        for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
            buffer_fini(&world->policies->definitions[name]);
        }
        free(world->policies);
        world->policies = NULL;
    }
}

static void
make_policy(const struct world *world, struct world_policies *policies, uint32_t name)
{
    char *pattern = policies->patterns[name];
    (void)snprintf(pattern, sizeof(policies->patterns[name]), "^%s$", sim_queue_name(name));
    world_put_policy(world, name, &policies->definitions[name]);
    policies->rows[policies->count++] = (struct config_policy){
        .name = bytes_of(sim_queue_name(name)),
        .pattern = bytes_of(pattern),
        .apply_to = "queues",
        .definition = buffer_bytes(&policies->definitions[name]),
    };
}

void
world_make_policies(struct world *world)
{
    world_free_policies(world);
    world->policies = xalloc(sizeof(*world->policies));
    *world->policies = (struct world_policies){0};
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        buffer_init(&world->policies->definitions[name]);
        if (world_is_governed(world, name)) {
            make_policy(world, world->policies, name);
        }
    }
    world->server.policies = world->policies->rows;
    world->server.policy_count = world->policies->count;
}

/* One that was deleted may come back with a crash, under what is in force then. */
void
world_settle_policies(struct world *world)
{
    for (uint32_t handle = 0; handle < world->history.queue_count; handle++) {
        const struct history_queue *queue = &world->history.queues[handle];
        if (!queue->is_over && queue->is_governed) {
            struct history_settings settings = world_settings(world, queue->name);
            history_change_settings(&world->history, handle, &settings);
        }
    }
}

void
world_change_policies(struct world *world)
{
    world->generation++;
    world_note(world, "policies", world->generation, 0, 0);
    world_see_deaths(world);
    world_make_policies(world);
    server_apply(&world->server);
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t queue = history_find_queue(&world->history, name);
        if (queue != HISTORY_NONE && world_is_governed(world, name)) {
            struct history_settings settings = world_settings(world, name);
            history_change_settings(&world->history, queue, &settings);
        }
    }
    world->history.sums.policies_changed++;
}

/* By the broker itself ------------------------------------------------------------------------- */

void
world_hear_hold_end(struct world *world, const struct queue *queue, const struct queue_entry *entry,
                    uint64_t due_ms)
{
    uint32_t handle = world_find_handle(world, queue);
    if (handle == HISTORY_NONE) {
        return;
    }
    uint32_t message = world_find_message(world, entry);
    world_see_deaths(world);
    world_note(world, "waits elsewhere", handle, message, due_ms);
    history_hear_release_of_hold(&world->history, handle, message, queue_entry_lsn(entry), due_ms);
}

void
world_hear_expiry(struct world *world, uint32_t handle, bool has_consumers, uint64_t first)
{
    world_note(world, "expires", handle, has_consumers, 0);
    history_expire_queue(&world->history, handle, has_consumers,
                         server_span_from(&world->server, first));
}

/* Routing -------------------------------------------------------------------------------------- */

static uint32_t
handle_of(const struct world *world, uint64_t id)
{
    uint32_t handle = world->history.queue_count;
    while (handle > 0 && world->history.queues[handle - 1].id != id) {
        handle--;
    }
    return handle == 0 ? HISTORY_NONE : handle - 1;
}

void
world_hear_route(struct world *world, const struct exchange *exchange)
{
    uint32_t message = world->publishing;
    const struct history_message *known = &world->history.messages[message];
    if (world->has_routed ||
        !bytes_equal_text(exchange->name, sim_exchange_name(known->exchange))) {
        return;
    }
    world->has_routed = true;
    if (!history_is_picked(&world->history, message)) {
        return;
    }
    uint32_t queues[HISTORY_TARGETS_MAX];
    uint32_t count = 0;
    const struct route_set *routes = &world->server.core->routes;
    for (uint32_t i = 0; i < routes->count && count < HISTORY_TARGETS_MAX; i++) {
        uint32_t handle = handle_of(world, routes->targets[i]->id);
        if (handle != HISTORY_NONE) {
            queues[count++] = handle;
        }
    }
    world_note(world, "picks", message, count, count > 0 ? queues[0] : 0);
    world->history.counts_gone = core_is_unbinding(world->server.core);
    history_hear_pick(&world->history, message, queues, count);
}
