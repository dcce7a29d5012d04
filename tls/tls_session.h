/* SPDX-License-Identifier: Apache-2.0 */
/* A server's TLS session for a library that moves the octets itself (libevent's buffers): with the
 * certificates that are the newest when it begins, which it keeps until it ends. */
#ifndef BOURSE_TLS_TLS_SESSION_H
#define BOURSE_TLS_TLS_SESSION_H

#include "tls/tls_context.h"

struct ssl_st; /* OpenSSL's SSL */

/* For one accepted socket; the caller frees it with SSL_free, or has the library do it. NULL when
 * there is no memory. */
struct ssl_st *tls_session_new(struct tls_context *context);

#endif
