/* SPDX-License-Identifier: Apache-2.0 */
/* Which states of rows a new pack keeps: of those that its sources hold, the last of each row that
 * lives, here or in an older file, unless a younger file has a later one. The rest means nothing
 * any more; one that stays by mistake would do no harm. Part of pack.c. */
#ifndef BOURSE_STORE_PACK_STATES_H
#define BOURSE_STORE_PACK_STATES_H

#include "store/catalog.h"
#include "store/index.h"

/* Takes a copy of the states of a source. */
MUST_CHECK enum status pack_states_add(struct segment_index *pack, uint64_t *capacity,
                                       const struct segment_index *source);

/* All sources are in, and all rows: keeps one state for each row, if the row is here, or may be in
 * an older file of the catalog. */
void pack_states_settle(struct segment_index *pack, const struct catalog *catalog);

/* Lets go what that file shows to mean nothing: of an older one states whose row is dead or gone,
 * of a younger one those that it has a later one of, from a batch below `folded_lsn`. The pack
 * stands in the place of the files from its number to `last`. */
MUST_CHECK enum status pack_states_compare(struct segment_index *pack, uint64_t last,
                                           const struct disk *disk,
                                           const struct catalog_entry *entry, uint64_t folded_lsn);

#endif
