/* SPDX-License-Identifier: Apache-2.0 */
/* A tap on an exchange or a queue: copies of the messages that pass it, for somebody who looks on.
 * Nobody else notices: nothing is bound or consumed, so what is unroutable stays that, and no queue
 * keeps a copy.
 *
 * On an exchange a tap sees what comes to it, from clients, from other exchanges and as a dead
 * letter, under a key that its pattern matches; on a queue every message that enters it.
 *
 * What has been copied waits in the tap, TAP_OCTETS_MAX at most: who does not fetch it in time
 * misses messages, which are counted, and never holds up a publisher. Where nothing is tapped the
 * message path asks core_is_tapped and no more.
 *
 * Owner: the core thread, but for tap_leave. */
#ifndef BOURSE_BROKER_WATCH_TAP_H
#define BOURSE_BROKER_WATCH_TAP_H

#include "base/buffer.h"
#include "broker/core/core.h"

struct exchange;
struct vhost;

enum { TAPS_MAX = 16, TAP_OCTETS_MAX = 1024 * 1024, TAP_BODY_MAX = 256 * 1024 };

struct tap;

struct tap_wish {
    struct bytes vhost, name;
    bool is_queue;        /* else an exchange; the default one has no name */
    struct bytes pattern; /* of an exchange: as of a topic binding, 255 octets at most */
    uint32_t body_max;    /* octets of a body that are copied, TAP_BODY_MAX at most */
};

/* One message in a tap; views. */
struct tapped {
    int64_t wall_ms;
    struct bytes exchange, routing_key, properties, body;
    uint32_t body_size; /* of all */
};

/* Two references: the core's and the caller's. NULL: there are TAPS_MAX. */
struct tap *core_open_tap(struct core *core, const struct tap_wish *wish);

/* Gives the caller's reference back, from any thread; the core's goes with one of the next ticks.
 */
void tap_leave(struct tap **tap);

/* Moves what has been copied since to `out`, which is empty, and counts of it what was missed.
 * False: nothing has passed. */
bool tap_take(struct tap *tap, struct buffer *out, uint64_t *missed_out);

/* Reads one message from the front of what was taken. False: there is none any more. */
bool tapped_next(struct byte_reader *reader, struct tapped *out);

/* Lets go of those that were left, at the end of a tick; of all, at the core's end. */
void core_close_left_taps(struct core *core);
void core_close_taps(struct core *core);

static inline bool
core_is_tapped(const struct core *core)
{
    return core->tap_count > 0;
}

/* A message whose routing has just begun at that exchange, and was carried out: core->routes is of
 * it. Looks at taps on all exchanges that it came by. */
SELDOM void core_tap_exchanges(struct core *core, const struct vhost *vhost,
                               const struct exchange *exchange, const struct content *content,
                               const struct bytes *keys, uint32_t key_count);

SELDOM void core_tap_queue(struct core *core, const struct queue *queue,
                           const struct content *content);

#endif
