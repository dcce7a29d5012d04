/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue by what they have in common: where they died first, why they died last, the
 * class of error that their consumer gave, and their routing key. However many messages there are,
 * there are at most DESK_GROUPS_MAX groups, and one for all that is in none of them.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_GROUPS_H
#define BOURSE_BROKER_DESK_DESK_GROUPS_H

#include "base/map.h"
#include "broker/desk/desk_filter.h"

enum { DESK_GROUPS_MAX = 1000 };

/* Texts without `data`: nothing is known. */
struct desk_group {
    struct bytes origin_queue, reason, error_class, routing_key; /* owned by the groups */
    uint64_t count;
    uint64_t octets;               /* of bodies */
    uint64_t oldest_ms, newest_ms; /* ages in the queue */
    struct desk_id sample;         /* the first one that was met */
    struct bytes key;              /* what it is known by */
};

struct desk_groups {
    struct map by_key; /* struct desk_group; owns */
    struct desk_group others;
    struct buffer key; /* scratch */
};

void desk_groups_init(struct desk_groups *groups, uint64_t seed);
void desk_groups_fini(struct desk_groups *groups);

/* Adds a message; where there is no memory for a group, to the others. `age_ms` as of
 * desk_row_age_ms. */
void desk_groups_add(struct desk_groups *groups, const struct desk_row *row,
                     const struct desk_facts *facts, uint64_t age_ms);

/* Walks the groups in the order in which they were met, the others left out; `*at` begins with 0.
 * NULL at the end. */
const struct desk_group *desk_groups_next(const struct desk_groups *groups, uint32_t *at);

#endif
