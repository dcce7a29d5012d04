/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a message that a consumer failed on: how long it waits before it is offered
 * again, which failures count, and until when it is tried. */
#ifndef BOURSE_QUEUES_RETRY_SETTINGS_H
#define BOURSE_QUEUES_RETRY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* Which returned messages wait: all, those whose delivery count went up, those whose did not. */
enum retry_type { RETRY_DISABLED, RETRY_ALL, RETRY_FAILED, RETRY_RETURNED };

/* Whether others may pass a message that waits. */
enum retry_order { RETRY_ORDER_FREE, RETRY_ORDER_HOLD };

/* How a delivery failed; those that count are a set of them. */
enum retry_verdict {
    RETRY_NO_VERDICT = 0, /* it ended, and nobody says that it failed */
    RETRY_NACK = 1 << 0,
    RETRY_REJECT = 1 << 1,
    RETRY_LOST = 1 << 2,
    RETRY_TIMEOUT = 1 << 3,
    RETRY_ANY_VERDICT = RETRY_NACK | RETRY_REJECT | RETRY_LOST | RETRY_TIMEOUT,
};

struct retry_jitter {
    uint8_t percent; /* the delay varies by so much either way */
    bool is_full;    /* anything between 0 and the delay */
};

/* Times in ms, -1: not given. `max_ms` bounds every delay, also where a policy has made it less
 * than `min_ms`. */
struct retry_settings {
    enum retry_type type;
    enum retry_order order;
    int64_t min_ms;
    int64_t max_ms;
    int64_t max_age_ms;
    double multiplier; /* from one failure to the next; 0: not given, the delay grows linearly */
    struct retry_jitter jitter;
    uint8_t counts; /* of enum retry_verdict */
};

#endif
