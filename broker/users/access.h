/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the ONE place that every operation of every interface asks. A verdict is
 * remembered per user until any right changes, so expressions are off the path of a message. */
#ifndef BOURSE_BROKER_USERS_ACCESS_H
#define BOURSE_BROKER_USERS_ACCESS_H

#include "base/bytes.h"
#include "base/status.h"
#include "broker/users/user.h"

enum access_kind { ACCESS_EXCHANGE, ACCESS_QUEUE };

/* Whether the user has any rights record for the vhost: what connection.open asks. */
bool access_may_enter(const struct user *user, struct bytes vhost);

/* The choke point. STATUS_OK, or STATUS_FAULT: 403 at channel scope `configure access to queue 'Q'
 * in vhost 'V' refused for user 'U'` (the default exchange is called amq.default here). */
MUST_CHECK enum status access_require(const struct connection *connection, enum access_right right,
                                      enum access_kind kind, struct bytes name,
                                      struct fault *fault);

/* Any one of the three rights: passive declares. The text names configure. */
MUST_CHECK enum status access_require_any(const struct connection *connection,
                                          enum access_kind kind, struct bytes name,
                                          struct fault *fault);

/* Rights on a key of a topic exchange: ACCESS_WRITE to publish with it, ACCESS_READ to bind with
 * it. No record for the exchange allows. `{username}` and `{vhost}` in an expression are replaced,
 * quoted. STATUS_FAULT: 403 `write access to topic 'KEY' in exchange 'X' in vhost 'V' refused for
 * user 'U'`. */
MUST_CHECK enum status access_require_topic(const struct connection *connection,
                                            enum access_right right, struct bytes exchange,
                                            struct bytes routing_key, struct fault *fault);

/* The same questions about a user who has no connection. */
MUST_CHECK enum status access_require_of(struct user *user, const struct vhost *vhost,
                                         enum access_right right, enum access_kind kind,
                                         struct bytes name, struct fault *fault);
MUST_CHECK enum status access_require_topic_of(struct user *user, const struct vhost *vhost,
                                               enum access_right right, struct bytes exchange,
                                               struct bytes routing_key, struct fault *fault);

/* access_require's question without a connection or a text. */
bool access_allows(struct core *core, struct user *user, struct bytes vhost,
                   enum access_right right, enum access_kind kind, struct bytes name);

#endif
