/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pack_states.h"

#include <errno.h>

#include "base/alloc.h"
#include "store/pack.h"
#include "store/pack_older.h"

/* The state, whose attempts are the pack's now; there is room for them. */
static struct index_state
copy_of(struct segment_index *pack, const struct index_state *state,
        const struct row_attempts_list *attempts)
{
    struct index_state copy = *state;
    const struct row_attempts *its_own = row_attempts_list_at(attempts, state->attempts);
    copy.attempts = its_own == NULL ? 0 : row_attempts_list_add(&pack->attempts, its_own);
    return copy;
}

enum status
pack_states_add(struct segment_index *pack, uint64_t *capacity, const struct segment_index *source)
{
    uint64_t wanted = pack->state_count + source->state_count;
    if (wanted > *capacity) {
        struct index_state *states =
            try_realloc(pack->states, (size_t)wanted * sizeof(*pack->states));
        if (states == NULL) {
            return STATUS_NO_MEMORY;
        }
        pack->states = states;
        *capacity = wanted;
    }
    if (row_attempts_list_reserve(&pack->attempts, source->attempts.count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    for (uint64_t i = 0; i < source->state_count; i++) {
        pack->states[pack->state_count++] = copy_of(pack, &source->states[i], &source->attempts);
    }
    return STATUS_OK;
}

void
pack_states_settle(struct segment_index *pack, const struct catalog *catalog)
{
    uint64_t kept = 0;
    pack->state_count = index_states_order(pack->states, pack->state_count);
    index_drop_rowless_states(pack);
    for (uint64_t i = 0; i < pack->state_count; i++) {
        const struct index_state *state = &pack->states[i];
        if (state->lsn >= pack->base_lsn || catalog_find(catalog, state->lsn) != NULL) {
            pack->states[kept++] = *state;
        }
    }
    pack->state_count = kept;
}

static bool
lies_in(const struct catalog_entry *entry, uint64_t lsn)
{
    const struct segment_header *header = &entry->header;
    return lsn >= header->base_lsn && lsn - header->base_lsn < header->slot_size;
}

/* Whether the file can tell more about the states that are left. */
static bool
is_of_use(const struct segment_index *pack, const struct catalog_entry *entry)
{
    if (entry->header.base_lsn >= pack->base_lsn) {
        return pack->state_count > 0;
    }
    for (uint64_t i = 0; i < pack->state_count; i++) {
        if (lies_in(entry, pack->states[i].lsn)) {
            return true;
        }
    }
    return false;
}

/* Keeps those whose row the older file has. */
static enum status
drop_ended(struct segment_index *pack, const struct disk *disk, const struct catalog_entry *entry)
{
    struct older_rows older = {0};
    enum status status = older_rows_read(&older, disk, entry);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t kept = 0;
    for (uint64_t i = 0; i < pack->state_count; i++) {
        const struct index_state *state = &pack->states[i];
        if (!lies_in(entry, state->lsn) || older_rows_has(&older, state->lsn, state->queue)) {
            pack->states[kept++] = *state;
        }
    }
    pack->state_count = kept;
    older_rows_fini(&older);
    return STATUS_OK;
}

/* Keeps those of which the younger file has no later one. The segment that is being written has no
 * index yet, and says nothing. */
static enum status
drop_replaced(struct segment_index *pack, const struct disk *disk,
              const struct catalog_entry *entry, uint64_t folded_lsn)
{
    struct segment_index younger;
    enum status status = pack_source_index(&younger, disk, entry);
    if (status != STATUS_OK) {
        return status == STATUS_IO && errno == ENOENT ? STATUS_OK : status;
    }
    uint64_t kept = 0;
    for (uint64_t i = 0; i < pack->state_count; i++) {
        const struct index_state *state = &pack->states[i];
        const struct index_state *later =
            index_find_state(younger.states, younger.state_count, state->lsn, state->queue);
        if (later == NULL || later->place >= folded_lsn) {
            pack->states[kept++] = *state;
        }
    }
    pack->state_count = kept;
    segment_index_fini(&younger);
    return STATUS_OK;
}

enum status
pack_states_compare(struct segment_index *pack, uint64_t last, const struct disk *disk,
                    const struct catalog_entry *entry, uint64_t folded_lsn)
{
    bool is_older = entry->header.base_lsn < pack->base_lsn;
    bool is_younger = entry->header.number > last && entry->header.base_lsn < folded_lsn;
    if ((!is_older && !is_younger) || !is_of_use(pack, entry)) {
        return STATUS_OK;
    }
    return is_older ? drop_ended(pack, disk, entry) : drop_replaced(pack, disk, entry, folded_lsn);
}
