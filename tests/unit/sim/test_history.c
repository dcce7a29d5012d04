/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of the simulator sees what it is there for: every kind of wrong is fabricated here, and
 * found; what is allowed is not. */
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

static void
set_up(void)
{
    history_init(&history);
    queue = history_make_queue(&history, 0, 7, true, NO_LIMIT, at(10));
}

static void
tear_down(void)
{
    history_fini(&history);
}

TestSuite(history, .init = set_up, .fini = tear_down);

/* A persistent message for the queue, at that place of the log. */
static uint32_t
publish(uint64_t position)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, NULL, at(position));
    return number;
}

/* The broker lets a message die. */
static void
hear_death(enum history_reason reason, uint32_t number, uint64_t first)
{
    struct history_death death = {.reason = reason, .message = number};
    history_hear_death(&history, queue, &death, first);
}

static uint32_t
hand_out(uint32_t number, bool is_redelivered, uint64_t position)
{
    return history_hand_out(&history, queue,
                            &(struct history_handing){.message = number,
                                                      .is_redelivered = is_redelivered,
                                                      .span = at(position)});
}

static void
hand_out_and_see(uint32_t number, bool is_redelivered, uint64_t position)
{
    history_see(&history, queue, hand_out(number, is_redelivered, position));
}

/* The broker is killed, comes back with the queue and so many messages, and nothing else. */
static void
restart(uint64_t cut, uint64_t ready_count)
{
    history_crash(&history, cut, false);
    history_found_queue(&history, 0, 7, ready_count);
    history_end_findings(&history);
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

/* What is confirmed is there after a crash, what is not may be or not, as far as the log goes. */
Test(history, keeping_what_the_log_has_is_right)
{
    history_confirm(&history, publish(20), 20);
    (void)publish(30);
    restart(25, 1);
    expect_right();
    (void)hand_out(0, false, 40);
    history_expect_empty(&history, queue);
    expect_right();
}

Test(history, a_confirmed_message_that_recovery_does_not_have_is_lost)
{
    history_confirm(&history, publish(20), 20);
    restart(20, 0);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_confirmed_message_that_is_never_handed_out_is_lost)
{
    history_confirm(&history, publish(20), 20);
    restart(20, 1);
    history_expect_empty(&history, queue);
    expect_wrong(HISTORY_LOST);
}

/* The log may not end below what was answered, even if nothing else shows. */
Test(history, a_log_that_ends_below_an_answer_has_lost_it)
{
    history_promise(&history, at(30), 30, "an answer");
    restart(25, 0);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_message_above_the_cut_is_unexpected)
{
    (void)publish(20);
    (void)publish(30);
    restart(25, 2);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* A transient message with a time to live, and 1. */
static uint32_t
publish_for(uint64_t expiration)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, false, 8);
    history.messages[number].expiration = expiration;
    history_enqueue(&history, number, NULL, at(0));
    return number;
}

Test(history, a_message_that_is_handed_out_after_its_time_is_unexpected)
{
    history_set_time(&history, 1000);
    uint32_t number = publish_for(101);
    history_set_time(&history, 1100);
    (void)hand_out(number, false, 0);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, a_message_that_is_not_handed_out_in_its_time_is_lost)
{
    history_set_time(&history, 1000);
    (void)publish_for(101);
    history_set_time(&history, 1099);
    history_expect_empty(&history, queue);
    expect_wrong(HISTORY_LOST);
}

/* The broker may count it until it has looked. */
Test(history, a_message_whose_time_is_over_is_counted_until_it_dies)
{
    history_set_time(&history, 1000);
    uint32_t number = publish_for(101);
    (void)publish_for(0);
    history_set_time(&history, 1100);
    history_expect_ready(&history, queue, 2, "a count");
    hear_death(HISTORY_EXPIRED, number, 0);
    history_has_expired(&history, queue);
    history_expect_ready(&history, queue, 1, "a count");
    history_check_ready(&history, queue, 1);
    expect_right();
    history_expect_ready(&history, queue, 2, "a count");
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, a_message_that_dies_before_its_time_is_lost)
{
    history_set_time(&history, 1000);
    uint32_t number = publish_for(101);
    history_set_time(&history, 1099);
    hear_death(HISTORY_EXPIRED, number, 0);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_message_that_nobody_sees_die_is_lost)
{
    history_set_time(&history, 1000);
    (void)publish_for(101);
    history_set_time(&history, 1200);
    history_has_expired(&history, queue);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_time_of_the_queue_counts_for_what_comes)
{
    history_set_time(&history, 1000);
    history.queues[queue].ttl_ms = 100;
    uint32_t number = publish_for(0);
    history_set_time(&history, 1100);
    (void)hand_out(number, false, 0);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, a_message_without_time_may_be_handed_out_in_its_tick_only)
{
    history_set_time(&history, 1000);
    (void)hand_out(publish_for(1), false, 0);
    expect_right();
    uint32_t number = publish_for(1);
    history_end_tick(&history, 0, 0);
    (void)hand_out(number, false, 0);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* It expires when it comes back. */
Test(history, a_message_that_comes_back_after_its_time_is_not_handed_out_again)
{
    history_set_time(&history, 1000);
    uint32_t number = publish_for(101);
    uint32_t copy = hand_out(number, false, 0);
    history_set_time(&history, 2000);
    history_give_back(&history, queue, copy);
    history_expect_empty(&history, queue);
    expect_right();
    (void)hand_out(number, true, 0);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* An acknowledgement that is on the disk is never forgotten. */
Test(history, an_acknowledged_message_that_comes_again_is_unexpected)
{
    uint32_t number = publish(20);
    history_settle(&history, queue, hand_out(number, false, 20), at(30));
    restart(30, 0);
    expect_right();
    (void)hand_out(number, true, 40);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* One that was not flushed may be. */
Test(history, an_acknowledgement_above_the_cut_may_be_forgotten)
{
    uint32_t number = publish(20);
    history_settle(&history, queue, hand_out(number, false, 20), at(30));
    restart(25, 1);
    (void)hand_out(number, true, 40);
    expect_right();
}

Test(history, a_message_with_a_client_is_not_handed_out_again)
{
    uint32_t number = publish(20);
    (void)hand_out(number, false, 20);
    (void)hand_out(number, false, 20);
    expect_wrong(HISTORY_DUPLICATED);
}

Test(history, a_message_that_was_seen_comes_again_only_with_the_mark)
{
    uint32_t number = publish(20);
    hand_out_and_see(number, false, 20);
    restart(20, 1);
    (void)hand_out(number, false, 40);
    expect_wrong(HISTORY_DUPLICATED);
}

/* The log says so before it happens, but nobody waits for the disk. */
Test(history, a_power_cut_may_take_a_mark_that_was_not_flushed)
{
    uint32_t number = publish(20);
    hand_out_and_see(number, false, 30);
    history_crash(&history, 25, true);
    history_found_queue(&history, 0, 7, 1);
    (void)hand_out(number, false, 40);
    expect_right();
}

Test(history, a_mark_that_was_flushed_survives_a_power_cut)
{
    uint32_t number = publish(20);
    hand_out_and_see(number, false, 30);
    history_crash(&history, 30, true);
    history_found_queue(&history, 0, 7, 1);
    (void)hand_out(number, false, 40);
    expect_wrong(HISTORY_DUPLICATED);
}

Test(history, a_message_that_came_back_is_marked)
{
    uint32_t number = publish(20);
    history_give_back(&history, queue, hand_out(number, false, 20));
    (void)hand_out(number, false, 20);
    expect_wrong(HISTORY_DUPLICATED);
}

Test(history, a_message_that_nobody_had_is_not_marked)
{
    (void)hand_out(publish(20), true, 20);
    expect_wrong(HISTORY_ANSWER);
}

Test(history, order_is_that_of_publishing)
{
    (void)publish(20);
    (void)hand_out(publish(30), false, 30);
    expect_wrong(HISTORY_ORDER);
}

/* What comes back takes its old place. */
Test(history, a_message_that_came_back_is_before_those_behind_it)
{
    uint32_t first = publish(20);
    uint32_t second = publish(20);
    uint32_t third = publish(20);
    uint32_t copy = hand_out(first, false, 20);
    (void)hand_out(second, false, 20);
    history_give_back(&history, queue, copy);
    (void)hand_out(third, false, 20);
    expect_wrong(HISTORY_ORDER);
}

/* A persistent message of that priority. */
static uint32_t
publish_at(uint8_t priority, uint64_t position)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history.messages[number].priority = priority;
    history_enqueue(&history, number, NULL, at(position));
    return number;
}

Test(history, the_highest_level_is_served_first_and_in_each_what_came_first)
{
    history.queues[queue].level_max = 2;
    (void)publish_at(1, 20);
    (void)publish_at(2, 21);
    (void)publish_at(9, 22); /* counts as the highest */
    (void)publish_at(0, 23);
    (void)hand_out(1, false, 30);
    (void)hand_out(2, false, 30);
    (void)hand_out(0, false, 30);
    (void)hand_out(3, false, 30);
    expect_right();
}

Test(history, a_lower_level_before_a_higher_one_is_out_of_order)
{
    history.queues[queue].level_max = 2;
    (void)publish_at(1, 20);
    (void)publish_at(2, 21);
    (void)hand_out(0, false, 30);
    expect_wrong(HISTORY_ORDER);
}

Test(history, a_queue_without_levels_heeds_no_priority)
{
    (void)publish_at(1, 20);
    (void)publish_at(2, 21);
    (void)hand_out(1, false, 30);
    expect_wrong(HISTORY_ORDER);
}

Test(history, a_message_of_another_queue_is_unexpected)
{
    uint32_t other = history_make_queue(&history, 1, 8, true, NO_LIMIT, at(11));
    uint32_t number = publish(20);
    (void)history_hand_out(&history, other,
                           &(struct history_handing){.message = number, .span = at(20)});
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, a_confirm_before_the_flush_is_early)
{
    history_confirm(&history, publish(20), 19);
    expect_wrong(HISTORY_EARLY);
}

/* Nothing of it is in the log, so nobody has to wait. */
Test(history, a_transient_message_is_confirmed_at_once)
{
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, false, 8);
    history_enqueue(&history, number, NULL, at(20));
    history_confirm(&history, number, 0);
    restart(10, 0);
    expect_right();
}

/* The cut goes through what was purged: some of it may be back, in order. */
Test(history, what_the_cut_goes_through_may_be_either)
{
    uint32_t first = publish(20);
    uint32_t second = publish(20);
    (void)history_purge(&history, queue, 30);
    history_end_tick(&history, 40, 50);
    restart(45, 1);
    expect_right();
    cr_expect(eq(u32, history.queues[queue].maybe_count, 2));
    (void)hand_out(second, false, 60);
    expect_right();
    (void)hand_out(first, false, 60);
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, a_purge_that_is_on_the_disk_is_never_forgotten)
{
    (void)publish(20);
    (void)history_purge(&history, queue, 30);
    history_end_tick(&history, 40, 50);
    restart(50, 1);
    expect_wrong(HISTORY_UNEXPECTED);
}

/* A transaction has one place in the log: all of it is there or nothing. */
Test(history, half_a_transaction_is_wrong)
{
    uint32_t settled = hand_out(publish(20), false, 20);
    uint32_t other = history_make_queue(&history, 1, 8, true, NO_LIMIT, at(11));
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 1, true, 8);
    history_enqueue(&history, number, NULL, at(30));
    history_settle(&history, queue, settled, at(30));
    history_crash(&history, 30, false);
    history_found_queue(&history, 0, 7, 0);
    expect_right();
    history_found_queue(&history, 1, 8, 0);
    expect_wrong(HISTORY_LOST);
    (void)other;
}

Test(history, a_queue_that_is_gone_is_lost)
{
    history_crash(&history, 10, false);
    history_found_queue(&history, 0, 0, 0);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_queue_whose_deletion_is_on_the_disk_does_not_come_back)
{
    history_drop_queue(&history, queue, at(20));
    history_crash(&history, 20, false);
    history_found_queue(&history, 0, 7, 0);
    expect_wrong(HISTORY_TOPOLOGY);
}

/* With all that was in it. */
Test(history, a_queue_whose_deletion_is_not_on_the_disk_comes_back)
{
    history_confirm(&history, publish(15), 15);
    history_drop_queue(&history, queue, at(20));
    restart(19, 1);
    expect_right();
    cr_expect(eq(u32, history_find_queue(&history, 0), queue));
}

/* It has the name, but it is another one. */
Test(history, a_queue_is_not_taken_for_its_successor)
{
    history_drop_queue(&history, queue, at(20));
    (void)history_make_queue(&history, 0, 8, true, NO_LIMIT, at(30));
    history_crash(&history, 30, false);
    history_found_queue(&history, 0, 7, 0);
    cr_expect(ge(u64, history.wrong_count, 1));
}

Test(history, a_binding_that_is_gone_is_lost)
{
    uint32_t exchange = history_make_exchange(&history, 3, HISTORY_FANOUT, true, at(11));
    (void)history_bind(&history, exchange, queue, 1, at(12));
    history_crash(&history, 12, false);
    history_found_queue(&history, 0, 7, 0);
    history_found_exchange(&history, 3, true);
    history_end_findings(&history);
    expect_wrong(HISTORY_LOST);
}

Test(history, a_binding_that_was_removed_does_not_come_back)
{
    uint32_t exchange = history_make_exchange(&history, 3, HISTORY_FANOUT, true, at(11));
    (void)history_bind(&history, exchange, queue, 1, at(12));
    history_unbind(&history, exchange, queue, 1, at(13));
    history_crash(&history, 13, false);
    history_found_queue(&history, 0, 7, 0);
    history_found_exchange(&history, 3, true);
    history_found_binding(&history, 3, 0, 1);
    expect_wrong(HISTORY_TOPOLOGY);
}

/* Limits --------------------------------------------------------------------------------------- */

static void
limit_queue(enum history_overflow overflow, uint64_t length_max)
{
    history.queues[queue].limit = (struct history_limit){
        .overflow = overflow, .length_max = length_max, .bytes_max = UINT64_MAX};
}

Test(history, what_a_limit_drops_is_no_loss_and_is_not_handed_out)
{
    limit_queue(HISTORY_DROPS, 2);
    uint32_t first = publish(20);
    (void)publish(30);
    (void)publish(40);
    hear_death(HISTORY_TOO_MANY, first, 50);
    history_check_ready(&history, queue, 2);
    cr_expect(eq(u64, history.wrong_count, 0));
    cr_expect(eq(u64, history.sums.dropped, 1));
    (void)history_hand_out(
        &history, queue,
        &(struct history_handing){.message = first, .is_final = true, .span = at(60)});
    cr_expect(eq(u64, history.wrongs[HISTORY_UNEXPECTED], 1));
}

Test(history, what_is_missing_and_was_not_seen_to_die_is_a_loss)
{
    limit_queue(HISTORY_DROPS, 1);
    (void)publish(20);
    (void)publish(30);
    history_check_ready(&history, queue, 1);
    cr_expect(eq(u64, history.wrongs[HISTORY_LOST], 1));
}

Test(history, what_is_dropped_within_the_limit_is_a_loss)
{
    limit_queue(HISTORY_DROPS, 2);
    uint32_t first = publish(20);
    (void)publish(30);
    hear_death(HISTORY_TOO_MANY, first, 40);
    expect_wrong(HISTORY_LOST);
}

Test(history, dropping_another_than_the_head_is_a_loss)
{
    limit_queue(HISTORY_DROPS, 1);
    (void)publish(20);
    hear_death(HISTORY_TOO_MANY, publish(30), 40);
    expect_wrong(HISTORY_LOST);
}

/* What was dropped and not written down comes back with a power cut. */
Test(history, a_drop_holds_after_a_cut_behind_it)
{
    limit_queue(HISTORY_DROPS, 1);
    uint32_t first = publish(20);
    (void)publish(30);
    hear_death(HISTORY_TOO_MANY, first, 40);
    history_end_tick(&history, 50, 50);
    const struct history_copy *dropped = &history.queues[queue].copies[0];
    cr_expect(eq(int, history_copy_after_cut(&history, dropped, 39), HISTORY_PRESENT));
    cr_expect(eq(int, history_copy_after_cut(&history, dropped, 45), HISTORY_MAYBE));
    cr_expect(eq(int, history_copy_after_cut(&history, dropped, 50), HISTORY_ABSENT));
}

Test(history, refusing_without_need_and_taking_without_room_are_wrong)
{
    static const bool no = false;
    static const bool yes = true;
    limit_queue(HISTORY_REFUSES, 1);
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, &no, at(20));
    cr_expect(eq(u64, history.wrongs[HISTORY_LOST], 1));
    number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, &yes, at(30));
    number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, &no, at(40));
    cr_expect(eq(u64, history.wrong_count, 1));
    cr_expect(history.messages[number].is_refused);
    number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    history_enqueue(&history, number, &yes, at(50));
    cr_expect(eq(u64, history.wrongs[HISTORY_ANSWER], 1));
}

/* Dead letters --------------------------------------------------------------------------------- */

/* The dead of the queue go to another, which is returned. */
static uint32_t
add_dead_letter_queue(void)
{
    history.queues[queue].dead_letter_name = 1;
    return history_make_queue(&history, 1, 8, true, NO_LIMIT, at(11));
}

/* A persistent message that a client had, has rejected, and that was moved in that span. */
static uint32_t
reject_and_move(struct history_span span)
{
    uint32_t number = publish(20);
    uint32_t copy = hand_out(number, false, 20);
    hear_death(HISTORY_REJECTED, number, span.first);
    history_die(&history, queue, copy, span);
    history_move_dead(&history, queue, span);
    return number;
}

static void
restart_both(uint64_t cut, uint64_t here_count, uint64_t there_count)
{
    history_crash(&history, cut, false);
    history_found_queue(&history, 0, 7, here_count);
    history_found_queue(&history, 1, 8, there_count);
    history_end_findings(&history);
}

Test(history, what_was_rejected_is_where_the_dead_go)
{
    uint32_t dead = add_dead_letter_queue();
    uint32_t number = reject_and_move(at(30));
    history_expect_empty(&history, queue);
    (void)history_hand_out(&history, dead,
                           &(struct history_handing){.message = number, .span = at(40)});
    expect_right();
}

/* A message that was handed out is marked when it is back; where it went, it is not. */
Test(history, after_a_crash_a_dead_message_is_in_either_place)
{
    uint32_t dead = add_dead_letter_queue();
    uint32_t number = reject_and_move((struct history_span){30, 40});
    restart_both(35, 1, 0);
    (void)hand_out(number, false, 50);
    history_expect_empty(&history, dead);
    expect_right();
}

Test(history, after_a_crash_a_dead_message_that_is_in_both_places_is_wrong)
{
    uint32_t dead = add_dead_letter_queue();
    uint32_t number = reject_and_move((struct history_span){30, 40});
    restart_both(35, 1, 1);
    (void)hand_out(number, false, 50);
    (void)history_hand_out(&history, dead,
                           &(struct history_handing){.message = number, .span = at(50)});
    expect_wrong(HISTORY_UNEXPECTED);
}

Test(history, after_a_crash_a_dead_message_that_is_in_no_place_is_lost)
{
    uint32_t dead = add_dead_letter_queue();
    (void)reject_and_move((struct history_span){30, 40});
    restart_both(35, 0, 0);
    history_expect_empty(&history, queue);
    expect_right();
    history_expect_empty(&history, dead);
    expect_wrong(HISTORY_LOST);
}

/* Unless somebody has taken it there. */
Test(history, a_dead_message_that_is_done_with_may_be_in_no_place)
{
    uint32_t dead = add_dead_letter_queue();
    uint32_t number = reject_and_move((struct history_span){30, 40});
    uint32_t copy = history_hand_out(&history, dead,
                                     &(struct history_handing){.message = number, .span = at(50)});
    history_settle(&history, dead, copy, (struct history_span){30, 60});
    restart_both(35, 0, 0);
    history_expect_empty(&history, queue);
    history_expect_empty(&history, dead);
    expect_right();
}

Test(history, what_goes_in_circles_without_a_rejection_is_gone)
{
    history.queues[queue].dead_letter_name = 0;
    limit_queue(HISTORY_DROPS, 0);
    uint32_t number = publish(20);
    hear_death(HISTORY_TOO_MANY, number, 30);
    history_move_dead(&history, queue, at(30));
    history_check_ready(&history, queue, 0);
    expect_right();
}

Test(history, what_is_rejected_may_go_in_circles)
{
    history.queues[queue].dead_letter_name = 0;
    (void)hand_out(reject_and_move(at(30)), false, 40);
    expect_right();
}

Test(history, a_refused_message_that_is_buried_goes_where_the_dead_go)
{
    uint32_t dead = add_dead_letter_queue();
    limit_queue(HISTORY_REFUSES, 0);
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    struct history_death death = {
        .reason = HISTORY_TOO_MANY, .is_refused = true, .message = number};
    history_hear_death(&history, queue, &death, 20);
    history_move_dead(&history, queue, at(30));
    (void)history_hand_out(&history, dead,
                           &(struct history_handing){.message = number, .span = at(40)});
    expect_right();
}

Test(history, burying_what_there_is_room_for_is_a_loss)
{
    limit_queue(HISTORY_REFUSES, 1);
    uint32_t number = history_attempt(&history, HISTORY_DEFAULT_EXCHANGE, 0, true, 8);
    struct history_death death = {
        .reason = HISTORY_TOO_MANY, .is_refused = true, .message = number};
    history_hear_death(&history, queue, &death, 20);
    expect_wrong(HISTORY_LOST);
}
