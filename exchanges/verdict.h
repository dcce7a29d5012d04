/* SPDX-License-Identifier: Apache-2.0 */
/* What a binding says to a message, and why: for the route explainer. A verdict comes from the type
 * of the exchange (exchange_type.explain) and agrees with what its `route` does. */
#ifndef BOURSE_EXCHANGES_VERDICT_H
#define BOURSE_EXCHANGES_VERDICT_H

#include "amqp/table.h"
#include "routing/topic_explain.h"

enum verdict_reason {
    VERDICT_ALWAYS,     /* fanout: keys do not matter */
    VERDICT_KEY,        /* direct: equal or not */
    VERDICT_TOPIC,      /* see `topic` */
    VERDICT_HEADERS,    /* see `wanted` and `found` */
    VERDICT_NO_HEADERS, /* a headers binding without arguments that count */
    VERDICT_HASH,       /* one of all bindings has the message, by a hash */
    VERDICT_CHANCE,     /* one of all bindings has it, nobody knows which */
};

/* Views into the binding and the message. */
struct binding_verdict {
    bool matches; /* VERDICT_CHANCE: it may */
    enum verdict_reason reason;
    uint32_t distance; /* of a miss: the less, the nearer; comparable within an exchange */
    bool needs_all;    /* VERDICT_HEADERS, VERDICT_NO_HEADERS: x-match is all */
    bool has_found;    /* VERDICT_HEADERS: the message has such a header */
    struct topic_finding topic;
    struct bytes header; /* VERDICT_HEADERS: the name that decided */
    struct table_value wanted, found;
    const char *hashed;     /* VERDICT_HASH: "the routing key"; static memory */
    uint64_t hash;          /* of that */
    uint64_t share, shares; /* VERDICT_HASH, VERDICT_CHANCE: how much of all it gets */
    struct bytes routing_key, message_key; /* VERDICT_KEY */
};

/* How far two keys are apart: octets of the longer that neither begin nor end both. */
uint32_t verdict_key_distance(struct bytes a, struct bytes b);

/* The reason in words, without the verdict itself: `word 2 is "us", the pattern wants "eu"`. Text
 * of peers is escaped. Cut to fit, NUL-terminated; returns `out`. */
enum { VERDICT_TEXT_SIZE = 320 };
const char *verdict_text(const struct binding_verdict *verdict, char out[static VERDICT_TEXT_SIZE]);

#endif
