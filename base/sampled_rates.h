/* SPDX-License-Identifier: Apache-2.0 */
/* How fast counters rise that nobody follows while they do: what they were is kept when somebody
 * looks, and the next look, a second later or more, says what happened in between. Counting costs
 * what it did before, and an object that nobody looks at has no memory for it. */
#ifndef BOURSE_BASE_SAMPLED_RATES_H
#define BOURSE_BASE_SAMPLED_RATES_H

#include <stdint.h>

enum { SAMPLED_RATES_MAX = 20, SAMPLED_RATES_STEP_MS = 1000 };

struct sampled_rates;

/* Puts into `rates_out`, for each of `count` counters, how much it rose in a second since the last
 * look that was at least SAMPLED_RATES_STEP_MS ago; for the first look since it was 0, `lived_ms`
 * ago. The counters are the same ones in every call for `*place`, which belongs to their owner and
 * is NULL at the beginning; for want of memory it stays so, and the rate is always that of the
 * whole life. `now_ms` is monotonic. */
void sampled_rates_look(struct sampled_rates **place, const uint64_t *counters, uint32_t count,
                        uint64_t now_ms, uint64_t lived_ms, double *rates_out);

void sampled_rates_free(struct sampled_rates **place);

#endif
