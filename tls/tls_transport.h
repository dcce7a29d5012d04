/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS server connection over an accepted socket, behind net/transport.h. */
#ifndef BOURSE_TLS_TLS_TRANSPORT_H
#define BOURSE_TLS_TLS_TRANSPORT_H

#include "net/transport.h"
#include "tls/tls_snapshot.h"

/* Takes a reference to the snapshot. NULL when there is no memory. */
struct transport *tls_transport_new(struct tls_snapshot *snapshot, int fd);

/* What OpenSSL calls for each certificate of a client's chain: notes serial and reason of a refusal
 * for the transport's error text. */
int tls_transport_on_verify(int is_good, X509_STORE_CTX *store);

#endif
