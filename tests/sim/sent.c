/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sent.h"

#include "base/assert.h"
#include "broker/connection.h"
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

/* It is not on its way any more. */
static void
end(const struct sent *sent)
{
    unlock_name(sent->queue_lock);
    unlock_name(sent->exchange_lock);
    if (sent->actor != NULL) {
        assert(sent->actor->in_flight[sent->channel] > 0);
        sent->actor->in_flight[sent->channel]--;
    }
}

static void
begin(struct world *world, const struct sent *sent)
{
    world->deleting_queue = sent->deleting_queue;
    world->publishing = sent->message;
    if (sent->message != HISTORY_NONE) {
        history_route(&world->history, sent->message);
    }
}

static void
happen(struct world *world, const struct sent *sent, struct history_span span)
{
    end(sent);
    if (sent->effect != NULL) {
        sent->effect(world, sent, span);
    }
    world->deleting_queue = HISTORY_NONE;
}

/* What the core keeps of a connection --------------------------------------------------------- */

static const struct list *
kept_by_core(const struct world *world, uint64_t link)
{
    const struct connection *connection = core_find_connection(world->server.core, link);
    return connection == NULL ? NULL : &connection->held;
}

static const struct list_link *
last_kept(const struct world *world, uint64_t link)
{
    const struct list *kept = kept_by_core(world, link);
    return kept == NULL || list_is_empty(kept) ? NULL : kept->head.previous;
}

static bool
is_kept(const struct world *world, const struct sent *sent)
{
    const struct list *kept = kept_by_core(world, sent->link);
    if (kept == NULL) {
        return false;
    }
    LIST_FOR_EACH(kept, link)
    {
        if (link == sent->held_at) {
            return true;
        }
    }
    return false;
}

static void
keep(struct world *world, const struct sent *sent, const struct list_link *at)
{
    struct actor *actor = sent->actor;
    struct sent *kept = HISTORY_PUSH(actor->kept, actor->kept_count, actor->kept_capacity);
    *kept = *sent;
    kept->held_at = at;
    world->kept_count++;
    world_note(world, "kept", actor->number, sent->channel, sent->message);
}

static struct sent
take_kept(struct world *world, struct actor *actor)
{
    struct sent first = actor->kept[0];
    actor->kept_count--;
    world->kept_count--;
    memmove(actor->kept, actor->kept + 1, actor->kept_count * sizeof(*actor->kept));
    return first;
}

/* What the core has handled of what it kept of a client. */
static void
see_kept_of(struct world *world, struct actor *actor)
{
    while (actor->kept_count > 0 && !is_kept(world, &actor->kept[0])) {
        struct sent sent = take_kept(world, actor);
        uint64_t last = server_log_last(&world->server);
        begin(world, &sent);
        happen(world, &sent, (struct history_span){.first = last, .last = last});
    }
}

void
sent_begin_end_of_tick(struct world *world)
{
    world->replay_count = 0;
    if (world->kept_count == 0) {
        return;
    }
    LIST_FOR_EACH(&world->server.core->replays, link)
    {
        const struct connection *connection = CONTAINER_OF(link, struct connection, replay_link);
        for (uint32_t i = 0; i < ACTORS_MAX; i++) {
            if (world->actors[i].link == connection->link) {
                world->replays[world->replay_count++] = &world->actors[i];
            }
        }
    }
}

void
sent_see_kept(struct world *world)
{
    for (uint32_t i = 0; i < world->replay_count && world->kept_count > 0; i++) {
        see_kept_of(world, world->replays[i]);
    }
    for (uint32_t i = 0; i < ACTORS_MAX && world->kept_count > 0; i++) {
        see_kept_of(world, &world->actors[i]);
    }
}

void
sent_drop_kept(struct world *world, struct actor *actor)
{
    while (actor->kept_count > 0) {
        struct sent sent = take_kept(world, actor);
        end(&sent);
    }
}

void
sent_arrive(struct world *world, const struct net_event *event, const struct sent *sent)
{
    begin(world, sent);
    if (sent->actor != NULL && event->type == NET_EVENT_CLOSED) {
        sent_drop_kept(world, sent->actor);
    }
    const struct list_link *before = last_kept(world, sent->link);
    struct history_span span = server_handle(&world->server, event);
    const struct list_link *after = last_kept(world, sent->link);
    sent_see_kept(world);
    if (sent->effect != NULL && !sent->happens_at_once && after != NULL && after != before) {
        keep(world, sent, after);
    } else {
        happen(world, sent, span);
    }
    world->publishing = HISTORY_NONE;
}
