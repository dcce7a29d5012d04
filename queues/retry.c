/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/retry.h"

#include "base/assert.h"

/* What delays count as, so that none overflows: a double holds each of them exactly. */
static double
cap_of(const struct retry_settings *settings)
{
    bool is_bounded = settings->max_ms >= 0 && (uint64_t)settings->max_ms < RETRY_DELAY_MS_MAX;
    return is_bounded ? (double)settings->max_ms : (double)RETRY_DELAY_MS_MAX;
}

/* `delay` x `factor`^`exponent`, or `cap` if that is less. `factor` is at least 1. */
static double
grow(double delay, double factor, uint32_t exponent, double cap)
{
    while (exponent > 0 && delay < cap) {
        if ((exponent & 1) != 0) {
            delay *= factor;
        }
        exponent >>= 1;
        factor = factor < cap ? factor * factor : factor;
    }
    return delay < cap ? delay : cap;
}

static double
bounded_delay(const struct retry_settings *settings, uint32_t number)
{
    double first = (double)settings->min_ms;
    double cap = cap_of(settings);
    if (settings->multiplier >= 1.0) {
        return grow(first, settings->multiplier, number - 1, cap);
    }
    double delay = first * (double)number;
    return delay < cap ? delay : cap;
}

/* From 0 on, below 1. */
static double
fraction_of(uint64_t random)
{
    return (double)(random >> 11) * 0x1.0p-53;
}

static double
spread(double delay, const struct retry_jitter *jitter, double fraction)
{
    if (jitter->is_full) {
        return delay * fraction;
    }
    double width = delay * (double)jitter->percent / 100.0;
    return delay - width + 2.0 * width * fraction;
}

uint64_t
retry_delay_ms(const struct retry_settings *settings, uint32_t number, uint64_t random)
{
    assert(number > 0);
    if (settings->min_ms < 0) {
        return 0;
    }
    double delay = spread(bounded_delay(settings, number), &settings->jitter, fraction_of(random));
    double rounded = delay + 0.5;
    return rounded < (double)RETRY_DELAY_MS_MAX ? (uint64_t)rounded : RETRY_DELAY_MS_MAX;
}

bool
retry_waits(const struct retry_settings *settings, bool is_counted)
{
    switch (settings->type) {
    case RETRY_ALL:
    case RETRY_FAILED:
        return is_counted;
    case RETRY_RETURNED:
        return !is_counted;
    case RETRY_DISABLED:
        break;
    }
    return false;
}

const char *
retry_verdict_name(enum retry_verdict verdict)
{
    switch (verdict) {
    case RETRY_NACK:
        return "nack";
    case RETRY_REJECT:
        return "reject";
    case RETRY_LOST:
        return "lost";
    case RETRY_TIMEOUT:
        return "timeout";
    case RETRY_NO_VERDICT:
    case RETRY_ANY_VERDICT:
        break;
    }
    assert(verdict == RETRY_NACK); /* none of them */
    return "";
}
