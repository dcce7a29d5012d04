/* SPDX-License-Identifier: Apache-2.0 */
/* Which listener a socket belongs to that somebody else has opened. */
#include "cli/serve/passed_sockets.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "tests/unit/config/reading.h"

enum { FIRST = 40, SOCKETS_MAX = 4 };

static struct config *config;
static char process[16], count[16];
static const char *listen_pid, *listen_fds, *names;
static uint16_t ports[SOCKETS_MAX];
static char why[256];

static const char *
variable(void *context, const char *wanted)
{
    (void)context;
    return strcmp(wanted, "LISTEN_PID") == 0       ? listen_pid
           : strcmp(wanted, "LISTEN_FDS") == 0     ? listen_fds
           : strcmp(wanted, "LISTEN_FDNAMES") == 0 ? names
                                                   : NULL;
}

static const struct config_environment environment = {.get_variable = variable};

/* Sockets that listen on loopback, as descriptors FIRST and so on. */
static void
pass_sockets(int number)
{
    for (int i = 0; i < number; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert(ge(int, fd, 0));
        cr_assert(eq(int, bind(fd, (struct sockaddr *)&address, size), 0));
        cr_assert(eq(int, listen(fd, 5), 0));
        cr_assert(eq(int, getsockname(fd, (struct sockaddr *)&address, &size), 0));
        ports[i] = ntohs(address.sin_port);
        cr_assert(eq(int, dup2(fd, FIRST + i), FIRST + i));
        close(fd);
    }
    snprintf(count, sizeof(count), "%d", number);
    listen_fds = count;
}

static void
read_listeners(const char *listeners)
{
    char text[512];
    snprintf(text, sizeof(text), READING_HEAD "listeners: %s\n", listeners);
    config = reading_of(text, CONFIG_FOR_CHECK);
    cr_assert(eq(sz, config->report.error_count, 0), "%s", listeners);
}

static void
set_up(void)
{
    snprintf(process, sizeof(process), "%d", (int)getpid());
    listen_pid = process;
    listen_fds = NULL;
    names = NULL;
    why[0] = '\0';
}

static void
tear_down(void)
{
    config_free(&config);
}

TestSuite(passed_sockets, .init = set_up, .fini = tear_down);

static bool
adopt(void)
{
    return passed_sockets_adopt(config, &environment, FIRST, why, sizeof(why));
}

Test(passed_sockets, socket_belongs_to_the_listener_of_its_address)
{
    char text[128];
    pass_sockets(2);
    snprintf(text, sizeof(text),
             "{amqp: {bind: [\"127.0.0.1:1\", \"127.0.0.1:%u\", \"127.0.0.1:%u\"]}}",
             (unsigned)ports[1], (unsigned)ports[0]);
    read_listeners(text);
    cr_assert(adopt(), "%s", why);
    const struct config_listener *amqp = &config->listeners[LISTENER_AMQP];
    cr_expect(eq(sz, amqp->address_count, 3));
    cr_expect(eq(int, amqp->addresses[0].passed_fd, 0), "this one the broker opens itself");
    cr_expect(eq(int, amqp->addresses[1].passed_fd, FIRST + 1));
    cr_expect(eq(int, amqp->addresses[2].passed_fd, FIRST));
}

Test(passed_sockets, sockets_that_are_called_like_a_listener_take_the_place_of_its_addresses)
{
    pass_sockets(2);
    names = "amqp:amqp";
    read_listeners("{amqp: {bind: [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\"]}}");
    cr_assert(adopt(), "%s", why);
    const struct config_listener *amqp = &config->listeners[LISTENER_AMQP];
    cr_assert(eq(sz, amqp->address_count, 2));
    for (int i = 0; i < 2; i++) {
        cr_expect(eq(int, amqp->addresses[i].passed_fd, FIRST + i));
        cr_expect(eq(u16, amqp->addresses[i].port, ports[i]));
        cr_expect(eq(str, (char *)(uintptr_t)amqp->addresses[i].host, "127.0.0.1"));
    }
}

Test(passed_sockets, without_passed_sockets_nothing_changes)
{
    read_listeners("{amqp: {bind: \"127.0.0.1:1\"}}");
    cr_expect(adopt());
    listen_fds = "2";
    listen_pid = "1";
    cr_expect(adopt(), "they are another process's");
    listen_pid = NULL;
    cr_expect(adopt());
    cr_expect(eq(int, config->listeners[LISTENER_AMQP].addresses[0].passed_fd, 0));
}

/* What is passed and belongs to nobody would keep clients waiting for ever. */
Test(passed_sockets, socket_that_belongs_to_nobody_is_refused)
{
    char expected[128];
    pass_sockets(1);
    read_listeners("{amqp: {bind: \"127.0.0.1:1\"}}");
    cr_expect(not(adopt()));
    snprintf(expected, sizeof(expected),
             "the service manager passes a socket for 127.0.0.1:%u, which is no address",
             (unsigned)ports[0]);
    cr_expect(strncmp(why, expected, strlen(expected)) == 0, "%s", why);
    names = "amqps";
    cr_expect(not(adopt()));
    cr_expect(strstr(why, "\"amqps\"") != NULL && strstr(why, "no such listener") != NULL, "%s",
              why);
}

Test(passed_sockets, descriptor_that_is_no_socket_of_tcp_is_refused)
{
    int pair[2];
    read_listeners("{amqp: {bind: \"127.0.0.1:1\"}}");
    listen_fds = "1";
    cr_assert(eq(int, pipe(pair), 0));
    cr_assert(eq(int, dup2(pair[0], FIRST), FIRST));
    cr_expect(not(adopt()));
    cr_expect(strstr(why, "descriptor 40, which the service manager passes, is no socket") != NULL,
              "%s", why);
    cr_assert(eq(int, socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0));
    cr_assert(eq(int, dup2(pair[0], FIRST), FIRST));
    cr_expect(not(adopt()));
    close(FIRST);
    cr_expect(not(adopt()), "there is none");
}

Test(passed_sockets, environment_that_makes_no_sense_is_refused)
{
    static const struct {
        const char *process, *count;
    } rows[] = {{"me", "1"}, {NULL, "one"}, {NULL, "65"}, {NULL, "-1"}, {NULL, ""}};
    read_listeners("{amqp: {bind: \"127.0.0.1:1\"}}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        listen_pid = rows[i].process != NULL ? rows[i].process : process;
        listen_fds = rows[i].count;
        cr_expect(not(adopt()), "row %zu", i);
        cr_expect(strncmp(why, "LISTEN_PID and LISTEN_FDS", 25) == 0, "%s", why);
    }
}
