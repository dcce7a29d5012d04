/* SPDX-License-Identifier: Apache-2.0 */
/* The segments and packs that a directory holds right now, with their headers: for jobs that look
 * up where an LSN lies. Recovery, which trusts nothing yet, takes its own inventory. */
#ifndef BOURSE_STORE_CATALOG_H
#define BOURSE_STORE_CATALOG_H

#include "base/disk.h"
#include "base/status.h"
#include "store/log_failure.h"
#include "store/segment.h"

struct catalog_entry {
    char name[STORE_NAME_SIZE];
    bool is_pack;
    uint64_t last; /* of a pack; else its own number */
    struct segment_header header;
};

struct catalog {
    struct catalog_entry *entries; /* by rising base; owned */
    uint32_t count, capacity;
};

/* Lists and reads. A file that goes while this runs is left out. STATUS_CORRUPT: there is a segment
 * whose header is damaged, named in `*failure_out`; the catalog holds the others. STATUS_IO: it is
 * empty. Ends with catalog_fini, whatever it returned. */
MUST_CHECK enum status catalog_read(struct catalog *catalog, const struct disk *disk,
                                    struct log_failure *failure_out);
void catalog_fini(struct catalog *catalog);

/* The entry whose slot holds an LSN; NULL: none. */
const struct catalog_entry *catalog_find(const struct catalog *catalog, uint64_t lsn);

#endif
