/* SPDX-License-Identifier: Apache-2.0 */
/* Every state that a power cut can leave of a log in which messages are published with a state,
 * returned with another, and removed, while segments are folded and packed: what comes back is what
 * some batch left, with the state of each message, and no batch that was flushed is missing. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/fold.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "tests/fuzz/draw.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

enum { VHOST = 1, QUEUE = 2, SLOT = 16 * 1024, MESSAGES_MAX = 120, STEPS = 150, SEEDS = 3 };

struct known_message {
    uint64_t lsn;
    bool is_live;
    struct row_state state;
    struct row_attempts attempts;
};

/* What the log says behind one of its batches. */
struct version {
    struct known_message messages[MESSAGES_MAX];
    uint32_t message_count;
    uint32_t call_count; /* calls that were recorded when it was flushed; 0: it never was */
};

struct history {
    struct sim_disk *sim;
    struct disk disk;
    struct store_maker maker;
    struct draw draw;
    struct version now;
    struct version *versions; /* owned */
    uint32_t version_count;
    struct sim_recording *recording;
};

/* The history ---------------------------------------------------------------------------------- */

static struct row_state
draw_state(struct draw *draw)
{
    return (struct row_state){
        .due_ms = draw_chance(draw, 50) ? 1 + draw_below(draw, 1000) : 0,
        .deadline_ms = draw_chance(draw, 50) ? 1 + draw_below(draw, 1000) : 0,
        .delivery_count = draw_below(draw, 3),
        .verdict = (uint8_t)draw_below(draw, ROW_VERDICT_TIMEOUT + 1),
    };
}

static void
publish(struct history *history)
{
    static const uint64_t queue = QUEUE;
    struct version *now = &history->now;
    struct known_message *message = &now->messages[now->message_count++];
    struct journal_state state = {.state = draw_state(&history->draw), .count = 1};
    bool has_state = draw_chance(&history->draw, 50);
    uint32_t size = draw_below(&history->draw, 2000);
    message->lsn =
        store_maker_publish_with(&history->maker, &queue, 1, &state, has_state, "message ", size);
    message->is_live = true;
    message->state = has_state ? state.state : (struct row_state){0};
}

/* NULL: none lives. */
static struct known_message *
draw_live(struct history *history)
{
    struct version *now = &history->now;
    uint32_t start = draw_below(&history->draw, now->message_count);
    for (uint32_t i = 0; i < now->message_count; i++) {
        struct known_message *message = &now->messages[(start + i) % now->message_count];
        if (message->is_live) {
            return message;
        }
    }
    return NULL;
}

static void
change_one(struct history *history, bool is_removal)
{
    struct known_message *message = draw_live(history);
    if (message == NULL) {
        publish(history);
    } else if (is_removal) {
        journal_remove(history->maker.journal, QUEUE, message->lsn);
        message->is_live = false;
    } else {
        message->state = draw_state(&history->draw);
        message->attempts = (struct row_attempts){.times_ms = {draw_below(&history->draw, 3)}};
        (void)journal_return(history->maker.journal, QUEUE, message->lsn, &message->state,
                             &message->attempts);
    }
}

static void
keep_house(struct history *history)
{
    struct log_failure failure;
    uint64_t octets;
    uint64_t lsn = journal_commit_lsn(history->maker.journal);
    uint64_t first = 1 + draw_below(&history->draw, (uint32_t)history->maker.newest.number);
    enum status status =
        snapshot_take(&history->disk, &history->maker.recovery.manifest, lsn, &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
    status = fold_run(&history->disk, first, lsn, &failure);
    cr_assert(status == STATUS_OK || status == STATUS_IO);
    status = pack_run(&history->disk, first, first + 1 + draw_below(&history->draw, 3), lsn,
                      &octets, &failure);
    cr_assert(ne(int, status, STATUS_CORRUPT));
}

static void
end_batch(struct history *history)
{
    bool wants_flush = draw_chance(&history->draw, 60);
    store_maker_seal(&history->maker, wants_flush);
    struct version *version = &history->versions[history->version_count++];
    *version = history->now;
    version->call_count = wants_flush ? sim_recording_count(history->recording) : 0;
}

static void
take_step(struct history *history)
{
    uint32_t kind = draw_below(&history->draw, 100);
    if (kind < 45 && history->now.message_count < MESSAGES_MAX) {
        publish(history);
    } else if (kind < 92) {
        change_one(history, kind < 60);
    } else {
        keep_house(history);
        return;
    }
    end_batch(history);
}

static void
begin(struct history *history, uint64_t seed)
{
    char why[512];
    *history = (struct history){.draw = draw_make(seed)};
    history->sim = sim_disk_new();
    history->disk = disk_of_sim(history->sim);
    history->versions = calloc(STEPS + 1, sizeof(*history->versions));
    store_maker_init(&history->maker, &history->disk);
    history->maker.slot_size = SLOT;
    enum status status = store_maker_start(&history->maker, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
    store_maker_vhost(&history->maker, VHOST, "/");
    store_maker_queue(&history->maker, QUEUE, VHOST, "queue");
    store_maker_seal(&history->maker, true);
    history->recording = sim_disk_record(history->sim);
    history->versions[history->version_count++] = history->now;
}

/* Judging -------------------------------------------------------------------------------------- */

static bool
is_version(const struct store_content *content, const struct version *version)
{
    size_t at = 0;
    for (uint32_t i = 0; i < version->message_count; i++) {
        const struct known_message *message = &version->messages[i];
        if (!message->is_live) {
            continue;
        }
        if (at == content->row_count || content->rows[at].lsn != message->lsn ||
            !row_state_equals(&content->rows[at].state, &message->state) ||
            !row_attempts_equals(&content->rows[at].attempts, &message->attempts)) {
            return false;
        }
        at++;
    }
    return at == content->row_count;
}

/* The last version that was flushed when so many calls had been recorded. */
static uint32_t
promised_version(const struct history *history, uint32_t prefix)
{
    uint32_t promised = 0;
    for (uint32_t i = 0; i < history->version_count; i++) {
        if (history->versions[i].call_count != 0 && history->versions[i].call_count <= prefix) {
            promised = i;
        }
    }
    return promised;
}

static void
judge(struct history *history, uint32_t prefix, enum sim_disk_policy policy)
{
    char why[512];
    struct sim_disk *after = sim_disk_replay(history->recording, prefix, policy, prefix + 1);
    struct disk disk = disk_of_sim(after);
    struct store_content found = {0};
    struct recovery recovery;
    struct recovery_sink sink = store_content_sink(&found);
    struct recovery_options options = {.slot_size = SLOT, .may_write = true};
    struct random_source random = random_seeded(&history->draw.state);
    enum status status =
        recovery_run(&recovery, &disk, &options, &sink, &random, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "after %u calls: %s", prefix, why);
    bool is_known = false;
    for (uint32_t i = promised_version(history, prefix); i < history->version_count; i++) {
        is_known |= is_version(&found, &history->versions[i]);
    }
    cr_assert(is_known, "after %u calls, policy %d: %zu rows that no batch left", prefix,
              (int)policy, found.row_count);
    recovery_fini(&recovery);
    store_content_fini(&found);
    sim_disk_free(&after);
}

static void
run_history(uint64_t seed)
{
    static struct history history;
    begin(&history, seed);
    for (int i = 0; i < STEPS; i++) {
        take_step(&history);
    }
    sim_disk_stop_recording(history.sim);
    uint32_t count = sim_recording_count(history.recording);
    uint32_t stride = getenv("BOURSE_STORE_SEEDS") == NULL ? 5 : 1;
    for (uint32_t prefix = 0; prefix <= count; prefix += stride) {
        for (int policy = SIM_DISK_NONE; policy <= SIM_DISK_RANDOM; policy++) {
            judge(&history, prefix, (enum sim_disk_policy)policy);
        }
    }
    sim_recording_free(&history.recording);
    store_maker_fini(&history.maker);
    sim_disk_free(&history.sim);
    free(history.versions);
}

/* Design, I4 and I7: any prefix of the log that ends at a batch is a state. */
Test(row_state_crash, leaves_what_some_batch_left)
{
    const char *wanted = getenv("BOURSE_STORE_SEEDS"); /* for a longer run, of every call */
    uint64_t seeds = wanted == NULL ? SEEDS : strtoull(wanted, NULL, 10);
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        run_history(seed);
    }
}
