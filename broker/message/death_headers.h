/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead letter says of its deaths: the headers x-death, x-first-death-* and x-last-death-*,
 * as RabbitMQ's clients read them. Pure functions over octets; every other header keeps its place
 * and its octets. */
#ifndef BOURSE_BROKER_MESSAGE_DEATH_HEADERS_H
#define BOURSE_BROKER_MESSAGE_DEATH_HEADERS_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "queues/dying.h"

/* What x-death takes at most, but for the newest death. The oldest are left out beyond it. */
enum { DEATH_OCTETS_MAX = 64 * 1024 };

/* One death; views. */
struct death {
    enum death_reason reason;
    struct bytes queue;       /* in which it died */
    struct bytes exchange;    /* to which it had been published */
    const struct bytes *keys; /* under which: its own, then those of CC */
    uint32_t key_count;
    uint64_t time_s;         /* since 1970 */
    struct bytes expiration; /* the property that is taken away; `data` is NULL: there was none */
};

/* The table of headers that a message has. */
struct death_source {
    struct bytes headers; /* body of a validated table */
    bool has_deaths;      /* the broker wrote x-death in it; else what is there is a client's */
    bool drops_cc;        /* the header CC is left out */
    bool drops_failure;   /* those of an earlier failure are left out (failure.h), */
    bool drops_note;      /* and those of its note */
};

/* Appends the headers that the message has from now on: those it had, without the ones that speak
 * of deaths; then x-death with the new death in front (a death for the same reason in the same
 * queue is counted, and keeps what it says), x-first-death-* and x-last-death-*. All of it takes at
 * most `octets_max`: where not even the new death has room, nothing is said of deaths, and the
 * result is false. */
bool death_headers_put(struct buffer *out, const struct death_source *source,
                       const struct death *death, size_t octets_max);

/* Whether a message with these headers (death_headers_put made them) has come back to `queue`
 * without anybody having rejected it on the way. */
bool death_headers_have_cycle(struct bytes headers, struct bytes queue);

#endif
