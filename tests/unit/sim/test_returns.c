/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of what comes back to a queue, of how long it then waits, and of what it says of
 * itself: what is wrong is fabricated here, and found; what is allowed is not. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct history history;
static uint32_t queue;

static const struct history_limit NO_LIMIT = {.length_max = UINT64_MAX, .bytes_max = UINT64_MAX};

static struct history_span
at(uint64_t position)
{
    return (struct history_span){.first = position, .last = position};
}

/* A queue that counts every verdict, with a first delay of 100 ms and no limit. */
static void
set_up(void)
{
    history_init(&history);
    history_set_time(&history, 1000);
    queue = history_make_queue(&history, 0, 7, true, NO_LIMIT, at(10));
    history.queues[queue].retry = (struct history_retry){
        .counts = true,
        .verdicts = HISTORY_ANY_VERDICT,
        .limit = -1,
        .first_ms = 100,
        .max_ms = 300,
        .max_age_ms = -1,
    };
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(returns, .init = set_up, .fini = tear_down);

static struct history_retry *
retry(void)
{
    return &history.queues[queue].retry;
}

static uint32_t
publish(uint64_t position)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, NULL, at(position));
    return number;
}

/* Handed out without headers, or marked as redelivered. */
static uint32_t
hand_out(uint32_t number, bool is_redelivered)
{
    return history_hand_out(&history, queue,
                            &(struct history_handing){.message = number,
                                                      .is_redelivered = is_redelivered,
                                                      .span = at(30)});
}

static void
come_back(uint32_t copy, enum history_verdict verdict, uint64_t due_ms)
{
    struct history_failure failure = {
        .verdict = (uint8_t)verdict,
        .due_ms = due_ms,
        .is_held = due_ms != 0 && retry()->holds,
        .span = at(40),
    };
    history_hear_return(&history, queue, copy, &failure);
}

/* A message is published, handed out, and given back by basic.nack; it waits for so long. */
static uint32_t
fail_after(uint64_t delay_ms)
{
    uint32_t copy = hand_out(publish(20), false);
    come_back(copy, HISTORY_NACKED, delay_ms == 0 ? 0 : history.now_ms + delay_ms);
    return copy;
}

/* The broker lets in what waits. */
static void
come_in(uint32_t message, uint64_t due_ms)
{
    struct history_coming coming = {.message = message, .due_ms = due_ms, .is_retry = true};
    history_hear_coming(&history, queue, &coming);
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

/* Delays --------------------------------------------------------------------------------------- */

Test(returns, a_delay_is_that_of_the_failure_number)
{
    static const struct {
        uint8_t factor;
        uint64_t delays_ms[4];
    } rows[] = {
        {0, {100, 200, 300, 300}},
        {1, {100, 100, 100, 100}},
        {2, {100, 200, 300, 300}},
        {3, {100, 300, 300, 300}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        retry()->factor = rows[i].factor;
        uint32_t copy = hand_out(publish(20), false);
        for (size_t n = 0; n < 4; n++) {
            uint64_t due_ms = history.now_ms + rows[i].delays_ms[n];
            come_back(copy, HISTORY_NACKED, due_ms);
            history_set_time(&history, due_ms);
            come_in(history.queues[queue].copies[copy].message, due_ms);
            (void)hand_out(history.queues[queue].copies[copy].message, true);
        }
        history_settle(&history, queue, copy, at(50));
    }
    expect_right();
}

Test(returns, a_delay_that_is_too_short_is_wrong)
{
    (void)fail_after(99);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_delay_that_is_too_long_is_wrong)
{
    (void)fail_after(101);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_should_wait_and_does_not_is_wrong)
{
    (void)fail_after(0);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_jitter_in_percent_goes_either_way_and_no_further)
{
    retry()->jitter = 20;
    (void)fail_after(80);
    (void)fail_after(120);
    expect_right();
    (void)fail_after(121);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_full_jitter_is_anything_up_to_the_delay)
{
    retry()->jitter = HISTORY_JITTER_FULL;
    (void)fail_after(1);
    (void)fail_after(100);
    expect_right();
    (void)fail_after(101);
    expect_wrong(HISTORY_ANSWER);
}

/* Within the range, but nobody draws the same sixty times. */
Test(returns, a_jitter_that_is_not_drawn_is_wrong)
{
    retry()->jitter = HISTORY_JITTER_FULL;
    for (int i = 0; i < 100; i++) {
        (void)fail_after(100);
    }
    expect_right();
    history_check_draws(&history);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_is_not_counted_comes_back_at_once)
{
    retry()->verdicts = HISTORY_GIVEN_BACK;
    (void)fail_after(0);
    expect_right();
}

Test(returns, what_is_not_counted_waits_with_retries_of_that)
{
    retry()->verdicts = HISTORY_GIVEN_BACK;
    retry()->type = HISTORY_RETRIES_UNCOUNTED;
    (void)fail_after(100);
    expect_right();
    (void)fail_after(0);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_is_counted_comes_back_at_once_with_retries_of_the_others)
{
    retry()->type = HISTORY_RETRIES_UNCOUNTED;
    (void)fail_after(0);
    expect_right();
    uint32_t copy = hand_out(0, true);
    come_back(copy, HISTORY_NACKED, 1200);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, nothing_waits_where_retries_are_disabled)
{
    retry()->type = HISTORY_RETRIES_NOTHING;
    (void)fail_after(0);
    expect_right();
    come_back(hand_out(0, true), HISTORY_NACKED, 1100);
    expect_wrong(HISTORY_ANSWER);
}

/* Coming in ------------------------------------------------------------------------------------ */

Test(returns, a_retry_before_its_time_is_unexpected)
{
    uint32_t copy = fail_after(100);
    history_set_time(&history, 1099);
    come_in(history.queues[queue].copies[copy].message, 1100);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(returns, a_retry_that_never_comes_is_lost)
{
    (void)fail_after(100);
    history_set_time(&history, 1121);
    history_check_waiting(&history, queue, 1, true);
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_retry_that_passes_an_earlier_one_is_out_of_order)
{
    retry()->jitter = HISTORY_JITTER_FULL;
    (void)fail_after(50);
    uint32_t second = fail_after(60);
    history_set_time(&history, 1200);
    come_in(history.queues[queue].copies[second].message, 1060);
    expect_wrong(HISTORY_ORDER);
}

Test(returns, what_waits_is_not_handed_out)
{
    uint32_t copy = fail_after(100);
    (void)hand_out(history.queues[queue].copies[copy].message, true);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(returns, another_number_of_messages_that_wait_is_wrong)
{
    (void)fail_after(100);
    history_check_waiting(&history, queue, 1, true);
    expect_right();
    history_check_waiting(&history, queue, 0, true);
    expect_wrong(HISTORY_LOST);
    history_check_waiting(&history, queue, 2, true);
    cr_expect(eq(u64, history.wrongs[HISTORY_UNEXPECTED], 1));
}

Test(returns, what_comes_in_and_did_not_wait_is_unexpected)
{
    come_in(publish(20), 1100);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* Delayed messages ----------------------------------------------------------------------------- */

static uint32_t
publish_delayed(uint64_t due_ms)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history.messages[number].due_ms = due_ms;
    history_enqueue(&history, number, NULL, at(20));
    return number;
}

static void
come_in_delayed(uint32_t message, uint64_t due_ms)
{
    struct history_coming coming = {.message = message, .due_ms = due_ms};
    history_hear_coming(&history, queue, &coming);
}

Test(returns, a_delayed_message_comes_in_behind_what_is_there)
{
    uint32_t delayed = publish_delayed(1100);
    uint32_t other = publish(20);
    history_set_time(&history, 1100);
    come_in_delayed(delayed, 1100);
    (void)hand_out(other, false);
    (void)hand_out(delayed, false);
    expect_right();
}

Test(returns, a_delayed_message_that_comes_early_is_unexpected)
{
    uint32_t delayed = publish_delayed(1100);
    history_set_time(&history, 1099);
    come_in_delayed(delayed, 1100);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(returns, delayed_messages_that_are_due_together_come_as_they_were_published)
{
    (void)publish_delayed(1100);
    uint32_t second = publish_delayed(1100);
    history_set_time(&history, 1100);
    come_in_delayed(second, 1100);
    expect_wrong(HISTORY_ORDER);
}

/* A time to live begins when the message comes in. */
Test(returns, a_delayed_message_lives_from_when_it_was_due)
{
    history.queues[queue].ttl_ms = 50;
    uint32_t delayed = publish_delayed(1100);
    history_set_time(&history, 1110);
    come_in_delayed(delayed, 1100);
    history_set_time(&history, 1149);
    history_check_ready(&history, queue, 1);
    (void)hand_out(delayed, false);
    expect_right();
}

/* Strict order --------------------------------------------------------------------------------- */

Test(returns, a_message_that_is_held_is_not_handed_out_before_it_is_due)
{
    retry()->holds = true;
    uint32_t copy = fail_after(100);
    history_set_time(&history, 1099);
    (void)hand_out(history.queues[queue].copies[copy].message, true);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(returns, a_message_that_is_held_is_handed_out_when_it_is_due)
{
    retry()->holds = true;
    uint32_t copy = fail_after(100);
    history_set_time(&history, 1100);
    (void)hand_out(history.queues[queue].copies[copy].message, true);
    expect_right();
}

Test(returns, nobody_passes_a_message_that_is_held)
{
    retry()->holds = true;
    (void)fail_after(100);
    (void)hand_out(publish(20), false);
    expect_wrong(HISTORY_ORDER);
}

/* It is ready, but nobody gets it. */
Test(returns, a_queue_whose_head_is_held_is_empty_for_as_long)
{
    retry()->holds = true;
    (void)fail_after(100);
    history_check_ready(&history, queue, 1);
    history_expect_empty(&history, queue);
    expect_right();
    history_set_time(&history, 1100);
    history_expect_empty(&history, queue);
    expect_wrong(HISTORY_LOST);
}

Test(returns, waiting_elsewhere_where_strict_order_is_kept_is_wrong)
{
    uint32_t copy = hand_out(publish(20), false);
    retry()->holds = true;
    struct history_failure failure = {
        .verdict = HISTORY_NACKED, .due_ms = 1100, .is_held = false, .span = at(40)};
    history_hear_return(&history, queue, copy, &failure);
    expect_wrong(HISTORY_ORDER);
}

Test(returns, a_message_goes_to_wait_elsewhere_when_strict_order_ends)
{
    retry()->holds = true;
    uint32_t copy = fail_after(100);
    uint32_t message = history.queues[queue].copies[copy].message;
    retry()->holds = false;
    history_hear_release_of_hold(&history, queue, message, 0, 1100);
    history_check_waiting(&history, queue, 1, true);
    history_check_ready(&history, queue, 0);
    (void)hand_out(publish(20), false);
    history_set_time(&history, 1100);
    come_in(message, 1100);
    (void)hand_out(message, true);
    expect_right();
}

Test(returns, holding_a_message_when_strict_order_has_ended_is_wrong)
{
    retry()->holds = true;
    (void)fail_after(100);
    retry()->holds = false;
    history_expect_empty(&history, queue);
    expect_wrong(HISTORY_ORDER);
}

Test(returns, a_message_that_goes_to_wait_elsewhere_while_order_is_kept_is_wrong)
{
    retry()->holds = true;
    uint32_t copy = fail_after(100);
    history_hear_release_of_hold(&history, queue, history.queues[queue].copies[copy].message, 0,
                                 1100);
    expect_wrong(HISTORY_ORDER);
}

/* Dying ---------------------------------------------------------------------------------------- */

/* The broker has it die of its last failure. */
static void
die_of(uint32_t copy, enum history_verdict verdict)
{
    struct history_death death = {
        .reason = HISTORY_TRIED_OUT,
        .message = history.queues[queue].copies[copy].message,
        .copy = copy,
    };
    history_hear_death(&history, queue, &death, 40);
    come_back(copy, verdict, 0);
}

Test(returns, a_message_over_its_limit_that_is_tried_again_is_wrong)
{
    retry()->limit = 0;
    (void)fail_after(100);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_message_within_its_limit_that_dies_is_lost)
{
    retry()->limit = 1;
    die_of(hand_out(publish(20), false), HISTORY_NACKED);
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_verdict_that_does_not_count_has_nobody_die)
{
    retry()->limit = 0;
    retry()->verdicts = HISTORY_GIVEN_BACK;
    die_of(hand_out(publish(20), false), HISTORY_GIVEN_BACK);
    expect_right();
    die_of(hand_out(publish(20), false), HISTORY_NACKED);
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_message_that_fails_over_its_age_dies)
{
    retry()->max_age_ms = 300;
    uint32_t copy = hand_out(publish(20), false);
    history_set_time(&history, 1400);
    die_of(copy, HISTORY_NACKED);
    expect_right();
}

Test(returns, a_message_that_fails_over_its_age_and_is_tried_again_is_wrong)
{
    retry()->max_age_ms = 300;
    uint32_t copy = hand_out(publish(20), false);
    history_set_time(&history, 1400);
    come_back(copy, HISTORY_NACKED, 1500);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_message_that_dies_of_its_age_too_early_is_lost)
{
    retry()->max_age_ms = 300;
    uint32_t copy = hand_out(publish(20), false);
    history_set_time(&history, 1200);
    die_of(copy, HISTORY_NACKED);
    expect_wrong(HISTORY_LOST);
}

Test(returns, parking_what_has_somewhere_to_go_is_wrong)
{
    history.queues[queue].dead_letter_name = 1;
    (void)history_make_queue(&history, 1, 8, true, NO_LIMIT, at(11));
    retry()->limit = 0;
    die_of(hand_out(publish(20), false), HISTORY_NACKED);
    history_park_dead(&history, queue, at(50));
    expect_wrong(HISTORY_LOST);
}

Test(returns, dropping_what_was_tried_too_often_is_wrong)
{
    retry()->limit = 0;
    die_of(hand_out(publish(20), false), HISTORY_NACKED);
    history_move_dead(&history, queue, at(50));
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_message_that_is_given_back_and_not_heard_of_is_lost)
{
    history_give_back(&history, queue, hand_out(publish(20), false));
    expect_wrong(HISTORY_LOST);
}

/* Headers -------------------------------------------------------------------------------------- */

static void
check_headers(uint32_t copy, struct history_headers headers)
{
    history_check_headers(&history, queue, copy, &headers);
}

/* Given back so often by basic.nack, and with the client again. */
static uint32_t
fail_times(uint32_t count)
{
    uint32_t number = publish(20);
    uint32_t copy = hand_out(number, false);
    retry()->first_ms = 0;
    for (uint32_t i = 0; i < count; i++) {
        come_back(copy, HISTORY_NACKED, 0);
        (void)hand_out(number, true);
    }
    return copy;
}

static const struct history_headers TWICE = {
    .delivery_count = 2, .acquired_count = 2, .verdict = HISTORY_NACKED};

Test(returns, headers_tell_what_the_message_has_been_through)
{
    check_headers(fail_times(0), (struct history_headers){0});
    check_headers(fail_times(2), TWICE);
    expect_right();
}

Test(returns, a_wrong_number_of_failures_is_wrong)
{
    struct history_headers headers = TWICE;
    headers.delivery_count = 1;
    check_headers(fail_times(2), headers);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_wrong_number_of_deliveries_is_wrong)
{
    struct history_headers headers = TWICE;
    headers.acquired_count = 3;
    check_headers(fail_times(2), headers);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_wrong_verdict_is_wrong)
{
    struct history_headers headers = TWICE;
    headers.verdict = HISTORY_BROKEN_OFF;
    check_headers(fail_times(2), headers);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_nobody_said_is_no_note)
{
    struct history_headers headers = TWICE;
    headers.note = 5;
    check_headers(fail_times(2), headers);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, a_message_that_is_handed_out_over_its_limit_is_wrong)
{
    uint32_t copy = fail_times(2);
    retry()->limit = 1;
    check_headers(copy, TWICE);
    expect_wrong(HISTORY_ANSWER);
}

/* What was said of an attempt travels with the dead letter, and nothing is added on the way. */
Test(returns, a_note_is_in_the_dead_letter)
{
    history.queues[queue].dead_letter_name = 1;
    uint32_t dead = history_make_queue(&history, 1, 8, true, NO_LIMIT, at(11));
    uint32_t number = publish(20);
    uint32_t copy = hand_out(number, false);
    struct history_death death = {
        .reason = HISTORY_REJECTED, .message = number, .copy = copy, .note = 5};
    history_hear_death(&history, queue, &death, 40);
    history_die(&history, queue, copy, at(40));
    history_move_dead(&history, queue, at(40));
    uint32_t letter = history_hand_out(
        &history, dead, &(struct history_handing){.message = number, .span = at(50)});
    history_check_headers(&history, dead, letter, &(struct history_headers){.note = 5});
    expect_right();
    history_check_headers(&history, dead, letter, &(struct history_headers){0});
    expect_wrong(HISTORY_ANSWER);
}

/* Crashes -------------------------------------------------------------------------------------- */

static void
crash(uint64_t cut)
{
    history_crash(&history, cut, false);
}

static void
find(uint64_t ready_count)
{
    history_found_queue(&history, 0, 7, ready_count);
    history_end_findings(&history);
}

Test(returns, after_a_crash_a_message_waits_for_the_same_time)
{
    uint32_t copy = fail_after(100);
    history.queues[queue].copies[copy].lsn = 20;
    crash(40);
    history_found_waiting(&history, 7, 20, 1100);
    find(0);
    expect_right();
}

Test(returns, after_a_crash_a_message_that_waits_for_another_time_is_wrong)
{
    uint32_t copy = fail_after(100);
    history.queues[queue].copies[copy].lsn = 20;
    history_hear_logged(&history, (struct history_logged){.lsn = 20});
    crash(40);
    history_found_waiting(&history, 7, 20, 1090);
    cr_expect(ge(u64, history.wrongs[HISTORY_UNEXPECTED], 1));
}

Test(returns, after_a_crash_a_message_that_does_not_wait_any_more_is_lost)
{
    (void)fail_after(100);
    crash(40);
    find(1);
    cr_expect(ge(u64, history.wrongs[HISTORY_LOST], 1));
}

/* The failure was not on the disk: it may be tried at once, as if it had not failed. */
Test(returns, a_failure_that_the_log_has_lost_does_not_count)
{
    uint32_t copy = fail_after(100);
    crash(35);
    find(1);
    uint32_t number = history.queues[queue].copies[copy].message;
    (void)history_hand_out(
        &history, queue,
        &(struct history_handing){.message = number, .is_redelivered = true, .span = at(60)});
    check_headers(copy, (struct history_headers){0});
    expect_right();
}

Test(returns, a_failure_that_the_log_has_is_counted_after_a_crash)
{
    retry()->first_ms = 0;
    uint32_t copy = fail_after(0);
    crash(40);
    find(1);
    (void)history_hand_out(
        &history, queue,
        &(struct history_handing){.message = history.queues[queue].copies[copy].message,
                                  .is_redelivered = true,
                                  .span = at(60)});
    check_headers(copy, (struct history_headers){0});
    cr_expect(ge(u64, history.wrongs[HISTORY_ANSWER], 1));
}

Test(returns, after_a_crash_a_message_is_held_until_the_same_time)
{
    retry()->holds = true;
    uint32_t copy = fail_after(100);
    crash(40);
    find(1);
    expect_right();
    (void)history_hand_out(
        &history, queue,
        &(struct history_handing){.message = history.queues[queue].copies[copy].message,
                                  .is_redelivered = true,
                                  .span = at(60)});
    expect_wrong(HISTORY_UNEXPECTED);
}

/* Order of quorum queues ----------------------------------------------------------------------- */

static uint32_t
publish_at(uint8_t priority)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history.messages[number].priority = priority;
    history_enqueue(&history, number, NULL, at(20));
    return number;
}

static void
make_quorum(void)
{
    enum { LEVEL_MAX = 31 };
    history.queues[queue].is_quorum = true;
    history.queues[queue].level_max = LEVEL_MAX;
    retry()->first_ms = 0;
}

Test(returns, a_quorum_queue_serves_thirty_two_levels_of_which_the_fifth_is_usual)
{
    static const uint8_t priorities[] = {0, 3, 31, 200, 5};
    static const uint32_t order[] = {2, 3, 4, 0, 1};
    make_quorum();
    for (size_t i = 0; i < sizeof(priorities); i++) {
        (void)publish_at(priorities[i]);
    }
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        (void)hand_out(order[i], false);
    }
    expect_right();
}

Test(returns, what_came_back_to_a_quorum_queue_is_first_in_the_order_of_its_return)
{
    make_quorum();
    uint32_t first = hand_out(publish_at(9), false);
    uint32_t second = hand_out(publish_at(9), false);
    (void)publish_at(31);
    come_back(second, HISTORY_NACKED, 0);
    come_back(first, HISTORY_NACKED, 0);
    (void)hand_out(1, true);
    (void)hand_out(0, true);
    (void)hand_out(2, false);
    expect_right();
}

Test(returns, a_quorum_queue_that_has_messages_come_back_to_their_places_is_out_of_order)
{
    make_quorum();
    uint32_t first = hand_out(publish_at(9), false);
    uint32_t second = hand_out(publish_at(9), false);
    come_back(second, HISTORY_NACKED, 0);
    come_back(first, HISTORY_NACKED, 0);
    (void)hand_out(0, true);
    expect_wrong(HISTORY_ORDER);
}

Test(returns, a_quorum_queue_that_keeps_strict_order_has_messages_come_back_to_their_places)
{
    make_quorum();
    retry()->holds = true;
    uint32_t first = hand_out(publish_at(9), false);
    uint32_t second = hand_out(publish_at(9), false);
    come_back(second, HISTORY_NACKED, 0);
    come_back(first, HISTORY_NACKED, 0);
    (void)hand_out(0, true);
    (void)hand_out(1, true);
    expect_right();
}

/* Whatever its delivery mode. */
Test(returns, a_transient_message_of_a_quorum_queue_survives_a_crash)
{
    make_quorum();
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, false, 8);
    history_enqueue(&history, number, NULL, at(20));
    crash(30);
    find(0);
    expect_wrong(HISTORY_LOST);
}

/* Leases --------------------------------------------------------------------------------------- */

Test(returns, a_queue_that_nobody_uses_goes)
{
    history.queues[queue].expires_ms = 500;
    history_use_queue(&history, queue, false);
    history_set_time(&history, 1500);
    history_expire_queue(&history, queue, false, at(50));
    expect_right();
}

Test(returns, a_queue_that_goes_too_early_is_lost)
{
    history.queues[queue].expires_ms = 500;
    history_set_time(&history, 1400);
    history_use_queue(&history, queue, false);
    history_set_time(&history, 1899);
    history_expire_queue(&history, queue, false, at(50));
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_queue_that_goes_with_its_consumers_is_lost)
{
    history.queues[queue].expires_ms = 500;
    history_set_time(&history, 2000);
    history_expire_queue(&history, queue, true, at(50));
    expect_wrong(HISTORY_LOST);
}

Test(returns, a_queue_that_stays_though_nobody_uses_it_is_unexpected)
{
    history.queues[queue].expires_ms = 500;
    history_set_time(&history, 1529);
    history_check_lease(&history, queue);
    expect_right();
    history_set_time(&history, 1531);
    history_check_lease(&history, queue);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* Working off what waits ------------------------------------------------------------------------
 */

/* Of one in so many messages, and of what waits for that reason. */
static struct history_worked_off
asked_for(enum history_wait kind, uint32_t id_count, uint32_t id)
{
    return (struct history_worked_off){
        .kinds = 1U << kind, .id_count = id_count, .id = id, .waits_before = history.wait_count};
}

Test(returns, what_was_to_be_worked_off_and_still_waits_is_wrong)
{
    (void)fail_after(100);
    struct history_worked_off asked = asked_for(HISTORY_WAITS_RETRY, 1, 0);
    history_check_worked_off(&history, queue, &asked);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_waits_for_another_reason_is_left_when_others_are_worked_off)
{
    (void)fail_after(100);
    struct history_worked_off asked = asked_for(HISTORY_WAITS_DELAYED, 1, 0);
    history_check_worked_off(&history, queue, &asked);
    asked = asked_for(HISTORY_WAITS_PARKED, 1, 0);
    history_check_worked_off(&history, queue, &asked);
    expect_right();
}

Test(returns, what_has_another_id_is_left_when_others_are_worked_off)
{
    (void)fail_after(100);
    struct history_worked_off asked = asked_for(HISTORY_WAITS_RETRY, 5, 1);
    history_check_worked_off(&history, queue, &asked);
    expect_right();
    asked = asked_for(HISTORY_WAITS_RETRY, 5, 0);
    history_check_worked_off(&history, queue, &asked);
    expect_wrong(HISTORY_ANSWER);
}

Test(returns, what_waits_since_it_was_asked_for_may_be_left)
{
    struct history_worked_off asked = asked_for(HISTORY_WAITS_DELAYED, 1, 0);
    (void)publish_delayed(1100);
    history_check_worked_off(&history, queue, &asked);
    expect_right();
}
