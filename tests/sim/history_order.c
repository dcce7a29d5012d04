/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a queue hands out what is ready. Mostly that in which messages came; with
 * levels the highest is first, and in a quorum queue what came back is before everything else. */
#include "tests/sim/history_parts.h"

/* Rises in the order of service; no two of a queue have the same. */
static uint64_t
rank_of(const struct history_queue *queue, uint32_t at)
{
    enum { LEVEL_SHIFT = 40, STANDING_SHIFT = 62 };
    const struct history_copy *copy = &queue->copies[at];
    uint64_t place = (uint64_t)(UINT8_MAX - copy->level) << LEVEL_SHIFT | at;
    switch ((enum history_standing)copy->standing) {
    case HISTORY_STANDS_IN_FRONT:
        return place;
    case HISTORY_STANDS_FIRST:
        return UINT64_C(1) << STANDING_SHIFT | copy->return_number;
    case HISTORY_STANDS_IN_LINE:
        break;
    }
    return UINT64_C(2) << STANDING_SHIFT | place;
}

static bool
is_in_line(const struct history_copy *copy, bool with_due)
{
    return with_due ? history_is_there(copy) : copy->place == HISTORY_READY;
}

/* Where they stand as they came. */
static uint32_t
next_in_line(const struct history_queue *queue, uint32_t at, bool with_due)
{
    while (at < queue->copy_count && !is_in_line(&queue->copies[at], with_due)) {
        at++;
    }
    return at;
}

/* Of those with a rank from `rank` on the first. */
static uint32_t
next_ranked(const struct history_queue *queue, uint64_t rank, bool with_due)
{
    uint32_t found = queue->copy_count;
    uint64_t found_rank = UINT64_MAX;
    for (uint32_t at = queue->first_ready; at < queue->copy_count; at++) {
        uint64_t rank_at = rank_of(queue, at);
        if (is_in_line(&queue->copies[at], with_due) && rank_at >= rank && rank_at < found_rank) {
            found = at;
            found_rank = rank_at;
        }
    }
    return found;
}

static bool
is_plain(const struct history_queue *queue)
{
    return queue->level_max == 0;
}

uint32_t
history_first(const struct history_queue *queue, bool with_due)
{
    return is_plain(queue) ? next_in_line(queue, queue->first_ready, with_due)
                           : next_ranked(queue, 0, with_due);
}

uint32_t
history_behind(const struct history_queue *queue, uint32_t at)
{
    return is_plain(queue) ? next_in_line(queue, at + 1, false)
                           : next_ranked(queue, rank_of(queue, at) + 1, false);
}

void
history_stand_again(struct history_queue *queue, struct history_copy *copy)
{
    if (!queue->is_quorum) {
        return;
    }
    copy->standing = queue->retry.holds ? HISTORY_STANDS_IN_FRONT : HISTORY_STANDS_FIRST;
    copy->return_number = queue->return_count++;
}
