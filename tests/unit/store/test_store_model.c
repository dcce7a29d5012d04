/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories of a data directory against a table of what must live: messages published and
 * removed, queues made and deleted, snapshots, folds, packs, kills and power cuts. Whatever the
 * order, what was flushed is what comes back. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/fold.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "tests/fuzz/draw.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { VHOST = 1, QUEUES = 6, MESSAGES_MAX = 4000, STEPS = 700, SEEDS = 12 };

struct model_message {
    uint64_t lsn;
    uint32_t size;
    bool is_live[QUEUES];
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
    uint64_t packs;
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
            count += model->messages[i].is_live[queue];
        }
    }
    return count;
}

static void
expect_rows(const struct model *model)
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
        cr_assert(queue >= 0 && model->messages[at].is_live[queue], "a dead row");
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

static void
publish(struct model *model)
{
    uint64_t ids[QUEUES];
    uint32_t count = 0;
    struct model_message message = {.size = draw_below(&model->draw, 4000)};
    for (int i = 0; i < QUEUES; i++) {
        if (model->queues[i] != 0 && draw_chance(&model->draw, 40)) {
            ids[count++] = model->queues[i];
            message.is_live[i] = true;
        }
    }
    if (count == 0 || model->count == MESSAGES_MAX) {
        return;
    }
    message.lsn = store_maker_publish(&model->maker, ids, count, "message ", message.size);
    model->messages[model->count++] = message;
}

static void
remove_some(struct model *model)
{
    uint32_t percent = 10 + draw_below(&model->draw, 80);
    for (size_t i = 0; i < model->count; i++) {
        for (int queue = 0; queue < QUEUES; queue++) {
            if (model->messages[i].is_live[queue] && draw_chance(&model->draw, percent)) {
                model->messages[i].is_live[queue] = false;
                journal_remove(model->maker.journal, model->queues[queue], model->messages[i].lsn);
            }
        }
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
        return;
    }
    record_put_delete(&record, RECORD_QUEUE_DELETE, model->queues[at]);
    store_maker_put(&model->maker, &record);
    model->queues[at] = 0;
    for (size_t i = 0; i < model->count; i++) {
        model->messages[i].is_live[at] = false;
    }
}

static uint64_t
committed(const struct model *model)
{
    uint64_t lsn = journal_commit_lsn(model->maker.journal);
    return lsn != 0 ? lsn : model->maker.recovery.next_segment_base;
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

static void
restart(struct model *model, bool with_power_cut)
{
    struct random_source random = random_seeded(&model->draw.state);
    store_maker_end(&model->maker);
    if (with_power_cut) {
        sim_disk_crash(model->sim, SIM_DISK_RANDOM, &random);
    }
    start(model);
}

static void
take_step(struct model *model)
{
    uint32_t kind = draw_below(&model->draw, 100);
    if (kind < 70) {
        publish(model);
    } else if (kind < 78) {
        remove_some(model);
    } else if (kind < 82) {
        change_queue(model);
    }
    store_maker_seal(&model->maker, true);
    if (kind >= 82 && kind < 84) {
        snapshot(model);
    } else if (kind >= 84 && kind < 90) {
        fold(model);
    } else if (kind >= 90 && kind < 96) {
        pack(model);
    } else if (kind >= 98) {
        restart(model, kind == 99);
    }
}

static uint64_t
run_history(uint64_t seed)
{
    static struct model model;
    model = (struct model){.draw = draw_make(seed), .next_id = VHOST + 1};
    model.sim = sim_disk_new();
    model.disk = disk_of_sim(model.sim);
    store_maker_init(&model.maker, &model.disk);
    start(&model);
    store_maker_vhost(&model.maker, VHOST, "/");
    for (int i = 0; i < STEPS; i++) {
        take_step(&model);
    }
    restart(&model, false);
    store_maker_fini(&model.maker);
    store_content_fini(&model.content);
    sim_disk_free(&model.sim);
    return model.packs;
}

/* Design, I4 and I8: the state is the fold of the log, whatever was folded, packed or cut. */
Test(store_model, what_was_flushed_is_what_comes_back)
{
    uint64_t packs = 0;
    const char *wanted = getenv("BOURSE_STORE_SEEDS"); /* for a longer run */
    uint64_t seeds = wanted == NULL ? SEEDS : strtoull(wanted, NULL, 10);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        packs += run_history(seed);
    }
    cr_expect(lt(u64, SEEDS, packs), "packs were made");
}
