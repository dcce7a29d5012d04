/* SPDX-License-Identifier: Apache-2.0 */
/* When to send a heartbeat and when to give a peer up (specification, 4.2.7, with RabbitMQ's
 * figures). Pure arithmetic on times; the link acts.
 *
 * The interval is what the peer chose in tune-ok. A heartbeat is due when nothing was written for
 * half of it; the peer is gone when two whole intervals passed without any received octet. The
 * timer is armed for the earliest moment at which either could be, and only looked at when it
 * fires: traffic just notes the time.
 *
 * TCP_USER_TIMEOUT is not used beside it: Linux also counts the time in which a peer's window is
 * closed, so it would end consumers that are merely slow and still send heartbeats. */
#ifndef BOURSE_NET_HEARTBEAT_H
#define BOURSE_NET_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

struct heartbeat {
    uint64_t last_read_ms;  /* monotonic: octets came */
    uint64_t last_write_ms; /* octets went */
    uint32_t interval_ms;   /* 0: none in either direction */
};

enum heartbeat_verdict {
    HEARTBEAT_FINE,
    HEARTBEAT_SEND_DUE,
    HEARTBEAT_PEER_GONE,
};

/* `is_listening` is false while the link does not read, for then silence says nothing. */
enum heartbeat_verdict heartbeat_check(const struct heartbeat *heartbeat, bool is_listening,
                                       uint64_t now_ms);

/* When to check next. */
uint64_t heartbeat_due_ms(const struct heartbeat *heartbeat, bool is_listening);

#endif
