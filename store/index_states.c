/* SPDX-License-Identifier: Apache-2.0 */
/* The states of an index: put in order, looked up, and let go with their rows. */
#include "store/index.h"

#include <stdlib.h>

static int
compare_states(const void *a, const void *b)
{
    const struct index_state *left = a;
    const struct index_state *right = b;
    int order = index_state_compare(left, right->lsn, right->queue);
    if (order != 0) {
        return order;
    }
    return left->place < right->place ? -1 : left->place > right->place;
}

static bool
states_are_ordered(const struct index_state *states, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++) {
        if (index_state_compare(&states[i - 1], states[i].lsn, states[i].queue) >= 0) {
            return false;
        }
    }
    return true;
}

uint64_t
index_states_order(struct index_state *states, uint64_t count)
{
    if (states_are_ordered(states, count)) {
        return count;
    }
    qsort(states, count, sizeof(*states), compare_states);
    uint64_t kept = 1;
    for (uint64_t i = 1; i < count; i++) {
        bool is_same_row =
            index_state_compare(&states[kept - 1], states[i].lsn, states[i].queue) == 0;
        states[is_same_row ? kept - 1 : kept++] = states[i];
    }
    return kept;
}

const struct index_state *
index_find_state(const struct index_state *states, uint64_t count, uint64_t lsn, uint64_t queue)
{
    uint64_t low = 0;
    uint64_t high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index_state_compare(&states[middle], lsn, queue) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && index_state_compare(&states[low], lsn, queue) == 0 ? &states[low] : NULL;
}

void
index_drop_rowless_states(struct segment_index *index)
{
    uint64_t cursor = 0;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < index->state_count; i++) {
        const struct index_state *state = &index->states[i];
        if (state->lsn < index->base_lsn ||
            index_find_row(index->rows, index->row_count, state->lsn, state->queue, &cursor) <
                index->row_count) {
            index->states[kept++] = *state;
        }
    }
    index->state_count = kept;
}
