/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_snapshot.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* Forward secrecy and authenticated encryption only (Mozilla's "intermediate"). */
static const char TLS12_CIPHERS[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char TLS_GROUPS[] = "X25519:P-256:P-384";
static const int TLS_SECURITY_LEVEL = 2;
/* Several records per read(2) under load; released when a connection is idle. */
static const size_t TLS_READ_BUFFER = 64 * 1024;
static const long OCSP_OCTETS_MAX = 64 * 1024;

/* Fills `why` with what was being done, the file and OpenSSL's reason; always false. */
static bool
tls_fail(char *why, size_t why_size, const char *what, const char *path)
{
    char reason[160] = "unknown error";
    unsigned long error = ERR_peek_last_error();
    if (error != 0) {
        ERR_error_string_n(error, reason, sizeof(reason));
        const char *text = ERR_reason_error_string(error);
        if (text != NULL) {
            (void)snprintf(reason, sizeof(reason), "%s", text);
        }
    }
    ERR_clear_error();
    (void)snprintf(why, why_size, "%s%s%s: %s", what, path != NULL ? " " : "",
                   path != NULL ? path : "", reason);
    return false;
}

/* Acknowledges the name a client asked for when the certificate is good for it. */
static int
tls_on_server_name(SSL *ssl, int *alert, void *context)
{
    (void)alert;
    (void)context;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *certificate = SSL_get_certificate(ssl);
    if (name == NULL || certificate == NULL ||
        X509_check_host(certificate, name, 0, 0, NULL) != 1) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* Hands out the stapled response; it is refreshed from outside and read with the certificates. */
static int
tls_on_status_request(SSL *ssl, void *context)
{
    const struct tls_snapshot *snapshot = context;
    uint8_t *copy = OPENSSL_memdup(snapshot->ocsp_response, snapshot->ocsp_size);
    if (copy == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)snapshot->ocsp_size);
    return SSL_TLSEXT_ERR_OK;
}

static bool
tls_snapshot_set_protocol(SSL_CTX *ssl, const struct tls_settings *settings, char *why,
                          size_t why_size)
{
    static const unsigned char session_context[] = "bourse";
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_security_level(ssl, TLS_SECURITY_LEVEL);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, TLS_READ_BUFFER);
    SSL_CTX_set_tlsext_servername_callback(ssl, tls_on_server_name);
    if (SSL_CTX_set_min_proto_version(ssl, settings->min_version) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ssl, TLS12_CIPHERS) != 1 ||
        SSL_CTX_set1_groups_list(ssl, TLS_GROUPS) != 1 ||
        SSL_CTX_set_session_id_context(ssl, session_context, sizeof(session_context)) != 1) {
        return tls_fail(why, why_size, "cannot set up TLS", NULL);
    }
    return true;
}

static bool
tls_snapshot_load_certificate(SSL_CTX *ssl, const struct tls_settings *settings, char *why,
                              size_t why_size)
{
    if (SSL_CTX_use_certificate_chain_file(ssl, settings->certificate) != 1) {
        return tls_fail(why, why_size, "cannot use certificate", settings->certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl, settings->key, SSL_FILETYPE_PEM) != 1) {
        return tls_fail(why, why_size, "cannot use key", settings->key);
    }
    if (SSL_CTX_check_private_key(ssl) != 1) {
        return tls_fail(why, why_size, "the key does not belong to certificate",
                        settings->certificate);
    }
    return true;
}

static bool
tls_snapshot_load_crl(SSL_CTX *ssl, const char *path, char *why, size_t why_size)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, path, X509_FILETYPE_PEM) < 1) {
        return tls_fail(why, why_size, "cannot use revocation list", path);
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return true;
}

static bool
tls_snapshot_load_clients(SSL_CTX *ssl, const struct tls_settings *settings,
                          SSL_verify_cb on_verify, char *why, size_t why_size)
{
    if (settings->client_cert == TLS_CLIENT_CERT_NONE) {
        return true;
    }
    if (settings->client_ca == NULL) {
        (void)snprintf(why, why_size,
                       "client certificates are asked for, but there is no client-ca");
        return false;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(settings->client_ca);
    if (names == NULL || SSL_CTX_load_verify_file(ssl, settings->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_fail(why, why_size, "cannot use client-ca", settings->client_ca);
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    if (settings->client_crl != NULL &&
        !tls_snapshot_load_crl(ssl, settings->client_crl, why, why_size)) {
        return false;
    }
    int mode = SSL_VERIFY_PEER;
    if (settings->client_cert == TLS_CLIENT_CERT_REQUIRE) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    SSL_CTX_set_verify(ssl, mode, on_verify);
    return true;
}

static bool
tls_snapshot_read_ocsp(struct tls_snapshot *snapshot, FILE *file)
{
    if (fseek(file, 0, SEEK_END) != 0) {
        return false;
    }
    long size = ftell(file);
    if (size <= 0 || size > OCSP_OCTETS_MAX || fseek(file, 0, SEEK_SET) != 0) {
        return false;
    }
    snapshot->ocsp_response = xalloc((size_t)size);
    snapshot->ocsp_size = fread(snapshot->ocsp_response, 1, (size_t)size, file);
    return snapshot->ocsp_size == (size_t)size;
}

static bool
tls_snapshot_load_ocsp(struct tls_snapshot *snapshot, const char *path, char *why, size_t why_size)
{
    if (path == NULL) {
        return true;
    }
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL && tls_snapshot_read_ocsp(snapshot, file);
    if (file != NULL) {
        (void)fclose(file);
    }
    if (!is_read) {
        (void)snprintf(why, why_size, "cannot read OCSP response %s (1 to %ld octets, DER)", path,
                       OCSP_OCTETS_MAX);
        return false;
    }
    SSL_CTX_set_tlsext_status_cb(snapshot->ssl, tls_on_status_request);
    SSL_CTX_set_tlsext_status_arg(snapshot->ssl, snapshot);
    return true;
}

struct tls_snapshot *
tls_snapshot_new(const struct tls_settings *settings, SSL_verify_cb on_verify, char *why,
                 size_t why_size)
{
    struct tls_snapshot *snapshot = xalloc(sizeof(*snapshot));
    atomic_init(&snapshot->references, 1);
    snapshot->user_from = settings->user_from;
    ERR_clear_error();
    snapshot->ssl = SSL_CTX_new(TLS_server_method());
    if (snapshot->ssl == NULL) {
        (void)tls_fail(why, why_size, "cannot set up TLS", NULL);
        tls_snapshot_unref(&snapshot);
        return NULL;
    }
    snapshot->tickets = tls_tickets_new(clock_system());
    if (snapshot->tickets == NULL) {
        (void)snprintf(why, why_size, "cannot set up TLS: no randomness");
        tls_snapshot_unref(&snapshot);
        return NULL;
    }
    tls_tickets_attach(snapshot->tickets, snapshot->ssl);
    if (!tls_snapshot_set_protocol(snapshot->ssl, settings, why, why_size) ||
        !tls_snapshot_load_certificate(snapshot->ssl, settings, why, why_size) ||
        !tls_snapshot_load_clients(snapshot->ssl, settings, on_verify, why, why_size) ||
        !tls_snapshot_load_ocsp(snapshot, settings->ocsp, why, why_size)) {
        tls_snapshot_unref(&snapshot);
    }
    return snapshot;
}

struct tls_snapshot *
tls_snapshot_ref(struct tls_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void
tls_snapshot_unref(struct tls_snapshot **snapshot_pointer)
{
    struct tls_snapshot *snapshot = *snapshot_pointer;
    *snapshot_pointer = NULL;
    if (snapshot == NULL || atomic_fetch_sub(&snapshot->references, 1) > 1) {
        return;
    }
    SSL_CTX_free(snapshot->ssl);
    tls_tickets_free(&snapshot->tickets);
    free(snapshot->ocsp_response);
    free(snapshot);
}
