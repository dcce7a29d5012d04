/* SPDX-License-Identifier: Apache-2.0 */
/* Connections from the protocol header to the last octet: what may come when, what is negotiated,
 * and who closes how. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;

static void
set_up(void)
{
    rig = rig_new(NULL);
    rig_add_user(rig, "alice", "secret");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(connection, .init = set_up, .fini = tear_down);

/* How far into the handshake a test goes before it misbehaves. */
enum stage { STAGE_STARTING, STAGE_TUNING, STAGE_OPENING, STAGE_RUNNING, STAGE_CHANNEL };

static uint64_t
connect_to_stage(enum stage stage)
{
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    if (stage >= STAGE_TUNING) {
        rig_start_plain(rig, link, "alice", "secret");
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
    }
    if (stage >= STAGE_OPENING) {
        rig_tune_ok(rig, link, 2047, 131072, 60);
    }
    if (stage >= STAGE_RUNNING) {
        rig_open_vhost(rig, link, "/");
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    }
    if (stage >= STAGE_CHANNEL) {
        rig_open_channel(rig, link, 1);
    }
    return link;
}

/* A client can only use what connection.start announces: all of it, and nothing besides. */
Test(connection, start_announces_version_mechanisms_and_every_capability)
{
    static const char *const names[] = {
        "publisher_confirms",           "exchange_exchange_bindings", "basic.nack",
        "consumer_cancel_notify",       "connection.blocked",         "consumer_priorities",
        "authentication_failure_close", "per_consumer_qos",           "direct_reply_to",
    };
    uint64_t link = rig_open(rig);
    const struct connection_start start =
        rig_expect(rig, link, 0, METHOD_CONNECTION_START)->connection_start;
    cr_expect(eq(int, start.version_major, 0));
    cr_expect(eq(int, start.version_minor, 9));
    cr_expect(bytes_equal_text(start.mechanisms, "PLAIN AMQPLAIN"));
    cr_expect(bytes_equal_text(start.locales, "en_US"));
    struct table_value capabilities;
    cr_assert(table_find(start.server_properties, "capabilities", &capabilities));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct table_value value;
        cr_expect(table_find(capabilities.raw, names[i], &value) && table_value_boolean(&value),
                  "%s is announced", names[i]);
    }
}

/* EXTERNAL takes a certificate: who showed none is not offered it. */
Test(connection, external_is_offered_to_who_showed_a_certificate_over_tls)
{
    static const struct {
        bool is_tls, has_certificate;
        const char *mechanisms;
    } rows[] = {
        {false, false, "PLAIN AMQPLAIN"},
        {true, false, "PLAIN AMQPLAIN"},
        {true, true, "PLAIN AMQPLAIN EXTERNAL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_peer peer = rig_remote_peer("192.0.2.7");
        peer.is_tls = rows[i].is_tls;
        peer.has_certificate = rows[i].has_certificate;
        uint64_t link = rig_open_as(rig, &peer);
        const struct method *start = rig_expect(rig, link, 0, METHOD_CONNECTION_START);
        cr_expect(bytes_equal_text(start->connection_start.mechanisms, rows[i].mechanisms),
                  "row %zu", i);
    }
}

/* AMQP 0-9-1, 2.2.4: the handshake has one order; 504 is what RabbitMQ answers to any other. */
Test(connection, a_method_out_of_its_state_is_504)
{
    static const struct {
        enum stage stage;
        enum method_id id;
        uint16_t channel;
        const char *text;
    } rows[] = {
        {STAGE_STARTING, METHOD_CONNECTION_SECURE_OK, 0,
         "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CONNECTION_TUNE_OK, 0,
         "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CONNECTION_OPEN, 0,
         "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CONNECTION_UPDATE_SECRET, 0,
         "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CONNECTION_CLOSE_OK, 0,
         "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CHANNEL_OPEN, 1, "unexpected method in connection state starting"},
        {STAGE_STARTING, METHOD_CHANNEL_OPEN, 0, "unexpected method in connection state starting"},
        {STAGE_TUNING, METHOD_CONNECTION_START_OK, 0,
         "unexpected method in connection state tuning"},
        {STAGE_TUNING, METHOD_CONNECTION_SECURE_OK, 0,
         "unexpected method in connection state tuning"},
        {STAGE_TUNING, METHOD_CONNECTION_OPEN, 0, "unexpected method in connection state tuning"},
        {STAGE_TUNING, METHOD_QUEUE_DECLARE, 1, "unexpected method in connection state tuning"},
        {STAGE_OPENING, METHOD_CONNECTION_TUNE_OK, 0,
         "unexpected method in connection state opening"},
        {STAGE_OPENING, METHOD_CONNECTION_START_OK, 0,
         "unexpected method in connection state opening"},
        {STAGE_OPENING, METHOD_CHANNEL_OPEN, 1, "unexpected method in connection state opening"},
        {STAGE_RUNNING, METHOD_CONNECTION_START_OK, 0,
         "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_CONNECTION_TUNE_OK, 0,
         "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_CONNECTION_OPEN, 0, "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_CONNECTION_CLOSE_OK, 0,
         "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_CHANNEL_OPEN, 0, "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_QUEUE_DECLARE, 0, "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_TX_SELECT, 0, "unexpected method in connection state running"},
        {STAGE_RUNNING, METHOD_QUEUE_DECLARE, 1, "expected 'channel.open'"},
        {STAGE_RUNNING, METHOD_CHANNEL_CLOSE, 1, "expected 'channel.open'"},
        {STAGE_RUNNING, METHOD_CHANNEL_CLOSE_OK, 1, "expected 'channel.open'"},
        {STAGE_RUNNING, METHOD_CHANNEL_FLOW, 65535, "expected 'channel.open'"},
        {STAGE_CHANNEL, METHOD_CHANNEL_OPEN, 1, "second 'channel.open' seen"},
        {STAGE_CHANNEL, METHOD_QUEUE_DECLARE, 2, "expected 'channel.open'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(rows[i].stage);
        rig_send_id(rig, link, rows[i].channel, rows[i].id);
        const struct connection_close close =
            rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE)->connection_close;
        char text[128];
        (void)snprintf(text, sizeof(text), "CHANNEL_ERROR - %s", rows[i].text);
        cr_expect(eq(u16, close.reply_code, REPLY_CHANNEL_ERROR), "row %zu", i);
        cr_expect(bytes_equal_text(close.reply_text, text), "row %zu: %.*s", i,
                  BYTES_FORMAT(close.reply_text));
        cr_expect(eq(u16, close.class_id, method_info(rows[i].id)->class_id), "row %zu", i);
        cr_expect(eq(u16, close.method_id, method_info(rows[i].id)->method_id), "row %zu", i);
        rig_hang_up(rig, link);
    }
}
