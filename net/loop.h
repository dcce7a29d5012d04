/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for descriptors with epoll. A watch is embedded in what waits; the loop only points at
 * it. */
#ifndef BOURSE_NET_LOOP_H
#define BOURSE_NET_LOOP_H

#include "base/status.h"

#include <stdint.h>
#include <sys/epoll.h>

struct loop_watch;
typedef void loop_callback(struct loop_watch *watch, uint32_t events);

struct loop_watch {
    loop_callback *ready; /* called with the EPOLL bits that are set */
};

enum { LOOP_EVENTS_MAX = 256 };

struct loop {
    int epoll_fd; /* owned */
    int event_count;
    struct epoll_event events[LOOP_EVENTS_MAX]; /* what the last wait found */
};

/* STATUS_IO when there is no epoll to be had. */
MUST_CHECK enum status loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/* Starts watching `fd` for `events` (EPOLLIN and so on; EPOLLET for edges). The watch stays where
 * it is until the descriptor was removed or closed *and* loop_dispatch has returned. */
MUST_CHECK enum status loop_add(struct loop *loop, struct loop_watch *watch, int fd,
                                uint32_t events);

/* Changes what a watched descriptor waits for; no events at all is a pause. */
void loop_modify(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events);

void loop_remove(struct loop *loop, int fd);

/* Waits up to `wait_ms` (UINT64_MAX: without limit) for at most LOOP_EVENTS_MAX descriptors. A
 * signal ends the wait early. */
void loop_wait(struct loop *loop, uint64_t wait_ms);

/* Calls what the last wait found ready. */
void loop_dispatch(struct loop *loop);

#endif
