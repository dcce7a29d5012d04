/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the file system. Every name is resolved relative to the descriptor of the
 * directory and no symbolic link is followed, so that nobody can lead a write elsewhere by moving
 * names about. */
#include "base/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/disk_directory.h"

struct disk_file {
    int descriptor;
};

static enum status
fail(int error)
{
    errno = error;
    return STATUS_IO;
}

/* A name that leads out of the directory may come from a damaged file, so it is no bug. LOCK
 * belongs to this file alone. */
static bool
name_is_allowed(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0 && strcmp(name, DISK_LOCK_NAME) != 0;
}

/* What a call that changes the directory is refused with; 0: nothing. */
static int
change_refusal(const struct disk_directory *directory, const char *name)
{
    if (directory->lock < 0) {
        return EROFS;
    }
    return name_is_allowed(name) ? 0 : EINVAL;
}

/* Files ------------------------------------------------------------------------------------------
 */

static int
open_existing(const struct disk_directory *directory, const char *name, int access)
{
    /* A pipe of that name must not hold the process up. */
    int flags = access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int descriptor = openat(directory->descriptor, name, flags);
    struct stat found;
    if (descriptor < 0) {
        return -1;
    }
    if (fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode)) {
        return descriptor;
    }
    (void)close(descriptor);
    errno = EINVAL;
    return -1;
}

static int
open_new(const struct disk_directory *directory, const char *name)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int descriptor = openat(directory->descriptor, name, flags, DISK_FILE_MODE);
    if (descriptor >= 0 && fchmod(descriptor, DISK_FILE_MODE) != 0) {
        disk_close_quietly(descriptor);
        int error = errno;
        (void)unlinkat(directory->descriptor, name, 0);
        errno = error;
        return -1;
    }
    return descriptor;
}

static int
open_by_mode(const struct disk_directory *directory, const char *name, enum disk_open mode)
{
    switch (mode) {
    case DISK_OPEN_READ:
        return open_existing(directory, name, O_RDONLY);
    case DISK_OPEN_WRITE:
        return open_existing(directory, name, O_RDWR);
    case DISK_OPEN_CREATE:
        return open_new(directory, name);
    }
    errno = EINVAL;
    return -1;
}

static enum status
directory_open_file(void *context, const char *name, enum disk_open mode,
                    struct disk_file **file_out)
{
    const struct disk_directory *directory = context;
    if (!name_is_allowed(name)) {
        return fail(EINVAL);
    }
    if (mode != DISK_OPEN_READ && directory->lock < 0) {
        return fail(EROFS);
    }
    int descriptor = open_by_mode(directory, name, mode);
    if (descriptor < 0) {
        return STATUS_IO;
    }
    struct disk_file *file = xalloc(sizeof(*file));
    file->descriptor = descriptor;
    *file_out = file;
    return STATUS_OK;
}

static void
directory_close_file(void *context, struct disk_file **file)
{
    (void)context;
    if (*file == NULL) {
        return;
    }
    disk_close_quietly((*file)->descriptor);
    free(*file);
    *file = NULL;
}

/* The kernel took nothing and gave no reason: a full disk, or something nobody can name. */
static int
no_progress_error(const struct disk_file *file)
{
    struct statvfs now;
    return fstatvfs(file->descriptor, &now) == 0 && now.f_bavail == 0 ? ENOSPC : EIO;
}

/* What of a gathered write is left to do. */
struct rest {
    const struct iovec *parts;
    size_t part_count;
    size_t within; /* octets of the first part that are written */
};

static bool
rest_is_empty(struct rest *rest)
{
    while (rest->part_count > 0 && rest->within >= rest->parts->iov_len) {
        rest->within -= rest->parts->iov_len;
        rest->parts++;
        rest->part_count--;
    }
    return rest->part_count == 0;
}

/* One call to the kernel: the rest of a part that was begun, else as many parts as it takes. */
static ssize_t
write_some(const struct disk_file *file, const struct rest *rest, off_t offset)
{
    const struct iovec *part = rest->parts;
    if (rest->within > 0) {
        return pwrite(file->descriptor, (const char *)part->iov_base + rest->within,
                      part->iov_len - rest->within, offset);
    }
    int count = rest->part_count < IOV_MAX ? (int)rest->part_count : IOV_MAX;
    return pwritev(file->descriptor, part, count, offset);
}

static enum status
directory_write(void *context, struct disk_file *file, const struct iovec *parts, size_t part_count,
                uint64_t offset)
{
    (void)context;
    if (offset > INT64_MAX) {
        return fail(EFBIG);
    }
    struct rest rest = {.parts = parts, .part_count = part_count};
    while (!rest_is_empty(&rest)) {
        ssize_t written = write_some(file, &rest, (off_t)offset);
        if (written > 0) {
            offset += (uint64_t)written;
            rest.within += (size_t)written;
        } else if (written == 0) {
            return fail(no_progress_error(file));
        } else if (errno != EINTR) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status
directory_read(void *context, struct disk_file *file, void *out, size_t size, uint64_t offset,
               size_t *read_out)
{
    (void)context;
    if (offset > INT64_MAX) {
        return fail(EFBIG);
    }
    size_t done = 0;
    while (done < size) {
        ssize_t taken =
            pread(file->descriptor, (char *)out + done, size - done, (off_t)(offset + done));
        if (taken < 0 && errno == EINTR) {
            continue;
        }
        if (taken < 0) {
            return STATUS_IO;
        }
        if (taken == 0) {
            break;
        }
        done += (size_t)taken;
    }
    *read_out = done;
    return STATUS_OK;
}

static enum status
directory_flush_file(void *context, struct disk_file *file)
{
    (void)context;
    while (fdatasync(file->descriptor) != 0) {
        if (errno != EINTR) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status
directory_file_size(void *context, struct disk_file *file, uint64_t *size_out)
{
    (void)context;
    struct stat found;
    if (fstat(file->descriptor, &found) != 0) {
        return STATUS_IO;
    }
    *size_out = (uint64_t)found.st_size;
    return STATUS_OK;
}

static enum status
directory_truncate(void *context, struct disk_file *file, uint64_t size)
{
    (void)context;
    if (size > INT64_MAX) {
        return fail(EFBIG);
    }
    while (ftruncate(file->descriptor, (off_t)size) != 0) {
        if (errno != EINTR) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static void
directory_forget(void *context, struct disk_file *file)
{
    (void)context;
    (void)posix_fadvise(file->descriptor, 0, 0, POSIX_FADV_DONTNEED);
}

/* Names ------------------------------------------------------------------------------------------
 */

static enum status
directory_rename(void *context, const char *from, const char *to)
{
    const struct disk_directory *directory = context;
    int refusal = change_refusal(directory, from);
    if (refusal == 0) {
        refusal = change_refusal(directory, to);
    }
    if (refusal != 0) {
        return fail(refusal);
    }
    int result = renameat(directory->descriptor, from, directory->descriptor, to);
    return result == 0 ? STATUS_OK : STATUS_IO;
}

static enum status
directory_unlink(void *context, const char *name)
{
    const struct disk_directory *directory = context;
    int refusal = change_refusal(directory, name);
    if (refusal != 0) {
        return fail(refusal);
    }
    return unlinkat(directory->descriptor, name, 0) == 0 ? STATUS_OK : STATUS_IO;
}

static enum status
directory_link(void *context, const char *name, void *to_context)
{
    const struct disk_directory *directory = context;
    const struct disk_directory *to = to_context;
    int refusal = name_is_allowed(name) ? change_refusal(to, name) : EINVAL;
    if (refusal != 0) {
        return fail(refusal);
    }
    int result = linkat(directory->descriptor, name, to->descriptor, name, 0);
    return result == 0 ? STATUS_OK : STATUS_IO;
}

static enum status
directory_link_count(void *context, struct disk_file *file, uint64_t *count_out)
{
    (void)context;
    struct stat found;
    if (fstat(file->descriptor, &found) != 0) {
        return STATUS_IO;
    }
    *count_out = (uint64_t)found.st_nlink;
    return STATUS_OK;
}

enum status
disk_flush_descriptor(int descriptor)
{
    while (fsync(descriptor) != 0) {
        if (errno != EINTR) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

static enum status
directory_flush(void *context)
{
    const struct disk_directory *directory = context;
    return disk_flush_descriptor(directory->descriptor);
}

/* readdir tells its end and an error apart by errno alone. */
static enum status
list_stream(DIR *stream, void (*each)(void *argument, const char *name), void *argument)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return errno == 0 ? STATUS_OK : STATUS_IO;
        }
        if (name_is_allowed(entry->d_name)) {
            each(argument, entry->d_name);
        }
    }
}

static enum status
directory_list(void *context, void (*each)(void *argument, const char *name), void *argument)
{
    const struct disk_directory *directory = context;
    /* A description of its own: the position of the walk is not shared with another walk. */
    int descriptor = openat(directory->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return STATUS_IO;
    }
    DIR *stream = fdopendir(descriptor);
    if (stream == NULL) {
        disk_close_quietly(descriptor);
        return STATUS_IO;
    }
    enum status status = list_stream(stream, each, argument);
    int error = errno;
    (void)closedir(stream);
    errno = error;
    return status;
}

static enum status
directory_space(void *context, struct disk_space *space_out)
{
    const struct disk_directory *directory = context;
    struct statvfs now;
    if (fstatvfs(directory->descriptor, &now) != 0) {
        return STATUS_IO;
    }
    space_out->free_bytes = (uint64_t)now.f_bavail * now.f_frsize;
    space_out->total_bytes = (uint64_t)now.f_blocks * now.f_frsize;
    return STATUS_OK;
}

struct disk
disk_of_directory(struct disk_directory *directory)
{
    return (struct disk){
        .open = directory_open_file,
        .close = directory_close_file,
        .write = directory_write,
        .read = directory_read,
        .flush = directory_flush_file,
        .size = directory_file_size,
        .truncate = directory_truncate,
        .forget = directory_forget,
        .rename = directory_rename,
        .unlink = directory_unlink,
        .link = directory_link,
        .link_count = directory_link_count,
        .flush_directory = directory_flush,
        .list = directory_list,
        .space = directory_space,
        .context = directory,
        .copies_on_write = directory->copies_on_write,
    };
}
