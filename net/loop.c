/* SPDX-License-Identifier: Apache-2.0 */
/* epoll. */
#include "net/loop.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/assert.h"

enum status
loop_init(struct loop *loop)
{
    loop->event_count = 0;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll_fd < 0 ? STATUS_IO : STATUS_OK;
}

void
loop_fini(struct loop *loop)
{
    close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

enum status
loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    return result < 0 ? STATUS_IO : STATUS_OK;
}

void
loop_modify(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = watch}};
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event);
    assert(result == 0);
}

void
loop_remove(struct loop *loop, int fd)
{
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    assert(result == 0);
}

static int
timeout_of(uint64_t wait_ms)
{
    if (wait_ms == UINT64_MAX) {
        return -1;
    }
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

void
loop_wait(struct loop *loop, uint64_t wait_ms)
{
    int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, timeout_of(wait_ms));
    if (count < 0) {
        assert(errno == EINTR);
        count = 0;
    }
    loop->event_count = count;
}

void
loop_dispatch(struct loop *loop)
{
    for (int i = 0; i < loop->event_count; i++) {
        struct loop_watch *watch = loop->events[i].data.ptr;
        watch->ready(watch, loop->events[i].events);
    }
    loop->event_count = 0;
}
