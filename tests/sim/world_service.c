/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes messages: whose turn it is by priorities, prefetch and the rule that only one may, and
 * whether somebody is left out who could be served. */
#include <inttypes.h>

#include "broker/channels/channel.h"
#include "broker/topology/vhost.h"
#include "queues/times.h"
#include "tests/sim/world.h"

static uint32_t
one_of(struct dice *dice, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t choices[] = {a, b, c};
    return choices[dice_below(dice, 3)];
}

void
world_draw_service(struct world *world)
{
    world->service = (struct dice){.state = dice_mix(world->seed + 0x73657276)};
    struct dice *dice = &world->service;
    struct habits *habits = &world->habits;
    if (dice_below(dice, 3) == 0) {
        return;
    }
    habits->single_permille = one_of(dice, 0, 400, 900);
    habits->ranked_permille = one_of(dice, 0, 500, 900);
    habits->timeout_permille = one_of(dice, 0, 0, 500);
    habits->paced_permille = one_of(dice, 0, 500, 900);
    habits->jump_permille = one_of(dice, 0, 200, 1000);
    habits->downtime_permille = one_of(dice, 0, 300, 900);
    habits->pause_permille = one_of(dice, 0, 0, 2000);
    habits->sending_permille = one_of(dice, 0, 1000, 5000);
    uint32_t some = 1 + dice_below(dice, ACTORS_MAX);
    habits->connections_max = one_of(dice, 0, 0, some);
    habits->user_connections_max = one_of(dice, 0, 0, 1 + dice_below(dice, ACTORS_MAX));
    habits->user_channels_max =
        one_of(dice, 0, 0, 1 + dice_below(dice, ACTORS_MAX * ACTOR_CHANNELS));
    habits->deaf_permille = one_of(dice, 0, 300, 600);
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        world->actors[i].is_deaf = dice_chance(dice, habits->deaf_permille);
    }
}

/* Room ----------------------------------------------------------------------------------------- */

static uint32_t
count_held_by_consumers(const struct actor_channel *channel)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < channel->held_count; i++) {
        count += channel->held[i].consumer != 0;
    }
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        count += channel->settled[i].consumer != 0;
    }
    return count;
}

static bool
has_prefetch(const struct world *world, const struct actor_channel *channel,
             const struct actor_consumer *consumer)
{
    const struct history_consumer *known =
        history_find_consumer(&world->history, consumer->queue, consumer->number);
    if (known == NULL) {
        return false;
    }
    return consumer->no_ack ||
           ((consumer->prefetch == 0 || known->held_count < consumer->prefetch) &&
            (channel->prefetch_all == 0 ||
             count_held_by_consumers(channel) < channel->prefetch_all));
}

/* Whether its connection takes messages, by the core's account, and has said all that it settles.
 */
static bool
has_window(const struct world *world, const struct actor *actor, uint16_t number)
{
    const struct connection *connection = core_find_connection(world->server.core, actor->link);
    const struct channel *channel =
        connection == NULL ? NULL : connection_find_channel(connection, number);
    return channel != NULL && connection_has_window(connection) && !connection->window_was_full &&
           !channel_is_settling(channel);
}

/* Whether somebody else than `number` with a priority above `priority` could have a message of that
 * queue; who that is, or 0. */
static uint32_t
find_eligible(const struct world *world, uint32_t queue, uint32_t number, int64_t priority)
{
    for (uint32_t i = 0; i < ACTORS_MAX * ACTOR_CHANNELS * ACTOR_CONSUMERS; i++) {
        const struct actor *actor = &world->actors[i / (ACTOR_CHANNELS * ACTOR_CONSUMERS)];
        uint16_t at = (uint16_t)(i / ACTOR_CONSUMERS % ACTOR_CHANNELS);
        const struct actor_channel *channel = &actor->channels[at];
        const struct actor_consumer *consumer = &channel->consumers[i % ACTOR_CONSUMERS];
        if (consumer->is_on && consumer->is_there && consumer->queue == queue &&
            consumer->number != number && consumer->priority > priority &&
            history_may_serve(&world->history, queue, consumer->number) &&
            has_prefetch(world, channel, consumer) &&
            has_window(world, actor, (uint16_t)(at + 1))) {
            return consumer->number;
        }
    }
    return 0;
}

void
world_check_turn(struct world *world, const struct actor *actor, uint16_t number,
                 const struct actor_consumer *consumer)
{
    const struct history_queue *queue = &world->history.queues[consumer->queue];
    if (!has_prefetch(world, &actor->channels[number - 1], consumer)) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "queue q%" PRIu32 " serves consumer %" PRIu32 " beyond its prefetch",
                      queue->name, consumer->number);
    }
    uint32_t other = find_eligible(world, consumer->queue, consumer->number, consumer->priority);
    if (world->habits.ranked_permille > 0 && other != 0) {
        history_wrong(&world->history, HISTORY_ORDER,
                      "queue q%" PRIu32 " serves consumer %" PRIu32 " before %" PRIu32
                      ", whose priority is higher",
                      queue->name, consumer->number, other);
    }
}

/* The end of a tick ---------------------------------------------------------------------------- */

/* The number of the core's consumer, 0: there is none, or of nobody that clients know of. */
static uint32_t
number_of(const struct world *world, const struct consumer *consumer)
{
    for (uint32_t i = 0; consumer != NULL && i < ACTORS_MAX; i++) {
        const struct actor *actor = &world->actors[i];
        if (actor->link == consumer->channel->connection->link) {
            uint32_t at = (uint32_t)(consumer->tag.data[1] - '0');
            return actor->channels[consumer->channel->number - 1].consumers[at].number;
        }
    }
    return consumer == NULL ? 0 : UINT32_MAX;
}

/* Whether something will have the queue looked at again: a death, the log, or the disk. */
static bool
is_awaited(const struct queue *queue)
{
    return queue->head_waits || (queue->times != NULL && list_link_is_linked(&queue->times->link));
}

/* Whether the queue has something to hand out, and is not looked at again. */
static bool
is_idle(const struct queue *queue)
{
    return queue->ready_count > 0 && !is_awaited(queue) &&
           !list_link_is_linked(&queue->dispatch_link);
}

static void
check_queue(struct world *world, uint32_t handle, const struct queue *queue)
{
    struct history *history = &world->history;
    if (list_is_empty(&world->server.core->settling)) {
        history_check_active(history, handle, number_of(world, queue_active_consumer(queue)));
    }
    bool is_paused = history->queues[handle].pauses.is_paused;
    uint32_t left_out =
        is_idle(queue) && !is_paused ? find_eligible(world, handle, 0, INT64_MIN) : 0;
    if (left_out != 0) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " has %" PRIu64 " messages, and consumer %" PRIu32
                      " gets none",
                      history->queues[handle].name, queue->ready_count, left_out);
    }
}

void
world_check_service(struct world *world)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        const struct queue *queue = handle == HISTORY_NONE ? NULL : world_find_queue(world, handle);
        if (queue != NULL && queue->consumer_count > 0) {
            check_queue(world, handle, queue);
        }
    }
}
