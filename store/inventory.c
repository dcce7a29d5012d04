/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the directory, before anything in it is believed. */
#include "store/recovery_work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/pack.h"

enum status
recovery_refuse(struct recovery_work *work, enum status status, const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(work->why, work->why_size, format, arguments);
    va_end(arguments);
    if (status == STATUS_IO && size >= 0 && (size_t)size < work->why_size) {
        (void)snprintf(work->why + size, work->why_size - (size_t)size, ": %s", strerror(error));
    }
    errno = error;
    return status;
}

/* Listing -------------------------------------------------------------------------------------- */

/* A directory with so many files that memory for their names runs out is beyond help. */
static void *
make_room(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return xrealloc(array, *capacity * size);
}

static void
add_number(uint64_t **numbers, uint32_t *count, uint32_t *capacity, uint64_t number)
{
    *numbers = make_room(*numbers, *count, capacity, sizeof(**numbers));
    (*numbers)[(*count)++] = number;
}

static void
add_segment(struct recovery_work *work, const char *name, bool is_pack, uint64_t number,
            uint64_t last)
{
    work->segments = make_room(work->segments, work->segment_count, &work->segment_capacity,
                               sizeof(*work->segments));
    struct found_segment *segment = &work->segments[work->segment_count++];
    *segment = (struct found_segment){.is_pack = is_pack, .last = last};
    segment->header.number = number;
    (void)snprintf(segment->name, sizeof(segment->name), "%s", name);
}

static void
add_disposable(struct recovery_work *work, const char *name)
{
    work->disposable = make_room(work->disposable, work->disposable_count,
                                 &work->disposable_capacity, sizeof(*work->disposable));
    (void)snprintf(work->disposable[work->disposable_count++], sizeof(*work->disposable), "%s",
                   name);
}

/* The socket of the management interface lies here too; a broker that was killed leaves it. */
static void
note_other(struct recovery_work *work, const char *name)
{
    char text[128];
    if (strcmp(name, "bourse.sock") == 0) {
        return;
    }
    log_warn(work->log, "store.unknown_file", "file=%s",
             log_escape(text, sizeof(text), bytes_of(name)));
}

static void
note_file(void *argument, const char *name)
{
    struct recovery_work *work = argument;
    uint64_t number = 0;
    uint64_t last = 0;
    switch (store_file_parse(name, &number, &last)) {
    case STORE_FILE_MANIFEST:
        work->has_manifest = true;
        break;
    case STORE_FILE_SEGMENT:
        add_segment(work, name, false, number, number);
        break;
    case STORE_FILE_PACK:
        add_segment(work, name, true, number, last);
        break;
    case STORE_FILE_INDEX:
        add_number(&work->index_files, &work->index_count, &work->index_capacity, number);
        break;
    case STORE_FILE_DEAD:
        add_number(&work->dead_files, &work->dead_count, &work->dead_capacity, number);
        break;
    case STORE_FILE_SNAPSHOT:
        add_number(&work->snapshots, &work->snapshot_count, &work->snapshot_capacity, number);
        break;
    case STORE_FILE_SPARE:
        add_number(&work->result->spares, &work->result->spare_count, &work->spare_capacity,
                   number);
        work->next_spare = number >= work->next_spare ? number + 1 : work->next_spare;
        break;
    case STORE_FILE_SPILL:
    case STORE_FILE_TEMPORARY:
        add_disposable(work, name);
        break;
    case STORE_FILE_BALLAST:
        work->has_ballast = true;
        break;
    case STORE_FILE_LOCK:
        break;
    case STORE_FILE_OTHER:
        note_other(work, name);
        break;
    }
}

enum status
inventory_take(struct recovery_work *work)
{
    work->next_spare = 1;
    enum status status = work->disk->list(work->disk->context, note_file, work);
    return status == STATUS_OK ? STATUS_OK
                               : recovery_refuse(work, status, "the directory cannot be listed");
}

void
inventory_fini(struct recovery_work *work)
{
    for (uint32_t i = 0; i < work->segment_count; i++) {
        segment_index_fini(&work->segments[i].index);
        buffer_fini(&work->segments[i].records);
        free(work->segments[i].dead);
        free(work->segments[i].newer);
        row_attempts_list_fini(&work->segments[i].newer_attempts);
    }
    free(work->segments);
    free(work->snapshots);
    free(work->dead_files);
    free(work->index_files);
    free(work->disposable);
}

/* Headers -------------------------------------------------------------------------------------- */

static enum status
refuse_segment(struct recovery_work *work, const struct found_segment *segment, const char *what)
{
    return recovery_refuse(work, STATUS_CORRUPT,
                           "%s %s; keep a copy of the directory, then \"bourse store repair DIR "
                           "--salvage\" goes on without what is lost",
                           segment->name, what);
}

/* A segment of an epoch that has been forgotten, or that is still to come, belongs to another life
 * of the directory. */
static const struct manifest_epoch *
find_epoch(const struct recovery_work *work, uint64_t number)
{
    const struct manifest *manifest = &work->result->manifest;
    for (uint32_t i = 0; i < manifest->epoch_count; i++) {
        if (manifest->epochs[i].number == number) {
            return &manifest->epochs[i];
        }
    }
    return NULL;
}

static enum status
check_header(struct recovery_work *work, const struct found_segment *segment, uint64_t named)
{
    const struct segment_header *header = &segment->header;
    const struct manifest *manifest = &work->result->manifest;
    if (header->number != named) {
        return refuse_segment(work, segment, "holds another segment than its name says");
    }
    if (memcmp(header->cluster_id, manifest->cluster_id, CLUSTER_ID_SIZE) != 0 ||
        header->group != manifest->group) {
        return refuse_segment(work, segment, "belongs to another data directory");
    }
    const struct manifest_epoch *epoch = find_epoch(work, header->epoch);
    /* A pack may begin in an earlier epoch than it ends in. */
    uint64_t end_lsn = segment->is_pack ? header->base_lsn + header->slot_size : header->base_lsn;
    if (epoch == NULL || end_lsn < epoch->first_lsn) {
        return refuse_segment(work, segment, "is of a time that the manifest does not know");
    }
    return STATUS_OK;
}

static enum status
peek_first(struct found_segment *segment, struct scan *scan)
{
    enum status status = scan_peek(scan, SEGMENT_HEADER_SIZE, &segment->first);
    segment->has_first = status == STATUS_OK;
    return status == STATUS_AGAIN ? STATUS_OK : status;
}

/* An index is believed when it speaks of this very segment. */
static enum status
peek_index(struct recovery_work *work, struct found_segment *segment)
{
    const struct segment_header *header = &segment->header;
    struct segment_index index;
    enum status status = segment_index_peek(&index, work->disk, header->number);
    if (status == STATUS_OK && index.base_lsn == header->base_lsn && index.epoch == header->epoch &&
        index.end_lsn <= header->base_lsn + header->capacity &&
        index.end_lsn >= header->base_lsn + SEGMENT_HEADER_SIZE) {
        segment->has_index = true;
        segment->index = index;
        segment->end_lsn = index.end_lsn;
        return STATUS_OK;
    }
    if (status == STATUS_IO && errno != ENOENT) {
        log_warn(work->log, "store.index_unreadable", "file=%s.idx error=\"%s\"", segment->name,
                 strerror(errno));
    } else if (status != STATUS_IO) {
        log_warn(work->log, "store.index_ignored", "file=%s.idx", segment->name);
    }
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

/* A pack carries its index in itself. */
static enum status
open_pack(struct recovery_work *work, struct found_segment *segment)
{
    uint64_t named = segment->header.number;
    struct pack pack;
    const char *reason;
    enum status status = pack_read(&pack, work->disk, segment->name, &reason);
    if (status != STATUS_OK) {
        return status == STATUS_CORRUPT
                   ? refuse_segment(work, segment, reason)
                   : recovery_refuse(work, status, "%s %s", segment->name, reason);
    }
    segment->header = pack.header;
    segment->end_lsn = pack.index.end_lsn;
    segment->has_index = true;
    pack_fini(&pack);
    return check_header(work, segment, named);
}

static enum status
open_segment(struct recovery_work *work, struct found_segment *segment)
{
    uint64_t named = segment->header.number;
    struct scan scan;
    enum status status = scan_open(&scan, work->disk, segment->name);
    if (status != STATUS_OK) {
        const char *reason = scan.reason;
        scan_close(&scan);
        return status == STATUS_CORRUPT
                   ? refuse_segment(work, segment, reason)
                   : recovery_refuse(work, status, "%s %s", segment->name, reason);
    }
    segment->header = scan.segment;
    status = peek_first(segment, &scan);
    scan_close(&scan);
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "%s cannot be read", segment->name);
    }
    status = check_header(work, segment, named);
    return status == STATUS_OK ? peek_index(work, segment) : status;
}

/* A pack is given its name only when it is whole, and then what it replaces goes; a power cut in
 * between leaves both. */
static void
drop_replaced(struct recovery_work *work)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < work->segment_count; i++) {
        const struct found_segment *segment = &work->segments[i];
        bool is_replaced = false;
        for (uint32_t j = 0; j < work->segment_count && !is_replaced; j++) {
            const struct found_segment *pack = &work->segments[j];
            is_replaced = j != i && pack->is_pack &&
                          pack->header.number <= segment->header.number &&
                          segment->last <= pack->last;
        }
        if (is_replaced) {
            add_disposable(work, segment->name);
        } else {
            work->segments[kept++] = *segment;
        }
    }
    work->segment_count = kept;
}

static int
compare_segments(const void *a, const void *b)
{
    const struct found_segment *left = a;
    const struct found_segment *right = b;
    if (left->header.base_lsn != right->header.base_lsn) {
        return left->header.base_lsn < right->header.base_lsn ? -1 : 1;
    }
    return left->header.number < right->header.number   ? -1
           : left->header.number > right->header.number ? 1
                                                        : 0;
}

static enum status
check_order(struct recovery_work *work)
{
    for (uint32_t i = 1; i < work->segment_count; i++) {
        const struct found_segment *before = &work->segments[i - 1];
        const struct found_segment *segment = &work->segments[i];
        uint64_t end = before->header.base_lsn + before->header.slot_size;
        if (segment->header.base_lsn < end || segment->header.number <= before->last ||
            segment->header.epoch < before->header.epoch) {
            return recovery_refuse(work, STATUS_CORRUPT,
                                   "%s and %s claim the same part of the log; one of them does not "
                                   "belong here",
                                   before->name, segment->name);
        }
    }
    return STATUS_OK;
}

enum status
inventory_open_segments(struct recovery_work *work)
{
    drop_replaced(work);
    for (uint32_t i = 0; i < work->segment_count; i++) {
        struct found_segment *segment = &work->segments[i];
        enum status status =
            segment->is_pack ? open_pack(work, segment) : open_segment(work, segment);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (work->segment_count > 1) {
        qsort(work->segments, work->segment_count, sizeof(*work->segments), compare_segments);
    }
    return check_order(work);
}
