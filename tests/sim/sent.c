/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sent.h"

#include "base/assert.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* Locks ---------------------------------------------------------------------------------------- */

bool
sent_may_use(const struct name_lock *lock)
{
    return !lock->is_changing;
}

bool
sent_may_change(const struct name_lock *lock)
{
    return !lock->is_changing && lock->user_count == 0;
}

static void
lock_name(const struct sent *sent, struct name_lock *lock)
{
    assert(sent_may_use(lock));
    lock->is_changing = sent->is_changing;
    lock->user_count++;
}

void
sent_lock_queue(struct sent *sent, struct name_lock *lock)
{
    sent->queue_lock = lock;
    lock_name(sent, lock);
}

void
sent_lock_exchange(struct sent *sent, struct name_lock *lock)
{
    sent->exchange_lock = lock;
    lock_name(sent, lock);
}

static void
unlock_name(struct name_lock *lock)
{
    if (lock != NULL) {
        assert(lock->user_count > 0);
        lock->user_count--;
        lock->is_changing = false;
    }
}

/* Happening ------------------------------------------------------------------------------------ */

static void
unlock_names(struct sent *sent)
{
    unlock_name(sent->queue_lock);
    unlock_name(sent->exchange_lock);
    sent->queue_lock = NULL;
    sent->exchange_lock = NULL;
}

/* It is not on its way any more. */
static void
end(struct sent *sent)
{
    unlock_names(sent);
    if (sent->actor != NULL) {
        assert(sent->actor->in_flight[sent->channel] > 0);
        sent->actor->in_flight[sent->channel]--;
    }
}

/* The broker has closed the channel, and drops what it had been sent before the client knew. */
static bool
is_dropped(const struct world *world, const struct sent *sent)
{
    const struct connection *connection = core_find_connection(world->server.core, sent->link);
    const struct channel *channel =
        connection == NULL ? NULL : connection_find_channel(connection, sent->channel);
    bool is_for_nobody = sent->actor != NULL && sent->actor->is_refused && sent->channel != 0;
    return is_for_nobody || (channel != NULL && channel->is_closing);
}

static uint32_t
count_queues(const struct history *history)
{
    uint32_t count = 0;
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        count += history_find_queue(history, name) != HISTORY_NONE;
    }
    return count;
}

/* It makes a queue, and the vhost has as many as it may have. */
static bool
is_over_limit(const struct world *world, const struct sent *sent)
{
    uint32_t queues_max = world->habits.queues_max;
    return queues_max > 0 && sent->method == METHOD_QUEUE_DECLARE && sent->is_changing &&
           count_queues(&world->history) >= queues_max;
}

/* It gets from a queue that only one consumer may take from, and whose order that would break. */
static bool
is_locked(const struct world *world, const struct sent *sent)
{
    if (sent->method != METHOD_BASIC_GET || sent->effect == NULL) {
        return false;
    }
    uint32_t queue = history_find_queue(&world->history, world->history.queues[sent->queue].name);
    return queue != HISTORY_NONE && world->history.queues[queue].is_quorum &&
           world->history.queues[queue].is_single_active;
}

/* With which code the broker closes the channel for it; 0: it does not. */
static uint16_t
code_of(const struct world *world, const struct sent *sent)
{
    if (is_locked(world, sent)) {
        return 405;
    }
    return sent->breaks_channel || is_over_limit(world, sent) ? 406 : 0;
}

void
sent_begin_breaking(struct world *world, const struct sent *sent, uint16_t code, bool is_request)
{
    struct actor_channel *channel = actor_channel(sent->actor, sent->channel);
    world->is_breaking = true;
    if (is_request) {
        channel->request.is_waiting = false;
        channel->is_faulty = true;
    }
    actor_begin_breaking(world, sent->actor, sent->channel, code);
}

static void
begin(struct world *world, const struct sent *sent)
{
    world->keeping = SENT_DONE;
    world->deleting_queue = sent->deleting_queue;
    world->publishing = sent->message;
    world->has_routed = false;
    world->is_breaking = false;
    if (sent->method == METHOD_TX_COMMIT) {
        world_begin_commit(world, sent);
    }
    if (sent->message != HISTORY_NONE) {
        history_route(&world->history, sent->message);
    }
    uint16_t code = code_of(world, sent);
    if (code != 0 && !is_dropped(world, sent)) {
        sent_begin_breaking(world, sent, code, !sent->breaks_channel);
    }
}

/* The core did not handle it after all. */
static void
undo_begin(struct world *world, const struct sent *sent)
{
    if (!world->is_breaking) {
        return;
    }
    struct actor_channel *channel = actor_channel(sent->actor, sent->channel);
    world->is_breaking = false;
    channel->state = CHANNEL_OPEN;
    world->breaking_count--;
    if (!sent->breaks_channel) {
        channel->request.is_waiting = true;
        channel->is_faulty = false;
    }
}

static void
finish(struct world *world)
{
    world->deleting_queue = HISTORY_NONE;
    world->publishing = HISTORY_NONE;
    world->is_committing = false;
}

/* The core has done what it had to refuse. */
static void
check_broken(struct world *world, const struct sent *sent)
{
    if (world->is_breaking && world->keeping == SENT_DONE &&
        actor_channel(sent->actor, sent->channel)->state == CHANNEL_BREAKING) {
        history_wrong(&world->history, HISTORY_ANSWER, "%s is not refused",
                      method_info(sent->method)->name);
        undo_begin(world, sent);
    }
}

static void
take_effect(struct world *world, const struct sent *sent, struct history_span span)
{
    if (sent->effect != NULL && !is_dropped(world, sent)) {
        sent->effect(world, sent, span);
    }
}

/* What the core keeps of a connection --------------------------------------------------------- */

static void
keep(struct world *world, const struct sent *sent)
{
    struct actor *actor = sent->actor;
    assert(actor != NULL);
    *HISTORY_PUSH(actor->kept, actor->kept_count, actor->kept_capacity) = *sent;
    world_note(world, "kept", actor->number, sent->channel, sent->message);
}

/* The first of the channel, or the number of all that is kept. */
static uint32_t
find_kept(const struct actor *actor, uint16_t channel)
{
    uint32_t at = 0;
    while (at < actor->kept_count && actor->kept[at].channel != channel) {
        at++;
    }
    return at;
}

bool
sent_is_settlement(enum method_id id)
{
    return id == METHOD_BASIC_ACK || id == METHOD_BASIC_NACK || id == METHOD_BASIC_REJECT;
}

/* The same, or the first settlement, if that may pass. */
static uint32_t
find_next(struct actor *actor, uint16_t channel, bool is_settlement)
{
    uint32_t first = find_kept(actor, channel);
    if (!is_settlement || actor_channel(actor, channel)->mode == ACTOR_TX) {
        return first;
    }
    uint32_t at = first;
    while (at < actor->kept_count &&
           (actor->kept[at].channel != channel || !sent_is_settlement(actor->kept[at].method))) {
        at++;
    }
    return at < actor->kept_count ? at : first;
}

static struct sent
take_kept(struct actor *actor, uint32_t at)
{
    struct sent sent = actor->kept[at];
    actor->kept_count--;
    memmove(actor->kept + at, actor->kept + at + 1,
            (actor->kept_count - at) * sizeof(*actor->kept));
    return sent;
}

/* What it does is done, though its answer comes later: it goes on without effect. */
static void
begin_to_wait(struct world *world, struct sent *sent, struct history_span span)
{
    if (sent->happens_at_once) {
        unlock_names(sent);
        take_effect(world, sent, span);
        world_see_deaths(world);
        sent->effect = NULL;
        sent->deleting_queue = HISTORY_NONE;
    }
}

void
sent_drop_kept(struct actor *actor)
{
    while (actor->kept_count > 0) {
        struct sent sent = take_kept(actor, 0);
        end(&sent);
    }
}

void
sent_is_out_of_order(struct world *world, uint16_t channel)
{
    history_wrong(&world->history, HISTORY_ORDER,
                  "what a client has sent on channel %u is handled in another order",
                  (unsigned)channel);
}

struct sent_turn
sent_begin_turn(struct world *world, uint64_t link, uint16_t channel, bool is_settlement)
{
    struct sent_turn turn = {.sent = {.message = HISTORY_NONE}, .is_settlement = is_settlement};
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        struct actor *actor = &world->actors[i];
        uint32_t at = find_next(actor, channel, is_settlement);
        if (actor->link == link && at < actor->kept_count) {
            turn.sent = actor->kept[at];
        }
    }
    if (turn.sent.actor != NULL) {
        world_note(world, "handled", turn.sent.actor->number, channel, turn.sent.message);
        begin(world, &turn.sent);
        actor_begin_turn(world, turn.sent.actor, channel);
    }
    turn.first = server_log_first(&world->server);
    return turn;
}

/* A basic.get that waits reads its queue again, whenever it is looked at. */
static void
use_again(struct world *world, const struct sent *sent)
{
    if (sent->method != METHOD_BASIC_GET) {
        return;
    }
    uint32_t name = world->history.queues[sent->queue].name;
    uint32_t queue = history_find_queue(&world->history, name);
    if (queue != HISTORY_NONE) {
        history_use_queue(&world->history, queue, true);
    }
}

void
sent_end_turn(struct world *world, const struct sent_turn *turn)
{
    struct actor *actor = turn->sent.actor;
    world_see_ends(world);
    use_again(world, &turn->sent);
    if (actor == NULL ||
        find_next(actor, turn->sent.channel, turn->is_settlement) == actor->kept_count) {
        return;
    }
    struct history_span span = server_span_from(&world->server, turn->first);
    uint32_t at = find_next(actor, turn->sent.channel, turn->is_settlement);
    if (world->keeping == SENT_BEGUN) {
        undo_begin(world, &turn->sent);
        begin_to_wait(world, &actor->kept[at], span);
    } else {
        struct sent sent = take_kept(actor, at);
        check_broken(world, &sent);
        end(&sent);
        take_effect(world, &sent, span);
        world_see_deaths(world);
    }
    finish(world);
}

/* Arriving ------------------------------------------------------------------------------------- */

static bool
has_kept_settlement(const struct actor *actor, uint16_t channel)
{
    bool has_one = false;
    for (uint32_t i = 0; i < actor->kept_count; i++) {
        has_one |= actor->kept[i].channel == channel && sent_is_settlement(actor->kept[i].method);
    }
    return has_one;
}

/* Only settlements, and the notes that come before them, may pass what the core keeps of their
 * channel, but no other settlements, and only outside of a transaction; and publishes that it drops
 * like those. */
static bool
may_pass(const struct world *world, const struct sent *sent)
{
    if (sent->message != HISTORY_NONE) {
        return is_dropped(world, sent);
    }
    if (sent->type == NET_EVENT_PUBLISH) {
        return actor_channel(sent->actor, sent->channel)->mode == ACTOR_PLAIN;
    }
    return sent->type == NET_EVENT_METHOD &&
           actor_channel(sent->actor, sent->channel)->mode != ACTOR_TX &&
           sent_is_settlement(sent->method) && !has_kept_settlement(sent->actor, sent->channel);
}

static void
check_order(struct world *world, const struct sent *sent)
{
    if (sent->actor != NULL && sent->channel != 0 && !sent->actor->is_refused &&
        world->keeping != SENT_UNTOUCHED &&
        find_kept(sent->actor, sent->channel) < sent->actor->kept_count && !may_pass(world, sent)) {
        sent_is_out_of_order(world, sent->channel);
    }
}

void
sent_arrive(struct world *world, const struct net_event *event, const struct sent *arrived)
{
    struct sent sent = *arrived;
    begin(world, &sent);
    if (sent.actor != NULL && event->type == NET_EVENT_CLOSED) {
        sent_drop_kept(sent.actor);
    }
    struct history_span span = server_handle(&world->server, event);
    world_see_ends(world);
    check_order(world, &sent);
    if (world->keeping == SENT_DONE) {
        check_broken(world, &sent);
        end(&sent);
        take_effect(world, &sent, span);
        world_see_deaths(world);
    } else {
        undo_begin(world, &sent);
        if (world->keeping == SENT_BEGUN) {
            begin_to_wait(world, &sent, span);
        }
        keep(world, &sent);
    }
    finish(world);
}
