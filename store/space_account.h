/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the account share: space.c counts, space_next.c decides what is done about
 * it. Nobody else includes this. */
#ifndef BOURSE_STORE_SPACE_ACCOUNT_H
#define BOURSE_STORE_SPACE_ACCOUNT_H

#include "store/space.h"

enum {
    SPARSE_SHARE = 4, /* a segment is sparse when less than one part in so many lives */
    WASTED_SHARE = 2, /* space is wasted when more than one part in so many does not live */
};

/* An older segment that removals speak of. */
struct space_debt {
    uint64_t number;
    uint64_t batch_lsn; /* the highest batch with such a removal */
};

struct space_segment {
    uint64_t number;
    uint64_t last; /* of a pack, else `number` */
    uint64_t epoch;
    uint64_t base_lsn;
    uint64_t capacity;
    uint64_t live_entries;    /* rows and states */
    uint64_t live_octets;     /* of rows, each with its whole content, and states */
    uint64_t dead_lsn;        /* the highest batch that ended an entry of it; 0: none did */
    uint64_t topology_lsn;    /* the highest batch with a topology or HANDOUT record; 0: none */
    uint64_t run_octets;      /* of an average run; UINT64_MAX: not known */
    struct space_debt *debts; /* by rising number; owned */
    uint32_t debt_count, debt_capacity;
    uint32_t last_debt; /* the one that was added to last */
    bool is_indexed;
    bool would_go; /* scratch of space_next */
};

struct space {
    struct space_settings settings;
    struct space_segment **segments; /* by rising base and number; owned */
    uint32_t segment_count, segment_capacity;
    uint32_t last_found; /* where the last LSN was looked up */
    uint64_t used_octets;
    uint64_t live_octets;
    uint64_t snapshot_lsn;
    uint64_t topology_lsn; /* the highest that was reported */
    bool is_stale;         /* something has changed since space_next found nothing to do */
    bool was_wasted;       /* and so is this */
    uint64_t wake_lsn;     /* once so much is committed, there may be something to do */
};

/* Octets that live in it, for the account. */
static inline uint64_t
segment_live_share(const struct space_segment *segment)
{
    return segment->live_octets < segment->capacity ? segment->live_octets : segment->capacity;
}

static inline bool
segment_is_sparse(const struct space_segment *segment)
{
    return segment_live_share(segment) < segment->capacity / SPARSE_SHARE;
}

/* The segment of that number, which is there. */
struct space_segment *space_segment_of_number(const struct space *space, uint64_t number);

#endif
