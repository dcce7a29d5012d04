/* SPDX-License-Identifier: Apache-2.0 */
/* The broker in numbers, and what it finds that needs attention. */
#include "broker/survey/measure.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;
static struct measure *measure;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    measure = xalloc(sizeof(*measure));
}

static void
tear_down(void)
{
    measure_fini(measure);
    free(measure);
    rig_free(&rig);
}

TestSuite(measure, .init = set_up, .fini = tear_down);

/* In slices of so many rows. */
static void
take_all(uint32_t rows, bool looks_at_exchanges)
{
    measure_fini(measure);
    *measure = (struct measure){.looks_at_exchanges = looks_at_exchanges};
    uint32_t calls = 0;
    enum request_progress progress;
    do {
        uint32_t budget = rows;
        progress = measure_step(measure, rig->core, &budget);
        cr_assert(lt(u32, calls++, 1000));
    } while (progress == REQUEST_MORE);
    cr_assert(eq(int, progress, REQUEST_DONE));
}

static void
take(uint32_t rows)
{
    take_all(rows, false);
}

static void
take_with_exchanges(uint32_t rows)
{
    take_all(rows, true);
}

static const struct measure_finding *
find(enum measure_concern concern, const char *queue)
{
    for (uint32_t i = 0; i < measure->finding_count; i++) {
        const struct measure_finding *finding = &measure->findings[i];
        if (finding->concern == concern && bytes_equal_text(finding->name, queue)) {
            return finding;
        }
    }
    return NULL;
}

static void
declare_with_dead_letters(const char *name, const char *exchange, const char *key)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(exchange));
    if (key != NULL) {
        table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of(key));
    }
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

/* However small the slices are. */
Test(measure, adds_all_queues_up)
{
    static const uint32_t slices[] = {1, 3, 256};
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "r");
    declare_queue(rig, a, "s");
    publish_numbers(rig, a, "q", 1, 3);
    publish_numbers(rig, a, "r", 1, 2);
    (void)get_message(rig, a, "r", false);
    rig_step(rig, 700);
    for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
        take(slices[i]);
        cr_expect(eq(u64, measure->queues, 3));
        cr_expect(eq(u64, measure->vhosts, 1));
        cr_expect(eq(u64, measure->ready, 4));
        cr_expect(eq(u64, measure->unacked, 1));
        cr_expect(ne(u64, measure->unacked_bytes, 0));
        cr_expect(eq(u64, measure->oldest_ready_ms, 700));
        cr_expect(eq(u64, measure->oldest_unacked_ms, 700));
        cr_expect(eq(u64, measure->counters.published, 5));
        cr_expect(eq(u64, measure->unserved, 2));
    }
}

/* It is scraped as a counter: one that fell would look like a start, and all of it like new. */
Test(measure, waiting_times_outlast_their_queues)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 3);
    rig_step(rig, 100);
    (void)get_message(rig, a, "q", true);
    (void)get_message(rig, a, "q", true);
    take(256);
    cr_expect(eq(u64, measure->waits.sum_ms, 200));
    cr_expect(eq(u64, measure->waits.counts[7], 2));
    struct method method = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &method);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    take(256);
    cr_expect(eq(u64, measure->queues, 0));
    cr_expect(eq(u64, measure->waits.sum_ms, 200));
    cr_expect(eq(u64, measure->waits.counts[7], 2));
}

/* By an exchange that is bound, or straight by the default exchange. */
Test(measure, knows_where_dead_letters_lie)
{
    declare_queue(rig, a, "dlq");
    declare_queue(rig, a, "straight");
    declare_queue(rig, a, "other");
    declare_exchange(rig, a, "dead", "fanout", NULL);
    bind_queue(rig, a, "dlq", "dead", "");
    declare_with_dead_letters("q", "dead", NULL);
    declare_with_dead_letters("r", "", "straight");
    publish_text(rig, a, "dlq", "one");
    publish_numbers(rig, a, "straight", 1, 2);
    publish_text(rig, a, "other", "four");
    take(2);
    cr_expect(eq(u64, measure->dead_letters, 3));
    cr_expect(eq(u64, find(CONCERN_DEAD_LETTERS, "straight")->value, 2));
    cr_expect(find(CONCERN_DEAD_LETTERS, "dlq") != NULL);
    cr_expect(find(CONCERN_UNSERVED, "other") != NULL);
    cr_expect(find(CONCERN_UNSERVED, "dlq") == NULL);
}

/* A consumer that holds what its prefetch allows and says nothing, while others wait. */
Test(measure, finds_consumers_that_take_nothing)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, a, 1, 1, false);
    consume(rig, a, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 2);
    rig_step(rig, 30 * 1000);
    take(256);
    cr_expect(eq(u32, measure->finding_count, 0));
    rig_step(rig, 31 * 1000);
    take(256);
    cr_expect(eq(u64, find(CONCERN_IDLE_CONSUMERS, "q")->value, 1));
}

/* One that is full again as soon as it has settled something. */
Test(measure, finds_consumers_that_hardly_ever_have_room)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, a, 1, 1, false);
    consume(rig, a, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 70);
    for (uint64_t tag = 1; tag <= 35; tag++) {
        rig_step(rig, 2 * 1000);
        send_ack(rig, a, 1, tag, false);
    }
    take(256);
    cr_expect(eq(u64, find(CONCERN_BUSY_CONSUMERS, "q")->value, 34));
    cr_expect(find(CONCERN_IDLE_CONSUMERS, "q") == NULL);
}

/* Who may not look into a vhost does not learn what is wrong there. */
Test(measure, tells_of_queues_only_to_those_who_may_look)
{
    static const struct survey_viewer stranger = {.user = {(const uint8_t *)"nobody", 6}};
    declare_queue(rig, a, "q");
    publish_text(rig, a, "q", "one");
    take(256);
    cr_expect(find(CONCERN_UNSERVED, "q") != NULL);
    measure_fini(measure);
    *measure = (struct measure){.viewer = &stranger};
    uint32_t budget = 256;
    cr_expect(eq(int, measure_step(measure, rig->core, &budget), REQUEST_DONE));
    cr_expect(eq(u32, measure->finding_count, 0));
    cr_expect(eq(u64, measure->ready, 1));
}

/* Of an exchange whose last one is long ago nothing is said any more. */
Test(measure, names_exchanges_that_lead_nowhere)
{
    declare_exchange(rig, a, "x", "direct", NULL);
    declare_exchange(rig, a, "y", "fanout", NULL);
    rig_publish(rig, a, 1, "x", "nowhere", "lost");
    take(1);
    cr_expect(find(CONCERN_UNROUTABLE, "x") == NULL, "who does not ask is not told");
    take_with_exchanges(1);
    cr_assert(find(CONCERN_UNROUTABLE, "x") != NULL);
    cr_expect(eq(u64, find(CONCERN_UNROUTABLE, "x")->value, 1));
    cr_expect(find(CONCERN_UNROUTABLE, "y") == NULL);
    rig_step(rig, MEASURE_UNROUTABLE_MS);
    take_with_exchanges(256);
    cr_expect(find(CONCERN_UNROUTABLE, "x") == NULL);
}

/* As many dead letters as can be told of hide no queue that nobody takes from. */
Test(measure, has_the_mild_make_room_for_the_worse)
{
    char name[32];
    declare_queue(rig, a, "first");
    declare_exchange(rig, a, "dead", "fanout", NULL);
    declare_with_dead_letters("q", "dead", NULL);
    for (int i = 0; i < MEASURE_FINDINGS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "d-%d", i);
        declare_queue(rig, a, name);
        bind_queue(rig, a, name, "dead", "");
    }
    declare_queue(rig, a, "last");
    rig_publish(rig, a, 1, "dead", "", "x");
    publish_text(rig, a, "first", "x");
    publish_text(rig, a, "last", "x");
    take(256);
    cr_expect(eq(u32, measure->finding_count, MEASURE_FINDINGS_MAX));
    cr_expect(find(CONCERN_UNSERVED, "first") != NULL);
    cr_expect(find(CONCERN_UNSERVED, "last") != NULL);
}
