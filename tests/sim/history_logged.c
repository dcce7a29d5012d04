/* SPDX-License-Identifier: Apache-2.0 */
/* Where the log has which message: tells two copies of one message in a queue from each other. */
#include "base/assert.h"
#include "tests/sim/history_parts.h"

void
history_hear_logged(struct history *history, struct history_logged row)
{
    while (history->logged_count > 0 && history->logged[history->logged_count - 1].lsn >= row.lsn) {
        history->logged_count--; /* a crash has taken those out of the log */
    }
    *HISTORY_PUSH(history->logged, history->logged_count, history->logged_capacity) = row;
}

uint32_t
history_logged_message(const struct history *history, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = history->logged_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (history->logged[middle].lsn < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < history->logged_count);
    assert(history->logged[low].lsn == lsn);
    return history->logged[low].message;
}

/* The one that was published, or the first of its dead letters to that queue that is not known. */
uint64_t
history_find_lsn(struct history *history, const struct history_queue *queue,
                 const struct history_copy *copy)
{
    struct history_logged *found = NULL;
    uint64_t letter_queue = copy->is_dead_letter ? queue->id : 0;
    for (uint32_t at = history->logged_count; at-- > 0 && copy->is_durable;) {
        struct history_logged *row = &history->logged[at];
        if (row->message != copy->message || row->letter_queue != letter_queue) {
            continue;
        }
        if (!copy->is_dead_letter) {
            return row->lsn;
        }
        if (row->is_known) {
            break;
        }
        found = row;
    }
    if (found == NULL) {
        return 0;
    }
    found->is_known = true;
    return found->lsn;
}
