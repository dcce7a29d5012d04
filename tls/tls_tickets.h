/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that session tickets are sealed with: made anew every twelve hours, so that a key that
 * leaks opens little. A ticket that was sealed with the key before costs its client one full
 * handshake.
 *
 * OpenSSL's own keys may not be changed while other threads shake hands; these may. */
#ifndef BOURSE_TLS_TLS_TICKETS_H
#define BOURSE_TLS_TLS_TICKETS_H

#include "base/clock.h"

#include <openssl/ssl.h>

struct tls_tickets;

/* NULL when there is no randomness. */
struct tls_tickets *tls_tickets_new(struct clock_source clock);
void tls_tickets_free(struct tls_tickets **tickets);

/* Has all connections of `ssl` use them; they outlive it. */
void tls_tickets_attach(struct tls_tickets *tickets, SSL_CTX *ssl);

#endif
