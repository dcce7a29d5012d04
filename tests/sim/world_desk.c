/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody at the dead-letter desk looks at queues while all the rest goes on. Looking changes
 * nothing: the history hears nothing of it, and finds whatever it did change. What is shown must be
 * what was published. */
#include <inttypes.h>

#include "broker/desk.h"
#include "broker/vhost.h"
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
