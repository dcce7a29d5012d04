/* SPDX-License-Identifier: Apache-2.0 */
#include "store/keeper.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/ballast.h"
#include "store/keeper_work.h"
#include "store/pack.h"
#include "store/snapshot.h"

#include <stdlib.h>
#include <string.h>

enum {
    SPACE_EVERY_MS = 1000,
    SPARES_EXTRA = 2, /* spare files kept besides those that are wanted ahead */
    SORT_ROOM = 4,    /* backlog is sorted while so many times its octets are free */
};

void
keeper_add_spare(struct keeper *keeper, uint64_t number)
{
    if (keeper->spare_count == keeper->spare_capacity) {
        keeper->spare_capacity = keeper->spare_capacity == 0 ? 8 : 2 * keeper->spare_capacity;
        keeper->spares = xrealloc(keeper->spares, keeper->spare_capacity * sizeof(*keeper->spares));
    }
    keeper->spares[keeper->spare_count++] = number;
    if (keeper->last_spare < number) {
        keeper->last_spare = number;
    }
}

static uint64_t
take_spare(struct keeper *keeper)
{
    return keeper->spare_count == 0 ? 0 : keeper->spares[--keeper->spare_count];
}

static uint32_t
spares_max(const struct keeper *keeper)
{
    return keeper->settings.spares_wanted + SPARES_EXTRA;
}

/* The last that began at or below the LSN. */
static uint64_t
epoch_at(const struct manifest *manifest, uint64_t lsn)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        if (manifest->epochs[i].first_lsn <= lsn) {
            number = manifest->epochs[i].number;
        }
    }
    return number;
}

static void
take_over_segments(struct keeper *keeper, const struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->segment_count; i++) {
        const struct recovered_segment *segment = &recovery->segments[i];
        uint64_t last = segment->is_pack ? segment->last : segment->number;
        space_add_segment(keeper->space, segment->number, last,
                          epoch_at(&recovery->manifest, segment->base_lsn), segment->base_lsn,
                          segment->capacity);
        space_segment_indexed(keeper->space, segment->number);
        space_add_rows(keeper->space, segment->base_lsn, segment->row_count, segment->row_octets);
        space_segment_runs(keeper->space, segment->number, segment->run_octets, segment->run_count);
        if (segment->topology_lsn != 0) {
            space_add_topology(keeper->space, segment->topology_lsn);
        }
    }
    for (uint32_t i = 0; i < recovery->removal_count; i++) {
        space_add_removal(keeper->space, recovery->removals[i].lsn,
                          recovery->removals[i].batch_lsn);
    }
    space_snapshot_taken(keeper->space, recovery->manifest.snapshot_lsn);
}

struct keeper *
keeper_new(const struct keeper_settings *settings, struct recovery *recovery,
           const struct io_port *port, struct log *log)
{
    struct keeper *keeper = xalloc(sizeof(*keeper));
    keeper->settings = *settings;
    keeper->port = *port;
    keeper->log = log;
    keeper->space = space_new(&(struct space_settings){
        .slot_size = settings->slot_size,
        .snapshot_octets = settings->snapshot_octets,
        .sort_slots = settings->sort_slots,
        .may_pack = settings->may_pack,
    });
    take_over_segments(keeper, recovery);
    for (uint32_t i = 0; i < recovery->spare_count; i++) {
        keeper_add_spare(keeper, recovery->spares[i]);
    }
    keeper->manifest = recovery->manifest;
    recovery->manifest = (struct manifest){0};
    assert(keeper->manifest.epoch_count > 0);
    keeper->newest = (struct segment_header){
        .number = recovery->next_segment_number,
        .base_lsn = recovery->next_segment_base,
        .slot_size = settings->slot_size,
        .capacity = settings->slot_size,
        .epoch = keeper->manifest.epochs[keeper->manifest.epoch_count - 1].number,
        .group = keeper->manifest.group,
    };
    memcpy(keeper->newest.cluster_id, keeper->manifest.cluster_id, CLUSTER_ID_SIZE);
    keeper->indexed_number = keeper->newest.number - 1;
    return keeper;
}

void
keeper_free(struct keeper **keeper_pointer)
{
    struct keeper *keeper = *keeper_pointer;
    if (keeper == NULL) {
        return;
    }
    assert(!keeper->is_busy);
    assert(keeper->backup == NULL);
    *keeper_pointer = NULL;
    packing_free(&keeper->pack.pack.packing);
    manifest_fini(&keeper->manifest);
    space_free(&keeper->space);
    free(keeper->spares);
    free(keeper);
}

struct space *
keeper_space(struct keeper *keeper)
{
    return keeper->space;
}

/* The beginning -------------------------------------------------------------------------------- */

static enum status
spare_size(const struct disk *disk, const char *name, uint64_t *size_out)
{
    struct disk_file *file;
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    if (status == STATUS_OK) {
        status = disk->size(disk->context, file, size_out);
        disk->close(disk->context, &file);
    }
    return status;
}

/* Spares of another size, as after a change of the configuration, and those that are too many. */
static void
sort_out_spares(struct keeper *keeper, const struct disk *disk)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < keeper->spare_count; i++) {
        char name[STORE_NAME_SIZE];
        store_file_name(STORE_FILE_SPARE, keeper->spares[i], 0, name);
        uint64_t size;
        if (kept < spares_max(keeper) && spare_size(disk, name, &size) == STATUS_OK &&
            size == keeper->settings.slot_size) {
            keeper->spares[kept++] = keeper->spares[i];
        } else {
            (void)disk->unlink(disk->context, name); /* it only takes room */
        }
    }
    keeper->spare_count = kept;
}

enum status
keeper_begin(struct keeper *keeper, const struct disk *disk, struct journal_settings *settings_out,
             struct log_failure *failure_out)
{
    sort_out_spares(keeper, disk);
    uint64_t slot_size = keeper->settings.slot_size;
    if (disk->copies_on_write) {
        keeper->ballast.octets_max = BALLAST_SEGMENTS * slot_size;
        keeper->ballast.is_there = true; /* recovery may not have been able to remove it */
    }
    struct segment_header header = keeper->newest;
    uint64_t spare = take_spare(keeper);
    if (spare == 0) {
        header.capacity = slot_size < SEGMENT_FIRST_SIZE ? slot_size : SEGMENT_FIRST_SIZE;
    }
    enum status status = segment_prepare(disk, &header, spare, failure_out);
    if (status != STATUS_OK) {
        return status;
    }
    space_add_segment(keeper->space, header.number, header.number, header.epoch, header.base_lsn,
                      header.capacity);
    *settings_out = (struct journal_settings){
        .epoch = header.epoch,
        .group = (uint16_t)header.group,
        .segment_number = header.number,
        .segment_base = header.base_lsn,
        .segment_capacity = header.capacity,
        .slot_size = slot_size,
    };
    return STATUS_OK;
}

/* What to do next ------------------------------------------------------------------------------ */

bool
keeper_is_due(const struct keeper *keeper, enum io_job_type type)
{
    const struct keeper_retry *retry = &keeper->retries[type];
    return retry->delay_ms == 0 || keeper->now_ms >= retry->due_ms;
}

void
keeper_submit(struct keeper *keeper)
{
    keeper->is_busy = true;
    keeper->port.submit(keeper->port.context, &keeper->job);
}

static bool
wants_segment(const struct keeper *keeper, const struct journal *journal)
{
    return keeper->newest.number < journal_segment_number(journal) + keeper->settings.spares_wanted;
}

static void
submit_prepare(struct keeper *keeper)
{
    struct segment_header header = keeper->newest;
    header.number++;
    header.base_lsn += header.slot_size;
    keeper->job = (struct io_job){
        .type = IO_PREPARE,
        .prepare = {.header = header, .spare = take_spare(keeper)},
    };
    keeper_submit(keeper);
}

static struct io_job
retire_job(const struct keeper *keeper, const struct space_job *work)
{
    bool is_useful = !work->is_pack && work->capacity == keeper->settings.slot_size &&
                     keeper->spare_count < spares_max(keeper);
    return (struct io_job){
        .type = IO_RETIRE,
        .retire = {.number = work->number,
                   .is_pack = work->is_pack,
                   .last = work->last,
                   .spare = is_useful ? keeper->last_spare + 1 : 0},
    };
}

/* Epochs of which no segment is left go with the manifest that the snapshot writes. */
static struct io_job
snapshot_job(struct keeper *keeper, const struct space_job *work)
{
    manifest_drop_epochs(&keeper->manifest, space_oldest_lsn(keeper->space));
    return (struct io_job){
        .type = IO_SNAPSHOT,
        .snapshot = {.lsn = work->lsn, .manifest = &keeper->manifest},
    };
}

static struct io_job
fold_job(const struct space_job *work)
{
    return (struct io_job){
        .type = IO_FOLD,
        .fold = {.number = work->number, .folded_lsn = work->lsn},
    };
}

static struct io_job
pack_job(const struct space_job *work)
{
    return (struct io_job){
        .type = IO_PACK,
        .pack = {.first = work->number, .last = work->last, .folded_lsn = work->lsn},
    };
}

/* What only brings order does not make room scarce. */
static bool
has_room_for(const struct keeper *keeper, const struct space_job *work)
{
    return !work->is_sort || (keeper->disk_space_is_known &&
                              keeper->disk_space.free_bytes / SORT_ROOM >= work->octets);
}

/* Submits a job for what the account of space asks for; with `only_retire` only if that gives a
 * segment back at once. */
static bool
submit_space_work(struct keeper *keeper, const struct journal *journal, bool only_retire)
{
    struct space_job work = space_next(keeper->space, journal_commit_lsn(journal));
    struct io_job job;
    switch (work.work) {
    case SPACE_RETIRE:
        job = retire_job(keeper, &work);
        break;
    case SPACE_SNAPSHOT:
        job = snapshot_job(keeper, &work);
        break;
    case SPACE_FOLD:
        job = fold_job(&work);
        break;
    case SPACE_PACK:
        job = pack_job(&work);
        break;
    case SPACE_NOTHING:
    default:
        return false;
    }
    if (!keeper_is_due(keeper, job.type) || (only_retire && job.type != IO_RETIRE) ||
        !has_room_for(keeper, &work)) {
        return false;
    }
    keeper->job = job;
    keeper_submit(keeper);
    return true;
}

/* The oldest segment that the journal has left gets its index, once all of it is committed. */
static bool
submit_index(struct keeper *keeper, struct journal *journal)
{
    const struct journal_segment *left;
    while ((left = journal_oldest_left(journal)) != NULL &&
           left->number <= keeper->indexed_number) {
        journal_forget_left(journal);
    }
    if (left == NULL || left->end_lsn > journal_commit_lsn(journal) ||
        !keeper_is_due(keeper, IO_INDEX)) {
        return false;
    }
    keeper->job = (struct io_job){
        .type = IO_INDEX,
        .index = {.number = left->number, .end_lsn = left->end_lsn},
    };
    keeper_submit(keeper);
    return true;
}

/* While a pack is made, what it was told of the other files must stay true: no other work on them
 * until its last step. */
static void
submit_pack_step(struct keeper *keeper)
{
    keeper->job = keeper->pack;
    keeper->pack = (struct io_job){0};
    keeper_submit(keeper);
}

static void
submit_space_query(struct keeper *keeper)
{
    keeper->disk_space_due_ms = keeper->now_ms + SPACE_EVERY_MS;
    keeper->job = (struct io_job){.type = IO_SPACE};
    keeper_submit(keeper);
}

/* Room that is scarce, or that could not be had in full. */
static bool
submit_give_up(struct keeper *keeper)
{
    const struct keeper_ballast *ballast = &keeper->ballast;
    if (!ballast->is_there || !(keeper->disk_is_low || ballast->has_failed) ||
        !keeper_is_due(keeper, IO_GIVE_UP)) {
        return false;
    }
    keeper->job = (struct io_job){.type = IO_GIVE_UP};
    keeper_submit(keeper);
    return true;
}

/* The next slice. An epoch is a number that no other directory has. */
static bool
submit_ballast(struct keeper *keeper)
{
    struct keeper_ballast *ballast = &keeper->ballast;
    if (ballast->octets == ballast->octets_max || ballast->has_failed || keeper->disk_is_low ||
        !keeper->disk_space_is_known || !keeper_is_due(keeper, IO_BALLAST)) {
        return false;
    }
    keeper->job = (struct io_job){
        .type = IO_BALLAST,
        .ballast = {.octets = ballast->octets,
                    .octets_max = ballast->octets_max,
                    .seed = keeper->newest.epoch},
    };
    ballast->is_there = true;
    keeper_submit(keeper);
    return true;
}

/* The journal must not wait for a segment; but one that is used again is there at once, while a new
 * one is written in full. Either may need the room of the ballast. */
void
keeper_turn(struct keeper *keeper, struct journal *journal, uint64_t now_ms)
{
    keeper->now_ms = now_ms;
    space_journal_at(keeper->space, journal_segment_base(journal));
    if (keeper->is_busy || submit_give_up(keeper)) {
        return;
    }
    bool wants = wants_segment(keeper, journal);
    bool is_packing = keeper->pack.pack.packing != NULL;
    if (wants && keeper->spare_count == 0 && !is_packing && !keeper->backup_has_begun &&
        submit_space_work(keeper, journal, true)) {
        return;
    }
    if (wants && keeper_is_due(keeper, IO_PREPARE)) {
        submit_prepare(keeper);
    } else if (now_ms >= keeper->disk_space_due_ms) {
        submit_space_query(keeper);
    } else if (!submit_index(keeper, journal) && !submit_ballast(keeper)) {
        if (is_packing) {
            submit_pack_step(keeper);
        } else if (keeper->backup != NULL) {
            keeper_submit_backup_step(keeper, journal);
        } else {
            (void)submit_space_work(keeper, journal, false);
        }
    }
}

/* Questions ------------------------------------------------------------------------------------ */

bool
keeper_is_busy(const struct keeper *keeper)
{
    return keeper->is_busy;
}

const struct disk_space *
keeper_disk_space(const struct keeper *keeper)
{
    return keeper->disk_space_is_known ? &keeper->disk_space : NULL;
}

void
keeper_set_disk_is_low(struct keeper *keeper, bool is_low)
{
    keeper->disk_is_low = is_low;
}

/* The end -------------------------------------------------------------------------------------- */

/* That an index cannot be written only makes the next start slower. */
static void
index_now(struct keeper *keeper, const struct disk *disk, uint64_t number, uint64_t end_lsn)
{
    struct io_job job = {.type = IO_INDEX, .index = {.number = number, .end_lsn = end_lsn}};
    io_job_run(&job, disk, NULL);
    if (job.status != STATUS_OK) {
        keeper_log_job_failure(keeper, &job);
    }
}

static void
index_the_rest(struct keeper *keeper, const struct disk *disk, struct journal *journal)
{
    const struct journal_segment *left;
    while ((left = journal_oldest_left(journal)) != NULL) {
        if (left->number > keeper->indexed_number) {
            index_now(keeper, disk, left->number, left->end_lsn);
        }
        journal_forget_left(journal);
    }
    uint64_t end_lsn = journal_open_lsn(journal);
    if (end_lsn > journal_segment_base(journal) + SEGMENT_HEADER_SIZE) {
        index_now(keeper, disk, journal_segment_number(journal), end_lsn);
    }
}

enum status
keeper_finish(struct keeper *keeper, const struct disk *disk, struct journal *journal,
              struct log_failure *failure_out)
{
    if (keeper->is_busy ||
        !journal_token_is_committed(journal_token(journal), journal_commit_lsn(journal))) {
        return STATUS_AGAIN;
    }
    index_the_rest(keeper, disk, journal);
    manifest_drop_epochs(&keeper->manifest, space_oldest_lsn(keeper->space));
    keeper->manifest.is_clean = true;
    /* Known exactly, so that the next start need not look for it. */
    keeper->manifest.epochs[keeper->manifest.epoch_count - 1].end_lsn = journal_open_lsn(journal);
    if (!space_wants_snapshot(keeper->space)) {
        return manifest_write(&keeper->manifest, disk, failure_out);
    }
    uint64_t octets;
    return snapshot_take(disk, &keeper->manifest, journal_open_lsn(journal), &octets, failure_out);
}
