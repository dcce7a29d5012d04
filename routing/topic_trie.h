/* SPDX-License-Identifier: Apache-2.0 */
/* Topic matching: binding keys as paths of words in a trie, so that a message costs what its own
 * words cost and not what other bindings do. `*` stands for exactly one word, `#` for zero or more;
 * the empty key has no words, `a..b` has an empty middle word (AMQP 0-9-1, 3.1.3.3). Adjacent `#`
 * count as one.
 *
 * What only one binding key has is no path but a leaf with the rest of the key (topic_nodes.h): a
 * binding that shares nothing costs a leaf. Words on paths are interned: each is stored once and
 * goes by a 32-bit number.
 *
 * `#` lets one path of the trie match a routing key in many ways. They are followed together: a
 * node or leaf is visited at most once in a pass, with the set of all word positions at which the
 * words on the way to it can end. So a pass visits no more of them than the trie has, whatever the
 * keys are.
 */
#ifndef BOURSE_ROUTING_TOPIC_TRIE_H
#define BOURSE_ROUTING_TOPIC_TRIE_H

#include "base/bytes.h"
#include "routing/target.h"

struct topic_trie;

enum { TOPIC_KEY_SIZE_MAX = 255 }; /* octets: a shortstr */

/* `seed` is secret, for the hashes of words. */
struct topic_trie *topic_trie_new(uint64_t seed);
void topic_trie_free(struct topic_trie **trie);

/* Adds, takes away one binding of `key` (at most TOPIC_KEY_SIZE_MAX octets) to `target`. The octets
 * of an added key are borrowed until that pair is taken away. The same pair may be added several
 * times (with other binding arguments) and leaves when it was taken away as often. What is taken
 * away was added. */
void topic_trie_bind(struct topic_trie *trie, struct bytes key, struct route_target *target);
void topic_trie_unbind(struct topic_trie *trie, struct bytes key, struct route_target *target);

/* Adds every target whose binding key matches. A key of more than TOPIC_KEY_SIZE_MAX octets, as
 * only a CC header can hold, is no routing key and matches nothing. Allocates nothing once its work
 * list has grown. */
void topic_trie_route(struct topic_trie *trie, struct bytes routing_key, struct route_set *set);

/* Nodes and leaves visited by the last topic_trie_route: what tests hold against the bound. */
uint64_t topic_trie_visit_count(const struct topic_trie *trie);

/* Nodes and leaves in use; 1 (the root) when nothing is bound. */
uint32_t topic_trie_node_count(const struct topic_trie *trie);

/* Octets of heap memory it holds. */
uint64_t topic_trie_memory_bytes(const struct topic_trie *trie);

#endif
