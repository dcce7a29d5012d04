/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody lets in, or calls off, all that waits in a queue, or all with one message-id: in slices,
 * while all the rest goes on. Nothing else may be touched, and nothing that waited all the time is
 * left when it is over. */
#include <inttypes.h>

#include "broker/desk/pending.h"
#include "broker/topology/vhost.h"
#include "queues/waiting.h"
#include "tests/sim/world.h"

enum { MESSAGE_IDS = 5 };

static_assert((int)WAITING_DELAYED == (int)HISTORY_WAITS_DELAYED, "kinds");
static_assert((int)WAITING_RETRY == (int)HISTORY_WAITS_RETRY, "kinds");
static_assert((int)WAITING_PARKED == (int)HISTORY_WAITS_PARKED, "kinds");

static const char *const message_ids[MESSAGE_IDS] = {"m0", "m1", "m2", "m3", "m4"};

const char *
world_message_id(const struct world *world, uint32_t message)
{
    return world->habits.bulk_permille == 0 ? NULL : message_ids[message % MESSAGE_IDS];
}

void
world_draw_bulk(struct world *world)
{
    world->bulk = (struct dice){.state = dice_mix(world->seed + 0x62756c6b)};
    static const uint32_t permilles[] = {0, 0, 1000, 10000};
    world->habits.bulk_permille = permilles[dice_below(&world->bulk, ARRAY_LEN(permilles))];
}

static void
on_done(void *context, uint64_t count, uint64_t unreadable, uint64_t token)
{
    struct world_bulk *bulk = context;
    struct history *history = &bulk->world->history;
    (void)token;
    world_note(bulk->world, "bulk done", bulk->queue, count, unreadable);
    bulk->is_under_way = false;
    if (count != bulk->count) {
        history_wrong(history, HISTORY_ANSWER,
                      "%" PRIu64 " messages of queue q%" PRIu32 " were %s, and %" PRIu64
                      " by the broker's account",
                      bulk->count, history->queues[bulk->queue].name,
                      bulk->action == PENDING_RELEASE ? "let in" : "called off", count);
    }
    if (unreadable == 0) {
        history_check_worked_off(history, bulk->queue, &bulk->meant);
    }
}

static struct world_bulk *
find_bulk(struct world *world, uint32_t queue)
{
    for (uint32_t i = 0; i < BULK_MAX; i++) {
        if (world->bulks[i].is_under_way && world->bulks[i].queue == queue) {
            return &world->bulks[i];
        }
    }
    return NULL;
}

static struct world_bulk *
find_free(struct world *world)
{
    uint32_t i = 0;
    while (i < BULK_MAX && world->bulks[i].is_under_way) {
        i++;
    }
    return i == BULK_MAX ? NULL : &world->bulks[i];
}

static void
begin(struct world *world, struct world_bulk *bulk, struct queue *queue, uint32_t handle)
{
    struct dice *dice = &world->bulk;
    enum { ALL_KINDS = (1 << WAITING_KIND_COUNT) - 1 };
    bool has_id = dice_below(dice, 2) == 0;
    *bulk = (struct world_bulk){
        .world = world,
        .queue = handle,
        .action = dice_below(dice, 2) == 0 ? PENDING_RELEASE : PENDING_CANCEL,
        .meant = {.kinds = dice_below(dice, 2) == 0 ? ALL_KINDS : 1 + dice_below(dice, ALL_KINDS),
                  .id_count = has_id ? MESSAGE_IDS : 1,
                  .id = has_id ? dice_below(dice, MESSAGE_IDS) : 0,
                  .waits_before = world->history.wait_count},
    };
    struct pending_request request = {
        .action = bulk->action,
        .kinds = bulk->meant.kinds,
        .message_id = has_id ? bytes_of(message_ids[bulk->meant.id]) : bytes_make(NULL, 0),
        .done = on_done,
        .context = bulk,
    };
    world_note(world, "bulk", queue->target.id, (uint64_t)bulk->action, bulk->meant.kinds);
    bulk->is_under_way = core_request_pending(world->server.core, queue, &request) == STATUS_OK;
}

/* One request at a time in each queue, so that it is known whose doing it is. */
void
world_begin_bulk(struct world *world)
{
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    uint32_t name = dice_below(&world->bulk, world->habits.queue_names);
    struct queue *queue = vhost_find_queue(vhost, bytes_of(sim_queue_name(name)));
    uint32_t handle = queue == NULL ? HISTORY_NONE : world_find_handle(world, queue);
    struct world_bulk *bulk = find_free(world);
    if (handle != HISTORY_NONE && bulk != NULL && find_bulk(world, handle) == NULL) {
        begin(world, bulk, queue, handle);
    }
}

void
world_hear_bulk(struct world *world, uint32_t queue, uint32_t message, uint32_t kind)
{
    struct world_bulk *bulk = find_bulk(world, queue);
    bool is_meant = bulk != NULL && (bulk->meant.kinds & 1U << kind) != 0 &&
                    (bulk->meant.id_count == 1 || message % MESSAGE_IDS == bulk->meant.id);
    if (!is_meant) {
        history_wrong(&world->history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " of queue q%" PRIu32
                      " is let in or called off, though it is not meant",
                      message, world->history.queues[queue].name);
        return;
    }
    bulk->count++;
    world->history.sums.let_in += bulk->action == PENDING_RELEASE;
    world->history.sums.called_off += bulk->action == PENDING_CANCEL;
}

bool
world_has_bulk(const struct world *world)
{
    bool has_bulk = false;
    for (uint32_t i = 0; i < BULK_MAX; i++) {
        has_bulk |= world->bulks[i].is_under_way;
    }
    return has_bulk;
}

void
world_forget_bulk(struct world *world)
{
    memset(world->bulks, 0, sizeof(world->bulks));
}
