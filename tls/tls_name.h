/* SPDX-License-Identifier: Apache-2.0 */
/* The user that a client certificate names: its CN, its whole DN, or a subject alternative name. */
#ifndef BOURSE_TLS_TLS_NAME_H
#define BOURSE_TLS_TLS_NAME_H

#include "tls/tls_context.h"

#include <openssl/x509.h>

/* Writes the name, NUL-terminated. An empty string when the certificate has none of that kind (or
 * more than one CN, which would leave open who is meant), or one that is too long, not UTF-8 or
 * holds control characters. */
void tls_name_of(const X509 *certificate, enum tls_user_from from, char *out, size_t out_size);

#endif
