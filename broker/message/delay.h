/* SPDX-License-Identifier: Apache-2.0 */
/* How long a message asks to be held back, in its headers: `x-delay`, milliseconds from when it was
 * published, and `x-deliver-at`, milliseconds since 1970. Where both are given the later counts.
 * Only an exchange of the type x-delayed-message heeds them. */
#ifndef BOURSE_BROKER_MESSAGE_DELAY_H
#define BOURSE_BROKER_MESSAGE_DELAY_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

/* Ten years: the longest time that a message is held back, or that RabbitMQ lets it live. */
static const uint64_t DELAY_MS_MAX = UINT64_C(315360000000);

/* `headers` is a validated table body. Integers of any width count, and what clients write for
 * them: floats, cut, and decimal digits. 0: at once, which is what a time that is over means, and
 * nothing at all (V) as well. STATUS_FAULT: 406, something else, or longer than DELAY_MS_MAX, which
 * `*delay_ms_out` is then. */
MUST_CHECK enum status delay_read(struct bytes headers, int64_t wall_ms, uint64_t *delay_ms_out,
                                  struct fault *fault);

#endif
