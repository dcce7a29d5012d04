/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sampled_rates.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

struct sampled_rates {
    uint64_t looked_ms; /* when the counters were these */
    struct {
        uint64_t counter;
        double rate; /* a second, before that */
    } of[];
};

/* A life shorter than a step counts as one: a few messages are no thousands a second. */
static double
rate_of(uint64_t risen, uint64_t elapsed_ms)
{
    uint64_t ms = elapsed_ms < SAMPLED_RATES_STEP_MS ? SAMPLED_RATES_STEP_MS : elapsed_ms;
    return (double)risen * 1000 / (double)ms;
}

static void
look_again(struct sampled_rates *sampled, const uint64_t *counters, uint32_t count, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - sampled->looked_ms;
    if (elapsed_ms < SAMPLED_RATES_STEP_MS) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        sampled->of[i].rate = rate_of(counters[i] - sampled->of[i].counter, elapsed_ms);
        sampled->of[i].counter = counters[i];
    }
    sampled->looked_ms = now_ms;
}

void
sampled_rates_look(struct sampled_rates **place, const uint64_t *counters, uint32_t count,
                   uint64_t now_ms, uint64_t lived_ms, double *rates_out)
{
    struct sampled_rates *sampled = *place;
    assert(count <= SAMPLED_RATES_MAX);
    if (sampled != NULL) {
        look_again(sampled, counters, count, now_ms);
        for (uint32_t i = 0; i < count; i++) {
            rates_out[i] = sampled->of[i].rate;
        }
        return;
    }
    *place = sampled = try_alloc(sizeof(*sampled) + count * sizeof(sampled->of[0]));
    for (uint32_t i = 0; i < count; i++) {
        rates_out[i] = rate_of(counters[i], lived_ms);
        if (sampled != NULL) {
            sampled->looked_ms = now_ms;
            sampled->of[i].counter = counters[i];
            sampled->of[i].rate = rates_out[i];
        }
    }
}

void
sampled_rates_free(struct sampled_rates **place)
{
    free(*place);
    *place = NULL;
}
