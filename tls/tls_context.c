/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_context.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "tls/tls_snapshot.h"
#include "tls/tls_transport.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

/* Session tickets are sealed with keys of this age at most. */
static const uint64_t TICKET_KEY_AGE_MS = UINT64_C(12) * 3600 * 1000;

struct tls_context {
    struct log *log;
    struct clock_source clock;
    struct tls_snapshot *snapshot; /* the newest; a reference */
    uint64_t ticket_keys_ms;       /* monotonic time at which its ticket keys were made */
};

static uint64_t
tls_context_now_ms(const struct tls_context *context)
{
    return context->clock.read(context->clock.context).monotonic_ms;
}

struct tls_context *
tls_context_new(const struct tls_settings *settings, struct log *log, char *why, size_t why_size)
{
    struct tls_snapshot *snapshot =
        tls_snapshot_new(settings, tls_transport_on_verify, why, why_size);
    if (snapshot == NULL) {
        return NULL;
    }
    struct tls_context *context = xalloc(sizeof(*context));
    context->log = log;
    context->clock = clock_system();
    context->snapshot = snapshot;
    context->ticket_keys_ms = tls_context_now_ms(context);
    return context;
}

void
tls_context_unref(struct tls_context **context_pointer)
{
    struct tls_context *context = *context_pointer;
    *context_pointer = NULL;
    if (context == NULL) {
        return;
    }
    tls_snapshot_unref(&context->snapshot);
    free(context);
}

enum status
tls_context_reload(struct tls_context *context, const struct tls_settings *settings, char *why,
                   size_t why_size)
{
    struct tls_snapshot *fresh = tls_snapshot_new(settings, tls_transport_on_verify, why, why_size);
    if (fresh == NULL) {
        return STATUS_REJECTED;
    }
    tls_snapshot_unref(&context->snapshot);
    context->snapshot = fresh;
    context->ticket_keys_ms = tls_context_now_ms(context);
    log_info(context->log, "tls.reloaded", "certificate=\"%s\"", settings->certificate);
    return STATUS_OK;
}

/* Tickets sealed with the old keys cost their clients one full handshake. */
static void
tls_context_rotate_ticket_keys(struct tls_context *context)
{
    uint64_t now_ms = tls_context_now_ms(context);
    if (now_ms - context->ticket_keys_ms < TICKET_KEY_AGE_MS) {
        return;
    }
    SSL_CTX *ssl = context->snapshot->ssl;
    unsigned char keys[256];
    long size = SSL_CTX_set_tlsext_ticket_keys(ssl, NULL, 0); /* asks for the size */
    if (size > 0 && (size_t)size <= sizeof(keys) && RAND_bytes(keys, (int)size) == 1 &&
        SSL_CTX_set_tlsext_ticket_keys(ssl, keys, size) == 1) {
        context->ticket_keys_ms = now_ms;
    } else {
        log_warn(context->log, "tls.ticket_keys_kept", "reason=\"no randomness\"");
    }
    OPENSSL_cleanse(keys, sizeof(keys));
}

static struct transport *
tls_context_make_transport(void *context_pointer, int fd)
{
    struct tls_context *context = context_pointer;
    tls_context_rotate_ticket_keys(context);
    return tls_transport_new(context->snapshot, fd);
}

struct transport_factory
tls_context_factory(struct tls_context *context)
{
    return (struct transport_factory){.make = tls_context_make_transport, .context = context};
}
