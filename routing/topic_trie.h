/* SPDX-License-Identifier: Apache-2.0 */
/* Topic matching: binding keys as paths of words in a trie, so that a message costs what its own
 * words cost and not what other bindings do. `*` stands for exactly one word, `#` for zero or more;
 * the empty key has no words, `a..b` has an empty middle word (AMQP 0-9-1, 3.1.3.3). Adjacent `#`
 * count as one. Visits are bounded by nodes times words whatever the keys are: a (node, word) pair
 * that `#` could reach in many ways is walked once. */
#ifndef BOURSE_ROUTING_TOPIC_TRIE_H
#define BOURSE_ROUTING_TOPIC_TRIE_H

#include "base/bytes.h"
#include "routing/target.h"

struct topic_trie;

struct topic_trie *topic_trie_new(void);
void topic_trie_free(struct topic_trie **trie);

/* Adds, takes away one binding of `key` to `target`; the same pair may be added several times (with
 * other binding arguments) and leaves when it was taken away as often. */
void topic_trie_bind(struct topic_trie *trie, struct bytes key, struct route_target *target);
void topic_trie_unbind(struct topic_trie *trie, struct bytes key, struct route_target *target);

/* Adds every target whose binding key matches. */
void topic_trie_route(struct topic_trie *trie, struct bytes routing_key, struct route_set *set);

/* Nodes visited by the last topic_trie_route: what tests hold against the bound. */
uint64_t topic_trie_visit_count(const struct topic_trie *trie);

/* Nodes in use; 1 (the root) when nothing is bound. */
uint32_t topic_trie_node_count(const struct topic_trie *trie);

#endif
