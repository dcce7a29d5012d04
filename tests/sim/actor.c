/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/actor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

#define SIXTEEN(prefix)                                                                            \
    {                                                                                              \
        prefix "0", prefix "1", prefix "2", prefix "3", prefix "4", prefix "5", prefix "6",        \
            prefix "7", prefix "8", prefix "9", prefix "10", prefix "11", prefix "12",             \
            prefix "13", prefix "14", prefix "15"                                                  \
    }

const char *
sim_queue_name(uint32_t name)
{
    static const char *const names[HISTORY_NAMES] = SIXTEEN("q");
    return names[name];
}

const char *
sim_exchange_name(uint32_t name)
{
    static const char *const names[HISTORY_NAMES] = SIXTEEN("x");
    return name == HISTORY_DEFAULT_EXCHANGE ? "" : names[name];
}

/* They are weights, too. */
const char *
sim_key_name(uint32_t exchange_name, uint32_t key)
{
    static const char *const names[HISTORY_NAMES] = {"+1",  "+2",  "+3",  "+4",  "+5",  "+6",
                                                     "+7",  "+8",  "+9",  "+10", "+11", "+12",
                                                     "+13", "+14", "+15", "+16"};
    return exchange_name == HISTORY_DEFAULT_EXCHANGE ? sim_queue_name(key) : names[key];
}

void
actor_init(struct actor *actor, uint32_t number)
{
    *actor = (struct actor){.number = number};
    actor->peer = (struct net_peer){
        .address = "127.0.0.1",
        .local_address = "127.0.0.1",
        .port = (uint16_t)(40000 + number),
        .local_port = 5672,
        .is_loopback = true,
    };
}

void
actor_fini(struct actor *actor)
{
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        free(actor->channels[i].held);
        free(actor->channels[i].settled);
        free(actor->channels[i].published);
        free(actor->channels[i].late);
    }
    free(actor->arrivals);
    free(actor->kept);
    *actor = (struct actor){0};
}

/* A channel that was never opened; keeps its memory. */
static void
reset_channel(struct actor_channel *channel)
{
    *channel = (struct actor_channel){
        .held = channel->held,
        .held_capacity = channel->held_capacity,
        .settled = channel->settled,
        .settled_capacity = channel->settled_capacity,
        .published = channel->published,
        .published_capacity = channel->published_capacity,
        .late = channel->late,
        .late_capacity = channel->late_capacity,
    };
}

void
actor_forget(struct actor *actor)
{
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        reset_channel(&actor->channels[i]);
    }
    actor->link = 0;
    actor->is_up = false;
    actor->is_let_in = false;
    actor->is_refused = false;
    actor->is_paused = false;
    actor->is_leaving = false;
    memset(actor->in_flight, 0, sizeof(actor->in_flight));
    actor->kept_count = 0;
    actor->unread_octets = 0;
    actor->arrival_first = 0;
    actor->arrival_end = 0;
    actor->arrival_visible = 0;
}

void
actor_check_verdict(struct world *world, const struct actor_held *held,
                    enum history_verdict verdict)
{
    const struct history_queue *queue = &world->history.queues[held->queue];
    if (queue->retry.counts && queue->copies[held->copy].was_heard &&
        held->heard_verdict != verdict) {
        history_wrong(
            &world->history, HISTORY_ANSWER,
            "message %" PRIu32 " of queue q%" PRIu32 " comes back with verdict %d, should with %d",
            queue->copies[held->copy].message, queue->name, (int)held->heard_verdict, (int)verdict);
    }
}

/* Whether the consumer has got something before that is open. */
static bool
is_behind(const struct actor_held *all, uint32_t count, const struct actor_held *held)
{
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].consumer == held->consumer && all[i].tag < held->tag) {
            return true;
        }
    }
    return false;
}

/* Of what a consumer has, the oldest is to blame; of what was got, each. */
static void
check_lost(struct world *world, const struct actor_channel *channel)
{
    const struct core *core = world->server.core;
    if ((core->alarms & ALARM_STOPPING) != 0) {
        return;
    }
    for (uint32_t i = 0; i < channel->held_count + channel->settled_count; i++) {
        const struct actor_held *held = i < channel->held_count
                                            ? &channel->held[i]
                                            : &channel->settled[i - channel->held_count];
        bool is_later =
            channel->blames_nobody ||
            (held->consumer != 0 && (is_behind(channel->held, channel->held_count, held) ||
                                     is_behind(channel->settled, channel->settled_count, held)));
        actor_check_verdict(world, held, is_later ? HISTORY_NO_VERDICT : HISTORY_BROKEN_OFF);
    }
}

void
actor_free_place(struct world *world, const struct actor_held *held)
{
    if (held->consumer != 0) {
        history_end_service(&world->history, held->queue, held->consumer);
    }
}

/* What is open goes back to its queues, and what a transaction has is dropped. */
static void
give_back(struct world *world, struct actor_channel *channel)
{
    check_lost(world, channel);
    for (uint32_t i = 0; i < channel->held_count; i++) {
        history_give_back(&world->history, channel->held[i].queue, channel->held[i].copy);
    }
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        history_give_back(&world->history, channel->settled[i].queue, channel->settled[i].copy);
    }
    channel->held_count = 0;
    channel->settled_count = 0;
}

/* Its consumers have used their queues until now; or, with `is_over`, until before. */
static void
end_consumers(struct world *world, const struct actor_channel *channel, bool is_over)
{
    for (uint32_t i = 0; i < ACTOR_CONSUMERS; i++) {
        if (channel->consumers[i].is_on && channel->consumers[i].is_there) {
            history_use_queue(&world->history, channel->consumers[i].queue, is_over);
            history_end_consumer(&world->history, channel->consumers[i].queue,
                                 channel->consumers[i].number);
        }
    }
}

/* Of those that are cancelled the client may still be told, before the end of the channel. */
static void
forget_consumers(struct actor_channel *channel)
{
    for (uint32_t i = 0; i < ACTOR_CONSUMERS; i++) {
        channel->consumers[i] =
            (struct actor_consumer){.awaits_cancel = channel->consumers[i].awaits_cancel};
    }
}

void
actor_end_channel(struct world *world, struct actor_channel *channel)
{
    give_back(world, channel);
    end_consumers(world, channel, true);
    reset_channel(channel);
}

/* A basic.get that has to wait for its message, and whose queue is gone. */
static bool
gets_from_nowhere(const struct world *world, const struct actor_channel *channel)
{
    const struct actor_request *request = &channel->request;
    return request->is_waiting && !request->is_answered && actor_request_is_get(request) &&
           history_find_queue(&world->history, world->history.queues[request->queue].name) ==
               HISTORY_NONE;
}

void
actor_begin_breaking(struct world *world, struct actor *actor, uint16_t number, uint16_t code)
{
    actor_channel(actor, number)->state = CHANNEL_BREAKING;
    actor_channel(actor, number)->close_code = code;
    world->breaking_count++;
}

void
actor_begin_turn(struct world *world, struct actor *actor, uint16_t number)
{
    struct actor_channel *channel = actor_channel(actor, number);
    if (gets_from_nowhere(world, channel)) {
        world_note(world, "get without queue", actor->number, number, channel->request.queue);
        channel->request.is_waiting = false;
        actor_begin_breaking(world, actor, number, 404);
    }
}

static bool
has_ended(struct world *world, const struct actor *actor, uint16_t number)
{
    const struct connection *connection = core_find_connection(world->server.core, actor->link);
    const struct channel *channel = connection_find_channel(connection, number);
    return channel == NULL || channel->is_ended;
}

void
actor_see_ends(struct world *world, struct actor *actor)
{
    for (uint16_t number = 1; number <= ACTOR_CHANNELS; number++) {
        struct actor_channel *channel = actor_channel(actor, number);
        if (channel->state == CHANNEL_BREAKING && has_ended(world, actor, number)) {
            world_end_commit(world, actor, number);
            give_back(world, channel);
            end_consumers(world, channel, false);
            forget_consumers(channel);
            channel->state = CHANNEL_BROKEN;
            world->breaking_count--;
        }
    }
}

void
actor_end_connection(struct world *world, struct actor *actor)
{
    actor->is_refused = true;
    sent_drop_kept(actor);
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        struct actor_channel *channel = &actor->channels[i];
        give_back(world, channel);
        end_consumers(world, channel, false);
        memset(channel->consumers, 0, sizeof(channel->consumers));
        channel->state = CHANNEL_BROKEN;
    }
}

/* The core knows that it is gone. */
static void
end_connection(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        actor_end_channel(world, &sent->actor->channels[i]);
    }
    actor_forget(sent->actor);
}

void
actor_hang_up(struct world *world, struct actor *actor)
{
    world_note(world, "hang up", actor->number, actor->link, 0);
    struct sent sent = actor_sent(actor, 0);
    sent.effect = end_connection;
    actor->is_leaving = true;
    actor->in_flight[0]++;
    server_hang_up(&world->server, &sent);
}

void
actor_take(struct actor *actor, const struct posted *posted)
{
    actor->arrival_visible += posted->arrival_count;
    actor->unread_octets += posted->octets;
    if (posted->type == NET_ACTION_PAUSE || posted->type == NET_ACTION_RESUME) {
        actor->is_paused = posted->type == NET_ACTION_PAUSE;
    }
}

/* Sending -------------------------------------------------------------------------------------- */

struct sent
actor_sent(struct actor *actor, uint16_t channel)
{
    return (struct sent){
        .actor = actor,
        .channel = channel,
        .link = actor->link,
        .message = HISTORY_NONE,
        .deleting_queue = HISTORY_NONE,
        .queue = HISTORY_NONE,
        .exchange = HISTORY_NONE,
    };
}

void
actor_send(struct world *world, const struct method *method, struct sent *sent)
{
    sent->actor->in_flight[sent->channel]++;
    sent->method = method->id;
    server_send(&world->server, method, sent);
}

void
actor_ask(struct world *world, const struct method *method, enum method_id answer,
          struct sent *sent)
{
    struct actor_request *request = &actor_channel(sent->actor, sent->channel)->request;
    assert(!request->is_waiting);
    *request = (struct actor_request){
        .answer = answer,
        .is_waiting = true,
        .queue = HISTORY_NONE,
    };
    actor_send(world, method, sent);
}

void
actor_open_channel(struct world *world, struct actor *actor, uint16_t number)
{
    struct actor_channel *channel = actor_channel(actor, number);
    world_note(world, "open channel", actor->number, number, 0);
    channel->state = CHANNEL_OPENING;
    channel->next_tag = 1;
    channel->read_tag = 0;
    struct method method = {.id = METHOD_CHANNEL_OPEN};
    struct sent sent = actor_sent(actor, number);
    actor_ask(world, &method, METHOD_CHANNEL_OPEN_OK, &sent);
}

/* What to do next ------------------------------------------------------------------------------ */

static enum actor_op
choose_op(struct world *world)
{
    const uint32_t *weights = world->habits.weights;
    uint32_t sum = 0;
    for (int op = 0; op < ACTOR_OP_COUNT; op++) {
        sum += weights[op];
    }
    uint32_t at = dice_below(&world->dice, sum);
    int op = 0;
    while (at >= weights[op]) {
        at -= weights[op++];
    }
    return (enum actor_op)op;
}

/* Confirm and transaction mode are chosen once, before anything else. */
static void
select_mode(struct world *world, struct actor *actor, uint16_t number)
{
    struct actor_channel *channel = actor_channel(actor, number);
    uint32_t at = dice_below(&world->dice, 1000);
    struct sent sent = actor_sent(actor, number);
    channel->has_mode = true;
    if (at < world->habits.confirm_permille) {
        struct method method = {.id = METHOD_CONFIRM_SELECT};
        channel->mode = ACTOR_CONFIRM;
        actor_ask(world, &method, METHOD_CONFIRM_SELECT_OK, &sent);
    } else if (at < world->habits.confirm_permille + world->habits.tx_permille) {
        struct method method = {.id = METHOD_TX_SELECT};
        channel->mode = ACTOR_TX;
        actor_ask(world, &method, METHOD_TX_SELECT_OK, &sent);
    }
    world_note(world, "mode", actor->number, number, channel->mode);
}

/* Where channels are few, a client mostly leaves some to others: one too many ends its connection.
 */
static bool
may_open(struct world *world, uint16_t number)
{
    uint32_t channels_max = world->habits.user_channels_max;
    uint32_t share = channels_max / world->habits.actor_count;
    return channels_max == 0 || number <= share || (number == 1 && share == 0) ||
           dice_chance(&world->service, 2);
}

static void
use_channel(struct world *world, struct actor *actor, uint16_t number)
{
    struct actor_channel *channel = actor_channel(actor, number);
    if (channel->state == CHANNEL_SHUT && !may_open(world, number)) {
        return;
    }
    if (channel->state == CHANNEL_SHUT) {
        actor_open_channel(world, actor, number);
        return;
    }
    if (channel->state != CHANNEL_OPEN) {
        return;
    }
    if (!channel->has_mode) {
        select_mode(world, actor, number);
        return;
    }
    if (actor_do(world, actor, number, choose_op(world))) {
        world->operation_count++;
    }
}

static void
connect(struct world *world, struct actor *actor)
{
    uint32_t network = 0;
    if (!wire_is_direct(&world->server.wire)) {
        network = dice_below(&world->dice, world->server.wire.network_count);
    }
    world_note(world, "connect", actor->number, network, 0);
    struct sent sent = actor_sent(actor, 0);
    actor->in_flight[0]++;
    /* What the core answers at once comes over this link. */
    actor->link = net_no_link(network) | world->server.next_link;
    (void)server_connect(&world->server, network, &actor->peer, &sent);
}

void
actor_step(struct world *world, struct actor *actor)
{
    if (actor->link == 0 && actor->tired > 0) {
        actor->tired--;
        return;
    }
    if (actor->link == 0) {
        connect(world, actor);
        return;
    }
    if (actor->is_leaving || !wire_may_read(&world->server.wire, actor->link)) {
        return;
    }
    if (dice_chance(&world->dice, world->habits.arrival_permille)) {
        actor_read(world, actor, 1 + dice_below(&world->dice, 8));
    }
    if (actor->is_up && !actor->is_paused && !actor->is_leaving && !actor->is_refused) {
        use_channel(world, actor, (uint16_t)(1 + dice_below(&world->dice, ACTOR_CHANNELS)));
    }
}
