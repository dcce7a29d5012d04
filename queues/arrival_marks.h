/* SPDX-License-Identifier: Apache-2.0 */
/* When the messages of a queue came into it, or those of one level of a queue with priorities. Not
 * every message has its time: a mark stands for all that came in the same millisecond, and older
 * marks are taken together, so that a time is wrong by at most a hundredth of the message's age.
 * However long a queue is, it has at most ARRIVAL_MARKS_MAX marks.
 *
 * Each mark counts how many of its messages have left the queue for good; so it goes when nobody of
 * them is there any more, and so the oldest message that is still there is known, wherever it is.
 *
 * Times are those of times.h, but may lie before the broker began: then they are negative. */
#ifndef BOURSE_QUEUES_ARRIVAL_MARKS_H
#define BOURSE_QUEUES_ARRIVAL_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ARRIVAL_MARKS_FIRST = 8,  /* places that the first table has */
    ARRIVAL_MARKS_MAX = 2048, /* and the largest: ten years in steps of 2 % are 1,100 */
};

struct arrival_mark {
    uint64_t position; /* of its first message; the next mark begins behind its last */
    int64_t earliest_ms, latest_ms;
    int64_t gone_count; /* of its messages: that have left for good */
};

/* All zero: nothing has come yet. */
struct arrival_marks {
    struct arrival_mark newest; /* position 0: nothing has come yet */
    struct arrival_mark *older; /* by position; owned; NULL: none */
    uint32_t older_count, older_capacity;
    struct arrival_mark *found; /* where the last search ended */
    uint64_t found_count;       /* its positions; INT64_MAX: all from its first on */
    uint32_t search_count;      /* since marks that are of no use were looked for */
};

/* Knows no time and no message: whoever looks whether it was at this time, or whether a message is
 * one of those that were found, is told that it was not. */
static inline void
arrival_marks_init(struct arrival_marks *marks)
{
    *marks = (struct arrival_marks){.newest.latest_ms = INT64_MIN, .found = &marks->newest};
}

void arrival_marks_fini(struct arrival_marks *marks);

/* Moves all of them to `to`, which is all zero; `from` is as after arrival_marks_init, and nothing
 * comes into it any more. */
void arrival_marks_move(struct arrival_marks *from, struct arrival_marks *to);

/* Octets of memory beside the struct. */
static inline size_t
arrival_marks_bytes(const struct arrival_marks *marks)
{
    return marks->older_capacity * sizeof(*marks->older);
}

/* A message came at another time than the last one. Without memory, times become less exact. */
void arrival_marks_add(struct arrival_marks *marks, uint64_t position, int64_t now_ms);

/* A message came. Positions rise by one. */
static inline void
arrival_marks_note(struct arrival_marks *marks, uint64_t position, int64_t now_ms)
{
    if (marks->newest.latest_ms != now_ms || marks->newest.position == 0) {
        arrival_marks_add(marks, position, now_ms);
    }
}

/* The mark of a message that is there; of one that is older than all marks, the oldest. May free
 * memory. */
struct arrival_mark *arrival_marks_search(struct arrival_marks *marks, uint64_t position);
static inline struct arrival_mark *
arrival_marks_find(struct arrival_marks *marks, uint64_t position)
{
    return position - marks->found->position < marks->found_count
               ? marks->found
               : arrival_marks_search(marks, position);
}

/* A message that is there has left for good; or a message that had left is there again. */
static inline void
arrival_marks_take(struct arrival_marks *marks, uint64_t position)
{
    arrival_marks_find(marks, position)->gone_count++;
}
static inline void
arrival_marks_bring_back(struct arrival_marks *marks, uint64_t position)
{
    arrival_marks_find(marks, position)->gone_count--;
}

/* Messages were lost, nobody knows which, from `position` on. */
void arrival_marks_lose(struct arrival_marks *marks, uint64_t position, uint64_t count);

/* All messages have left but `kept_count` of those below `position`; the next that comes is at
 * `end`. */
void arrival_marks_purge(struct arrival_marks *marks, uint64_t position, uint64_t end,
                         uint64_t kept_count);

/* When it came, as far as is known. */
static inline int64_t
arrival_mark_ms(const struct arrival_mark *mark)
{
    return mark->earliest_ms + (mark->latest_ms - mark->earliest_ms) / 2;
}
int64_t arrival_marks_ms(const struct arrival_marks *marks, uint64_t position);

/* Which of the marks, counted from the oldest one, which is 0, counts the message. */
uint32_t arrival_marks_place(const struct arrival_marks *marks, uint64_t position);

/* Walks the marks from the oldest on, and ends with NULL; `end_out` is the position behind the
 * mark's last message, UINT64_MAX: it is the newest. */
const struct arrival_mark *arrival_marks_next(const struct arrival_marks *marks, uint32_t *at,
                                              uint64_t *end_out);

/* How many messages they count that are there, if the next that comes is at `end`. */
int64_t arrival_marks_living(const struct arrival_marks *marks, uint64_t end);

/* Asserts that the marks are in order, if the next message that comes is at `end`. For tests. */
void arrival_marks_check(const struct arrival_marks *marks, uint64_t end);

#endif
