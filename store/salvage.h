/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for damage in a whole data directory that no process writes, and goes on behind it when the
 * operator says so: what is lost is said, and every damaged file is kept under NAME.damaged. */
#ifndef BOURSE_STORE_SALVAGE_H
#define BOURSE_STORE_SALVAGE_H

#include "base/disk.h"
#include "base/status.h"

#include <stdint.h>

/* One thing that is wrong. */
struct salvage_finding {
    const char *file;
    uint64_t offset;
    uint64_t octets;   /* that are lost; 0: none, or that is not the question */
    uint64_t messages; /* that are lost, as far as the index tells; 0 also where nobody knows */
    const char *text;
};

struct salvage_report {
    void (*finding)(void *context, const struct salvage_finding *finding);
    void *context;
};

/* Reads everything, contents included, and reports what is wrong; changes nothing. `*count_out` is
 * how many findings there were. STATUS_IO: a read failed, which was reported as well. */
MUST_CHECK enum status verify_run(const struct disk *disk, const struct salvage_report *report,
                                  uint64_t *count_out);

/* Makes the directory one that can be started: damaged places become notes, messages that cannot be
 * read are dropped from records and indexes, a manifest that is lost is made from the segments.
 * Reports what it did. STATUS_CORRUPT: it cannot be helped, and the last finding says why. */
MUST_CHECK enum status salvage_run(const struct disk *disk, const struct salvage_report *report,
                                   uint64_t *count_out);

#endif
