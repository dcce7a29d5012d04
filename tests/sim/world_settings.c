/* SPDX-License-Identifier: Apache-2.0 */
/* What the queues of a world do: drawn by their names, so that one that is declared again is as it
 * was, and where policies govern by the generation of those. */
#include <stdio.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "tests/sim/world.h"

/* Of a draw for that queue; `what` tells draws of it apart. */
static struct dice
dice_of(const struct world *world, uint32_t name, uint32_t what)
{
    uint64_t generation = world_is_governed(world, name) ? world->generation : 0;
    return (struct dice){.state = dice_mix(world->seed * 64 + name + what + (generation << 40))};
}

bool
world_is_quorum(const struct world *world, uint32_t name)
{
    return (world->habits.quorum_mask >> name & 1) != 0;
}

bool
world_is_governed(const struct world *world, uint32_t name)
{
    return (world->habits.governed_mask >> name & 1) != 0;
}

bool
world_is_single_active(const struct world *world, uint32_t name)
{
    struct dice dice = {.state = dice_mix(world->seed * 64 + name + 97)};
    return dice_chance(&dice, world->habits.single_permille);
}

/* Every second queue heeds them, by its name. */
uint8_t
world_level_max(const struct world *world, uint32_t name)
{
    enum { QUORUM_MAX = 31 };
    struct dice dice = {.state = dice_mix(world->seed * 64 + name + 49)};
    bool has_levels = world->habits.level_max > 0 && dice_below(&dice, 2) == 0;
    if (world_is_quorum(world, name)) {
        return QUORUM_MAX;
    }
    return has_levels ? (uint8_t)(1 + dice_below(&dice, world->habits.level_max)) : 0;
}

uint64_t
world_expires_ms(const struct world *world, uint32_t name)
{
    struct dice dice = {.state = dice_mix(world->seed * 64 + name + 65)};
    return dice_chance(&dice, world->habits.expires_permille) ? 500 + dice_below(&dice, 4000)
                                                              : UINT64_MAX;
}

/* What is not always used. */
static void
draw_all_of_retry(struct history_retry *retry, struct dice *dice)
{
    static const uint8_t types[] = {HISTORY_RETRIES_COUNTED, HISTORY_RETRIES_COUNTED,
                                    HISTORY_RETRIES_UNCOUNTED, HISTORY_RETRIES_NOTHING};
    static const uint8_t jitters[] = {0, 20, 100, HISTORY_JITTER_FULL};
    static const uint8_t factors[] = {0, 1, 2, 3};
    static const int64_t ages_ms[] = {-1, -1, 300, 3000};
    retry->type = types[dice_below(dice, ARRAY_LEN(types))];
    retry->jitter = jitters[dice_below(dice, ARRAY_LEN(jitters))];
    retry->factor = factors[dice_below(dice, ARRAY_LEN(factors))];
    retry->max_age_ms = ages_ms[dice_below(dice, ARRAY_LEN(ages_ms))];
    retry->holds = dice_below(dice, 3) == 0;
    uint32_t verdicts = 1 + dice_below(dice, HISTORY_ANY_VERDICT / 2);
    verdicts |= retry->factor % 2 == 0 ? HISTORY_TIMED_OUT : 0;
    retry->verdicts = dice_below(dice, 2) == 0 ? HISTORY_ANY_VERDICT : (uint8_t)verdicts;
}

static struct history_retry
draw_retry(const struct world *world, uint32_t name)
{
    static const int64_t limits[] = {-1, 0, 1, 2, 5};
    static const uint64_t delays_ms[] = {0, 20, 200, 1000};
    enum { QUORUM_LIMIT = 20 };
    struct dice dice = dice_of(world, name, 17);
    bool is_counting = (world->habits.counting_mask >> name & 1) != 0;
    struct history_retry retry = {
        .limit = world_is_quorum(world, name) && !is_counting ? QUORUM_LIMIT : -1,
        .counts = is_counting || world_is_quorum(world, name) || world_is_governed(world, name),
        .verdicts = HISTORY_ANY_VERDICT,
        .max_age_ms = -1,
    };
    if (dice_chance(&dice, world->habits.retry_permille)) {
        retry.counts = true;
        retry.limit = limits[dice_below(&dice, ARRAY_LEN(limits))];
        retry.first_ms = delays_ms[dice_below(&dice, ARRAY_LEN(delays_ms))];
        retry.max_ms = retry.first_ms * 3;
        retry.jitter = dice_below(&dice, 3) == 0 ? HISTORY_JITTER_FULL : 0;
        if (world->habits.has_all_retries) {
            draw_all_of_retry(&retry, &dice);
        }
    }
    return retry;
}

static struct history_limit
draw_limit(const struct world *world, uint32_t name)
{
    struct dice dice = dice_of(world, name, 1);
    struct history_limit limit = {.length_max = UINT64_MAX, .bytes_max = UINT64_MAX};
    if (world->habits.overflow_max == HISTORY_TAKES_ALL ||
        !dice_chance(&dice, world->habits.limited_permille)) {
        return limit;
    }
    limit.overflow = world->habits.overflow_max == HISTORY_REFUSES && dice_below(&dice, 2) == 0
                         ? HISTORY_REFUSES
                         : HISTORY_DROPS;
    limit.buries = limit.overflow == HISTORY_REFUSES && world->habits.buries && name % 2 == 0;
    uint32_t which = dice_below(&dice, 3);
    limit.length_max = which != 0 ? dice_below(&dice, 40) : UINT64_MAX;
    limit.bytes_max = which != 1 ? dice_below(&dice, 4000) : UINT64_MAX;
    return limit;
}

/* A time to live that waits with a delayed message is not changed meanwhile. */
static uint64_t
draw_ttl_ms(const struct world *world, uint32_t name)
{
    struct dice dice = dice_of(world, name, 33);
    static const uint32_t limits[] = {1, 60, 400, 3000};
    if (world_is_governed(world, name) && world->habits.delayed_permille > 0) {
        return UINT64_MAX;
    }
    return dice_chance(&dice, world->habits.ttl_permille)
               ? dice_below(&dice, limits[dice_below(&dice, 4)])
               : UINT64_MAX;
}

/* The queue behind it in the ring, if it has dead letters. */
static uint32_t
draw_dead_letter_name(const struct world *world, uint32_t name)
{
    const struct habits *habits = &world->habits;
    struct dice dice = dice_of(world, name, 81);
    bool has_dead_letters = (habits->dead_letter_mask >> name & 1) != 0;
    if (world_is_governed(world, name)) {
        has_dead_letters = has_dead_letters && dice_below(&dice, 3) != 0;
    }
    return has_dead_letters ? (name + 1) % habits->queue_names : HISTORY_NONE;
}

/* How long deliveries of it may be open. */
static uint64_t
draw_timeout_ms(const struct world *world, uint32_t name)
{
    static const uint64_t timeouts_ms[] = {50, 300, 1500, 5000};
    struct dice dice = dice_of(world, name, 113);
    return dice_chance(&dice, world->habits.timeout_permille)
               ? timeouts_ms[dice_below(&dice, ARRAY_LEN(timeouts_ms))]
               : 0;
}

static uint32_t
draw_release_rate(const struct world *world, uint32_t name)
{
    static const uint32_t rates[] = {1, 5, 20, HISTORY_RATE_MAX};
    struct dice dice = dice_of(world, name, 129);
    return dice_chance(&dice, world->habits.paced_permille)
               ? rates[dice_below(&dice, ARRAY_LEN(rates))]
               : 0;
}

struct history_settings
world_settings(const struct world *world, uint32_t name)
{
    return (struct history_settings){
        .limit = draw_limit(world, name),
        .retry = draw_retry(world, name),
        .ttl_ms = draw_ttl_ms(world, name),
        .timeout_ms = draw_timeout_ms(world, name),
        .release_rate = draw_release_rate(world, name),
        .dead_letter_name = draw_dead_letter_name(world, name),
    };
}

/* As the broker reads it ----------------------------------------------------------------------- */

/* A table of arguments, or of keys of a policy, which lack the "x-". */
struct table {
    struct buffer *out;
    size_t skip;
};

static void
put_number(const struct table *table, const char *name, int64_t value)
{
    table_put_integer(table->out, name + table->skip, value);
}

static void
put_text(const struct table *table, const char *name, const char *text)
{
    table_put_text(table->out, name + table->skip, bytes_of(text));
}

static void
put_limit(const struct table *table, const struct history_limit *limit)
{
    if (limit->length_max != UINT64_MAX) {
        put_number(table, "x-max-length", (int64_t)limit->length_max);
    }
    if (limit->bytes_max != UINT64_MAX) {
        put_number(table, "x-max-length-bytes", (int64_t)limit->bytes_max);
    }
    if (limit->overflow == HISTORY_REFUSES) {
        put_text(table, "x-overflow", limit->buries ? "reject-publish-dlx" : "reject-publish");
    }
}

static void
put_dead_letters(const struct table *table, uint32_t dead_letter_name)
{
    if (dead_letter_name != HISTORY_NONE) {
        put_text(table, "x-dead-letter-exchange", "");
        put_text(table, "x-dead-letter-routing-key", sim_queue_name(dead_letter_name));
    }
}

static void
put_delays(const struct table *table, const struct history_retry *retry)
{
    static const char *const types[] = {
        [HISTORY_RETRIES_COUNTED] = "failed",
        [HISTORY_RETRIES_UNCOUNTED] = "returned",
        [HISTORY_RETRIES_NOTHING] = "disabled",
    };
    put_number(table, "x-delayed-retry-min", (int64_t)retry->first_ms);
    put_number(table, "x-delayed-retry-max", (int64_t)retry->max_ms);
    if (retry->type != HISTORY_RETRIES_COUNTED || retry->factor % 2 == 1) {
        put_text(table, "x-delayed-retry-type", types[retry->type]); /* by default "all" */
    }
    if (retry->factor > 0) {
        put_number(table, "x-delayed-retry-multiplier", retry->factor);
    }
    if (retry->jitter == HISTORY_JITTER_FULL) {
        put_text(table, "x-delayed-retry-jitter", "full");
    } else if (retry->jitter > 0) {
        put_number(table, "x-delayed-retry-jitter", retry->jitter);
    }
}

static void
put_verdicts(const struct table *table, uint8_t verdicts)
{
    static const char *const names[] = {"nack", "reject", "lost", "timeout"};
    char text[32] = "";
    size_t size = 0;
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++) {
        if ((verdicts >> i & 1) != 0) {
            size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", size > 0 ? "," : "",
                                     names[i]);
        }
    }
    put_text(table, "x-delayed-retry-counts", text);
}

static void
put_retry(const struct table *table, const struct history_retry *retry, bool says_limit)
{
    if (says_limit) {
        put_number(table, "x-delivery-limit", retry->limit);
    }
    if (retry->first_ms > 0) {
        put_delays(table, retry);
    }
    if (retry->max_age_ms >= 0) {
        put_number(table, "x-delayed-retry-max-age", retry->max_age_ms);
    }
    if (retry->verdicts != HISTORY_ANY_VERDICT) {
        put_verdicts(table, retry->verdicts);
    }
    if (retry->holds) {
        put_text(table, "x-delayed-retry-order", "hold");
    }
}

static void
put_settings(const struct table *table, const struct history_settings *settings, bool says_limit)
{
    put_limit(table, &settings->limit);
    if (settings->ttl_ms != UINT64_MAX) {
        put_number(table, "x-message-ttl", (int64_t)settings->ttl_ms);
    }
    if (settings->release_rate != 0) {
        put_number(table, "x-release-rate", settings->release_rate);
    }
    if (settings->timeout_ms != 0) {
        put_number(table, "x-consumer-timeout", (int64_t)settings->timeout_ms);
    }
    put_dead_letters(table, settings->dead_letter_name);
    put_retry(table, &settings->retry, says_limit);
}

void
world_put_policy(const struct world *world, uint32_t name, struct buffer *definition)
{
    struct table table = {.out = definition, .skip = strlen("x-")};
    struct history_settings settings = world_settings(world, name);
    put_settings(&table, &settings, true);
}

/* A quorum queue has a limit of its own where nobody says another. */
static bool
says_limit(const struct world *world, uint32_t name, const struct history_retry *retry)
{
    enum { QUORUM_LIMIT = 20 };
    return retry->counts && !(world_is_quorum(world, name) && retry->limit == QUORUM_LIMIT);
}

void
world_put_arguments(const struct world *world, uint32_t name, struct buffer *arguments)
{
    struct table table = {.out = arguments};
    struct history_settings settings = world_settings(world, name);
    uint64_t expires_ms = world_expires_ms(world, name);
    if (!world_is_governed(world, name)) {
        put_settings(&table, &settings, says_limit(world, name, &settings.retry));
    }
    if (expires_ms != UINT64_MAX) {
        put_number(&table, "x-expires", (int64_t)expires_ms);
    }
    if (world_is_single_active(world, name)) {
        table_put_boolean(table.out, "x-single-active-consumer", true);
    }
    if (world_is_quorum(world, name)) {
        put_text(&table, "x-queue-type", "quorum");
    } else if (world_level_max(world, name) > 0) {
        put_number(&table, "x-max-priority", world_level_max(world, name));
    }
}
