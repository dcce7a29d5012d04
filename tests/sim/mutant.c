/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/mutant.h"

#include <string.h>

static const char *const names[MUTANT_COUNT] = {
    [MUTANT_NONE] = "none",
    [MUTANT_NO_FLUSH] = "no-flush",
    [MUTANT_NO_LOG_FLUSH] = "no-log-flush",
    [MUTANT_NO_DIRECTORY_FLUSH] = "no-directory-flush",
    [MUTANT_NO_CHECKSUM] = "no-checksum",
    [MUTANT_EARLY_COMMIT] = "early-commit",
    [MUTANT_EARLY_FREE] = "early-free",
    [MUTANT_OVERTAKING] = "overtaking",
    [MUTANT_NO_BELL] = "no-bell",
};

enum mutant
mutant_find(const char *name)
{
    int mutant = 0;
    while (mutant < MUTANT_COUNT && strcmp(names[mutant], name) != 0) {
        mutant++;
    }
    return (enum mutant)mutant;
}

static enum status
flush_nothing(void *context, struct disk_file *file)
{
    (void)context;
    (void)file;
    return STATUS_OK;
}

static enum status
flush_no_directory(void *context)
{
    (void)context;
    return STATUS_OK;
}

struct disk
mutant_disk(const struct disk *disk, enum mutant mutant)
{
    struct disk changed = *disk;
    if (mutant == MUTANT_NO_FLUSH) {
        changed.flush = flush_nothing;
    } else if (mutant == MUTANT_NO_DIRECTORY_FLUSH) {
        changed.flush_directory = flush_no_directory;
    }
    return changed;
}

struct disk
mutant_log_disk(const struct disk *disk, enum mutant mutant)
{
    struct disk changed = mutant_disk(disk, mutant);
    if (mutant == MUTANT_NO_LOG_FLUSH) {
        changed.flush = flush_nothing;
    }
    return changed;
}
