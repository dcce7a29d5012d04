/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message that a consumer failed on waits before it is tried again. Pure. */
#ifndef BOURSE_QUEUES_RETRY_H
#define BOURSE_QUEUES_RETRY_H

#include "queues/retry_settings.h"

/* Ten years: no wait is longer, whatever `max_ms` says. */
#define RETRY_DELAY_MS_MAX UINT64_C(315360000000)

/* The wait after failure `number` (the first is 1), in ms: min(max, first x multiplier^(number-1)),
 * without a multiplier min(max, first x number), and then the jitter, which varies that by so many
 * percent either way or, if it is full, picks anything between 0 and that. So with a jitter in
 * percent a wait may be longer than `max_ms`.
 *
 * Without a first delay nothing waits: 0. Without `max_ms`, and where it is larger, the bound is
 * RETRY_DELAY_MS_MAX; a `max_ms` below the first delay bounds that, too. `random` is 64 random
 * bits, which are all that the result depends on beside the rest. */
uint64_t retry_delay_ms(const struct retry_settings *settings, uint32_t number, uint64_t random);

/* Whether a message that came back waits: `is_counted` says that its delivery count went up. */
bool retry_waits(const struct retry_settings *settings, bool is_counted);

/* As clients read it: "nack", "reject", "lost", "timeout". Static memory. */
const char *retry_verdict_name(enum retry_verdict verdict);

#endif
