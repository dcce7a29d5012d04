/* SPDX-License-Identifier: Apache-2.0 */
/* The firehose. What a trace says, key for key and letter for letter, is what rabbitmq-server 3.10
 * said of the same messages after `rabbitmqctl trace_on`. */
#include "broker/watch/trace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/changes/audit.h"
#include "broker/topology/vhost_life.h"
#include "tests/unit/broker/log_harness.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t publisher, watcher;

/* The watcher takes every trace from the queue "seen". */
static void
watch(void)
{
    declare_queue(rig, watcher, "seen");
    bind_queue(rig, watcher, "seen", TRACE_EXCHANGE, "#");
}

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    publisher = messaging_client(rig);
    watcher = messaging_client(rig);
    declare_queue(rig, publisher, "orders");
    watch();
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(trace, .init = set_up, .fini = tear_down);

static void put_value(struct buffer *out, const struct table_value *value);

static void
put_fields(struct buffer *out, struct bytes table)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    while (table_next(&reader, &name, &value)) {
        buffer_printf(out, "%.*s=", BYTES_FORMAT(name));
        put_value(out, &value);
        buffer_printf(out, ";");
    }
}

/* The letter and the value, as far as traces have them. */
static void
put_value(struct buffer *out, const struct table_value *value)
{
    buffer_printf(out, "%c", value->type);
    if (value->type == 'F') {
        buffer_printf(out, "{");
        put_fields(out, value->raw);
        buffer_printf(out, "}");
    } else if (value->type == 'A') {
        struct byte_reader reader = byte_reader_make(value->raw);
        struct table_value item;
        buffer_printf(out, "[");
        while (table_array_next(&reader, &item)) {
            put_value(out, &item);
            buffer_printf(out, ",");
        }
        buffer_printf(out, "]");
    } else {
        char text[128];
        buffer_printf(out, "%s", table_value_text(value, text, sizeof(text)));
    }
}

/* The next trace: "KEY BODY HEADERS"; NULL when there is none. */
static const char *
next_trace(void)
{
    static char text[2048];
    const struct posted *got = get_message(rig, watcher, "seen", true);
    if (got == NULL) {
        return NULL;
    }
    struct properties properties;
    struct fault fault;
    struct buffer out;
    buffer_init(&out);
    cr_assert(eq(int, properties_decode(&properties, got->properties, &fault), STATUS_OK));
    cr_expect(eq(u16, properties.flags, PROPERTY_HEADERS));
    cr_expect(bytes_equal_text(got->method.basic_get_ok.exchange, TRACE_EXCHANGE));
    buffer_printf(&out, "%.*s %.*s ", BYTES_FORMAT(got->method.basic_get_ok.routing_key),
                  BYTES_FORMAT(got->body));
    put_fields(&out, properties.headers);
    snprintf(text, sizeof(text), "%.*s", BYTES_FORMAT(buffer_bytes(&out)));
    buffer_fini(&out);
    return text;
}

static void
expect_trace(const char *expected)
{
    const char *trace = next_trace();
    cr_assert(trace != NULL, "a trace of: %s", expected);
    cr_expect(eq(str, (char *)(uintptr_t)trace, (char *)(uintptr_t)expected));
}

static const char *
name_of(uint64_t link)
{
    return core_find_connection(rig->core, link)->name;
}

Test(trace, nothing_leaves_a_trace_until_it_is_asked_for)
{
    publish_text(rig, publisher, "orders", "one");
    cr_expect(get_message(rig, publisher, "orders", true) != NULL);
    cr_expect(next_trace() == NULL);
    cr_expect(eq(u64, rig->core->counters.traced, 0));
}

Test(trace, a_publish_and_a_delivery_leave_one_trace_each)
{
    char expected[1024];
    vhost_set_tracing(rig_vhost(rig), true);
    publish_text(rig, publisher, "orders", "one");
    snprintf(expected, sizeof(expected),
             "publish. one exchange_name=S;routing_keys=A[Sorders,];properties=F{};"
             "node=Sbourse@localhost;vhost=S/;connection=S%s;channel=I1;user=Su;"
             "routed_queues=A[Sorders,];",
             name_of(publisher));
    expect_trace(expected);
    cr_assert(get_message(rig, publisher, "orders", true) != NULL);
    snprintf(expected, sizeof(expected),
             "deliver.orders one exchange_name=S;routing_keys=A[Sorders,];properties=F{};"
             "node=Sbourse@localhost;redelivered=I0;vhost=S/;connection=S%s;channel=I1;user=Su;",
             name_of(publisher));
    expect_trace(expected);
    cr_expect(next_trace() == NULL, "what is taken from the queue of traces leaves none");
}

Test(trace, a_trace_says_what_properties_the_message_has)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_integer(&headers, "n", 5);
    buffer_put_shortstr(&headers, bytes_of("CC"));
    buffer_put_u8(&headers, 'A');
    size_t size_at = table_begin_counted(&headers);
    buffer_put_u8(&headers, 'S');
    buffer_put_longstr(&headers, bytes_of("copy"));
    table_end_counted(&headers, size_at);
    struct properties properties = {
        .flags = PROPERTY_CONTENT_TYPE | PROPERTY_HEADERS | PROPERTY_DELIVERY_MODE |
                 PROPERTY_TIMESTAMP | PROPERTY_PRIORITY,
        .content_type = bytes_of("text/plain"),
        .headers = buffer_bytes(&headers),
        .delivery_mode = 2,
        .priority = 3,
        .timestamp = UINT64_C(4102444800),
    };
    properties_encode(&block, &properties);
    vhost_set_tracing(rig_vhost(rig), true);
    struct rig_publish publish = {
        .exchange = "amq.direct",
        .routing_key = "k",
        .properties = buffer_bytes(&block),
        .body = bytes_of("x"),
        .is_persistent = true,
        .has_headers = true,
    };
    rig_publish_as(rig, publisher, 1, &publish);
    const char *trace = next_trace();
    cr_assert(trace != NULL);
    cr_expect(strstr(trace, "publish.amq.direct x exchange_name=Samq.direct;"
                            "routing_keys=A[Sk,Scopy,];properties=F{content_type=Stext/plain;"
                            "headers=F{n=l5;CC=A[Scopy,];};delivery_mode=I2;priority=I3;"
                            "timestamp=l4102444800;};") == trace,
              "%s", trace);
    cr_expect(strstr(trace, "routed_queues=A[];") != NULL, "it reached nobody: %s", trace);
    buffer_fini(&headers);
    buffer_fini(&block);
}

Test(trace, consumers_leave_traces_and_a_redelivery_says_so)
{
    vhost_set_tracing(rig_vhost(rig), true);
    publish_text(rig, publisher, "orders", "one");
    cr_expect(next_trace() != NULL);
    consume(rig, publisher, 1, "orders", "c", false);
    expect_delivery(rig, publisher, "one");
    const char *trace = next_trace();
    cr_assert(trace != NULL);
    cr_expect(strstr(trace, "redelivered=I0;") != NULL, "%s", trace);
    send_nack(rig, publisher, 1, 1, false, true);
    expect_delivery(rig, publisher, "one");
    trace = next_trace();
    cr_assert(trace != NULL);
    cr_expect(strstr(trace, "deliver.orders one ") == trace, "%s", trace);
    cr_expect(strstr(trace, "redelivered=I1;") != NULL, "%s", trace);
}

/* What a consumer of traces is sent must not be traced: it would never end. */
Test(trace, a_consumer_of_traces_leaves_none)
{
    vhost_set_tracing(rig_vhost(rig), true);
    consume(rig, watcher, 1, "seen", "c", true);
    publish_text(rig, publisher, "orders", "one");
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(sz, rig_count(rig, watcher, NET_ACTION_DELIVER), 1));
    cr_expect(eq(u64, rig->core->counters.traced, 1));
}

/* A queue that gets the messages and their traces: each trace stands behind its message. */
Test(trace, a_queue_may_have_messages_and_their_traces)
{
    bind_queue(rig, publisher, "orders", TRACE_EXCHANGE, "publish.#");
    vhost_set_tracing(rig_vhost(rig), true);
    consume(rig, publisher, 1, "orders", "c", true);
    publish_text(rig, publisher, "orders", "one");
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(str, (char *)(uintptr_t)deliveries(rig, publisher), "one one"));
    cr_expect(eq(u64, rig->core->counters.traced, 2), "publish and delivery, and no more");
}

Test(trace, only_the_vhost_that_is_traced_leaves_traces)
{
    rig_add_vhost(rig, "other");
    vhost_set_tracing(core_find_vhost(rig->core, bytes_of("other")), true);
    cr_expect(core_is_tracing(rig->core));
    publish_text(rig, publisher, "orders", "one");
    cr_expect(next_trace() == NULL);
    vhost_set_tracing(core_find_vhost(rig->core, bytes_of("other")), false);
    cr_expect(not(core_is_tracing(rig->core)));
}

Test(trace, switching_off_ends_it_and_is_told_once)
{
    const struct change change = {.core = rig->core, .by = bytes_of("oncall")};
    change_trace_vhost(&change, rig_vhost(rig), true);
    change_trace_vhost(&change, rig_vhost(rig), true);
    cr_expect(rig_logged(rig, "trace.started by=\"oncall\" vhost="));
    change_trace_vhost(&change, rig_vhost(rig), false);
    publish_text(rig, publisher, "orders", "one");
    cr_expect(next_trace() == NULL);
    cr_expect(rig_logged(rig, "trace.stopped by=\"oncall\" vhost="));
    const struct audit_entry *started = audit_next(rig->core, 0);
    cr_assert(ne(ptr, (void *)started, NULL));
    cr_expect(eq(int, (int)started->action, AUDIT_TRACE_STARTED));
    const struct audit_entry *stopped = audit_next(rig->core, started->number);
    cr_assert(ne(ptr, (void *)stopped, NULL));
    cr_expect(eq(int, (int)stopped->action, AUDIT_TRACE_STOPPED));
    cr_expect(eq(ptr, (void *)audit_next(rig->core, stopped->number), NULL));
}

/* A queue of traces that is full refuses them; the message itself is not touched by that. */
Test(trace, a_full_queue_of_traces_loses_traces_and_nothing_else)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", 1);
    table_put_text(&arguments, "x-overflow", bytes_of("reject-publish"));
    struct queue_declare declare = {.queue = bytes_of("short"),
                                    .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, watcher, &declare);
    bind_queue(rig, watcher, "short", TRACE_EXCHANGE, "#");
    buffer_fini(&arguments);
    vhost_set_tracing(rig_vhost(rig), true);
    publish_numbers(rig, publisher, "orders", 1, 3);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "orders"), 3));
    cr_expect(eq(u64, ready_count(rig, "seen"), 3));
    cr_expect(eq(u64, ready_count(rig, "short"), 1));
    cr_expect(eq(u64, rig->core->counters.traces_dropped, 2));
}

/* What names the message is cut where the key of the trace could not hold it. */
Test(trace, a_key_that_is_too_long_is_cut_between_characters)
{
    char name[256];
    memset(name, 'q', sizeof(name));
    memcpy(name + 244, "\xc3\xa9\xc3\xa9\xc3\xa9", 6);
    name[250] = '\0';
    declare_queue(rig, publisher, name);
    vhost_set_tracing(rig_vhost(rig), true);
    publish_text(rig, publisher, name, "one");
    cr_expect(next_trace() != NULL);
    cr_assert(get_message(rig, publisher, name, true) != NULL);
    const char *trace = next_trace();
    cr_assert(trace != NULL);
    size_t size = strcspn(trace, " ");
    cr_expect(eq(sz, size, 254), "deliver. and 246 octets: the last character has no room");
}

/* Looking on never fills the memory: under its alarm nothing is traced. */
Test(trace, under_the_memory_alarm_traces_are_dropped)
{
    vhost_set_tracing(rig_vhost(rig), true);
    publish_text(rig, publisher, "orders", "one");
    rig->core->alarms |= ALARM_MEMORY;
    cr_expect(get_message(rig, publisher, "orders", true) != NULL);
    rig->core->alarms &= (uint8_t)~ALARM_MEMORY;
    cr_expect(eq(u64, rig->core->counters.traces_dropped, 1));
    cr_expect(next_trace() != NULL, "of the publish");
    cr_expect(next_trace() == NULL);
}

/* The switch stands in the log with the vhost. */
Test(trace_in_the_log, the_switch_is_written_down)
{
    struct log_rig *log = log_rig_new(NULL, 0);
    uint32_t before = log->records[RECORD_VHOST_SET];
    vhost_set_tracing(rig_vhost(log->rig), true);
    log_settle(log);
    cr_expect(eq(u32, log->records[RECORD_VHOST_SET], before + 1));
    vhost_set_tracing(rig_vhost(log->rig), true);
    log_settle(log);
    cr_expect(eq(u32, log->records[RECORD_VHOST_SET], before + 1), "nothing has changed");
    log_rig_free(&log);
}
