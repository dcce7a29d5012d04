/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/retry.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/random.h"
#include "queues/settings.h"

/* The random bits that stand for the least, the middle and nearly the largest value. */
static const uint64_t LEAST = 0;
static const uint64_t MIDDLE = UINT64_C(1) << 63;
static const uint64_t LARGEST = UINT64_MAX;

static struct retry_settings
settings_of(int64_t min_ms, int64_t max_ms, double multiplier)
{
    struct retry_settings settings = queue_settings_default()->retry;
    settings.type = RETRY_ALL;
    settings.min_ms = min_ms;
    settings.max_ms = max_ms;
    settings.multiplier = multiplier;
    return settings;
}

/* product: min(max, first x factor^(n-1)); without a factor it grows linearly, as in RabbitMQ. */
Test(retry, a_delay_grows_with_each_failure_up_to_its_bound)
{
    static const struct {
        int64_t min_ms, max_ms;
        double multiplier; /* 0: none */
        uint32_t number;
        uint64_t delay_ms;
    } rows[] = {
        {2000, 300000, 2, 1, 2000},
        {2000, 300000, 2, 2, 4000},
        {2000, 300000, 2, 8, 256000},
        {2000, 300000, 2, 9, 300000},
        {500, 30000, 3, 1, 500},
        {500, 30000, 3, 4, 13500},
        {500, 30000, 3, 5, 30000},
        {100, 10000, 1.5, 3, 225},
        {700, 100000, 1, 1, 700},
        {700, 100000, 1, 50, 700},
        {1000, 5000, 0, 1, 1000},
        {1000, 5000, 0, 4, 4000},
        {1000, 5000, 0, 6, 5000},
        /* A policy may have made the bound less than the first delay. */
        {1000, 300, 2, 1, 300},
        {1000, 300, 0, 1, 300},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct retry_settings settings =
            settings_of(rows[i].min_ms, rows[i].max_ms, rows[i].multiplier);
        cr_expect(eq(u64, retry_delay_ms(&settings, rows[i].number, LARGEST), rows[i].delay_ms),
                  "row %zu", i);
    }
}

Test(retry, without_a_first_delay_nothing_waits)
{
    struct retry_settings settings = settings_of(-1, 5000, 2);
    cr_expect(eq(u64, retry_delay_ms(&settings, 1, MIDDLE), 0));
    cr_expect(eq(u64, retry_delay_ms(&settings, 7, MIDDLE), 0));
}

Test(retry, without_a_bound_a_delay_grows_up_to_ten_years)
{
    struct retry_settings settings = settings_of(1000, -1, 2);
    cr_expect(eq(u64, retry_delay_ms(&settings, 20, MIDDLE), UINT64_C(1000) << 19));
    cr_expect(eq(u64, retry_delay_ms(&settings, 60, MIDDLE), RETRY_DELAY_MS_MAX));
    settings.max_ms = INT64_MAX;
    cr_expect(eq(u64, retry_delay_ms(&settings, 60, MIDDLE), RETRY_DELAY_MS_MAX));
}

/* Counts go as far as 32 bits do, and multipliers are any number from 1 on. */
Test(retry, no_count_and_no_multiplier_makes_it_overflow)
{
    static const double multipliers[] = {0, 1, 1.0000001, 2, 1e9, 1e300, __builtin_inf()};
    static const uint32_t numbers[] = {1, 2, 64, 1000000, UINT32_C(1) << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof(multipliers) / sizeof(multipliers[0]); i++) {
        for (size_t j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
            struct retry_settings settings = settings_of(INT64_C(315360000000), -1, multipliers[i]);
            uint64_t delay_ms = retry_delay_ms(&settings, numbers[j], LARGEST);
            cr_expect(eq(u64, delay_ms, RETRY_DELAY_MS_MAX));
            settings = settings_of(1, 60000, multipliers[i]);
            delay_ms = retry_delay_ms(&settings, numbers[j], LARGEST);
            cr_expect(ge(u64, delay_ms, 1));
            cr_expect(le(u64, delay_ms, 60000));
        }
    }
}

/* The bound comes before the jitter: with 20 % a wait of at most 5 s takes up to 6 s. */
Test(retry, jitter_in_percent_varies_the_bounded_delay_either_way)
{
    static const struct {
        uint8_t percent;
        uint64_t random;
        uint64_t delay_ms;
    } rows[] = {
        {0, 0, 5000},    {20, LEAST, 4000},   {20, MIDDLE, 5000},    {20, LARGEST, 6000},
        {100, LEAST, 0}, {100, MIDDLE, 5000}, {100, LARGEST, 10000}, {50, MIDDLE / 2, 3750},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct retry_settings settings = settings_of(1000, 5000, 2);
        settings.jitter.percent = rows[i].percent;
        cr_expect(eq(u64, retry_delay_ms(&settings, 9, rows[i].random), rows[i].delay_ms),
                  "row %zu", i);
    }
}

Test(retry, full_jitter_is_anything_between_nothing_and_the_delay)
{
    struct retry_settings settings = settings_of(500, 30000, 3);
    settings.jitter.is_full = true;
    cr_expect(eq(u64, retry_delay_ms(&settings, 2, LEAST), 0));
    cr_expect(eq(u64, retry_delay_ms(&settings, 2, MIDDLE), 750));
    cr_expect(eq(u64, retry_delay_ms(&settings, 2, LARGEST), 1500));
    uint64_t seed = 5;
    struct random_source source = random_seeded(&seed);
    uint64_t sum_ms = 0;
    for (int i = 0; i < 10000; i++) {
        sum_ms += retry_delay_ms(&settings, 2, random_u64(&source));
    }
    cr_expect(ge(u64, sum_ms / 10000, 730));
    cr_expect(le(u64, sum_ms / 10000, 770));
}

Test(retry, the_type_says_which_returned_messages_wait)
{
    static const struct {
        enum retry_type type;
        bool counted_waits, uncounted_waits;
    } rows[] = {
        {RETRY_DISABLED, false, false},
        {RETRY_ALL, true, false},
        {RETRY_FAILED, true, false},
        {RETRY_RETURNED, false, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct retry_settings settings = {.type = rows[i].type};
        cr_expect(eq(int, retry_waits(&settings, true), rows[i].counted_waits));
        cr_expect(eq(int, retry_waits(&settings, false), rows[i].uncounted_waits));
    }
}

Test(retry, verdicts_have_the_names_that_clients_read)
{
    cr_expect(eq(str, (char *)retry_verdict_name(RETRY_NACK), "nack"));
    cr_expect(eq(str, (char *)retry_verdict_name(RETRY_REJECT), "reject"));
    cr_expect(eq(str, (char *)retry_verdict_name(RETRY_LOST), "lost"));
    cr_expect(eq(str, (char *)retry_verdict_name(RETRY_TIMEOUT), "timeout"));
}
