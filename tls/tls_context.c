/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_context.h"

#include "base/alloc.h"
#include "tls/tls_context_parts.h"
#include "tls/tls_transport.h"

#include <pthread.h>
#include <stdlib.h>

struct tls_context {
    struct log *log;
    pthread_mutex_t lock;
    struct tls_snapshot *snapshot; /* that is shown; a reference; under `lock` */
    struct tls_snapshot *prepared; /* to be shown, or NULL; a reference; of who reloads */
    char *prepared_certificate;    /* its path; owned */
};

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
    pthread_mutex_init(&context->lock, NULL);
    context->snapshot = snapshot;
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
    tls_context_forget(context);
    tls_snapshot_unref(&context->snapshot);
    pthread_mutex_destroy(&context->lock);
    free(context);
}

void
tls_context_forget(struct tls_context *context)
{
    tls_snapshot_unref(&context->prepared);
    free(context->prepared_certificate);
    context->prepared_certificate = NULL;
}

enum status
tls_context_prepare(struct tls_context *context, const struct tls_settings *settings, char *why,
                    size_t why_size)
{
    tls_context_forget(context);
    context->prepared = tls_snapshot_new(settings, tls_transport_on_verify, why, why_size);
    if (context->prepared == NULL) {
        return STATUS_REJECTED;
    }
    context->prepared_certificate = xstrdup(settings->certificate);
    return STATUS_OK;
}

void
tls_context_take(struct tls_context *context)
{
    if (context->prepared == NULL) {
        return;
    }
    pthread_mutex_lock(&context->lock);
    struct tls_snapshot *old = context->snapshot;
    context->snapshot = context->prepared;
    pthread_mutex_unlock(&context->lock);
    context->prepared = old;
    log_info(context->log, "tls.reloaded", "certificate=\"%s\"", context->prepared_certificate);
    tls_context_forget(context);
}

struct tls_snapshot *
tls_context_snapshot(struct tls_context *context)
{
    pthread_mutex_lock(&context->lock);
    struct tls_snapshot *snapshot = tls_snapshot_ref(context->snapshot);
    pthread_mutex_unlock(&context->lock);
    return snapshot;
}

static struct transport *
tls_context_make_transport(void *context, int fd)
{
    struct tls_snapshot *snapshot = tls_context_snapshot(context);
    struct transport *transport = tls_transport_new(snapshot, fd);
    tls_snapshot_unref(&snapshot);
    return transport;
}

struct transport_factory
tls_context_factory(struct tls_context *context)
{
    return (struct transport_factory){.make = tls_context_make_transport, .context = context};
}
