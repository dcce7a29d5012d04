/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections and channels the vhost and the user may have. What there is is counted one
 * by one, whatever the core has counted. */
#include <inttypes.h>

#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "tests/sim/world.h"

static const struct connection *
connection_of(const struct world *world, const struct actor *actor)
{
    return actor->link == 0 ? NULL : core_find_connection(world->server.core, actor->link);
}

static uint32_t
count_connections(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        const struct connection *connection = connection_of(world, &world->actors[i]);
        count += connection != NULL && connection->vhost != NULL;
    }
    return count;
}

static uint32_t
count_channels(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        const struct connection *connection = connection_of(world, &world->actors[i]);
        for (uint16_t number = 1; connection != NULL && number <= ACTOR_CHANNELS; number++) {
            count += connection_find_channel(connection, number) != NULL;
        }
    }
    return count;
}

/* 0 is no limit. */
static bool
is_full(uint32_t count, uint32_t count_max)
{
    return count_max != 0 && count >= count_max;
}

void
world_check_connections(struct world *world)
{
    uint32_t others = count_connections(world) - 1;
    if (is_full(others, world->habits.connections_max) ||
        is_full(others, world->habits.user_connections_max)) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "a connection is let in beside %" PRIu32 " others", others);
    }
}

void
world_check_channels(struct world *world)
{
    uint32_t others = count_channels(world) - 1;
    if (is_full(others, world->habits.user_channels_max)) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "a channel is opened beside %" PRIu32 " others", others);
    }
}

/* The core has not answered its channel.open. */
static bool
is_opening(const struct actor_channel *channel)
{
    return channel->state == CHANNEL_OPENING && !channel->request.is_answered;
}

static bool
opens_channel(const struct actor *actor)
{
    bool opens = false;
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        opens |= is_opening(&actor->channels[i]);
    }
    return opens;
}

/* Channels that the client had until now, and perhaps some that were about to be gone. */
static uint32_t
count_own_channels(const struct actor *actor)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        const struct actor_channel *channel = &actor->channels[i];
        uint32_t opening_count = is_opening(channel) ? 1 : 0;
        bool is_new = channel->state == CHANNEL_SHUT || opening_count > 0;
        count += !is_new || actor->in_flight[1 + i] > opening_count;
    }
    return count;
}

bool
world_may_refuse(const struct world *world, const struct actor *actor)
{
    if (actor->is_let_in) {
        uint32_t count = count_channels(world) + count_own_channels(actor);
        return opens_channel(actor) && is_full(count, world->habits.user_channels_max);
    }
    uint32_t count = count_connections(world);
    return is_full(count, world->habits.connections_max) ||
           is_full(count, world->habits.user_connections_max);
}
