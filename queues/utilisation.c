/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/utilisation.h"

void
utilisation_begin(struct utilisation *utilisation, int64_t now_ms)
{
    *utilisation = (struct utilisation){.began_ms = now_ms, .since_ms = now_ms};
}

static int64_t
at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

/* Counts up to now. A window that is long enough becomes the one before; of one that is too long
 * only the end counts, in which nothing has changed since `since_ms`. */
static void
count_up_to(struct utilisation *utilisation, int64_t now_ms)
{
    enum { LONGEST_MS = 2 * UTILISATION_WINDOW_MS };
    int64_t window_ms = now_ms - utilisation->began_ms;
    int64_t same_ms = now_ms - utilisation->since_ms;
    int64_t blocked_ms = utilisation->blocked_ms;
    if (utilisation->is_blocked) {
        blocked_ms += same_ms;
    } else if (window_ms > LONGEST_MS) {
        blocked_ms = at_most(blocked_ms, LONGEST_MS - at_most(same_ms, LONGEST_MS));
    }
    utilisation->since_ms = now_ms;
    if (window_ms < UTILISATION_WINDOW_MS) {
        utilisation->blocked_ms = (uint32_t)blocked_ms;
        return;
    }
    utilisation->last_ms = (uint32_t)at_most(window_ms, LONGEST_MS);
    utilisation->last_blocked = (uint32_t)at_most(blocked_ms, utilisation->last_ms);
    utilisation->blocked_ms = 0;
    utilisation->began_ms = now_ms;
}

void
utilisation_block(struct utilisation *utilisation, bool is_blocked, int64_t now_ms)
{
    if (utilisation->is_blocked != is_blocked) {
        count_up_to(utilisation, now_ms);
        utilisation->is_blocked = is_blocked;
    }
}

double
utilisation_read(const struct utilisation *utilisation, int64_t now_ms)
{
    struct utilisation now = *utilisation;
    count_up_to(&now, now_ms);
    int64_t ms = (int64_t)now.last_ms + (now_ms - now.began_ms);
    uint64_t blocked_ms = (uint64_t)now.last_blocked + now.blocked_ms;
    return ms <= 0 ? 1 : 1 - (double)blocked_ms / (double)ms;
}
