/* SPDX-License-Identifier: Apache-2.0 */
/* Why a topic pattern matches a key, or where it stops: for people who ask, one pattern at a time.
 * Routing goes by the trie (topic_trie.h), which answers for all patterns at once and says no why;
 * a test holds the two against each other. */
#ifndef BOURSE_ROUTING_TOPIC_EXPLAIN_H
#define BOURSE_ROUTING_TOPIC_EXPLAIN_H

#include "base/bytes.h"

enum topic_stop {
    TOPIC_MATCHES,
    TOPIC_WORD_DIFFERS, /* `found` stands where the pattern wants `wanted` */
    TOPIC_KEY_ENDS,     /* the pattern wants `wanted` behind the last word of the key */
    TOPIC_PATTERN_ENDS, /* `found` is more than the pattern allows */
    TOPIC_KEY_TOO_LONG, /* over 255 octets, as only CC and BCC can name one: it matches nothing */
};

struct topic_finding {
    enum topic_stop stop;
    uint32_t word;       /* where it stops: of the key, counted from 1 */
    struct bytes found;  /* a view of the key */
    struct bytes wanted; /* a view of the pattern */
    uint32_t unmatched;  /* words of both that are left over there; 0 when it matches */
};

/* `pattern` has at most 255 octets. What is found is the way into the key that gets furthest. */
void topic_explain(struct bytes pattern, struct bytes key, struct topic_finding *finding_out);

#endif
