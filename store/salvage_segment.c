/* SPDX-License-Identifier: Apache-2.0 */
/* One segment or pack: what of it is damaged, and how its places are filled up so that a walk
 * passes over them. */
#include "store/salvage_work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/crc32c.h"
#include "store/damage.h"
#include "store/fold.h"
#include "store/index.h"
#include "store/pack.h"

struct segment_work {
    struct salvage *salvage;
    const struct catalog_entry *entry;
    struct segment_index index; /* owned; rows only with has_index */
    bool has_index;
    bool *is_lost; /* of each row; owned */
    uint64_t lost_count;
    uint64_t previous_end; /* LSN behind the segment before; 0: nobody knows */
    bool is_copied;
};

/* Filling places up ---------------------------------------------------------------------------- */

static enum status
write_patch(struct segment_work *work, const struct iovec *parts, size_t part_count,
            uint64_t offset)
{
    struct salvage *salvage = work->salvage;
    const struct disk *disk = salvage->disk;
    if (!work->is_copied) {
        enum status status = salvage_keep_copy(salvage, work->entry->name);
        if (status != STATUS_OK) {
            return status;
        }
        work->is_copied = true;
    }
    struct disk_file *file = NULL;
    enum status status = disk->open(disk->context, work->entry->name, DISK_OPEN_WRITE, &file);
    if (status == STATUS_OK) {
        status = disk->write(disk->context, file, parts, part_count, offset);
    }
    if (status == STATUS_OK) {
        status = disk->flush(disk->context, file);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status == STATUS_OK ? status : salvage_say_io(salvage, work->entry->name, "written");
}

/* Makes a batch of the place that says nothing: what lies there counts as contents that no record
 * names. */
static enum status
fill_gap(struct segment_work *work, const struct scan *scan, uint64_t start, uint64_t end)
{
    uint8_t octets[BATCH_HEADER_SIZE];
    uint64_t lsn = scan_lsn(scan, start);
    struct batch_header batch = {
        .group = (uint16_t)scan->segment.group,
        .base_lsn = lsn,
        .data_size = (uint32_t)(end - start - BATCH_HEADER_SIZE),
        .epoch = scan->segment.epoch,
        .durable_lsn = lsn,
    };
    if (start == SEGMENT_HEADER_SIZE) {
        batch.flags = work->previous_end == 0 ? BATCH_FIRST_OF_EPOCH : 0;
        batch.skipped = work->previous_end == 0 ? 0 : (uint32_t)(lsn - work->previous_end);
    }
    batch_header_encode(&batch, octets);
    struct iovec part = {.iov_base = octets, .iov_len = sizeof(octets)};
    return write_patch(work, &part, 1, start);
}

/* Makes a note of the record of a message that is lost, within a batch that is otherwise good. */
static enum status
drop_record(struct segment_work *work, const struct scan *scan, const struct record *publish)
{
    struct batch_header batch = scan->batch;
    size_t size = scan->control.size;
    uint8_t *control = xalloc(size);
    uint8_t header[BATCH_HEADER_SIZE];
    memcpy(control, scan->control.data, size);
    uint8_t *record = control + (publish->octets.data - scan->control.data);
    record[0] = RECORD_NOTE;
    record[1] = RECORD_IGNORABLE;
    /* The walk goes on in its own copy of the records. */
    ((uint8_t *)(uintptr_t)publish->octets.data)[0] = RECORD_NOTE;
    ((uint8_t *)(uintptr_t)publish->octets.data)[1] = RECORD_IGNORABLE;
    batch.control_crc = crc32c(0, control, size);
    batch_header_encode(&batch, header);
    uint64_t offset = batch.base_lsn - scan->segment.base_lsn;
    struct iovec head = {.iov_base = header, .iov_len = sizeof(header)};
    struct iovec body = {.iov_base = control, .iov_len = size};
    enum status status = write_patch(work, &body, 1, offset + BATCH_HEADER_SIZE + batch.data_size);
    if (status == STATUS_OK) {
        status = write_patch(work, &head, 1, offset);
    }
    free(control);
    return status;
}

/* Segments ------------------------------------------------------------------------------------- */

/* Marks the rows of an index whose contents lie in the damaged place and are not what was
 * written. */
static uint64_t
mark_lost(struct segment_work *work, struct scan *scan, const struct damage *damage)
{
    if (!work->has_index) {
        return 0;
    }
    uint64_t count = 0;
    const struct segment_index *index = &work->index;
    uint64_t start = scan_lsn(scan, damage->start);
    uint64_t end = scan_lsn(scan, damage->end);
    for (uint64_t i = 0; i < index->row_count; i++) {
        const struct index_row *row = &index->rows[i];
        if (row->lsn < start || row->lsn >= end || work->is_lost[i]) {
            continue;
        }
        if (scan_check_row(scan, row->lsn, row->content_size) != STATUS_OK) {
            work->is_lost[i] = true;
            work->lost_count++;
            count++;
        }
    }
    return count;
}

static enum status
take_damage(void *context, struct scan *scan, const struct damage *damage)
{
    struct segment_work *work = context;
    struct salvage *salvage = work->salvage;
    uint64_t messages = 0;
    if (damage->publish != NULL) {
        messages = damage->publish->publish.queue_count;
    }
    enum status status = STATUS_OK;
    if (salvage->may_write) {
        status = damage->publish != NULL ? drop_record(work, scan, damage->publish)
                                         : fill_gap(work, scan, damage->start, damage->end);
    }
    if (damage->publish == NULL) {
        messages = mark_lost(work, scan, damage);
    } else if (work->has_index) {
        /* The window still holds the batch that the walk is in. */
        uint64_t lsn = scan_lsn(scan, damage->start);
        for (uint64_t i = 0; i < work->index.row_count; i++) {
            if (work->index.rows[i].lsn == lsn) {
                work->is_lost[i] = true;
                work->lost_count++;
            }
        }
    }
    salvage_say(salvage, work->entry->name, damage->start, damage->end - damage->start, messages,
                damage->reason);
    return status;
}

/* The new index is the old one without what is lost; the dead rows follow. */
static enum status
drop_lost_rows(struct segment_work *work)
{
    const struct disk *disk = work->salvage->disk;
    struct segment_index *index = &work->index;
    struct dead_rows old = {0};
    struct dead_rows dead = {0};
    struct log_failure failure;
    bool has_dead = dead_rows_read(&old, disk, index) == STATUS_OK;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < index->row_count; i++) {
        if (!work->is_lost[i]) {
            index->rows[kept] = index->rows[i];
            if (has_dead && dead_bit(old.bits, i)) {
                dead_bit_set(old.bits, kept);
            } else if (has_dead) {
                old.bits[kept / 64] &= ~(UINT64_C(1) << (kept % 64));
            }
            kept++;
        }
    }
    index->row_count = kept;
    index_drop_rowless_states(index);
    enum status status = segment_index_write(index, disk);
    if (status == STATUS_OK && has_dead && dead_rows_init(&dead, index) == STATUS_OK) {
        for (uint64_t i = 0; i < kept; i++) {
            if (dead_bit(old.bits, i)) {
                dead_bit_set(dead.bits, i);
            }
        }
        dead.folded_lsn = old.folded_lsn;
        status = dead_rows_write(&dead, disk, &failure);
    }
    dead_rows_fini(&old);
    dead_rows_fini(&dead);
    return status == STATUS_OK ? status
                               : salvage_say_io(work->salvage, work->entry->name, "indexed");
}

static void
load_index(struct segment_work *work)
{
    struct salvage *salvage = work->salvage;
    char name[STORE_NAME_SIZE];
    const struct segment_header *header = &work->entry->header;
    enum status status = segment_index_read(&work->index, salvage->disk, header->number);
    store_file_name(STORE_FILE_INDEX, header->number, 0, name);
    if (status == STATUS_OK && work->index.base_lsn == header->base_lsn &&
        work->index.end_lsn <= header->base_lsn + header->capacity) {
        work->has_index = true;
        work->is_lost = xalloc(work->index.row_count + 1);
    } else if (status == STATUS_OK) {
        segment_index_fini(&work->index);
        salvage_say(salvage, name, 0, 0, 0,
                    "is of another segment; it is made anew at the next start");
    } else if (status == STATUS_CORRUPT) {
        salvage_say(salvage, name, 0, 0, 0, "is damaged; it is made anew at the next start");
    } else if (errno != ENOENT) {
        (void)salvage_say_io(salvage, name, "read");
    }
}

static void
check_dead(struct segment_work *work)
{
    struct dead_rows dead;
    char name[STORE_NAME_SIZE];
    enum status status = dead_rows_read(&dead, work->salvage->disk, &work->index);
    store_file_name(STORE_FILE_DEAD, work->entry->header.number, 0, name);
    if (status == STATUS_OK) {
        dead_rows_fini(&dead);
    } else if (status == STATUS_CORRUPT || status == STATUS_AGAIN) {
        salvage_say(work->salvage, name, 0, 0, 0,
                    "is damaged; messages of the segment may come again, marked as redelivered");
    } else if (errno != ENOENT) {
        (void)salvage_say_io(work->salvage, name, "read");
    }
}

/* What is known of the segment's end: its index, the manifest, or the next segment. */
static uint64_t
must_reach(struct segment_work *work, uint32_t at)
{
    struct salvage *salvage = work->salvage;
    const struct segment_header *header = &work->entry->header;
    if (work->has_index) {
        return work->index.end_lsn - header->base_lsn;
    }
    if (at + 1 < salvage->catalog.count) {
        const struct catalog_entry *next = work->entry + 1;
        struct batch_header first;
        struct scan scan;
        bool is_next = next->header.number == work->entry->last + 1 &&
                       next->header.epoch == header->epoch &&
                       scan_open(&scan, salvage->disk, next->name) == STATUS_OK;
        bool is_found = is_next && scan_peek(&scan, SEGMENT_HEADER_SIZE, &first) == STATUS_OK &&
                        (first.flags & BATCH_FIRST_OF_EPOCH) == 0;
        if (next->header.number == work->entry->last + 1 && next->header.epoch == header->epoch) {
            scan_close(&scan);
        }
        uint64_t end = is_found ? first.base_lsn - first.skipped : 0;
        if (end > header->base_lsn && end <= header->base_lsn + header->capacity) {
            return end - header->base_lsn;
        }
    }
    for (uint32_t i = 0; i < salvage->manifest.epoch_count; i++) {
        const struct manifest_epoch *epoch = &salvage->manifest.epochs[i];
        if (epoch->number == header->epoch && epoch->end_lsn > header->base_lsn &&
            epoch->end_lsn <= header->base_lsn + header->capacity) {
            return epoch->end_lsn - header->base_lsn;
        }
    }
    return 0;
}

static enum status
walk_segment(struct salvage *salvage, uint32_t at, uint64_t *end_lsn)
{
    struct segment_work work = {
        .salvage = salvage, .entry = &salvage->catalog.entries[at], .previous_end = *end_lsn};
    struct scan scan;
    uint64_t end = SEGMENT_HEADER_SIZE;
    load_index(&work);
    enum status status = scan_open(&scan, salvage->disk, work.entry->name);
    if (status == STATUS_OK) {
        status = damage_walk(&scan, must_reach(&work, at), take_damage, &work, &end);
    }
    if (status == STATUS_IO || status == STATUS_NO_MEMORY) {
        (void)salvage_say_io(salvage, work.entry->name, "read");
    } else if (status == STATUS_CORRUPT) {
        salvage_say(salvage, work.entry->name, scan.stop_offset, 0, 0, scan.reason);
    }
    scan_close(&scan);
    if (status == STATUS_OK && work.has_index && !(salvage->may_write && work.lost_count > 0)) {
        check_dead(&work);
    } else if (status == STATUS_OK && work.lost_count > 0) {
        status = drop_lost_rows(&work);
    }
    *end_lsn = work.entry->header.base_lsn + end;
    free(work.is_lost);
    segment_index_fini(&work.index);
    return status;
}

struct pack_work {
    struct salvage *salvage;
    const char *name;
};

static void
take_lost(void *context, const struct pack_entry *entry)
{
    const struct pack_work *work = context;
    salvage_say(work->salvage, work->name, entry->offset, entry->size, 1,
                "a message that is not what was written");
}

/* What a pack has lost is not taken out of it: the message is refused when it is fetched. */
static enum status
walk_pack(struct salvage *salvage, const char *name)
{
    struct pack pack;
    const char *reason;
    struct pack_work work = {.salvage = salvage, .name = name};
    enum status status = pack_read(&pack, salvage->disk, name, &reason);
    if (status == STATUS_CORRUPT) {
        salvage_say(salvage, name, 0, 0, 0, reason);
        return salvage->may_write ? salvage_set_aside(salvage, name) : STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = pack_check_contents(&pack, salvage->disk, name, take_lost, &work);
        pack_fini(&pack);
    }
    return status == STATUS_IO ? salvage_say_io(salvage, name, "read") : status;
}

enum status
salvage_walk_segments(struct salvage *salvage)
{
    enum status worst = STATUS_OK;
    uint64_t end_lsn = 0;
    for (uint32_t i = 0; i < salvage->catalog.count; i++) {
        const struct catalog_entry *entry = &salvage->catalog.entries[i];
        bool follows = i > 0 && entry[-1].last + 1 == entry->header.number &&
                       entry[-1].header.epoch == entry->header.epoch;
        end_lsn = follows && !entry[-1].is_pack ? end_lsn : 0;
        enum status status =
            entry->is_pack ? walk_pack(salvage, entry->name) : walk_segment(salvage, i, &end_lsn);
        if (status != STATUS_OK && salvage->may_write) {
            return status;
        }
        worst = status == STATUS_OK ? worst : status;
    }
    return worst;
}

uint64_t
salvage_index_end(struct salvage *salvage, const struct catalog_entry *entry)
{
    struct segment_work work = {.salvage = salvage, .entry = entry};
    load_index(&work);
    uint64_t end_lsn = work.has_index ? work.index.end_lsn : 0;
    free(work.is_lost);
    segment_index_fini(&work.index);
    return end_lsn;
}
