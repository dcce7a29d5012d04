/* SPDX-License-Identifier: Apache-2.0 */
/* A directory as disk_open.c opens it and disk.c works in it. Nobody else includes this. */
#ifndef BOURSE_BASE_DISK_DIRECTORY_H
#define BOURSE_BASE_DISK_DIRECTORY_H

#include "base/disk.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* Belongs to the directory itself: no file of the disk has this name. */
static const char DISK_LOCK_NAME[] = "LOCK";

static const mode_t DISK_FILE_MODE = 0600;

struct disk_directory {
    int descriptor;
    bool copies_on_write;
    int lock;        /* -1: opened to read */
    int shared_lock; /* of one that was opened to read; -1: none */
};

static inline void
disk_close_quietly(int descriptor)
{
    int error = errno;
    (void)close(descriptor);
    errno = error;
}

/* What was written to it, or the names in it, are on the disk when it is STATUS_OK. */
MUST_CHECK enum status disk_flush_descriptor(int descriptor);

#endif
