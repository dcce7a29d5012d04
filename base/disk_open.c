/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a data directory: what it must be, and that nobody else has it. */
#include "base/disk.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/disk_directory.h"

static const mode_t DIRECTORY_MODE = 0700;
static const mode_t MODE_OF_OTHERS = S_IRWXG | S_IRWXO;

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
    directory->lock = openat(directory->descriptor, DISK_LOCK_NAME, flags, DISK_FILE_MODE);
    if (directory->lock < 0 || fchmod(directory->lock, DISK_FILE_MODE) != 0) {
        return refuse(refusal, "cannot be locked: %s: %s", DISK_LOCK_NAME, strerror(errno));
    }
    while (flock(directory->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return refuse(refusal,
                          "is in use by another bourse process (it holds %s): stop it first",
                          DISK_LOCK_NAME);
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
    bool is_flushed = disk_flush_descriptor(parent) == STATUS_OK;
    disk_close_quietly(parent);
    return is_flushed || refuse_by_errno(refusal, "flushed");
}

/* A file system that cannot flush names could lose any file, so it shows at once. */
static bool
check_flush(const struct disk_directory *directory, const struct refusal *refusal)
{
    if (disk_flush_descriptor(directory->descriptor) != STATUS_OK) {
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
    directory->shared_lock = openat(directory->descriptor, DISK_LOCK_NAME, flags);
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
        disk_close_quietly((*directory)->shared_lock);
    }
    if ((*directory)->lock >= 0) {
        disk_close_quietly((*directory)->lock);
    }
    if ((*directory)->descriptor >= 0) {
        disk_close_quietly((*directory)->descriptor);
    }
    free(*directory);
    *directory = NULL;
}
