/* SPDX-License-Identifier: Apache-2.0 */
#include "store/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/segment.h"

enum {
    LINKS_PER_STEP = 64,
    COPY_AT_ONCE = 1024 * 1024,
    COPIES_PER_STEP = 4, /* of so many octets each */
    PAGE = 4096,
};

struct backup_file {
    char name[STORE_NAME_SIZE];
    bool is_open_segment; /* copied up to commit_lsn */
};

struct backup {
    struct backup_target target;
    struct disk to;
    bool is_open; /* `to` can be called */
    bool is_listed;
    struct manifest manifest;
    bool is_at_rest;
    uint64_t open_segment;
    struct backup_file *files; /* owned */
    uint32_t file_count, file_capacity;
    uint32_t at;          /* the file that is next, or being copied */
    bool copies_only;     /* no link can be made there */
    bool is_not_empty;    /* the target has a file already */
    const char *given_up; /* why it is to end; NULL: it is not */
    /* Of the file that is being copied. */
    struct disk_file *source, *copy;
    uint64_t offset, end;
    uint8_t *octets; /* owned; a page more than COPY_AT_ONCE, while something is copied */
    struct backup_report report;
};

struct backup *
backup_new(const struct backup_target *target)
{
    struct backup *backup = xalloc(sizeof(*backup));
    backup->target = *target;
    return backup;
}

void
backup_prepare(struct backup *backup, const struct backup_plan *plan)
{
    backup->report.commit_lsn = plan->commit_lsn;
    backup->open_segment = plan->open_segment;
    backup->is_at_rest = plan->manifest == NULL;
    if (plan->manifest != NULL) {
        size_t size = plan->manifest->epoch_count * sizeof(*plan->manifest->epochs);
        backup->manifest = *plan->manifest;
        backup->manifest.epochs = xalloc(size + 1);
        memcpy(backup->manifest.epochs, plan->manifest->epochs, size);
    }
}

static void
close_files(struct backup *backup, const struct disk *from)
{
    int error = errno;
    if (backup->source != NULL) {
        from->close(from->context, &backup->source);
    }
    if (backup->copy != NULL) {
        backup->to.close(backup->to.context, &backup->copy);
    }
    free(backup->octets);
    backup->octets = NULL;
    errno = error;
}

static void
close_target(struct backup *backup)
{
    if (backup->is_open) {
        backup->is_open = false;
        backup->target.close(backup->target.context);
    }
}

void
backup_free(struct backup **backup_pointer)
{
    struct backup *backup = *backup_pointer;
    if (backup == NULL) {
        return;
    }
    *backup_pointer = NULL;
    assert(!backup->is_open);
    manifest_fini(&backup->manifest);
    free(backup->files);
    free(backup);
}

const struct backup_report *
backup_report(const struct backup *backup)
{
    return &backup->report;
}

/* Failing -------------------------------------------------------------------------------------- */

static void say_why(struct backup *backup, const char *format, ...) PRINTF_LIKE(2, 3);

static void
say_why(struct backup *backup, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(backup->report.why, sizeof(backup->report.why), format, arguments);
    va_end(arguments);
}

/* What was made goes: nobody is to take a part of a directory for the whole. A file that cannot be
 * removed is no harm without a manifest, which is made last. */
static void
remove_all(struct backup *backup)
{
    const struct disk *to = &backup->to;
    if (!backup->is_open || !backup->is_listed) {
        return; /* what is there is not ours */
    }
    for (uint32_t i = 0; i < backup->file_count && i <= backup->at; i++) {
        (void)to->unlink(to->context, backup->files[i].name);
    }
    (void)to->unlink(to->context, STORE_MANIFEST_NAME);
    (void)to->unlink(to->context, STORE_MANIFEST_NAME ".tmp");
    (void)to->flush_directory(to->context);
}

/* Of a call that has failed: errno says why. */
static enum status
fail_call(struct backup *backup, struct log_failure *failure, const char *what, const char *name)
{
    say_why(backup, "cannot %s %s: %s", what, name, strerrordesc_np(errno));
    return log_failure_set(failure, what, name, backup->offset);
}

void
backup_give_up(struct backup *backup, const char *why)
{
    backup->given_up = why;
}

void
backup_cancel(struct backup *backup, const struct disk *from, const char *why)
{
    close_files(backup, from);
    remove_all(backup);
    close_target(backup);
    say_why(backup, "%s", why);
}

/* What there is to copy ------------------------------------------------------------------------ */

/* Whether the file is part of the copy: not what is made anew, lent out, or in the making. */
static bool
is_wanted(const struct backup *backup, enum store_file_kind kind, uint64_t number)
{
    switch (kind) {
    case STORE_FILE_SEGMENT:
    case STORE_FILE_PACK:
        return backup->is_at_rest || number <= backup->open_segment;
    case STORE_FILE_INDEX:
    case STORE_FILE_DEAD:
        return backup->is_at_rest || number < backup->open_segment;
    case STORE_FILE_SNAPSHOT:
        return backup->is_at_rest || number == backup->manifest.snapshot_lsn;
    case STORE_FILE_MANIFEST:
    case STORE_FILE_OTHER:
    case STORE_FILE_LOCK:
    case STORE_FILE_SPARE:
    case STORE_FILE_SPILL:
    case STORE_FILE_BALLAST:
    case STORE_FILE_TEMPORARY:
        return false;
    }
    return false;
}

static void
note_file(void *context, const char *name)
{
    struct backup *backup = context;
    uint64_t number = 0;
    uint64_t last = 0;
    enum store_file_kind kind = store_file_parse(name, &number, &last);
    if (!is_wanted(backup, kind, number)) {
        return;
    }
    if (backup->file_count == backup->file_capacity) {
        backup->file_capacity = backup->file_capacity == 0 ? 64 : 2 * backup->file_capacity;
        backup->files = xrealloc(backup->files, backup->file_capacity * sizeof(*backup->files));
    }
    struct backup_file *file = &backup->files[backup->file_count++];
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->is_open_segment =
        !backup->is_at_rest && kind == STORE_FILE_SEGMENT && number == backup->open_segment;
}

static void
note_any(void *context, const char *name)
{
    struct backup *backup = context;
    if (!backup->is_not_empty) {
        say_why(backup, "the target is not empty (it holds %.60s): name a new directory", name);
    }
    backup->is_not_empty = true;
}

static int
compare_files(const void *a, const void *b)
{
    const struct backup_file *left = a;
    const struct backup_file *right = b;
    return strcmp(left->name, right->name);
}

/* The first step. */
static enum status
begin(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    enum status status = backup->target.open(backup->target.context, &backup->to,
                                             backup->report.why, sizeof(backup->report.why));
    if (status != STATUS_OK) {
        return status == STATUS_IO ? log_failure_set(failure, "open", "the target", 0) : status;
    }
    backup->is_open = true;
    if (backup->to.list(backup->to.context, note_any, backup) != STATUS_OK) {
        return fail_call(backup, failure, "list", "the target");
    }
    if (backup->is_not_empty) {
        return STATUS_REJECTED;
    }
    if (from->list(from->context, note_file, backup) != STATUS_OK) {
        return fail_call(backup, failure, "list", "the data directory");
    }
    if (backup->file_count > 1) {
        qsort(backup->files, backup->file_count, sizeof(*backup->files), compare_files);
    }
    backup->is_listed = true;
    return STATUS_AGAIN;
}

/* Copying -------------------------------------------------------------------------------------- */

/* Of the segment that is being written: its header with the end of the copy in it, so that the file
 * is whole where the copy ends. STATUS_AGAIN: nothing of it lies below that. */
static enum status
begin_open_segment(struct backup *backup, const struct disk *from, const char *name,
                   struct log_failure *failure)
{
    uint8_t octets[SEGMENT_HEADER_SIZE];
    size_t size = 0;
    struct segment_header header;
    if (from->read(from->context, backup->source, octets, sizeof(octets), 0, &size) != STATUS_OK) {
        return fail_call(backup, failure, "read", name);
    }
    if (size < sizeof(octets) || segment_header_decode(&header, octets) != STATUS_OK) {
        say_why(backup, "%s has no header that can be read", name);
        return STATUS_CORRUPT;
    }
    if (backup->report.commit_lsn <= header.base_lsn + SEGMENT_HEADER_SIZE) {
        return STATUS_AGAIN;
    }
    backup->end = backup->report.commit_lsn - header.base_lsn;
    assert(backup->end <= header.capacity);
    header.capacity = (backup->end + PAGE - 1) / PAGE * PAGE;
    segment_header_encode(&header, octets);
    backup->offset = sizeof(octets);
    if (disk_write_bytes(&backup->to, backup->copy, octets, sizeof(octets), 0) != STATUS_OK) {
        return fail_call(backup, failure, "write", name);
    }
    return STATUS_OK;
}

/* Opens both files. STATUS_AGAIN: there is nothing to copy. */
static enum status
begin_copy(struct backup *backup, const struct disk *from, const struct backup_file *file,
           struct log_failure *failure)
{
    backup->offset = 0;
    if (from->open(from->context, file->name, DISK_OPEN_READ, &backup->source) != STATUS_OK) {
        return fail_call(backup, failure, "open", file->name);
    }
    if (backup->to.open(backup->to.context, file->name, DISK_OPEN_CREATE, &backup->copy) !=
        STATUS_OK) {
        return fail_call(backup, failure, "make", file->name);
    }
    backup->octets = xalloc(COPY_AT_ONCE + PAGE);
    if (file->is_open_segment) {
        return begin_open_segment(backup, from, file->name, failure);
    }
    if (from->size(from->context, backup->source, &backup->end) != STATUS_OK) {
        return fail_call(backup, failure, "measure", file->name);
    }
    return STATUS_OK;
}

/* The next octets. Behind the end of what is copied of an open segment come zeros, up to the end of
 * its last page. */
static enum status
copy_some(struct backup *backup, const struct disk *from, const struct backup_file *file,
          struct log_failure *failure)
{
    uint64_t left = backup->end - backup->offset;
    size_t size = left < COPY_AT_ONCE ? (size_t)left : COPY_AT_ONCE;
    size_t read = 0;
    if (from->read(from->context, backup->source, backup->octets, size, backup->offset, &read) !=
        STATUS_OK) {
        return fail_call(backup, failure, "read", file->name);
    }
    if (read < size) {
        say_why(backup, "%s is shorter than it was", file->name);
        return STATUS_CORRUPT;
    }
    size_t written = size;
    if (file->is_open_segment && size == left) {
        written = (size_t)((backup->end + PAGE - 1) / PAGE * PAGE - backup->offset);
        memset(backup->octets + size, 0, written - size);
    }
    if (disk_write_bytes(&backup->to, backup->copy, backup->octets, written, backup->offset) !=
        STATUS_OK) {
        return fail_call(backup, failure, "write", file->name);
    }
    backup->offset += size;
    backup->report.octets_copied += size;
    return STATUS_OK;
}

static enum status
end_copy(struct backup *backup, const struct disk *from, const struct backup_file *file,
         struct log_failure *failure)
{
    if (backup->to.flush(backup->to.context, backup->copy) != STATUS_OK) {
        return fail_call(backup, failure, "flush", file->name);
    }
    close_files(backup, from);
    backup->report.files_copied++;
    backup->at++;
    return STATUS_AGAIN;
}

/* The open segment has nothing that belongs to the copy: it is not in it. */
static enum status
leave_out(struct backup *backup, const struct disk *from, const struct backup_file *file,
          struct log_failure *failure)
{
    close_files(backup, from);
    if (backup->to.unlink(backup->to.context, file->name) != STATUS_OK) {
        return fail_call(backup, failure, "remove", file->name);
    }
    backup->at++;
    return STATUS_AGAIN;
}

/* Some of the file that is next. STATUS_AGAIN: done with it, or for this step. */
static enum status
copy_file(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    const struct backup_file *file = &backup->files[backup->at];
    if (backup->source == NULL) {
        enum status status = begin_copy(backup, from, file, failure);
        if (status != STATUS_OK) {
            return status == STATUS_AGAIN ? leave_out(backup, from, file, failure) : status;
        }
    }
    for (int i = 0; i < COPIES_PER_STEP && backup->offset < backup->end; i++) {
        enum status status = copy_some(backup, from, file, failure);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return backup->offset < backup->end ? STATUS_AGAIN : end_copy(backup, from, file, failure);
}

/* Linking -------------------------------------------------------------------------------------- */

/* Errors that say that no link can be had there, but a copy can. */
static bool
is_no_place_for_links(int error)
{
    return error == EXDEV || error == EPERM || error == EMLINK || error == EOPNOTSUPP ||
           error == ENOSYS;
}

/* STATUS_OK: linked. STATUS_AGAIN: it has to be copied. */
static enum status
link_file(struct backup *backup, const struct disk *from, const struct backup_file *file,
          struct log_failure *failure)
{
    if (backup->copies_only || file->is_open_segment) {
        return STATUS_AGAIN; /* and goes on being copied */
    }
    if (from->link(from->context, file->name, backup->to.context) == STATUS_OK) {
        backup->report.files_linked++;
        backup->at++;
        return STATUS_OK;
    }
    if (!is_no_place_for_links(errno)) {
        return fail_call(backup, failure, "link", file->name);
    }
    backup->copies_only = true;
    return STATUS_AGAIN;
}

static enum status
place_files(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    enum status status = STATUS_OK;
    for (int i = 0; i < LINKS_PER_STEP && status == STATUS_OK; i++) {
        if (backup->at == backup->file_count) {
            return STATUS_AGAIN;
        }
        status = link_file(backup, from, &backup->files[backup->at], failure);
        if (status == STATUS_AGAIN) {
            return copy_file(backup, from, failure);
        }
    }
    return status == STATUS_OK ? STATUS_AGAIN : status;
}

/* The manifest --------------------------------------------------------------------------------- */

/* As it is: the directory that is copied is at rest. */
static enum status
read_manifest(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    char why[128] = "";
    enum status status = manifest_read(&backup->manifest, from, why, sizeof(why));
    if (status == STATUS_IO) {
        return fail_call(backup, failure, "read", STORE_MANIFEST_NAME);
    }
    if (status != STATUS_OK) {
        say_why(backup, "%s", why);
    }
    return status;
}

/* The epoch under way ends where the copy does; nothing of it may have been committed. */
static void
end_epoch(struct backup *backup)
{
    struct manifest *manifest = &backup->manifest;
    assert(manifest->epoch_count > 0);
    struct manifest_epoch *last = &manifest->epochs[manifest->epoch_count - 1];
    uint64_t commit_lsn = backup->report.commit_lsn;
    last->end_lsn = commit_lsn > last->first_lsn ? commit_lsn : last->first_lsn;
    manifest->is_clean = false;
}

/* The last step: names first, then what makes a directory of them. */
static enum status
finish(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    if (backup->is_at_rest) {
        enum status status = read_manifest(backup, from, failure);
        if (status != STATUS_OK) {
            return status;
        }
    } else {
        end_epoch(backup);
    }
    if (backup->to.flush_directory(backup->to.context) != STATUS_OK) {
        return fail_call(backup, failure, "flush", "the target");
    }
    if (manifest_write(&backup->manifest, &backup->to, failure) != STATUS_OK) {
        return fail_call(backup, failure, "write", STORE_MANIFEST_NAME);
    }
    return STATUS_OK;
}

/* Steps ---------------------------------------------------------------------------------------- */

static enum status
step(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    if (backup->given_up != NULL) {
        say_why(backup, "%s", backup->given_up);
        return STATUS_REJECTED;
    }
    if (!backup->is_listed) {
        return begin(backup, from, failure);
    }
    if (backup->at < backup->file_count) {
        return place_files(backup, from, failure);
    }
    return finish(backup, from, failure);
}

enum status
backup_step(struct backup *backup, const struct disk *from, struct log_failure *failure)
{
    enum status status = step(backup, from, failure);
    if (status == STATUS_AGAIN) {
        return status;
    }
    close_files(backup, from);
    if (status != STATUS_OK) {
        remove_all(backup);
    }
    close_target(backup);
    return status;
}

/* A directory of the file system --------------------------------------------------------------- */

static enum status
open_directory(void *context, struct disk *disk_out, char *why, size_t why_size)
{
    struct backup_directory *directory = context;
    directory->directory = disk_directory_open(directory->path, why, why_size);
    if (directory->directory == NULL) {
        return STATUS_REJECTED;
    }
    *disk_out = disk_of_directory(directory->directory);
    return STATUS_OK;
}

static void
close_directory(void *context)
{
    struct backup_directory *directory = context;
    disk_directory_close(&directory->directory);
}

struct backup_target
backup_target_directory(struct backup_directory *directory)
{
    return (struct backup_target){
        .open = open_directory,
        .close = close_directory,
        .context = directory,
    };
}
