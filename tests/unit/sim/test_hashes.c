/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of exchanges that give a message to one of several queues: what is wrong is fabricated
 * here, and found. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct history history;
static uint32_t exchange;
static uint32_t queues[3];

static const struct history_limit NO_LIMIT = {.length_max = UINT64_MAX, .bytes_max = UINT64_MAX};
static const struct history_span ALWAYS = {0, 0};

static void
make(enum history_kind kind)
{
    exchange = history_make_exchange(&history, 3, kind, true, ALWAYS);
    for (uint32_t i = 0; i < 3; i++) {
        queues[i] = history_make_queue(&history, i, 7 + i, true, NO_LIMIT, ALWAYS);
    }
    (void)history_bind(&history, exchange, queues[0], 0, ALWAYS);
    (void)history_bind(&history, exchange, queues[1], 0, ALWAYS);
}

static void
set_up(void)
{
    history_init(&history);
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(hashes, .init = set_up, .fini = tear_down);

/* A message with that key is given to the i-th queue. */
static void
pick(uint32_t key, uint32_t i)
{
    uint32_t number = history_attempt(&history, 3, key, true, 8);
    history_hear_pick(&history, number, &queues[i], 1);
}

static void
expect_wrong(enum history_rule rule)
{
    cr_expect(eq(u64, history.wrongs[rule], 1), "%s", history_rule_name(rule));
    cr_expect(eq(u64, history.wrong_count, 1), "%s", history.first_wrong);
}

static void
expect_right(void)
{
    cr_expect(eq(u64, history.wrong_count, 0), "%s", history.first_wrong);
}

Test(hashes, a_key_goes_to_the_queue_to_which_it_went)
{
    make(HISTORY_CONSISTENT_HASH);
    pick(1, 0);
    pick(2, 1);
    pick(1, 0);
    expect_right();
    pick(1, 1);
    expect_wrong(HISTORY_ORDER);
}

Test(hashes, a_key_may_move_to_a_queue_that_has_come)
{
    make(HISTORY_CONSISTENT_HASH);
    pick(1, 0);
    (void)history_bind(&history, exchange, queues[2], 0, ALWAYS);
    pick(1, 2);
    expect_right();
}

Test(hashes, a_key_does_not_move_between_queues_that_were_there)
{
    make(HISTORY_CONSISTENT_HASH);
    pick(1, 0);
    (void)history_bind(&history, exchange, queues[2], 0, ALWAYS);
    pick(1, 1);
    expect_wrong(HISTORY_ORDER);
}

Test(hashes, a_key_goes_anywhere_when_its_queue_has_gone)
{
    make(HISTORY_CONSISTENT_HASH);
    pick(1, 0);
    history_unbind(&history, exchange, queues[0], 0, ALWAYS);
    pick(1, 1);
    expect_right();
}

/* Another exchange of that kind, or another life of the broker, knows no better. */
Test(hashes, names_decide_and_nothing_else)
{
    make(HISTORY_CONSISTENT_HASH);
    pick(1, 0);
    history_drop_exchange(&history, exchange, ALWAYS);
    exchange = history_make_exchange(&history, 3, HISTORY_CONSISTENT_HASH, true, ALWAYS);
    (void)history_bind(&history, exchange, queues[1], 0, ALWAYS);
    (void)history_bind(&history, exchange, queues[0], 0, ALWAYS);
    pick(1, 1);
    expect_wrong(HISTORY_ORDER);
}

Test(hashes, a_modulus_moves_keys_with_bindings_only)
{
    make(HISTORY_MODULUS_HASH);
    pick(1, 0);
    (void)history_bind(&history, exchange, queues[2], 0, ALWAYS);
    pick(1, 1);
    expect_right();
    pick(1, 0);
    expect_wrong(HISTORY_ORDER);
}

Test(hashes, one_queue_gets_a_message)
{
    make(HISTORY_CONSISTENT_HASH);
    uint32_t number = history_attempt(&history, 3, 1, true, 8);
    history_hear_pick(&history, number, queues, 2);
    expect_wrong(HISTORY_DUPLICATED);
}

Test(hashes, a_message_that_no_queue_gets_is_lost)
{
    make(HISTORY_RANDOM);
    uint32_t number = history_attempt(&history, 3, 1, true, 8);
    history_hear_pick(&history, number, queues, 0);
    expect_wrong(HISTORY_LOST);
}

Test(hashes, a_queue_that_is_not_bound_gets_nothing)
{
    make(HISTORY_RANDOM);
    pick(1, 2);
    expect_wrong(HISTORY_ORDER);
}

Test(hashes, chance_falls_on_more_than_one_queue)
{
    make(HISTORY_RANDOM);
    for (int i = 0; i < 100; i++) {
        pick(1, 1);
    }
    expect_right();
    history_check_draws(&history);
    expect_wrong(HISTORY_ANSWER);
}
