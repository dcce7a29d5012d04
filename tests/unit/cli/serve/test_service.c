/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager hears, over a socket of ours in its place. */
#include "cli/serve/service.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

static int manager = -1; /* the manager's end */
static char name[64];    /* of it, as in NOTIFY_SOCKET */
static const char *notify_socket, *watchdog_usec, *watchdog_pid;

static const char *
variable(void *context, const char *wanted)
{
    (void)context;
    return strcmp(wanted, "NOTIFY_SOCKET") == 0   ? notify_socket
           : strcmp(wanted, "WATCHDOG_USEC") == 0 ? watchdog_usec
           : strcmp(wanted, "WATCHDOG_PID") == 0  ? watchdog_pid
                                                  : NULL;
}

static const struct config_environment environment = {.get_variable = variable};

static void
set_up(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(name, sizeof(name), "@bourse-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(ge(int, manager, 0));
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    cr_assert(eq(int, bind(manager, (struct sockaddr *)&address, size), 0));
    notify_socket = name;
    watchdog_usec = NULL;
    watchdog_pid = NULL;
}

static void
tear_down(void)
{
    close(manager);
}

TestSuite(service, .init = set_up, .fini = tear_down);

/* The next message; empty when there is none. */
static const char *
heard(void)
{
    static char text[2048];
    ssize_t size = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static struct service
open_service(void)
{
    struct service service;
    char why[128] = "";
    cr_assert(service_open(&service, &environment, why, sizeof(why)), "%s", why);
    return service;
}

Test(service, each_change_of_state_is_told)
{
    struct service service = open_service();
    service_ready(&service, "listening on amqp://127.0.0.1:5672");
    cr_expect(eq(str, (char *)(uintptr_t)heard(),
                 "READY=1\nSTATUS=listening on amqp://127.0.0.1:5672\n"));
    service_reloading(&service);
    const char *text = heard();
    cr_expect(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0, "%s", text);
    cr_expect(lt(u64, 0, strtoull(text + 27, NULL, 10)));
    service_stopping(&service);
    cr_expect(strncmp(heard(), "STOPPING=1\nSTATUS=", 18) == 0);
    service_close(&service);
}

Test(service, without_a_manager_nothing_is_sent)
{
    notify_socket = NULL;
    watchdog_usec = "30000000";
    struct service service = open_service();
    service_ready(&service, "x");
    service_stopping(&service);
    cr_expect(eq(int, service_watchdog_open(&service), -1));
    cr_expect(eq(str, (char *)(uintptr_t)heard(), ""));
    service_close(&service);
}

/* A manager that has gone holds nothing up. */
Test(service, manager_that_does_not_listen_is_no_matter)
{
    struct service service = open_service();
    close(manager);
    service_ready(&service, "x");
    service_close(&service);
    manager = -1;
}

/* Twice in the time after which the process is taken for stuck. */
Test(service, life_is_told_when_half_of_the_time_is_over)
{
    watchdog_usec = "20000";
    struct service service = open_service();
    int fd = service_watchdog_open(&service);
    cr_assert(ge(int, fd, 0));
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, poll(&wait, 1, 10000), 1));
        service_alive(&service, fd);
        cr_expect(eq(str, (char *)(uintptr_t)heard(), "WATCHDOG=1\n"));
    }
    close(fd);
    service_close(&service);
}

/* Only the loop's reading of the clock speaks: a core that does not turn says nothing. */
Test(service, nothing_is_told_before_its_time)
{
    watchdog_usec = "600000000";
    struct service service = open_service();
    int fd = service_watchdog_open(&service);
    cr_assert(ge(int, fd, 0));
    service_alive(&service, fd);
    cr_expect(eq(str, (char *)(uintptr_t)heard(), ""));
    close(fd);
    service_close(&service);
}

Test(service, time_of_another_process_is_not_ours)
{
    watchdog_usec = "30000000";
    watchdog_pid = "1";
    struct service service = open_service();
    cr_expect(eq(int, service_watchdog_open(&service), -1));
    service_close(&service);
}

Test(service, environment_that_makes_no_sense_is_refused)
{
    static const struct {
        const char *socket, *period, *process;
        const char *why;
    } rows[] = {
        {"relative/path", NULL, NULL, "NOTIFY_SOCKET is neither"},
        {"vsock:2:1234", NULL, NULL, "NOTIFY_SOCKET is neither"},
        {"@", NULL, NULL, "NOTIFY_SOCKET is neither"},
        {"/run/x", "soon", NULL, "WATCHDOG_USEC or WATCHDOG_PID"},
        {"/run/x", "-5", NULL, "WATCHDOG_USEC or WATCHDOG_PID"},
        {"/run/x", "1", NULL, "WATCHDOG_USEC or WATCHDOG_PID"},
        {"/run/x", "99999999999999999999", NULL, "WATCHDOG_USEC or WATCHDOG_PID"},
        {"/run/x", "5000000", "me", "WATCHDOG_USEC or WATCHDOG_PID"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct service service;
        char why[128] = "";
        notify_socket = rows[i].socket;
        watchdog_usec = rows[i].period;
        watchdog_pid = rows[i].process;
        cr_expect(not(service_open(&service, &environment, why, sizeof(why))), "row %zu", i);
        cr_expect(strncmp(why, rows[i].why, strlen(rows[i].why)) == 0, "row %zu: %s", i, why);
        cr_expect(eq(int, service.fd, -1));
    }
    char long_name[200];
    memset(long_name, 'x', sizeof(long_name));
    long_name[0] = '/';
    long_name[199] = '\0';
    struct service service;
    char why[128];
    notify_socket = long_name;
    watchdog_usec = NULL;
    cr_expect(not(service_open(&service, &environment, why, sizeof(why))));
}
