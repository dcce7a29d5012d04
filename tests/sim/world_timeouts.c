/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries that nobody settles in time: the broker takes each back once, not before its time and
 * not long after, and ends the consumer or the channel. Transactions that keep too much memory for
 * too long: it discards one, and ends the channel. */
#include <inttypes.h>

#include "broker/publishing/transaction.h"
#include "broker/upkeep/ack_timeout.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* Behind two steps of the timers, and a turn. */
enum { LATE_MS = 30 };

/* How long it may be open; 0: for ever. */
static uint64_t
timeout_of(const struct world *world, const struct actor_held *held)
{
    const struct history_queue *queue = &world->history.queues[held->queue];
    return held->timeout_ms >= 0 ? (uint64_t)held->timeout_ms : queue->timeout_ms;
}

static struct actor *
find_actor(struct world *world, uint64_t link)
{
    struct actor *found = NULL;
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        found = world->actors[i].link == link ? &world->actors[i] : found;
    }
    return found;
}

/* Its place, or the number of all that the client has. What a transaction has settled is not among
 * those. */
static uint32_t
find_held(const struct actor_channel *channel, uint64_t tag)
{
    uint32_t at = 0;
    while (at < channel->held_count && channel->held[at].tag != tag) {
        at++;
    }
    return at;
}

/* Taking back ---------------------------------------------------------------------------------- */

static void
check_time(struct world *world, const struct actor_held *held)
{
    uint64_t timeout_ms = timeout_of(world, held);
    uint64_t now_ms = world->history.now_ms;
    if (timeout_ms == 0 || now_ms < held->delivered_ms + timeout_ms) {
        const struct history_queue *queue = &world->history.queues[held->queue];
        history_wrong(&world->history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " of queue q%" PRIu32 " times out at %" PRIu64
                      ", delivered at %" PRIu64 " for %" PRIu64 " ms",
                      queue->copies[held->copy].message, queue->name, now_ms, held->delivered_ms,
                      timeout_ms);
    }
}

bool
world_begin_timeout(struct world *world, uint64_t link, uint16_t number, uint64_t tag)
{
    const struct actor *actor = find_actor(world, link);
    const struct actor_channel *channel = actor == NULL ? NULL : &actor->channels[number - 1];
    if (channel == NULL || find_held(channel, tag) == channel->held_count) {
        history_wrong(&world->history, HISTORY_UNEXPECTED,
                      "a delivery times out that nobody has open");
        return false;
    }
    world_see_deaths(world);
    check_time(world, &channel->held[find_held(channel, tag)]);
    return true;
}

/* The client may settle it all the same, once. The broker forgets old ones, and so does he. */
static void
remember_tag(struct actor_channel *channel, const struct actor_held *held)
{
    channel->late_total++;
    if (!held->is_sent && channel->late_total < ACK_TIMEOUT_TAGS_MAX) {
        *HISTORY_PUSH(channel->late, channel->late_count, channel->late_capacity) = held->tag;
    }
}

/* The consumer that had it is one no more, and will be told. */
static void
end_consumer(struct world *world, struct actor_channel *channel, uint32_t number)
{
    for (uint32_t i = 0; i < ACTOR_CONSUMERS; i++) {
        struct actor_consumer *consumer = &channel->consumers[i];
        if (consumer->is_on && consumer->number == number) {
            consumer->is_on = false;
            consumer->awaits_cancel = true;
            history_use_queue(&world->history, consumer->queue, false);
            history_end_consumer(&world->history, consumer->queue, number);
        }
    }
}

/* Nothing that the client has asked for is answered any more, but his own closing. */
static void
await_close(struct world *world, struct actor *actor, uint16_t number, bool blames_nobody)
{
    struct actor_channel *channel = actor_channel(actor, number);
    channel->closes_twice = channel->state == CHANNEL_SHUTTING;
    channel->is_faulty = true;
    channel->blames_nobody = blames_nobody;
    actor_begin_breaking(world, actor, number, 406);
}

void
world_end_timeout(struct world *world, uint64_t link, uint16_t number, uint64_t tag)
{
    struct actor *actor = find_actor(world, link);
    struct actor_channel *channel = actor_channel(actor, number);
    uint32_t at = find_held(channel, tag);
    struct actor_held held = channel->held[at];
    channel->held_count--;
    memmove(channel->held + at, channel->held + at + 1,
            (channel->held_count - at) * sizeof(*channel->held));
    world_note(world, "times out", (uint64_t)actor->number * 10 + number, tag, held.copy);
    world->history.sums.timed_out++;
    actor_check_verdict(world, &held, HISTORY_TIMED_OUT);
    actor_free_place(world, &held);
    history_give_back(&world->history, held.queue, held.copy);
    if (held.consumer == 0 || actor->is_deaf) {
        await_close(world, actor, number, true);
    } else {
        remember_tag(channel, &held);
        end_consumer(world, channel, held.consumer);
    }
}

/* Staying open --------------------------------------------------------------------------------- */

/* Whether its consumer is still there: then a timeout that has changed holds for it as well. */
static bool
has_consumer(const struct world *world, const struct actor_held *held)
{
    return held->consumer != 0 &&
           history_find_consumer(&world->history, held->queue, held->consumer) != NULL;
}

/* From when on it must be gone; UINT64_MAX: nobody can tell, or never. */
static uint64_t
end_of(const struct world *world, const struct actor_held *held)
{
    const struct history_queue *queue = &world->history.queues[held->queue];
    uint64_t timeout_ms = timeout_of(world, held);
    bool has_changed = held->timeout_ms < 0 && queue->timeout_changed_ms >= held->delivered_ms;
    if (timeout_ms == 0 || (has_changed && !has_consumer(world, held))) {
        return UINT64_MAX;
    }
    uint64_t end_ms = held->delivered_ms + timeout_ms;
    end_ms = end_ms < held->reopened_ms ? held->reopened_ms : end_ms;
    return has_changed && end_ms < queue->timeout_changed_ms ? queue->timeout_changed_ms : end_ms;
}

static void
check_channel(struct world *world, const struct actor_channel *channel)
{
    for (uint32_t i = 0; i < channel->held_count; i++) {
        const struct actor_held *held = &channel->held[i];
        uint64_t end_ms = end_of(world, held);
        if (end_ms != UINT64_MAX && world->history.now_ms > end_ms + LATE_MS) {
            const struct history_queue *queue = &world->history.queues[held->queue];
            history_wrong(&world->history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32 " is open at %" PRIu64
                          ", delivered at %" PRIu64 " for %" PRIu64 " ms",
                          queue->copies[held->copy].message, queue->name, world->history.now_ms,
                          held->delivered_ms, timeout_of(world, held));
            return;
        }
    }
}

void
world_check_timeouts(struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        for (uint32_t j = 0; j < ACTOR_CHANNELS && world->actors[i].link != 0; j++) {
            check_channel(world, &world->actors[i].channels[j]);
        }
    }
}

/* Transactions --------------------------------------------------------------------------------- */

void
world_watch_alarm(struct world *world)
{
    bool is_on = (world->server.core->alarms & ALARM_MEMORY) != 0;
    if (!is_on) {
        world->alarm_from_ms = 0;
    } else if (world->alarm_from_ms == 0) {
        world->alarm_from_ms = world->history.now_ms;
    }
}

void
world_hear_discard(struct world *world, uint64_t link, uint16_t number)
{
    const struct core *core = world->server.core;
    struct actor *actor = find_actor(world, link);
    uint64_t waited_ms =
        world->alarm_from_ms == 0 ? 0 : world->history.now_ms - world->alarm_from_ms;
    if (actor == NULL || actor_channel(actor, number)->mode != ACTOR_TX ||
        waited_ms < TRANSACTION_PATIENCE_MS ||
        core->transaction_octets <= core->settings.memory_mark_bytes / 4) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "a transaction is discarded after %" PRIu64 " ms of alarm, with %" PRIu64
                      " octets in all of them",
                      waited_ms, core->transaction_octets);
        return;
    }
    world_note(world, "discard", (uint64_t)actor->number * 10 + number, waited_ms, 0);
    world->history.sums.discarded++;
    await_close(world, actor, number, false);
}
