/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of message headers against binding arguments, as the headers exchange does it. */
#ifndef BOURSE_ROUTING_HEADER_MATCH_H
#define BOURSE_ROUTING_HEADER_MATCH_H

#include "amqp/table.h"
#include "base/bytes.h"
#include "base/status.h"

enum header_match_kind {
    HEADER_MATCH_ALL, /* every argument has its header; none at all matches every message */
    HEADER_MATCH_ANY, /* at least one does; none at all matches no message */
};

/* Binding arguments, read once at bind time. */
struct header_match {
    enum header_match_kind kind;
    bool with_x;            /* names that start with x- count too (x-match itself never does) */
    struct bytes arguments; /* borrowed: the binding's own copy */
};

/* STATUS_FAULT: 406 for an x-match that is no string or none of all, any, all-with-x, any-with-x. */
MUST_CHECK enum status header_match_parse(struct header_match *match, struct bytes arguments,
                                          struct fault *fault);

/* A void argument asks only that the header is there; otherwise values must be equal
 * (table_value_equal). */
bool header_match_matches(const struct header_match *match, struct bytes headers);

#endif
