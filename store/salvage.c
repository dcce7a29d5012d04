/* SPDX-License-Identifier: Apache-2.0 */
/* Verify and salvage are one walk: over the manifest, the snapshot and every segment with its index
 * and dead file. Salvage changes what it finds on the way, one file at a time, so that a second run
 * goes on where a first one stopped. At the end recovery judges the whole. */
#include "store/salvage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/recovery.h"
#include "store/salvage_work.h"
#include "store/scan.h"
#include "store/snapshot.h"

enum { COPY_SIZE = 256 * 1024, NAMES_MAX = 65536 };

/* Reporting ------------------------------------------------------------------------------------ */

void
salvage_say(struct salvage *salvage, const char *file, uint64_t offset, uint64_t octets,
            uint64_t messages, const char *text)
{
    struct salvage_finding finding = {
        .file = file, .offset = offset, .octets = octets, .messages = messages, .text = text};
    salvage->count++;
    salvage->report->finding(salvage->report->context, &finding);
}

enum status
salvage_say_io(struct salvage *salvage, const char *file, const char *what)
{
    char text[160];
    int error = errno;
    (void)snprintf(text, sizeof(text), "cannot be %s: %s", what, strerror(error));
    salvage_say(salvage, file, 0, 0, 0, text);
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
copy_file_octets(const struct disk *disk, struct disk_file *from, struct disk_file *to)
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

/* Makes `to` a copy of the file, in place of whatever has that name. */
static enum status
copy_file(const struct disk *disk, const char *name, const char *to)
{
    char aside[STORE_NAME_SIZE + 24];
    struct disk_file *source = NULL;
    struct disk_file *copy = NULL;
    (void)snprintf(aside, sizeof(aside), "%s.tmp", to);
    (void)disk->unlink(disk->context, aside);
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &source);
    if (status == STATUS_OK) {
        status = disk->open(disk->context, aside, DISK_OPEN_CREATE, &copy);
    }
    if (status == STATUS_OK) {
        status = copy_file_octets(disk, source, copy);
    }
    int error = errno;
    disk->close(disk->context, &source);
    disk->close(disk->context, &copy);
    errno = error;
    if (status == STATUS_OK) {
        status = disk->rename(disk->context, aside, to);
    }
    return status == STATUS_OK ? disk->flush_directory(disk->context) : status;
}

/* What a backup shares with this directory is the backup's as well: here it is changed in a copy.
 */
static enum status
stop_sharing(const struct disk *disk, const char *name)
{
    struct disk_file *file = NULL;
    uint64_t count = 1;
    enum status status = disk->open(disk->context, name, DISK_OPEN_READ, &file);
    if (status == STATUS_OK) {
        status = disk->link_count(disk->context, file, &count);
    }
    int error = errno;
    disk->close(disk->context, &file);
    errno = error;
    return status == STATUS_OK && count > 1 ? copy_file(disk, name, name) : status;
}

enum status
salvage_keep_copy(struct salvage *salvage, const char *name)
{
    const struct disk *disk = salvage->disk;
    char kept[STORE_NAME_SIZE + 16];
    struct disk_file *earlier = NULL;
    damaged_name(name, kept);
    enum status status = STATUS_OK;
    if (disk->open(disk->context, kept, DISK_OPEN_READ, &earlier) == STATUS_OK) {
        disk->close(disk->context, &earlier);
    } else {
        status = copy_file(disk, name, kept);
    }
    if (status == STATUS_OK) {
        status = stop_sharing(disk, name);
    }
    return status == STATUS_OK ? status : salvage_say_io(salvage, kept, "written");
}

enum status
salvage_set_aside(struct salvage *salvage, const char *name)
{
    char kept[STORE_NAME_SIZE + 16];
    damaged_name(name, kept);
    if (salvage->disk->rename(salvage->disk->context, name, kept) != STATUS_OK ||
        salvage->disk->flush_directory(salvage->disk->context) != STATUS_OK) {
        return salvage_say_io(salvage, name, "set aside");
    }
    return STATUS_OK;
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
    enum status status = salvage_keep_copy(salvage, name);
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
    return status == STATUS_OK ? status : salvage_say_io(salvage, name, "written");
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
    return salvage_set_aside(salvage, name);
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
        status = salvage_say_io(salvage, name, "read");
    } else if (problem != NULL) {
        salvage_say(salvage, name, scan.stop_offset, is_foreign ? scan.file_size : 0, 0, problem);
        status = STATUS_OK;
        if (salvage->may_write) {
            status = is_foreign ? salvage_set_aside(salvage, name)
                                : mend_header(salvage, &scan, name, number);
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
        worst = salvage_say_io(salvage, ".", "listed");
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
        struct scan scan;
        enum status status = scan_open(&scan, salvage->disk, catalog->entries[i].name);
        while (status == STATUS_OK) {
            status = scan_next(&scan);
        }
        end_lsn = scan_lsn(&scan, scan.offset);
        scan_close(&scan);
        uint64_t index_end = salvage_index_end(salvage, &catalog->entries[i]);
        end_lsn = index_end > end_lsn ? index_end : end_lsn;
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
        return salvage_say_io(salvage, STORE_MANIFEST_NAME, "read");
    }
    if (status == STATUS_IO) {
        (void)snprintf(salvage->why, sizeof(salvage->why), "is missing");
    }
    salvage_say(salvage, STORE_MANIFEST_NAME, 0, 0, 0, salvage->why);
    /* What a newer version wrote is not damaged, and nothing of it is to be given up. */
    if (!salvage->may_write || status == STATUS_REJECTED) {
        return STATUS_CORRUPT;
    }
    struct disk_file *file = NULL;
    if (salvage->disk->open(salvage->disk->context, STORE_MANIFEST_NAME, DISK_OPEN_READ, &file) ==
        STATUS_OK) {
        salvage->disk->close(salvage->disk->context, &file);
        status = salvage_keep_copy(salvage, STORE_MANIFEST_NAME);
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
        salvage_say(salvage, name, 0, 0, 0,
                    "is damaged or missing: what was declared before it is known only as far as "
                    "segments of that time are still there");
    }
    if (!salvage->may_write) {
        return STATUS_OK;
    }
    struct newest_snapshot newest = {.disk = salvage->disk};
    if (salvage->disk->list(salvage->disk->context, note_snapshot, &newest) != STATUS_OK) {
        return salvage_say_io(salvage, ".", "listed");
    }
    if (lsn != 0) {
        (void)salvage_set_aside(salvage, name);
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
        salvage_say(salvage, ".", 0, 0, 0, salvage->why);
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
        status = salvage_walk_segments(salvage);
    }
    if (status == STATUS_OK && salvage->manifest_is_changed) {
        salvage->manifest.is_clean = false;
        if (manifest_write(&salvage->manifest, salvage->disk, NULL) != STATUS_OK) {
            status = salvage_say_io(salvage, STORE_MANIFEST_NAME, "written");
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
        status = salvage_say_io(&salvage, failure.file, failure.what);
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
