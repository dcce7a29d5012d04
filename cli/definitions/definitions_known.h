/* SPDX-License-Identifier: Apache-2.0 */
/* What of a vhost's definitions a broker of ours can have: everything else is named in a warning
 * and left out, so that what is written passes `bourse check`. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_KNOWN_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_KNOWN_H

#include "base/map.h"
#include "management/definitions/definitions.h"

/* Bindings that lead to one queue or exchange, in their order. */
struct known_bindings {
    const struct definitions_binding **items; /* the arena's */
    size_t count;
};

struct known_exchange {
    const struct definitions_exchange *is;
    struct bytes arguments; /* those that can be had */
    struct known_bindings from;
};

struct known_queue {
    const struct definitions_queue *is;
    struct bytes arguments;
    struct known_bindings from;
};

struct known_policy {
    const struct definitions_policy *is;
    struct bytes definition;
};

/* Of one vhost; in the arena of the definitions, but for the maps. */
struct known {
    struct bytes vhost;
    struct known_exchange *exchanges;
    size_t exchange_count;
    struct known_queue *queues;
    size_t queue_count;
    struct known_policy *policies;
    size_t policy_count;
    struct map exchange_index, queue_index; /* by name */
};

/* Adds a warning to the definitions for all that stays out. */
void known_init(struct known *known, struct definitions *definitions, struct bytes vhost);
void known_fini(struct known *known);

/* Declared here, or in every vhost. */
bool known_has_exchange(const struct known *known, struct bytes name);
bool known_has_queue(const struct known *known, struct bytes name);

#endif
