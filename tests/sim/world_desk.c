/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody at the dead-letter desk looks at queues while all the rest goes on. Looking changes
 * nothing: the history hears nothing of it, and finds whatever it did change. What is shown must be
 * what was published. */
#include <inttypes.h>

#include "broker/desk/desk.h"
#include "broker/topology/vhost.h"
#include "queues/failures.h"
#include "queues/waiting.h"
#include "tests/sim/body.h"
#include "tests/sim/world.h"

static bool
on_show(void *context, const struct desk_row *row, const struct desk_facts *facts)
{
    struct world *world = context;
    if (facts == NULL) {
        return true;
    }
    struct bytes body = content_body(row->content);
    if (body.size != row->entry.size || !body_is_right(body, body_number(body), row->entry.size)) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "the desk shows what nobody published at position %" PRIu64, row->position);
    }
    return true;
}

static void
on_done(void *context, const struct desk_job *job)
{
    struct world *world = context;
    world->history.sums.looked += desk_job_progress(job)->done_count;
}

void
world_look(struct world *world)
{
    struct dice *dice = &world->looks;
    struct core *core = world->server.core;
    const struct vhost *vhost = core_find_vhost(core, bytes_of("/"));
    const char *name = sim_queue_name(dice_below(dice, HISTORY_NAMES));
    struct queue *queue = vhost == NULL ? NULL : vhost_find_queue(vhost, bytes_of(name));
    uint64_t number;
    struct desk_order order = {
        .action = dice_below(dice, 3) == 0 ? DESK_GROUP : DESK_BROWSE,
        .limit = dice_below(dice, 2) == 0 ? 0 : 1 + dice_below(dice, 50),
        .show = on_show,
        .done = on_done,
        .context = world,
    };
    if (queue != NULL && desk_begin(core, queue, &order, &number) == STATUS_OK) {
        if (dice_below(dice, 10) == 0) {
            desk_leave(core, number);
        }
    }
}

/* Sending on ----------------------------------------------------------------------------------- */

/* By the clock that the history has. */
static uint64_t
due_of(const struct world *world, const struct desk_row *row)
{
    return row->place == DESK_PARKED
               ? HISTORY_PARKED_MS
               : world->server.core->base_ms + row->key.due_ms - WAITING_EPOCH_MS;
}

struct world_sending
world_begin_sending(struct world *world, const struct queue *queue, const struct desk_row *row)
{
    world_see_deaths(world);
    world->is_sending = true;
    const struct failure_row *failure =
        queue_entry_has_failed(&row->entry) ? queue_find_failure(queue, row->position) : NULL;
    struct history_sending sending = {
        .message = row->content == NULL ? world_find_message(world, &row->entry)
                                        : body_number(content_body(row->content)),
        .lsn = queue_entry_lsn(&row->entry),
        .position = row->place == DESK_READY ? row->position : row->key.position,
        .is_ready = row->place == DESK_READY,
        .due_ms = row->place == DESK_READY ? 0 : due_of(world, row),
        .failure_count = failure == NULL ? 0 : failure->delivery_count,
        .return_count = failure == NULL ? 0 : failure->acquired_count,
        .target = HISTORY_NONE,
    };
    return (struct world_sending){
        .queue = world_find_handle(world, queue),
        .sending = sending,
        .first = server_log_first(&world->server),
    };
}

void
world_end_sending(struct world *world, struct world_sending *sent, const struct queue *target)
{
    if (sent->queue == HISTORY_NONE) {
        return;
    }
    sent->sending.target = target == NULL ? HISTORY_NONE : world_find_handle(world, target);
    sent->sending.span = server_span_from(&world->server, sent->first);
    world_note(world, target == NULL ? "taken out" : "sent on", sent->queue, sent->sending.message,
               sent->sending.target);
    history_send_on(&world->history, sent->queue, &sent->sending);
}

static struct queue *
choose_queue(struct world *world)
{
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    uint32_t name = dice_below(&world->service, world->habits.queue_names);
    return vhost_find_queue(vhost, bytes_of(sim_queue_name(name)));
}

/* Where it came from, or any queue by its name, which may be its own or be gone. */
void
world_send_on(struct world *world)
{
    static const uint32_t places[] = {1 << DESK_PARKED, 1 << DESK_PARKED | 1 << DESK_WAITING,
                                      1 << DESK_READY,
                                      1 << DESK_PARKED | 1 << DESK_WAITING | 1 << DESK_READY};
    struct dice *dice = &world->service;
    struct queue *queue = choose_queue(world);
    uint32_t target = dice_below(dice, world->habits.queue_names);
    struct desk_order order = {
        .action = dice_below(dice, 4) == 0 ? DESK_DROP : DESK_REPLAY,
        /* What asks for something in the content has it read, so that it can be told what it is. */
        .filter = {.places = places[dice_below(dice, 4)], .not_batch = bytes_of("-")},
        .limit = 1 + dice_below(dice, 20),
        .target = {.to = dice_below(dice, 3) == 0 ? REPLAY_TO_ORIGIN_QUEUE : REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of(sim_queue_name(target))},
        .rate = dice_below(dice, 3) == 0 ? 1 + dice_below(dice, 100) : 0,
    };
    uint64_t number;
    if (queue != NULL && desk_begin(world->server.core, queue, &order, &number) == STATUS_OK) {
        world_note(world, "send on", queue->target.id, number, (uint64_t)order.action);
    }
}
