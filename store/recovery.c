/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery in the order of docs/store-format.md. First everything is read and judged; then the
 * directory is changed, with the manifest as the point of no return; then the state is handed over.
 * A directory that is refused has not been changed, but for indexes, which only repeat what the
 * segments hold. */
#include "store/recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/little_endian.h"
#include "store/recovery_work.h"
#include "store/snapshot.h"

enum { LSN_ALIGNMENT = 4096 };

static const uint64_t LSN_MAX = UINT64_C(1) << 62;

/* The manifest --------------------------------------------------------------------------------- */

static enum status
make_manifest(struct recovery_work *work)
{
    if (work->segment_count > 0 || work->snapshot_count > 0) {
        return recovery_refuse(work, STATUS_CORRUPT,
                               "MANIFEST is missing, but %s is there: the directory is not whole",
                               work->segment_count > 0 ? work->segments[0].name : "a snapshot");
    }
    struct recovery *result = work->result;
    result->was_new = true;
    result->was_clean = true;
    if (work->options->may_write) {
        work->random->fill(work->random->context, result->manifest.cluster_id, CLUSTER_ID_SIZE);
    }
    return STATUS_OK;
}

static enum status
load_manifest(struct recovery_work *work)
{
    if (!work->has_manifest) {
        return make_manifest(work);
    }
    struct recovery *result = work->result;
    enum status status = manifest_read(&result->manifest, work->disk, work->why, work->why_size);
    if (status == STATUS_IO || status == STATUS_NO_MEMORY) {
        return recovery_refuse(work, status, "MANIFEST cannot be read");
    }
    if (status == STATUS_REJECTED) {
        return STATUS_CORRUPT; /* as for every directory that is refused */
    }
    if (status == STATUS_OK) {
        result->was_clean = result->manifest.is_clean;
    }
    return status;
}

static bool
epoch_has_segment(const struct recovery_work *work, uint64_t number)
{
    for (uint32_t i = 0; i < work->segment_count; i++) {
        if (work->segments[i].header.epoch == number) {
            return true;
        }
    }
    return false;
}

/* The epoch ends behind its last batch; where it wrote none, where it began. */
static uint64_t
end_of_epoch(const struct recovery_work *work, const struct manifest_epoch *epoch)
{
    uint64_t end = epoch->first_lsn;
    for (uint32_t i = 0; i < work->segment_count; i++) {
        const struct found_segment *segment = &work->segments[i];
        if (segment->header.epoch == epoch->number && !segment->is_surplus &&
            segment->end_lsn > end) {
            end = segment->end_lsn;
        }
    }
    return end == 0 ? 1 : end;
}

static void
end_epochs(struct recovery_work *work)
{
    struct manifest *manifest = &work->result->manifest;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        struct manifest_epoch epoch = manifest->epochs[i];
        if (epoch.end_lsn == 0) {
            epoch.end_lsn = end_of_epoch(work, &epoch);
        }
        if (epoch_has_segment(work, epoch.number)) {
            manifest->epochs[kept++] = epoch;
        }
    }
    manifest->epoch_count = kept;
}

static uint64_t
highest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Where the new epoch begins: above everything that was ever written. */
static enum status
choose_next(struct recovery_work *work)
{
    struct recovery *result = work->result;
    const struct manifest *manifest = &result->manifest;
    uint64_t base = highest(LSN_ALIGNMENT, manifest->snapshot_lsn);
    uint64_t number = 1;
    for (uint32_t i = 0; i < work->segment_count; i++) {
        const struct found_segment *segment = &work->segments[i];
        base = highest(base, segment->header.base_lsn + segment->header.slot_size);
        number = highest(number, segment->last + 1);
    }
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        base = highest(base, highest(manifest->epochs[i].first_lsn, manifest->epochs[i].end_lsn));
    }
    if (base >= LSN_MAX || number == 0) {
        return recovery_refuse(work, STATUS_CORRUPT, "the log has no room for another segment");
    }
    result->next_segment_base = (base + LSN_ALIGNMENT - 1) & ~(uint64_t)(LSN_ALIGNMENT - 1);
    result->next_segment_number = number;
    return STATUS_OK;
}

/* Numbers of epochs rise in steps that nobody can foresee, so that no message can hold what passes
 * for a batch. */
static uint64_t
next_epoch(const struct recovery_work *work, uint64_t last)
{
    uint64_t step = random_u64(work->random) & UINT32_MAX;
    return last + 1 + step;
}

static enum status
write_manifest(struct recovery_work *work)
{
    struct manifest *manifest = &work->result->manifest;
    uint64_t last =
        manifest->epoch_count == 0 ? 0 : manifest->epochs[manifest->epoch_count - 1].number;
    if (last > UINT64_MAX - 2 * (uint64_t)UINT32_MAX) {
        return recovery_refuse(work, STATUS_CORRUPT, "MANIFEST has an epoch that cannot be");
    }
    end_epochs(work);
    manifest_add_epoch(manifest, next_epoch(work, last), work->result->next_segment_base);
    manifest->is_clean = false;
    enum status status = manifest_write(manifest, work->disk, NULL);
    return status == STATUS_OK ? status
                               : recovery_refuse(work, status, "MANIFEST cannot be written");
}

/* Topology ------------------------------------------------------------------------------------- */

static enum status
read_snapshot(struct recovery_work *work)
{
    uint64_t lsn = work->result->manifest.snapshot_lsn;
    if (lsn == 0) {
        return STATUS_OK;
    }
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SNAPSHOT, lsn, 0, name);
    enum status status = snapshot_read(&work->topology, work->disk, lsn);
    if (status == STATUS_IO && errno == ENOENT) {
        return recovery_refuse(work, STATUS_CORRUPT, "%s is missing, and MANIFEST names it", name);
    }
    if (status == STATUS_CORRUPT) {
        return recovery_refuse(work, status, "%s is damaged", name);
    }
    return status == STATUS_OK ? status : recovery_refuse(work, status, "%s cannot be read", name);
}

/* Decoded before by whoever made the index. */
static enum status
fold_records(struct recovery_work *work, struct bytes left)
{
    struct record record;
    while (left.size > 8) {
        uint64_t batch_lsn = get_u64_le(left.data);
        left = bytes_make(left.data + 8, left.size - 8);
        enum status status = record_next(&left, &record);
        if (status == STATUS_OK && batch_lsn >= work->result->manifest.snapshot_lsn) {
            status = topology_fold_apply(&work->topology, &record);
        }
        if (status != STATUS_OK) {
            return recovery_refuse(work, status, "too little memory for the topology");
        }
    }
    return STATUS_OK;
}

static enum status
fold_topology(struct recovery_work *work)
{
    for (uint32_t i = 0; i < work->segment_count; i++) {
        enum status status = fold_records(work, buffer_bytes(&work->segments[i].records));
        if (status != STATUS_OK) {
            return status;
        }
    }
    topology_fold_finish(&work->topology);
    return STATUS_OK;
}

/* Changing the directory ----------------------------------------------------------------------- */

/* What was read needs not be read again. That an index cannot be written harms nobody. */
static void
write_indexes(struct recovery_work *work)
{
    for (uint32_t i = 0; i < work->segment_count; i++) {
        struct found_segment *segment = &work->segments[i];
        if (segment->has_index || segment->is_surplus || segment->is_pack) {
            continue;
        }
        segment->has_index = segment_index_write(&segment->index, work->disk) == STATUS_OK;
        if (!segment->has_index) {
            log_warn(work->log, "store.index_not_written", "file=%s.idx error=\"%s\"",
                     segment->name, strerror(errno));
        }
    }
}

static enum status
retire_surplus(struct recovery_work *work, struct found_segment *segment)
{
    struct recovery *result = work->result;
    bool is_whole = segment->header.capacity == work->options->slot_size &&
                    !segment_is_shared(work->disk, segment->header.number);
    uint64_t spare = is_whole ? work->next_spare++ : 0;
    struct log_failure failure;
    enum status status = segment_retire(work->disk, segment->header.number, spare, &failure);
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "%s cannot be given back", segment->name);
    }
    if (is_whole) {
        result->spares =
            xrealloc(result->spares, ((size_t)result->spare_count + 1) * sizeof(*result->spares));
        result->spares[result->spare_count++] = spare;
    }
    return STATUS_OK;
}

static void
remove_named(struct recovery_work *work, enum store_file_kind kind, uint64_t number)
{
    char name[STORE_NAME_SIZE];
    (void)work->disk->unlink(work->disk->context, store_file_name(kind, number, 0, name));
}

/* A pack has a dead file, but no index of its own name. */
static bool
has_segment(const struct recovery_work *work, uint64_t number, bool or_pack)
{
    for (uint32_t i = 0; i < work->segment_count; i++) {
        const struct found_segment *segment = &work->segments[i];
        if (segment->header.number == number && !segment->is_surplus &&
            (or_pack || !segment->is_pack)) {
            return true;
        }
    }
    return false;
}

/* Files that say nothing any more. That one cannot be removed harms nobody. */
static void
sweep(struct recovery_work *work)
{
    for (uint32_t i = 0; i < work->disposable_count; i++) {
        (void)work->disk->unlink(work->disk->context, work->disposable[i]);
    }
    for (uint32_t i = 0; i < work->snapshot_count; i++) {
        if (work->snapshots[i] != work->result->manifest.snapshot_lsn) {
            remove_named(work, STORE_FILE_SNAPSHOT, work->snapshots[i]);
        }
    }
    for (uint32_t i = 0; i < work->index_count; i++) {
        if (!has_segment(work, work->index_files[i], false)) {
            remove_named(work, STORE_FILE_INDEX, work->index_files[i]);
        }
    }
    for (uint32_t i = 0; i < work->dead_count; i++) {
        if (!has_segment(work, work->dead_files[i], true)) {
            remove_named(work, STORE_FILE_DEAD, work->dead_files[i]);
        }
    }
}

static enum status
change_directory(struct recovery_work *work)
{
    enum status status = write_manifest(work);
    for (uint32_t i = 0; i < work->segment_count && status == STATUS_OK; i++) {
        if (work->segments[i].is_surplus) {
            status = retire_surplus(work, &work->segments[i]);
        }
    }
    if (status != STATUS_OK) {
        return status;
    }
    sweep(work);
    /* A segment whose place a pack has taken must be gone for certain before the pack can go. */
    if (work->disposable_count > 0 &&
        work->disk->flush_directory(work->disk->context) != STATUS_OK) {
        return recovery_refuse(work, STATUS_IO, "the directory cannot be flushed");
    }
    return STATUS_OK;
}

/* The result ----------------------------------------------------------------------------------- */

static void
list_segments(struct recovery_work *work)
{
    struct recovery *result = work->result;
    result->segments = xalloc(((size_t)work->segment_count + 1) * sizeof(*result->segments));
    for (uint32_t i = 0; i < work->segment_count; i++) {
        const struct found_segment *segment = &work->segments[i];
        if (!segment->is_surplus) {
            result->segments[result->segment_count++] = (struct recovered_segment){
                .number = segment->header.number,
                .base_lsn = segment->header.base_lsn,
                .end_lsn = segment->end_lsn,
                .capacity = segment->header.capacity,
                .topology_lsn = segment->topology_lsn,
                .is_pack = segment->is_pack,
                .last = segment->last,
                .row_count = segment->live_count,
                .row_octets = segment->live_octets,
                .run_octets = segment->runs.octets,
                .run_count = segment->runs.count,
            };
        }
    }
}

static enum status
emit_record(void *context, const struct record *record)
{
    struct recovery_work *work = context;
    if (record->type == RECORD_HANDOUT) {
        return STATUS_OK;
    }
    work->result->record_count++;
    return work->sink->record(work->sink->context, record);
}

static enum status
hand_over(struct recovery_work *work)
{
    enum status status = topology_fold_walk(&work->topology, emit_record, work);
    if (status == STATUS_OK) {
        status = live_rows_emit(work);
    }
    work->result->next_object_id = work->topology.next_id;
    return status;
}

/* What is to be written may need its room. A file that cannot be removed is tried for again by the
 * keeper where it matters. */
static enum status
give_up_ballast(struct recovery_work *work)
{
    if (!work->has_ballast ||
        work->disk->unlink(work->disk->context, STORE_BALLAST_NAME) != STATUS_OK) {
        return STATUS_OK;
    }
    if (work->disk->flush_directory(work->disk->context) != STATUS_OK) {
        return recovery_refuse(work, STATUS_IO, "the directory cannot be flushed");
    }
    return STATUS_OK;
}

static enum status
read_and_judge(struct recovery_work *work)
{
    enum status status = inventory_take(work);
    if (status == STATUS_OK) {
        status = load_manifest(work);
    }
    if (status == STATUS_OK) {
        status = inventory_open_segments(work);
    }
    if (status == STATUS_OK) {
        status = read_snapshot(work);
    }
    if (status == STATUS_OK) {
        status = log_end_find(work);
    }
    if (status == STATUS_OK && work->options->may_write) {
        status = give_up_ballast(work);
    }
    if (status == STATUS_OK && work->options->may_write) {
        write_indexes(work);
    }
    if (status == STATUS_OK) {
        status = live_rows_find(work);
    }
    if (status == STATUS_OK) {
        status = fold_topology(work);
    }
    return status == STATUS_OK ? choose_next(work) : status;
}

static enum status
recover(struct recovery_work *work)
{
    enum status status = read_and_judge(work);
    if (status == STATUS_OK && work->options->may_write) {
        status = change_directory(work);
    }
    if (status == STATUS_OK) {
        status = hand_over(work);
    }
    if (status == STATUS_OK) {
        list_segments(work);
    }
    return status;
}

enum status
recovery_run(struct recovery *recovery, const struct disk *disk,
             const struct recovery_options *options, const struct recovery_sink *sink,
             const struct random_source *random, struct log *log, char *why, size_t why_size)
{
    struct recovery result = {0};
    struct recovery_work work = {
        .disk = disk,
        .options = options,
        .sink = sink,
        .random = random,
        .log = log,
        .why = why,
        .why_size = why_size,
        .result = &result,
    };
    assert(why_size > 0);
    why[0] = '\0';
    topology_fold_init(&work.topology);
    enum status status = recover(&work);
    inventory_fini(&work);
    topology_fold_fini(&work.topology);
    if (status == STATUS_OK) {
        *recovery = result;
    } else {
        recovery_fini(&result);
    }
    return status;
}

void
recovery_fini(struct recovery *recovery)
{
    manifest_fini(&recovery->manifest);
    free(recovery->segments);
    free(recovery->removals);
    free(recovery->spares);
    *recovery = (struct recovery){0};
}
