/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of recovery share while it runs: inventory.c finds the files and judges their
 * headers, log_end.c finds the end of every epoch, live_rows.c says which rows are left, recovery.c
 * calls them in order. Nobody else includes this. */
#ifndef BOURSE_STORE_RECOVERY_WORK_H
#define BOURSE_STORE_RECOVERY_WORK_H

#include "store/index.h"
#include "store/recovery.h"
#include "store/scan.h"
#include "store/topology_fold.h"

/* One segment or pack of the directory. */
struct found_segment {
    char name[STORE_NAME_SIZE];
    struct segment_header header;
    uint64_t last; /* of a pack; else its own number */
    bool is_pack;
    bool has_index;             /* seg.N.idx has a good header */
    bool has_kept;              /* `index` is whole */
    bool is_surplus;            /* nothing in it is part of the log: it becomes a spare */
    bool has_first;             /* a batch begins where the first one belongs */
    struct batch_header first;  /* its header */
    struct segment_index index; /* its header, or the whole; owned */
    uint64_t end_lsn;           /* behind its last batch, once log_end.c has been there */

    uint64_t live_count;    /* rows that were handed over, and states that were returned */
    uint64_t live_octets;   /* as space_row_octets counts them */
    struct index_runs runs; /* of those rows */
    uint64_t topology_lsn;  /* as in the index, once live_rows.c has been there */
    struct buffer records;  /* of the index, once live_rows.c has been there; owned */
    uint64_t *dead;      /* one bit a row, once live_rows.c has been there; NULL: all live; owned */
    uint64_t dead_count; /* rows that it speaks of */
    struct index_state *newer; /* states that later segments say of its live rows, once live_rows.c
                                  has been there, ordered; owned */
    uint64_t newer_count;
    struct row_attempts_list newer_attempts; /* of those states */
    bool is_distrusted; /* its dead file is lost: what it holds may have been delivered */
};

struct recovery_work {
    const struct disk *disk;
    const struct recovery_options *options;
    const struct recovery_sink *sink;
    const struct random_source *random;
    struct log *log;
    char *why;
    size_t why_size;
    struct recovery *result; /* of which recovery_run's caller sees nothing unless it succeeds */

    struct found_segment *segments; /* by rising base; owned */
    uint32_t segment_count, segment_capacity;
    uint64_t *snapshots; /* LSNs in the names of snapshots; owned */
    uint32_t snapshot_count, snapshot_capacity;
    uint64_t *dead_files, *index_files; /* numbers in the names; owned */
    uint32_t dead_count, dead_capacity;
    uint32_t index_count, index_capacity;
    uint32_t spare_capacity;
    char (*disposable)[256]; /* names of files that mean nothing; owned */
    uint32_t disposable_count, disposable_capacity;
    bool has_manifest, has_ballast;
    uint64_t next_spare;
    uint64_t kept_octets; /* of whole indexes in memory */

    struct topology_fold topology;
};

/* Says why the directory is refused, and returns STATUS_CORRUPT or what `status` says. */
enum status recovery_refuse(struct recovery_work *work, enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* inventory.c: lists the directory, opens every segment, and checks what their headers say against
 * names, manifest and each other. */
MUST_CHECK enum status inventory_take(struct recovery_work *work);
MUST_CHECK enum status inventory_open_segments(struct recovery_work *work);
void inventory_fini(struct recovery_work *work);

/* log_end.c: reads what has no index, finds where each epoch ends, refuses what is damaged. */
MUST_CHECK enum status log_end_find(struct recovery_work *work);

/* The whole index of a segment into memory: kept, read, or built by reading the segment. */
MUST_CHECK enum status log_end_load_index(struct recovery_work *work,
                                          struct found_segment *segment);
/* Gives its memory back where that is worth it. */
void log_end_release_index(struct recovery_work *work, struct found_segment *segment);

/* live_rows.c: marks the rows that later removals end, notes the removals that are still needed,
 * finds the last state of each row that lives, collects topology records into `records` (u64 LSN of
 * the batch, record) per segment. Then hands what lives to the sink. */
MUST_CHECK enum status live_rows_find(struct recovery_work *work);
MUST_CHECK enum status live_rows_emit(struct recovery_work *work);

#endif
