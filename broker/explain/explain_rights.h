/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a user may publish a message, right by right, with the expression that decides. Asks the
 * same functions as publishing does (broker/users/access.h). */
#ifndef BOURSE_BROKER_EXPLAIN_EXPLAIN_RIGHTS_H
#define BOURSE_BROKER_EXPLAIN_EXPLAIN_RIGHTS_H

#include "base/alloc.h"
#include "broker/users/user.h"
#include "exchanges/exchange.h"

struct explained_key {
    struct bytes key;
    bool is_allowed;
};

/* Texts are the arena's that it was asked with. */
struct explained_rights {
    bool is_missing;            /* there is no such user */
    bool is_disabled;           /* the file no longer names it */
    bool may_enter;             /* the vhost */
    bool may_write;             /* to the exchange */
    const char *write;          /* the expression; NULL: no rights in the vhost */
    const char *topic;          /* the expression on keys; NULL: none, so every key is allowed */
    struct explained_key *keys; /* of the message, in order */
    uint32_t key_count;         /* 0: the exchange is no topic exchange, or there is none */
};

/* What publishing with those keys to the exchange (`exchange` NULL: there is none called `name`)
 * would meet. STATUS_FAULT: the first right that is missing, as a client would be told; 530 at
 * connection scope where the user could not even enter. */
MUST_CHECK enum status rights_explain(struct core *core, struct vhost *vhost, struct bytes user,
                                      struct bytes name, const struct exchange *exchange,
                                      const struct bytes *keys, uint32_t key_count,
                                      struct arena *arena, struct explained_rights *rights_out,
                                      struct fault *fault);

#endif
