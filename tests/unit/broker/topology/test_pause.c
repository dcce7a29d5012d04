/* SPDX-License-Identifier: Apache-2.0 */
/* A queue that an operator has paused: who gets what meanwhile, and that it is still paused after a
 * restart. */
#include "broker/topology/pause.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "broker/changes/audit.h"
#include "tests/unit/broker/log_harness.h"

static struct rig *rig;
static uint64_t a, b;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(pause, .init = set_up, .fini = tear_down);

static void
pause_queue(struct rig *of, const char *name, bool is_paused)
{
    uint64_t token;
    enum status status = core_pause_queue(of->core, find_queue(of, name), is_paused,
                                          bytes_of("ops"), bytes_of("why"), &token);
    cr_assert(eq(int, (int)status, STATUS_OK));
    rig_turn(of);
}

Test(pause, consumers_stay_and_get_nothing_until_it_goes_on)
{
    declare_queue(rig, a, "q");
    consume(rig, b, 1, "q", "c", false);
    publish_text(rig, a, "q", "1");
    const struct posted *first = expect_delivery(rig, b, "1");
    uint64_t tag = first->method.basic_deliver.delivery_tag;
    pause_queue(rig, "q", true);
    publish_text(rig, a, "q", "2");
    send_ack(rig, b, 1, tag, false);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u32, find_queue(rig, "q")->consumer_count, 1));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0), "the broker sleeps meanwhile");
    pause_queue(rig, "q", false);
    (void)expect_delivery(rig, b, "2");
}

Test(pause, a_consumer_that_comes_meanwhile_waits_too)
{
    declare_queue(rig, a, "q");
    pause_queue(rig, "q", true);
    publish_text(rig, a, "q", "1");
    consume(rig, b, 1, "q", "c", true);
    rig_expect_nothing(rig, b);
    pause_queue(rig, "q", false);
    (void)expect_delivery(rig, b, "1");
}

Test(pause, basic_get_finds_nothing)
{
    declare_queue(rig, a, "q");
    publish_text(rig, a, "q", "1");
    pause_queue(rig, "q", true);
    cr_expect(eq(ptr, (void *)get_message(rig, b, "q", true), NULL));
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    pause_queue(rig, "q", false);
    cr_expect(ne(ptr, (void *)get_message(rig, b, "q", true), NULL));
}

Test(pause, time_goes_on)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-message-ttl", 1000);
    declare_queue_as(
        rig, a,
        &(struct queue_declare){.queue = bytes_of("q"), .arguments = buffer_bytes(&arguments)});
    buffer_fini(&arguments);
    pause_queue(rig, "q", true);
    publish_text(rig, a, "q", "1");
    rig_step(rig, 2000);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

Test(pause, what_is_asked_twice_is_said_once)
{
    declare_queue(rig, a, "q");
    pause_queue(rig, "q", true);
    pause_queue(rig, "q", true);
    const struct audit_entry *entry = audit_next(rig->core, 0);
    cr_assert(ne(ptr, (void *)entry, NULL));
    cr_expect(eq(int, (int)entry->action, AUDIT_PAUSE));
    cr_expect(eq(ptr, (void *)audit_next(rig->core, entry->number), NULL));
    pause_queue(rig, "q", false);
    cr_expect(eq(int, (int)audit_next(rig->core, entry->number)->action, AUDIT_RESUME));
    cr_expect(rig_logged(rig, "event=audit.pause"));
}

/* A message that is written down while nobody may have it comes back unmarked, and is marked before
 * it goes out. */
Test(pause, nothing_is_marked_as_handed_out_meanwhile)
{
    struct log_rig *disk = log_rig_new(NULL, 0);
    uint64_t c = messaging_client(disk->rig);
    uint64_t d = messaging_client(disk->rig);
    log_declare(disk, c, "q");
    consume(disk->rig, d, 1, "q", "c", false);
    pause_queue(disk->rig, "q", true);
    log_publish(disk, c, "", "q", "1");
    log_settle(disk);
    bool is_marked = true;
    uint64_t id = find_queue(disk->rig, "q")->target.id;
    cr_assert(log_has_row(disk, id, 1, disk->batch_count, &is_marked));
    cr_expect(not(is_marked));
    pause_queue(disk->rig, "q", false);
    log_settle(disk);
    (void)expect_delivery(disk->rig, d, "1");
    cr_expect(log_tells_of_handout(disk, id, 1));
    cr_expect(eq(u32, disk->records[RECORD_QUEUE_SET], 3));
    log_check(disk);
    log_rig_free(&disk);
}
