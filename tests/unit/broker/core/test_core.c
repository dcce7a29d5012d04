/* SPDX-License-Identifier: Apache-2.0 */
/* The core as a whole: what a machine without memory does to it, and to the clients that are not
 * concerned. */
#include "broker/core/core.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/core_harness.h"

TestSuite(core, .timeout = 120);

/* Rates, counts and sizes that make every growing table grow. */
enum { SCRIPT_MESSAGES = 150, SCRIPT_RUNS_MAX = 1000 };

/* One client that does not look at the answers; it stops when the core has told it to go. */
struct script {
    struct rig *rig;
    uint64_t link;
};

static bool
script_is_over(const struct script *script)
{
    return rig_is_closed(script->rig, script->link);
}

static void
script_send(const struct script *script, uint16_t channel, struct method method)
{
    if (!script_is_over(script)) {
        rig_send(script->rig, script->link, channel, &method);
    }
}

static void
script_publish(const struct script *script, uint16_t channel, const char *exchange,
               const char *routing_key, bool mandatory)
{
    struct rig_publish publish = {.exchange = exchange,
                                  .routing_key = routing_key,
                                  .body = bytes_of("a body"),
                                  .mandatory = mandatory};
    if (!script_is_over(script)) {
        rig_publish_as(script->rig, script->link, channel, &publish);
    }
}

static void
script_log_in(const struct script *script)
{
    rig_start_plain(script->rig, script->link, "alice", "secret");
    script_send(
        script, 0,
        (struct method){.id = METHOD_CONNECTION_TUNE_OK, .connection_tune_ok = {2047, 131072, 60}});
    script_send(script, 0,
                (struct method){.id = METHOD_CONNECTION_OPEN,
                                .connection_open = {.virtual_host = bytes_of("/")}});
    for (uint16_t channel = 1; channel <= 3; channel++) {
        script_send(script, channel, (struct method){.id = METHOD_CHANNEL_OPEN});
    }
}

static void
script_declare(const struct script *script)
{
    static const char *const types[] = {"direct", "fanout", "topic", "headers"};
    for (size_t i = 0; i < 4; i++) {
        script_send(script, 1,
                    (struct method){.id = METHOD_EXCHANGE_DECLARE,
                                    .exchange_declare = {.exchange = bytes_of(types[i]),
                                                         .type = bytes_of(types[i])}});
    }
    static const char *const queues[] = {"first", "second", ""};
    for (size_t i = 0; i < 3; i++) {
        script_send(
            script, 1,
            (struct method){.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(queues[i]), .exclusive = i == 2}});
    }
    for (size_t i = 0; i < 16; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key.%zu.#", i);
        script_send(script, 1,
                    (struct method){.id = METHOD_QUEUE_BIND,
                                    .queue_bind = {.queue = bytes_of(queues[i % 2]),
                                                   .exchange = bytes_of(types[i % 4]),
                                                   .routing_key = bytes_of(key)}});
    }
    script_send(script, 1,
                (struct method){.id = METHOD_EXCHANGE_BIND,
                                .exchange_bind = {.destination = bytes_of("topic"),
                                                  .source = bytes_of("fanout"),
                                                  .routing_key = bytes_of("")}});
}

static void
script_consume_and_settle(const struct script *script)
{
    script_send(script, 2, (struct method){.id = METHOD_CONFIRM_SELECT});
    script_send(script, 1,
                (struct method){.id = METHOD_BASIC_CONSUME,
                                .basic_consume = {.queue = bytes_of("first"),
                                                  .consumer_tag = bytes_of("tag")}});
    for (int i = 0; i < SCRIPT_MESSAGES; i++) {
        script_publish(script, 2, "", i % 2 == 0 ? "first" : "second", true);
    }
    script_publish(script, 2, "fanout", "key.2.x", false);
    script_publish(script, 2, "topic", "key.2.x", false);
    script_publish(script, 2, "", "nowhere", true);
    for (uint64_t tag = 2; tag <= 40; tag += 2) { /* holes between what is open */
        script_send(script, 1,
                    (struct method){.id = METHOD_BASIC_NACK,
                                    .basic_nack = {.delivery_tag = tag, .requeue = tag % 4 == 0}});
    }
    script_send(script, 1,
                (struct method){.id = METHOD_BASIC_ACK,
                                .basic_ack = {.delivery_tag = 39, .multiple = true}});
    script_send(script, 1,
                (struct method){.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}});
    script_send(
        script, 1,
        (struct method){.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("second")}});
}

static void
script_transact(const struct script *script)
{
    static const enum method_id ends[] = {METHOD_TX_COMMIT, METHOD_TX_ROLLBACK};
    script_send(script, 3, (struct method){.id = METHOD_TX_SELECT});
    script_send(script, 3,
                (struct method){.id = METHOD_BASIC_CONSUME,
                                .basic_consume = {.queue = bytes_of("second"),
                                                  .consumer_tag = bytes_of("tag")}});
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t n = 1; n <= 20; n++) {
            script_publish(script, 3, "", "first", false);
            script_send(
                script, 3,
                (struct method){.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = i * 20 + n}});
        }
        script_send(script, 3, (struct method){.id = ends[i]});
    }
}

static void
script_run(const struct script *script)
{
    script_log_in(script);
    script_declare(script);
    script_consume_and_settle(script);
    script_transact(script);
    script_send(
        script, 1,
        (struct method){.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("second")}});
    script_send(script, 2, (struct method){.id = METHOD_CHANNEL_CLOSE});
    script_send(script, 0, (struct method){.id = METHOD_CONNECTION_CLOSE});
}

/* Without a fault the script gets through everything it has. */
static void
expect_whole_script(const struct core_counters *counters)
{
    cr_expect(eq(u64, counters->channels_opened, 3));
    cr_expect(ge(u64, counters->published, SCRIPT_MESSAGES + 3 + 40));
    cr_expect(eq(u64, counters->unroutable_returned, 1));
    cr_expect(ge(u64, counters->delivered, SCRIPT_MESSAGES));
    cr_expect(eq(u64, counters->confirmed, SCRIPT_MESSAGES + 3));
    cr_expect(ge(u64, counters->redelivered, 1));
    cr_expect(ge(u64, counters->acked, 20 + 20));
}

/* Runs the script with the `nth` allocation failing; returns whether there was an nth. */
static bool
run_with_fault(uint32_t nth)
{
    struct rig *rig = rig_new(NULL);
    rig_add_user(rig, "alice", "secret");
    alloc_faults_plan(nth);
    struct script script = {.rig = rig, .link = rig_open(rig)};
    if (!script_is_over(&script)) {
        script_run(&script);
    }
    bool has_failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    cr_expect(script_is_over(&script) ||
                  core_find_connection(rig->core, script.link)->state == CONNECTION_CLOSING,
              "allocation %u: the script ends, one way or another", (unsigned)nth);
    cr_expect(eq(u64, rig->core->counters.internal_errors, 0), "allocation %u", (unsigned)nth);
    if (!has_failed) {
        expect_whole_script(&rig->core->counters);
    }
    rig_hang_up(rig, script.link);

    uint64_t next = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, next, 1);
    rig_send(rig, next, 1,
             &(struct method){.id = METHOD_QUEUE_DECLARE,
                              .queue_declare = {.queue = bytes_of("afterwards")}});
    (void)rig_expect(rig, next, 1, METHOD_QUEUE_DECLARE_OK);
    rig_publish(rig, next, 1, "", "afterwards", "body");
    rig_send(rig, next, 1,
             &(struct method){.id = METHOD_BASIC_GET,
                              .basic_get = {.queue = bytes_of("afterwards"), .no_ack = true}});
    (void)rig_expect(rig, next, 1, METHOD_BASIC_GET_OK);
    rig_free(&rig); /* asserts that every content was released */
    return has_failed;
}

/* Memory whose size a peer chooses may be refused at any point: that costs at most the connection
 * that asked for it, and nothing is leaked. */
Test(core, any_single_allocation_may_fail)
{
    uint32_t nth = 1;
    while (run_with_fault(nth)) {
        nth++;
        cr_assert(lt(u32, nth, SCRIPT_RUNS_MAX));
    }
    cr_expect(lt(u32, 50, nth), "the script allocates: %u times", (unsigned)nth - 1);
}
