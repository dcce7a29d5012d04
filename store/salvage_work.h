/* SPDX-License-Identifier: Apache-2.0 */
/* What the two parts of verify and salvage share while they run: salvage.c looks at the directory
 * (manifest, snapshot, headers), salvage_segment.c at what one segment or pack holds. Nobody else
 * includes this. */
#ifndef BOURSE_STORE_SALVAGE_WORK_H
#define BOURSE_STORE_SALVAGE_WORK_H

#include "store/catalog.h"
#include "store/manifest.h"
#include "store/salvage.h"

struct salvage {
    const struct disk *disk;
    const struct salvage_report *report;
    bool may_write;
    uint64_t count;
    struct manifest manifest;
    bool manifest_is_changed;
    struct catalog catalog;
    char why[512];
};

/* salvage.c */

/* Reports one finding; the fields are those of salvage_finding. */
void salvage_say(struct salvage *salvage, const char *file, uint64_t offset, uint64_t octets,
                 uint64_t messages, const char *text);

/* Reports that the file cannot be `what` ("read"), and why: errno, which stays. Returns STATUS_IO.
 */
enum status salvage_say_io(struct salvage *salvage, const char *file, const char *what);

/* Keeps a copy of the file before it is changed. A copy from an earlier run is older, and so the
 * better one. What fails is reported. */
MUST_CHECK enum status salvage_keep_copy(struct salvage *salvage, const char *name);

/* Takes a file out of the directory's use altogether. What fails is reported. */
enum status salvage_set_aside(struct salvage *salvage, const char *name);

/* salvage_segment.c */

/* Reads every segment and pack of the catalog, and mends them if it may. What fails is reported. */
MUST_CHECK enum status salvage_walk_segments(struct salvage *salvage);

/* Where the segment ends by its index; 0: it has none that can be read. */
uint64_t salvage_index_end(struct salvage *salvage, const struct catalog_entry *entry);

#endif
