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

static void
send_ids(uint64_t link, uint16_t channel, uint16_t class_id, uint16_t method_id)
{
    uint8_t payload[4];
    put_u16(payload, class_id);
    put_u16(payload + 2, method_id);
    rig_send_payload(rig, link, channel, bytes_make(payload, sizeof(payload)));
}

/* Methods that only a server sends, and answers that nobody asked for. */
Test(connection, methods_of_the_server_are_503)
{
    static const struct {
        uint16_t channel;
        enum method_id id;
    } rows[] = {
        {0, METHOD_CONNECTION_START},     {0, METHOD_CONNECTION_TUNE},
        {0, METHOD_CONNECTION_OPEN_OK},   {0, METHOD_CONNECTION_BLOCKED},
        {0, METHOD_CONNECTION_UNBLOCKED}, {0, METHOD_QUEUE_DECLARE_OK},
        {1, METHOD_CHANNEL_OPEN_OK},      {1, METHOD_CHANNEL_CLOSE_OK},
        {1, METHOD_EXCHANGE_DECLARE_OK},  {1, METHOD_BASIC_DELIVER},
        {1, METHOD_BASIC_RECOVER_OK},     {1, METHOD_CONFIRM_SELECT_OK},
        {1, METHOD_CONNECTION_OPEN},      {1, METHOD_CONNECTION_CLOSE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(STAGE_CHANNEL);
        rig_send_id(rig, link, rows[i].channel, rows[i].id);
        rig_expect_close(rig, link, REPLY_COMMAND_INVALID, "unimplemented method");
    }
}

/* Ids that no version of the protocol has. */
Test(connection, unknown_ids_are_540_and_named_in_the_close)
{
    static const struct {
        uint16_t channel, class_id, method_id;
    } rows[] = {{0, 10, 99}, {0, 11, 10}, {1, 60, 65535}, {1, 0, 0}, {7, 110, 10}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(STAGE_CHANNEL);
        send_ids(link, rows[i].channel, rows[i].class_id, rows[i].method_id);
        const struct connection_close close =
            rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE)->connection_close;
        cr_expect(eq(u16, close.reply_code, REPLY_NOT_IMPLEMENTED), "row %zu: %.*s", i,
                  BYTES_FORMAT(close.reply_text));
        cr_expect(eq(u16, close.class_id, rows[i].class_id), "row %zu", i);
        cr_expect(eq(u16, close.method_id, rows[i].method_id), "row %zu", i);
    }
}

/* Arguments cut short or with octets left over. */
Test(connection, malformed_arguments_are_502)
{
    static const uint8_t cut[] = {0, 10, 0, 31, 0};
    static const uint8_t long_one[] = {0, 20, 0, 10, 0, 0};
    uint64_t link = connect_to_stage(STAGE_TUNING);
    rig_send_payload(rig, link, 0, bytes_make(cut, sizeof(cut)));
    cr_expect(eq(u16,
                 rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE)->connection_close.reply_code,
                 REPLY_SYNTAX_ERROR));
    uint64_t other = connect_to_stage(STAGE_RUNNING);
    rig_send_payload(rig, other, 1, bytes_make(long_one, sizeof(long_one)));
    cr_expect(eq(u16,
                 rig_expect(rig, other, 0, METHOD_CONNECTION_CLOSE)->connection_close.reply_code,
                 REPLY_SYNTAX_ERROR));
}

/* Publishing is a method like any other: its channel must be open. */
Test(connection, a_publish_without_a_channel_or_a_running_connection_is_504)
{
    uint64_t link = connect_to_stage(STAGE_RUNNING);
    rig_publish(rig, link, 1, "", "q", "body");
    rig_expect_close(rig, link, REPLY_CHANNEL_ERROR, "expected 'channel.open'");
    uint64_t early = connect_to_stage(STAGE_OPENING);
    rig_publish(rig, early, 1, "", "q", "body");
    rig_expect_close(rig, early, REPLY_CHANNEL_ERROR,
                     "unexpected method in connection state opening");
}

/* Tuning ---------------------------------------------------------------------------------------
 */

Test(connection, names_of_user_and_vhost_forge_no_field_of_the_log)
{
    static const char name[] = "eve\" vhost=\"x";
    static const char vhost[] = "shop\" tls=\"yes";
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user(name, rig_fast_hash("p", hash));
    (void)rig_add_vhost(rig, vhost);
    cr_assert(eq(int, core_put_user(rig->core, &user, bytes_of(vhost)), STATUS_OK));
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    rig_start_plain(rig, link, name, "p");
    const struct connection_tune tune =
        rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE)->connection_tune;
    rig_tune_ok(rig, link, tune.channel_max, tune.frame_max, tune.heartbeat);
    rig_open_vhost(rig, link, vhost);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    cr_expect(rig_logged(rig, "user=\"eve\\\" vhost=\\\"x\" vhost=\"shop\\\" tls=\\\"yes\" "));
}

Test(connection, tune_proposes_the_settings)
{
    uint64_t link = rig_open(rig);
    (void)rig_next(rig, link);
    rig_start_plain(rig, link, "alice", "secret");
    const struct connection_tune tune =
        rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE)->connection_tune;
    cr_expect(eq(u16, tune.channel_max, 2047));
    cr_expect(eq(u32, tune.frame_max, 131072));
    cr_expect(eq(u16, tune.heartbeat, 60));
}

/* Zero asks for no limit, which only a broker without one could grant. */
Test(connection, tune_ok_outside_the_offer_is_530)
{
    static const struct {
        uint16_t channel_max;
        uint32_t frame_max;
        const char *text;
    } rows[] = {
        {2048, 131072,
         "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"},
        {0, 131072, "negotiated channel_max = 0 is higher than the maximum allowed value (2047)"},
        {2047, 4095, "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"},
        {2047, 1, "negotiated frame_max = 1 is lower than the minimum allowed value (4096)"},
        {2047, 131073,
         "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"},
        {2047, UINT32_MAX,
         "negotiated frame_max = 4294967295 is higher than the maximum allowed value (131072)"},
        {2047, 0, "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(STAGE_TUNING);
        rig_tune_ok(rig, link, rows[i].channel_max, rows[i].frame_max, 60);
        rig_expect_close(rig, link, REPLY_NOT_ALLOWED, rows[i].text);
        cr_expect(eq(sz, rig_count(rig, link, NET_ACTION_TUNE), 0), "row %zu", i);
    }
}

/* The heartbeat is the client's choice alone, 0 and more than was offered included. */
Test(connection, tune_ok_within_the_offer_reaches_the_network)
{
    static const struct {
        uint16_t channel_max;
        uint32_t frame_max;
        uint16_t heartbeat_s;
    } rows[] = {{2047, 131072, 60}, {1, 4096, 0}, {100, 8192, 65535}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(STAGE_TUNING);
        rig_tune_ok(rig, link, rows[i].channel_max, rows[i].frame_max, rows[i].heartbeat_s);
        rig_expect_nothing(rig, link);
        const struct posted *tune = &rig->posted[rig->posted_count - 1];
        cr_expect(eq(int, tune->type, NET_ACTION_TUNE));
        cr_expect(eq(u32, tune->frame_max, rows[i].frame_max));
        cr_expect(eq(u16, tune->heartbeat_s, rows[i].heartbeat_s));
    }
}

/* Opening --------------------------------------------------------------------------------------
 */

/* Clients may send tune-ok and open without waiting. */
Test(connection, open_establishes_the_link)
{
    uint64_t link = connect_to_stage(STAGE_TUNING);
    rig->holds_turn = true;
    rig_tune_ok(rig, link, 10, 8192, 5);
    rig_open_vhost(rig, link, "/");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    cr_expect(eq(sz, rig_count(rig, link, NET_ACTION_ESTABLISHED), 1));
    cr_expect(eq(u32, rig_vhost(rig)->connection_count, 1));
}

Test(connection, open_of_an_unknown_vhost_is_530)
{
    uint64_t link = connect_to_stage(STAGE_OPENING);
    rig_open_vhost(rig, link, "elsewhere");
    rig_expect_close(rig, link, REPLY_NOT_ALLOWED, "vhost elsewhere not found");
    cr_expect(eq(sz, rig_count(rig, link, NET_ACTION_ESTABLISHED), 0));
}

Test(connection, open_without_a_rights_record_is_530)
{
    (void)rig_add_vhost(rig, "tenant");
    uint64_t link = connect_to_stage(STAGE_OPENING);
    rig_open_vhost(rig, link, "tenant");
    rig_expect_close(rig, link, REPLY_NOT_ALLOWED,
                     "access to vhost 'tenant' refused for user 'alice'");
}

static void
expect_open_refused(const char *text)
{
    uint64_t link = connect_to_stage(STAGE_OPENING);
    rig_open_vhost(rig, link, "/");
    rig_expect_close(rig, link, REPLY_NOT_ALLOWED, text);
    rig_hang_up(rig, link);
}

static void
limit_alice(int64_t connections_max, int64_t channels_max)
{
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user("alice", rig_slow_hash("secret", hash));
    user.connections_max = connections_max;
    user.channels_max = channels_max;
    rig_put_user(rig, &user);
}

/* The vhost's limit is told before the user's, and both before rights. */
Test(connection, connection_limits_of_vhost_and_user_are_530)
{
    rig_vhost(rig)->connections_max = 1;
    limit_alice(1, -1);
    uint64_t first = connect_to_stage(STAGE_RUNNING);
    expect_open_refused("access to vhost '/' refused for user 'alice': connection limit (1) is "
                        "reached");
    rig_vhost(rig)->connections_max = -1;
    expect_open_refused("connection refused for user 'alice': user connection limit (1) is "
                        "reached");
    rig_hang_up(rig, first);
    (void)connect_to_stage(STAGE_RUNNING);
}

Test(connection, a_limit_of_zero_allows_none)
{
    limit_alice(0, -1);
    expect_open_refused("connection refused for user 'alice': user connection limit (0) is "
                        "reached");
    rig_vhost(rig)->connections_max = 0;
    expect_open_refused("access to vhost '/' refused for user 'alice': connection limit (0) is "
                        "reached");
}

/* Channels -------------------------------------------------------------------------------------
 */

Test(connection, a_channel_above_the_negotiated_maximum_is_530)
{
    uint64_t link = connect_to_stage(STAGE_TUNING);
    rig_tune_ok(rig, link, 2, 131072, 60);
    rig_open_vhost(rig, link, "/");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_OPEN_OK);
    rig_open_channel(rig, link, 2);
    rig_send_id(rig, link, 3, METHOD_CHANNEL_OPEN);
    rig_expect_close(rig, link, REPLY_NOT_ALLOWED,
                     "number of channels opened (1) has reached the negotiated channel_max (2)");
}

Test(connection, channels_beyond_the_users_limit_are_530)
{
    limit_alice(-1, 2);
    uint64_t first = connect_to_stage(STAGE_CHANNEL);
    uint64_t second = connect_to_stage(STAGE_CHANNEL);
    rig_send_id(rig, second, 2, METHOD_CHANNEL_OPEN);
    rig_expect_close(rig, second, REPLY_NOT_ALLOWED,
                     "number of channels opened for user 'alice' has reached the maximum allowed "
                     "user limit of 2");
    rig_open_channel(rig, first, 2); /* the other connection's channel ended with it */
}

/* The number is free again right after close-ok. */
Test(connection, a_channel_number_can_be_used_again_after_its_close)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    for (int i = 0; i < 3; i++) {
        rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE);
        (void)rig_expect(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
        rig_open_channel(rig, link, 1);
    }
    rig_open_channel(rig, link, 2047);
    cr_expect(eq(u64, rig->core->counters.channels_opened, 5));
    cr_expect(eq(u64, rig->core->counters.channels_closed, 3));
}

Test(connection, flow_off_is_540_and_flow_on_is_answered)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    struct method flow = {.id = METHOD_CHANNEL_FLOW, .channel_flow = {.active = true}};
    rig_send(rig, link, 1, &flow);
    cr_expect(rig_expect(rig, link, 1, METHOD_CHANNEL_FLOW_OK)->channel_flow_ok.active);
    flow.channel_flow.active = false;
    rig_send(rig, link, 1, &flow);
    rig_expect_close(rig, link, REPLY_NOT_IMPLEMENTED, "active=false");
}

Test(connection, an_access_ticket_is_given_to_who_asks)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    rig_send_id(rig, link, 1, METHOD_ACCESS_REQUEST);
    cr_expect(
        eq(u16, rig_expect(rig, link, 1, METHOD_ACCESS_REQUEST_OK)->access_request_ok.ticket, 1));
}

static void
send_declare(uint64_t link, uint16_t channel, const char *queue, bool exclusive, bool passive)
{
    struct method declare = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(queue), .exclusive = exclusive, .passive = passive}};
    rig_send(rig, link, channel, &declare);
}

/* After our channel.close everything is dropped until close-ok, publishes included. */
Test(connection, what_comes_for_a_closing_channel_is_dropped)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    send_declare(link, 1, "none", false, true);
    rig_expect_channel_close(rig, link, 1, REPLY_NOT_FOUND, "no queue 'none' in vhost '/'");
    send_declare(link, 1, "none", false, true);
    send_declare(link, 1, "made", false, false);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_OPEN);
    rig_publish(rig, link, 1, "missing", "key", "body");
    rig_expect_nothing(rig, link);
    cr_expect(eq(ptr, (void *)vhost_find_queue(rig_vhost(rig), bytes_of("made")), NULL));
    rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_expect_nothing(rig, link);
    rig_open_channel(rig, link, 1);
}

/* Both sides close at once: ours stays open until its close-ok. */
Test(connection, a_crossing_channel_close_is_answered)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    send_declare(link, 1, "none", false, true);
    rig_expect_channel_close(rig, link, 1, REPLY_NOT_FOUND, "no queue 'none' in vhost '/'");
    rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE);
    (void)rig_expect(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, link, 1);
}

/* A soft error of one channel is no other's business. */
Test(connection, other_channels_live_on_when_one_is_closed)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    rig_open_channel(rig, link, 2);
    send_declare(link, 1, "none", false, true);
    rig_expect_channel_close(rig, link, 1, REPLY_NOT_FOUND, "no queue 'none' in vhost '/'");
    send_declare(link, 2, "mine", true, false);
    (void)rig_expect(rig, link, 2, METHOD_QUEUE_DECLARE_OK);
}

/* Closing --------------------------------------------------------------------------------------
 */

static void
send_close(uint64_t link)
{
    struct method close = {
        .id = METHOD_CONNECTION_CLOSE,
        .connection_close = {.reply_code = REPLY_SUCCESS, .reply_text = bytes_of("Goodbye")}};
    rig_send(rig, link, 0, &close);
}

/* Specification, queue.declare: an exclusive queue ends with its connection, and a client that
 * reads close-ok may declare the name again on its next one. */
Test(connection, exclusive_queues_are_gone_before_close_ok)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    send_declare(link, 1, "mine", true, false);
    send_declare(link, 1, "shared", false, false);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
    rig->holds_turn = true; /* nothing may be left for the end of the turn */
    send_close(link);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(eq(ptr, (void *)vhost_find_queue(rig_vhost(rig), bytes_of("mine")), NULL));
    cr_expect(ne(ptr, (void *)vhost_find_queue(rig_vhost(rig), bytes_of("shared")), NULL));
    cr_expect(rig_is_closed(rig, link));
    cr_expect(eq(u32, rig->posted[rig->posted_count - 1].linger_ms, 3000),
              "close-ok has to get out first");
}

Test(connection, exclusive_queues_end_with_a_lost_socket)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    send_declare(link, 1, "mine", true, false);
    rig_hang_up(rig, link);
    cr_expect(eq(ptr, (void *)vhost_find_queue(rig_vhost(rig), bytes_of("mine")), NULL));
    cr_expect(eq(u32, core_connection_count(rig->core), 0));
    cr_expect(eq(u32, rig_vhost(rig)->connection_count, 0));
}

Test(connection, a_client_may_close_in_any_state)
{
    static const enum stage stages[] = {STAGE_STARTING, STAGE_TUNING, STAGE_OPENING, STAGE_RUNNING,
                                        STAGE_CHANNEL};
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        uint64_t link = connect_to_stage(stages[i]);
        send_close(link);
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
        cr_expect(rig_is_closed(rig, link), "row %zu", i);
        send_close(link); /* read before the socket was shut: nobody listens any more */
        rig_publish(rig, link, 1, "", "q", "body");
        rig_expect_nothing(rig, link);
        rig_hang_up(rig, link);
    }
    cr_expect(eq(u32, core_connection_count(rig->core), 0));
}

/* After our close everything but close and close-ok is dropped, whatever is wrong with it. */
Test(connection, what_comes_after_our_close_is_dropped)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_OPEN);
    rig_expect_close(rig, link, REPLY_CHANNEL_ERROR, "second 'channel.open' seen");
    struct fault fault;
    (void)fault_connection(&fault, REPLY_FRAME_ERROR, "no end octet");
    send_declare(link, 1, "made", false, false);
    rig_send_id(rig, link, 0, METHOD_CONNECTION_OPEN);
    send_ids(link, 0, 99, 99);
    rig_publish(rig, link, 1, "missing", "key", "body");
    rig_send_fault(rig, link, 0, &fault);
    rig_expect_nothing(rig, link);
    cr_expect(not(rig_is_closed(rig, link)));
    rig_send_id(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(rig_is_closed(rig, link));
}

/* Both sides close at once: the client's close is answered, and ends it. */
Test(connection, a_crossing_connection_close_is_answered)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    rig_send_id(rig, link, 1, METHOD_CHANNEL_OPEN);
    rig_expect_close(rig, link, REPLY_CHANNEL_ERROR, "second 'channel.open' seen");
    send_close(link);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(rig_is_closed(rig, link));
}

/* A client that does not answer our close is dropped after its heartbeat, or half a minute. */
Test(connection, close_waits_for_the_heartbeat_but_30_seconds_at_most)
{
    static const struct {
        uint16_t heartbeat_s;
        uint64_t wait_ms;
    } rows[] = {{60, 30000}, {0, 30000}, {5, 5000}, {30, 30000}, {1, 1000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = connect_to_stage(STAGE_TUNING);
        rig_tune_ok(rig, link, 2047, 131072, rows[i].heartbeat_s);
        rig_open_vhost(rig, link, "/");
        rig_send_id(rig, link, 0, METHOD_CONNECTION_OPEN);
        rig_step(rig, rows[i].wait_ms - 1);
        cr_expect(not(rig_is_closed(rig, link)), "row %zu", i);
        rig_step(rig, 1 + TIMER_STEP_MS);
        cr_expect(rig_is_closed(rig, link), "row %zu", i);
        cr_expect(eq(u32, rig->posted[rig->posted_count - 1].linger_ms, 0), "row %zu", i);
        rig_hang_up(rig, link);
    }
}

/* After broken framing close-ok may never be recognised, so nobody waits long for it. */
Test(connection, broken_framing_is_answered_and_waits_three_seconds)
{
    uint64_t link = connect_to_stage(STAGE_RUNNING);
    struct fault fault;
    (void)fault_connection(&fault, REPLY_FRAME_ERROR, "no end octet");
    rig_send_fault(rig, link, 0, &fault);
    rig_expect_close(rig, link, REPLY_FRAME_ERROR, "no end octet");
    rig_step(rig, 2999);
    cr_expect(not(rig_is_closed(rig, link)));
    rig_step(rig, 1 + TIMER_STEP_MS);
    cr_expect(rig_is_closed(rig, link));
}

/* A fault of the network side has the scope that it says: an oversized body is the channel's. */
Test(connection, a_fault_of_channel_scope_closes_the_channel_only)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    struct fault fault;
    (void)fault_channel(&fault, REPLY_PRECONDITION_FAILED, "invalid message");
    rig_send_fault(rig, link, 1, &fault);
    rig_expect_channel_close(rig, link, 1, REPLY_PRECONDITION_FAILED, "invalid message");
    rig_send_fault(rig, link, 1, &fault);
    rig_expect_nothing(rig, link);
    rig_send_fault(rig, link, 9, &fault);
    rig_expect_close(rig, link, REPLY_PRECONDITION_FAILED, "invalid message");
}

/* Shutting down: who runs is told why, who has not got that far is dropped. */
Test(connection, shutting_down_closes_everyone_with_320)
{
    uint64_t early = connect_to_stage(STAGE_TUNING);
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    uint64_t silent = connect_to_stage(STAGE_CHANNEL);
    core_shut_down(rig->core, "shutdown");
    cr_expect(rig_is_closed(rig, early));
    rig_expect_close(rig, link, REPLY_CONNECTION_FORCED,
                     "broker forced connection closure with reason 'shutdown'");
    rig_send_id(rig, link, 0, METHOD_CONNECTION_CLOSE_OK);
    rig_hang_up(rig, early);
    rig_hang_up(rig, link);
    cr_expect(eq(u32, core_connection_count(rig->core), 1));
    rig_step(rig, 31000);
    cr_expect(rig_is_closed(rig, silent));
    rig_hang_up(rig, silent);
    cr_expect(eq(u32, core_connection_count(rig->core), 0));
}

/* Its handshake of TLS may have been under way. */
Test(connection, who_comes_after_the_shutdown_is_dropped)
{
    core_shut_down(rig->core, "shutdown");
    uint64_t late = rig_open(rig);
    cr_expect(rig_is_closed(rig, late));
    rig_hang_up(rig, late);
    cr_expect(eq(u32, core_connection_count(rig->core), 0));
}

/* The name of a client is text for logs, however it was meant. */
Test(connection, a_client_name_is_cut_and_must_be_text)
{
    static const char name[] = "\xC3\xA4 client with quotes \" and\nnewlines";
    struct buffer table;
    buffer_init(&table);
    table_put_text(&table, "connection_name", bytes_of(name));
    uint64_t link = rig_open(rig);
    struct method start_ok = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = buffer_bytes(&table),
                                .mechanism = bytes_of("PLAIN"),
                                .response = bytes_make("\0alice\0secret", 13),
                                .locale = bytes_of("en_US")},
    };
    rig_send(rig, link, 0, &start_ok);
    buffer_fini(&table);
    rig_tune_ok(rig, link, 2047, 131072, 60);
    rig_open_vhost(rig, link, "/");
    cr_expect(eq(str, core_find_connection(rig->core, link)->client_name, (char *)name));
    cr_expect(rig_logged(rig, "client=\"\xC3\xA4 client with quotes \\\" and\\nnewlines\""));
}

/* An event of a link that is gone may still be under way: its content is released, no more. */
Test(connection, events_of_an_unknown_link_are_dropped)
{
    uint64_t link = connect_to_stage(STAGE_CHANNEL);
    rig_hang_up(rig, link);
    rig_publish(rig, link, 1, "", "q", "body");
    rig_send_id(rig, link, 1, METHOD_TX_SELECT);
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
}

/* The same conversation is the same to the last octet: what a simulator builds on. */
Test(connection, the_same_events_give_the_same_actions)
{
    struct rig *other = rig_new(NULL);
    rig_add_user(other, "alice", "secret");
    struct rig *both[] = {rig, other};
    for (size_t i = 0; i < 2; i++) {
        uint64_t link = rig_connect(both[i], "alice", "secret");
        rig_open_channel(both[i], link, 1);
        rig_send_id(both[i], link, 1, METHOD_QUEUE_DECLARE); /* server-named */
    }
    cr_assert(eq(sz, rig->posted_count, other->posted_count));
    for (size_t i = 0; i < rig->posted_count; i++) {
        cr_expect(bytes_equal(buffer_bytes(&rig->posted[i].octets),
                              buffer_bytes(&other->posted[i].octets)),
                  "action %zu", i);
    }
    rig_free(&other);
}
