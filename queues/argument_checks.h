/* SPDX-License-Identifier: Apache-2.0 */
/* One table says what an argument may be: who checks it, which queue types have it, whether
 * redeclarations must agree on it. Its order is RabbitMQ's, which decides what a declaration with
 * several mistakes is told. Reasons are printed as RabbitMQ prints its terms: clients show them.
 * Within the folder only. */
#ifndef BOURSE_QUEUES_ARGUMENT_CHECKS_H
#define BOURSE_QUEUES_ARGUMENT_CHECKS_H

#include "amqp/table.h"
#include "queues/settings.h"

enum type_mask {
    TYPE_CLASSIC = 1 << QUEUE_TYPE_CLASSIC,
    TYPE_QUORUM = 1 << QUEUE_TYPE_QUORUM,
    TYPE_ANY = TYPE_CLASSIC | TYPE_QUORUM,
    TYPE_STREAM = 0, /* a type that we do not have */
};

/* Returns true when the value is good, else writes why it is not. `arguments` is the whole table.
 */
typedef bool check_function(const struct table_value *value, struct bytes arguments, char *reason);

struct argument {
    const char *name;
    check_function *check;
    uint8_t types;    /* of enum type_mask */
    bool is_compared; /* redeclarations must agree on it */
};

extern const struct argument queue_arguments[], consume_arguments[];
extern const size_t queue_argument_count, consume_argument_count;

/* What a queue's argument of that name may be; NULL: it is none. */
const struct argument *argument_find(const char *name);

/* Names that leave the choice to the broker. */
bool queue_type_is_none(struct bytes type);

#endif
