/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: what is in the copy, how it is made, and what becomes of one that fails. */
#include "store/backup.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "store/io_job.h"
#include "store/salvage.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { MESSAGES_MAX = 64, LARGE = 9000, QUEUE = 3 };

static struct sim_disk *sim, *sim_target;
static struct disk disk, target_disk;
static struct store_maker maker;
static uint64_t lsns[MESSAGES_MAX];
static uint32_t message_count;
static struct log_failure failure;
static bool target_is_open;

static enum status
open_target(void *context, struct disk *disk_out, char *why, size_t why_size)
{
    (void)context;
    (void)why;
    (void)why_size;
    *disk_out = target_disk;
    target_is_open = true;
    return STATUS_OK;
}

static void
close_target(void *context)
{
    (void)context;
    target_is_open = false;
}

static const struct backup_target to = {.open = open_target, .close = close_target};

static void
publish(uint32_t count)
{
    static const uint64_t queues[] = {QUEUE};
    for (uint32_t i = 0; i < count; i++) {
        lsns[message_count++] = store_maker_publish(&maker, queues, 1, "a message", LARGE);
        store_maker_seal(&maker, true);
    }
}

/* A broker that runs, with messages in several segments. */
static void
set_up(void)
{
    char why[256];
    sim = sim_disk_new();
    sim_target = sim_disk_new();
    disk = disk_of_sim(sim);
    target_disk = disk_of_sim(sim_target);
    message_count = 0;
    store_maker_init(&maker, &disk);
    cr_assert(eq(int, store_maker_start(&maker, NULL, why, sizeof(why)), STATUS_OK), "%s", why);
    store_maker_vhost(&maker, 1, "/");
    store_maker_queue(&maker, QUEUE, 1, "orders");
    publish(20);
}

static void
tear_down(void)
{
    cr_expect(not(target_is_open), "whoever opens the target closes it");
    store_maker_end(&maker);
    store_maker_fini(&maker);
    sim_disk_free(&sim);
    sim_disk_free(&sim_target);
}

TestSuite(backup, .init = set_up, .fini = tear_down);

/* As the keeper would plan it now. */
static struct backup_plan
plan_now(void)
{
    return (struct backup_plan){
        .manifest = &maker.recovery.manifest,
        .commit_lsn = journal_commit_lsn(maker.journal),
        .open_segment = journal_segment_number(maker.journal),
    };
}

static struct backup *
begin_now(void)
{
    struct backup *backup = backup_new(&to);
    struct backup_plan plan = plan_now();
    backup_prepare(backup, &plan);
    return backup;
}

static enum status
run(struct backup *backup)
{
    enum status status;
    while ((status = backup_step(backup, &disk, &failure)) == STATUS_AGAIN) {
    }
    return status;
}

static void
on_finding(void *context, const struct salvage_finding *finding)
{
    (void)context;
    cr_expect(false, "%s: %s", finding->file, finding->text);
}

static enum status
recover(struct store_content *content, char *why, size_t why_size)
{
    struct recovery recovery = {0};
    struct recovery_sink sink = store_content_sink(content);
    struct recovery_options options = {.slot_size = STORE_MAKER_SLOT};
    enum status status =
        recovery_run(&recovery, &target_disk, &options, &sink, NULL, NULL, why, why_size);
    if (status == STATUS_OK) {
        recovery_fini(&recovery);
    }
    return status;
}

/* The copy has the first `count` messages and no other, and nothing is wrong with it. */
static void
expect_messages(uint32_t count)
{
    struct salvage_report report = {.finding = on_finding};
    struct store_content content = {0};
    uint64_t findings = 0;
    char why[512] = "";
    cr_expect(eq(int, verify_run(&target_disk, &report, &findings), STATUS_OK));
    cr_expect(eq(u64, findings, 0));
    cr_assert(eq(int, recover(&content, why, sizeof(why)), STATUS_OK), "%s", why);
    cr_expect(eq(sz, content.row_count, count));
    for (uint32_t i = 0; i < count && i < content.row_count; i++) {
        cr_expect(eq(u64, content.rows[i].lsn, lsns[i]));
    }
    cr_expect(eq(sz, content.queue_count, 1));
    store_content_fini(&content);
}

static bool
target_has_manifest(void)
{
    return sim_disk_has(sim_target, STORE_MANIFEST_NAME);
}

Test(backup, copy_has_what_was_committed_before_it_began_and_nothing_later)
{
    struct backup *backup = begin_now();
    publish(1);
    cr_assert(eq(int, backup_step(backup, &disk, &failure), STATUS_AGAIN));
    publish(9);
    cr_assert(eq(int, run(backup), STATUS_OK), "%s", backup_report(backup)->why);
    backup_free(&backup);
    expect_messages(20);
    sim_disk_crash(sim_target, SIM_DISK_NONE, NULL);
    expect_messages(20);
}

/* Full segments are shared: only what is being written costs room. */
Test(backup, full_segments_are_linked_and_the_open_one_is_copied)
{
    struct backup *backup = begin_now();
    uint64_t number = journal_segment_number(maker.journal);
    cr_assert(lt(u64, 2, number));
    cr_assert(eq(int, run(backup), STATUS_OK));
    const struct backup_report *report = backup_report(backup);
    cr_expect(eq(u64, report->files_copied, 1));
    cr_expect(ge(u64, report->files_linked, number - 1));
    cr_expect(lt(u64, report->octets_copied, STORE_MAKER_SLOT));
    cr_expect(segment_is_shared(&disk, number - 1));
    cr_expect(not(segment_is_shared(&disk, number)));
    backup_free(&backup);
}

/* EXDEV: another file system. */
Test(backup, where_no_link_can_be_made_everything_is_copied)
{
    static const int errors[] = {EXDEV, EPERM, EMLINK, EOPNOTSUPP};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        sim_disk_free(&sim_target);
        sim_target = sim_disk_new();
        target_disk = disk_of_sim(sim_target);
        sim_disk_fail(sim, SIM_DISK_LINK, 1, errors[i]);
        struct backup *backup = begin_now();
        cr_assert(eq(int, run(backup), STATUS_OK), "%s", backup_report(backup)->why);
        cr_expect(eq(u64, backup_report(backup)->files_linked, 0));
        cr_expect(lt(u64, 20 * LARGE, backup_report(backup)->octets_copied));
        backup_free(&backup);
        expect_messages(20);
        cr_expect(not(segment_is_shared(&disk, 1)));
    }
}

/* Nothing was committed in this epoch yet: the copy is what was there before. */
Test(backup, copy_of_a_broker_that_has_written_nothing_is_empty)
{
    char why[256];
    store_maker_end(&maker);
    cr_assert(eq(int, store_maker_start(&maker, NULL, why, sizeof(why)), STATUS_OK), "%s", why);
    struct backup *backup = begin_now();
    cr_assert(eq(int, run(backup), STATUS_OK), "%s", backup_report(backup)->why);
    backup_free(&backup);
    expect_messages(20);
}

/* A directory that is at rest is copied as it is, the torn end of a crash included. */
Test(backup, directory_at_rest_is_copied_as_it_is)
{
    store_maker_end(&maker);
    struct backup *backup = backup_new(&to);
    struct backup_plan plan = {.manifest = NULL};
    backup_prepare(backup, &plan);
    cr_assert(eq(int, run(backup), STATUS_OK), "%s", backup_report(backup)->why);
    cr_expect(eq(u64, backup_report(backup)->files_copied, 0));
    backup_free(&backup);
    expect_messages(20);
    char why[256];
    cr_assert(eq(int, store_maker_start(&maker, NULL, why, sizeof(why)), STATUS_OK), "%s", why);
}

Test(backup, target_that_holds_anything_is_refused_and_left_alone)
{
    sim_disk_replace(sim_target, STORE_MANIFEST_NAME, bytes_of("somebody else's"));
    struct backup *backup = begin_now();
    cr_expect(eq(int, run(backup), STATUS_REJECTED));
    cr_expect(strstr(backup_report(backup)->why, "not empty (it holds MANIFEST)") != NULL, "%s",
              backup_report(backup)->why);
    backup_free(&backup);
    cr_expect(eq(u32, sim_disk_file_count(sim_target), 1));
    cr_expect(
        bytes_equal_text(sim_disk_content(sim_target, STORE_MANIFEST_NAME), "somebody else's"));
}

/* Every call that can fail, one after the other: the copy is then none, and says so; the broker's
 * directory is as it was. */
Test(backup, copy_that_fails_leaves_nothing_that_passes_for_one)
{
    static const enum sim_disk_call calls[] = {
        SIM_DISK_OPEN,   SIM_DISK_WRITE, SIM_DISK_FLUSH, SIM_DISK_FLUSH_DIRECTORY,
        SIM_DISK_RENAME, SIM_DISK_LIST,
    };
    uint32_t failed_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (uint64_t nth = 1; nth < 8; nth++) {
            sim_disk_free(&sim_target);
            sim_target = sim_disk_new();
            target_disk = disk_of_sim(sim_target);
            sim_disk_fail(sim_target, calls[i], nth, EIO);
            struct backup *backup = begin_now();
            enum status status = run(backup);
            if (status != STATUS_OK) {
                failed_count++;
                cr_expect(eq(int, status, STATUS_IO));
                cr_expect(eq(int, failure.error, EIO));
                cr_expect(ne(chr, backup_report(backup)->why[0], '\0'));
                cr_expect(not(target_has_manifest()), "call %zu, number %zu", i, (size_t)nth);
                cr_expect(eq(u32, sim_disk_file_count(sim_target), 0));
            }
            backup_free(&backup);
        }
    }
    cr_expect(ge(u32, failed_count, 8));
}

Test(backup, data_that_cannot_be_read_is_not_passed_on)
{
    static const enum sim_disk_call calls[] = {SIM_DISK_OPEN, SIM_DISK_READ, SIM_DISK_LINK,
                                               SIM_DISK_LIST};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        sim_disk_fail(sim, calls[i], 1, EIO);
        struct backup *backup = begin_now();
        cr_expect(eq(int, run(backup), STATUS_IO), "call %zu", i);
        cr_expect(eq(u32, sim_disk_file_count(sim_target), 0));
        backup_free(&backup);
    }
}

Test(backup, target_that_is_full_is_told)
{
    sim_disk_set_capacity(sim_target, 3000);
    struct backup *backup = begin_now();
    sim_disk_fail(sim, SIM_DISK_LINK, 1, EXDEV);
    cr_expect(eq(int, run(backup), STATUS_IO));
    cr_expect(eq(int, failure.error, ENOSPC));
    cr_expect(strstr(backup_report(backup)->why, "No space left") != NULL, "%s",
              backup_report(backup)->why);
    cr_expect(eq(u32, sim_disk_file_count(sim_target), 0));
    backup_free(&backup);
}

/* A power cut at any moment: what is there is a whole copy, or no broker starts on it. */
Test(backup, power_cut_leaves_a_whole_copy_or_none)
{
    for (uint32_t prefix = 0;; prefix++) {
        sim_disk_free(&sim_target);
        sim_target = sim_disk_new();
        target_disk = disk_of_sim(sim_target);
        sim_disk_fail(sim, SIM_DISK_LINK, 1, EXDEV); /* what is linked is not recorded */
        struct backup *backup = begin_now();
        struct sim_recording *recording = sim_disk_record(sim_target);
        cr_assert(eq(int, run(backup), STATUS_OK));
        backup_free(&backup);
        sim_disk_stop_recording(sim_target);
        bool is_last = prefix == sim_recording_count(recording);
        struct sim_disk *after = sim_disk_replay(recording, prefix, SIM_DISK_NAMES, 1);
        struct disk after_disk = disk_of_sim(after);
        struct store_content content = {0};
        struct recovery recovery = {0};
        struct recovery_sink sink = store_content_sink(&content);
        struct recovery_options options = {.slot_size = STORE_MAKER_SLOT};
        char why[512];
        enum status status =
            recovery_run(&recovery, &after_disk, &options, &sink, NULL, NULL, why, sizeof(why));
        if (status == STATUS_OK) {
            cr_expect(recovery.was_new || is_last || content.row_count == 20, "prefix %u", prefix);
            recovery_fini(&recovery);
        }
        store_content_fini(&content);
        sim_disk_free(&after);
        sim_recording_free(&recording);
        if (is_last) {
            break;
        }
    }
}

Test(backup, copy_that_is_given_up_is_removed)
{
    sim_disk_fail(sim, SIM_DISK_LINK, 3, EXDEV);
    struct backup *backup = begin_now();
    cr_assert(eq(int, backup_step(backup, &disk, &failure), STATUS_AGAIN));
    cr_assert(eq(int, backup_step(backup, &disk, &failure), STATUS_AGAIN));
    cr_expect(lt(u32, 0, sim_disk_file_count(sim_target)));
    backup_cancel(backup, &disk, "the broker stops");
    cr_expect(eq(u32, sim_disk_file_count(sim_target), 0));
    cr_expect(eq(str, (char *)(uintptr_t)backup_report(backup)->why, "the broker stops"));
    backup_free(&backup);

    backup = begin_now();
    cr_assert(eq(int, backup_step(backup, &disk, &failure), STATUS_AGAIN));
    backup_give_up(backup, "no room");
    cr_expect(eq(int, backup_step(backup, &disk, &failure), STATUS_REJECTED));
    cr_expect(eq(str, (char *)(uintptr_t)backup_report(backup)->why, "no room"));
    backup_free(&backup);
}

/* A linked segment must not be written over: it becomes no spare, here and at the next start. */
Test(backup, segment_that_a_backup_has_never_becomes_a_spare)
{
    struct backup *backup = begin_now();
    cr_assert(eq(int, run(backup), STATUS_OK));
    backup_free(&backup);
    struct io_job job = {.type = IO_RETIRE, .retire = {.number = 1, .spare = 99}};
    io_job_run(&job, &disk, NULL);
    cr_expect(eq(int, job.status, STATUS_OK));
    cr_expect(eq(u64, job.retire.spare, 0));
    cr_expect(not(sim_disk_has(sim, "spare.0000000000000063")));
    expect_messages(20);
}
