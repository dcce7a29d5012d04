/* SPDX-License-Identifier: Apache-2.0 */
/* pack.F.L: what still lives of the segments F to L, in one file that takes their place
 * (docs/store-format.md). Contents keep their LSN and lie queue by queue, so that who drains one
 * queue out of many reads on where it read last. */
#ifndef BOURSE_STORE_PACK_H
#define BOURSE_STORE_PACK_H

#include "base/disk.h"
#include "base/status.h"
#include "store/catalog.h"
#include "store/index.h"
#include "store/log_failure.h"

struct pack_entry {
    uint64_t lsn;
    uint64_t offset; /* in the file */
    uint32_t size;   /* octets of the content */
};

struct pack {
    struct segment_header header;
    struct segment_index index; /* rows and states only */
    struct pack_entry *entries; /* by rising LSN; owned */
    uint64_t count;
};

/* Reads everything but the contents. STATUS_CORRUPT: `*reason_out` says why, static. */
MUST_CHECK enum status pack_read(struct pack *pack, const struct disk *disk, const char *name,
                                 const char **reason_out);
void pack_fini(struct pack *pack);

/* Reads every content and calls `each` for those that are not what was written. */
MUST_CHECK enum status pack_check_contents(
    const struct pack *pack, const struct disk *disk, const char *name,
    void (*each)(void *context, const struct pack_entry *entry), void *context);

/* The entry of an LSN; NULL: none. */
const struct pack_entry *pack_find(const struct pack *pack, uint64_t lsn);

/* The index alone of a file, pack or segment. As segment_index_read. */
MUST_CHECK enum status pack_source_index(struct segment_index *index, const struct disk *disk,
                                         const struct catalog_entry *entry);

/* The job: folds removals below `folded_lsn`, which is committed, into the segments and packs from
 * number `first` to `last`, writes what lives aside, renames it, flushes the directory, and only
 * then removes what it replaces. A pack may be alone. `*octets_out` is the size of the new file, or
 * the slot's if that is less. STATUS_REJECTED: a record or a removal in them is still needed, and
 * nothing was done.
 *
 * Up to a GiB and more is a matter of many seconds, and segments that the log waits for are made by
 * the same thread. So it goes step by step, each about 16 MiB of contents, with room for what is
 * more urgent in between, as long as nothing else packs, folds or removes segments or takes a
 * snapshot. Sources are read from front to back. Takes 64 octets of memory a message, and 24 more
 * at the end, 72 octets a state, and the index of another file, besides 17 MiB. */
struct packing;
struct packing *packing_new(const struct disk *disk, uint64_t first, uint64_t last,
                            uint64_t folded_lsn);
/* STATUS_AGAIN: there is more to do. After anything else it is over. */
MUST_CHECK enum status packing_step(struct packing *packing, uint64_t *octets_out,
                                    struct log_failure *failure_out);
/* What was written so far stays behind as *.tmp, which the next start or the next packing of the
 * same segments removes. The disk must still be there. */
void packing_free(struct packing **packing);

/* All steps at once. */
MUST_CHECK enum status pack_run(const struct disk *disk, uint64_t first, uint64_t last,
                                uint64_t folded_lsn, uint64_t *octets_out,
                                struct log_failure *failure_out);

#endif
