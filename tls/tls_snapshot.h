/* SPDX-License-Identifier: Apache-2.0 */
/* One set of loaded certificates and settings, never changed after it was made but for the keys of
 * its tickets. The listener's context holds the newest; every connection holds the one it began
 * with. Any thread may use it and let go of it. */
#ifndef BOURSE_TLS_TLS_SNAPSHOT_H
#define BOURSE_TLS_TLS_SNAPSHOT_H

#include "tls/tls_context.h"
#include "tls/tls_tickets.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct tls_snapshot {
    atomic_uint references;
    SSL_CTX *ssl;                /* owned */
    struct tls_tickets *tickets; /* owned */
    enum tls_user_from user_from;
    uint8_t *ocsp_response; /* DER; owned; NULL: none is stapled */
    size_t ocsp_size;
};

/* Loads everything; `on_verify` hears what OpenSSL says of client certificates. NULL: `why` says in
 * one line which file and what is wrong with it. */
struct tls_snapshot *tls_snapshot_new(const struct tls_settings *settings, SSL_verify_cb on_verify,
                                      char *why, size_t why_size);
struct tls_snapshot *tls_snapshot_ref(struct tls_snapshot *snapshot);
void tls_snapshot_unref(struct tls_snapshot **snapshot);

#endif
