/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager (systemd) is told of this process, and how often it wants to hear that it
 * lives: sd_notify(3), as datagrams of text to the socket that the environment names. Without such
 * a manager nothing is sent. */
#ifndef BOURSE_CLI_SERVE_SERVICE_H
#define BOURSE_CLI_SERVE_SERVICE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "config/config.h"

struct service {
    int fd; /* -1: nobody is to be told */
    struct sockaddr_un address;
    socklen_t address_size;
    uint64_t watchdog_us; /* told so often at least, or the process is taken for stuck; 0: never */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. False, with a reason in one line, when they
 * make no sense; the service is then one that nobody is told of. */
bool service_open(struct service *service, const struct config_environment *environment, char *why,
                  size_t why_size);
void service_close(struct service *service);

/* Each `status` is one line for a person. What cannot be sent is lost: nothing depends on it but
 * the manager's patience. */
void service_starting(const struct service *service);
void service_ready(const struct service *service, const char *status);
void service_reloading(const struct service *service);
void service_stopping(const struct service *service);

/* A descriptor that is readable whenever the manager is to be told that the process lives, twice as
 * often as it asks for; -1: it does not ask, or errno says why there is none. The caller closes it
 * and calls service_alive when it is readable. */
int service_watchdog_open(const struct service *service);
void service_alive(const struct service *service, int watchdog_fd);

#endif
