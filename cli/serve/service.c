/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/serve/environment.h"

enum { US_PER_S = 1000 * 1000, NS_PER_US = 1000, MESSAGE_SIZE = 1024 };

static const uint64_t WATCHDOG_US_MAX = UINT64_C(1) << 40;

/* A path, or, behind an at sign, a name that is in no file system. */
static bool
make_address(struct service *service, const char *name)
{
    size_t size = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || size < 2 ||
        size >= sizeof(service->address.sun_path)) {
        return false;
    }
    service->address.sun_family = AF_UNIX;
    memcpy(service->address.sun_path, name, size);
    if (name[0] == '@') {
        service->address.sun_path[0] = '\0';
    }
    service->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return true;
}

/* The time that another process is asked for is not ours. */
static bool
read_watchdog(struct service *service, const struct config_environment *environment)
{
    const char *period = environment_text(environment, "WATCHDOG_USEC");
    const char *process = environment_text(environment, "WATCHDOG_PID");
    uint64_t period_us;
    uint64_t id = (uint64_t)getpid();
    if (period == NULL) {
        return true;
    }
    if (!environment_number(period, &period_us) || period_us < 2 || period_us > WATCHDOG_US_MAX ||
        (process != NULL && !environment_number(process, &id))) {
        return false;
    }
    if (id == (uint64_t)getpid()) {
        service->watchdog_us = period_us;
    }
    return true;
}

bool
service_open(struct service *service, const struct config_environment *environment, char *why,
             size_t why_size)
{
    *service = (struct service){.fd = -1};
    const char *name = environment_text(environment, "NOTIFY_SOCKET");
    if (name == NULL || name[0] == '\0') {
        return true;
    }
    if (!make_address(service, name)) {
        (void)snprintf(why, why_size, "NOTIFY_SOCKET is neither a path nor @NAME");
        return false;
    }
    if (!read_watchdog(service, environment)) {
        (void)snprintf(why, why_size, "WATCHDOG_USEC or WATCHDOG_PID is not a number that can be");
        return false;
    }
    service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (service->fd < 0) {
        (void)snprintf(why, why_size, "cannot make a socket: %s", strerrordesc_np(errno));
        return false;
    }
    return true;
}

void
service_close(struct service *service)
{
    if (service->fd >= 0) {
        close(service->fd);
        service->fd = -1;
    }
}

static void
tell(const struct service *service, const char *text)
{
    if (service->fd >= 0) {
        (void)sendto(service->fd, text, strlen(text), MSG_NOSIGNAL,
                     (const struct sockaddr *)&service->address, service->address_size);
    }
}

void
service_starting(const struct service *service)
{
    tell(service, "STATUS=starting: reading what is in the data directory\n");
}

void
service_ready(const struct service *service, const char *status)
{
    char message[MESSAGE_SIZE];
    (void)snprintf(message, sizeof(message), "READY=1\nSTATUS=%s\n", status);
    tell(service, message);
}

void
service_reloading(const struct service *service)
{
    char message[MESSAGE_SIZE];
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / NS_PER_US;
    (void)snprintf(message, sizeof(message),
                   "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=reading the configuration\n",
                   now_us);
    tell(service, message);
}

void
service_stopping(const struct service *service)
{
    tell(service,
         "STOPPING=1\nSTATUS=stopping: what was promised is committed, clients are told\n");
}

int
service_watchdog_open(const struct service *service)
{
    uint64_t half_us = service->watchdog_us / 2;
    if (service->fd < 0 || half_us == 0) {
        return -1;
    }
    struct timespec period = {
        .tv_sec = (time_t)(half_us / US_PER_S),
        .tv_nsec = (long)(half_us % US_PER_S) * NS_PER_US,
    };
    struct itimerspec timer = {.it_interval = period, .it_value = period};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd >= 0 && timerfd_settime(fd, 0, &timer, NULL) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void
service_alive(const struct service *service, int watchdog_fd)
{
    uint64_t expirations;
    if (read(watchdog_fd, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations)) {
        tell(service, "WATCHDOG=1\n");
    }
}
