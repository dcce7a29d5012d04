/* SPDX-License-Identifier: Apache-2.0 */
/* What failed on the disk, and where: for the last line of the log. */
#ifndef BOURSE_STORE_LOG_FAILURE_H
#define BOURSE_STORE_LOG_FAILURE_H

#include "base/status.h"
#include "store/segment.h"

#include <stdbool.h>
#include <stdint.h>

/* `what` when the directory could not be flushed. */
#define STORE_FLUSH_DIRECTORY "flush directory"

struct log_failure {
    const char *what; /* "write", "flush", "open", ...; static; NULL: nothing failed */
    char file[STORE_NAME_SIZE];
    uint64_t offset;
    int error; /* errno */
};

/* Notes errno's failure in `*failure` (NULL: nowhere), leaves errno, and returns STATUS_IO. */
enum status log_failure_set(struct log_failure *failure, const char *what, const char *file,
                            uint64_t offset);

/* True when the disk had no room, which is no reason to distrust it. */
bool log_failure_is_no_room(const struct log_failure *failure);

/* True when it was the writing of a file: a write, a flush or a rename. */
bool log_failure_is_of_writing(const struct log_failure *failure);

/* True when names that were changed may or may not be on the disk. */
bool log_failure_is_of_directory(const struct log_failure *failure);

#endif
