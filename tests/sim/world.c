/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/death/retry.h"
#include "broker/topology/vhost.h"

/* Turns in which an answer must have come: far more than the steps that the store can be behind. */
enum { PATIENCE = 30000 };

/* Steps in which clients must have found something to do, though it be little. */
enum { STEPS_MAX = 100000 };

/* Habits --------------------------------------------------------------------------------------- */

/* Weights of what clients do: publishing and settling most, the rest so that queues live for some
 * hundred messages. */
static const uint32_t usual_weights[ACTOR_OP_COUNT] = {
    [ACTOR_PUBLISH] = 400, [ACTOR_SETTLE] = 400,         [ACTOR_GET] = 80,
    [ACTOR_CONSUME] = 40,  [ACTOR_CANCEL] = 12,          [ACTOR_RECOVER] = 4,
    [ACTOR_QOS] = 10,      [ACTOR_DECLARE_QUEUE] = 20,   [ACTOR_DELETE_QUEUE] = 3,
    [ACTOR_PURGE] = 4,     [ACTOR_DECLARE_EXCHANGE] = 8, [ACTOR_DELETE_EXCHANGE] = 2,
    [ACTOR_BIND] = 15,     [ACTOR_UNBIND] = 6,           [ACTOR_COMMIT] = 30,
    [ACTOR_ROLLBACK] = 6,  [ACTOR_CLOSE_CHANNEL] = 4,    [ACTOR_HANG_UP] = 3,
    [ACTOR_FAULT] = 3,
};

/* Some operations are left out of a run or are far more frequent in it. */
static void
draw_weights(struct dice *dice, uint32_t weights[ACTOR_OP_COUNT])
{
    static const uint32_t factors[] = {0, 1, 2, 2, 2, 2, 4, 12};
    for (int op = 0; op < ACTOR_OP_COUNT; op++) {
        uint32_t factor = factors[dice_below(dice, sizeof(factors) / sizeof(factors[0]))];
        bool is_needed = op == ACTOR_PUBLISH || op == ACTOR_SETTLE || op == ACTOR_DECLARE_QUEUE;
        weights[op] = usual_weights[op] * (is_needed && factor == 0 ? 1 : factor);
    }
}

static uint32_t
one_of(struct dice *dice, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t choices[] = {a, b, c};
    return choices[dice_below(dice, 3)];
}

static struct habits
draw_habits(struct dice *dice)
{
    struct habits habits = {
        .actor_count = 1 + dice_below(dice, ACTORS_MAX),
        .queue_names = 1 + dice_below(dice, HISTORY_NAMES),
        .exchange_names = 1 + dice_below(dice, 4),
        .key_names = 1 + dice_below(dice, 3),
        .turn_permille = one_of(dice, 900, 300, 50),
        .arrival_permille = one_of(dice, 900, 500, 200),
        .persistent_permille = one_of(dice, 1000, 800, 500),
        .durable_permille = one_of(dice, 1000, 800, 600),
        .large_permille = one_of(dice, 0, 5, 30),
        .confirm_permille = one_of(dice, 900, 500, 300),
        .tx_permille = one_of(dice, 0, 100, 300),
        .ready_max = one_of(dice, 20, 200, 3000),
        .hoards = dice_below(dice, 3) == 0,
        .has_disk = dice_below(dice, 8) != 0,
        .step_permille = one_of(dice, 950, 700, 300),
        .crash_permille = one_of(dice, 0, 300, 3000),
        .power_permille = one_of(dice, 1000, 500, 0),
        .fault_permille = one_of(dice, 0, 0, 300),
        .stop_permille = one_of(dice, 0, 0, 300),
        .memory_mark_bytes = (uint64_t)one_of(dice, 0, 3, 5) << 18,
    };
    draw_weights(dice, habits.weights);
    habits.copies_on_write = dice_below(dice, 3) == 0;
    habits.fill_permille = one_of(dice, 0, 0, 500);
    return habits;
}

/* Networks have dice of their own, so that a run without them is what it was before there were any.
 */
static void
draw_networks(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x6e6574)};
    habits->network_count = dice_below(&dice, 4);
    habits->network_permille = one_of(&dice, 900, 400, 150);
    habits->take_permille = one_of(&dice, 900, 400, 150);
    habits->write_permille = one_of(&dice, 1000, 800, 200);
    if (habits->network_count > 0) {
        /* Less gets done between two steps. */
        habits->crash_permille /= 4;
        habits->stop_permille /= 4;
    }
    if (habits->memory_mark_bytes > 0) {
        /* What blocked publishers have sent stays in chunks of each network: below those the alarm
         * would never end. */
        habits->memory_mark_bytes += (uint64_t)habits->network_count << 19;
    }
}

/* The same for queues with dead letters: a ring of queues, or parts of one. */
static void
draw_dead_letters(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x64656164)};
    uint32_t all = dice_below(&dice, 1 << HISTORY_NAMES);
    habits->dead_letter_mask = one_of(&dice, 0, all, UINT32_MAX);
}

/* The same for queues that count failures, without ever having had enough of them: what is
 * delivered has other headers then, and the log a state of what came back. */
static void
draw_counting(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x636e74)};
    uint32_t some = dice_below(&dice, 1 << HISTORY_NAMES);
    habits->counting_mask = one_of(&dice, 0, some, UINT32_MAX);
}

/* The same for how much the core does in a tick: so little that much of it is kept for later. */
static void
draw_work(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x776f726b)};
    habits->work_per_tick = dice_below(&dice, 3) == 0 ? 1 + dice_below(&dice, 64) : 0;
}

/* In a third of the runs messages expire; with dice of their own as well. */
static void
draw_lives(struct world *world)
{
    world->lives = (struct dice){.state = dice_mix(world->seed + 0x74746c)};
    world->habits.mortal_permille = one_of(&world->lives, 0, 0, 500);
    world->habits.ttl_permille = one_of(&world->lives, 0, 300, 700);
}

/* Limits of queues. */
static void
draw_limits(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x6c696d)};
    habits->overflow_max = (enum history_overflow)dice_below(&dice, 3);
    habits->limited_permille = one_of(&dice, 300, 600, 1000);
    habits->buries = dice_below(&dice, 2) == 0;
}

/* Half of the runs have all of it together: dead letters of every reason, that die again where they
 * have gone. Of the others each has one thing at most, so that nothing hides it. */
static void
draw_mixture(struct habits *habits, uint64_t seed)
{
    struct dice dice = {.state = dice_mix(seed + 0x6d6978)};
    if (dice_below(&dice, 2) != 0) {
        habits->dead_letter_mask =
            one_of(&dice, habits->dead_letter_mask, dice_below(&dice, 65536), UINT32_MAX);
        /* What a commit brings to a queue, moves there and drops again is heard in another order.
         */
        if (habits->overflow_max != HISTORY_TAKES_ALL && habits->dead_letter_mask != 0) {
            habits->tx_permille = 0;
        }
    } else if (habits->dead_letter_mask != 0) {
        habits->overflow_max = HISTORY_TAKES_ALL;
        habits->mortal_permille = 0;
        habits->ttl_permille = 0;
    } else if (habits->overflow_max != HISTORY_TAKES_ALL) {
        habits->mortal_permille = 0;
        habits->ttl_permille = 0;
    }
    if (habits->overflow_max == HISTORY_REFUSES) {
        habits->tx_permille = 0;
    }
}

/* In a third of the runs there are priorities; with dice of their own as well. */
static void
draw_priorities(struct world *world)
{
    world->priorities = (struct dice){.state = dice_mix(world->seed + 0x7072696f)};
    world->habits.level_max = (uint8_t)one_of(&world->priorities, 0, 0, 9);
}

/* The same for messages that come later. */
static void
draw_delays(struct world *world)
{
    world->delays = (struct dice){.state = dice_mix(world->seed + 0x64656c61)};
    world->habits.delayed_permille = one_of(&world->delays, 0, 0, 500);
}

/* And for queues that have messages tried again, and what operators do. */
static void
draw_retries(struct world *world)
{
    world->retries = (struct dice){.state = dice_mix(world->seed + 0x7265747279)};
    world->habits.retry_permille = one_of(&world->retries, 0, 300, 800);
    world->habits.operator_permille = one_of(&world->retries, 0, 0, 3000);
}

const struct queue *
world_find_queue(const struct world *world, uint32_t queue)
{
    const struct history_queue *known = &world->history.queues[queue];
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    const struct queue *found = vhost_find_queue(vhost, bytes_of(sim_queue_name(known->name)));
    return found != NULL && found->target.id == known->id ? found : NULL;
}

/* Life ----------------------------------------------------------------------------------------- */

/* Calls that fail, and those that change names. */
static void
note_call(void *context, const struct sim_disk_op *op)
{
    static const char *const names[SIM_DISK_CALL_COUNT] = {
        [SIM_DISK_OPEN] = "disk open",
        [SIM_DISK_WRITE] = "disk write",
        [SIM_DISK_READ] = "disk read",
        [SIM_DISK_FLUSH] = "disk flush",
        [SIM_DISK_SIZE] = "disk size",
        [SIM_DISK_TRUNCATE] = "disk truncate",
        [SIM_DISK_RENAME] = "disk rename",
        [SIM_DISK_UNLINK] = "disk unlink",
        [SIM_DISK_FLUSH_DIRECTORY] = "disk flush directory",
        [SIM_DISK_LIST] = "disk list",
        [SIM_DISK_SPACE] = "disk space",
        [SIM_DISK_LINK] = "link",
        [SIM_DISK_LINK_COUNT] = "links",
    };
    struct world *world = context;
    if (op->error != 0) {
        trace_note_name(&world->trace, names[op->call], op->name, (uint64_t)op->error);
    } else if (op->call == SIM_DISK_RENAME) {
        trace_note_name(&world->trace, names[op->call], op->to, 0);
    } else if (op->call == SIM_DISK_UNLINK) {
        trace_note_name(&world->trace, names[op->call], op->name, 0);
    }
}

static void
on_event(void *context, const struct net_event *event, const struct sent *sent)
{
    struct world *world = context;
    world_note(world, "event", sent->link, (uint64_t)event->type, sent->channel);
    sent_arrive(world, event, sent);
}

static void
on_wrong(void *context, enum history_rule rule, const char *what)
{
    struct world *world = context;
    history_wrong(&world->history, rule, "%s", what);
}

/* Two runs of three have something of what came later, with dice of their own as well. */
static void
draw_rest(struct world *world)
{
    world->rest = (struct dice){.state = dice_mix(world->seed + 0x72657374)};
    struct dice *dice = &world->rest;
    struct habits *habits = &world->habits;
    if (dice_below(dice, 3) == 0) {
        return;
    }
    uint32_t some = dice_below(dice, 1 << HISTORY_NAMES);
    habits->quorum_mask = one_of(dice, 0, some, UINT32_MAX);
    habits->hashed_permille = one_of(dice, 0, 500, 900);
    habits->has_all_retries = dice_below(dice, 2) == 0;
    some = dice_below(dice, 1 << HISTORY_NAMES);
    habits->governed_mask = one_of(dice, 0, some, UINT32_MAX);
    habits->policy_permille = habits->governed_mask == 0 ? 0 : one_of(dice, 500, 2000, 10000);
    habits->expires_permille = one_of(dice, 0, 0, 500);
    habits->queues_max = one_of(dice, 0, 0, 1 + dice_below(dice, habits->queue_names));
    habits->twice_permille = one_of(dice, 0, 300, 700);
    habits->noted_permille = one_of(dice, 0, 500, 900);
    if (habits->overflow_max == HISTORY_REFUSES && habits->dead_letter_mask == 0) {
        habits->tx_permille = one_of(dice, 0, 200, 400);
    }
    if (habits->has_all_retries && habits->retry_permille == 0) {
        habits->retry_permille = 500;
    }
}

struct world *
world_new(uint64_t seed, enum mutant mutant, FILE *out)
{
    struct world *world = xalloc(sizeof(*world));
    *world = (struct world){
        .seed = seed,
        .dice = {.state = dice_mix(seed + 1)},
        .trace = {.out = out},
        .mutant = mutant,
        .deleting_queue = HISTORY_NONE,
        .publishing = HISTORY_NONE,
        .settling_copy = HISTORY_NONE,
    };
    world->habits = draw_habits(&world->dice);
    draw_networks(&world->habits, seed);
    draw_work(&world->habits, seed);
    draw_dead_letters(&world->habits, seed);
    draw_counting(&world->habits, seed);
    draw_limits(&world->habits, seed);
    draw_lives(world);
    draw_mixture(&world->habits, seed);
    draw_priorities(world);
    draw_delays(world);
    draw_retries(world);
    draw_rest(world);
    world->looks = (struct dice){.state = dice_mix(seed + 0x6c6f6f6b)};
    world->habits.look_permille = one_of(&world->looks, 0, 3000, 30000);
    history_init(&world->history);
    world->files = sim_disk_new();
    sim_disk_set_copies_on_write(world->files, world->habits.copies_on_write);
    sim_disk_set_hook(world->files, note_call, world);
    storage_init(&world->storage, world->files, mutant, &world->trace);
    struct wire_events to = {
        .handle = on_event,
        .take = world_on_taken,
        .write = world_on_written,
        .wrong = on_wrong,
        .context = world,
    };
    server_init(&world->server, dice_roll(&world->dice),
                (struct net_port){.post = world_on_action, .context = world}, to, NULL);
    history_set_time(&world->history, world->server.now.monotonic_ms);
    world->server.is_broken = mutant != MUTANT_NONE;
    world->server.frees_early = mutant == MUTANT_EARLY_FREE;
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        actor_init(&world->actors[i], i);
    }
    world_draw_service(world);
    world_draw_bulk(world);
    world_draw_crowd(world);
    return world;
}

void
world_free(struct world **world_pointer)
{
    struct world *world = *world_pointer;
    world_forget_wire(world);
    world->is_ending = true;
    server_fini(&world->server);
    sim_disk_free(&world->files);
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        actor_fini(&world->actors[i]);
    }
    history_fini(&world->history);
    world_free_policies(world);
    free(world->moves);
    free(world->asked);
    free(world);
    *world_pointer = NULL;
}

/* Turns ---------------------------------------------------------------------------------------- */

void
world_forget_wire(struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        actor_forget(&world->actors[i]);
    }
    memset(world->queue_locks, 0, sizeof(world->queue_locks));
    memset(world->exchange_locks, 0, sizeof(world->exchange_locks));
}

/* Sockets of a network take what was posted, mostly. */
static void
report_written(struct world *world, uint32_t network)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        struct actor *actor = &world->actors[i];
        if (actor->link != 0 && net_link_network(actor->link) == network && !actor->is_leaving &&
            actor->unread_octets > 0 && dice_chance(&world->dice, 800)) {
            uint64_t octets = actor->unread_octets;
            actor->unread_octets = 0;
            server_written(&world->server, actor->link, octets);
        }
    }
}

/* A network has its turn: with `is_whole`, until it has done everything. */
static void
turn_network(struct world *world, uint32_t number, bool is_whole)
{
    struct dice *dice = &world->dice;
    size_t octets_max = is_whole ? WIRE_ALL : 1 + dice_below(dice, 300);
    bool writes = is_whole || dice_chance(dice, world->habits.write_permille);
    report_written(world, number);
    wire_turn(&world->server.wire, number, octets_max, writes);
}

/* Networks and core serve their rings in any order, or some of them not at all. */
static void
serve_rings(struct world *world)
{
    struct dice *dice = &world->dice;
    uint32_t count = world->habits.network_count;
    for (uint32_t i = 0; i < count; i++) {
        if (dice_chance(dice, world->habits.network_permille)) {
            turn_network(world, dice_below(dice, count), false);
        }
        if (dice_chance(dice, world->habits.take_permille)) {
            wire_take(&world->server.wire, dice_below(dice, count), 1 + dice_below(dice, 300));
            world_see_ends(world);
        }
    }
}

static void
serve_all_rings(struct world *world)
{
    for (uint32_t i = 0; i < world->habits.network_count; i++) {
        turn_network(world, i, true);
        wire_take(&world->server.wire, i, WIRE_ALL);
    }
}

/* Without networks everything arrives with the end of the tick. */
static void
arrive_directly(struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        world->actors[i].arrival_visible = world->actors[i].arrival_end;
    }
    report_written(world, 0);
}

/* Whether queues have what they should, and are within their limits. */
static void
check_queues(struct world *world)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        const struct queue *queue = handle == HISTORY_NONE ? NULL : world_find_queue(world, handle);
        if (queue == NULL) {
            continue;
        }
        history_check_ready(&world->history, handle, queue->ready_count);
        if (core_head_is_held(queue) && queue->settings->retry.order != RETRY_ORDER_HOLD) {
            history_wrong(&world->history, HISTORY_ORDER,
                          "queue q%" PRIu32 " is held, though it does not keep strict order", name);
        }
        if (queue->consumer_count == 0) {
            history_check_lease(&world->history, handle);
        }
        bool is_late = world->server.core->is_cutting || queue_head_is_away(queue);
        if (queue->settings->overflow == OVERFLOW_DROP_HEAD && queue_is_over_limit(queue) &&
            !is_late) {
            history_wrong(&world->history, HISTORY_ANSWER,
                          "queue q%" PRIu32 " ends a tick with %" PRIu64 " messages", name,
                          queue->ready_count);
        }
    }
}

/* What is on its way to a queue must find it there: nobody sends to one that may have expired. So
 * time waits for that. */
static bool
may_step_clock(const struct world *world, uint64_t ms)
{
    for (uint32_t name = 0; name < HISTORY_NAMES && world->habits.expires_permille > 0; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        const struct history_queue *queue =
            handle == HISTORY_NONE ? NULL : &world->history.queues[handle];
        if (queue != NULL && queue->expires_ms != UINT64_MAX &&
            world->queue_locks[name].user_count > 0 &&
            world->history.now_ms + ms >= queue->used_ms + queue->expires_ms) {
            return false;
        }
    }
    return true;
}

void
world_step_clock(struct world *world, uint64_t ms)
{
    if (!may_step_clock(world, ms)) {
        return;
    }
    history_set_time(&world->history, world->server.now.monotonic_ms + ms);
    server_step_clock(&world->server, ms);
    world_see_ends(world);
    world_check_timeouts(world);
}

void
world_sleep(struct world *world, uint64_t ms)
{
    history_set_time(&world->history, world->server.now.monotonic_ms + ms);
    world->server.now.monotonic_ms += ms;
    world->server.now.wall_ms += (int64_t)ms;
}

/* What is due has died when a tick ends, or the broker has not forgotten it. */
static void
check_deadlines(struct world *world, uint32_t name)
{
    uint32_t handle = history_find_queue(&world->history, name);
    if (handle == HISTORY_NONE) {
        return;
    }
    switch (server_look_for_due(&world->server, sim_queue_name(name))) {
    case SERVER_NOTHING_DUE:
        history_has_expired(&world->history, handle);
        break;
    case SERVER_DUE_LATER:
        break;
    case SERVER_DUE_FORGOTTEN:
        history_wrong(&world->history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " forgets a message that is due", name);
        break;
    }
}

void
world_end_turn(struct world *world)
{
    server_end_tick(&world->server);
    world_see_deaths(world);
    for (uint32_t name = 0; world->history.has_mortals && name < HISTORY_NAMES; name++) {
        check_deadlines(world, name);
    }
    world_check_waiting(world);
    world_check_service(world);
    server_release_tick(&world->server);
    world_watch_alarm(world);
    world_see_ends(world);
    check_queues(world);
    assert(world->breaking_count == 0); /* sent.c has seen to it */
    bool is_released = queue_discards_is_empty(&world->server.core->discards);
    uint64_t purged_last = is_released ? server_log_last(&world->server) : UINT64_MAX;
    history_end_tick(&world->history, world->server.sealed_last, purged_last);
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        actor_end_tick(&world->actors[i], world->purge_count > 1 ? 0 : purged_last);
    }
    world->purge_count = is_released ? 0 : world->purge_count;
    if (wire_is_direct(&world->server.wire)) {
        arrive_directly(world);
    }
}

static void
watch(struct world *world)
{
    if (world->watch != NULL) {
        world->watch(world->watch_context);
    }
}

/* The threads of the store get on with it. False when that ended the process. */
static bool
step_storage(struct world *world, uint32_t permille)
{
    struct server *server = &world->server;
    while (server->storage != NULL && dice_chance(&world->dice, permille)) {
        enum status status = storage_step(server->storage, server->core, &world->dice);
        watch(world);
        if (status == STATUS_OK) {
            continue;
        }
        if (!world->expects_fault) {
            history_wrong(&world->history, HISTORY_ANSWER, "the store fails on a good disk");
        }
        return false;
    }
    return true;
}

/* `permille` of a thousand. */
static bool
draws_end(struct world *world, uint32_t permille)
{
    return world->habits.has_disk && dice_below(&world->dice, 1000 * 1000) < permille;
}

static void
step(struct world *world)
{
    world->trace.step++;
    actor_step(world, &world->actors[dice_below(&world->dice, world->habits.actor_count)]);
    serve_rings(world);
    if (dice_chance(&world->dice, world->habits.turn_permille)) {
        world_end_turn(world);
    }
    watch(world);
    if (dice_chance(&world->dice, 20)) {
        world_step_clock(world, dice_below(&world->dice, 200));
    }
    if (dice_below(&world->service, 1000 * 1000) < world->habits.jump_permille) {
        world_step_clock(world, 1000 + dice_below(&world->service, 8000));
    }
    if (dice_below(&world->service, 1000 * 1000) < world->habits.pause_permille) {
        world_pause(world);
    }
    if (dice_below(&world->service, 1000 * 1000) < world->habits.sending_permille) {
        world_send_on(world);
    }
    if (dice_below(&world->bulk, 1000 * 1000) < world->habits.bulk_permille) {
        world_begin_bulk(world);
    }
    if (dice_below(&world->retries, 1000 * 1000) < world->habits.operator_permille) {
        world_operate(world);
    }
    if (dice_below(&world->looks, 1000 * 1000) < world->habits.look_permille) {
        world_look(world);
    }
    if (dice_below(&world->rest, 1000 * 1000) < world->habits.policy_permille) {
        world_change_policies(world);
    }
    if (!step_storage(world, world->habits.step_permille) ||
        draws_end(world, world->habits.crash_permille)) {
        world_crash(world);
    } else if (draws_end(world, world->habits.stop_permille)) {
        world_stop(world);
    } else if (world->disk_is_filled && dice_chance(&world->dice, 2)) {
        world_empty_disk(world);
    } else if (!world->disk_is_filled && draws_end(world, world->habits.fill_permille)) {
        world_fill_disk(world);
    }
}

/* The end -------------------------------------------------------------------------------------- */

void
world_advance(struct world *world)
{
    serve_all_rings(world);
    world_end_turn(world);
    (void)step_storage(world, 900);
    world_step_clock(world, 10);
}

/* Everybody leaves, so that everything is ready. */
static void
disperse(struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        if (world->actors[i].link != 0 && !world->actors[i].is_leaving) {
            actor_hang_up(world, &world->actors[i]);
        }
    }
    world_advance(world);
    for (int i = 0; i < PATIENCE && (world_has_dying(world) || !wire_is_empty(&world->server.wire));
         i++) {
        uint64_t moved_count = world->history.sums.moved;
        world_advance(world);
        i = world->history.sums.moved == moved_count ? i : 0;
    }
    if (world_has_dying(world) && world->history.wrong_count == 0) {
        history_wrong(&world->history, HISTORY_ANSWER, "something is dying for ever");
    }
    if (!wire_is_empty(&world->server.wire) && world->history.wrong_count == 0) {
        history_wrong(&world->history, HISTORY_ANSWER, "something stays in the rings for ever");
    }
}

/* Reads until the client has what it waits for. */
static void
await(struct world *world, struct actor *actor, const bool *is_there)
{
    for (int i = 0; i < PATIENCE && !*is_there && world->history.wrong_count == 0; i++) {
        world_advance(world);
        actor_read(world, actor, UINT32_MAX);
    }
    if (!*is_there && world->history.wrong_count == 0) {
        history_wrong(&world->history, HISTORY_ANSWER, "no answer comes");
    }
}

static void
await_answer(struct world *world, struct actor *actor, uint16_t channel)
{
    struct actor_request *request = &actor_channel(actor, channel)->request;
    for (int i = 0; i < PATIENCE && request->is_waiting && world->history.wrong_count == 0; i++) {
        world_advance(world);
        actor_read(world, actor, UINT32_MAX);
    }
    if (request->is_waiting && world->history.wrong_count == 0) {
        history_wrong(&world->history, HISTORY_ANSWER, "no answer comes");
    }
}

/* The same from a queue that nobody may get from: everything is consumed. */
static void
consume_all(struct world *world, struct actor *actor, uint32_t queue)
{
    const struct history_queue *known = &world->history.queues[queue];
    struct actor_consumer_terms terms = {.queue = queue, .no_ack = true, .timeout_ms = -1};
    actor_consume(world, actor, 1, &terms);
    await_answer(world, actor, 1);
    for (int i = 0; i < PATIENCE && known->ready_count > 0 && world->history.wrong_count == 0;
         i++) {
        world_advance(world);
        actor_read(world, actor, UINT32_MAX);
    }
    if (known->ready_count > 0 && world->history.wrong_count == 0) {
        history_wrong(&world->history, HISTORY_ANSWER, "a queue is not consumed");
    }
    if (world->history.wrong_count == 0 && actor_cancel_first(world, actor, 1)) {
        await_answer(world, actor, 1);
    }
}

/* One client gets everything out of a queue. */
static void
get_all(struct world *world, struct actor *actor, uint32_t queue)
{
    struct actor_request *request = &actor_channel(actor, 1)->request;
    do {
        struct method method = {
            .id = METHOD_BASIC_GET,
            .basic_get = {.queue = bytes_of(sim_queue_name(world->history.queues[queue].name)),
                          .no_ack = true}};
        *request = (struct actor_request){
            .answer = METHOD_BASIC_GET_EMPTY, .is_waiting = true, .queue = queue};
        struct sent sent = actor_sent(actor, 1);
        sent.queue = queue;
        sent.happens_at_once = true;
        sent.effect = actor_end_get;
        actor_send(world, &method, &sent);
        await_answer(world, actor, 1);
    } while (world->history.wrong_count == 0 && world->history.queues[queue].ready_count > 0);
}

static void
drain_queue(struct world *world, struct actor *actor, uint32_t queue)
{
    const struct history_queue *known = &world->history.queues[queue];
    if (known->is_quorum && known->is_single_active) {
        consume_all(world, actor, queue);
    } else {
        get_all(world, actor, queue);
    }
}

static void
drain_queues(struct world *world, struct actor *actor)
{
    for (uint32_t name = 0; name < HISTORY_NAMES && world->history.wrong_count == 0; name++) {
        uint32_t queue = history_find_queue(&world->history, name);
        if (queue != HISTORY_NONE) {
            drain_queue(world, actor, queue);
        }
    }
}

/* Whether a message is anywhere, or may be. */
static bool
has_messages(const struct world *world)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        const struct history_queue *queue =
            handle == HISTORY_NONE ? NULL : &world->history.queues[handle];
        if (queue != NULL &&
            queue->ready_count + queue->due_count + queue->dying_count + queue->waiting_count > 0) {
            return true;
        }
    }
    return false;
}

static uint32_t
count_waiting(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        uint32_t handle = history_find_queue(&world->history, name);
        count += handle == HISTORY_NONE ? 0 : world->history.queues[handle].waiting_count;
    }
    return count;
}

static void
drain(struct world *world)
{
    world_end_pauses(world);
    disperse(world);
    if (world->history.wrong_count > 0) {
        return;
    }
    struct actor *actor = &world->actors[0];
    actor->tired = 0;
    actor_step(world, actor);
    await(world, actor, &actor->is_up);
    if (world->history.wrong_count > 0) {
        return;
    }
    actor_open_channel(world, actor, 1);
    await_answer(world, actor, 1);
    /* What is due meanwhile dies, and may go to a queue that was empty; of what is overdue some
     * queues let in one message after the other. */
    uint32_t rounds_max = HISTORY_DEATHS_MAX + count_waiting(world);
    for (uint32_t round = 0; round < rounds_max && has_messages(world); round++) {
        world_release_parked(world);
        drain_queues(world, actor);
        world_step_clock(world, 5000);
        world_advance(world);
    }
    if (world->history.wrong_count == 0 && has_messages(world)) {
        history_wrong(&world->history, HISTORY_ANSWER, "messages go round for ever");
    }
    for (int i = 0; i < PATIENCE && world_has_bulk(world) && world->history.wrong_count == 0; i++) {
        world_advance(world);
    }
    if (world->history.wrong_count == 0 && world_has_bulk(world)) {
        history_wrong(&world->history, HISTORY_ANSWER, "what waits is worked off for ever");
    }
}

/* Everybody waits for somebody. */
static bool
stands_still(struct world *world, uint64_t done_count)
{
    world->idle_steps = world->operation_count == done_count ? world->idle_steps + 1 : 0;
    return world->idle_steps == STEPS_MAX;
}

/* Whether a client has something that it has not settled. */
static bool
has_held(const struct world *world)
{
    for (uint32_t i = 0; i < ACTORS_MAX * ACTOR_CHANNELS; i++) {
        if (world->actors[i / ACTOR_CHANNELS].channels[i % ACTOR_CHANNELS].held_count > 0) {
            return true;
        }
    }
    return false;
}

/* What nobody takes or settles may keep the memory alarm on where there is no disk, and who would
 * do so waits behind what he has published, which in a crowd may lie in as many chunks as there may
 * be; or time waits for him (may_step_clock), and memory for time. */
static bool
is_full(const struct world *world)
{
    bool time_waits = world->habits.expires_permille > 0;
    bool may_stay = !world->habits.has_disk || world->habits.is_crowded;
    return (world->server.core->alarms & ALARM_MEMORY) != 0 &&
           (time_waits || (may_stay && (has_messages(world) || has_held(world))));
}

/* Somebody new takes everything, which has to end the alarm. */
static void
relieve(struct world *world)
{
    world_note(world, "relieve", 0, 0, 0);
    world->idle_steps = 0;
    drain(world);
    if (world->history.wrong_count == 0 && (world->server.core->alarms & ALARM_MEMORY) != 0) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "memory is short though no message is there any more");
    }
}

bool
world_go_on(struct world *world, uint64_t operation_count)
{
    if (world->server.core == NULL) {
        world_begin(world);
    }
    while (world->operation_count < operation_count && world->history.wrong_count == 0) {
        uint64_t done_count = world->operation_count;
        step(world);
        bool is_still = stands_still(world, done_count);
        if (is_still && is_full(world)) {
            relieve(world);
        } else if (is_still) {
            history_wrong(&world->history, HISTORY_ANSWER, "nobody can do anything any more");
        }
    }
    return world->history.wrong_count == 0;
}

bool
world_run(struct world *world, uint64_t operation_count)
{
    if (!world_go_on(world, operation_count)) {
        return false;
    }
    server_check(&world->server);
    world_calm(world);
    drain(world);
    history_check_draws(&world->history);
    return world->history.wrong_count == 0;
}
