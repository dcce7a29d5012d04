/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/socket_probe.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_SIZE = 512,
    STATUS_LINE_SIZE = 12, /* "HTTP/1.1 200" */
    MS_PER_S = 1000,
    NS_PER_MS = 1000 * 1000,
};

static int64_t
now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

/* -1 with errno. Waits for nothing: a socket whose backlog is full says EAGAIN. */
static int
connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

/* A new connection takes so little at once. */
static bool
send_request(int fd, const char *path)
{
    char request[REQUEST_SIZE];
    int size = snprintf(request, sizeof(request),
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    return size > 0 && size < (int)sizeof(request) &&
           send(fd, request, (size_t)size, MSG_NOSIGNAL) == size;
}

/* Reads the front of the status line; false with errno. */
static bool
read_front(int fd, char front[static STATUS_LINE_SIZE + 1], int64_t deadline_ms)
{
    size_t size = 0;
    while (size < STATUS_LINE_SIZE) {
        int64_t left_ms = deadline_ms - now_ms();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) == 0) {
            errno = ETIMEDOUT;
            return false;
        }
        ssize_t count = recv(fd, front + size, STATUS_LINE_SIZE - size, 0);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (count <= 0) {
            errno = count == 0 ? EPROTO : errno;
            return false;
        }
        size += (size_t)count;
    }
    front[STATUS_LINE_SIZE] = '\0';
    return true;
}

static int
ask(int fd, const char *path, int64_t timeout_ms)
{
    enum { DECIMAL = 10, STATUS_AT = 9 };
    char front[STATUS_LINE_SIZE + 1];
    if (!send_request(fd, path) || !read_front(fd, front, now_ms() + timeout_ms)) {
        return 0;
    }
    int status = (int)strtol(front + STATUS_AT, NULL, DECIMAL);
    if (strncmp(front, "HTTP/1.", strlen("HTTP/1.")) != 0 || status == 0) {
        errno = EPROTO;
        return 0;
    }
    return status;
}

int
socket_probe(const char *socket_path, const char *path, int64_t timeout_ms)
{
    int fd = connect_to(socket_path);
    if (fd < 0) {
        return 0;
    }
    int status = ask(fd, path, timeout_ms);
    int cause = errno;
    close(fd);
    errno = cause;
    return status;
}
