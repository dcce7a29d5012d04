/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of making a pack share while it runs: pack_gather.c finds what still lives of the
 * sources, pack_copy.c decides where each content goes and takes it there, pack.c calls them step
 * by step and writes the rest. Nobody else includes this. */
#ifndef BOURSE_STORE_PACK_WORK_H
#define BOURSE_STORE_PACK_WORK_H

#include "store/pack.h"

enum { OUTPUT_COUNT = 256 }; /* queues that are written side by side */

/* Where a content comes from and goes to. */
struct pack_move {
    uint64_t lsn;
    uint64_t queue;  /* the first that it lives in */
    uint64_t from;   /* offset in its source */
    uint64_t offset; /* in the new file */
    uint32_t size;
    uint32_t source;
};

/* A segment or pack that goes into the new one. */
struct pack_source {
    const struct catalog_entry *entry;
    struct disk_file *file; /* owned */
    struct pack pack;       /* of a pack; owned */
};

/* A stretch of a source, as it is on the disk. */
struct pack_window {
    uint8_t *octets; /* owned */
    size_t size, capacity;
    uint64_t offset;
    uint32_t source;
};

/* Contents of one queue, or of some that share it, on their way into the new file. */
struct pack_output {
    uint8_t *octets; /* OUTPUT_SIZE of them, once there are any; owned */
    size_t size;
    uint64_t offset;
};

enum packing_phase {
    PACKING_BEGIN,
    PACKING_GATHER,
    PACKING_STATES,
    PACKING_COPY,
    PACKING_END,
};

struct packing {
    struct disk own_disk;
    const struct disk *disk; /* own_disk */
    uint64_t first, last;
    uint64_t folded_lsn;
    enum packing_phase phase;
    struct log_failure *failure; /* of the step under way */
    char name[STORE_NAME_SIZE];
    char aside[STORE_NAME_SIZE + 4];
    struct catalog catalog;
    struct pack_source *sources; /* owned */
    uint32_t source_count;
    uint32_t gathered_count; /* of the sources */
    uint64_t snapshot_lsn;
    struct segment_index index; /* of the new pack; owned */
    uint64_t row_capacity, state_capacity;
    uint32_t compared_count; /* of the catalog, with the states that it keeps */
    struct pack_move *moves; /* by LSN, by queue, by source, by LSN again: as it is needed; owned */
    uint64_t move_count;
    uint64_t copied_count; /* of the moves */
    struct segment_header header;
    struct disk_file *file; /* the new one; owned */
    struct pack_window window;
    struct pack_output outputs[OUTPUT_COUNT];
};

/* Notes what failed, with the errno at hand, and returns `status`. */
enum status packing_fail(struct packing *packing, enum status status, const char *what,
                         const char *name, uint64_t offset);

/* The files between the two numbers; both ends are there. One alone is worth it if it is a pack,
 * which may be large, and sparse by now. */
MUST_CHECK enum status packing_find_sources(struct packing *packing);

/* Folds one of them and adds what lives of it to the index. STATUS_REJECTED: a record or a removal
 * in it is still needed. */
MUST_CHECK enum status packing_gather_source(struct packing *packing, struct pack_source *source);

/* Contents go to places in the order of queues, and are read in the order of the sources. Where all
 * of them live the file can be longer than the slot, which its header does not say. */
MUST_CHECK enum status packing_lay_out(struct packing *packing);

/* Copies some contents. They are flushed at once, so that the last flush is not a long one. */
MUST_CHECK enum status packing_copy_slice(struct packing *packing);

#endif
