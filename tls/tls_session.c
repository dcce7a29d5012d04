/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_session.h"

#include <openssl/ssl.h>
#include <pthread.h>

#include "tls/tls_context_parts.h"

/* OpenSSL's number for what a session keeps: one for the process, for good. */
static pthread_once_t slot_once = PTHREAD_ONCE_INIT;
static int slot = -1;

static void
let_go_of_snapshot(void *parent, void *held, CRYPTO_EX_DATA *data, int index, long argument,
                   void *pointer)
{
    struct tls_snapshot *snapshot = held;
    (void)parent;
    (void)data;
    (void)index;
    (void)argument;
    (void)pointer;
    tls_snapshot_unref(&snapshot);
}

static void
make_slot(void)
{
    slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, let_go_of_snapshot);
}

struct ssl_st *
tls_session_new(struct tls_context *context)
{
    (void)pthread_once(&slot_once, make_slot);
    struct tls_snapshot *snapshot = tls_context_snapshot(context);
    SSL *ssl = slot < 0 ? NULL : SSL_new(snapshot->ssl);
    if (ssl == NULL || SSL_set_ex_data(ssl, slot, snapshot) != 1) {
        SSL_free(ssl);
        tls_snapshot_unref(&snapshot);
        return NULL;
    }
    /* Who waits for the descriptor would never hear of what OpenSSL has read already. */
    SSL_set_read_ahead(ssl, 0);
    return ssl;
}
