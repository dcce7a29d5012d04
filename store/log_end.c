/* SPDX-License-Identifier: Apache-2.0 */
/* Where each epoch ends. A batch of the log is written once, and the one behind it says how far the
 * disk was known to hold the log; so a break in the chain is the torn end of the log unless
 * something behind it was written when the broken place was known to be flushed. */
#include "store/recovery_work.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "store/pack.h"

static const char NO_BATCH[] = "no batch where one belongs";

enum { KEPT_OCTETS_MAX = 64 * 1024 * 1024 };

/* What stands behind a break in the chain. */
struct evidence {
    bool is_written;                      /* the epoch wrote something there */
    bool is_damage;                       /* and the broken place was known to be flushed by then */
    const struct found_segment *headless; /* a later segment that lacks only its first batch */
};

static enum status
refuse_at(struct recovery_work *work, const struct found_segment *segment, uint64_t offset,
          const char *reason)
{
    return recovery_refuse(work, STATUS_CORRUPT,
                           "%s is damaged at offset %" PRIu64 ": %s; keep a copy of the directory, "
                           "then \"bourse store repair DIR --salvage\" goes on behind the place",
                           segment->name, offset, reason);
}

static enum status
refuse_read(struct recovery_work *work, enum status status, const struct found_segment *segment,
            const struct scan *scan)
{
    return recovery_refuse(work, status, "%s %s at offset %" PRIu64, segment->name, scan->reason,
                           scan->stop_offset);
}

/* Reading a segment ---------------------------------------------------------------------------- */

/* What is read next is what the disk holds, and stays there. */
static enum status
settle_on_disk(struct recovery_work *work, const struct found_segment *segment)
{
    if (!work->options->may_write) {
        return STATUS_OK;
    }
    const struct disk *disk = work->disk;
    struct disk_file *file = NULL;
    enum status status = disk->open(disk->context, segment->name, DISK_OPEN_WRITE, &file);
    if (status == STATUS_OK) {
        status = disk->flush(disk->context, file);
    }
    if (status == STATUS_OK) {
        disk->forget(disk->context, file);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status == STATUS_OK
               ? STATUS_OK
               : recovery_refuse(work, status, "%s cannot be flushed", segment->name);
}

/* Batches at or above `limit_lsn` do not exist. */
static enum status
scan_batches(struct scan *scan, struct index_builder *builder, uint64_t limit_lsn)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && scan_lsn(scan, scan->offset) < limit_lsn) {
        status = scan_next(scan);
        if (status == STATUS_OK) {
            status = index_builder_add(builder, scan);
        }
    }
    return status;
}

static uint64_t
index_octets(const struct segment_index *index)
{
    return index->row_count * sizeof(*index->rows) + index->state_count * sizeof(*index->states) +
           index->attempts.count * sizeof(*index->attempts.items);
}

/* Reads the segment up to its end or to `limit_lsn`, builds its index, and leaves the scan where it
 * stopped. STATUS_OK also where it stopped at something that is no batch: see scan->stop. */
static enum status
build_index(struct recovery_work *work, struct found_segment *segment, struct scan *scan,
            uint64_t limit_lsn)
{
    struct index_builder builder;
    index_builder_init(&builder, &segment->header);
    enum status status = scan_batches(scan, &builder, limit_lsn);
    if (status == STATUS_OK || status == STATUS_AGAIN || status == STATUS_CORRUPT) {
        segment->end_lsn = scan_lsn(scan, scan->offset);
        segment_index_fini(&segment->index);
        index_builder_finish(&builder, segment->end_lsn, &segment->index);
        segment->has_kept = true;
        work->kept_octets += index_octets(&segment->index);
        status = STATUS_OK;
    } else {
        status = refuse_read(work, status, segment, scan);
    }
    index_builder_fini(&builder);
    return status;
}

/* Evidence ------------------------------------------------------------------------------------- */

/* Looks for what the epoch wrote in the rest of a segment, from `offset` on. A header that is right
 * was written by us: its place and its epoch are under its checksum. */
static enum status
search(struct scan *scan, uint64_t offset, uint64_t broken_lsn, uint64_t limit_lsn,
       struct evidence *evidence)
{
    while (!evidence->is_damage) {
        enum status status = scan_seek(scan, offset);
        if (status == STATUS_AGAIN || (status == STATUS_OK && scan->batch.base_lsn >= limit_lsn)) {
            return STATUS_OK;
        }
        if (status != STATUS_OK) {
            return status;
        }
        evidence->is_written = true;
        evidence->is_damage = scan->batch.durable_lsn > broken_lsn;
        offset = scan->offset + BATCH_ALIGNMENT;
    }
    return STATUS_OK;
}

static enum status
search_segment(struct recovery_work *work, struct found_segment *segment, uint64_t broken_lsn,
               struct evidence *evidence)
{
    struct scan scan;
    enum status status = scan_open(&scan, work->disk, segment->name);
    if (status == STATUS_OK) {
        status = search(&scan, SEGMENT_HEADER_SIZE, broken_lsn, UINT64_MAX, evidence);
    }
    if (status != STATUS_OK) {
        status = refuse_read(work, status, segment, &scan);
    }
    scan_close(&scan);
    return status;
}

/* The chain ------------------------------------------------------------------------------------ */

/* The segments of one epoch, `first` to `end` - 1. */
struct epoch_run {
    const struct manifest_epoch *epoch;
    uint32_t first, end;
    bool is_open; /* it has not ended: this start ends it */
};

static uint64_t
limit_of(const struct epoch_run *run)
{
    return run->is_open ? UINT64_MAX : run->epoch->end_lsn;
}

/* Where the segment must end, told by the next one that holds a batch, with no segment missing in
 * between, or by the manifest. 0: nobody knows. `*next_out` is that segment, NULL otherwise. */
static uint64_t
expected_end(struct recovery_work *work, const struct epoch_run *run, uint32_t at,
             struct found_segment **next_out)
{
    const struct found_segment *segment = &work->segments[at];
    uint64_t empty = segment->header.base_lsn + SEGMENT_HEADER_SIZE;
    uint64_t number = segment->last;
    *next_out = NULL;
    for (uint32_t i = at + 1; i < run->end; i++) {
        struct found_segment *next = &work->segments[i];
        if (next->is_pack || next->header.number != number + 1 ||
            next->header.base_lsn >= limit_of(run)) {
            break;
        }
        number = next->last;
        if (next->has_first) {
            *next_out = next;
            uint64_t end = next->first.base_lsn - next->first.skipped;
            bool is_first = (next->first.flags & BATCH_FIRST_OF_EPOCH) != 0;
            return is_first || end < empty ? empty : end;
        }
    }
    /* The segment in which the epoch ended may be gone, as nobody needed it. */
    uint64_t end = run->is_open ? 0 : run->epoch->end_lsn;
    bool is_within = end >= empty && end <= segment->header.base_lsn + segment->header.capacity;
    return is_within ? end : 0;
}

/* Whether anything of this epoch stands in a later segment, or looks as if it does. */
static enum status
search_later(struct recovery_work *work, const struct epoch_run *run, uint32_t at,
             uint64_t broken_lsn, struct evidence *evidence)
{
    for (uint32_t i = at + 1; i < run->end && !evidence->is_damage; i++) {
        struct found_segment *later = &work->segments[i];
        if (later->has_index || (later->has_first && later->first.durable_lsn > broken_lsn)) {
            evidence->is_written = true;
            evidence->is_damage = true;
        } else if (later->has_first || !work->result->was_clean) {
            enum status status = search_segment(work, later, broken_lsn, evidence);
            if (status != STATUS_OK) {
                return status;
            }
        }
        if (evidence->is_damage && !later->has_first) {
            evidence->headless = later;
        }
    }
    return STATUS_OK;
}

static bool
is_behind_a_gap(const struct recovery_work *work, const struct epoch_run *run, uint32_t at)
{
    uint64_t number = work->segments[at].last;
    for (uint32_t i = at + 1; i < run->end; i++) {
        const struct found_segment *later = &work->segments[i];
        if (later->header.number != number + 1 || later->is_pack) {
            return later->has_first || later->has_index;
        }
        number = later->last;
    }
    return false;
}

/* The chain of the last epoch ends at this segment's end: for good, unless it is damaged. */
static void
cut(struct recovery_work *work, const struct epoch_run *run, uint32_t at, bool is_torn)
{
    struct found_segment *segment = &work->segments[at];
    if (is_torn) {
        work->result->torn_lsn = segment->end_lsn;
        log_warn(work->log, "store.torn_end", "file=%s offset=%" PRIu64, segment->name,
                 segment->end_lsn - segment->header.base_lsn);
    }
    for (uint32_t i = at + 1; i < run->end; i++) {
        work->segments[i].is_surplus = true;
    }
}

/* A segment whose end is not where it must be, or of which nobody knows where that is. `stop` and
 * `reason` say what was found there. */
struct stop {
    enum scan_stop what;
    const char *reason;
    uint64_t offset;
};

static enum status
judge_break(struct recovery_work *work, const struct epoch_run *run, uint32_t at,
            struct evidence evidence, const struct stop *stop, uint64_t expected, bool *ended_out)
{
    struct found_segment *segment = &work->segments[at];
    bool is_damage = evidence.is_damage || stop->what > SCAN_STOP_NOTHING;
    if (!run->is_open) {
        is_damage = is_damage || evidence.is_written || expected != 0;
        return is_damage ? refuse_at(work, segment, stop->offset, stop->reason) : STATUS_OK;
    }
    if (expected == 0 && is_behind_a_gap(work, run, at)) {
        /* What follows is gone because nobody needed it; this one was full by then. */
        is_damage = is_damage || evidence.is_written;
        return is_damage ? refuse_at(work, segment, stop->offset, stop->reason) : STATUS_OK;
    }
    enum status status = search_later(work, run, at, segment->end_lsn, &evidence);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_torn = evidence.is_written || stop->what > SCAN_STOP_NOTHING;
    /* A torn write cannot make records of another kind that have their checksum: they are those of
     * a newer version, and it may have promised what they say. */
    evidence.is_damage |= stop->what == SCAN_STOP_RECORD;
    if (evidence.headless != NULL && stop->what <= SCAN_STOP_NOTHING) {
        return refuse_at(work, evidence.headless, SEGMENT_HEADER_SIZE, NO_BATCH);
    }
    if (evidence.is_damage || (is_torn && work->result->was_clean)) {
        return refuse_at(work, segment, stop->offset, stop->reason);
    }
    cut(work, run, at, is_torn);
    *ended_out = true;
    return STATUS_OK;
}

/* A segment without a good index: reads it, and looks behind the place where it stops. */
static enum status
judge_by_reading(struct recovery_work *work, const struct epoch_run *run, uint32_t at,
                 uint64_t expected, bool *ended_out)
{
    struct found_segment *segment = &work->segments[at];
    struct evidence evidence = {0};
    struct scan scan;
    enum status status = settle_on_disk(work, segment);
    if (status != STATUS_OK) {
        return status;
    }
    status = scan_open(&scan, work->disk, segment->name);
    if (status != STATUS_OK) {
        status = refuse_read(work, status, segment, &scan);
        scan_close(&scan);
        return status;
    }
    status = build_index(work, segment, &scan, limit_of(run));
    struct stop stop = {
        .what = scan.stop,
        .reason = scan.reason,
        .offset = scan.stop == SCAN_STOP_NONE ? scan.offset : scan.stop_offset,
    };
    bool is_whole = expected != 0 && segment->end_lsn == expected;
    if (status == STATUS_OK && !is_whole) {
        status = search(&scan, scan.offset + BATCH_ALIGNMENT, segment->end_lsn, limit_of(run),
                        &evidence);
        if (status != STATUS_OK) {
            status = refuse_read(work, status, segment, &scan);
        }
    }
    scan_close(&scan);
    if (status != STATUS_OK || is_whole) {
        return status;
    }
    if (stop.what == SCAN_STOP_NONE) {
        stop.reason = "it goes on where the log does not";
    }
    return judge_break(work, run, at, evidence, &stop, expected, ended_out);
}

/* A segment with a good index needs no reading, unless somebody wants to know. */
static enum status
check_indexed(struct recovery_work *work, const struct found_segment *segment)
{
    struct scan scan;
    enum status status = scan_open(&scan, work->disk, segment->name);
    while (status == STATUS_OK && scan_lsn(&scan, scan.offset) < segment->end_lsn) {
        status = scan_next(&scan);
    }
    if (status == STATUS_AGAIN || status == STATUS_CORRUPT) {
        status = refuse_at(work, segment, scan.stop_offset, scan.reason);
    } else if (status != STATUS_OK) {
        status = refuse_read(work, status, segment, &scan);
    }
    scan_close(&scan);
    return status;
}

static void
note_lost(void *context, const struct pack_entry *entry)
{
    *(uint64_t *)context = entry->offset;
}

static enum status
check_pack(struct recovery_work *work, const struct found_segment *segment)
{
    struct pack pack;
    const char *reason;
    uint64_t lost = 0;
    enum status status = pack_read(&pack, work->disk, segment->name, &reason);
    if (status == STATUS_OK) {
        status = pack_check_contents(&pack, work->disk, segment->name, note_lost, &lost);
        pack_fini(&pack);
    }
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "%s cannot be read", segment->name);
    }
    return lost == 0 ? status
                     : refuse_at(work, segment, lost, "a message that is not what was written");
}

static enum status
judge_segment(struct recovery_work *work, const struct epoch_run *run, uint32_t at, bool *ended_out)
{
    struct found_segment *segment = &work->segments[at];
    struct found_segment *next;
    if (segment->is_pack) {
        return work->options->check_contents ? check_pack(work, segment) : STATUS_OK;
    }
    uint64_t expected = expected_end(work, run, at, &next);
    if (segment->has_index && (expected == 0 || expected == segment->end_lsn)) {
        if (work->options->check_contents) {
            enum status status = check_indexed(work, segment);
            if (status != STATUS_OK) {
                return status;
            }
        }
        if (expected != 0 || !run->is_open || is_behind_a_gap(work, run, at)) {
            return STATUS_OK;
        }
        struct stop stop = {.what = SCAN_STOP_NOTHING,
                            .reason = "the batches behind it are not where they belong",
                            .offset = segment->end_lsn - segment->header.base_lsn};
        return judge_break(work, run, at, (struct evidence){0}, &stop, 0, ended_out);
    }
    if (segment->has_index) {
        log_warn(work->log, "store.index_ignored", "file=%s.idx", segment->name);
        segment->has_index = false;
    }
    return judge_by_reading(work, run, at, expected, ended_out);
}

static enum status
judge_epoch(struct recovery_work *work, const struct epoch_run *run)
{
    bool has_ended = false;
    for (uint32_t at = run->first; at < run->end && !has_ended; at++) {
        struct found_segment *segment = &work->segments[at];
        if (segment->header.base_lsn >= limit_of(run)) {
            segment->is_surplus = true;
            continue;
        }
        enum status status = judge_segment(work, run, at, &has_ended);
        if (status != STATUS_OK) {
            return status;
        }
        if (!segment->is_pack &&
            segment->end_lsn == segment->header.base_lsn + SEGMENT_HEADER_SIZE) {
            segment->is_surplus = true;
        }
    }
    return STATUS_OK;
}

enum status
log_end_find(struct recovery_work *work)
{
    const struct manifest *manifest = &work->result->manifest;
    uint32_t at = 0;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        const struct manifest_epoch *epoch = &manifest->epochs[i];
        struct epoch_run run = {.epoch = epoch, .first = at, .is_open = epoch->end_lsn == 0};
        while (at < work->segment_count && work->segments[at].header.epoch == epoch->number) {
            at++;
        }
        run.end = at;
        enum status status = judge_epoch(work, &run);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* Indexes -------------------------------------------------------------------------------------- */

/* A segment whose index proved wrong behind its header: everything below the end that the header
 * gives was flushed, so the segment must hold it. */
static enum status
load_by_reading(struct recovery_work *work, struct found_segment *segment)
{
    uint64_t end_lsn = segment->end_lsn;
    struct scan scan;
    enum status status = scan_open(&scan, work->disk, segment->name);
    if (status != STATUS_OK) {
        status = refuse_read(work, status, segment, &scan);
    } else {
        status = build_index(work, segment, &scan, end_lsn);
    }
    if (status == STATUS_OK && segment->end_lsn != end_lsn) {
        status = refuse_at(work, segment, scan.stop_offset, scan.reason);
    }
    scan_close(&scan);
    return status;
}

static enum status
load_from_pack(struct recovery_work *work, struct found_segment *segment)
{
    struct pack pack;
    const char *reason;
    enum status status = pack_read(&pack, work->disk, segment->name, &reason);
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "%s %s", segment->name, reason);
    }
    segment_index_fini(&segment->index);
    segment->index = pack.index;
    segment->has_kept = true;
    work->kept_octets += index_octets(&segment->index);
    pack.index = (struct segment_index){0};
    pack_fini(&pack);
    return STATUS_OK;
}

enum status
log_end_load_index(struct recovery_work *work, struct found_segment *segment)
{
    if (segment->has_kept) {
        return STATUS_OK;
    }
    if (segment->is_pack) {
        return load_from_pack(work, segment);
    }
    if (segment->has_index) {
        struct segment_index index;
        enum status status = segment_index_read(&index, work->disk, segment->header.number);
        if (status == STATUS_OK && index.end_lsn == segment->end_lsn &&
            index.base_lsn == segment->header.base_lsn) {
            segment_index_fini(&segment->index);
            segment->index = index;
            segment->has_kept = true;
            work->kept_octets += index_octets(&segment->index);
            return STATUS_OK;
        }
        if (status == STATUS_NO_MEMORY) {
            return recovery_refuse(work, status, "too little memory for %s.idx", segment->name);
        }
        if (status == STATUS_OK) {
            segment_index_fini(&index);
        }
        log_warn(work->log, "store.index_ignored", "file=%s.idx", segment->name);
        segment->has_index = false;
    }
    return load_by_reading(work, segment);
}

void
log_end_release_index(struct recovery_work *work, struct found_segment *segment)
{
    if (segment->has_kept && work->kept_octets > KEPT_OCTETS_MAX) {
        work->kept_octets -= index_octets(&segment->index);
        segment_index_fini(&segment->index);
        segment->has_kept = false;
    }
}
