/* SPDX-License-Identifier: Apache-2.0 */
/* One directory on a disk, as it is handed to those who may not ask the system for it: the file
 * system in production, memory that loses, tears and refuses in tests and simulation.
 *
 * Names are plain file names within the directory. Calls block; only threads that may wait make
 * them. Any number of threads may call at the same time, each on files of its own; two threads may
 * read one file. Every call that can fail returns STATUS_IO with errno set, and is not retried by
 * the callee but for EINTR and short transfers, which are continued until something real fails. */
#ifndef BOURSE_BASE_DISK_H
#define BOURSE_BASE_DISK_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* An open file; what it is only the implementation knows. */
struct disk_file;

enum disk_open {
    DISK_OPEN_READ,   /* must exist; no writing */
    DISK_OPEN_WRITE,  /* must exist; reading and writing */
    DISK_OPEN_CREATE, /* must not exist; reading and writing, mode 0600 */
};

struct disk_space {
    uint64_t free_bytes; /* that an unprivileged process may still take */
    uint64_t total_bytes;
};

struct disk {
    /* STATUS_IO with ENOENT or EEXIST where the mode says so. Never follows a symbolic link. */
    enum status (*open)(void *context, const char *name, enum disk_open mode,
                        struct disk_file **file_out);
    /* Releases the descriptor and leaves NULL; NULL is fine. Never flushes. */
    void (*close)(void *context, struct disk_file **file);

    /* Writes all octets of `parts` behind each other at `offset`. STATUS_IO: some of them may have
     * been written. `parts` is borrowed and not changed. */
    enum status (*write)(void *context, struct disk_file *file, const struct iovec *parts,
                         size_t part_count, uint64_t offset);
    /* Reads up to `size` octets; `*read_out` is less only at the end of the file. */
    enum status (*read)(void *context, struct disk_file *file, void *out, size_t size,
                        uint64_t offset, size_t *read_out);
    /* fdatasync: what was written to `file` before is on the disk when it returns STATUS_OK. After
     * STATUS_IO nobody knows what is: never call it again for the same octets. */
    enum status (*flush)(void *context, struct disk_file *file);
    enum status (*size)(void *context, struct disk_file *file, uint64_t *size_out);
    enum status (*truncate)(void *context, struct disk_file *file, uint64_t size);
    /* Drops the file's octets from the page cache where that is possible; a hint, cannot fail. */
    void (*forget)(void *context, struct disk_file *file);

    /* Replaces `to` if it is there. Durable only after flush_directory. */
    enum status (*rename)(void *context, const char *from, const char *to);
    enum status (*unlink)(void *context, const char *name);
    /* Gives the file a second name in another directory, whose `context` is that of a disk of the
     * same kind: the same name, which must be free there. Durable only after that directory is
     * flushed. EXDEV, EPERM, EMLINK, EOPNOTSUPP and ENOSYS: there it cannot be had. */
    enum status (*link)(void *context, const char *name, void *to_context);
    /* How many names the file has, in this directory and elsewhere. */
    enum status (*link_count)(void *context, struct disk_file *file, uint64_t *count_out);
    /* fsync of the directory: names created, renamed and removed before are on the disk. */
    enum status (*flush_directory)(void *context);
    /* Calls `each` for every file but LOCK, in no order that means anything. `each` may open,
     * rename and unlink. */
    enum status (*list)(void *context, void (*each)(void *argument, const char *name),
                        void *argument);
    enum status (*space)(void *context, struct disk_space *space_out);

    void *context;

    /* Writing over octets takes room anew, so that on a full disk even what was written before
     * cannot be written again; what a removed file gives back can. */
    bool copies_on_write;
};

/* A directory of the file system. Made with mode 0700 if it is missing (its parent must be there),
 * refused when it is a symbolic link, belongs to another user or lets others in; locked by its file
 * LOCK, so that at most one process has it open. NULL: `why` says in one line what is wrong and
 * what to do. The umask does not matter. */
struct disk_directory;
struct disk_directory *disk_directory_open(const char *path, char *why, size_t why_size);
/* The same without making or locking anything, for commands that only read. */
struct disk_directory *disk_directory_open_to_read(const char *path, char *why, size_t why_size);
/* Keeps out whoever would write, while a directory that was opened to read is open. False when
 * somebody writes now, with `why` as above. */
bool disk_directory_keep_still(struct disk_directory *directory, char *why, size_t why_size);
void disk_directory_close(struct disk_directory **directory);

/* What to call; valid while the directory is open. */
struct disk disk_of_directory(struct disk_directory *directory);

/* Whether file systems of that type (statfs(2), f_type) copy on write. */
bool disk_type_copies_on_write(uint32_t type);

/* Unwrapped, for the many callers. */
static inline enum status
disk_write_bytes(const struct disk *disk, struct disk_file *file, const void *data, size_t size,
                 uint64_t offset)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return disk->write(disk->context, file, &part, 1, offset);
}

#endif
