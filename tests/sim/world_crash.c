/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of the broker's process, and what the next one must find. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "broker/topology/vhost.h"
#include "store/journal.h"
#include "tests/sim/world.h"

enum { STARTS_MAX = 50, TURNS_MAX = 2000, RING_OCTETS = 256 };

/* Faults --------------------------------------------------------------------------------------- */

/* One of the next calls fails. */
static void
plan_fault(struct world *world)
{
    static const enum sim_disk_call calls[] = {
        SIM_DISK_WRITE, SIM_DISK_WRITE,  SIM_DISK_FLUSH,           SIM_DISK_OPEN,
        SIM_DISK_READ,  SIM_DISK_RENAME, SIM_DISK_FLUSH_DIRECTORY,
    };
    static const int errors[] = {EIO, ENOSPC, EIO};
    enum sim_disk_call call = calls[dice_below(&world->dice, ARRAY_LEN(calls))];
    uint64_t nth = 1 + dice_below(&world->dice, 200);
    int error = errors[dice_below(&world->dice, ARRAY_LEN(errors))];
    world_note(world, "plan fault", (uint64_t)call, nth, (uint64_t)error);
    if (call == SIM_DISK_WRITE && dice_below(&world->dice, 2) == 0) {
        sim_disk_fail_short(world->files, nth, dice_below(&world->dice, 4096), error);
    } else {
        sim_disk_fail(world->files, call, nth, error);
    }
    world->expects_fault = true;
}

static const uint64_t CAPACITY = UINT64_C(1) << 40; /* of a simulated disk that is new */

/* Without the room that a ballast gives up, a disk that copies on write could then fail the log at
 * once; with it that is rare, but it may still happen. */
void
world_fill_disk(struct world *world)
{
    uint64_t used = CAPACITY - sim_disk_free_bytes(world->files);
    uint64_t left = dice_below(&world->dice, 2 * SERVER_DISK_MARK);
    world_note(world, "disk is filled", used, left, 0);
    sim_disk_set_capacity(world->files, used + left);
    world->disk_is_filled = true;
    world->expects_fault = true;
}

void
world_empty_disk(struct world *world)
{
    world_note(world, "disk has room", 0, 0, 0);
    sim_disk_set_capacity(world->files, CAPACITY);
    world->disk_is_filled = false;
}

void
world_calm(struct world *world)
{
    world_empty_disk(world);
    for (int call = 0; call < SIM_DISK_CALL_COUNT; call++) {
        sim_disk_fail(world->files, (enum sim_disk_call)call, 0, 0);
    }
    world->expects_fault = false;
}

/* Of what cannot be read while the broker runs, a message is set aside until the next start:
 * nothing that the history knows of. */
static void
spare_reads(struct world *world)
{
    sim_disk_fail(world->files, SIM_DISK_READ, 0, 0);
    sim_disk_fail(world->files, SIM_DISK_OPEN, 0, 0);
}

static void
fill_random(void *context, void *out, size_t size)
{
    struct dice *dice = context;
    uint8_t *octets = out;
    for (size_t i = 0; i < size; i++) {
        octets[i] = (uint8_t)dice_roll(dice);
    }
}

/* What was not flushed is lost, or all that was written survives. True for the first. */
static bool
end_disk(struct world *world)
{
    if (!dice_chance(&world->dice, world->habits.power_permille)) {
        world_note(world, "killed", 0, 0, 0);
        sim_disk_kill(world->files);
        return false;
    }
    struct random_source random = {.fill = fill_random, .context = &world->dice};
    static const enum sim_disk_policy policies[] = {SIM_DISK_RANDOM, SIM_DISK_RANDOM,
                                                    SIM_DISK_RANDOM, SIM_DISK_NONE,
                                                    SIM_DISK_NAMES,  SIM_DISK_ALL};
    enum sim_disk_policy policy = policies[dice_below(&world->dice, ARRAY_LEN(policies))];
    world_note(world, "power cut", (uint64_t)policy, 0, 0);
    sim_disk_crash(world->files, policy, &random);
    return true;
}

/* Starting ------------------------------------------------------------------------------------- */

/* Starts until it works: a start may fail with the disk, and is then a crash of its own. */
static bool
start(struct world *world, bool *is_power_cut)
{
    for (int i = 0; i < STARTS_MAX; i++) {
        world_calm(world);
        if (dice_chance(&world->dice, world->habits.fault_permille)) {
            plan_fault(world);
        }
        world->is_starting = true;
        enum status status = server_start(&world->server);
        world->is_starting = false;
        world_note(world, "start", (uint64_t)status, world->server.cut, 0);
        if (status == STATUS_OK) {
            spare_reads(world);
            return true;
        }
        if (status != STATUS_IO || !world->expects_fault) {
            break;
        }
        *is_power_cut |= end_disk(world);
    }
    history_wrong(&world->history, HISTORY_LOST, "the broker does not start: %s",
                  world->server.why[0] != '\0' ? world->server.why : world->server.line);
    return false;
}

void
world_begin(struct world *world)
{
    world->server.memory_mark_bytes = world->habits.memory_mark_bytes;
    world->server.work_per_tick = world->habits.work_per_tick;
    world->server.queues_max = world->habits.queues_max;
    world->server.connections_max = world->habits.connections_max;
    world->server.user_connections_max = world->habits.user_connections_max;
    world->server.user_channels_max = world->habits.user_channels_max;
    world_make_policies(world);
    world->server.wire.network_count = world->habits.network_count;
    world->server.wire.ring_octets = RING_OCTETS;
    world->server.storage = world->habits.has_disk ? &world->storage : NULL;
    world_note(world, "networks", world->habits.network_count, 0, 0);
    bool is_power_cut = false;
    (void)start(world, &is_power_cut);
}

/* Looking -------------------------------------------------------------------------------------- */

static void
look_at_queues(struct world *world, const struct vhost *vhost)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        const struct queue *queue = vhost_find_queue(vhost, bytes_of(sim_queue_name(name)));
        if (queue != NULL) {
            world_look_at_waiting(world, queue);
        }
        history_found_queue(&world->history, name, queue == NULL ? 0 : queue->target.id,
                            queue == NULL ? 0 : queue->ready_count);
        if (queue != NULL) {
            history_found_pause(&world->history, queue->target.id, queue->is_paused);
        }
    }
}

static uint32_t
number_in(struct bytes name)
{
    uint32_t number = 0;
    for (size_t i = 1; i < name.size; i++) {
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    }
    return number;
}

static void
look_at_bindings(struct world *world, uint32_t name, const struct exchange *exchange)
{
    uint64_t position = 0;
    for (const struct binding *binding;
         (binding = binding_table_next(&exchange->bindings, &position)) != NULL;) {
        history_found_binding(&world->history, name,
                              number_in(queue_name(queue_of_target(binding->target))),
                              number_in(binding_routing_key(binding)) - 1);
    }
}

static void
look_at_exchanges(struct world *world, const struct vhost *vhost)
{
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        const struct exchange *exchange =
            vhost_find_exchange(vhost, bytes_of(sim_exchange_name(name)));
        history_found_exchange(&world->history, name, exchange != NULL);
    }
    for (uint32_t name = 0; name < HISTORY_NAMES; name++) {
        const struct exchange *exchange =
            vhost_find_exchange(vhost, bytes_of(sim_exchange_name(name)));
        if (exchange != NULL) {
            look_at_bindings(world, name, exchange);
        }
    }
}

/* The process and everything that hung on it is gone; the next one takes its place. */
static void
restart(struct world *world)
{
    world_forget_wire(world);
    world->is_ending = true;
    server_kill(&world->server);
    world->is_ending = false;
    world_forget_deaths(world);
    world_forget_bulk(world);
    world->alarm_from_ms = 0;
    world->purge_count = 0;
    bool is_power_cut = end_disk(world);
    if (world->habits.downtime_permille > 0 &&
        dice_chance(&world->service, world->habits.downtime_permille)) {
        world_sleep(world, dice_below(&world->service, 10000));
    }
    if (!start(world, &is_power_cut)) {
        return;
    }
    world_settle_policies(world);
    history_crash(&world->history, world->server.cut, is_power_cut);
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    assert(vhost != NULL);
    look_at_queues(world, vhost);
    look_at_exchanges(world, vhost);
    history_end_findings(&world->history);
}

/* Whether the next process goes as well, before anybody was served. */
static bool
goes_again(struct world *world)
{
    bool may_go = world->habits.twice_permille > 0 && world->history.wrong_count == 0;
    return may_go && dice_chance(&world->rest, world->habits.twice_permille);
}

/* Its store has got something done, or nothing. */
static void
live_shortly(struct world *world)
{
    enum status status = STATUS_OK;
    for (uint32_t i = dice_below(&world->rest, 4); i > 0 && status == STATUS_OK; i--) {
        if (dice_below(&world->rest, 2) == 0) {
            world_end_turn(world);
        }
        status = storage_step(&world->storage, world->server.core, &world->dice);
    }
}

void
world_crash(struct world *world)
{
    world_note(world, "crash", world->history.sums.crashes, storage_flushed(&world->storage), 0);
    restart(world);
    while (goes_again(world)) {
        live_shortly(world);
        world_note(world, "again", world->history.sums.crashes, storage_flushed(&world->storage),
                   0);
        restart(world);
    }
}

/* Turns go on until everything that was promised has been said. */
static bool
say_all(struct world *world)
{
    for (int i = 0; i < TURNS_MAX && world->history.wrong_count == 0; i++) {
        uint64_t moved_count = world->history.sums.moved;
        world_advance(world);
        if (core_has_said_all(world->server.core)) {
            return true;
        }
        i = world->history.sums.moved == moved_count ? i : 0; /* the dead go one by one */
    }
    return false;
}

/* No turn any more: what was handed over is carried out. */
static bool
come_to_rest(struct world *world)
{
    struct storage *storage = &world->storage;
    (void)journal_seal(storage->journal, true);
    uint64_t token = journal_token(storage->journal);
    for (int i = 0; i < TURNS_MAX; i++) {
        for (int step = 0; step < 100; step++) {
            if (storage_step(storage, world->server.core, &world->dice) != STATUS_OK) {
                return false;
            }
        }
        if (storage_is_quiet(storage) && journal_commit_lsn(storage->journal) >= token) {
            return true;
        }
        world_step_clock(world, 1000);
        storage_end_turn(storage, world->server.core);
    }
    return false;
}

void
world_stop(struct world *world)
{
    world_note(world, "stop", storage_flushed(&world->storage), 0, 0);
    world_calm(world);
    core_hold_publishers(world->server.core);
    bool is_quiet = say_all(world) && come_to_rest(world);
    uint64_t last = journal_token(world->storage.journal);
    if (world->history.wrong_count > 0) {
        return;
    }
    if (!is_quiet || storage_finish(&world->storage) != STATUS_OK) {
        history_wrong(&world->history, HISTORY_ANSWER, "the broker does not come to an end");
        return;
    }
    restart(world);
    if (world->history.wrong_count == 0 && world->server.cut < last) {
        history_wrong(&world->history, HISTORY_LOST,
                      "an orderly stop at %" PRIu64 " left a log that ends at %" PRIu64, last,
                      world->server.cut);
    }
}
