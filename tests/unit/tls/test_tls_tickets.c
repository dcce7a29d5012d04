/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of session tickets, with a clock that steps. */
#include "tls/tls_tickets.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(tls_tickets);

static const uint64_t HALF_A_DAY_MS = UINT64_C(12) * 3600 * 1000;

static uint64_t now_ms;

static struct clock_reading
read_now(void *context)
{
    (void)context;
    return (struct clock_reading){.monotonic_ms = now_ms};
}

/* Without certificates: only what the tickets do is of interest. */
static SSL_CTX *
make_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    cr_assert(eq(int, SSL_CTX_set_cipher_list(context, "AECDH-AES128-SHA:@SECLEVEL=0"), 1));
    return context;
}

/* One connection; true if it went on with `*session`, which is replaced by the new one. */
static bool
connect_once(SSL_CTX *server_context, SSL_CTX *client_context, SSL_SESSION **session)
{
    SSL *server = SSL_new(server_context);
    SSL *client = SSL_new(client_context);
    BIO *server_bio;
    BIO *client_bio;
    cr_assert(eq(int, BIO_new_bio_pair(&server_bio, 0, &client_bio, 0), 1));
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    if (*session != NULL) {
        SSL_set_session(client, *session);
        SSL_SESSION_free(*session);
    }
    for (int turn = 0; turn < 10; turn++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    cr_assert(SSL_is_init_finished(client));
    bool is_resumed = SSL_session_reused(client) == 1;
    *session = SSL_get1_session(client);
    /* A connection that breaks off makes its session useless. */
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    SSL_free(server);
    return is_resumed;
}

Test(tls_tickets, ticket_is_good_until_its_key_was_replaced)
{
    now_ms = 1000;
    struct tls_tickets *tickets = tls_tickets_new((struct clock_source){.read = read_now});
    SSL_CTX *server = make_context(TLS_server_method());
    SSL_CTX *client = make_context(TLS_client_method());
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    tls_tickets_attach(tickets, server);
    SSL_SESSION *session = NULL;
    cr_expect(not(connect_once(server, client, &session)));
    cr_expect(connect_once(server, client, &session));
    now_ms += HALF_A_DAY_MS - 1;
    cr_expect(connect_once(server, client, &session));
    now_ms += 1;
    cr_expect(not(connect_once(server, client, &session)), "it costs one full handshake");
    cr_expect(connect_once(server, client, &session));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    tls_tickets_free(&tickets);
}
