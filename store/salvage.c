/* SPDX-License-Identifier: Apache-2.0 */
/* Verify and salvage are one walk: over the manifest, the snapshot and every segment with its index
 * and dead file. Salvage changes what it finds on the way, one file at a time, so that a second run
 * goes on where a first one stopped. At the end recovery judges the whole. */
#include "store/salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/catalog.h"
#include "store/crc32c.h"
#include "store/damage.h"
#include "store/fold.h"
#include "store/index.h"
#include "store/little_endian.h"
#include "store/manifest.h"
#include "store/pack.h"
#include "store/recovery.h"
#include "store/snapshot.h"

enum { COPY_SIZE = 256 * 1024, NAMES_MAX = 65536 };

struct salvage {
    const struct disk *disk;
    const struct salvage_report *report;
    bool may_write;
    uint64_t count;
    struct manifest manifest;
    bool manifest_is_changed;
    struct catalog catalog;
    char why[512];
};

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

/* Reporting ------------------------------------------------------------------------------------ */

static void
report(struct salvage *salvage, const char *file, uint64_t offset, uint64_t octets,
       uint64_t messages, const char *text)
{
    struct salvage_finding finding = {
        .file = file, .offset = offset, .octets = octets, .messages = messages, .text = text};
    salvage->count++;
    salvage->report->finding(salvage->report->context, &finding);
}

static enum status
report_io(struct salvage *salvage, const char *file, const char *what)
{
    char text[160];
    int error = errno;
    (void)snprintf(text, sizeof(text), "cannot be %s: %s", what, strerror(error));
    report(salvage, file, 0, 0, 0, text);
    errno = error;
    return STATUS_IO;
}

/* Keeping what is damaged ---------------------------------------------------------------------- */

static void
damaged_name(const char *name, char out[static STORE_NAME_SIZE + 16])
{
    (void)snprintf(out, STORE_NAME_SIZE + 16, "%s.damaged", name);
}

static enum status
copy_octets(const struct disk *disk, struct disk_file *from, struct disk_file *to)
{
    uint8_t *octets = xalloc(COPY_SIZE);
    enum status status = STATUS_OK;
    size_t read = COPY_SIZE;
    for (uint64_t offset = 0; status == STATUS_OK && read == COPY_SIZE; offset += read) {
        status = disk->read(disk->context, from, octets, COPY_SIZE, offset, &read);
        if (status == STATUS_OK && read > 0) {
            status = disk_write_bytes(disk, to, octets, read, offset);
        }
    }
    free(octets);
    return status == STATUS_OK ? disk->flush(disk->context, to) : status;
}

/* A copy from an earlier run is older, and so the better one. */
static enum status
keep_copy(struct salvage *salvage, const char *name)
{
    const struct disk *disk = salvage->disk;
    char kept[STORE_NAME_SIZE + 16];
    char aside[STORE_NAME_SIZE + 24];
    struct disk_file *from = NULL;
    struct disk_file *to = NULL;
    damaged_name(name, kept);
    (void)snprintf(aside, sizeof(aside), "%s.tmp", kept);
    if (disk->open(disk->context, kept, DISK_OPEN_READ, &to) == STATUS_OK) {
        disk->close(disk->context, &to);
        return STATUS_OK;
    }
    (void)disk->unlink(disk->context, aside);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &from);
    if (status == STATUS_OK) {
        status = disk->open(disk->context, aside, DISK_OPEN_CREATE, &to);
    }
    if (status == STATUS_OK) {
        status = copy_octets(disk, from, to);
    }
    int error = errno;
    disk->close(disk->context, &from);
    disk->close(disk->context, &to);
    errno = error;
    if (status == STATUS_OK) {
        status = disk->rename(disk->context, aside, kept);
    }
    if (status == STATUS_OK) {
        status = disk->flush_directory(disk->context);
    }
    return status == STATUS_OK ? status : report_io(salvage, kept, "written");
}

/* Takes a file out of the directory's use altogether. */
static enum status
set_aside(struct salvage *salvage, const char *name)
{
    char kept[STORE_NAME_SIZE + 16];
    damaged_name(name, kept);
    if (salvage->disk->rename(salvage->disk->context, name, kept) != STATUS_OK ||
        salvage->disk->flush_directory(salvage->disk->context) != STATUS_OK) {
        return report_io(salvage, name, "set aside");
    }
    return STATUS_OK;
}

/* Filling places up ---------------------------------------------------------------------------- */

static enum status
write_patch(struct segment_work *work, const struct iovec *parts, size_t part_count,
            uint64_t offset)
{
    struct salvage *salvage = work->salvage;
    const struct disk *disk = salvage->disk;
    if (!work->is_copied) {
        enum status status = keep_copy(salvage, work->entry->name);
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
    return status == STATUS_OK ? status : report_io(salvage, work->entry->name, "written");
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
    report(salvage, work->entry->name, damage->start, damage->end - damage->start, messages,
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
    return status == STATUS_OK ? status : report_io(work->salvage, work->entry->name, "indexed");
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
        report(salvage, name, 0, 0, 0, "is of another segment; it is made anew at the next start");
    } else if (status == STATUS_CORRUPT) {
        report(salvage, name, 0, 0, 0, "is damaged; it is made anew at the next start");
    } else if (errno != ENOENT) {
        (void)report_io(salvage, name, "read");
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
        report(work->salvage, name, 0, 0, 0,
               "is damaged; messages of the segment may come again, marked as redelivered");
    } else if (errno != ENOENT) {
        (void)report_io(work->salvage, name, "read");
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
        (void)report_io(salvage, work.entry->name, "read");
    } else if (status == STATUS_CORRUPT) {
        report(salvage, work.entry->name, scan.stop_offset, 0, 0, scan.reason);
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
    report(work->salvage, work->name, entry->offset, entry->size, 1,
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
        report(salvage, name, 0, 0, 0, reason);
        return salvage->may_write ? set_aside(salvage, name) : STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = pack_check_contents(&pack, salvage->disk, name, take_lost, &work);
        pack_fini(&pack);
    }
    return status == STATUS_IO ? report_io(salvage, name, "read") : status;
}

static enum status
walk_segments(struct salvage *salvage)
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

/* Headers -------------------------------------------------------------------------------------- */

/* Files whose header cannot be read hold nothing that can be named. */
struct name_list {
    char (*names)[STORE_NAME_SIZE];
    uint32_t count, capacity;
};

static void
note_segment(void *argument, const char *name)
{
    struct name_list *list = argument;
    uint64_t number;
    uint64_t last;
    enum store_file_kind kind = store_file_parse(name, &number, &last);
    if ((kind != STORE_FILE_SEGMENT && kind != STORE_FILE_PACK) || list->count == NAMES_MAX) {
        return;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        list->names = xrealloc(list->names, list->capacity * sizeof(*list->names));
    }
    (void)snprintf(list->names[list->count++], STORE_NAME_SIZE, "%s", name);
}

static enum status
write_header(struct salvage *salvage, const char *name, const struct segment_header *header,
             uint64_t file_size)
{
    static const uint8_t zero;
    uint8_t octets[SEGMENT_HEADER_SIZE];
    const struct disk *disk = salvage->disk;
    struct disk_file *file = NULL;
    enum status status = keep_copy(salvage, name);
    if (status != STATUS_OK) {
        return status;
    }
    segment_header_encode(header, octets);
    status = disk->open(disk->context, name, DISK_OPEN_WRITE, &file);
    if (status == STATUS_OK) {
        status = disk_write_bytes(disk, file, octets, sizeof(octets), 0);
    }
    if (status == STATUS_OK && file_size < header->capacity) {
        status = disk_write_bytes(disk, file, &zero, 1, header->capacity - 1);
    }
    if (status == STATUS_OK) {
        status = disk->flush(disk->context, file);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status == STATUS_OK ? status : report_io(salvage, name, "written");
}

static bool
knows_epoch(const struct salvage *salvage, uint64_t number)
{
    for (uint32_t i = 0; i < salvage->manifest.epoch_count; i++) {
        if (salvage->manifest.epochs[i].number == number) {
            return true;
        }
    }
    return false;
}

/* A batch at the place of the first one tells where the segment lies and in which epoch; the other
 * segments tell how large a slot is. */
static bool
guess_header(struct salvage *salvage, const struct scan *scan, uint64_t number,
             struct segment_header *header)
{
    uint8_t octets[BATCH_HEADER_SIZE];
    struct batch_header batch;
    size_t read = 0;
    uint64_t slot = scan->file_size;
    if (scan->file == NULL ||
        salvage->disk->read(salvage->disk->context, scan->file, octets, sizeof(octets),
                            SEGMENT_HEADER_SIZE, &read) != STATUS_OK ||
        read < sizeof(octets) || batch_header_decode(&batch, octets) != STATUS_OK ||
        batch.base_lsn % SEGMENT_HEADER_SIZE != 0 || batch.base_lsn < SEGMENT_HEADER_SIZE ||
        !knows_epoch(salvage, batch.epoch)) {
        return false;
    }
    for (uint32_t i = 0; i < salvage->catalog.count; i++) {
        uint64_t other = salvage->catalog.entries[i].header.slot_size;
        slot = other > slot ? other : slot;
    }
    *header = (struct segment_header){
        .number = number,
        .base_lsn = batch.base_lsn - SEGMENT_HEADER_SIZE,
        .slot_size = slot,
        .capacity = scan->file_size,
        .epoch = batch.epoch,
        .group = batch.group,
    };
    memcpy(header->cluster_id, salvage->manifest.cluster_id, CLUSTER_ID_SIZE);
    return true;
}

/* Makes the file one that can be walked, or takes it out of use. */
static enum status
mend_header(struct salvage *salvage, const struct scan *scan, const char *name, uint64_t number)
{
    bool is_cut_off = scan->segment.number == number && scan->file_size < scan->segment.capacity;
    struct segment_header header = scan->segment;
    if (is_cut_off || guess_header(salvage, scan, number, &header)) {
        return write_header(salvage, name, &header, scan->file_size);
    }
    return set_aside(salvage, name);
}

static enum status
check_header(struct salvage *salvage, const char *name)
{
    struct scan scan;
    uint64_t number = 0;
    uint64_t last = 0;
    (void)store_file_parse(name, &number, &last);
    enum status status = scan_open(&scan, salvage->disk, name);
    const char *problem = status == STATUS_CORRUPT ? scan.reason : NULL;
    bool is_foreign = false;
    if (status == STATUS_OK && scan.segment.number != number) {
        problem = "holds another segment than its name says";
        is_foreign = true;
    } else if (status == STATUS_OK && memcmp(scan.segment.cluster_id, salvage->manifest.cluster_id,
                                             CLUSTER_ID_SIZE) != 0) {
        problem = "belongs to another data directory";
        is_foreign = true;
    }
    if (status == STATUS_IO) {
        status = report_io(salvage, name, "read");
    } else if (problem != NULL) {
        report(salvage, name, scan.stop_offset, is_foreign ? scan.file_size : 0, 0, problem);
        status = STATUS_OK;
        if (salvage->may_write) {
            status =
                is_foreign ? set_aside(salvage, name) : mend_header(salvage, &scan, name, number);
        }
    }
    scan_close(&scan);
    return status;
}

static enum status
check_headers(struct salvage *salvage)
{
    struct name_list list = {0};
    enum status worst = STATUS_OK;
    if (salvage->disk->list(salvage->disk->context, note_segment, &list) != STATUS_OK) {
        worst = report_io(salvage, ".", "listed");
    }
    for (uint32_t i = 0; i < list.count && worst == STATUS_OK; i++) {
        worst = check_header(salvage, list.names[i]);
    }
    free(list.names);
    return worst;
}

/* Manifest and snapshot ------------------------------------------------------------------------ */

/* What the segments themselves say: where each epoch began, and that all but the last have ended
 * where the next began at the latest. What was cut off once may be there again. */
static enum status
rebuild_manifest(struct salvage *salvage)
{
    struct manifest *manifest = &salvage->manifest;
    const struct catalog *catalog = &salvage->catalog;
    if (catalog->count == 0) {
        return STATUS_CORRUPT;
    }
    *manifest = (struct manifest){.group = catalog->entries[0].header.group};
    memcpy(manifest->cluster_id, catalog->entries[0].header.cluster_id, CLUSTER_ID_SIZE);
    uint64_t end_lsn = 0;
    for (uint32_t i = 0; i < catalog->count; i++) {
        const struct segment_header *header = &catalog->entries[i].header;
        uint32_t count = manifest->epoch_count;
        if (count == 0 || manifest->epochs[count - 1].number < header->epoch) {
            if (count > 0) {
                manifest->epochs[count - 1].end_lsn = end_lsn;
            }
            manifest_add_epoch(manifest, header->epoch, header->base_lsn);
        }
        struct segment_work work = {.salvage = salvage, .entry = &catalog->entries[i]};
        struct scan scan;
        enum status status = scan_open(&scan, salvage->disk, catalog->entries[i].name);
        while (status == STATUS_OK) {
            status = scan_next(&scan);
        }
        end_lsn = scan_lsn(&scan, scan.offset);
        scan_close(&scan);
        load_index(&work);
        if (work.has_index && work.index.end_lsn > end_lsn) {
            end_lsn = work.index.end_lsn;
        }
        free(work.is_lost);
        segment_index_fini(&work.index);
    }
    return STATUS_OK;
}

static enum status
load_manifest(struct salvage *salvage)
{
    enum status status =
        manifest_read(&salvage->manifest, salvage->disk, salvage->why, sizeof(salvage->why));
    if (status == STATUS_OK) {
        return status;
    }
    if (status == STATUS_IO && errno != ENOENT) {
        return report_io(salvage, STORE_MANIFEST_NAME, "read");
    }
    if (status == STATUS_IO) {
        (void)snprintf(salvage->why, sizeof(salvage->why), "is missing");
    }
    report(salvage, STORE_MANIFEST_NAME, 0, 0, 0, salvage->why);
    if (!salvage->may_write) {
        return STATUS_CORRUPT;
    }
    struct disk_file *file = NULL;
    if (salvage->disk->open(salvage->disk->context, STORE_MANIFEST_NAME, DISK_OPEN_READ, &file) ==
        STATUS_OK) {
        salvage->disk->close(salvage->disk->context, &file);
        status = keep_copy(salvage, STORE_MANIFEST_NAME);
        if (status != STATUS_OK) {
            return status;
        }
    }
    salvage->manifest_is_changed = true;
    return rebuild_manifest(salvage);
}

struct newest_snapshot {
    const struct disk *disk;
    uint64_t lsn;
};

static bool
snapshot_is_right(const struct disk *disk, uint64_t lsn)
{
    struct topology_fold fold;
    topology_fold_init(&fold);
    bool is_right = snapshot_read(&fold, disk, lsn) == STATUS_OK;
    topology_fold_fini(&fold);
    return is_right;
}

static void
note_snapshot(void *argument, const char *name)
{
    struct newest_snapshot *newest = argument;
    uint64_t number;
    uint64_t last;
    if (store_file_parse(name, &number, &last) == STORE_FILE_SNAPSHOT && number > newest->lsn &&
        snapshot_is_right(newest->disk, number)) {
        newest->lsn = number;
    }
}

/* Where the snapshot is lost, what it held is lost with the segments that it stood for. */
static enum status
check_snapshot(struct salvage *salvage)
{
    uint64_t lsn = salvage->manifest.snapshot_lsn;
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SNAPSHOT, lsn, 0, name);
    if (!salvage->manifest_is_changed && (lsn == 0 || snapshot_is_right(salvage->disk, lsn))) {
        return STATUS_OK;
    }
    if (lsn != 0) {
        report(salvage, name, 0, 0, 0,
               "is damaged or missing: what was declared before it is known only as far as "
               "segments of that time are still there");
    }
    if (!salvage->may_write) {
        return STATUS_OK;
    }
    struct newest_snapshot newest = {.disk = salvage->disk};
    if (salvage->disk->list(salvage->disk->context, note_snapshot, &newest) != STATUS_OK) {
        return report_io(salvage, ".", "listed");
    }
    if (lsn != 0) {
        (void)set_aside(salvage, name);
    }
    salvage->manifest.snapshot_lsn = newest.lsn;
    salvage->manifest_is_changed = true;
    return STATUS_OK;
}

/* The whole ------------------------------------------------------------------------------------ */

static enum status
pass_over_record(void *context, const struct record *record)
{
    (void)context;
    (void)record;
    return STATUS_OK;
}

static enum status
pass_over_row(void *context, const struct recovered_row *row)
{
    (void)context;
    (void)row;
    return STATUS_OK;
}

/* What no file shows by itself: order, gaps, ends. */
static enum status
judge_whole(struct salvage *salvage)
{
    struct recovery recovery;
    struct recovery_sink sink = {.record = pass_over_record, .row = pass_over_row};
    struct recovery_options options = {.slot_size = SEGMENT_SIZE_MIN};
    uint64_t before = salvage->count;
    enum status status = recovery_run(&recovery, salvage->disk, &options, &sink, NULL, NULL,
                                      salvage->why, sizeof(salvage->why));
    if (status == STATUS_OK) {
        recovery_fini(&recovery);
        return status;
    }
    if (before == 0 || salvage->may_write) {
        report(salvage, ".", 0, 0, 0, salvage->why);
    }
    return status;
}

static enum status
repair(struct salvage *salvage)
{
    enum status status = load_manifest(salvage);
    if (status == STATUS_CORRUPT && !salvage->may_write) {
        return STATUS_OK; /* reported; nothing else can be judged without */
    }
    if (status == STATUS_OK) {
        status = check_headers(salvage);
    }
    catalog_fini(&salvage->catalog);
    if (status == STATUS_OK) {
        struct log_failure failure;
        status = catalog_read(&salvage->catalog, salvage->disk, &failure);
        status = status == STATUS_CORRUPT && !salvage->may_write ? STATUS_OK : status;
    }
    if (status == STATUS_OK) {
        status = check_snapshot(salvage);
    }
    if (status == STATUS_OK) {
        status = walk_segments(salvage);
    }
    if (status == STATUS_OK && salvage->manifest_is_changed) {
        salvage->manifest.is_clean = false;
        if (manifest_write(&salvage->manifest, salvage->disk, NULL) != STATUS_OK) {
            status = report_io(salvage, STORE_MANIFEST_NAME, "written");
        }
    }
    return status;
}

static enum status
run(const struct disk *disk, const struct salvage_report *to, bool may_write, uint64_t *count_out)
{
    struct salvage salvage = {.disk = disk, .report = to, .may_write = may_write};
    struct log_failure failure;
    enum status status = catalog_read(&salvage.catalog, disk, &failure);
    if (status == STATUS_OK || status == STATUS_CORRUPT) {
        bool is_empty = salvage.catalog.count == 0 && status == STATUS_OK;
        struct disk_file *file = NULL;
        bool has_manifest =
            disk->open(disk->context, STORE_MANIFEST_NAME, DISK_OPEN_READ, &file) == STATUS_OK;
        disk->close(disk->context, &file);
        status = is_empty && !has_manifest ? STATUS_OK : repair(&salvage);
    } else {
        status = report_io(&salvage, failure.file, failure.what);
    }
    if (status == STATUS_OK) {
        status = judge_whole(&salvage);
    }
    *count_out = salvage.count;
    manifest_fini(&salvage.manifest);
    catalog_fini(&salvage.catalog);
    return status;
}

enum status
verify_run(const struct disk *disk, const struct salvage_report *to, uint64_t *count_out)
{
    enum status status = run(disk, to, false, count_out);
    return status == STATUS_CORRUPT ? STATUS_OK : status;
}

enum status
salvage_run(const struct disk *disk, const struct salvage_report *to, uint64_t *count_out)
{
    return run(disk, to, true, count_out);
}
