/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of message headers against binding arguments, as the headers exchange does it. Arguments
 * are read once, when the binding is made; a message's headers are filed by name once for all the
 * bindings that it is held against, so that a binding costs what its own arguments cost. */
#ifndef BOURSE_ROUTING_HEADER_MATCH_H
#define BOURSE_ROUTING_HEADER_MATCH_H

#include "amqp/table.h"
#include "base/bytes.h"
#include "base/status.h"

enum header_match_kind {
    HEADER_MATCH_ALL, /* every argument has its header; none at all matches every message */
    HEADER_MATCH_ANY, /* at least one does; none at all matches no message */
};

/* A header, or an argument that asks for one. */
struct header_field {
    struct bytes name;
    struct table_value value;
    uint32_t hash; /* of the name */
};

/* Binding arguments that count: `x-match` never does, names that start with x- only when x-match
 * ends with -with-x. */
struct header_match {
    enum header_match_kind kind;
    struct header_field *fields; /* owned; what they view is the binding's */
    uint32_t field_count;
};

/* STATUS_FAULT: 406 for an x-match that is no string or none of all, any, all-with-x, any-with-x.
 */
MUST_CHECK enum status header_match_check(struct bytes arguments, struct fault *fault);

/* Reads `arguments`, which were checked and stay borrowed until header_match_fini. `seed` is that
 * of the header index it will be held against. */
void header_match_init(struct header_match *match, struct bytes arguments, uint64_t seed);
void header_match_fini(struct header_match *match);

/* The headers of one message by name; used again for the next, so that it allocates nothing once it
 * has grown. Of several headers with one name the first counts. */
struct header_index {
    struct header_field *fields; /* owned array of views */
    uint32_t *slots;             /* hash table of field numbers + 1; owned */
    uint32_t field_count;
    uint32_t slot_count; /* a power of two, at least twice the fields; 0 before the first use */
    uint32_t field_capacity;
    uint64_t seed;
};

void header_index_init(struct header_index *index, uint64_t seed);
void header_index_fini(struct header_index *index);

/* Forgets the headers of the last message and files these (a validated table body, borrowed until
 * the next call). */
void header_index_read(struct header_index *index, struct bytes headers);

/* A void argument asks only that the header is there; otherwise values must be equal
 * (table_value_equal). */
bool header_match_matches(const struct header_match *match, const struct header_index *index);

/* The same answer with its reason: the argument that decided, which is the first that fails where
 * all must match, and the first that matches where one is enough. */
struct header_finding {
    bool matches;
    const struct header_field *wanted; /* NULL: no argument counts */
    const struct table_value *found;   /* of the message; NULL: it has no such header */
    uint32_t unmatched;                /* arguments that have no equal header */
};
void header_match_explain(const struct header_match *match, const struct header_index *index,
                          struct header_finding *finding_out);

#endif
