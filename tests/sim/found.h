/* SPDX-License-Identifier: Apache-2.0 */
/* What a recovery hands over, as it stands: for who wants to look at a directory without making a
 * broker of it. */
#ifndef BOURSE_TESTS_SIM_FOUND_H
#define BOURSE_TESTS_SIM_FOUND_H

#include "store/recovery.h"

struct found_row {
    uint64_t queue; /* id */
    uint64_t lsn;
    uint32_t body_size;
    uint32_t message; /* by its body; UINT32_MAX: no body that a message has */
    bool was_handed_out;
};

struct found_object {
    uint64_t id;
    uint32_t name;
};

struct found_binding {
    uint64_t source, target; /* ids */
    uint32_t key;
};

struct found {
    struct found_row *rows; /* as recovery has them: by LSN; owned, and so are the others */
    uint32_t row_count, row_capacity;
    struct found_object *queues;
    uint32_t queue_count, queue_capacity;
    struct found_object *exchanges; /* those of the simulator */
    uint32_t exchange_count, exchange_capacity;
    struct found_binding *bindings;
    uint32_t binding_count, binding_capacity;
    struct recovery recovery;
    uint8_t *block; /* for contents; owned */
};

void found_init(struct found *found);
void found_fini(struct found *found);

/* Recovers from the disk, which is ready for a new epoch then, and reads every message. */
MUST_CHECK enum status found_read(struct found *found, const struct disk *disk, uint64_t slot_size,
                                  const struct random_source *random, char *why, size_t why_size);

#endif
