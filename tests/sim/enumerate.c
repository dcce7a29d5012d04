/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/enumerate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/found.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/judge.h"
#include "tests/sim/world.h"

/* How far the log was promised when so many calls were recorded. */
struct promise {
    uint32_t call_count;
    uint64_t promised;
};

struct work {
    struct enumeration *enumeration;
    struct world *world;
    struct sim_recording *recording;
    struct promise *promises; /* rising; owned */
    uint32_t promise_count, promise_capacity;
    struct found found;
    uint64_t random_state;
};

/* Recording ------------------------------------------------------------------------------------ */

static void
note_promise(void *context)
{
    struct work *work = context;
    uint64_t promised = work->world->history.promised;
    uint64_t last = work->promise_count == 0 ? 0 : work->promises[work->promise_count - 1].promised;
    if (promised > last) {
        *HISTORY_PUSH(work->promises, work->promise_count, work->promise_capacity) =
            (struct promise){.call_count = sim_recording_count(work->recording),
                             .promised = promised};
    }
}

static uint64_t
promised_at(const struct work *work, uint32_t prefix)
{
    uint64_t promised = 0;
    for (uint32_t i = 0; i < work->promise_count && work->promises[i].call_count <= prefix; i++) {
        promised = work->promises[i].promised;
    }
    return promised;
}

/* Topology and traffic of all kinds, and nothing that fails by itself. */
static void
set_habits(struct world *world)
{
    struct habits *habits = &world->habits;
    habits->has_disk = true;
    habits->crash_permille = 0;
    habits->fault_permille = 0;
    habits->stop_permille = 0;
    habits->persistent_permille = 900;
    habits->durable_permille = 900;
    habits->ready_max = 100;
    habits->queue_names = 1 + habits->queue_names % 5;
}

/* Everything that was under way gets its place in the log. */
static bool
record(struct work *work)
{
    struct enumeration *enumeration = work->enumeration;
    struct world *world = work->world;
    uint64_t operation_count = 0;
    for (uint32_t i = 0; i < enumeration->crash_count; i++) {
        operation_count += enumeration->operation_count;
        if (!world_go_on(world, operation_count)) {
            return false;
        }
        world_crash(world);
        if (world->history.wrong_count > 0) {
            return false;
        }
    }
    work->recording = sim_disk_record(world->files);
    world->watch = note_promise;
    world->watch_context = work;
    world->history.keeps_all = true;
    bool is_good = world_go_on(world, operation_count + enumeration->operation_count);
    if (is_good) {
        world_end_turn(world);
        note_promise(work);
    }
    sim_disk_stop_recording(world->files);
    enumeration->call_count += sim_recording_count(work->recording);
    return is_good;
}

/* Judging -------------------------------------------------------------------------------------- */

static uint64_t
find_cut(const struct work *work)
{
    const struct storage *storage = &work->world->storage;
    const struct manifest *manifest = &work->found.recovery.manifest;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        if (manifest->epochs[i].number == storage->epoch) {
            return manifest->epochs[i].end_lsn;
        }
    }
    return storage->first_lsn;
}

static bool
judge(struct work *work, struct sim_disk *files, uint32_t prefix, uint64_t *cut_out)
{
    struct history *history = &work->world->history;
    struct disk disk = disk_of_sim(files);
    struct disk seen = mutant_disk(&disk, work->enumeration->mutant);
    struct random_source random = random_seeded(&work->random_state);
    char why[HISTORY_TEXT_SIZE];
    work->enumeration->state_count++;
    if (found_read(&work->found, &seen, STORAGE_SLOT, &random, why, sizeof(why)) != STATUS_OK) {
        history_wrong(history, HISTORY_LOST, "recovery: %s", why);
        return false;
    }
    *cut_out = find_cut(work);
    judge_found(history, &work->found, *cut_out, promised_at(work, prefix));
    return history->wrong_count == 0;
}

/* The power goes once more behind the recovery, whose cut is for good. */
static bool
judge_again(struct work *work, struct sim_disk *files, uint32_t prefix, uint64_t cut)
{
    struct random_source random = random_seeded(&work->random_state);
    sim_disk_crash(files, SIM_DISK_RANDOM, &random);
    uint64_t second_cut;
    if (!judge(work, files, prefix, &second_cut)) {
        return false;
    }
    if (second_cut != cut) {
        history_wrong(&work->world->history, HISTORY_LOST,
                      "a second recovery cuts the log at %" PRIu64 ", the first did at %" PRIu64,
                      second_cut, cut);
    }
    return second_cut == cut;
}

static bool
judge_state(struct work *work, uint32_t prefix, enum sim_disk_policy policy, uint64_t seed)
{
    struct sim_disk *files = sim_disk_replay(work->recording, prefix, policy, seed);
    uint64_t cut;
    bool is_good = judge(work, files, prefix, &cut);
    if (is_good && seed % 4 == 1) {
        is_good = judge_again(work, files, prefix, cut);
    }
    sim_disk_free(&files);
    if (!is_good) {
        (void)snprintf(work->enumeration->wrong, sizeof(work->enumeration->wrong),
                       "seed %" PRIu64 " crashes %" PRIu32 " call %" PRIu32 " policy %d/%" PRIu64
                       ": %.180s",
                       work->enumeration->seed, work->enumeration->crash_count, prefix, (int)policy,
                       seed, work->world->history.first_wrong);
    }
    return is_good;
}

static bool
judge_prefix(struct work *work, uint32_t prefix)
{
    static const enum sim_disk_policy whole[] = {SIM_DISK_NONE, SIM_DISK_NAMES, SIM_DISK_ALL};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        if (!judge_state(work, prefix, whole[i], 0)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < work->enumeration->random_count; i++) {
        if (!judge_state(work, prefix, SIM_DISK_RANDOM, (uint64_t)prefix * 1000 + i)) {
            return false;
        }
    }
    return true;
}

bool
enumerate(struct enumeration *enumeration)
{
    struct work work = {.enumeration = enumeration,
                        .world = world_new(enumeration->seed, enumeration->mutant, NULL),
                        .random_state = enumeration->seed};
    set_habits(work.world);
    found_init(&work.found);
    bool is_good = record(&work);
    if (!is_good) {
        (void)snprintf(enumeration->wrong, sizeof(enumeration->wrong), "seed %" PRIu64 ": %.200s",
                       enumeration->seed, work.world->history.first_wrong);
    } else {
        uint32_t count = sim_recording_count(work.recording);
        for (uint32_t prefix = 0; prefix <= count && is_good; prefix += enumeration->stride) {
            is_good = judge_prefix(&work, prefix);
        }
    }
    found_fini(&work.found);
    sim_recording_free(&work.recording);
    free(work.promises);
    world_free(&work.world);
    return is_good;
}
