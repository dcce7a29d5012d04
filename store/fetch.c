/* SPDX-License-Identifier: Apache-2.0 */
/* Contents that lie close together are read by one call, straight to where they stay; what lies
 * between them comes along. The check word holds the LSN, so a file that means something else by
 * now cannot pass: then the directory is looked at anew, once. */
#include "store/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/batch.h"
#include "store/catalog.h"
#include "store/chunk.h"
#include "store/little_endian.h"
#include "store/pack.h"

enum {
    OPEN_MAX = 4,       /* files that are kept open */
    GAP_MAX = 4 * 1024, /* octets between two contents that are rather read than skipped */
    ALLOWANCE = 1024,   /* what a content is expected to need beside its body */
    CONTENT_ALIGNMENT = 8,
};

struct open_file {
    char name[STORE_NAME_SIZE];
    uint64_t base_lsn, end_lsn; /* of its slot */
    struct disk_file *file;     /* owned; NULL: free */
    struct pack pack;           /* of a pack; owned */
    bool is_pack;
    uint64_t used; /* when it was asked for last */
};

struct fetch_files {
    const struct disk *disk;
    struct catalog catalog;
    struct open_file open[OPEN_MAX];
    uint64_t clock;
};

struct fetch_files *
fetch_files_new(const struct disk *disk)
{
    struct fetch_files *files = xalloc(sizeof(*files));
    files->disk = disk;
    return files;
}

static void
close_file(struct fetch_files *files, struct open_file *open)
{
    if (open->file != NULL) {
        files->disk->close(files->disk->context, &open->file);
        pack_fini(&open->pack);
    }
}

static void
close_all(struct fetch_files *files)
{
    for (size_t i = 0; i < OPEN_MAX; i++) {
        close_file(files, &files->open[i]);
    }
}

void
fetch_files_free(struct fetch_files **files_pointer)
{
    struct fetch_files *files = *files_pointer;
    if (files == NULL) {
        return;
    }
    *files_pointer = NULL;
    close_all(files);
    catalog_fini(&files->catalog);
    free(files);
}

/* Files ---------------------------------------------------------------------------------------- */

static struct open_file *
find_open(struct fetch_files *files, uint64_t lsn)
{
    for (size_t i = 0; i < OPEN_MAX; i++) {
        struct open_file *open = &files->open[i];
        if (open->file != NULL && lsn >= open->base_lsn && lsn < open->end_lsn) {
            return open;
        }
    }
    return NULL;
}

static struct open_file *
oldest_open(struct fetch_files *files)
{
    struct open_file *oldest = &files->open[0];
    for (size_t i = 0; i < OPEN_MAX; i++) {
        struct open_file *open = &files->open[i];
        if (open->file == NULL) {
            return open;
        }
        if (open->used < oldest->used) {
            oldest = open;
        }
    }
    return oldest;
}

/* STATUS_AGAIN: there is no such file by what is known of the directory. */
static enum status
open_by_catalog(struct fetch_files *files, uint64_t lsn, struct open_file **out,
                struct log_failure *failure)
{
    const struct catalog_entry *entry = catalog_find(&files->catalog, lsn);
    if (entry == NULL) {
        return STATUS_AGAIN;
    }
    struct open_file *open = oldest_open(files);
    close_file(files, open);
    enum status status =
        files->disk->open(files->disk->context, entry->name, DISK_OPEN_READ, &open->file);
    if (status != STATUS_OK) {
        open->file = NULL;
        return errno == ENOENT ? STATUS_AGAIN : log_failure_set(failure, "open", entry->name, 0);
    }
    open->is_pack = entry->is_pack;
    if (entry->is_pack) {
        const char *reason;
        status = pack_read(&open->pack, files->disk, entry->name, &reason);
        if (status != STATUS_OK) {
            close_file(files, open);
            return status == STATUS_IO ? log_failure_set(failure, "read", entry->name, 0) : status;
        }
        segment_index_fini(&open->pack.index); /* its table is all that is needed */
    }
    memcpy(open->name, entry->name, sizeof(open->name));
    open->base_lsn = entry->header.base_lsn;
    open->end_lsn = open->base_lsn + entry->header.slot_size;
    *out = open;
    return STATUS_OK;
}

static enum status
look_anew(struct fetch_files *files, struct log_failure *failure)
{
    close_all(files);
    catalog_fini(&files->catalog);
    enum status status = catalog_read(&files->catalog, files->disk, failure);
    /* What is damaged elsewhere is no reason not to read here. */
    return status == STATUS_CORRUPT ? STATUS_OK : status;
}

static enum status
locate(struct fetch_files *files, uint64_t lsn, struct open_file **out, struct log_failure *failure)
{
    struct open_file *open = find_open(files, lsn);
    enum status status = STATUS_OK;
    if (open == NULL) {
        status = open_by_catalog(files, lsn, &open, failure);
    }
    if (status == STATUS_OK) {
        assert(open != NULL);
        open->used = ++files->clock;
        *out = open;
    }
    return status;
}

/* Reading -------------------------------------------------------------------------------------- */

/* Contents that one call reads: numbers `first` to `end` - 1, to `place` in the block. */
struct stretch {
    struct open_file *open;
    uint32_t first, end;
    uint64_t offset; /* of the first, in the file */
    uint64_t place, size;
};

/* Where a content lies in its file; UINT64_MAX: nowhere. */
static uint64_t
offset_of(const struct open_file *open, uint64_t lsn)
{
    if (lsn < open->base_lsn || lsn >= open->end_lsn) {
        return UINT64_MAX;
    }
    if (!open->is_pack) {
        return lsn - open->base_lsn;
    }
    const struct pack_entry *entry = pack_find(&open->pack, lsn);
    return entry == NULL ? UINT64_MAX : entry->offset;
}

static uint64_t
expected_size(const struct io_fetch *fetch, uint32_t at)
{
    return sizeof(struct content) + (uint64_t)fetch->sizes[at] + ALLOWANCE;
}

/* As many contents from `first` on as lie close together in one file and fit the block. */
static void
plan_stretch(const struct io_fetch *fetch, struct stretch *stretch)
{
    uint64_t start = stretch->offset;
    uint64_t room = fetch->block_size - stretch->place;
    uint64_t end = start + expected_size(fetch, stretch->first);
    uint32_t next = stretch->first + 1;
    for (; next < fetch->count; next++) {
        uint64_t offset = offset_of(stretch->open, fetch->lsns[next]);
        uint64_t wanted = offset + expected_size(fetch, next);
        if (offset == UINT64_MAX || offset < start || offset > end + GAP_MAX ||
            wanted - start > room) {
            break;
        }
        end = wanted > end ? wanted : end;
    }
    stretch->end = next;
    stretch->size = end - start < room ? end - start : room;
}

static enum status
read_more(struct fetch_files *files, struct io_fetch *fetch, struct stretch *stretch, uint64_t from,
          uint64_t size, struct log_failure *failure)
{
    uint64_t offset = stretch->offset + from;
    size_t read = 0;
    enum status status =
        files->disk->read(files->disk->context, stretch->open->file,
                          fetch->block + stretch->place + from, (size_t)size, offset, &read);
    if (status != STATUS_OK) {
        return log_failure_set(failure, "read", stretch->open->name, offset);
    }
    stretch->size = from + read;
    return STATUS_OK;
}

/* Takes content `at` of the stretch, reading on where it is longer than expected. STATUS_FULL: the
 * block has no room for it. STATUS_CORRUPT: it is not what it must be. */
static enum status
take_content(struct fetch_files *files, struct io_fetch *fetch, struct stretch *stretch,
             uint32_t at, struct log_failure *failure)
{
    uint64_t offset = offset_of(stretch->open, fetch->lsns[at]) - stretch->offset;
    if (offset + sizeof(struct content) > stretch->size) {
        bool is_cut_off = stretch->place + offset + sizeof(struct content) > fetch->block_size;
        return is_cut_off ? STATUS_FULL : STATUS_CORRUPT;
    }
    uint8_t *octets = fetch->block + stretch->place + offset;
    uint64_t size = content_octets_at(octets);
    if (get_u32_le(octets) != fetch->sizes[at]) {
        return STATUS_CORRUPT;
    }
    if (stretch->place + offset + size > fetch->block_size) {
        return STATUS_FULL;
    }
    if (offset + size > stretch->size) {
        enum status status =
            read_more(files, fetch, stretch, stretch->size, offset + size - stretch->size, failure);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (offset + size > stretch->size ||
        content_check(bytes_make(octets, (size_t)size), fetch->lsns[at]) !=
            ((const struct content *)octets)->check) {
        return STATUS_CORRUPT;
    }
    fetch->offsets[at] = (uint32_t)(stretch->place + offset);
    fetch->fetched_count = at + 1;
    return STATUS_OK;
}

/* The block is in use up to the end of content `at`, at least: in a pack a message of several
 * queues lies with one of them, so that a later message may lie before an earlier one. */
static void
use_block(const struct io_fetch *fetch, uint32_t at, uint64_t *used)
{
    uint64_t end = fetch->offsets[at] + content_octets_at(fetch->block + fetch->offsets[at]);
    end = (end + CONTENT_ALIGNMENT - 1) & ~(uint64_t)(CONTENT_ALIGNMENT - 1);
    if (*used < end) {
        *used = end;
    }
}

/* Reads the contents from `fetched_count` on that one call can. */
static enum status
read_stretch(struct fetch_files *files, struct io_fetch *fetch, uint64_t *used,
             struct log_failure *failure)
{
    struct stretch stretch = {.first = fetch->fetched_count, .place = *used};
    enum status status = locate(files, fetch->lsns[stretch.first], &stretch.open, failure);
    if (status != STATUS_OK) {
        return status;
    }
    stretch.offset = offset_of(stretch.open, fetch->lsns[stretch.first]);
    if (stretch.offset == UINT64_MAX) {
        return STATUS_CORRUPT;
    }
    plan_stretch(fetch, &stretch);
    status = read_more(files, fetch, &stretch, 0, stretch.size, failure);
    for (uint32_t at = stretch.first; at < stretch.end && status == STATUS_OK; at++) {
        status = take_content(files, fetch, &stretch, at, failure);
        if (status == STATUS_OK) {
            use_block(fetch, at, used);
        }
    }
    return status;
}

/* What a content that cannot be had is reported as. */
static enum status
fail_content(struct fetch_files *files, const struct io_fetch *fetch, struct log_failure *failure)
{
    uint64_t lsn = fetch->lsns[fetch->fetched_count];
    const struct catalog_entry *entry = catalog_find(&files->catalog, lsn);
    errno = 0;
    (void)log_failure_set(failure, "check", entry == NULL ? "no segment" : entry->name,
                          entry == NULL ? lsn : lsn - entry->header.base_lsn);
    return STATUS_CORRUPT;
}

enum status
fetch_run(struct fetch_files *files, struct io_fetch *fetch, struct log_failure *failure_out)
{
    uint64_t used = 0;
    bool is_new = false; /* what is known of the directory, for the content that is next */
    fetch->fetched_count = 0;
    while (fetch->fetched_count < fetch->count &&
           used + sizeof(struct content) <= fetch->block_size) {
        uint32_t before = fetch->fetched_count;
        enum status status = read_stretch(files, fetch, &used, failure_out);
        is_new = is_new && fetch->fetched_count == before;
        if (status == STATUS_FULL) {
            return STATUS_OK;
        }
        if (status == STATUS_IO || status == STATUS_NO_MEMORY) {
            return status;
        }
        if (status != STATUS_OK) {
            if (is_new) {
                return fail_content(files, fetch, failure_out);
            }
            status = look_anew(files, failure_out);
            if (status != STATUS_OK) {
                return status;
            }
            is_new = true;
        }
    }
    return STATUS_OK;
}
