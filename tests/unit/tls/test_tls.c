/* SPDX-License-Identifier: Apache-2.0 */
/* TLS transports against OpenSSL's own client over a socketpair, with certificates made here. */
#include "tls/tls_context.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "tls/tls_name.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static char directory[64];
static struct identity authority;
static struct log log_nowhere;

static void
drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

static void
add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    cr_assert(ne(ptr, extension, NULL));
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* A certificate for `cn`, valid from a day ago until `days` from now, signed by `issuer` (itself
 * when NULL). */
static struct identity
make_identity(const char *cn, const char *san, const struct identity *issuer, int days)
{
    struct identity made = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509_set_version(made.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), 4711);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), -86400);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), (long)days * 86400);
    X509_set_pubkey(made.certificate, made.key);
    X509_NAME *name = X509_get_subject_name(made.certificate);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Shop", -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(made.certificate,
                         issuer != NULL ? X509_get_subject_name(issuer->certificate) : name);
    if (issuer == NULL) {
        add_extension(made.certificate, NID_basic_constraints, "critical,CA:TRUE");
    }
    if (san != NULL) {
        add_extension(made.certificate, NID_subject_alt_name, san);
    }
    X509_sign(made.certificate, issuer != NULL ? issuer->key : made.key, EVP_sha256());
    return made;
}

static void
free_identity(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

static const char *
path_of(const char *file, char out[static 128])
{
    (void)snprintf(out, 128, "%s/%s", directory, file);
    return out;
}

static void
write_identity(const struct identity *identity, const char *certificate_file, const char *key_file)
{
    char path[128];
    FILE *file = fopen(path_of(certificate_file, path), "w");
    PEM_write_X509(file, identity->certificate);
    (void)fclose(file);
    file = fopen(path_of(key_file, path), "w");
    PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL);
    (void)fclose(file);
}

static void
set_up(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/bourse-tls-XXXXXX");
    cr_assert(ne(ptr, mkdtemp(directory), NULL));
    log_init_stderr(&log_nowhere, LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT);
    log_nowhere.write = drop_line;
    authority = make_identity("Test CA", NULL, NULL, 30);
    write_identity(&authority, "ca.pem", "ca.key");
    struct identity server = make_identity("localhost", "DNS:localhost", &authority, 30);
    write_identity(&server, "server.pem", "server.key");
    free_identity(&server);
}

static void
tear_down(void)
{
    static const char *const files[] = {"ca.pem", "ca.key", "server.pem", "server.key"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)unlink(path_of(files[i], path));
    }
    (void)rmdir(directory);
    free_identity(&authority);
}

TestSuite(tls, .init = set_up, .fini = tear_down);

static struct tls_context *
make_context(enum tls_client_cert client_cert, enum tls_user_from user_from)
{
    char certificate[128];
    char key[128];
    char ca[128];
    struct tls_settings settings = {
        .certificate = path_of("server.pem", certificate),
        .key = path_of("server.key", key),
        .client_ca = path_of("ca.pem", ca),
        .client_cert = client_cert,
        .user_from = user_from,
        .min_version = TLS1_2_VERSION,
    };
    char why[256] = "";
    struct tls_context *context = tls_context_new(&settings, &log_nowhere, why, sizeof(why));
    cr_assert(ne(ptr, context, NULL), "%s", why);
    return context;
}

/* Both ends of a connection: ours behind the transport, the client's as a plain SSL. */
struct pair {
    int fds[2];
    struct transport *server;
    SSL_CTX *client_context;
    SSL *client;
};

static void
pair_open(struct pair *pair, struct tls_context *context, const struct identity *identity,
          int max_version)
{
    cr_assert(eq(int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair->fds), 0));
    struct transport_factory factory = tls_context_factory(context);
    pair->server = factory.make(factory.context, pair->fds[0]);
    cr_assert(ne(ptr, pair->server, NULL));
    pair->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(pair->client_context, 0);
    SSL_CTX_set_max_proto_version(pair->client_context, max_version);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(pair->client_context), authority.certificate);
    SSL_CTX_set_verify(pair->client_context, SSL_VERIFY_PEER, NULL);
    if (identity != NULL) {
        SSL_CTX_use_certificate(pair->client_context, identity->certificate);
        SSL_CTX_use_PrivateKey(pair->client_context, identity->key);
    }
    pair->client = SSL_new(pair->client_context);
    SSL_set_fd(pair->client, pair->fds[1]);
    SSL_set_connect_state(pair->client);
}

/* Turns both ends until the server's side is decided. */
static enum status
pair_shake_hands(struct pair *pair)
{
    enum status status = STATUS_AGAIN;
    for (int turn = 0; turn < 100 && status == STATUS_AGAIN; turn++) {
        (void)SSL_do_handshake(pair->client);
        status = pair->server->operations->handshake(pair->server);
    }
    (void)SSL_do_handshake(pair->client);
    return status;
}

static void
pair_close(struct pair *pair)
{
    pair->server->operations->free(pair->server);
    SSL_free(pair->client);
    SSL_CTX_free(pair->client_context);
    close(pair->fds[0]);
    close(pair->fds[1]);
}

Test(tls, octets_cross_in_both_directions_whole_and_in_order)
{
    enum { SIZE = 300000 };
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));

    uint8_t *sent = xalloc(SIZE);
    uint8_t *received = xalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        sent[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    size_t out = 0;
    size_t in = 0;
    while (in < SIZE) {
        /* Three parts of odd sizes, offered anew after every refusal. */
        size_t left = SIZE - out;
        size_t first = left < 7 ? left : 7;
        size_t second = left - first < 1000 ? left - first : 1000;
        struct iovec parts[] = {{sent + out, first},
                                {sent + out + first, second},
                                {sent + out + first + second, left - first - second}};
        size_t taken = 0;
        if (left > 0 &&
            pair.server->operations->write(pair.server, parts, 3, &taken) == STATUS_OK) {
            out += taken;
        }
        size_t got = 0;
        if (SSL_read_ex(pair.client, received + in, SIZE - in, &got) == 1) {
            in += got;
        }
    }
    cr_expect(eq(int, memcmp(sent, received, SIZE), 0));

    size_t written = 0;
    cr_assert(eq(int, SSL_write_ex(pair.client, "hello", 5, &written), 1));
    uint8_t answer[16];
    size_t size = 0;
    enum status status = pair.server->operations->read(pair.server, answer, 16, &size);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(sz, size, 5));
    cr_expect(eq(int, pair.server->operations->read(pair.server, answer, 16, &size), STATUS_AGAIN));
    cr_expect(not(pair.server->operations->has_pending(pair.server)));
    (void)SSL_shutdown(pair.client);
    cr_expect(
        eq(int, pair.server->operations->read(pair.server, answer, 16, &size), STATUS_CLOSED));
    free(sent);
    free(received);
    pair_close(&pair);
    tls_context_unref(&context);
}

/* A socket that is known to be empty is not read again. */
Test(tls, a_read_tells_whether_it_left_anything_in_the_socket)
{
    enum { OCTETS = 150000, RECORD = 4990 };
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));
    uint8_t *octets = xalloc(RECORD);
    size_t size = 0;
    cr_assert(eq(int, SSL_write_ex(pair.client, octets, 1000, &size), 1));
    cr_assert(
        eq(int, pair.server->operations->read(pair.server, octets, RECORD, &size), STATUS_OK));
    cr_expect(pair.server->is_drained);

    /* Records end anywhere in what OpenSSL reads at once. */
    size_t sent = 0;
    while (sent < OCTETS && SSL_write_ex(pair.client, octets, RECORD, &size) == 1) {
        sent += size;
    }
    for (size_t got = 0; got < sent; got += size) {
        enum status status = pair.server->operations->read(pair.server, octets, RECORD, &size);
        cr_assert(eq(int, status, STATUS_OK));
        bool is_asked_again =
            !pair.server->is_drained || pair.server->operations->has_pending(pair.server);
        cr_assert(eq(int, is_asked_again || got + size == sent, 1), "after %zu octets", got + size);
    }
    cr_expect(pair.server->is_drained);
    free(octets);
    pair_close(&pair);
    tls_context_unref(&context);
}

/* Only TLS 1.2 and 1.3 are spoken. */
Test(tls, a_client_that_knows_nothing_newer_than_tls_1_1_is_refused)
{
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_1_VERSION);
    cr_expect(eq(int, pair_shake_hands(&pair), STATUS_IO));
    pair_close(&pair);
    tls_context_unref(&context);
}

Test(tls, the_user_comes_from_the_name_that_the_settings_say)
{
    static const struct {
        enum tls_user_from from;
        const char *cn;
        const char *san;
        const char *user;
    } rows[] = {
        {TLS_USER_FROM_CN, "billing", NULL, "billing"},
        {TLS_USER_FROM_DN, "billing", NULL, "CN=billing,O=Shop"},
        {TLS_USER_FROM_SAN_URI, "x", "URI:spiffe://shop/billing", "billing"},
        {TLS_USER_FROM_SAN_URI, "x", "DNS:other,URI:spiffe://shop/a/b", "b"},
        {TLS_USER_FROM_SAN_URI, "x", "URI:spiffe://shop/", ""},
        {TLS_USER_FROM_SAN_URI, "x", NULL, ""},
        {TLS_USER_FROM_SAN_DNS, "x", "DNS:billing.shop", "billing.shop"},
        {TLS_USER_FROM_SAN_EMAIL, "x", "email:b@shop.example", "b@shop.example"},
        {TLS_USER_FROM_CN, "b\xC3\xBCro", NULL, "b\xC3\xBCro"},
        {TLS_USER_FROM_CN, "two\nlines", NULL, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct identity client = make_identity(rows[i].cn, rows[i].san, &authority, 1);
        char user[64];
        tls_name_of(client.certificate, rows[i].from, user, sizeof(user));
        cr_expect(eq(str, user, (char *)rows[i].user), "row %zu", i);
        free_identity(&client);
    }
}

/* Two common names would leave open who is meant. */
Test(tls, a_certificate_with_two_common_names_names_nobody)
{
    struct identity client = make_identity("billing", NULL, &authority, 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(client.certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"admin", -1, -1, 0);
    char user[64];
    tls_name_of(client.certificate, TLS_USER_FROM_CN, user, sizeof(user));
    cr_expect(eq(str, user, ""));
    free_identity(&client);
}

Test(tls, a_verified_client_certificate_is_described_to_the_core)
{
    struct tls_context *context = make_context(TLS_CLIENT_CERT_REQUEST, TLS_USER_FROM_CN);
    struct identity client = make_identity("billing", NULL, &authority, 1);
    struct pair pair;
    pair_open(&pair, context, &client, TLS1_3_VERSION);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));
    struct net_peer peer = {.port = 1};
    pair.server->operations->describe(pair.server, &peer);
    cr_expect(peer.has_certificate);
    cr_expect(eq(str, peer.user, "billing"));
    cr_expect(eq(str, peer.tls_version, "TLSv1.3"));
    pair_close(&pair);
    free_identity(&client);
    tls_context_unref(&context);
}

/* An expired certificate, and one of an authority nobody named, are refused with a reason that
 * names the serial number. */
Test(tls, a_certificate_that_does_not_verify_ends_the_handshake_with_a_reason)
{
    struct identity stranger = make_identity("Other CA", NULL, NULL, 30);
    struct identity clients[] = {
        make_identity("billing", NULL, &authority, 0),
        make_identity("billing", NULL, &stranger, 1),
    };
    X509_gmtime_adj(X509_getm_notAfter(clients[0].certificate), -60);
    X509_sign(clients[0].certificate, authority.key, EVP_sha256());
    struct tls_context *context = make_context(TLS_CLIENT_CERT_REQUEST, TLS_USER_FROM_CN);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        struct pair pair;
        pair_open(&pair, context, &clients[i], TLS1_3_VERSION);
        cr_expect(eq(int, pair_shake_hands(&pair), STATUS_IO));
        const char *error = pair.server->operations->error(pair.server);
        cr_expect(ne(ptr, (void *)strstr(error, "1267"), NULL), "%s", error); /* 4711 */
        pair_close(&pair);
        free_identity(&clients[i]);
    }
    tls_context_unref(&context);
    free_identity(&stranger);
}

Test(tls, a_bad_new_certificate_keeps_the_old_one_and_says_why)
{
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    char certificate[128];
    char key[128];
    struct tls_settings bad = {
        .certificate = path_of("server.pem", certificate),
        .key = path_of("ca.key", key),
        .min_version = TLS1_2_VERSION,
    };
    char why[256] = "";
    cr_expect(eq(int, tls_context_prepare(context, &bad, why, sizeof(why)), STATUS_REJECTED));
    cr_expect(ne(ptr, (void *)strstr(why, "ca.key"), NULL), "%s", why);
    tls_context_take(context); /* there is none */
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    cr_expect(eq(int, pair_shake_hands(&pair), STATUS_OK));
    pair_close(&pair);
    tls_context_unref(&context);
}

static bool
is_shown(struct tls_context *context, const struct identity *identity)
{
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));
    bool is_it = X509_cmp(SSL_get0_peer_certificate(pair.client), identity->certificate) == 0;
    pair_close(&pair);
    return is_it;
}

/* What else a reload asks for may be refused after its certificates were loaded. */
Test(tls, a_certificate_is_shown_only_once_it_is_taken)
{
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    struct identity fresh = make_identity("fresh", "DNS:localhost", &authority, 30);
    write_identity(&fresh, "server.pem", "server.key");
    char certificate[128];
    char key[128];
    struct tls_settings settings = {
        .certificate = path_of("server.pem", certificate),
        .key = path_of("server.key", key),
        .min_version = TLS1_2_VERSION,
    };
    char why[256] = "";
    cr_assert(eq(int, tls_context_prepare(context, &settings, why, sizeof(why)), STATUS_OK));
    cr_expect(not(is_shown(context, &fresh)));
    tls_context_forget(context);
    tls_context_take(context);
    cr_expect(not(is_shown(context, &fresh)));
    cr_assert(eq(int, tls_context_prepare(context, &settings, why, sizeof(why)), STATUS_OK));
    tls_context_take(context);
    cr_expect(is_shown(context, &fresh));
    tls_context_unref(&context);
    free_identity(&fresh);
}

Test(tls, a_connection_outlives_the_certificate_it_began_with)
{
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    struct pair pair;
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));
    tls_context_unref(&context);
    size_t written = 0;
    cr_assert(eq(int, SSL_write_ex(pair.client, "hello", 5, &written), 1));
    uint8_t answer[16];
    size_t size = 0;
    cr_expect(eq(int, pair.server->operations->read(pair.server, answer, 16, &size), STATUS_OK));
    pair_close(&pair);
}

/* Which steps of a handshake are work for the private key: one, and none when the client comes back
 * with a ticket. */
static size_t
count_key_uses(struct pair *pair)
{
    size_t count = 0;
    enum status status = STATUS_AGAIN;
    for (int turn = 0; turn < 100 && status == STATUS_AGAIN; turn++) {
        (void)SSL_do_handshake(pair->client);
        pair->server->used_private_key = false;
        status = pair->server->operations->handshake(pair->server);
        count += pair->server->used_private_key ? 1 : 0;
    }
    cr_assert(eq(int, status, STATUS_OK));
    return count;
}

/* The ticket comes behind the handshake, with the first octets (TLS 1.3), or in it. */
static SSL_SESSION *
take_session(struct pair *pair)
{
    size_t size = 0;
    struct iovec hello = {"hello", 5};
    enum status status = pair->server->operations->write(pair->server, &hello, 1, &size);
    cr_assert(eq(int, status, STATUS_OK));
    (void)SSL_do_handshake(pair->client);
    uint8_t octets[5];
    cr_assert(eq(int, SSL_read_ex(pair->client, octets, sizeof(octets), &size), 1));
    return SSL_get1_session(pair->client);
}

Test(tls, a_handshake_uses_the_private_key_once_and_a_resumption_never)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct pair pair;
        pair_open(&pair, context, NULL, versions[i]);
        cr_expect(eq(sz, count_key_uses(&pair), 1), "version %x", (unsigned)versions[i]);
        SSL_SESSION *session = take_session(&pair);
        (void)SSL_shutdown(pair.client); /* one that was cut off cannot be resumed */
        pair_close(&pair);
        pair_open(&pair, context, NULL, versions[i]);
        cr_assert(eq(int, SSL_set_session(pair.client, session), 1));
        cr_expect(eq(sz, count_key_uses(&pair), 0), "version %x", (unsigned)versions[i]);
        (void)SSL_do_handshake(pair.client);
        cr_expect(eq(int, SSL_session_reused(pair.client), 1));
        SSL_SESSION_free(session);
        pair_close(&pair);
    }
    tls_context_unref(&context);
}

Test(tls, a_missing_file_is_named_in_the_reason)
{
    char key[128];
    struct tls_settings settings = {
        .certificate = "/nonexistent/server.pem",
        .key = path_of("server.key", key),
        .min_version = TLS1_2_VERSION,
    };
    char why[256] = "";
    cr_expect(eq(ptr, tls_context_new(&settings, &log_nowhere, why, sizeof(why)), NULL));
    cr_expect(ne(ptr, (void *)strstr(why, "/nonexistent/server.pem"), NULL), "%s", why);
}

static int
take_stapled(SSL *ssl, void *context)
{
    struct bytes *stapled = context;
    const unsigned char *response = NULL;
    long size = SSL_get_tlsext_status_ocsp_resp(ssl, &response);
    *stapled = bytes_make(response, size > 0 ? (size_t)size : 0);
    return 1;
}

/* The response is refreshed from outside; what it says is between its maker and the client. */
Test(tls, a_stapled_ocsp_response_reaches_a_client_that_asks_for_it)
{
    char certificate[128];
    char key[128];
    char ocsp[128];
    FILE *file = fopen(path_of("ocsp.der", ocsp), "w");
    (void)fputs("a response", file);
    (void)fclose(file);
    struct tls_settings settings = {
        .certificate = path_of("server.pem", certificate),
        .key = path_of("server.key", key),
        .ocsp = ocsp,
        .min_version = TLS1_2_VERSION,
    };
    char why[256] = "";
    struct tls_context *context = tls_context_new(&settings, &log_nowhere, why, sizeof(why));
    cr_assert(ne(ptr, context, NULL), "%s", why);
    struct pair pair;
    struct bytes stapled = {.data = NULL};
    pair_open(&pair, context, NULL, TLS1_3_VERSION);
    SSL_set_tlsext_status_type(pair.client, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(pair.client_context, take_stapled);
    SSL_CTX_set_tlsext_status_arg(pair.client_context, &stapled);
    cr_assert(eq(int, pair_shake_hands(&pair), STATUS_OK));
    cr_expect(bytes_equal_text(stapled, "a response"));
    pair_close(&pair);
    tls_context_unref(&context);
    (void)unlink(ocsp);
}

/* SNI: the name a client asks for is acknowledged when the certificate is good for it, and a client
 * that asks for another one is served all the same and judges for itself. */
Test(tls, the_server_name_of_a_client_is_acknowledged_when_it_is_ours)
{
    static const struct {
        const char *name;
        bool is_ours;
    } rows[] = {{"localhost", true}, {"elsewhere.example", false}};
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair pair;
        pair_open(&pair, context, NULL, TLS1_2_VERSION);
        SSL_set_tlsext_host_name(pair.client, rows[i].name);
        cr_expect(eq(int, pair_shake_hands(&pair), STATUS_OK));
        bool is_acknowledged = SSL_SESSION_get0_hostname(SSL_get0_session(pair.client)) != NULL;
        cr_expect(eq(int, is_acknowledged, rows[i].is_ours), "%s", rows[i].name);
        pair_close(&pair);
    }
    tls_context_unref(&context);
}

/* A certificate whose time has not come is as bad as an expired one. */
Test(tls, a_client_certificate_that_is_not_valid_yet_is_refused)
{
    struct identity client = make_identity("billing", NULL, &authority, 30);
    X509_gmtime_adj(X509_getm_notBefore(client.certificate), 86400);
    X509_sign(client.certificate, authority.key, EVP_sha256());
    struct tls_context *context = make_context(TLS_CLIENT_CERT_REQUEST, TLS_USER_FROM_CN);
    struct pair pair;
    pair_open(&pair, context, &client, TLS1_3_VERSION);
    cr_expect(eq(int, pair_shake_hands(&pair), STATUS_IO));
    pair_close(&pair);
    free_identity(&client);
    tls_context_unref(&context);
}

static atomic_bool reload_is_over;

static void *
accept_until_reloaded(void *context)
{
    while (!atomic_load(&reload_is_over)) {
        struct pair pair;
        pair_open(&pair, context, NULL, TLS1_3_VERSION);
        (void)pair_shake_hands(&pair);
        pair_close(&pair);
    }
    return NULL;
}

/* A network thread accepts at any moment. */
Test(tls, certificates_may_be_reloaded_while_another_thread_accepts)
{
    enum { RELOADS = 20 };
    struct tls_context *context = make_context(TLS_CLIENT_CERT_NONE, TLS_USER_FROM_CN);
    char certificate[128];
    char key[128];
    struct tls_settings settings = {
        .certificate = path_of("server.pem", certificate),
        .key = path_of("server.key", key),
        .min_version = TLS1_2_VERSION,
    };
    pthread_t thread;
    cr_assert(zero(int, pthread_create(&thread, NULL, accept_until_reloaded, context)));
    for (int i = 0; i < RELOADS; i++) {
        char why[256] = "";
        enum status status = tls_context_prepare(context, &settings, why, sizeof(why));
        cr_expect(eq(int, status, STATUS_OK), "%s", why);
        tls_context_take(context);
    }
    atomic_store(&reload_is_over, true);
    pthread_join(thread, NULL);
    tls_context_unref(&context);
}
