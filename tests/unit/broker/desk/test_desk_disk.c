/* SPDX-License-Identifier: Apache-2.0 */
/* The desk over a real data directory: with contents and entries that are on disk only, over
 * restarts, and when the process is killed. */
#include "broker/desk/desk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amqp/properties.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging_state.h"
#include "broker/topology/pause.h"
#include "tests/unit/broker/desk_harness.h"
#include "tests/unit/broker/directory_rig.h"

static char path[DIRECTORY_PATH_SIZE];
static struct rig *rig;
static struct data_directory *data;
static uint64_t client;
static struct desk_outcome outcome;

static void
start(void)
{
    data = directory_rig_open(&rig, path);
}

static void
pump(void)
{
    directory_rig_turn(rig, data);
}

static void
stop(void)
{
    for (int i = 0; i < 30; i++) {
        pump();
    }
    queue_check(find_queue(rig, "q"));
    queue_check(find_queue(rig, "t"));
    directory_rig_close(&rig, &data);
}

static void
declare(const char *name)
{
    struct method queue = {.id = METHOD_QUEUE_DECLARE,
                           .queue_declare = {.queue = bytes_of(name), .durable = true}};
    rig_send(rig, client, 1, &queue);
    directory_rig_expect(rig, data, client, METHOD_QUEUE_DECLARE_OK);
}

static void
set_up(void)
{
    directory_make(path, "desk");
    start();
    (void)rig_add_vhost(rig, "/");
    rig_add_user(rig, "u", "p");
    client = messaging_client(rig);
    declare("q");
    declare("t");
}

static void
tear_down(void)
{
    stop();
    directory_remove(path);
}

TestSuite(desk_disk, .init = set_up, .fini = tear_down);

/* The body is the text of the number, padded. */
static void
publish(int number, size_t size, bool is_persistent)
{
    struct buffer block;
    char id[16];
    char *body = calloc(1, size);
    buffer_init(&block);
    (void)snprintf(id, sizeof(id), "m%d", number);
    (void)snprintf(body, size, "%d", number);
    struct properties properties = {
        .flags = PROPERTY_MESSAGE_ID | PROPERTY_DELIVERY_MODE,
        .message_id = bytes_of(id),
        .delivery_mode = is_persistent ? 2 : 1,
    };
    properties_encode(&block, &properties);
    while (rig_link(rig, client)->is_paused) {
        pump();
    }
    rig_publish_as(rig, client, 1,
                   &(struct rig_publish){.exchange = "",
                                         .routing_key = "q",
                                         .properties = buffer_bytes(&block),
                                         .body = bytes_make(body, size),
                                         .is_persistent = is_persistent});
    buffer_fini(&block);
    free(body);
}

static void
publish_many(int count, size_t size, bool is_persistent)
{
    for (int i = 1; i <= count; i++) {
        publish(i, size, is_persistent);
        if (i % 500 == 0) {
            pump();
        }
    }
    for (int i = 0; i < 60; i++) {
        pump();
    }
}

static struct desk_order
to_t(void)
{
    return (struct desk_order){
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("t")},
    };
}

/* Asserts that exactly the messages from `first` to `last` are shown in the queue, in order. */
static void
expect_shown(const char *queue, int first, int last)
{
    struct desk_cursor cursor = {0};
    int number = first;
    do {
        struct desk_order request = {.action = DESK_BROWSE, .from = cursor, .limit = 1000};
        desk_run(rig, queue, &request, pump, &outcome);
        cursor = outcome.progress.cursor;
        for (uint32_t i = 0; i < outcome.shown_count; i++, number++) {
            cr_assert(eq(int, (int)strtol(outcome.shown[i].body, NULL, 10), number));
        }
    } while (outcome.shown_count == 1000);
    cr_expect(eq(int, number, last + 1));
}

Test(desk_disk, contents_in_the_log_are_read_and_let_go_of_again)
{
    publish_many(3000, 8000, true);
    const struct paging_counters *paging = core_paging_counters(rig->core);
    uint64_t fetches = paging->fetches;
    expect_shown("q", 1, 3000);
    cr_expect(lt(u64, fetches, paging->fetches));
    struct desk_order find = {.action = DESK_BROWSE, .filter = {.message_id = bytes_of("m1234")}};
    desk_run(rig, "q", &find, pump, &outcome);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1234"));
    struct desk_order request = to_t();
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 3000));
    expect_shown("t", 1, 3000);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

Test(desk_disk, contents_in_spill_files_are_read_and_let_go_of_again)
{
    publish_many(3000, 8000, false);
    expect_shown("q", 1, 3000);
    struct desk_order request = to_t();
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 3000));
    expect_shown("t", 1, 3000);
    struct desk_order drop = {.action = DESK_DROP, .filter = {.message_id = bytes_of("m")}};
    desk_run(rig, "t", &drop, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 3000));
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
}

/* More entries than a queue keeps in memory. */
Test(desk_disk, entries_in_spill_files_are_shown_and_taken_where_they_are)
{
    enum { COUNT = 90000 };
    publish_many(COUNT, 8, true);
    cr_assert(find_queue(rig, "q")->deque.has_runs);
    struct desk_order group = {.action = DESK_GROUP};
    desk_run(rig, "q", &group, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, COUNT));
    cr_expect(eq(u64, outcome.progress.unreadable_count, 0));
    cr_assert(find_queue(rig, "q")->deque.has_runs, "it was looked at where it is");
    struct desk_order find = {.action = DESK_BROWSE, .filter = {.message_id = bytes_of("m4567")}};
    desk_run(rig, "q", &find, pump, &outcome);
    cr_expect(eq(str, (char *)shown_bodies(&outcome),
                 "4567 45670 45671 45672 45673 45674 45675 "
                 "45676 45677 45678 45679"));
    struct desk_order some = to_t();
    some.filter.message_id = bytes_of("m4567");
    desk_run(rig, "q", &some, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 11));
    queue_check(find_queue(rig, "q"));
    cr_expect(eq(u64, ready_count(rig, "q"), COUNT - 11));
    desk_run(rig, "q", &find, pump, &outcome);
    cr_expect(eq(u32, outcome.shown_count, 0));
    desk_run(rig, "t", &find, pump, &outcome);
    cr_expect(eq(u32, outcome.shown_count, 11));
}

/* From now on one block of contents may be in memory at a time, whoever it is for. */
static void
leave_room_for_one_block(void)
{
    rig->core->settings.memory_mark_bytes = 4 * FETCH_WINDOW - 1;
    for (int i = 0; i < 100; i++) {
        pump();
    }
    cr_assert(eq(int, (int)rig->core->alarms, 0));
    cr_assert(eq(u64, rig->core->paging->window_octets, 0));
}

/* A job that has read a block of contents, and has the rest of a second to wait for its rate. */
static void
begin_slow_job(void)
{
    struct desk_order request = to_t();
    request.rate = 1;
    desk_begin_job(rig, "q", &request, &outcome);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && ready_count(rig, "t") == 0; i++) {
        pump();
    }
    cr_assert(eq(u64, rig->core->paging->window_octets, FETCH_WINDOW));
}

static enum desk_state
job_state(void)
{
    return desk_job_progress(desk_find(rig->core, outcome.number))->state;
}

/* What its block keeps in memory might be what is too much: the alarm would never end. */
Test(desk_disk, a_job_that_waits_for_the_end_of_an_alarm_keeps_nothing_that_it_has_read)
{
    publish_many(300, 8000, true);
    leave_room_for_one_block();
    begin_slow_job();
    rig->core->settings.memory_mark_bytes = 1;
    for (int i = 0; i < DIRECTORY_TURNS_MAX && job_state() != DESK_WAITS_FOR_ALARM; i++) {
        pump();
    }
    cr_expect(eq(int, (int)job_state(), DESK_WAITS_FOR_ALARM));
    cr_expect(eq(u64, rig->core->paging->window_octets, 0));
    rig->core->settings.memory_mark_bytes = DIRECTORY_MARK;
    for (int i = 0; i < DIRECTORY_TURNS_MAX && ready_count(rig, "t") < 3; i++) {
        pump();
    }
    cr_expect(eq(u64, ready_count(rig, "t"), 3), "it reads again, and goes on");
}

/* It would keep everybody else from reading for as long as it waits, which may be hours. */
Test(desk_disk, a_job_that_waits_for_its_rate_gives_way_to_who_takes_messages)
{
    publish_many(300, 8000, true);
    leave_room_for_one_block();
    begin_slow_job();
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, client, 1, &get);
    const struct posted *answer = NULL;
    for (int i = 0; i < 50 && answer == NULL; i++) {
        pump();
        answer = rig_next(rig, client);
    }
    cr_assert(not(zero(ptr, (void *)(uintptr_t)answer)));
    cr_expect(eq(int, (int)answer->method.id, METHOD_BASIC_GET_OK));
    for (int i = 0; i < DIRECTORY_TURNS_MAX && ready_count(rig, "t") < 3; i++) {
        pump();
    }
    cr_expect(eq(u64, ready_count(rig, "t"), 3), "it reads again, and goes on");
}

/* Somebody waits for room to read the head of a queue, from which the last message is taken
 * meanwhile: he is told that there is none. */
Test(desk_disk, who_waits_for_a_head_that_is_taken_out_meanwhile_is_answered)
{
    publish_many(300, 8000, true);
    leave_room_for_one_block();
    rig->core->paging->window_octets += FETCH_WINDOW;
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, client, 1, &get);
    pump();
    cr_assert(find_queue(rig, "q")->head_waits);
    struct desk_order drop = {.action = DESK_DROP};
    desk_run(rig, "q", &drop, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 300));
    directory_rig_expect(rig, data, client, METHOD_BASIC_GET_EMPTY);
    rig->core->paging->window_octets -= FETCH_WINDOW;
}

/* A walk that has a block of the log and needs a spill file next has to let go of the block first,
 * or it waits for room that it takes up itself. */
Test(desk_disk, a_job_does_not_wait_for_room_that_it_takes_up_itself)
{
    enum { COUNT = 40 };
    for (int i = 1; i <= COUNT; i++) {
        publish(i, 100000, i % 2 == 0);
    }
    publish_many(100, 100000, true);
    leave_room_for_one_block();
    struct desk_order find = {.action = DESK_GROUP};
    desk_run(rig, "q", &find, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, COUNT + 100));
}

/* The process is killed while it replays: what was promised is there once, and another run goes on
 * with the rest. */
static void
replay_until_killed(void)
{
    struct desk_order request = to_t();
    desk_begin_job(rig, "q", &request, &outcome);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && !outcome.is_done; i++) {
        pump();
        if (ready_count(rig, "t") > 3000) {
            (void)raise(SIGKILL);
        }
    }
    _exit(1);
}

Test(desk_disk, a_kill_loses_nothing_and_doubles_nothing)
{
    enum { COUNT = 10000 };
    publish_many(COUNT, 100, true);
    stop();
    pid_t child = fork();
    if (child == 0) {
        start();
        replay_until_killed();
    }
    int status;
    pid_t ended = waitpid(child, &status, 0);
    cr_assert(eq(int, (int)ended, (int)child));
    bool is_killed = WIFSIGNALED(status);
    cr_assert(is_killed);
    start();
    uint64_t moved = ready_count(rig, "t");
    cr_expect(eq(u64, moved + ready_count(rig, "q"), COUNT));
    struct desk_order request = to_t();
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, COUNT - moved));
    expect_shown("t", 1, COUNT);
}

Test(desk_disk, a_paused_queue_is_paused_after_a_restart)
{
    uint64_t token;
    enum status status = core_pause_queue(rig->core, find_queue(rig, "q"), true, bytes_of("ops"),
                                          bytes_of(""), &token);
    cr_assert(eq(int, (int)status, STATUS_OK));
    stop();
    start();
    cr_expect(find_queue(rig, "q")->is_paused);
    cr_expect(not(find_queue(rig, "t")->is_paused));
}
