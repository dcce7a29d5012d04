/* SPDX-License-Identifier: Apache-2.0 */
/* The topology as a fold of its records: fed in LSN order, it keeps the latest SET of every id and
 * of every binding, and how far each queue's messages have been handed out. A record that was seen
 * before changes nothing. What is left at the end comes out in the order in which it was made. */
#ifndef BOURSE_STORE_TOPOLOGY_FOLD_H
#define BOURSE_STORE_TOPOLOGY_FOLD_H

#include "base/map.h"
#include "base/status.h"
#include "store/record.h"

enum fold_kind {
    FOLD_VHOST,
    FOLD_USER,
    FOLD_POLICY,
    FOLD_EXCHANGE,
    FOLD_QUEUE,
    FOLD_BINDING,
    FOLD_GENERATION,
    FOLD_FACT,
    FOLD_HANDOUT,
    FOLD_KIND_COUNT,
};

struct topology_fold {
    struct map objects[FOLD_KIND_COUNT]; /* of struct fold_object; owned */
    uint64_t next_id;                    /* above every id that was seen */
    uint64_t octets;                     /* of the records that are kept */
};

void topology_fold_init(struct topology_fold *fold);
void topology_fold_fini(struct topology_fold *fold);

/* Takes in one record; those that say nothing about topology are passed over. STATUS_NO_MEMORY:
 * the fold is not to be used any more. */
MUST_CHECK enum status topology_fold_apply(struct topology_fold *fold, const struct record *record);

/* Takes in an id that stands elsewhere, as in a row. */
void topology_fold_see_id(struct topology_fold *fold, uint64_t id);

/* Drops what hangs on objects that are not there: policies, exchanges, queues and generations
 * without virtual host, bindings without one of their ends, marks of unknown queues. Call once,
 * after the last record. */
void topology_fold_finish(struct topology_fold *fold);

/* Calls `each` for every record that is left: virtual hosts, users, policies, exchanges, queues,
 * bindings, generations, facts, and the HANDOUT marks last. Anything but STATUS_OK ends the walk.
 */
MUST_CHECK enum status topology_fold_walk(const struct topology_fold *fold,
                                          enum status (*each)(void *context,
                                                              const struct record *record),
                                          void *context);

bool topology_fold_has(const struct topology_fold *fold, enum fold_kind kind, uint64_t id);

/* Messages of the queue up to this LSN may have been handed out; 0: none. */
uint64_t topology_fold_handout(const struct topology_fold *fold, uint64_t queue);

/* The ids of the queues, rising, as a new array that the caller frees; NULL with a count of 0 where
 * there are none. */
MUST_CHECK enum status topology_fold_queues(const struct topology_fold *fold, uint64_t **ids_out,
                                            uint32_t *count_out);

#endif
