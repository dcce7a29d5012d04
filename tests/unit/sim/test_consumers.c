/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of who is served, how fast what is overdue comes in, and of pauses: what is wrong is
 * fabricated here, and found. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/sim/history_parts.h"

static struct history history;
static uint32_t queue;

static const struct history_limit NO_LIMIT = {.length_max = UINT64_MAX, .bytes_max = UINT64_MAX};
static const struct history_span ALWAYS = {0, 0};

static void
set_up(void)
{
    history_init(&history);
    history_set_time(&history, 1000000);
    queue = history_make_queue(&history, 0, 7, true, NO_LIMIT, ALWAYS);
    history.queues[queue].is_single_active = true;
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(consumers, .init = set_up, .fini = tear_down);

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

Test(consumers, the_first_is_active_until_it_goes_and_then_the_next)
{
    history_add_consumer(&history, queue, 1, 0);
    history_add_consumer(&history, queue, 2, 9);
    history_add_consumer(&history, queue, 3, 9);
    history_check_active(&history, queue, 1);
    history_serve(&history, queue, 1, false);
    history_end_consumer(&history, queue, 1);
    history_check_active(&history, queue, 2);
    history_end_service(&history, queue, 1); /* of somebody who is gone */
    history_serve(&history, queue, 2, true);
    expect_right();
    history_serve(&history, queue, 3, true);
    expect_wrong(HISTORY_ORDER);
}

Test(consumers, in_a_quorum_queue_a_higher_priority_takes_over_when_all_is_settled)
{
    history.queues[queue].is_quorum = true;
    history_add_consumer(&history, queue, 1, 0);
    history_serve(&history, queue, 1, false);
    history_add_consumer(&history, queue, 2, 5);
    history_check_active(&history, queue, 1);
    cr_expect(not(history_may_serve(&history, queue, 1)), "it gets nothing more");
    history_end_service(&history, queue, 1);
    history_check_active(&history, queue, 2);
    history_add_consumer(&history, queue, 3, 5);
    history_check_active(&history, queue, 2);
    expect_right();
    history_check_active(&history, queue, 3);
    expect_wrong(HISTORY_ORDER);
}

Test(consumers, who_is_to_give_way_gets_nothing)
{
    history.queues[queue].is_quorum = true;
    history_add_consumer(&history, queue, 1, 0);
    history_serve(&history, queue, 1, false);
    history_add_consumer(&history, queue, 2, 5);
    history_serve(&history, queue, 1, false);
    expect_wrong(HISTORY_ORDER);
}

Test(consumers, a_successor_that_leaves_is_none)
{
    history.queues[queue].is_quorum = true;
    history_add_consumer(&history, queue, 1, 0);
    history_serve(&history, queue, 1, false);
    history_add_consumer(&history, queue, 2, 5);
    history_end_consumer(&history, queue, 2);
    history_serve(&history, queue, 1, false);
    expect_right();
}

Test(consumers, nobody_is_served_who_is_not_there)
{
    history_serve(&history, queue, 4, true);
    expect_wrong(HISTORY_ANSWER);
}

Test(consumers, a_crash_leaves_none)
{
    history_add_consumer(&history, queue, 1, 0);
    history_crash(&history, 0, false);
    history_found_queue(&history, 0, 7, 0);
    history_end_findings(&history);
    history_check_active(&history, queue, 0);
    expect_right();
}

/* Pace ----------------------------------------------------------------------------------------- */

/* What was due two seconds ago comes in, `ms` after what came before. */
static void
let_in_after(uint64_t ms)
{
    history_set_time(&history, history.now_ms + ms);
    history_keep_pace(&history, &history.queues[queue], history.now_ms - 2000);
}

Test(consumers, what_is_overdue_comes_evenly)
{
    history_set_rate(&history.queues[queue], 20);
    for (int i = 0; i < 100; i++) {
        let_in_after(50);
    }
    expect_right();
    let_in_after(1);
    let_in_after(1);
    cr_expect(ne(u64, history.wrongs[HISTORY_UNEXPECTED], 0));
}

Test(consumers, what_is_not_overdue_comes_as_fast_as_it_likes)
{
    history_set_rate(&history.queues[queue], 1);
    for (int i = 0; i < 100; i++) {
        history_keep_pace(&history, &history.queues[queue], history.now_ms - 1000);
    }
    expect_right();
}

/* A message waits for that time. */
static void
have_waiting(uint64_t due_ms)
{
    struct history_queue *known = &history.queues[queue];
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, false, 8);
    history_enqueue(&history, number, NULL, ALWAYS);
    history_leave(known, 0, HISTORY_WAITING);
    history_begin_waiting(&history, known, &known->copies[0], due_ms);
}

Test(consumers, what_is_overdue_comes_as_soon_as_the_pace_allows)
{
    history_set_rate(&history.queues[queue], 1);
    have_waiting(history.now_ms);
    history_set_time(&history, history.now_ms + 1040);
    history_check_pace(&history, &history.queues[queue]);
    expect_right();
    history_set_time(&history, history.now_ms + 100);
    history_check_pace(&history, &history.queues[queue]);
    expect_wrong(HISTORY_LOST);
}

/* Pauses --------------------------------------------------------------------------------------- */

static void
pause_at(bool is_paused, uint64_t lsn)
{
    history_pause(&history, queue, is_paused, (struct history_span){lsn, lsn});
}

static void
restart_at(uint64_t cut, bool is_paused)
{
    history_crash(&history, cut, false);
    history_found_queue(&history, 0, 7, 0);
    history_found_pause(&history, 7, is_paused);
    history_end_findings(&history);
}

Test(consumers, a_paused_queue_hands_out_nothing)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, false, 8);
    history_enqueue(&history, number, NULL, ALWAYS);
    pause_at(true, 5);
    history_expect_empty(&history, queue);
    expect_right();
    (void)history_hand_out(
        &history, queue,
        &(struct history_handing){.message = number, .is_final = true, .span = ALWAYS});
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(consumers, a_pause_that_is_on_disk_survives)
{
    pause_at(true, 5);
    restart_at(5, true);
    pause_at(false, 9);
    restart_at(8, true);
    expect_right();
    restart_at(8, false);
    expect_wrong(HISTORY_LOST);
}

Test(consumers, a_cut_through_a_pause_leaves_either)
{
    history_pause(&history, queue, true, (struct history_span){5, 9});
    restart_at(7, false);
    history_pause(&history, queue, true, (struct history_span){5, 9});
    restart_at(7, true);
    expect_right();
}
