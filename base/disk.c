/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the file system. Every name is resolved relative to the descriptor of the
 * directory and no symbolic link is followed, so that nobody can lead a write elsewhere by moving
 * names about. */
#include "base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

static const char LOCK_NAME[] = "LOCK";
static const mode_t DIRECTORY_MODE = 0700;
static const mode_t FILE_MODE = 0600;
static const mode_t MODE_OF_OTHERS = S_IRWXG | S_IRWXO;

struct disk_file {
    int descriptor;
};

struct disk_directory {
    int descriptor;
    bool copies_on_write;
    int lock;        /* -1: opened to read */
    int shared_lock; /* of one that was opened to read; -1: none */
};

static enum status
fail(int error)
{
    errno = error;
    return STATUS_IO;
}

static void
close_quietly(int descriptor)
{
    int error = errno;
    (void)close(descriptor);
    errno = error;
}

/* A name that leads out of the directory may come from a damaged file, so it is no bug. LOCK
 * belongs to this file alone. */
static bool
name_is_allowed(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0 && strcmp(name, LOCK_NAME) != 0;
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
    int descriptor = openat(directory->descriptor, name, flags, FILE_MODE);
    if (descriptor >= 0 && fchmod(descriptor, FILE_MODE) != 0) {
        close_quietly(descriptor);
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
    close_quietly((*file)->descriptor);
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

static enum status
flush_descriptor(int descriptor)
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
    return flush_descriptor(directory->descriptor);
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
        close_quietly(descriptor);
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

/* Where overwriting can fail for want of room: not on XFS, whose files are copied only where they
 * share octets with another file, which ours never do, and not on F2FS, which keeps room for that
 * aside by itself. A directory with the attribute C (chattr) on Btrfs counts as well, for a
 * snapshot has its files copied too. What lies below an overlay or a network is not seen. */
bool
disk_type_copies_on_write(uint32_t type)
{
    static const uint32_t TYPES[] = {
        0x9123683E, /* Btrfs */
        0x2FC12FC1, /* ZFS */
        0xCA451A4E, /* bcachefs */
    };
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        if (TYPES[i] == type) {
            return true;
        }
    }
    return false;
}

/* Opening ----------------------------------------------------------------------------------------
 */

/* Where the line goes that says why a directory is refused. */
struct refusal {
    const char *path;
    char *text;
    size_t size;
};

/* Returns false, so that a check can `return refuse(...)`. */
static bool refuse(const struct refusal *refusal, const char *format, ...) PRINTF_LIKE(2, 3);

static bool
refuse(const struct refusal *refusal, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    (void)snprintf(refusal->text, refusal->size, "data directory %s %s", refusal->path, reason);
    return false;
}

static bool
refuse_by_errno(const struct refusal *refusal, const char *what)
{
    return refuse(refusal, "cannot be %s: %s", what, strerror(errno));
}

/* Behind a slash at its end the kernel would follow a link. */
static char *
path_without_end_slashes(const char *path)
{
    char *copy = xstrdup(path);
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/') {
        copy[--length] = '\0';
    }
    return copy;
}

static bool
make_directory(const struct refusal *refusal)
{
    if (mkdir(refusal->path, DIRECTORY_MODE) == 0) {
        /* Of use only under a umask that takes rights from the owner; what it fails to do shows
         * when the directory is opened. */
        int result = fchmodat(AT_FDCWD, refusal->path, DIRECTORY_MODE, AT_SYMLINK_NOFOLLOW);
        (void)result;
        return true;
    }
    if (errno == EEXIST) {
        return true;
    }
    if (errno == ENOENT) {
        return refuse(refusal, "cannot be made: make the directory above it first");
    }
    return refuse_by_errno(refusal, "made");
}

static bool
refuse_unopened(const struct refusal *refusal)
{
    int error = errno;
    struct stat found;
    bool is_found = fstatat(AT_FDCWD, refusal->path, &found, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_found && S_ISLNK(found.st_mode)) {
        return refuse(refusal, "is a symbolic link: name the directory that it points to");
    }
    if (is_found && !S_ISDIR(found.st_mode)) {
        return refuse(refusal, "is not a directory: name another one");
    }
    if (error == ENOENT) {
        return refuse(refusal, "does not exist: check its name");
    }
    errno = error;
    return refuse_by_errno(refusal, "opened");
}

/* Root may read what is not its own; if it wrote there, the owner could not any more. */
static bool
owner_is_right(uid_t owner, bool is_to_read)
{
    uid_t user = geteuid();
    return owner == user || (is_to_read && user == 0);
}

static bool
check_directory(int descriptor, bool is_to_read, const struct refusal *refusal)
{
    struct stat found;
    if (fstat(descriptor, &found) != 0) {
        return refuse_by_errno(refusal, "examined");
    }
    if (!owner_is_right(found.st_uid, is_to_read)) {
        return refuse(refusal,
                      "belongs to user %u, and bourse runs as user %u: run it as the owner",
                      (unsigned)found.st_uid, (unsigned)geteuid());
    }
    if ((found.st_mode & MODE_OF_OTHERS) != 0) {
        return refuse(refusal, "has mode %04o and must have mode 0700: chmod 700 %s",
                      (unsigned)(found.st_mode & ALLPERMS), refusal->path);
    }
    return true;
}

static bool
examine_file_system(struct disk_directory *directory, const struct refusal *refusal)
{
    struct statfs found;
    if (fstatfs(directory->descriptor, &found) != 0) {
        return refuse_by_errno(refusal, "examined");
    }
    directory->copies_on_write = disk_type_copies_on_write((uint32_t)found.f_type);
    return true;
}

static bool
take_lock(struct disk_directory *directory, const struct refusal *refusal)
{
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    directory->lock = openat(directory->descriptor, LOCK_NAME, flags, FILE_MODE);
    if (directory->lock < 0 || fchmod(directory->lock, FILE_MODE) != 0) {
        return refuse(refusal, "cannot be locked: %s: %s", LOCK_NAME, strerror(errno));
    }
    while (flock(directory->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return refuse(refusal,
                          "is in use by another bourse process (it holds %s): stop it first",
                          LOCK_NAME);
        }
        if (errno != EINTR) {
            return refuse(refusal, "cannot be locked (%s): use a file system that has locks",
                          strerror(errno));
        }
    }
    return true;
}

/* The directory itself is a name in the one above it, which whoever made it may not have lived to
 * flush. Where that one is not ours to read, all of its file system is flushed. */
static bool
flush_own_name(const struct disk_directory *directory, const struct refusal *refusal)
{
    int parent = openat(directory->descriptor, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        return syncfs(directory->descriptor) == 0 || refuse_by_errno(refusal, "flushed");
    }
    bool is_flushed = flush_descriptor(parent) == STATUS_OK;
    close_quietly(parent);
    return is_flushed || refuse_by_errno(refusal, "flushed");
}

/* A file system that cannot flush names could lose any file, so it shows at once. */
static bool
check_flush(const struct disk_directory *directory, const struct refusal *refusal)
{
    if (flush_descriptor(directory->descriptor) != STATUS_OK) {
        return refuse(refusal, "cannot be flushed (%s): use a file system that keeps its names",
                      strerror(errno));
    }
    return flush_own_name(directory, refusal);
}

static bool
directory_enter(struct disk_directory *directory, bool is_to_read, const struct refusal *refusal)
{
    if (!is_to_read && !make_directory(refusal)) {
        return false;
    }
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    directory->descriptor = open(refusal->path, flags);
    if (directory->descriptor < 0) {
        return refuse_unopened(refusal);
    }
    if (!check_directory(directory->descriptor, is_to_read, refusal)) {
        return false;
    }
    return is_to_read || (take_lock(directory, refusal) && check_flush(directory, refusal) &&
                          examine_file_system(directory, refusal));
}

static struct disk_directory *
open_directory(const char *path, bool is_to_read, char *why, size_t why_size)
{
    char *plain_path = path_without_end_slashes(path);
    struct refusal refusal = {.path = plain_path, .text = why, .size = why_size};
    struct disk_directory *directory = xalloc(sizeof(*directory));
    *directory = (struct disk_directory){.descriptor = -1, .lock = -1, .shared_lock = -1};
    if (!directory_enter(directory, is_to_read, &refusal)) {
        disk_directory_close(&directory);
    }
    free(plain_path);
    return directory;
}

struct disk_directory *
disk_directory_open(const char *path, char *why, size_t why_size)
{
    return open_directory(path, false, why, why_size);
}

struct disk_directory *
disk_directory_open_to_read(const char *path, char *why, size_t why_size)
{
    return open_directory(path, true, why, why_size);
}

bool
disk_directory_keep_still(struct disk_directory *directory, char *why, size_t why_size)
{
    assert(directory->lock < 0);
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    directory->shared_lock = openat(directory->descriptor, LOCK_NAME, flags);
    if (directory->shared_lock < 0) {
        return true; /* nobody has ever written here, or may not be asked */
    }
    while (flock(directory->shared_lock, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EINTR) {
            (void)snprintf(why, why_size, "the directory is in use by a bourse process: stop it");
            return false;
        }
    }
    return true;
}

void
disk_directory_close(struct disk_directory **directory)
{
    if (*directory == NULL) {
        return;
    }
    if ((*directory)->shared_lock >= 0) {
        close_quietly((*directory)->shared_lock);
    }
    if ((*directory)->lock >= 0) {
        close_quietly((*directory)->lock);
    }
    if ((*directory)->descriptor >= 0) {
        close_quietly((*directory)->descriptor);
    }
    free(*directory);
    *directory = NULL;
}
