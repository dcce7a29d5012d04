/* SPDX-License-Identifier: Apache-2.0 */
/* Taps: copies for who looks on, which nobody else notices. */
#include "broker/watch/tap.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t client;
static struct tap *tap;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
    declare_queue(rig, client, "orders");
}

static void
tear_down(void)
{
    tap_leave(&tap);
    rig_free(&rig);
}

TestSuite(tap, .init = set_up, .fini = tear_down);

static struct tap *
open_tap(const char *name, bool is_queue, const char *pattern, uint32_t body_max)
{
    struct tap_wish wish = {
        .vhost = bytes_of("/"),
        .name = bytes_of(name),
        .is_queue = is_queue,
        .pattern = bytes_of(pattern),
        .body_max = body_max,
    };
    return core_open_tap(rig->core, &wish);
}

/* "KEY BODY" of each message that was copied, then what was missed. */
static const char *
taken(void)
{
    static char text[1024];
    struct buffer copied;
    struct tapped message;
    uint64_t missed;
    size_t used = 0;
    buffer_init(&copied);
    bool has_any = tap_take(tap, &copied, &missed);
    cr_expect(eq(int, has_any, buffer_size(&copied) > 0 || missed > 0));
    struct byte_reader reader = byte_reader_make(buffer_bytes(&copied));
    text[0] = '\0';
    while (tapped_next(&reader, &message)) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%.*s %.*s;",
                                 BYTES_FORMAT(message.routing_key), BYTES_FORMAT(message.body));
    }
    if (missed > 0) {
        snprintf(text + used, sizeof(text) - used, "missed %u", (unsigned)missed);
    }
    buffer_fini(&copied);
    return text;
}

static void
expect_taken(const char *expected)
{
    cr_expect(eq(str, (char *)(uintptr_t)taken(), (char *)(uintptr_t)expected));
}

Test(tap, a_tap_on_a_queue_sees_what_enters_it_and_leaves_it_there)
{
    declare_queue(rig, client, "other");
    tap = open_tap("orders", true, "", 100);
    publish_text(rig, client, "orders", "one");
    publish_text(rig, client, "other", "no");
    publish_text(rig, client, "orders", "two");
    expect_taken("orders one;orders two;");
    expect_taken("");
    cr_expect(eq(u64, ready_count(rig, "orders"), 2));
    cr_expect(get_message(rig, client, "orders", true)->method.basic_get_ok.redelivered == false);
}

Test(tap, a_tap_on_an_exchange_sees_keys_that_match_whoever_gets_the_message)
{
    tap = open_tap("amq.topic", false, "eu.*", 100);
    rig_publish(rig, client, 1, "amq.topic", "eu.one", "a");
    rig_publish(rig, client, 1, "amq.topic", "eu.one.two", "b");
    rig_publish(rig, client, 1, "amq.direct", "eu.one", "c");
    bind_queue(rig, client, "orders", "amq.topic", "#");
    rig_publish(rig, client, 1, "amq.topic", "eu.three", "d");
    expect_taken("eu.one a;eu.three d;");
}

/* Else an alternate exchange, or a mandatory publish, would notice who looks on. */
Test(tap, what_is_unroutable_stays_so)
{
    struct rig_publish publish = {
        .exchange = "amq.fanout", .routing_key = "k", .body = bytes_of("x"), .mandatory = true};
    tap = open_tap("amq.fanout", false, "#", 100);
    rig_publish_as(rig, client, 1, &publish);
    rig_expect_posted(rig, client, 1, METHOD_BASIC_RETURN);
    expect_taken("k x;");
}

Test(tap, an_exchange_behind_another_sees_what_comes_by_that)
{
    declare_exchange(rig, client, "second", "fanout", NULL);
    bind_exchange(rig, client, "second", "amq.direct", "k");
    bind_queue(rig, client, "orders", "second", "");
    tap = open_tap("second", false, "#", 100);
    rig_publish(rig, client, 1, "amq.direct", "k", "yes");
    rig_publish(rig, client, 1, "amq.direct", "other", "no");
    publish_text(rig, client, "orders", "not by the default exchange");
    expect_taken("k yes;");
}

Test(tap, the_default_exchange_has_taps_as_well)
{
    tap = open_tap("", false, "orders", 100);
    publish_text(rig, client, "orders", "yes");
    rig_publish(rig, client, 1, "amq.direct", "orders", "no");
    expect_taken("orders yes;");
}

Test(tap, a_body_is_copied_as_far_as_it_is_wanted)
{
    tap = open_tap("orders", true, "", 3);
    publish_text(rig, client, "orders", "abcdef");
    expect_taken("orders abc;");
}

Test(tap, who_does_not_fetch_misses_and_holds_up_nobody)
{
    char body[TAP_BODY_MAX];
    memset(body, 'x', sizeof(body));
    tap = open_tap("orders", true, "", TAP_BODY_MAX);
    struct rig_publish publish = {
        .exchange = "", .routing_key = "orders", .body = bytes_make(body, sizeof(body))};
    for (int i = 0; i < 8; i++) {
        rig_publish_as(rig, client, 1, &publish);
    }
    struct buffer copied;
    uint64_t missed;
    buffer_init(&copied);
    cr_assert(tap_take(tap, &copied, &missed));
    cr_expect(buffer_size(&copied) <= TAP_OCTETS_MAX);
    cr_expect(eq(u64, missed, 5));
    buffer_fini(&copied);
    cr_expect(eq(u64, ready_count(rig, "orders"), 8));
    publish_text(rig, client, "orders", "again");
    expect_taken("orders again;");
}

Test(tap, without_memory_a_message_is_missed_and_goes_where_it_would_go)
{
    tap = open_tap("orders", true, "", 100);
    publish_text(rig, client, "orders", "one");
    expect_taken("orders one;"); /* its memory went with what was taken */
    alloc_faults_plan(1);
    rig_publish(rig, client, 1, "", "orders", "two");
    cr_expect(eq(u32, alloc_faults_left(), 0));
    alloc_faults_plan(0);
    rig_publish(rig, client, 1, "", "orders", "three");
    expect_taken("orders three;missed 1");
    cr_expect(eq(u64, ready_count(rig, "orders"), 3));
}

Test(tap, there_are_so_many_and_no_more_until_one_leaves)
{
    struct tap *others[TAPS_MAX];
    for (size_t i = 0; i < TAPS_MAX; i++) {
        others[i] = open_tap("orders", true, "", 10);
        cr_assert(others[i] != NULL);
    }
    cr_expect(open_tap("orders", true, "", 10) == NULL);
    tap_leave(&others[3]);
    rig_turn(rig);
    tap = open_tap("orders", true, "", 10);
    cr_expect(tap != NULL);
    for (size_t i = 0; i < TAPS_MAX; i++) {
        tap_leave(&others[i]);
    }
    rig_turn(rig);
    cr_expect(eq(u32, rig->core->tap_count, 1));
}

Test(tap, queues_of_the_same_name_elsewhere_are_others)
{
    rig_add_vhost(rig, "other");
    struct tap_wish wish = {
        .vhost = bytes_of("other"), .name = bytes_of("orders"), .is_queue = true, .body_max = 10};
    tap = core_open_tap(rig->core, &wish);
    publish_text(rig, client, "orders", "here");
    expect_taken("");
}
