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
    struct tls_snapshot *snapshot; /* in force; a reference; under `lock` */
    struct tls_snapshot *staged;   /* a reference of whoever reloads; NULL: nothing is */
    char *staged_name;             /* its certificate; owned */
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
    tls_context_drop_staged(context);
    tls_snapshot_unref(&context->snapshot);
    pthread_mutex_destroy(&context->lock);
    free(context);
}

void
tls_context_drop_staged(struct tls_context *context)
{
    tls_snapshot_unref(&context->staged);
    free(context->staged_name);
    context->staged_name = NULL;
}

enum status
tls_context_stage(struct tls_context *context, const struct tls_settings *settings, char *why,
                  size_t why_size)
{
    struct tls_snapshot *fresh = tls_snapshot_new(settings, tls_transport_on_verify, why, why_size);
    if (fresh == NULL) {
        return STATUS_REJECTED;
    }
    tls_context_drop_staged(context);
    context->staged = fresh;
    context->staged_name = xstrdup(settings->certificate);
    return STATUS_OK;
}

void
tls_context_take_staged(struct tls_context *context)
{
    if (context->staged == NULL) {
        return;
    }
    pthread_mutex_lock(&context->lock);
    struct tls_snapshot *old = context->snapshot;
    context->snapshot = context->staged;
    pthread_mutex_unlock(&context->lock);
    context->staged = NULL;
    tls_snapshot_unref(&old);
    log_info(context->log, "tls.reloaded", "certificate=\"%s\"", context->staged_name);
    tls_context_drop_staged(context);
}

enum status
tls_context_reload(struct tls_context *context, const struct tls_settings *settings, char *why,
                   size_t why_size)
{
    enum status status = tls_context_stage(context, settings, why, why_size);
    if (status == STATUS_OK) {
        tls_context_take_staged(context);
    }
    return status;
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
