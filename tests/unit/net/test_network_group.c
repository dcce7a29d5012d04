/* SPDX-License-Identifier: Apache-2.0 */
/* Several networks that accept for one broker. Here they are turned one after the other. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "base/assert.h"
#include "net/network_group.h"

enum { NETWORK_COUNT = 3, CLIENTS_MAX = 16 };

static struct network_group *group;
static struct network *networks[NETWORK_COUNT];
static uint16_t port;
static uint64_t opened[CLIENTS_MAX];
static size_t opened_count;
static size_t closed_count;

static void
hear(void *context, const struct net_event *event)
{
    (void)context;
    if (event->type == NET_EVENT_OPENED) {
        cr_assert(lt(sz, opened_count, CLIENTS_MAX));
        opened[opened_count++] = event->link;
        free(event->opened.peer);
    } else if (event->type == NET_EVENT_CLOSED) {
        closed_count++;
    }
}

static void
start(const struct network_settings *settings)
{
    struct clock_source clock = clock_system();
    struct net_events events = {.handle = hear};
    char why[128];
    group = network_group_new(settings);
    for (size_t i = 0; i < NETWORK_COUNT; i++) {
        networks[i] = network_new(settings, group, chunk_memory_anonymous(), &clock, NULL, &events);
        cr_assert(ne(ptr, networks[i], NULL));
    }
    cr_assert(eq(int,
                 network_listen(networks[0],
                                &(struct listener_settings){.host = "127.0.0.1",
                                                            .factory = transport_factory_tcp()},
                                &port, why, sizeof(why)),
                 STATUS_OK));
    for (size_t i = 1; i < NETWORK_COUNT; i++) {
        cr_assert(eq(int, network_share_listeners(networks[i], networks[0]), STATUS_OK));
    }
}

static void
set_up(void)
{
    struct network_settings none = {0};
    start(&none);
}

static void
tear_down(void)
{
    for (size_t i = 0; i < NETWORK_COUNT; i++) {
        network_free(&networks[i]);
    }
    network_group_free(&group);
}

TestSuite(network_group, .init = set_up, .fini = tear_down);

static int
connect_client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(zero(int, connect(fd, (const struct sockaddr *)&address, sizeof(address))));
    cr_assert(eq(sz, (size_t)send(fd, protocol_header_supported, PROTOCOL_HEADER_SIZE, 0),
                 PROTOCOL_HEADER_SIZE));
    return fd;
}

static void
turn_all(void)
{
    for (int i = 0; i < 8; i++) {
        for (size_t k = 0; k < NETWORK_COUNT; k++) {
            network_poll(networks[k], 0);
            network_flush(networks[k]);
        }
    }
}

static size_t
opened_in(uint32_t network)
{
    size_t count = 0;
    for (size_t i = 0; i < opened_count; i++) {
        count += net_link_network(opened[i]) == network ? 1 : 0;
    }
    return count;
}

/* Whoever is awake accepts, so all of them might come to one network. */
Test(network_group, newcomers_go_where_there_are_fewest_links)
{
    int fds[2 * NETWORK_COUNT];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = connect_client();
    }
    turn_all();
    for (uint32_t i = 0; i < NETWORK_COUNT; i++) {
        cr_expect(eq(sz, opened_in(i), 2), "network %u", i);
        cr_expect(eq(u32, network_link_count(networks[i]), 2));
    }
    cr_expect(eq(u32, network_group_link_count(group), 2 * NETWORK_COUNT));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
    turn_all();
    cr_expect(eq(sz, closed_count, 2 * NETWORK_COUNT));
    cr_expect(eq(u32, network_group_link_count(group), 0));
}

/* The limits bind the broker and not each of its threads. */
Test(network_group, limit_on_strangers_is_one_for_all)
{
    tear_down();
    struct network_settings settings = {.unestablished_max = 4};
    start(&settings);
    int fds[6];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = connect_client();
    }
    turn_all();
    cr_expect(eq(sz, opened_count, 4));
    for (size_t i = 0; i < NETWORK_COUNT; i++) {
        cr_expect(not(network_has_work(networks[i])), "none of them spins");
    }
    for (size_t i = 0; i < 4; i++) {
        close(fds[i]);
    }
    turn_all();
    cr_expect(eq(sz, opened_count, 6), "those who waited are let in");
    close(fds[4]);
    close(fds[5]);
}

Test(network_group, network_that_stops_listening_leaves_it_to_the_others)
{
    network_stop_listening(networks[0]);
    network_stop_listening(networks[2]);
    int fd = connect_client();
    turn_all();
    cr_expect(eq(sz, opened_count, 1));
    network_stop_listening(networks[1]);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_expect(lt(int, connect(other, (const struct sockaddr *)&address, sizeof(address)), 0));
    close(other);
    close(fd);
}

/* Sockets that were handed over and never taken must not count as strangers for ever, nor leak. */
Test(network_group, newcomers_under_way_at_the_end_are_closed)
{
    int fds[NETWORK_COUNT];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = connect_client();
    }
    network_poll(networks[0], 0);
    cr_expect(eq(u32, network_group_link_count(group), NETWORK_COUNT));
    for (size_t i = 0; i < NETWORK_COUNT; i++) {
        network_free(&networks[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        uint8_t octet;
        cr_expect(le(int, recv(fds[i], &octet, 1, 0), 0));
        close(fds[i]);
    }
}
