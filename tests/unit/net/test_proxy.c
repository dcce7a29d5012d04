/* SPDX-License-Identifier: Apache-2.0 */
/* Links behind proxies: who may connect, whose the link is then, and for how long it may keep us
 * waiting. T27 of the threats: nobody speaks for others who was not named. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net/harness.h"

static struct harness *harness;
static struct cidr trusted[2];
static uint16_t port;

/* A second listener, of which `range` may connect. */
static void
listen_to(const char *range, bool is_tls, struct transport_factory factory)
{
    char why[128];
    const char *reason;
    cr_assert(cidr_parse(range, &trusted[0], &reason));
    cr_assert(cidr_parse("192.0.2.0/24", &trusted[1], &reason));
    struct listener_settings settings = {
        .host = "127.0.0.1",
        .is_tls = is_tls,
        .factory = factory,
        .proxies = trusted,
        .proxy_count = 2,
    };
    enum status status = network_listen(harness->network, &settings, &port, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
}

static void
set_up(void)
{
    struct network_settings settings = {.unestablished_per_source_max = 2};
    harness = malloc(sizeof(*harness));
    harness_start(harness, &settings, transport_factory_tcp(), false);
    listen_to("127.0.0.0/8", false, transport_factory_tcp());
}

static void
tear_down(void)
{
    harness_stop(harness);
    free(harness);
}

TestSuite(proxy, .init = set_up, .fini = tear_down);

static int
connect_to(uint16_t to)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(int, connect(fd, (struct sockaddr *)&address, sizeof(address)), 0));
    return fd;
}

static void
send_text(int fd, const char *text)
{
    harness_send(fd, text, strlen(text));
}

static void
send_protocol(int fd)
{
    harness_send(fd, "AMQP\x00\x00\x09\x01", 8);
}

/* T20: the rule for guest is about the one who is there, and through a proxy nobody is. */
Test(proxy, link_is_that_of_the_client_and_never_from_loopback)
{
    int fd = connect_to(port);
    send_text(fd, "PROXY TCP4 127.0.0.1 198.51.100.2 40000 5672\r\n");
    send_protocol(fd);
    harness_wait(harness, 1);
    const struct net_peer *peer = &harness_nth(harness, NET_EVENT_OPENED, 0)->peer;
    cr_expect(eq(str, (char *)peer->address, "127.0.0.1"));
    cr_expect(eq(u16, peer->port, 40000));
    cr_expect(eq(str, (char *)peer->local_address, "198.51.100.2"));
    cr_expect(eq(u16, peer->local_port, 5672));
    cr_expect(not(peer->is_loopback));
    close(fd);
}

Test(proxy, connection_of_the_proxy_itself_has_its_address_and_is_not_from_loopback)
{
    int fd = connect_to(port);
    send_text(fd, "PROXY UNKNOWN\r\n");
    send_protocol(fd);
    harness_wait(harness, 1);
    const struct net_peer *peer = &harness_nth(harness, NET_EVENT_OPENED, 0)->peer;
    cr_expect(eq(str, (char *)peer->address, "127.0.0.1"));
    cr_expect(eq(u16, peer->local_port, port));
    cr_expect(not(peer->is_loopback));
    close(fd);
}

/* However the octets come, all that follows the header is the client's, and nothing of it. */
Test(proxy, header_comes_octet_by_octet)
{
    static const char line[] = "PROXY TCP6 2001:db8::7 ::1 1 2\r\n";
    int fd = connect_to(port);
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        harness_send(fd, line + i, 1);
        harness_settle(harness);
        cr_assert(eq(sz, harness->heard_count, 0));
    }
    send_protocol(fd);
    harness_wait(harness, 1);
    cr_expect(
        eq(str, (char *)harness_nth(harness, NET_EVENT_OPENED, 0)->peer.address, "2001:db8::7"));
    close(fd);
}

Test(proxy, without_a_header_nobody_is_let_in)
{
    int fd = connect_to(port);
    send_protocol(fd);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(harness_logged(harness, "link.bad_proxy_header"));
    cr_expect(eq(sz, harness->heard_count, 0));
    close(fd);
}

/* T27: a header from an address that was not named is not even looked at. */
Test(proxy, who_is_no_proxy_is_turned_away)
{
    uint16_t for_nobody = 0;
    struct cidr others;
    const char *reason;
    char why[128];
    cr_assert(cidr_parse("10.0.0.0/8", &others, &reason));
    struct listener_settings settings = {
        .host = "127.0.0.1",
        .factory = transport_factory_tcp(),
        .proxies = &others,
        .proxy_count = 1,
    };
    cr_assert(eq(int, network_listen(harness->network, &settings, &for_nobody, why, sizeof(why)),
                 STATUS_OK));
    int fd = connect_to(for_nobody);
    send_text(fd, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(harness_logged(harness, "listener.not_a_proxy peer=127.0.0.1"));
    close(fd);
}

/* Where no proxy is expected a header is what it looks like: not AMQP. */
Test(proxy, header_is_refused_where_none_is_expected)
{
    int fd = harness_connect(harness);
    send_text(fd, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    send_protocol(fd);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_OPENED), 0));
    close(fd);
}

/* One octet now and then does not keep the link: the deadline counts from the accept. */
Test(proxy, header_has_to_come_in_time)
{
    static const char start[] = "PROXY UNK";
    int fd = connect_to(port);
    harness_settle(harness);
    for (size_t i = 0; i < sizeof(start) - 1; i++) {
        harness_send(fd, start + i, 1);
        harness_step(harness, 1000);
    }
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    harness_step(harness, 1001);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(harness_logged(harness, "link.handshake_timeout"));
    close(fd);
}

/* A proxy that only looks whether somebody listens is nothing to warn of. */
Test(proxy, connection_that_ends_before_its_header_is_no_news)
{
    int fd = connect_to(port);
    harness_settle(harness);
    close(fd);
    harness_settle(harness);
    cr_expect(harness_logged(harness, "link.closed_before_proxy_header"));
    cr_expect(not(harness_logged(harness, "link.bad_proxy_header")));
    cr_expect(eq(u32, network_link_count(harness->network), 0));
}

Test(proxy, stream_that_ends_within_the_header_is_over)
{
    int fd = connect_to(port);
    send_text(fd, "PROXY TCP4 10.0.");
    shutdown(fd, SHUT_WR);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(harness_logged(harness, "the stream ended within the header"));
    close(fd);
}

/* All clients of a proxy come from one address, but are counted by their own. */
Test(proxy, strangers_are_counted_by_the_clients_address)
{
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = connect_to(port);
        harness_settle(harness);
    }
    cr_expect(eq(u32, network_link_count(harness->network), 4), "the proxy has no limit");
    send_text(fds[0], "PROXY TCP4 10.0.0.1 10.9.9.9 1 2\r\n");
    send_text(fds[1], "PROXY TCP4 10.0.0.2 10.9.9.9 1 2\r\n");
    harness_settle(harness);
    send_text(fds[2], "PROXY TCP4 10.0.0.1 10.9.9.9 1 2\r\n");
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 4));
    send_text(fds[3], "PROXY TCP4 10.0.0.1 10.9.9.9 1 2\r\n");
    cr_expect(harness_reads_end(harness, fds[3]));
    cr_expect(harness_logged(harness, "listener.too_many_strangers peer=10.0.0.1 limit=2"));
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    harness_settle(harness);
    cr_expect(eq(u32, network_unestablished_count(harness->network), 0));
}

/* The header is the proxy's, in clear; the handshake behind it is the client's. */
Test(proxy, handshake_of_the_transport_begins_behind_the_header)
{
    uint16_t plain = port;
    listen_to("127.0.0.0/8", true, transport_factory_silent());
    int fd = connect_to(port);
    send_text(fd, "PROXY TCP4 10.0.0.1 10.9.9.9 1 2\r\n");
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 1));
    harness_step(harness, 5001);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0), "5 s for both of them");
    close(fd);
    port = plain;
}
