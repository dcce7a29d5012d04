/* SPDX-License-Identifier: Apache-2.0 */
/* Strangers in numbers, and a process that runs out of descriptors. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/unit/net/harness.h"

static struct harness *harness;

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

TestSuite(listener, .init = set_up, .fini = tear_down);

static void
restart(const struct network_settings *settings)
{
    harness_stop(harness);
    harness_start(harness, settings, transport_factory_tcp(), false);
}

static bool
is_open(int fd)
{
    uint8_t octet;
    return recv(fd, &octet, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Those of one address that have logged in do not count. */
Test(listener, strangers_of_one_address_are_limited)
{
    struct network_settings settings = {.unestablished_per_source_max = 2};
    restart(&settings);
    int member = harness_establish(harness, 4096);
    int fds[3];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = harness_connect(harness);
        harness_settle(harness);
    }
    cr_expect(is_open(member));
    cr_expect(is_open(fds[0]));
    cr_expect(is_open(fds[1]));
    cr_expect(harness_reads_end(harness, fds[2]));
    cr_expect(eq(u32, network_unestablished_count(harness->network), 2));
    cr_expect(harness_logged(harness, "listener.too_many_strangers"));

    close(fds[0]);
    harness_settle(harness);
    int next = harness_open(harness);
    cr_expect(is_open(next));
    close(next);
    close(fds[1]);
    close(fds[2]);
    close(member);
}

/* Nobody is turned away at the overall cap: newcomers wait until there is room. */
Test(listener, newcomers_wait_while_there_are_too_many_strangers)
{
    struct network_settings settings = {.unestablished_max = 2};
    restart(&settings);
    int first = harness_open(harness);
    int second = harness_open(harness);
    int third = harness_connect(harness);
    harness_send(third, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    harness_settle(harness);
    cr_expect(eq(sz, harness->link_count, 2));
    cr_expect(not(network_has_work(harness->network)), "it does not spin meanwhile");
    cr_expect(harness_logged(harness, "listener.full"));

    harness_post(harness, harness->links[0], NET_ACTION_ESTABLISHED);
    harness_wait(harness, 3);
    cr_expect(eq(sz, harness->link_count, 3));
    int fourth = harness_connect(harness);
    harness_send(fourth, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    harness_settle(harness);
    cr_expect(eq(sz, harness->link_count, 3));
    close(second);
    harness_wait(harness, 5);
    cr_expect(eq(sz, harness->link_count, 4));
    close(first);
    close(third);
    close(fourth);
}

/* Sets how many descriptors the process may have and returns what it was. */
static rlim_t
limit_descriptors(rlim_t count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = count;
    setrlimit(RLIMIT_NOFILE, &limit);
    return before;
}

Test(listener, process_without_descriptors_sheds_one_rests_and_recovers)
{
    int member = harness_establish(harness, 4096);
    int shed = harness_connect(harness);
    int waiting = harness_connect(harness);
    int highest = fcntl(0, F_DUPFD, 0);
    close(highest);
    rlim_t before = limit_descriptors((rlim_t)highest);
    harness_turn(harness);
    cr_expect(harness_reads_end(harness, shed));
    cr_expect(is_open(waiting));
    cr_expect(harness_logged(harness, "listener.out_of_descriptors"));
    size_t log_size = buffer_size(&harness->log_text);
    harness_settle(harness);
    cr_expect(eq(sz, buffer_size(&harness->log_text), log_size), "it rests");

    limit_descriptors(before);
    harness_step(harness, 200);
    harness_send(waiting, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    harness_wait(harness, 1);
    cr_expect(eq(sz, harness->link_count, 2));
    cr_expect(is_open(member));
    close(member);
    close(shed);
    close(waiting);
}

Test(listener, scarce_descriptors_are_warned_of)
{
    limit_descriptors(40);
    restart(NULL);
    int fds[30];
    size_t count = 0;
    while (count < ARRAY_LEN(fds) && !harness_logged(harness, "listener.descriptors_low")) {
        fds[count] = dup(0);
        cr_assert(ge(int, fds[count], 0));
        count++;
        int fd = harness_connect(harness);
        harness_settle(harness);
        close(fd);
        harness_settle(harness);
    }
    cr_expect(harness_logged(harness, "listener.descriptors_low"));
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

Test(listener, address_that_cannot_be_listened_on_gives_one_line_why)
{
    static const struct {
        const char *host;
        const char *why;
    } rows[] = {
        {"127.0.0.1", "cannot listen on 127.0.0.1 port"},
        {"192.0.2.1", "cannot listen on 192.0.2.1 port"},
        {"no such host", "cannot resolve no such host: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[128] = "";
        uint16_t port = 0;
        enum status status =
            network_listen(harness->network,
                           &(struct listener_settings){.host = rows[i].host,
                                                       .port = harness->tcp_port,
                                                       .factory = transport_factory_tcp()},
                           &port, why, sizeof(why));
        cr_expect(eq(int, status, STATUS_IO), "%s", rows[i].host);
        cr_expect(bytes_starts_with(bytes_of(why), rows[i].why), "%s", why);
        cr_expect(zero(ptr, strchr(why, '\n')));
        cr_expect(eq(int, port, 0));
    }
}

Test(listener, listeners_on_both_families_share_a_port)
{
    char why[128];
    uint16_t port;
    enum status status = network_listen(
        harness->network,
        &(struct listener_settings){
            .host = "::1", .port = harness->tcp_port, .factory = transport_factory_tcp()},
        &port, why, sizeof(why));
    cr_expect(eq(int, status, STATUS_OK), "%s", why);
    cr_expect(eq(int, port, harness->tcp_port));
}

Test(listener, links_live_on_when_listening_stops)
{
    int fd = harness_establish(harness, 4096);
    network_stop_listening(harness->network);
    harness_send(fd, frame_heartbeat, FRAME_OVERHEAD);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 1));

    char why[128];
    uint16_t port;
    enum status status = network_listen(
        harness->network,
        &(struct listener_settings){
            .host = "127.0.0.1", .port = harness->tcp_port, .factory = transport_factory_tcp()},
        &port, why, sizeof(why));
    cr_expect(eq(int, status, STATUS_OK), "the port is free again: %s", why);
    close(fd);
}
