/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories of a data directory against a table of what must live: messages published,
 * returned with another state and removed, queues made and deleted, snapshots, folds, packs, kills
 * and power cuts. Whatever the order, what was flushed is what comes back. Jobs come at random, or
 * as the account of space asks for them; then segments go as well. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/fold.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "store/space.h"
#include "tests/fuzz/draw.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { VHOST = 1, QUEUES = 6, MESSAGES_MAX = 4000, STEPS = 700, SEEDS = 12 };

/* A message in one queue. */
struct model_row {
    bool is_live;
    struct row_state state;
    struct row_attempts attempts;
    uint64_t state_lsn; /* as from journal_return; 0: it came with the message, or there is none */
};

struct model_message {
    uint64_t lsn;
    uint32_t size;
    struct model_row rows[QUEUES];
};

struct model {
    struct sim_disk *sim;
    struct disk disk;
    struct store_maker maker;
    struct store_content content;
    struct draw draw;
    uint64_t queues[QUEUES]; /* ids; 0: not there */
    uint64_t next_id;
    struct model_message messages[MESSAGES_MAX];
    size_t count;
    struct space *space;     /* owned; NULL: jobs come at random */
    uint64_t indexed_number; /* up to which it knows of indexes */
    uint64_t packs, retired, states;
};

/* Checking ------------------------------------------------------------------------------------- */

static int
queue_at(const struct model *model, uint64_t id)
{
    for (int i = 0; i < QUEUES; i++) {
        if (model->queues[i] == id) {
            return i;
        }
    }
    return -1;
}

static size_t
count_live(const struct model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        for (int queue = 0; queue < QUEUES; queue++) {
            count += model->messages[i].rows[queue].is_live;
        }
    }
    return count;
}

/* A state that was returned stands somewhere in its batch. */
static void
expect_state(const struct recovered_row *found, struct model_row *row)
{
    cr_assert(row_state_equals(&found->state, &row->state), "another state");
    cr_assert(row_attempts_equals(&found->attempts, &row->attempts), "other attempts");
    cr_assert(eq(int, found->state_lsn != 0, row->state_lsn != 0));
    cr_assert(found->state_lsn - row->state_lsn < STORE_MAKER_SLOT);
    row->state_lsn = found->state_lsn;
}

static void
expect_rows(struct model *model)
{
    const struct store_content *content = &model->content;
    size_t at = 0;
    for (size_t i = 0; i < content->row_count; i++) {
        const struct recovered_row *row = &content->rows[i];
        while (at < model->count && model->messages[at].lsn < row->lsn) {
            at++;
        }
        int queue = queue_at(model, row->queue);
        cr_assert(at < model->count && model->messages[at].lsn == row->lsn, "unknown message");
        cr_assert(queue >= 0 && model->messages[at].rows[queue].is_live, "a dead row");
        expect_state(row, &model->messages[at].rows[queue]);
        cr_assert(eq(u32, row->body_size, model->messages[at].size));
    }
    cr_assert(eq(sz, content->row_count, count_live(model)));
}

/* Every body is fetched, wherever its content lies by now. */
static void
expect_bodies(const struct model *model)
{
    struct small_store store;
    size_t next = 0;
    struct store_content part = model->content;
    while (next < model->count) {
        store.count = 0;
        for (; next < model->count && store.count < SMALL_STORE_MESSAGES; next++) {
            store.lsns[store.count] = model->messages[next].lsn;
            store.sizes[store.count++] = model->messages[next].size;
        }
        uint64_t last = store.lsns[store.count - 1];
        size_t rows = 0;
        while (rows < part.row_count && part.rows[rows].lsn <= last) {
            rows++;
        }
        struct store_content chosen = {.rows = part.rows, .row_count = rows};
        cr_assert(small_store_bodies_are_right(&store, &model->disk, &chosen));
        part.rows += rows;
        part.row_count -= rows;
    }
}

/* The account of space ------------------------------------------------------------------------- */

static uint64_t
committed(const struct model *model)
{
    uint64_t lsn = journal_commit_lsn(model->maker.journal);
    return lsn != 0 ? lsn : model->maker.recovery.next_segment_base;
}

static uint64_t
epoch_at(const struct manifest *manifest, uint64_t lsn)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        number = manifest->epochs[i].first_lsn <= lsn ? manifest->epochs[i].number : number;
    }
    return number;
}

/* As the keeper takes over what recovery found. */
static void
begin_account(struct model *model)
{
    struct space_settings settings = {
        .slot_size = STORE_MAKER_SLOT, .sort_slots = 8, .may_pack = true};
    const struct recovery *recovery = &model->maker.recovery;
    model->space = space_new(&settings);
    for (uint32_t i = 0; i < recovery->segment_count; i++) {
        const struct recovered_segment *segment = &recovery->segments[i];
        space_add_segment(model->space, segment->number, segment->last,
                          epoch_at(&recovery->manifest, segment->base_lsn), segment->base_lsn,
                          segment->capacity);
        space_segment_indexed(model->space, segment->number);
        space_add_rows(model->space, segment->base_lsn, segment->row_count, segment->row_octets);
        space_segment_runs(model->space, segment->number, segment->run_octets, segment->run_count);
        if (segment->topology_lsn != 0) {
            space_add_topology(model->space, segment->topology_lsn);
        }
    }
    for (uint32_t i = 0; i < recovery->removal_count; i++) {
        space_add_removal(model->space, recovery->removals[i].lsn, recovery->removals[i].batch_lsn);
    }
    space_snapshot_taken(model->space, recovery->manifest.snapshot_lsn);
    const struct segment_header *first = &model->maker.newest;
    model->indexed_number = first->number - 1;
    space_add_segment(model->space, first->number, first->number, first->epoch, first->base_lsn,
                      first->capacity);
}

/* What recovery counts is what was counted while the process ran. */
static void
renew_account(struct model *model)
{
    uint64_t live_octets = space_live_octets(model->space);
    space_free(&model->space);
    begin_account(model);
    cr_assert(eq(u64, space_live_octets(model->space), live_octets));
}

static void
note_indexes(struct model *model)
{
    char name[STORE_NAME_SIZE];
    space_journal_at(model->space, journal_segment_base(model->maker.journal));
    while (sim_disk_has(model->sim,
                        store_file_name(STORE_FILE_INDEX, model->indexed_number + 1, 0, name))) {
        struct segment_index index;
        model->indexed_number++;
        enum status status = segment_index_read(&index, &model->disk, model->indexed_number);
        cr_assert(eq(int, status, STATUS_OK));
        struct index_runs runs = segment_index_runs(&index);
        space_segment_indexed(model->space, model->indexed_number);
        space_segment_runs(model->space, model->indexed_number, runs.octets, runs.count);
        segment_index_fini(&index);
    }
}

static uint64_t
row_octets(const struct model *model, size_t at)
{
    return space_row_octets(model->messages[at].size);
}

/* The row has left its queue; `batch_lsn` as in space_remove_row. */
static void
end_row(struct model *model, size_t at, int queue, uint64_t batch_lsn)
{
    struct model_row *row = &model->messages[at].rows[queue];
    if (model->space != NULL) {
        space_remove_row(model->space, model->messages[at].lsn, row_octets(model, at), batch_lsn);
        if (row->state_lsn != 0) {
            space_remove_state(model->space, row->state_lsn, batch_lsn);
        }
    }
    *row = (struct model_row){0};
}

/* Steps ---------------------------------------------------------------------------------------- */

static void
start(struct model *model)
{
    char why[512];
    store_content_fini(&model->content);
    enum status status = store_maker_start(&model->maker, &model->content, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
    expect_rows(model);
    expect_bodies(model);
}

/* Any part of it may be missing. */
static struct row_state
draw_state(struct draw *draw)
{
    struct row_state state = {0};
    state.due_ms = draw_chance(draw, 40) ? draw_u64(draw) >> 1 : 0;
    state.deadline_ms = draw_chance(draw, 40) ? draw_number(draw) >> 1 : 0;
    state.arrival_ms = draw_chance(draw, 20) ? draw_u64(draw) >> 1 : 0;
    state.delivery_count = draw_chance(draw, 30) ? draw_below(draw, 20) : 0;
    state.acquired_count = draw_chance(draw, 30) ? (uint32_t)draw_u64(draw) : 0;
    state.verdict = (uint8_t)draw_below(draw, ROW_VERDICT_TIMEOUT + 1);
    state.priority = (uint8_t)draw_below(draw, 256);
    return state;
}

static struct row_attempts
draw_attempts(struct draw *draw)
{
    struct row_attempts attempts = {0};
    for (int i = 0; i < ROW_ATTEMPTS_MAX && draw_chance(draw, 60); i++) {
        attempts.times_ms[i] = (uint32_t)draw_u64(draw);
        attempts.verdicts |= (uint16_t)(draw_below(draw, ROW_VERDICT_TIMEOUT + 1) << 3 * i);
    }
    return attempts;
}

/* States of some of the queues that the message goes to; each stands for a few of them. */
static uint32_t
draw_states(struct model *model, uint32_t queue_count, struct journal_state *states)
{
    uint32_t count = 0;
    for (uint32_t at = draw_below(&model->draw, 3); at < queue_count;) {
        uint32_t share = 1 + draw_below(&model->draw, queue_count - at);
        states[count++] =
            (struct journal_state){.state = draw_state(&model->draw), .first = at, .count = share};
        at += share + draw_below(&model->draw, 2);
    }
    return count;
}

static void
publish(struct model *model)
{
    uint64_t ids[QUEUES];
    int places[QUEUES];
    uint32_t count = 0;
    struct model_message message = {.size = draw_below(&model->draw, 4000)};
    for (int i = 0; i < QUEUES; i++) {
        if (model->queues[i] != 0 && draw_chance(&model->draw, 40)) {
            places[count] = i;
            ids[count++] = model->queues[i];
            message.rows[i].is_live = true;
        }
    }
    if (count == 0 || model->count == MESSAGES_MAX) {
        return;
    }
    struct journal_state states[QUEUES];
    uint32_t state_count = draw_chance(&model->draw, 50) ? draw_states(model, count, states) : 0;
    for (uint32_t i = 0; i < state_count; i++) {
        for (uint32_t at = states[i].first; at < states[i].first + states[i].count; at++) {
            message.rows[places[at]].state = states[i].state;
        }
    }
    message.lsn = store_maker_publish_with(&model->maker, ids, count, states, state_count,
                                           "message ", message.size);
    model->messages[model->count] = message;
    if (model->space != NULL) {
        space_add_rows(model->space, message.lsn, count, count * row_octets(model, model->count));
    }
    model->count++;
}

/* A message is returned to its queue: the log keeps something else of it from now on. */
static void
return_row(struct model *model, size_t at, int queue)
{
    struct model_row *row = &model->messages[at].rows[queue];
    uint64_t old_lsn = row->state_lsn;
    row->state = draw_state(&model->draw);
    row->attempts = draw_attempts(&model->draw);
    row->state_lsn = journal_return(model->maker.journal, model->queues[queue],
                                    model->messages[at].lsn, &row->state, &row->attempts);
    model->states++;
    if (model->space == NULL) {
        return;
    }
    space_add_state(model->space, row->state_lsn);
    if (old_lsn != 0) {
        space_remove_state(model->space, old_lsn, journal_open_lsn(model->maker.journal));
    }
}

static void
return_some(struct model *model)
{
    uint32_t percent = 5 + draw_below(&model->draw, 60);
    for (size_t i = 0; i < model->count; i++) {
        for (int queue = 0; queue < QUEUES; queue++) {
            if (model->messages[i].rows[queue].is_live && draw_chance(&model->draw, percent)) {
                return_row(model, i, queue);
            }
        }
    }
}

static void
remove_some(struct model *model)
{
    uint32_t percent = 10 + draw_below(&model->draw, 80);
    for (size_t i = 0; i < model->count; i++) {
        for (int queue = 0; queue < QUEUES; queue++) {
            if (model->messages[i].rows[queue].is_live && draw_chance(&model->draw, percent)) {
                journal_remove(model->maker.journal, model->queues[queue], model->messages[i].lsn);
                end_row(model, i, queue, journal_open_lsn(model->maker.journal));
            }
        }
    }
}

static void
note_topology(struct model *model)
{
    if (model->space != NULL) {
        space_add_topology(model->space, journal_open_lsn(model->maker.journal));
    }
}

static void
change_queue(struct model *model)
{
    uint32_t at = draw_below(&model->draw, QUEUES);
    struct buffer record = {0};
    if (model->queues[at] == 0) {
        model->queues[at] = model->next_id++;
        store_maker_queue(&model->maker, model->queues[at], VHOST, "queue");
        note_topology(model);
        return;
    }
    record_put_delete(&record, RECORD_QUEUE_DELETE, model->queues[at]);
    store_maker_put(&model->maker, &record);
    note_topology(model);
    model->queues[at] = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->messages[i].rows[at].is_live) {
            end_row(model, i, (int)at, 0);
        }
    }
}

static void
snapshot(struct model *model)
{
    uint64_t octets;
    struct log_failure failure;
    enum status status = snapshot_take(&model->disk, &model->maker.recovery.manifest,
                                       committed(model), &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s %s", failure.what, failure.file);
}

static uint64_t
draw_segment(struct model *model)
{
    return 1 + draw_below(&model->draw, (uint32_t)model->maker.newest.number);
}

static void
fold(struct model *model)
{
    struct log_failure failure;
    enum status status = fold_run(&model->disk, draw_segment(model), committed(model), &failure);
    cr_assert(status == STATUS_OK || status == STATUS_IO, "%s", failure.file);
}

static void
pack(struct model *model)
{
    struct log_failure failure;
    uint64_t octets;
    uint64_t first = draw_segment(model);
    uint64_t last = first + 1 + draw_below(&model->draw, 4);
    enum status status = pack_run(&model->disk, first, last, committed(model), &octets, &failure);
    cr_assert(ne(int, status, STATUS_CORRUPT), "%s", failure.file);
    model->packs += status == STATUS_OK;
}

/* Does what the account of space asks for. */
static void
do_job(struct model *model, const struct space_job *job)
{
    struct log_failure failure;
    struct manifest *manifest = &model->maker.recovery.manifest;
    uint64_t octets = 0;
    enum status status = STATUS_OK;
    if (job->work == SPACE_RETIRE && job->is_pack) {
        status = pack_retire(&model->disk, job->number, job->last, &failure);
    } else if (job->work == SPACE_RETIRE) {
        status = segment_retire(&model->disk, job->number, 0, &failure);
    } else if (job->work == SPACE_SNAPSHOT) {
        manifest_drop_epochs(manifest, space_oldest_lsn(model->space));
        status = snapshot_take(&model->disk, manifest, job->lsn, &octets, &failure);
    } else if (job->work == SPACE_FOLD) {
        status = fold_run(&model->disk, job->number, job->lsn, &failure);
    } else {
        status = pack_run(&model->disk, job->number, job->last, job->lsn, &octets, &failure);
    }
    cr_assert(eq(int, status, STATUS_OK), "%d: %s %s", job->work, failure.what, failure.file);
    if (job->work == SPACE_RETIRE) {
        space_retired(model->space, job->number);
        model->retired++;
    } else if (job->work == SPACE_SNAPSHOT) {
        space_snapshot_taken(model->space, job->lsn);
    } else if (job->work == SPACE_FOLD) {
        space_folded(model->space, job->number, job->lsn);
    } else {
        space_packed(model->space, job->number, job->last, job->lsn, octets);
        model->packs++;
    }
}

static void
keep_house(struct model *model)
{
    note_indexes(model);
    uint32_t jobs = draw_below(&model->draw, 6);
    for (uint32_t i = 0; i < jobs; i++) {
        struct space_job job = space_next(model->space, committed(model));
        if (job.work == SPACE_NOTHING) {
            break;
        }
        do_job(model, &job);
    }
}

static void
restart(struct model *model, bool with_power_cut)
{
    struct random_source random = random_seeded(&model->draw.state);
    store_maker_end(&model->maker);
    if (with_power_cut) {
        sim_disk_crash(model->sim, SIM_DISK_RANDOM, &random);
    }
    start(model);
    if (model->space != NULL) {
        renew_account(model);
    }
}

static void
do_some_job(struct model *model, uint32_t kind)
{
    if (model->space != NULL) {
        keep_house(model);
    } else if (kind < 84) {
        snapshot(model);
    } else if (kind < 90) {
        fold(model);
    } else {
        pack(model);
    }
}

static void
take_step(struct model *model)
{
    uint32_t kind = draw_below(&model->draw, 100);
    if (kind < 66) {
        publish(model);
    } else if (kind < 74) {
        return_some(model);
    } else if (kind < 78) {
        remove_some(model);
    } else if (kind < 82) {
        change_queue(model);
    }
    store_maker_seal(&model->maker, true);
    if (kind >= 82 && kind < 96) {
        do_some_job(model, kind);
    } else if (kind >= 98) {
        restart(model, kind == 99);
    }
}

static void
run_history(struct model *model, uint64_t seed, bool with_account)
{
    uint64_t packs = model->packs;
    uint64_t retired = model->retired;
    uint64_t states = model->states;
    *model = (struct model){.draw = draw_make(seed), .next_id = VHOST + 1};
    model->packs = packs;
    model->retired = retired;
    model->states = states;
    model->sim = sim_disk_new();
    model->disk = disk_of_sim(model->sim);
    store_maker_init(&model->maker, &model->disk);
    start(model);
    if (with_account) {
        begin_account(model);
    }
    store_maker_vhost(&model->maker, VHOST, "/");
    note_topology(model);
    for (int i = 0; i < STEPS; i++) {
        take_step(model);
    }
    restart(model, false);
    store_maker_fini(&model->maker);
    store_content_fini(&model->content);
    sim_disk_free(&model->sim);
    space_free(&model->space);
}

static struct model model;

static void
run_histories(bool with_account)
{
    const char *wanted = getenv("BOURSE_STORE_SEEDS"); /* for a longer run */
    uint64_t seeds = wanted == NULL ? SEEDS : strtoull(wanted, NULL, 10);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run_history(&model, seed, with_account);
    }
    cr_expect(lt(u64, SEEDS, model.packs), "packs were made");
    cr_expect(lt(u64, 200 * SEEDS, model.states), "%" PRIu64 " states were replaced", model.states);
}

/* Design, I4 and I8: the state is the fold of the log, whatever was folded, packed or cut. */
Test(store_model, what_was_flushed_is_what_comes_back)
{
    run_histories(false);
}

/* The same where segments are used again as soon as the account says so. */
Test(store_model, what_the_account_of_space_lets_go_is_not_missed)
{
    run_histories(true);
    cr_expect(lt(u64, 10 * SEEDS, model.retired), "%" PRIu64 " segments went", model.retired);
}
