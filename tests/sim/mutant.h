/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken away from the broker to see whether the simulator notices; test code only. */
#ifndef BOURSE_TESTS_SIM_MUTANT_H
#define BOURSE_TESTS_SIM_MUTANT_H

#include "base/disk.h"

enum mutant {
    MUTANT_NONE,
    MUTANT_NO_FLUSH,           /* flushing a file does nothing */
    MUTANT_NO_LOG_FLUSH,       /* flushing the log does nothing */
    MUTANT_NO_DIRECTORY_FLUSH, /* flushing the directory does nothing */
    MUTANT_NO_CHECKSUM,        /* every checksum is right */
    MUTANT_EARLY_COMMIT,       /* what is written counts as committed */
    MUTANT_EARLY_FREE,         /* a chunk goes before the networks have passed it */
    MUTANT_OVERTAKING,         /* what waits for room in a ring is overtaken */
    MUTANT_NO_BELL,            /* who sleeps is not woken */
    MUTANT_COUNT,
};

/* MUTANT_COUNT: there is none of that name. */
enum mutant mutant_find(const char *name);

/* The disk without what the mutant takes away: for everybody, and for the writer of the log. */
struct disk mutant_disk(const struct disk *disk, enum mutant mutant);
struct disk mutant_log_disk(const struct disk *disk, enum mutant mutant);

/* Items overtake those that wait, and bells are silent, if the mutant says so (in the simulator's
 * program only). */
void mutant_set_rings(enum mutant mutant);

/* Checksums are right from now on (in the simulator's program only), or as they are. */
void mutant_set_checksums(bool are_always_right);

#endif
