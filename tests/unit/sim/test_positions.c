/* SPDX-License-Identifier: Apache-2.0 */
/* The judge tells copies of one message in one queue from each other, by the positions that the
 * broker has given them. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct history history;
static uint32_t queue, other;
static uint32_t number; /* of the message that `queue` has twice */

static const struct history_limit NO_LIMIT = {.length_max = UINT64_MAX, .bytes_max = UINT64_MAX};
static const uint64_t FIRST = 1;
static const uint64_t SECOND = 2;

static struct history_span
at(uint64_t position)
{
    return (struct history_span){.first = position, .last = position};
}

static void
hear_position(uint32_t handle, uint64_t position)
{
    history_hear_position(
        &history, handle,
        (struct history_position){.message = number, .size = 8, .position = position});
}

static void
send_on(uint32_t handle, uint64_t position, uint32_t target)
{
    struct history_sending sending = {.message = number,
                                      .position = position,
                                      .is_ready = true,
                                      .target = target,
                                      .span = at(20)};
    history_send_on(&history, handle, &sending);
}

/* A transient message is in both queues, and is sent on from the other one: nothing but their
 * positions tells the copies from each other. */
static void
set_up(void)
{
    history_init(&history);
    queue = history_make_queue(&history, 0, 7, true, NO_LIMIT, at(10));
    other = history_make_queue(&history, 1, 8, true, NO_LIMIT, at(10));
    uint32_t exchange = history_make_exchange(&history, 0, HISTORY_FANOUT, true, at(10));
    (void)history_bind(&history, exchange, queue, 0, at(10));
    (void)history_bind(&history, exchange, other, 0, at(10));
    history_set_time(&history, 1000);
    number = history_attempt(&history, 0, 0, false, 8);
    hear_position(queue, FIRST);
    hear_position(other, FIRST);
    history_enqueue(&history, number, NULL, at(10));
    history_set_time(&history, 2000);
    hear_position(queue, SECOND);
    send_on(other, FIRST, queue);
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(positions, .init = set_up, .fini = tear_down);

/* The broker hands out the copy at that position. */
static void
hand_out(uint64_t position)
{
    uint32_t copy = history_hand_out(&history, queue,
                                     &(struct history_handing){.message = number, .span = at(30)});
    history_check_identity(&history, queue, copy, (struct history_identity){.position = position});
}

static void
expect_right(void)
{
    cr_expect(eq(u64, history.wrong_count, 0), "%s", history.first_wrong);
}

static void
expect_wrong(enum history_rule rule)
{
    cr_expect(eq(u64, history.wrongs[rule], 1), "%s", history_rule_name(rule));
    cr_expect(eq(u64, history.wrong_count, 1), "%s", history.first_wrong);
}

/* After a crash ---------------------------------------------------------------------------------
 */

static const uint64_t FIRST_LSN = 56;
static const uint64_t SECOND_LSN = 64;

/* Instead of those two, copies of a message that the log has: the first was published to `queue`,
 * the second was sent on to it. */
static void
log_both_copies(void)
{
    send_on(queue, FIRST, HISTORY_NONE);
    send_on(queue, SECOND, HISTORY_NONE);
    history_hear_logged(&history, (struct history_logged){.lsn = FIRST_LSN, .message = 1});
    number = history_attempt(&history, 0, 0, true, 8);
    cr_assert(eq(u32, number, 1));
    hear_position(queue, 3);
    hear_position(other, SECOND);
    history_enqueue(&history, number, NULL, at(56));
    history_hear_logged(
        &history, (struct history_logged){.lsn = SECOND_LSN, .message = number, .letter_queue = 7});
    hear_position(queue, 4);
    send_on(other, SECOND, queue);
}

/* The cut goes through what became of the first copy. */
static void
crash(uint64_t ready_count, uint64_t other_count)
{
    history_crash(&history, 75, true);
    history_found_queue(&history, 0, 7, ready_count);
    history_found_queue(&history, 1, 8, other_count);
    history_found_exchange(&history, 0, true);
    history_found_binding(&history, 0, 0, 0);
    history_found_binding(&history, 0, 1, 0);
    history_end_findings(&history);
    expect_right();
}

/* The broker hands out what the log has there. */
static void
hand_out_logged(uint64_t lsn)
{
    struct history_handing handing = {
        .message = number, .identity = {.position = 1, .lsn = lsn}, .span = at(90)};
    uint32_t copy = history_hand_out(&history, queue, &handing);
    history_check_identity(&history, queue, copy, handing.identity);
}

/* A limit has the first copy die; it goes to the other queue. */
static void
let_first_die(void)
{
    struct history_queue *full = &history.queues[queue];
    full->dead_letter_name = 1;
    full->limit =
        (struct history_limit){.overflow = HISTORY_DROPS, .length_max = 1, .bytes_max = UINT64_MAX};
    struct history_death death = {.reason = HISTORY_TOO_MANY,
                                  .message = number,
                                  .size = 8,
                                  .lsn = FIRST_LSN,
                                  .position = 3,
                                  .copy = HISTORY_NONE};
    history_hear_death(&history, queue, &death, 70);
    history_hear_logged(&history,
                        (struct history_logged){.lsn = 72, .message = number, .letter_queue = 8});
    history_move_dead(&history, queue, (struct history_span){.first = 70, .last = 80});
}

Test(positions, copies_are_handed_out_in_the_order_in_which_they_came)
{
    hand_out(FIRST);
    hand_out(SECOND);
    expect_right();
}

Test(positions, handing_out_the_second_copy_before_the_first_is_out_of_order)
{
    hand_out(SECOND);
    expect_wrong(HISTORY_ORDER);
}

Test(positions, what_is_left_is_the_copy_that_was_not_taken_out)
{
    send_on(queue, FIRST, HISTORY_NONE);
    hand_out(SECOND);
    expect_right();
}

Test(positions, a_copy_that_was_taken_out_is_not_handed_out)
{
    send_on(queue, SECOND, HISTORY_NONE);
    hand_out(SECOND);
    expect_wrong(HISTORY_ORDER);
}

Test(positions, a_copy_is_not_sent_on_twice)
{
    send_on(queue, SECOND, HISTORY_NONE);
    send_on(queue, SECOND, HISTORY_NONE);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* The queue gives what comes a second to live, from now on: the third copy is not over when the
 * first might be. */
Test(positions, a_copy_dies_of_its_own_time_and_of_no_other)
{
    history.queues[queue].ttl_ms = 1000;
    hear_position(queue, 3);
    send_on(queue, FIRST, queue);
    struct history_death death = {.reason = HISTORY_EXPIRED,
                                  .message = number,
                                  .size = 8,
                                  .position = SECOND,
                                  .copy = HISTORY_NONE};
    history_set_time(&history, 3000);
    history_hear_death(&history, queue, &death, 40);
    expect_wrong(HISTORY_LOST);
}

/* Who waits for another try keeps his position. */
Test(positions, that_copy_comes_in_which_was_let_in)
{
    history.queues[queue].retry.counts = true;
    history.queues[queue].retry.first_ms = 100;
    history.queues[queue].retry.max_ms = 100;
    uint32_t copies[2];
    for (uint32_t i = 0; i < 2; i++) {
        copies[i] = history_hand_out(&history, queue,
                                     &(struct history_handing){.message = number, .span = at(30)});
        history_check_identity(&history, queue, copies[i],
                               (struct history_identity){.position = FIRST + i});
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct history_failure failure = {
            .verdict = HISTORY_NACKED, .due_ms = history.now_ms + 100, .span = at(40)};
        history_hear_return(&history, queue, copies[i], &failure);
    }
    struct history_coming coming = {.message = number,
                                    .size = 8,
                                    .position = SECOND,
                                    .due_ms = history.now_ms + 100,
                                    .is_retry = true,
                                    .is_released = true};
    history_hear_coming(&history, queue, &coming);
    cr_expect(eq(int, history.queues[queue].copies[copies[0]].place, HISTORY_WAITING));
    cr_expect(eq(int, history.queues[queue].copies[copies[1]].place, HISTORY_READY));
    expect_right();
}

/* What has waited for its time gets its position when it comes in, and the broker tells which. */
Test(positions, a_delayed_copy_has_a_position_from_when_it_comes_in)
{
    uint32_t delayed = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 1, false, 8);
    history.messages[delayed].due_ms = 2500;
    history_enqueue(&history, delayed, NULL, at(50));
    number = delayed;
    history_set_time(&history, 2500);
    struct history_coming coming = {
        .message = delayed, .size = 8, .position = UINT64_C(1) << 55, .due_ms = 2500};
    history_hear_coming(&history, other, &coming);
    hear_position(other, SECOND);
    uint32_t copy = history_hand_out(&history, other,
                                     &(struct history_handing){.message = delayed, .span = at(60)});
    history_check_identity(&history, other, copy, (struct history_identity){.position = SECOND});
    expect_right();
    history_check_identity(&history, other, copy, (struct history_identity){.position = FIRST});
    expect_wrong(HISTORY_ORDER);
}

/* A new broker gives other positions, and the history does not hear them. */
Test(positions, after_a_crash_the_log_tells_copies_from_each_other)
{
    uint32_t logged = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_hear_logged(&history, (struct history_logged){.lsn = 60, .message = logged});
    number = logged;
    hear_position(queue, 3);
    history_enqueue(&history, logged, NULL, at(60));
    history_check_identity(&history, queue, 2, (struct history_identity){.position = 3});
    expect_right();
    history_crash(&history, 70, false);
    history_found_queue(&history, 0, 7, 1);
    history_found_queue(&history, 1, 8, 0);
    history_found_exchange(&history, 0, true);
    history_found_binding(&history, 0, 0, 0);
    history_found_binding(&history, 0, 1, 0);
    history_end_findings(&history);
    hand_out(FIRST);
    expect_right();
}

/* The first is where it went, and the second is the only one here. */
Test(positions, after_a_crash_a_copy_that_may_be_gone_is_not_taken_for_another_of_its_message)
{
    log_both_copies();
    let_first_die();
    crash(1, 1);
    hand_out_logged(SECOND_LSN);
    history_expect_empty(&history, queue);
    history_expect_ready(&history, other, 1, "count");
    expect_right();
}

Test(positions, after_a_crash_a_copy_that_may_be_gone_is_there_when_it_is_handed_out)
{
    log_both_copies();
    let_first_die();
    crash(2, 0);
    hand_out_logged(FIRST_LSN);
    hand_out_logged(SECOND_LSN);
    history_expect_empty(&history, queue);
    history_expect_empty(&history, other);
    expect_right();
}

Test(positions, after_a_crash_a_copy_that_is_in_neither_place_is_lost)
{
    log_both_copies();
    let_first_die();
    crash(1, 0);
    hand_out_logged(SECOND_LSN);
    history_expect_empty(&history, other);
    expect_wrong(HISTORY_LOST);
}

Test(positions, after_a_crash_a_copy_that_is_not_next_in_the_log_is_out_of_order)
{
    log_both_copies();
    crash(2, 0);
    hand_out_logged(SECOND_LSN);
    expect_wrong(HISTORY_ORDER);
}
