/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and settings of a TLS listener, and the transports that use them. A reload builds a
 * new context and swaps it in; connections keep the one they began with until they end. A reload
 * may happen while other threads accept, but one thread does them all; transports belong to the
 * thread that made them. */
#ifndef BOURSE_TLS_TLS_CONTEXT_H
#define BOURSE_TLS_TLS_CONTEXT_H

#include "base/log.h"
#include "base/status.h"
#include "net/transport.h"

enum tls_client_cert { TLS_CLIENT_CERT_NONE, TLS_CLIENT_CERT_REQUEST, TLS_CLIENT_CERT_REQUIRE };
enum tls_user_from {
    TLS_USER_FROM_CN,
    TLS_USER_FROM_DN,
    TLS_USER_FROM_SAN_DNS,
    TLS_USER_FROM_SAN_EMAIL,
    TLS_USER_FROM_SAN_URI, /* the last path segment */
};

/* Paths; NULL where not given. */
struct tls_settings {
    const char *certificate; /* PEM, chain included */
    const char *key;
    const char *client_ca;
    const char *client_crl;
    const char *ocsp; /* a stapled response, DER */
    enum tls_client_cert client_cert;
    enum tls_user_from user_from;
    uint16_t min_version; /* 0x0303 or 0x0304 */
};

/* One listener's context with its current certificates. */
struct tls_context;

/* Loads everything. NULL: `why` says in one line which file and what is wrong with it. `log` is
 * borrowed. */
struct tls_context *tls_context_new(const struct tls_settings *settings, struct log *log, char *why,
                                    size_t why_size);

/* Drops the listener's reference; connections that use it live on. */
void tls_context_unref(struct tls_context **context);

/* Loads anew, for tls_context_take; what was prepared before is forgotten. STATUS_REJECTED: `why`
 * says the reason, and nothing is prepared. Nobody is shown it yet. */
MUST_CHECK enum status tls_context_prepare(struct tls_context *context,
                                           const struct tls_settings *settings, char *why,
                                           size_t why_size);

/* Whoever connects from now on is shown what was prepared; nothing changes without that. */
void tls_context_take(struct tls_context *context);

/* Everything stays as it is. */
void tls_context_forget(struct tls_context *context);

/* Makes server transports for accepted sockets. The context outlives the factory. */
struct transport_factory tls_context_factory(struct tls_context *context);

#endif
