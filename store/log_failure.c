/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log_failure.h"

#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum status
log_failure_set(struct log_failure *failure, const char *what, const char *file, uint64_t offset)
{
    int error = errno;
    if (failure != NULL) {
        failure->what = what;
        snprintf(failure->file, sizeof(failure->file), "%s", file);
        failure->offset = offset;
        failure->error = error;
    }
    errno = error;
    return STATUS_IO;
}

bool
log_failure_is_no_room(const struct log_failure *failure)
{
    return failure->error == ENOSPC || failure->error == EDQUOT;
}

bool
log_failure_is_of_writing(const struct log_failure *failure)
{
    static const char *const WORDS[] = {"write", "flush", "rename"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++) {
        if (failure->what != NULL && strcmp(failure->what, WORDS[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool
log_failure_is_of_directory(const struct log_failure *failure)
{
    return failure->what != NULL && strcmp(failure->what, STORE_FLUSH_DIRECTORY) == 0;
}
