/* SPDX-License-Identifier: Apache-2.0 */
/* From a data directory to the state that it stands for (docs/store-format.md, Recovery). Reads,
 * judges, cuts the torn end for good; then hands the result to whoever rebuilds the broker. The
 * disk is hostile: lengths are checked before memory is reserved for them, and nothing is delivered
 * that no version of us wrote. Blocks; runs before there are threads. */
#ifndef BOURSE_STORE_RECOVERY_H
#define BOURSE_STORE_RECOVERY_H

#include "base/disk.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "store/manifest.h"
#include "store/record.h"

/* One live message in one queue. */
struct recovered_row {
    uint64_t lsn;
    uint64_t queue; /* without flag */
    uint32_t body_size;
    uint32_t content_size;        /* octets of the whole content, padding not included */
    uint64_t arrival_ms;          /* when it came, wall clock; 0: nobody knows any more */
    bool was_handed_out;          /* it may have been delivered before */
    struct row_state state;       /* the last that was written down; empty where nothing was */
    struct row_attempts attempts; /* with that state; empty where nothing was */
    uint64_t state_lsn; /* where it stands, as from journal_return; 0: it came with the message,
                           or there is none */
};

/* Who rebuilds the state. Records come in the order vhosts, users, exchanges, queues, bindings,
 * each in the order in which they were made; then rows by rising LSN, only of queues that were
 * handed over. Anything but STATUS_OK ends the recovery with that status. */
struct recovery_sink {
    enum status (*record)(void *context, const struct record *record);
    enum status (*row)(void *context, const struct recovered_row *row);
    void *context;
};

struct recovery_options {
    uint64_t slot_size;  /* of segments to come */
    bool may_write;      /* false: only look (verify, dump): nothing is cut, written or renamed */
    bool check_contents; /* read and check the contents of indexed segments too (verify) */
};

/* One segment as it was found. */
struct recovered_segment {
    uint64_t number;
    uint64_t base_lsn;
    uint64_t end_lsn; /* behind its last batch */
    uint64_t capacity;
    uint64_t topology_lsn; /* highest batch with a topology or HANDOUT record; 0: none */
    bool is_pack;
    uint64_t last;       /* of a pack */
    uint64_t row_count;  /* live rows in it, as they were handed over, and states of such rows that
                            were returned */
    uint64_t row_octets; /* as space counts them */
    uint64_t run_octets; /* of the contents of live rows, and in how many runs of one queue they */
    uint64_t run_count;  /* lie (store/index.h) */
};

/* A removal that recovery has seen, for the account of space: a batch at `batch_lsn` ends the row.
 */
struct recovered_removal {
    uint64_t lsn;
    uint64_t batch_lsn;
};

struct recovery {
    struct manifest manifest; /* as it is on disk now, with the new epoch when may_write */
    struct recovered_segment *segments; /* by rising base; owned */
    uint32_t segment_count;
    struct recovered_removal *removals; /* those that an older segment's rows still need, one per
                                           (segment of the batch, segment of the row); owned */
    uint32_t removal_count;
    uint64_t *spares; /* numbers of spare files; owned */
    uint32_t spare_count;
    uint64_t next_object_id;      /* above every id that was ever given */
    uint64_t next_segment_number; /* for segments to be prepared, above every one seen */
    uint64_t next_segment_base;
    uint64_t row_count, record_count;
    bool was_clean, was_new;
    uint64_t torn_lsn; /* where the log was cut; 0: it ended cleanly */
};

/* Recovers. On STATUS_OK with may_write the directory is ready: the old epoch has ended, the
 * manifest names the new one (its number is that of the last epoch in `recovery->manifest`), whose
 * first segment (next_segment_number, next_segment_base) is still to be prepared. STATUS_CORRUPT:
 * it is refused, and `why` names file, offset and what to do; STATUS_IO likewise. `log` (NULL:
 * none) gets one line per thing worth knowing. A directory without manifest and segments is new. */
MUST_CHECK enum status recovery_run(struct recovery *recovery, const struct disk *disk,
                                    const struct recovery_options *options,
                                    const struct recovery_sink *sink,
                                    const struct random_source *random, struct log *log, char *why,
                                    size_t why_size);
void recovery_fini(struct recovery *recovery);

#endif
