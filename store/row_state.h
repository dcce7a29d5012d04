/* SPDX-License-Identifier: Apache-2.0 */
/* What the log keeps of one message in one queue beyond that it is there: until when it waits, when
 * it expires, how often it was delivered, which way that ended, where it stands by priority. Most
 * rows have none of it, and then nothing of it is written. Times are wall clock, milliseconds since
 * 1970: a recovery takes them as they are and reads no clock. */
#ifndef BOURSE_STORE_ROW_STATE_H
#define BOURSE_STORE_ROW_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

/* How the last delivery ended that was no acknowledgement. */
enum row_verdict {
    ROW_VERDICT_NONE,
    ROW_VERDICT_NACK,
    ROW_VERDICT_REJECT,
    ROW_VERDICT_LOST,    /* with its channel or connection */
    ROW_VERDICT_TIMEOUT, /* the consumer was too slow */
};

/* What a verdict that there is is called, in headers and in a dump. */
static inline const char *
row_verdict_name(uint8_t verdict)
{
    static const char *const names[] = {
        [ROW_VERDICT_NONE] = "none",       [ROW_VERDICT_NACK] = "nack",
        [ROW_VERDICT_REJECT] = "reject",   [ROW_VERDICT_LOST] = "lost",
        [ROW_VERDICT_TIMEOUT] = "timeout",
    };
    assert(verdict <= ROW_VERDICT_TIMEOUT);
    return names[verdict];
}

struct row_state {
    uint64_t due_ms;         /* it waits until then (delayed, or between retries); 0: it does not */
    uint64_t deadline_ms;    /* it expires then; 0: never */
    uint64_t arrival_ms;     /* of the message, where its batch does not tell: it was published
                                anew or was here before; 0: it came with its batch */
    uint32_t delivery_count; /* deliveries that count against a limit */
    uint32_t acquired_count; /* all deliveries */
    uint8_t verdict;         /* of enum row_verdict */
    uint8_t priority;        /* level, less that of a message without the property, modulo 256 */
};

static inline bool
row_state_equals(const struct row_state *a, const struct row_state *b)
{
    return a->due_ms == b->due_ms && a->deadline_ms == b->deadline_ms &&
           a->arrival_ms == b->arrival_ms && a->delivery_count == b->delivery_count &&
           a->acquired_count == b->acquired_count && a->verdict == b->verdict &&
           a->priority == b->priority;
}

/* Nothing is known beyond that the message is there. */
static inline bool
row_state_is_empty(const struct row_state *state)
{
    static const struct row_state empty;
    return row_state_equals(state, &empty);
}

/* Whether a disk may have given it: times that are times, a verdict that there is. */
static inline bool
row_state_is_right(const struct row_state *state)
{
    return ((state->due_ms | state->deadline_ms | state->arrival_ms) >> 63) == 0 &&
           state->verdict <= ROW_VERDICT_TIMEOUT;
}

#endif
