/* SPDX-License-Identifier: Apache-2.0 */
/* Links over real sockets on loopback and a clock that only the test moves. */
#include "net/network.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/reply.h"
#include "base/assert.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/net/harness.h"

static struct harness *harness;
static size_t octets_max;

static void
set_up(void)
{
    harness = malloc(sizeof(*harness));
    harness_start(harness, NULL, transport_factory_tcp(), false);
}

static void
tear_down(void)
{
    harness_stop(harness);
    free(harness);
}

TestSuite(network, .init = set_up, .fini = tear_down);

/* Starts anew with other settings or another transport. */
static void
restart(const struct network_settings *settings, struct transport_factory factory, bool is_tls)
{
    harness_stop(harness);
    harness_start(harness, settings, factory, is_tls);
}

static void
restart_trickling(size_t octets)
{
    octets_max = octets;
    restart(NULL, transport_factory_trickle(&octets_max), false);
}

static bool
heard_publish(size_t nth, uint16_t channel, const char *text)
{
    struct heard *heard = harness_nth(harness, NET_EVENT_PUBLISH, nth);
    return heard->channel == channel && octets_equal(buffer_bytes(&heard->octets), bytes_of(text));
}

/* The octets are not static: at the end of each test, whichever it is, all static memory is
 * searched for pointers to what could be a leak. */
static struct bytes
pattern(size_t size)
{
    enum { PATTERN_MAX = 16 * 1024 * 1024 };
    static uint8_t *octets;
    octets = octets == NULL ? malloc(PATTERN_MAX) : octets;
    cr_assert(le(sz, size, PATTERN_MAX));
    for (size_t i = 0; i < size; i++) {
        octets[i] = (uint8_t)(i * 3 + i / 257);
    }
    return bytes_make(octets, size);
}

static void
close_ok(uint16_t channel, uint16_t class_id, uint16_t method_id, struct buffer *out)
{
    uint8_t payload[4];
    put_u16(payload, class_id);
    put_u16(payload + 2, method_id);
    frame_encode(out, FRAME_TYPE_METHOD, channel, bytes_make(payload, 4));
}

/* Protocol header --------------------------------------------------------------------------------
 */

Test(network, right_protocol_header_opens_the_link)
{
    int fd = harness_connect(harness);
    harness_send(fd, "AMQP", 4);
    harness_settle(harness);
    cr_expect(eq(sz, harness->heard_count, 0));
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    cr_expect(eq(u32, network_unestablished_count(harness->network), 1));
    harness_send(fd, "\0\0\x09\x01", 4);
    harness_wait(harness, 1);

    struct heard *heard = harness_nth(harness, NET_EVENT_OPENED, 0);
    cr_expect(eq(str, heard->peer.address, "127.0.0.1"));
    cr_expect(eq(str, heard->peer.local_address, "127.0.0.1"));
    cr_expect(eq(int, heard->peer.local_port, harness->tcp_port));
    cr_expect(ne(int, heard->peer.port, 0));
    cr_expect(heard->peer.is_loopback);
    cr_expect(not(heard->peer.is_tls));
    harness_post(harness, heard->link, NET_ACTION_ESTABLISHED);
    cr_expect(eq(u32, network_unestablished_count(harness->network), 0));
    close(fd);
}

Test(network, other_protocols_are_told_the_right_one_and_closed)
{
    static const struct {
        const char *octets;
        size_t size;
        bool is_answered;
        const char *logged;
    } rows[] = {
        {"AMQP\x03\x01\x00\x00", 8, true, "link.other_amqp_version"},
        {"AMQP\x00\x00\x0a\x00", 8, true, "link.other_amqp_version"},
        {"AMQPxxxx", 8, true, "link.other_amqp_version"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, true, "link.http_on_amqp_port"},
        {"garbage, and plenty of it, much more than a header", 50, true, "link.unknown_protocol"},
        {"x", 1, true, "link.unknown_protocol"},
        {"\x16\x03\x01\x02\x00\x01\x00\x01", 8, false, "link.tls_on_plain_port"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = harness_connect(harness);
        harness_send(fd, rows[i].octets, rows[i].size);
        if (rows[i].is_answered) {
            uint8_t answer[PROTOCOL_HEADER_SIZE];
            harness_read(harness, fd, answer, sizeof(answer));
            cr_expect(zero(int, memcmp(answer, "AMQP\0\0\x09\x01", 8)), "row %zu", i);
            cr_expect(harness_reads_end(harness, fd), "row %zu", i);
        }
        close(fd);
        harness_settle(harness);
        cr_expect(harness_logged(harness, rows[i].logged), "row %zu", i);
        cr_expect(eq(u32, network_link_count(harness->network), 0), "row %zu", i);
    }
    cr_expect(eq(sz, harness->heard_count, 0), "the core never hears of them");
}

/* Load balancers connect and close all day. */
Test(network, probe_is_logged_at_debug_level_only)
{
    close(harness_connect(harness));
    for (int i = 0; i < 100 && !harness_logged(harness, "closed_before"); i++) {
        network_poll(harness->network, 10);
        network_flush(harness->network);
    }
    cr_expect(harness_logged(harness, "level=debug"));
    cr_expect(not(harness_logged(harness, "level=info")));
    cr_expect(eq(sz, harness->heard_count, 0));
    cr_expect(eq(u32, network_link_count(harness->network), 0));
}

/* Frames -----------------------------------------------------------------------------------------
 */

Test(network, methods_and_contents_arrive_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 3, 7, 4096, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        restart_trickling(pieces[i]);
        int fd = harness_establish(harness, 4096);
        struct buffer out = {0};
        close_ok(0, 10, 51, &out);
        put_publish(&out, 1, "x", "one", bytes_of("hello"), 4096);
        buffer_put(&out, frame_heartbeat, sizeof(frame_heartbeat));
        put_publish(&out, 2, "", "", bytes_of(""), 4096);
        put_publish(&out, 1, "x", "large", pattern(20000), 4096);
        close_ok(5, 20, 41, &out);
        harness_pump(harness, fd, &out);
        harness_wait(harness, 5);

        cr_expect(eq(int, harness->heard[0].type, NET_EVENT_METHOD));
        cr_expect(
            octets_equal(buffer_bytes(&harness->heard[0].octets), bytes_make("\0\x0a\0\x33", 4)));
        cr_expect(heard_publish(0, 1, "x/one/hello"), "pieces of %zu", pieces[i]);
        cr_expect(heard_publish(1, 2, "//"), "pieces of %zu", pieces[i]);
        struct bytes large = buffer_bytes(&harness_nth(harness, NET_EVENT_PUBLISH, 2)->octets);
        cr_expect(eq(sz, large.size, 20000 + 8), "pieces of %zu", pieces[i]);
        cr_expect(octets_equal(bytes_make(large.data + 8, 20000), pattern(20000)));
        cr_expect(eq(int, harness->heard[4].channel, 5));
        close(fd);
    }
}

/* A large body is read straight into its chunk. */
Test(network, large_bodies_arrive_complete_and_channels_may_alternate)
{
    int fd = harness_establish(harness, 131072);
    struct bytes body = pattern(3000001);
    struct buffer out = {0};
    put_publish_method(&out, 1, "x", "k");
    put_publish_method(&out, 2, "y", "l");
    put_header(&out, 2, CLASS_BASIC, body.size, bytes_make(NULL, 0));
    put_header(&out, 1, CLASS_BASIC, body.size, bytes_make(NULL, 0));
    for (size_t at = 0; at < body.size; at += 100000) {
        size_t size = body.size - at < 100000 ? body.size - at : 100000;
        put_body(&out, 1, bytes_make(body.data + at, size), 131072);
        close_ok(0, 10, 51, &out);
        put_body(&out, 2, bytes_make(body.data + at, size), 131072);
    }
    harness_pump(harness, fd, &out);
    for (size_t i = 0; i < 2; i++) {
        struct heard *heard = harness_nth(harness, NET_EVENT_PUBLISH, i);
        struct bytes octets = buffer_bytes(&heard->octets);
        cr_expect(eq(int, heard->channel, i + 1));
        cr_expect(octets_equal(bytes_make(octets.data + 4, octets.size - 4), body));
    }
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 31));
    close(fd);
}

/* Each malformed sequence of frames on an established link, and what the core hears of it. */
Test(network, breaches_are_reported_once_with_code_and_method)
{
    enum { HEADER_ONLY = 1, PUBLISH_FIRST = 2, RAW = 4, BROKEN = 8 };
    static const struct {
        const char *what;
        int flags;
        const char *octets; /* RAW: sent as they are */
        size_t size;
        uint16_t channel;
        uint16_t reply_code;
        uint16_t class_id;
        const char *text;
    } rows[] = {
        {"unknown frame type", RAW | BROKEN, "\x04\0\x01\0\0\0\0\xce", 8, 1, 501, 0, NULL},
        {"wrong end octet", RAW | BROKEN, "\x01\0\x01\0\0\0\x04\0\x0a\0\x33\xcd", 12, 1, 501, 0,
         NULL},
        {"payload too long", RAW | BROKEN, "\x01\0\x01\0\0\x10\x01", 7, 1, 501, 0, NULL},
        {"heartbeat with payload", RAW | BROKEN, "\x08\0\0\0\0\0\x01z\xce", 9, 0, 501, 0, NULL},
        {"heartbeat on a channel", RAW | BROKEN, "\x08\0\x02\0\0\0\0\xce", 8, 2, 505, 0, NULL},
        {"method without ids", RAW, "\x01\0\x01\0\0\0\x03\0\x0a\0\xce", 11, 1, 502, 0,
         "method frame of 3 octets has no class and method id"},
        {"publish cut short", RAW, "\x01\0\x01\0\0\0\x06\0\x3c\0\x28\0\0\xce", 14, 1, 502, 60,
         NULL},
        {"header without method", HEADER_ONLY, NULL, 0, 1, 505, 0,
         "expected method frame, got non method frame instead"},
        {"body on channel 0", RAW, "\x03\0\0\0\0\0\x01z\xce", 9, 0, 505, 0,
         "expected method frame, got non method frame instead"},
        {"body without header", PUBLISH_FIRST | RAW, "\x03\0\x01\0\0\0\x01z\xce", 9, 1, 505, 60,
         "expected content header for class 60, got non content header frame instead"},
        {"method without header", PUBLISH_FIRST | RAW, "\x01\0\x01\0\0\0\x04\0\x14\0\x28\xce", 12,
         1, 505, 60, "expected content header for class 60, got non content header frame instead"},
        {"method without body", PUBLISH_FIRST | HEADER_ONLY | RAW,
         "\x01\0\x01\0\0\0\x04\0\x14\0\x28\xce", 12, 1, 505, 60,
         "expected content body, got non content body frame instead"},
        {"body too long", PUBLISH_FIRST | HEADER_ONLY | RAW, "\x03\0\x01\0\0\0\x03xyz\xce", 11, 1,
         501, 60, "body frame of 3 octets is longer than the 2 that are left of the content"},
        {"long body that comes in pieces", PUBLISH_FIRST | HEADER_ONLY | RAW,
         "\x03\0\x01\0\0\0\x03xy", 9, 1, 501, 60,
         "body frame of 3 octets is longer than the 2 that are left of the content"},
        {"body with a wrong end octet", PUBLISH_FIRST | HEADER_ONLY | RAW | BROKEN,
         "\x03\0\x01\0\0\0\x02xy\xcf", 10, 1, 501, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        size_t row = i / 2;
        restart_trickling(i % 2 == 0 ? 100000 : 1);
        int fd = harness_establish(harness, 4096);
        struct buffer out = {0};
        if ((rows[row].flags & PUBLISH_FIRST) != 0) {
            put_publish_method(&out, 1, "x", "k");
        }
        if ((rows[row].flags & HEADER_ONLY) != 0) {
            put_header(&out, 1, CLASS_BASIC, 2, bytes_make(NULL, 0));
        }
        buffer_put(&out, rows[row].octets, rows[row].size);
        harness_send_buffer(fd, &out);
        harness_wait(harness, 1);

        struct heard *heard = harness_nth(harness, NET_EVENT_FAULT, 0);
        const char *what = rows[row].what;
        cr_expect(eq(int, heard->channel, rows[row].channel), "%s", what);
        cr_expect(eq(int, heard->fault.reply_code, rows[row].reply_code), "%s", what);
        cr_expect(eq(int, heard->fault.scope, FAULT_CONNECTION), "%s", what);
        cr_expect(eq(int, heard->class_id, rows[row].class_id), "%s", what);
        cr_expect(eq(int, heard->method_id, rows[row].class_id == 60 ? 40 : 0), "%s", what);
        if (rows[row].text != NULL) {
            cr_expect(eq(str, heard->fault.text, (char *)(uintptr_t)rows[row].text), "%s", what);
        }

        /* With the framing intact methods still pass, for close-ok is due; contents do not. */
        if (strstr(what, "in pieces") != NULL) {
            harness_send(fd, "z\xce", 2);
        }
        put_publish(&out, 1, "x", "k", bytes_of("late"), 4096);
        put_header(&out, 9, CLASS_BASIC, 2, bytes_make(NULL, 0));
        close_ok(0, 10, 51, &out);
        harness_send_buffer(fd, &out);
        harness_settle(harness);
        size_t methods = (rows[row].flags & BROKEN) != 0 ? 0 : 1;
        cr_expect(eq(sz, harness->heard_count, 1 + methods), "%s", what);
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), methods), "%s", what);
        close(fd);
    }
}

/* Before the login frames are short, whatever is offered in tune, and no body gets memory. */
Test(network, link_that_is_not_established_takes_short_frames_and_no_contents)
{
    int fd = harness_open(harness);
    struct buffer out = {0};
    put_publish_method(&out, 1, "x", "k");
    put_header(&out, 1, CLASS_BASIC, 2, bytes_make(NULL, 0));
    harness_send_buffer(fd, &out);
    harness_wait(harness, 2);
    harness_post(harness, harness->links[0], NET_ACTION_RESUME);
    harness_wait(harness, 3);
    cr_expect(eq(int, harness->heard[1].type, NET_EVENT_METHOD));
    cr_expect(eq(int, harness->heard[2].type, NET_EVENT_FAULT));
    cr_expect(eq(int, harness->heard[2].fault.reply_code, REPLY_UNEXPECTED_FRAME));
    close(fd);

    fd = harness_open(harness);
    size_t before = harness->heard_count;
    frame_encode(&out, FRAME_TYPE_METHOD, 0, pattern(8192));
    frame_encode(&out, FRAME_TYPE_METHOD, 0, pattern(8193));
    harness_send_buffer(fd, &out);
    harness_wait(harness, before + 1);
    cr_expect(eq(int, harness->heard[before].type, NET_EVENT_METHOD));
    harness_post(harness, harness->links[1], NET_ACTION_RESUME);
    harness_wait(harness, before + 2);
    cr_expect(eq(int, harness->heard[before + 1].fault.reply_code, REPLY_FRAME_ERROR));
    close(fd);
}

/* A client may send connection.open, channel.open and more behind tune-ok without waiting: what
 * they mean depends on the core's answers, which come later if it is another thread. */
Test(network, handshake_goes_on_only_after_the_core_has_answered)
{
    int fd = harness_open(harness);
    struct buffer out = {0};
    frame_encode(&out, FRAME_TYPE_METHOD, 0, pattern(8));
    frame_encode(&out, FRAME_TYPE_METHOD, 0, pattern(10000));
    put_publish(&out, 1, "x", "k", bytes_of("body"), 131072);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
    cr_expect(not(network_has_work(harness->network)), "it waits and does not spin");

    harness_post_tune(harness, harness->links[0], 131072, 0);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 2), "read with the frame-max tuned");
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 0));

    harness_post(harness, harness->links[0], NET_ACTION_ESTABLISHED);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 1));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_FAULT), 0));
    close(fd);
}

Test(network, body_over_the_limit_is_reported_without_content_and_skipped)
{
    struct network_settings settings = {.message_bytes_max = 4};
    restart(&settings, transport_factory_tcp(), false);
    int fd = harness_establish(harness, 4096);
    struct buffer out = {0};
    put_publish(&out, 1, "x", "large", bytes_of("12345"), 4096);
    put_publish(&out, 1, "x", "small", bytes_of("1234"), 4096);
    harness_send_buffer(fd, &out);
    harness_wait(harness, 2);
    cr_expect(not(harness->heard[0].has_content));
    cr_expect(eq(u64, harness->heard[0].number, 5));
    cr_expect(heard_publish(0, 1, "x/large/"));
    cr_expect(heard_publish(1, 1, "x/small/1234"));
    close(fd);
}

Test(network, persistent_content_says_so)
{
    int fd = harness_establish(harness, 4096);
    struct buffer out = {0};
    put_publish_method(&out, 1, "x", "k");
    put_header(&out, 1, CLASS_BASIC, 0, bytes_make("\x10\0\x02", 3));
    harness_send_buffer(fd, &out);
    harness_wait(harness, 1);
    cr_expect(eq(int, harness->heard[0].flags, CONTENT_PERSISTENT));
    close(fd);
}

/* Closed channels --------------------------------------------------------------------------------
 */

static void
close_channel_on_publish(struct harness *core, const struct net_event *event)
{
    if (event->type == NET_EVENT_PUBLISH) {
        struct method method = {.id = METHOD_CHANNEL_CLOSE};
        method.channel_close.reply_code = 404;
        harness_post_method(core, event->link, event->channel, &method);
    }
}

/* A publisher in full flow has sent much more by the time it hears of the error. */
Test(network, channel_closed_by_the_core_swallows_contents_until_close_ok)
{
    static const size_t pieces[] = {1, 100000};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        restart_trickling(pieces[i]);
        harness->respond = close_channel_on_publish;
        int fd = harness_establish(harness, 4096);
        struct buffer out = {0};
        put_publish(&out, 1, "x", "first", bytes_of("a"), 4096);
        put_publish(&out, 1, "x", "dropped", pattern(9000), 4096);
        put_body(&out, 1, bytes_of("out of order, who cares"), 4096);
        close_ok(1, 50, 10, &out);
        harness_send_buffer(fd, &out);
        harness_settle(harness);
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 1));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1), "methods pass");

        close_ok(1, 20, 41, &out);
        put_publish(&out, 1, "x", "again", bytes_of("b"), 4096);
        harness_send_buffer(fd, &out);
        harness_settle(harness);
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 2));
        cr_expect(heard_publish(1, 1, "x/again/b"));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_FAULT), 0));
        close(fd);
    }
}

Test(network, unfinished_content_of_a_closed_channel_is_released)
{
    int fd = harness_establish(harness, 131072);
    struct buffer out = {0};
    put_publish_method(&out, 1, "x", "k");
    put_header(&out, 1, CLASS_BASIC, 200000, bytes_make(NULL, 0));
    put_body(&out, 1, pattern(100000), 131072);
    out.end -= 50000; /* in the middle of a body frame */
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(ne(u64, chunk_pool_bytes(harness->pool), 0));

    struct method method = {.id = METHOD_CHANNEL_CLOSE};
    harness_post_method(harness, harness->links[0], 1, &method);
    harness_settle(harness);
    cr_expect(eq(u64, chunk_pool_bytes(harness->pool), 0));
    put_body(&out, 1, pattern(100000), 131072);
    buffer_consume(&out, buffer_size(&out) - 50000);
    put_publish(&out, 2, "x", "other", bytes_of("b"), 4096);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(heard_publish(0, 2, "x/other/b"));
    close(fd);
}

static void
close_channel_1_on_publish(struct harness *it, const struct net_event *event)
{
    if (event->type == NET_EVENT_PUBLISH) {
        struct method method = {.id = METHOD_CHANNEL_CLOSE};
        harness_post_method(it, event->link, 1, &method);
    }
}

/* What the core does in answer to one publish may end another one, which is unfinished. */
Test(network, unfinished_content_is_released_from_within_the_handler_of_another)
{
    harness->respond = close_channel_1_on_publish;
    int fd = harness_establish(harness, 131072);
    struct buffer out = {0};
    put_publish_method(&out, 1, "x", "unfinished");
    put_header(&out, 1, CLASS_BASIC, 200000, bytes_make(NULL, 0));
    put_publish(&out, 2, "x", "other", bytes_of("b"), 131072);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 1));
    cr_expect(eq(u64, chunk_pool_bytes(harness->pool), 0));
    close(fd);
}

Test(network, message_without_memory_is_a_resource_error_and_the_next_one_is_not)
{
    static const size_t sizes[] = {10, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        restart(NULL, transport_factory_tcp(), false);
        int fd = harness_establish(harness, 131072);
        struct buffer out = {0};
        harness->refuses_memory = true;
        put_publish(&out, 1, "x", "k", pattern(sizes[i]), 131072);
        harness_pump(harness, fd, &out);
        harness_settle(harness);
        harness->refuses_memory = false;
        cr_assert(eq(sz, harness_count(harness, NET_EVENT_FAULT), 1));
        const struct heard *heard = harness_nth(harness, NET_EVENT_FAULT, 0);
        cr_expect(eq(int, heard->fault.reply_code, 506));
        cr_expect(eq(int, heard->method_id, 40));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 0));
        close(fd);

        fd = harness_establish(harness, 131072);
        put_publish(&out, 1, "x", "k", pattern(sizes[i]), 131072);
        harness_pump(harness, fd, &out);
        harness_settle(harness);
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 1));
        close(fd);
    }
}

/* With threads the core cannot give memory back by itself. */
Test(network, memory_that_the_core_returns_takes_the_next_contents)
{
    int fd = harness_establish(harness, 131072);
    uint8_t *memory = aligned_alloc(4096, CHUNK_SIZE);
    harness->mapped_bytes += CHUNK_SIZE;
    struct net_action action = {.type = NET_ACTION_CHUNK_RETURNED, .link = net_no_link(0)};
    action.chunk_returned.memory = memory;
    action.chunk_returned.capacity = CHUNK_SIZE;
    harness->port.post(harness->port.context, &action);

    harness->keeps_contents = true;
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", bytes_of("b"), 4096);
    harness_send_buffer(fd, &out);
    harness_wait(harness, 1);
    cr_expect(eq(ptr, (void *)chunk_pool_content(harness->pool, harness->kept[0]), memory));
    cr_expect(eq(sz, harness->mapped_bytes, CHUNK_SIZE));
    close(fd);
}

/* A network whose links only publish writes hardly ever, and gets its memory back all the same. */
Test(network, memory_that_the_core_returns_goes_when_nothing_needs_it)
{
    uint8_t *memory = aligned_alloc(4096, CHUNK_SIZE);
    harness->mapped_bytes += CHUNK_SIZE;
    struct net_action action = {.type = NET_ACTION_CHUNK_RETURNED, .link = net_no_link(0)};
    action.chunk_returned.memory = memory;
    action.chunk_returned.capacity = CHUNK_SIZE;
    harness->port.post(harness->port.context, &action);
    cr_expect(eq(sz, harness->mapped_bytes, CHUNK_SIZE));
    harness_step(harness, 1100);
    harness_step(harness, 1100);
    cr_expect(eq(sz, harness->mapped_bytes, 0));
}

/* One core may have several networks: what comes of one says which. */
Test(network, links_and_chunks_carry_the_number_of_their_network)
{
    struct network_settings settings = {.number = NET_NETWORKS_MAX - 1};
    restart(&settings, transport_factory_tcp(), false);
    int fd = harness_establish(harness, 131072);
    cr_expect(eq(u32, net_link_network(harness->links[0]), NET_NETWORKS_MAX - 1));
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", bytes_of("b"), 4096);
    harness_send_buffer(fd, &out);
    harness_wait(harness, 1);
    cr_expect(heard_publish(0, 1, "x/k/b"));
    struct method method = {.id = METHOD_CHANNEL_CLOSE_OK};
    harness_post_method(harness, harness->links[0], 1, &method);
    uint8_t octets[12];
    harness_read(harness, fd, octets, sizeof(octets));
    close(fd);
}

Test(network, contents_are_of_no_interest_once_the_core_closes_the_connection)
{
    int fd = harness_establish(harness, 4096);
    struct method method = {.id = METHOD_CONNECTION_CLOSE};
    harness_post_method(harness, harness->links[0], 0, &method);
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", pattern(9000), 4096);
    put_body(&out, 4, bytes_of("z"), 4096);
    close_ok(0, 10, 51, &out);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 0));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_FAULT), 0));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
    close(fd);
}

/* Output -----------------------------------------------------------------------------------------
 */

static void
post_deliver_lent(struct content_ref ref, uint64_t delivery_tag, uint64_t loan)
{
    const struct content *content = chunk_pool_content(harness->pool, ref);
    struct net_action action = {
        .type = NET_ACTION_DELIVER,
        .channel = 1,
        .link = harness->links[0],
        .loan = loan,
    };
    action.deliver.content = content;
    action.deliver.delivery_tag = delivery_tag;
    action.deliver.consumer_tag = bytes_of("ctag");
    action.deliver.exchange = content_exchange(content);
    action.deliver.routing_key = content_routing_key(content);
    harness->port.post(harness->port.context, &action);
}

static void
post_deliver(struct content_ref ref, uint64_t delivery_tag)
{
    post_deliver_lent(ref, delivery_tag, 0);
}

/* A content of `size` octets that the core holds. */
static struct content_ref
make_content(size_t size)
{
    struct content_shape shape = {.body_size = (uint32_t)size, .kind = CHUNK_KIND_TRANSIENT};
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(harness->pool, &shape, &ref, &body), STATUS_OK));
    memcpy(body, pattern(size).data, size);
    return ref;
}

/* The rule behind flow control: the sum of WRITTEN is the sum of what was posted, to the octet, and
 * no content is read after the tick in which it was posted. */
Test(network, slow_reader_gets_everything_and_every_octet_is_reported)
{
    enum { COUNT = 60, SIZE = 300000 };
    octets_max = 777;
    for (int round = 0; round < 2; round++) {
        restart(NULL, round == 0 ? transport_factory_tcp() : transport_factory_trickle(&octets_max),
                false);
        int fd = harness_establish(harness, 131072);
        uint64_t posted = 0;
        for (uint64_t i = 0; i < COUNT; i++) {
            struct content_ref ref = make_content(i % 2 == 0 ? SIZE : 100);
            post_deliver(ref, i);
            struct net_action action = {.type = NET_ACTION_DELIVER};
            action.deliver.consumer_tag = bytes_of("ctag");
            posted += net_action_octets(&action, chunk_pool_content(harness->pool, ref), 131072);
            chunk_pool_release(harness->pool, ref);
            harness_turn(harness);
        }
        cr_expect(lt(u64, harness_written(harness), posted), "sockets do not hold that much");
        uint8_t *octets = malloc(posted);
        harness_read(harness, fd, octets, posted);
        harness_settle(harness);
        cr_expect(eq(u64, harness_written(harness), posted));

        /* The last delivery with a large body stands before the one with 100 octets. */
        struct frame frame;
        struct fault fault;
        size_t at = 0;
        size_t bodies = 0;
        while (at < posted) {
            struct bytes rest = bytes_make(octets + at, posted - at);
            cr_assert(eq(int, frame_decode(&frame, rest, 131072, NULL, &fault), STATUS_OK));
            bodies += frame.type == FRAME_TYPE_BODY ? frame.payload.size : 0;
            at += frame.payload.size + FRAME_OVERHEAD;
        }
        cr_expect(eq(sz, bodies, (size_t)COUNT / 2 * (SIZE + 100)));
        free(octets);
        close(fd);
    }
}

/* However long its reader takes, the core hears when a content is let go, and not before. */
Test(network, a_lent_content_is_read_where_it_lies_until_it_is_written)
{
    enum { SIZE = 16 * 1024 * 1024 };
    int fd = harness_establish(harness, 131072);
    struct content_ref ref = make_content(SIZE);
    post_deliver_lent(ref, 1, 77);
    for (int turn = 0; turn < 100; turn++) {
        harness_turn(harness);
    }
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_LOAN_RETURNED), 0));

    struct net_action action = {.type = NET_ACTION_DELIVER};
    action.deliver.consumer_tag = bytes_of("ctag");
    uint64_t size = net_action_octets(&action, chunk_pool_content(harness->pool, ref), 131072);
    uint8_t *octets = malloc(size);
    harness_read(harness, fd, octets, size);
    harness_settle(harness);
    cr_expect(eq(u64, harness_written(harness), size));
    cr_assert(eq(sz, harness_count(harness, NET_EVENT_LOAN_RETURNED), 1));
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_LOAN_RETURNED, 0)->number, 77));
    size_t bodies = 0;
    for (size_t at = 0; at < size;) {
        struct frame frame;
        struct fault fault;
        struct bytes rest = bytes_make(octets + at, size - at);
        cr_assert(eq(int, frame_decode(&frame, rest, 131072, NULL, &fault), STATUS_OK));
        if (frame.type == FRAME_TYPE_BODY) {
            cr_assert(memcmp(frame.payload.data, pattern(SIZE).data + bodies, frame.payload.size) ==
                      0);
            bodies += frame.payload.size;
        }
        at += frame.payload.size + FRAME_OVERHEAD;
    }
    cr_expect(eq(sz, bodies, SIZE));
    chunk_pool_release(harness->pool, ref);
    free(octets);
    close(fd);
}

/* Each loan comes back once, whatever becomes of the link. */
Test(network, what_was_lent_to_a_link_that_ends_comes_back)
{
    int fd = harness_establish(harness, 131072);
    struct content_ref ref = make_content(4 * 1024 * 1024);
    for (uint64_t loan = 1; loan <= 5; loan++) {
        post_deliver_lent(ref, loan, loan); /* more than sockets hold */
    }
    harness_turn(harness);
    harness_post_close(harness, harness->links[0], 0);
    post_deliver_lent(ref, 6, 6); /* it is closing */
    harness_settle(harness);
    post_deliver_lent(ref, 7, 7); /* it is gone */
    harness_settle(harness);
    uint64_t sum = 0;
    cr_assert(eq(sz, harness_count(harness, NET_EVENT_LOAN_RETURNED), 7));
    for (size_t i = 0; i < 7; i++) {
        sum += harness_nth(harness, NET_EVENT_LOAN_RETURNED, i)->number;
    }
    cr_expect(eq(u64, sum, 28), "1 to 7, each once");
    chunk_pool_release(harness->pool, ref);
    close(fd);
}

Test(network, what_was_lent_comes_back_when_there_is_no_memory_to_write_it)
{
    int fd = harness_establish(harness, 131072);
    struct content_ref ref = make_content(100000);
    alloc_faults_plan(1);
    post_deliver_lent(ref, 1, 9);
    alloc_faults_plan(0);
    harness_settle(harness);
    cr_assert(eq(sz, harness_count(harness, NET_EVENT_LOAN_RETURNED), 1));
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->number, NET_CLOSE_ERROR));
    chunk_pool_release(harness->pool, ref);
    close(fd);
}

Test(network, missing_output_memory_closes_that_link_only)
{
    int fd = harness_establish(harness, 4096);
    int other = harness_establish(harness, 4096);
    struct net_action action = {.type = NET_ACTION_METHOD, .link = harness->links[0]};
    action.method.payload = bytes_make("\0\x55\0\x0b", 4);
    alloc_faults_plan(1);
    harness->port.post(harness->port.context, &action);
    alloc_faults_plan(0);
    harness_settle(harness);
    struct heard *closed = harness_nth(harness, NET_EVENT_CLOSED, 0);
    cr_expect(eq(u64, closed->link, harness->links[0]));
    cr_expect(eq(u64, closed->number, NET_CLOSE_ERROR));
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    close(fd);
    close(other);
}

/* Pause ------------------------------------------------------------------------------------------
 */

static void
pause_on_method(struct harness *core, const struct net_event *event)
{
    if (event->type == NET_EVENT_METHOD) {
        harness_post(core, event->link, NET_ACTION_PAUSE);
    }
}

Test(network, paused_link_handles_nothing_more_and_goes_on_where_it_stopped)
{
    static const size_t pieces[] = {1, 100000};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        restart_trickling(pieces[i]);
        harness->respond = pause_on_method;
        int fd = harness_establish(harness, 131072);
        struct buffer out = {0};
        for (uint16_t channel = 1; channel <= 3; channel++) {
            close_ok(channel, 50, 10, &out);
            put_publish(&out, channel, "x", "k", pattern(6000), 131072);
        }
        harness_pump(harness, fd, &out);
        for (uint16_t channel = 1; channel <= 3; channel++) {
            cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), channel));
            cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), channel - 1U));
            harness_post(harness, harness->links[0], NET_ACTION_RESUME);
            harness_settle(harness);
        }
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 3));
        cr_expect(eq(sz, harness_nth(harness, NET_EVENT_PUBLISH, 2)->octets.end, 6004));
        close(fd);
    }
}

/* Heartbeats -------------------------------------------------------------------------------------
 */

Test(network, heartbeat_is_sent_after_half_the_interval_and_not_counted)
{
    int fd = harness_establish(harness, 4096);
    harness_post_tune(harness, harness->links[0], 4096, 10);
    harness_step(harness, 4990);
    uint8_t octets[16];
    cr_expect(eq(i64, recv(fd, octets, sizeof(octets), MSG_DONTWAIT), -1));
    harness_step(harness, 20);
    harness_read(harness, fd, octets, FRAME_OVERHEAD);
    cr_expect(zero(int, memcmp(octets, frame_heartbeat, FRAME_OVERHEAD)));
    harness_step(harness, 5000);
    harness_read(harness, fd, octets, FRAME_OVERHEAD);
    cr_expect(eq(u64, harness_written(harness), 0));

    /* Other output makes it unnecessary. */
    struct method method = {.id = METHOD_CONFIRM_SELECT_OK};
    harness_step(harness, 4000);
    harness_post_method(harness, harness->links[0], 1, &method);
    harness_settle(harness);
    harness_read(harness, fd, octets, 12);
    harness_step(harness, 4900);
    cr_expect(eq(i64, recv(fd, octets, sizeof(octets), MSG_DONTWAIT), -1));
    close(fd);
}

Test(network, silent_peer_is_given_up_after_two_intervals)
{
    int fd = harness_establish(harness, 4096);
    harness_post_tune(harness, harness->links[0], 4096, 10);
    harness_step(harness, 15000);
    harness_send(fd, frame_heartbeat, 3); /* any octet counts */
    harness_step(harness, 100);
    harness_step(harness, 19800);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 0));
    harness_step(harness, 5000);
    struct heard *closed = harness_nth(harness, NET_EVENT_CLOSED, 0);
    cr_expect(eq(u64, closed->number, NET_CLOSE_HEARTBEAT));
    cr_expect(harness_logged(harness, "link.heartbeat_missed"));
    close(fd);
}

/* After a long stall of the process itself, what has come meanwhile counts. */
Test(network, input_that_waits_is_read_before_silence_is_judged)
{
    int fd = harness_establish(harness, 4096);
    harness_post_tune(harness, harness->links[0], 4096, 10);
    harness_send(fd, frame_heartbeat, FRAME_OVERHEAD);
    harness_step(harness, 100000);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 0));
    close(fd);
}

Test(network, paused_peer_is_not_expected_to_speak)
{
    int fd = harness_establish(harness, 4096);
    harness_post_tune(harness, harness->links[0], 4096, 10);
    harness_post(harness, harness->links[0], NET_ACTION_PAUSE);
    for (int i = 0; i < 20; i++) {
        harness_step(harness, 5000);
    }
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 0));
    harness_post(harness, harness->links[0], NET_ACTION_RESUME);
    harness_step(harness, 19000);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 0));
    harness_step(harness, 7000);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
    close(fd);
}

Test(network, interval_of_zero_means_no_heartbeats)
{
    int fd = harness_establish(harness, 4096);
    harness_step(harness, 10000000);
    uint8_t octet;
    cr_expect(eq(i64, recv(fd, &octet, 1, MSG_DONTWAIT), -1));
    cr_expect(eq(sz, harness->heard_count, 0));
    close(fd);
}

/* Deadlines --------------------------------------------------------------------------------------
 */

/* The deadline is absolute: octets that trickle in do not move it. */
Test(network, handshake_deadline_ends_links_that_are_not_established)
{
    int silent = harness_connect(harness);
    int slow = harness_open(harness);
    int fast = harness_establish(harness, 4096);
    for (int i = 0; i < 9; i++) {
        harness_send(slow, "\x01", 1);
        harness_step(harness, 1000);
        if (i == 0) {
            break;
        }
    }
    cr_expect(eq(u32, network_link_count(harness->network), 3));
    harness_step(harness, 8900);
    cr_expect(eq(u32, network_link_count(harness->network), 3));
    harness_step(harness, 200);
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1), "the other was never opened");
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->number, NET_CLOSE_DEADLINE));
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->link, harness->links[0]));
    cr_expect(harness_logged(harness, "link.handshake_timeout"));
    cr_expect(eq(u32, network_unestablished_count(harness->network), 0));
    close(silent);
    close(slow);
    close(fast);
}

Test(network, tls_handshake_has_a_shorter_deadline)
{
    restart(NULL, transport_factory_silent(), true);
    int fd = harness_connect(harness);
    harness_settle(harness);
    harness_step(harness, 4980);
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    harness_step(harness, 40);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(eq(sz, harness->heard_count, 0));
    close(fd);
}

Test(network, transport_describes_the_peer)
{
    octets_max = 100;
    restart(NULL, transport_factory_trickle(&octets_max), true);
    int fd = harness_open(harness);
    cr_expect(harness->heard[0].peer.is_tls);
    cr_expect(harness->heard[0].peer.has_certificate);
    close(fd);
}

/* The end ----------------------------------------------------------------------------------------
 */

/* Closing a socket with unread input resets it, and the peer would never see why it was closed. */
Test(network, last_frame_arrives_although_input_is_unread)
{
    int fd = harness_establish(harness, 4096);
    struct method method = {.id = METHOD_CONNECTION_CLOSE};
    method.connection_close.reply_code = 320;
    harness_post(harness, harness->links[0], NET_ACTION_PAUSE);
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", pattern(100000), 4096);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    harness_post_method(harness, harness->links[0], 0, &method);
    harness_post_close(harness, harness->links[0], 1000);
    harness_settle(harness);

    uint8_t frame[FRAME_OVERHEAD + 11];
    harness_read(harness, fd, frame, sizeof(frame));
    cr_expect(harness_reads_end(harness, fd));
    struct heard *closed = harness_nth(harness, NET_EVENT_CLOSED, 0);
    cr_expect(eq(u64, closed->number, NET_CLOSE_BY_CORE));
    cr_expect(eq(u64, harness_written(harness), sizeof(frame)));
    close(fd);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
}

Test(network, peer_that_never_ends_its_side_is_dropped)
{
    int fd = harness_establish(harness, 4096);
    harness_post_close(harness, harness->links[0], 1000);
    harness_settle(harness);
    cr_expect(harness_reads_end(harness, fd));
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    harness_step(harness, 2100);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
    close(fd);
}

Test(network, linger_bounds_how_long_a_peer_may_take_its_output)
{
    int fd = harness_establish(harness, 131072);
    for (int i = 0; i < 40; i++) {
        struct content_ref ref = make_content(300000);
        post_deliver(ref, 1);
        chunk_pool_release(harness->pool, ref);
        harness_turn(harness);
    }
    harness_post_close(harness, harness->links[0], 3000);
    harness_step(harness, 2900);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 0));
    harness_step(harness, 200);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->number, NET_CLOSE_BY_CORE));
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    close(fd);
}

Test(network, close_without_linger_drops_what_is_queued)
{
    int fd = harness_establish(harness, 4096);
    struct method method = {.id = METHOD_CONFIRM_SELECT_OK};
    harness_post_method(harness, harness->links[0], 1, &method);
    harness_post_close(harness, harness->links[0], 0);
    harness_settle(harness);
    cr_expect(harness_reads_end(harness, fd));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
    close(fd);
}

static void
close_everything(struct harness *core, const struct net_event *event)
{
    if (event->type == NET_EVENT_METHOD) {
        for (size_t i = 0; i < core->link_count; i++) {
            harness_post_close(core, core->links[i], event->channel == 1 ? 0 : 1000);
        }
    }
}

/* The core may close any link from inside its handler, the one that speaks included. */
Test(network, links_may_be_closed_while_one_of_them_is_being_heard)
{
    for (uint16_t channel = 1; channel <= 2; channel++) {
        restart(NULL, transport_factory_tcp(), false);
        harness->respond = close_everything;
        int fds[3];
        struct buffer out = {0};
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            fds[i] = harness_establish(harness, 4096);
        }
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            close_ok(channel, 50, 10, &out);
            put_publish(&out, 3, "x", "k", bytes_of("late"), 4096);
            harness_send_buffer(fds[i], &out);
        }
        harness_settle(harness);
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_PUBLISH), 0));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 3));
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            close(fds[i]);
        }
        harness_settle(harness);
        cr_expect(eq(u32, network_link_count(harness->network), 0));
    }
}

Test(network, peer_that_ends_is_reported_once_and_its_contents_are_released)
{
    int fd = harness_establish(harness, 4096);
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", pattern(100000), 4096);
    out.end -= 20;
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(ne(u64, chunk_pool_bytes(harness->pool), 0));
    close(fd);
    harness_wait(harness, 1);
    harness_settle(harness);
    cr_expect(eq(sz, harness->heard_count, 1));
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->number, NET_CLOSE_BY_PEER));
    cr_expect(eq(u64, chunk_pool_bytes(harness->pool), 0));
    cr_expect(eq(u32, network_link_count(harness->network), 0));
}

Test(network, peer_that_resets_is_a_peer_that_ended)
{
    int fd = harness_establish(harness, 4096);
    harness_post(harness, harness->links[0], NET_ACTION_PAUSE);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
    harness_wait(harness, 1);
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_CLOSED, 0)->number, NET_CLOSE_BY_PEER));
}

/* Some clients send close, end their side and still want to read close-ok. */
Test(network, peer_that_ended_its_side_still_gets_what_was_on_its_way)
{
    int fd = harness_establish(harness, 131072);
    for (int i = 0; i < 40; i++) {
        struct content_ref ref = make_content(300000);
        post_deliver(ref, 1);
        chunk_pool_release(harness->pool, ref);
        harness_turn(harness);
    }
    uint64_t size = 40 * net_action_octets(
                             &(struct net_action){
                                 .type = NET_ACTION_DELIVER,
                                 .deliver = {.consumer_tag = {.size = 4}},
                             },
                             &(struct content){.body_size = 300000}, 131072);
    shutdown(fd, SHUT_WR);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_CLOSED), 1));
    uint8_t *octets = malloc(size);
    harness_read(harness, fd, octets, size);
    cr_expect(harness_reads_end(harness, fd));
    free(octets);
    close(fd);
}

Test(network, ids_are_never_used_twice)
{
    int fd = harness_establish(harness, 4096);
    uint64_t old = harness->links[0];
    close(fd);
    harness_wait(harness, 1);
    fd = harness_establish(harness, 4096);
    cr_expect(ne(u64, harness->links[1], old));
    cr_expect(ne(u64, old, 0));
    harness_post_close(harness, old, 0);
    harness_post_close(harness, UINT64_MAX, 0);
    harness_post_close(harness, 0, 0);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    close(fd);
}

/* The loop ---------------------------------------------------------------------------------------
 */

Test(network, links_are_read_in_turn_and_the_rest_waits_for_the_next_tick)
{
    struct network_settings settings = {.ready_links_per_tick = 2, .input_octets_per_tick = 1};
    restart(&settings, transport_factory_tcp(), false);
    int fds[2];
    struct buffer out = {0};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = harness_establish(harness, 4096);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        for (int n = 0; n < 600; n++) {
            frame_encode(&out, FRAME_TYPE_METHOD, 1, pattern(200));
        }
        harness_send_buffer(fds[i], &out);
    }
    harness_turn(harness);
    cr_expect(network_has_work(harness->network));
    size_t first = harness->heard_count;
    cr_assert(ge(sz, first, 1));
    harness_turn(harness);
    cr_assert(lt(sz, first, harness->heard_count));
    cr_expect(ne(u64, harness->heard[0].link, harness->heard[first].link));
    for (size_t i = 0; i < harness->heard_count; i++) {
        cr_expect(eq(u64, harness->heard[i].link, harness->heard[i < first ? 0 : first].link));
    }
    cr_expect(network_has_work(harness->network));
    network_free(&harness->network); /* with work left */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
}

/* What a burst needed is kept for the next one, and given back when there is none. */
Test(network, idle_network_gives_spare_memory_back)
{
    int fd = harness_establish(harness, 131072);
    harness->keeps_contents = true;
    struct buffer out = {0};
    for (int i = 0; i < 16; i++) {
        put_publish(&out, 1, "x", "k", pattern(60000), 131072);
    }
    harness_pump(harness, fd, &out);
    for (; harness->kept_count > 0; harness->kept_count--) {
        chunk_pool_release(harness->pool, harness->kept[harness->kept_count - 1]);
    }
    struct method method = {.id = METHOD_CONFIRM_SELECT_OK};
    harness_post_method(harness, harness->links[0], 1, &method);
    harness_settle(harness);
    cr_expect(ge(sz, harness->mapped_bytes, 3 * (size_t)CHUNK_SIZE));
    harness_step(harness, 1100);
    harness_step(harness, 1100);
    cr_expect(le(sz, harness->mapped_bytes, (size_t)CHUNK_SIZE));
    close(fd);
}

static int watched;

static void
on_watched(void *context)
{
    eventfd_t value;
    watched += eventfd_read(*(int *)context, &value) == 0 ? 1 : 0;
}

Test(network, watched_descriptor_calls_back)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    cr_assert(eq(int, network_watch(harness->network, fd, on_watched, &fd), STATUS_OK));
    harness_turn(harness);
    cr_expect(eq(int, watched, 0));
    eventfd_write(fd, 1);
    harness_turn(harness);
    harness_turn(harness);
    cr_expect(eq(int, watched, 1));
    cr_expect(eq(int, network_watch(harness->network, -1, on_watched, &fd), STATUS_IO));
    close(fd);
}

Test(network, two_networks_know_nothing_of_each_other)
{
    struct harness *other = malloc(sizeof(*other));
    harness_start(other, NULL, transport_factory_tcp(), false);
    int fd = harness_establish(other, 4096);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(eq(u32, network_link_count(other->network), 1));
    close(fd);
    harness_stop(other);
    free(other);
}
