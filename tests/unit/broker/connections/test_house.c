/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in slices, the house's connection and surveys, on a core without threads. */
#include "broker/connections/house.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/request.h"
#include "broker/survey/survey.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t client;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(house, .init = set_up, .fini = tear_down);

/* Requests ----------------------------------------------------------------------------------- */

struct counting {
    struct request request;
    uint32_t rows_left, calls, rows_at_most;
    bool waits, was_abandoned, has_ended;
};

static enum request_progress
count_rows(struct request *request, struct core *core, uint32_t *budget)
{
    struct counting *counting = CONTAINER_OF(request, struct counting, request);
    (void)core;
    counting->calls++;
    if (counting->waits) {
        return REQUEST_WAITING;
    }
    uint32_t rows = counting->rows_left < *budget ? counting->rows_left : *budget;
    counting->rows_at_most = rows > counting->rows_at_most ? rows : counting->rows_at_most;
    counting->rows_left -= rows;
    *budget -= rows;
    return counting->rows_left == 0 ? REQUEST_DONE : REQUEST_MORE;
}

static void
note_abandoned(struct request *request, struct core *core)
{
    (void)core;
    CONTAINER_OF(request, struct counting, request)->was_abandoned = true;
}

static void
note_ended(struct request *request)
{
    CONTAINER_OF(request, struct counting, request)->has_ended = true;
}

static struct counting
counting_of(uint32_t rows)
{
    return (struct counting){
        .request = {.step = count_rows, .abandon = note_abandoned, .ended = note_ended},
        .rows_left = rows,
    };
}

/* Figure: nothing on the admin side moves message p99. */
Test(house, a_long_request_takes_its_share_of_each_tick_and_no_more)
{
    struct counting counting = counting_of(10 * CORE_REQUEST_ROWS_MIN);
    core_ask(rig->core, &counting.request);
    rig_turn(rig);
    cr_expect(eq(u32, counting.calls, 1));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0), "the next tick follows at once");
    for (int i = 0; i < 9; i++) {
        rig_turn(rig);
    }
    cr_expect(counting.has_ended);
    cr_expect(eq(u32, counting.rows_at_most, CORE_REQUEST_ROWS_MIN));
    cr_expect(eq(int, counting.request.status, STATUS_OK));
}

/* Each publish of the harness is a tick of its own. */
Test(house, a_request_lets_the_messages_of_a_tick_go_first)
{
    struct counting counting = counting_of(3 * CORE_REQUEST_ROWS_MIN);
    rig_turn(rig);
    core_ask(rig->core, &counting.request);
    rig_turn(rig);
    cr_expect(eq(u32, counting.calls, 1));
    publish_text(rig, client, "nowhere", "x");
    cr_expect(eq(u32, counting.calls, 1));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0), "it does not wait for another message");
    publish_text(rig, client, "nowhere", "x");
    cr_expect(eq(u32, counting.calls, 2), "clients that never stop keep no request waiting");
    rig_turn(rig);
    cr_expect(counting.has_ended);
}

Test(house, a_tick_of_many_messages_takes_more_rows)
{
    struct counting counting = counting_of(UINT32_MAX);
    rig_turn(rig);
    core_ask(rig->core, &counting.request);
    for (int tick = 0; tick < 2; tick++) {
        rig->core->events_of_tick = 4 * CORE_REQUEST_EVENTS_PER_ROW * CORE_REQUEST_ROWS_MIN;
        rig_turn(rig);
    }
    cr_expect(eq(u32, counting.calls, 1));
    cr_expect(eq(u32, counting.rows_at_most, 4 * CORE_REQUEST_ROWS_MIN));
    for (int tick = 0; tick < 2; tick++) {
        rig->core->events_of_tick = UINT32_MAX;
        rig_turn(rig);
    }
    cr_expect(eq(u32, counting.rows_at_most, CORE_REQUEST_ROWS_MAX));
    core_refuse_requests(rig->core);
}

Test(house, requests_take_turns)
{
    struct counting large = counting_of(5 * CORE_REQUEST_ROWS_MIN);
    struct counting small = counting_of(1);
    core_ask(rig->core, &large.request);
    core_ask(rig->core, &small.request);
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(small.has_ended);
    cr_expect(not(large.has_ended));
    core_refuse_requests(rig->core);
}

Test(house, a_request_that_waits_makes_no_tick)
{
    struct counting counting = counting_of(1);
    counting.waits = true;
    core_ask(rig->core, &counting.request);
    rig_turn(rig);
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
    atomic_store(&counting.request.is_cancelled, true);
    rig_turn(rig);
    cr_expect(counting.was_abandoned);
    cr_expect(eq(int, counting.request.status, STATUS_AGAIN));
}

Test(house, when_the_broker_stops_requests_are_refused)
{
    struct counting before = counting_of(1);
    struct counting after = counting_of(1);
    before.waits = true;
    core_ask(rig->core, &before.request);
    core_refuse_requests(rig->core);
    core_ask(rig->core, &after.request);
    cr_expect(before.was_abandoned);
    cr_expect(eq(int, before.request.status, STATUS_REJECTED));
    cr_expect(eq(int, after.request.status, STATUS_REJECTED));
    cr_expect(eq(u32, after.calls, 0));
}

/* The house ---------------------------------------------------------------------------------- */

static struct house *
open_house(const char *user)
{
    struct fault fault;
    struct bytes name = user == NULL ? bytes_make(NULL, 0) : bytes_of(user);
    struct house *house = house_open(rig->core, name, bytes_of("/"), &fault);
    cr_assert(ne(ptr, house, NULL), "%s", fault.text);
    return house;
}

static void
declare(struct house *house, const char *name)
{
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name)},
    };
    house_call(house, &method);
    cr_assert(house_is_answered(house));
}

Test(house, it_declares_by_the_same_handlers_and_counts_nowhere)
{
    struct core_counters before = rig->core->counters;
    uint32_t connections = core_connection_count(rig->core);
    struct house *house = open_house(NULL);
    declare(house, "q");
    cr_expect(eq(u16, house->answer.reply_code, 0));
    cr_expect(eq(int, house->answer.method.id, METHOD_QUEUE_DECLARE_OK));
    cr_expect(ne(ptr, find_queue(rig, "q"), NULL));
    cr_expect(eq(u32, core_connection_count(rig->core), connections));
    house_free(&house);
    rig_turn(rig);
    cr_expect(eq(u64, rig->core->counters.connections_opened, before.connections_opened));
    cr_expect(eq(u64, rig->core->counters.channels_opened, before.channels_opened));
    cr_expect(eq(u64, rig->core->counters.channels_closed, before.channels_closed));
    cr_expect(eq(u32, core_connection_count(rig->core), connections));
    cr_expect(eq(u32, rig_vhost(rig)->connection_count, 1));
}

Test(house, a_users_rights_hold_and_the_text_is_a_clients)
{
    struct config_user config = rig_user("small", NULL);
    config.password = "x";
    config.configure = "^mine";
    rig_put_user(rig, &config);
    struct house *house = open_house("small");
    declare(house, "other");
    cr_expect(eq(u16, house->answer.reply_code, 403));
    cr_expect(eq(str, house->answer.reply_text,
                 "ACCESS_REFUSED - configure access to queue 'other' in vhost '/' refused for user "
                 "'small'"));
    house_free(&house);
    cr_expect(eq(ptr, find_queue(rig, "other"), NULL));
}

Test(house, who_is_gone_or_may_not_enter_gets_no_house)
{
    struct fault fault;
    cr_expect(eq(ptr, house_open(rig->core, bytes_of("nobody"), bytes_of("/"), &fault), NULL));
    cr_expect(eq(u16, fault.reply_code, 403));
    cr_expect(eq(ptr, house_open(rig->core, bytes_of("u"), bytes_of("none"), &fault), NULL));
    cr_expect(eq(u16, fault.reply_code, 530));
}

static void
publish(struct house *house, const char *key)
{
    struct house_message message = {
        .exchange = bytes_make("", 0),
        .routing_key = bytes_of(key),
        .properties = bytes_make("\0\0", 2),
        .body = bytes_of("hello"),
    };
    house_publish(house, &message);
    for (int i = 0; i < 3 && !house_is_answered(house); i++) {
        rig_turn(rig);
    }
    cr_assert(house_is_answered(house));
}

Test(house, it_publishes_and_hears_what_came_of_it)
{
    struct house *house = open_house(NULL);
    declare(house, "q");
    publish(house, "q");
    cr_expect(eq(int, house->answer.method.id, METHOD_BASIC_ACK));
    cr_expect(not(house->answer.was_returned));
    publish(house, "nowhere");
    cr_expect(eq(int, house->answer.method.id, METHOD_BASIC_ACK));
    cr_expect(house->answer.was_returned);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    house_free(&house);
    rig_turn(rig);
}

/* One gate for every way in. */
Test(house, while_publishers_are_blocked_it_publishes_nothing)
{
    struct house *house = open_house(NULL);
    declare(house, "q");
    core_set_alarm(rig->core, ALARM_DISK, true);
    publish(house, "q");
    cr_expect(eq(u16, house->answer.reply_code, 506));
    cr_expect(ne(ptr, strstr(house->answer.reply_text, "low on disk"), NULL));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    house_free(&house);
    core_set_alarm(rig->core, ALARM_DISK, false);
}

Test(house, what_it_looks_at_goes_back_and_has_not_failed)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    declare_queue(rig, client, "q");
    publish_text(rig, client, "q", "one");
    struct house *house = open_house(NULL);
    house_call(house, &get);
    cr_assert(house_is_answered(house));
    cr_expect(eq(int, house->answer.method.id, METHOD_BASIC_GET_OK));
    cr_expect(bytes_equal_text(house->answer.body, "one"));
    cr_expect(bytes_equal_text(house->answer.routing_key, "q"));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    house_free(&house);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    const struct posted *again = get_message(rig, client, "q", true);
    cr_expect(again->method.basic_get_ok.redelivered);
}

Test(house, a_login_goes_by_the_same_desk)
{
    struct net_peer *peer = xalloc(sizeof(*peer));
    *peer = rig_local_peer();
    rig_add_user(rig, "someone", "right");
    struct house *house = house_new(rig->core, peer);
    house_login(house, bytes_of("someone"), bytes_of("right"));
    cr_expect(not(house_is_answered(house)), "the check is slow");
    rig_turn(rig);
    cr_assert(house_is_answered(house));
    cr_expect(eq(u16, house->answer.reply_code, 0));
    cr_expect(bytes_equal_text(house_user(house)->name, "someone"));
    house_free(&house);
}

Test(house, a_wrong_password_is_refused)
{
    struct net_peer *peer = xalloc(sizeof(*peer));
    *peer = rig_remote_peer("10.0.0.1");
    rig_add_user(rig, "someone", "right");
    struct house *house = house_new(rig->core, peer);
    house_login(house, bytes_of("someone"), bytes_of("wrong"));
    rig_turn(rig);
    cr_assert(house_is_answered(house));
    cr_expect(eq(u16, house->answer.reply_code, 403));
    house_free(&house);
}

/* Who asked is gone before the password was checked. */
Test(house, a_house_may_go_at_any_time)
{
    struct net_peer *peer = xalloc(sizeof(*peer));
    *peer = rig_local_peer();
    rig_add_user(rig, "someone", "right");
    struct house *house = house_new(rig->core, peer);
    house_login(house, bytes_of("someone"), bytes_of("right"));
    house_free(&house);
    rig_turn(rig);
    cr_expect(eq(ptr, house, NULL));
}

/* Surveys ------------------------------------------------------------------------------------ */

static void
declare_many(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "q%04u", i);
        declare_queue(rig, client, name);
    }
}

/* Each queue that is there all the time is met once, whatever comes and goes meanwhile. */
Test(house, a_survey_meets_every_queue_once)
{
    enum { QUEUES = 600 };
    struct queue_survey survey = {.count = 0};
    declare_many(QUEUES);
    for (uint32_t i = 0;; i++) {
        uint32_t budget = 50;
        if (queue_survey_step(&survey, rig->core, &budget) == REQUEST_DONE) {
            break;
        }
        char name[32];
        (void)snprintf(name, sizeof(name), "new%u", i);
        declare_queue(rig, client, name);
        (void)snprintf(name, sizeof(name), "q%04u", 2 * i);
        (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, name));
    }
    queue_survey_sort(&survey);
    uint32_t found = 0;
    for (uint32_t i = 0; i < survey.count; i++) {
        bool is_old = survey.rows[i]->name.data[0] == 'q';
        found += is_old && find_queue(rig, (const char *)survey.rows[i]->name.data) != NULL ? 1 : 0;
        cr_expect(i == 0 || !bytes_equal(survey.rows[i]->name, survey.rows[i - 1]->name));
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < QUEUES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "q%04u", i);
        left += find_queue(rig, name) != NULL ? 1 : 0;
    }
    cr_expect(eq(u32, found, left));
    queue_survey_fini(&survey);
}

Test(house, a_survey_shows_only_vhosts_that_the_viewer_may_enter)
{
    struct queue_survey survey = {.viewer = {.user = bytes_of("u")}};
    struct vhost *other = rig_add_vhost(rig, "other");
    struct queue_properties properties = {.name = bytes_of("hidden")};
    struct fault fault;
    struct queue *queue;
    uint32_t budget = 100;
    cr_assert(eq(int, vhost_declare_queue(other, &properties, &queue, &fault), STATUS_OK));
    declare_many(2);
    cr_assert(eq(int, queue_survey_step(&survey, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u32, survey.count, 2));
    queue_survey_fini(&survey);

    struct queue_survey all = {.viewer = {.user = bytes_of("u"), .sees_all = true}};
    budget = 100;
    cr_assert(eq(int, queue_survey_step(&all, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u32, all.count, 3));
    queue_survey_fini(&all);
}

Test(house, a_survey_of_everything_counts)
{
    struct core_survey survey = {.queues = 0};
    uint32_t budget = 1000;
    declare_many(3);
    publish_text(rig, client, "q0001", "x");
    cr_assert(eq(int, core_survey_step(&survey, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u64, survey.queues, 3));
    cr_expect(eq(u64, survey.ready, 1));
    cr_expect(eq(u64, survey.connections, 1));
    core_survey_fini(&survey);
}

/* The first tick is told as the millisecond after the one it began in. */
Test(house, a_broker_that_has_just_begun_is_up_for_nothing)
{
    struct core_survey survey = {.queues = 0};
    uint32_t budget = 1000;
    rig->core->now.begun_ms = 1;
    rig->core->first_tick_ms = rig->core->now.monotonic_ms + 1;
    cr_assert(eq(int, core_survey_step(&survey, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u64, survey.uptime_ms, 0));
    core_survey_fini(&survey);
}
