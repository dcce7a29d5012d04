/* SPDX-License-Identifier: Apache-2.0 */
/* What files of this folder may know of a context. */
#ifndef BOURSE_TLS_TLS_CONTEXT_PARTS_H
#define BOURSE_TLS_TLS_CONTEXT_PARTS_H

#include "tls/tls_context.h"
#include "tls/tls_snapshot.h"

/* A reference to the newest certificates. Any thread may ask. */
struct tls_snapshot *tls_context_snapshot(struct tls_context *context);

#endif
