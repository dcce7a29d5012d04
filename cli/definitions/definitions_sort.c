/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_sort.h"

#include <stdlib.h>

/* The first of the names that differ decides; `count` of each. */
static int
compare_names(const struct bytes *a, const struct bytes *b, size_t count)
{
    int order = 0;
    for (size_t i = 0; i < count && order == 0; i++) {
        order = bytes_compare(a[i], b[i]);
    }
    return order;
}

/* Orders rows of a type by the names that stand behind it. */
#define COMPARE_BY(function, type, ...)                                                            \
    static int function(const void *left, const void *right)                                       \
    {                                                                                              \
        const struct type *row = left;                                                             \
        const struct bytes a[] = {__VA_ARGS__};                                                    \
        row = right;                                                                               \
        const struct bytes b[] = {__VA_ARGS__};                                                    \
        return compare_names(a, b, sizeof(a) / sizeof(a[0]));                                      \
    }

COMPARE_BY(compare_users, definitions_user, row->name)
COMPARE_BY(compare_vhosts, definitions_vhost, row->name)
COMPARE_BY(compare_permissions, definitions_permission, row->user, row->vhost)
COMPARE_BY(compare_topics, definitions_topic_permission, row->user, row->vhost, row->exchange)
COMPARE_BY(compare_parameters, definitions_parameter, row->name)
COMPARE_BY(compare_policies, definitions_policy, row->vhost, row->name)
COMPARE_BY(compare_exchanges, definitions_exchange, row->vhost, row->name)
COMPARE_BY(compare_queues, definitions_queue, row->vhost, row->name)
COMPARE_BY(compare_bindings, definitions_binding, row->vhost, row->source, row->destination,
           bytes_of(row->to_exchange ? "exchange" : "queue"), row->routing_key, row->arguments)

#define SORT(list, compare)                                                                        \
    do {                                                                                           \
        if ((list).count > 0) {                                                                    \
            qsort((list).items, (list).count, sizeof(*(list).items), (compare));                   \
        }                                                                                          \
    } while (0)

void
definitions_sort(struct definitions *definitions)
{
    SORT(definitions->users, compare_users);
    SORT(definitions->vhosts, compare_vhosts);
    SORT(definitions->permissions, compare_permissions);
    SORT(definitions->topic_permissions, compare_topics);
    SORT(definitions->parameters, compare_parameters);
    SORT(definitions->policies, compare_policies);
    SORT(definitions->exchanges, compare_exchanges);
    SORT(definitions->queues, compare_queues);
    SORT(definitions->bindings, compare_bindings);
}
