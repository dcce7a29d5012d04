/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of bindings in an explanation: sorted, of bounded length, what does not fit only
 * counted. Private to the route explainer. */
#ifndef BOURSE_BROKER_EXPLAIN_EXPLAIN_LIST_H
#define BOURSE_BROKER_EXPLAIN_EXPLAIN_LIST_H

#include "broker/explain/explain_route.h"

/* A binding that wants to be listed. */
struct explained_offer {
    bool to_exchange;
    struct bytes destination, key;
    uint32_t message_key;
    const struct binding_verdict *verdict;
    const char *why; /* NULL: the verdict's text */
};

/* Counts the binding, and lists it when it comes before one of the first `max` (misses: the nearest
 * ones). `*room` is how many more may be listed in all lists together. */
void explained_bindings_offer(struct explained_bindings *list, uint32_t max, uint32_t *room,
                              const struct explained_offer *offer);

/* Empties it, and gives what it held back to `*room`. */
void explained_bindings_clear(struct explained_bindings *list, uint32_t *room);

#endif
