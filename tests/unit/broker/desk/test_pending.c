/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator does with messages that wait, over a real data directory: with contents in
 * memory, in the log only and in spill files, and over restarts. */
#include "broker/desk/pending.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/durability/durability.h"
#include "broker/upkeep/waiting.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/directory_rig.h"

enum { ANY_KIND = 1 << WAITING_DELAYED | 1 << WAITING_RETRY | 1 << WAITING_PARKED };

static char path[DIRECTORY_PATH_SIZE];
static struct rig *rig;
static struct data_directory *data;
static uint64_t client;

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
pump_often(int count)
{
    for (int i = 0; i < count; i++) {
        pump();
    }
}

static void
stop(void)
{
    pump_often(30);
    queue_check(find_queue(rig, "q"));
    directory_rig_close(&rig, &data);
}

static void
restart(void)
{
    stop();
    start();
    client = messaging_client(rig);
}

static void
expect(enum method_id id)
{
    directory_rig_expect(rig, data, client, id);
}

static void
declare(void)
{
    struct method queue = {.id = METHOD_QUEUE_DECLARE,
                           .queue_declare = {.queue = bytes_of("q"), .durable = true}};
    rig_send(rig, client, 1, &queue);
    expect(METHOD_QUEUE_DECLARE_OK);
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-delayed-type", bytes_of("fanout"));
    struct method exchange = {.id = METHOD_EXCHANGE_DECLARE,
                              .exchange_declare = {.exchange = bytes_of("later"),
                                                   .type = bytes_of("x-delayed-message"),
                                                   .durable = true,
                                                   .arguments = buffer_bytes(&arguments)}};
    rig_send(rig, client, 1, &exchange);
    buffer_fini(&arguments);
    expect(METHOD_EXCHANGE_DECLARE_OK);
    struct method bind = {.id = METHOD_QUEUE_BIND,
                          .queue_bind = {.queue = bytes_of("q"), .exchange = bytes_of("later")}};
    rig_send(rig, client, 1, &bind);
    expect(METHOD_QUEUE_BIND_OK);
}

static void
set_up(void)
{
    directory_make(path, "pending");
    start();
    (void)rig_add_vhost(rig, "/");
    rig_add_user(rig, "u", "p");
    client = messaging_client(rig);
    declare();
}

static void
tear_down(void)
{
    stop();
    directory_remove(path);
}

TestSuite(pending, .init = set_up, .fini = tear_down);

/* The body is the text of the number, padded; the message-id is "m" and the number. */
static void
delay_sized(int number, int64_t delay_ms, size_t size, bool is_persistent)
{
    struct buffer headers, block;
    char id[16];
    char *body = calloc(1, size);
    buffer_init(&headers);
    buffer_init(&block);
    table_put_integer(&headers, "x-delay", delay_ms);
    (void)snprintf(id, sizeof(id), "m%d", number);
    (void)snprintf(body, size, "%d", number);
    struct properties properties = {
        .flags = PROPERTY_HEADERS | PROPERTY_MESSAGE_ID | PROPERTY_DELIVERY_MODE,
        .headers = buffer_bytes(&headers),
        .message_id = bytes_of(id),
        .delivery_mode = is_persistent ? 2 : 1,
    };
    properties_encode(&block, &properties);
    while (rig_link(rig, client)->is_paused) {
        pump();
    }
    rig_publish_as(rig, client, 1,
                   &(struct rig_publish){.exchange = "later",
                                         .routing_key = "",
                                         .properties = buffer_bytes(&block),
                                         .body = bytes_make(body, size),
                                         .is_persistent = is_persistent,
                                         .has_headers = true});
    buffer_fini(&block);
    buffer_fini(&headers);
    free(body);
}

static void
delay(int number, int64_t delay_ms)
{
    delay_sized(number, delay_ms, 8, true);
}

static uint64_t
waiting_count(void)
{
    return queue_waiting_count(find_queue(rig, "q"));
}

/* Requests ------------------------------------------------------------------------------------- */

static struct {
    bool is_done;
    uint64_t count, unreadable, token;
} answer;

static void
on_done(void *context, uint64_t count, uint64_t unreadable, uint64_t token)
{
    cr_assert(eq(ptr, context, (void *)&answer));
    answer.is_done = true;
    answer.count = count;
    answer.unreadable = unreadable;
    answer.token = token;
}

/* Returns how many messages it has met, when that is on disk. */
static uint64_t
request_of(enum pending_action action, uint32_t kinds, const char *message_id)
{
    struct pending_request request = {
        .action = action,
        .kinds = kinds,
        .message_id = message_id == NULL ? (struct bytes){0} : bytes_of(message_id),
        .done = on_done,
        .context = &answer,
    };
    answer.is_done = false;
    enum status status = core_request_pending(rig->core, find_queue(rig, "q"), &request);
    cr_assert(eq(int, status, STATUS_OK));
    for (int i = 0; i < DIRECTORY_TURNS_MAX && !answer.is_done; i++) {
        pump();
    }
    cr_assert(answer.is_done);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && !core_is_committed(rig->core, answer.token); i++) {
        pump();
    }
    cr_assert(core_is_committed(rig->core, answer.token));
    return answer.count;
}

static uint64_t
cancel_by_id(const char *message_id)
{
    return request_of(PENDING_CANCEL, ANY_KIND, message_id);
}

/* Listing -------------------------------------------------------------------------------------- */

Test(pending, messages_are_listed_in_due_order_page_by_page)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    for (int i = 0; i < 250; i++) {
        delay(i, 100000 + i * 7919 % 250 * 10);
    }
    struct pending_message page[100];
    const struct due_key *after = NULL;
    struct due_key last;
    uint64_t seen = 0;
    uint64_t last_due_ms = 0;
    uint32_t count;
    while ((count = core_list_pending(rig->core, find_queue(rig, "q"), after, page, 100)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            cr_expect(ge(u64, page[i].due_wall_ms, last_due_ms));
            last_due_ms = page[i].due_wall_ms;
            cr_expect(eq(int, page[i].kind, WAITING_DELAYED));
            cr_expect(ne(u64, page[i].lsn, 0));
            cr_expect(eq(u32, page[i].body_size, 8));
            cr_assert(not(zero(ptr, (void *)page[i].content)));
        }
        last = page[count - 1].key;
        after = &last;
        seen += count;
    }
    cr_expect(eq(u64, seen, 250));
    cr_expect(ge(u64, last_due_ms, wall_ms + 100000 + 2490));
    restart();
    count = core_list_pending(rig->core, find_queue(rig, "q"), NULL, page, 1);
    cr_expect(eq(u32, count, 1));
    cr_expect(zero(ptr, (void *)page[0].content), "it is on disk");
}

/* One message ---------------------------------------------------------------------------------- */

static struct due_key
key_of_nth(uint32_t at)
{
    struct pending_message page[64];
    uint32_t count = core_list_pending(rig->core, find_queue(rig, "q"), NULL, page, at + 1);
    cr_assert(eq(u32, count, at + 1));
    return page[at].key;
}

static const struct posted *
get(void)
{
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, client, 1, &method);
    for (int i = 0; i < DIRECTORY_TURNS_MAX; i++) {
        const struct posted *posted = rig_next(rig, client);
        if (posted != NULL) {
            return posted->type == NET_ACTION_CONTENT ? posted : NULL;
        }
        pump();
    }
    return NULL;
}

static void
expect_message(int number, bool redelivered)
{
    const struct posted *posted = get();
    cr_assert(not(zero(ptr, (void *)posted)));
    cr_expect(eq(int, (int)strtol((const char *)posted->body.data, NULL, 10), number));
    cr_expect(eq(int, posted->method.basic_get_ok.redelivered, redelivered));
}

Test(pending, a_message_that_is_released_is_ready_at_once_and_after_a_restart)
{
    delay(1, 1000000);
    delay(2, 2000000);
    delay(3, 3000000);
    struct due_key key = key_of_nth(1);
    enum status status = core_release_pending(rig->core, find_queue(rig, "q"), &key);
    cr_expect(eq(int, status, STATUS_OK));
    status = core_release_pending(rig->core, find_queue(rig, "q"), &key);
    cr_expect(eq(int, status, STATUS_REJECTED), "it waits no more");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    restart();
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, waiting_count(), 2));
    expect_message(2, false);
    restart();
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(u64, waiting_count(), 2));
}

Test(pending, a_message_that_is_cancelled_is_gone_for_good)
{
    delay(1, 1000000);
    delay(2, 2000000);
    struct due_key key = key_of_nth(0);
    cr_expect(core_cancel_pending(rig->core, find_queue(rig, "q"), &key));
    cr_expect(not(core_cancel_pending(rig->core, find_queue(rig, "q"), &key)));
    restart();
    cr_expect(eq(u64, waiting_count(), 1));
    (void)request_of(PENDING_RELEASE, ANY_KIND, NULL);
    expect_message(2, false);
}

Test(pending, a_release_without_memory_leaves_the_message_waiting)
{
    delay(1, 1000000);
    struct due_key key = key_of_nth(0);
    for (uint32_t nth = 1; nth <= 2; nth++) {
        alloc_faults_plan(nth);
        enum status status = core_release_pending(rig->core, find_queue(rig, "q"), &key);
        cr_assert(eq(int, status, alloc_faults_left() == 0 ? STATUS_NO_MEMORY : STATUS_OK));
        alloc_faults_plan(0);
        cr_expect(eq(u64, waiting_count(), 1));
    }
    enum status status = core_release_pending(rig->core, find_queue(rig, "q"), &key);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* Many ----------------------------------------------------------------------------------------- */

Test(pending, all_are_released_in_due_order_and_in_slices)
{
    enum { MESSAGES = 3 * CORE_PENDING_PER_TICK };
    for (int i = 0; i < MESSAGES; i++) {
        delay(i, 10000000 - i);
    }
    cr_expect(eq(u64, request_of(PENDING_RELEASE, ANY_KIND, NULL), MESSAGES));
    cr_expect(eq(u64, ready_count(rig, "q"), MESSAGES));
    restart();
    cr_expect(eq(u64, ready_count(rig, "q"), MESSAGES));
    cr_expect(eq(u64, waiting_count(), 0));
}

Test(pending, what_comes_later_is_left_alone)
{
    delay(1, 1000000);
    struct pending_request request = {.action = PENDING_CANCEL, .kinds = ANY_KIND};
    enum status status = core_request_pending(rig->core, find_queue(rig, "q"), &request);
    cr_assert(eq(int, status, STATUS_OK));
    rig->holds_turn = true;
    delay(2, 1000000);
    rig->holds_turn = false;
    pump_often(5);
    cr_expect(eq(u64, waiting_count(), 1));
}

Test(pending, a_purge_empties_what_waits_and_nothing_else)
{
    for (int i = 0; i < 3000; i++) {
        delay(i, 1000000 + i);
    }
    delay(3000, 0);
    cr_expect(eq(u64, request_of(PENDING_CANCEL, 1 << WAITING_PARKED, NULL), 0));
    cr_expect(eq(u64, request_of(PENDING_CANCEL, ANY_KIND, NULL), 3000));
    cr_expect(eq(u64, waiting_count(), 0));
    restart();
    cr_expect(eq(u64, waiting_count(), 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* By message-id -------------------------------------------------------------------------------- */

Test(pending, a_message_is_cancelled_by_its_id)
{
    for (int i = 0; i < 3000; i++) {
        delay(i, 1000000 + i * 7919 % 3000);
    }
    cr_expect(eq(u64, cancel_by_id("m1234"), 1));
    cr_expect(eq(u64, cancel_by_id("m1234"), 0));
    cr_expect(eq(u64, cancel_by_id("m"), 0));
    cr_expect(eq(u64, waiting_count(), 2999));
    restart();
    cr_expect(eq(u64, waiting_count(), 2999));
    cr_expect(eq(u64, cancel_by_id("m1234"), 0));
    cr_expect(eq(u64, answer.unreadable, 0));
    cr_expect(eq(u64, cancel_by_id("m7"), 1), "that is on disk");
    cr_expect(eq(u64, cancel_by_id("m2999"), 1));
    restart();
    cr_expect(eq(u64, waiting_count(), 2997));
}

Test(pending, a_content_that_fills_no_usual_block_is_looked_at_too)
{
    delay_sized(1, 1000000, 1024 * 1024, true);
    delay_sized(2, 1000000, 2 * 1024 * 1024, true);
    delay(3, 1000000);
    restart();
    cr_expect(eq(u64, cancel_by_id("m2"), 1));
    cr_expect(eq(u64, cancel_by_id("m3"), 1));
    cr_expect(eq(u64, cancel_by_id("m1"), 1));
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool) / (1024 * 1024), 0), "nothing is kept");
}

/* Transient ones are in spill files. */
Test(pending, a_spilled_message_is_cancelled_by_its_id)
{
    enum { MESSAGES = 4000 };
    for (int i = 0; i < MESSAGES; i++) {
        delay_sized(i, 10000000 + i, 4096, false);
        if (i % 64 == 63) {
            pump();
        }
    }
    pump_often(50);
    cr_expect(lt(u64, chunk_pool_bytes(rig->pool), DIRECTORY_MARK));
    cr_expect(eq(u64, cancel_by_id("m10"), 1));
    cr_expect(eq(u64, cancel_by_id("m3990"), 1));
    cr_expect(eq(u64, answer.unreadable, 0));
    cr_expect(eq(u64, waiting_count(), MESSAGES - 2));
}

Test(pending, contents_that_are_on_disk_come_back_when_their_time_comes)
{
    for (int i = 0; i < 500; i++) {
        delay_sized(i, 60000 + i * 7919 % 500, 4096, true);
    }
    restart();
    rig_step(rig, 70000);
    pump_often(5);
    cr_expect(eq(u64, ready_count(rig, "q"), 500));
    for (int due = 0; due < 500; due++) {
        int number = 0;
        while (number * 7919 % 500 != due) {
            number++;
        }
        expect_message(number, false);
    }
}

Test(pending, a_request_ends_with_its_queue)
{
    for (int i = 0; i < 3000; i++) {
        delay(i, 1000000);
    }
    restart();
    struct pending_request request = {.action = PENDING_CANCEL,
                                      .kinds = ANY_KIND,
                                      .message_id = bytes_of("m1"),
                                      .done = on_done,
                                      .context = &answer};
    answer.is_done = false;
    enum status status = core_request_pending(rig->core, find_queue(rig, "q"), &request);
    cr_assert(eq(int, status, STATUS_OK));
    rig_turn(rig);
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, client, 1, &delete);
    expect(METHOD_QUEUE_DELETE_OK);
    pump_often(50);
    cr_expect(answer.is_done);
    declare();
}
