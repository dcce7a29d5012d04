/* SPDX-License-Identifier: Apache-2.0 */
/* Logins under way: SASL responses become a user or a refusal. Password checks that are not cached
 * go to the password port, equal ones share one check, guessing is slowed per user and per source,
 * and the answer for an unknown user is the same, after the same work, as for a wrong password. */
#ifndef BOURSE_BROKER_CONNECTIONS_LOGIN_H
#define BOURSE_BROKER_CONNECTIONS_LOGIN_H

#include "base/bytes.h"
#include "base/status.h"
#include "broker/connections/connection.h"
#include "broker/users/user.h"

struct login_desk;

struct login_desk *login_desk_new(struct core *core);
void login_desk_free(struct login_desk **desk);

/* HMAC of user, hash and secret under this desk's own random key: how secrets are remembered. */
void login_desk_mac(const struct login_desk *desk, struct bytes user, struct bytes hash,
                    struct bytes secret, uint8_t out[static 32]);

/* The mechanisms a peer is offered: "PLAIN AMQPLAIN", and EXTERNAL behind them when it showed a
 * verified certificate. Static memory. */
const char *login_mechanisms(const struct net_peer *peer);

/* Starts the check of a start-ok. The outcome comes, at once or later, through
 * connection_login_succeeded or connection_login_failed. STATUS_FAULT at connection scope: 503 for
 * a mechanism that is unknown, or EXTERNAL without TLS, 502 for a malformed response. */
MUST_CHECK enum status login_begin(struct connection *connection, struct bytes mechanism,
                                   struct bytes response, struct fault *fault);

/* The connection is gone: nothing more is reported for it. */
void login_forget(struct connection *connection);

/* The verdict of the password port; also starts a login that was waiting for room. */
void login_desk_on_verdict(struct login_desk *desk, uint64_t id, bool matches);

#endif
