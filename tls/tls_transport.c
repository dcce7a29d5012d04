/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_transport.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "tls/tls_name.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum { TLS_RECORD_SIZE = 16 * 1024, TLS_ERROR_SIZE = 200 };

struct tls_transport {
    struct transport transport;    /* first */
    SSL *ssl;                      /* owned */
    struct tls_snapshot *snapshot; /* a reference */
    size_t retry_size;             /* octets of a write that has to be repeated; 0: none */
    bool read_ran_dry;             /* the last read found no whole record */
    char *error;                   /* why the last call failed; owned; NULL: nothing known */
};

static struct tls_transport *
tls_transport_of(struct transport *transport)
{
    return CONTAINER_OF(transport, struct tls_transport, transport);
}

static void
tls_transport_set_error(struct tls_transport *tls, const char *text)
{
    if (tls->error == NULL) {
        tls->error = try_alloc(TLS_ERROR_SIZE);
    }
    if (tls->error != NULL) {
        (void)snprintf(tls->error, TLS_ERROR_SIZE, "%s", text);
    }
}

int
tls_transport_on_verify(int is_good, X509_STORE_CTX *store)
{
    if (is_good == 1) {
        return 1;
    }
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_transport *tls = SSL_get_app_data(ssl);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    char serial[64] = "unknown";
    if (certificate != NULL) {
        BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
        char *text = number != NULL ? BN_bn2hex(number) : NULL;
        (void)snprintf(serial, sizeof(serial), "%s", text != NULL ? text : "unknown");
        OPENSSL_free(text);
        BN_free(number);
    }
    char reason[TLS_ERROR_SIZE];
    (void)snprintf(reason, sizeof(reason), "client certificate %s refused: %s", serial,
                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    tls_transport_set_error(tls, reason);
    return 0;
}

static void
tls_transport_on_progress(const SSL *ssl, int where, int result)
{
    (void)result;
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
    /* What the certificate's key signs, in TLS 1.3 and in 1.2; no cipher that we allow decrypts. */
    bool is_signature = state == TLS_ST_SW_CERT_VRFY || state == TLS_ST_SW_KEY_EXCH;
    if (where == SSL_CB_ACCEPT_LOOP && is_signature) {
        struct tls_transport *tls = SSL_get_app_data(ssl);
        tls->transport.used_private_key = true;
    }
}

/* OpenSSL asks the socket for whatever its buffer has room for, and need not ask for every record:
 * whether it got as much is seen only here. */
static long
tls_transport_on_socket(BIO *socket, int operation, const char *octets, size_t size, int argument,
                        long argument_long, int result, size_t *processed)
{
    (void)octets;
    (void)argument;
    (void)argument_long;
    if (operation == (BIO_CB_READ | BIO_CB_RETURN)) {
        struct tls_transport *tls = (struct tls_transport *)BIO_get_callback_arg(socket);
        tls->transport.is_drained = result <= 0 || *processed < size;
    }
    return result;
}

static void
tls_transport_note_failure(struct tls_transport *tls, int system_error)
{
    unsigned long error = ERR_peek_error();
    const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;
    if (reason != NULL && strcmp(reason, "certificate verify failed") == 0 && tls->error != NULL) {
        return; /* the verification callback said it better */
    }
    if (reason != NULL) {
        tls_transport_set_error(tls, reason);
    } else {
        tls_transport_set_error(tls, system_error != 0 ? strerror(system_error)
                                                       : "the TLS stream is broken");
    }
}

/* What a call that did not succeed means for the event loop. */
static enum status
tls_transport_explain(struct tls_transport *tls, int result)
{
    int system_error = errno;
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        tls->transport.wants = TRANSPORT_WANTS_READ;
        return STATUS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        tls->transport.wants = TRANSPORT_WANTS_WRITE;
        return STATUS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return STATUS_CLOSED;
    default:
        tls_transport_note_failure(tls, system_error);
        ERR_clear_error();
        errno = EPROTO;
        return STATUS_IO;
    }
}

static enum status
tls_transport_handshake(struct transport *transport)
{
    struct tls_transport *tls = tls_transport_of(transport);
    ERR_clear_error();
    errno = 0;
    int result = SSL_accept(tls->ssl);
    return result == 1 ? STATUS_OK : tls_transport_explain(tls, result);
}

static enum status
tls_transport_read(struct transport *transport, uint8_t *out, size_t size, size_t *size_out)
{
    struct tls_transport *tls = tls_transport_of(transport);
    ERR_clear_error();
    errno = 0;
    int result = SSL_read_ex(tls->ssl, out, size, size_out);
    tls->read_ran_dry = result != 1;
    return result == 1 ? STATUS_OK : tls_transport_explain(tls, result);
}

/* Copies `size` octets from behind the first `skip` of `parts`. */
static void
iovec_gather(const struct iovec *parts, size_t skip, uint8_t *out, size_t size)
{
    for (size_t done = 0; done < size; parts++) {
        if (skip >= parts->iov_len) {
            skip -= parts->iov_len;
            continue;
        }
        size_t chunk = parts->iov_len - skip;
        chunk = chunk < size - done ? chunk : size - done;
        memcpy(out + done, (const uint8_t *)parts->iov_base + skip, chunk);
        done += chunk;
        skip = 0;
    }
}

/* The part that holds the octet `skip` positions in, and what of it is left from there. */
static struct bytes
iovec_at(const struct iovec *parts, size_t skip)
{
    while (skip >= parts->iov_len) {
        skip -= parts->iov_len;
        parts++;
    }
    return bytes_make((const uint8_t *)parts->iov_base + skip, parts->iov_len - skip);
}

/* Writes one record's worth from behind the first `skip` octets; small neighbours share a record. A
 * write that has to be repeated is repeated with the size it had. */
static int
tls_transport_write_record(struct tls_transport *tls, const struct iovec *parts, size_t skip,
                           size_t left, size_t *size_out)
{
    size_t size = left < TLS_RECORD_SIZE ? left : TLS_RECORD_SIZE;
    if (tls->retry_size != 0) {
        assert(tls->retry_size <= left);
        size = tls->retry_size;
    }
    uint8_t record[TLS_RECORD_SIZE] UNINITIALIZED; /* most writes have no use for it */
    struct bytes from = iovec_at(parts, skip);
    if (from.size < size) {
        iovec_gather(parts, skip, record, size);
        from.data = record;
    }
    ERR_clear_error();
    errno = 0;
    int result = SSL_write_ex(tls->ssl, from.data, size, size_out);
    tls->retry_size = result == 1 ? 0 : size;
    return result;
}

static enum status
tls_transport_write(struct transport *transport, const struct iovec *parts, int part_count,
                    size_t *size_out)
{
    struct tls_transport *tls = tls_transport_of(transport);
    size_t total = 0;
    for (int i = 0; i < part_count; i++) {
        total += parts[i].iov_len;
    }
    size_t done = 0;
    while (done < total) { /* bounded by what the caller offers */
        size_t written = 0;
        int result = tls_transport_write_record(tls, parts, done, total - done, &written);
        if (result != 1) {
            enum status status = tls_transport_explain(tls, result);
            if (status == STATUS_AGAIN && done > 0) {
                break;
            }
            return status;
        }
        done += written;
    }
    *size_out = done;
    return STATUS_OK;
}

static void
tls_transport_shutdown(struct transport *transport)
{
    struct tls_transport *tls = tls_transport_of(transport);
    ERR_clear_error();
    if (SSL_is_init_finished(tls->ssl) && tls->retry_size == 0) {
        (void)SSL_shutdown(tls->ssl);
    }
    ERR_clear_error();
}

static bool
tls_transport_has_pending(const struct transport *transport)
{
    const struct tls_transport *tls =
        CONTAINER_OF((struct transport *)transport, struct tls_transport, transport);
    return !tls->read_ran_dry && SSL_has_pending(tls->ssl) == 1;
}

static void
tls_transport_describe(const struct transport *transport, struct net_peer *peer)
{
    const struct tls_transport *tls =
        CONTAINER_OF((struct transport *)transport, struct tls_transport, transport);
    peer->is_tls = true;
    (void)snprintf(peer->tls_version, sizeof(peer->tls_version), "%s", SSL_get_version(tls->ssl));
    (void)snprintf(peer->tls_cipher, sizeof(peer->tls_cipher), "%s", SSL_get_cipher_name(tls->ssl));
    const X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    peer->has_certificate = certificate != NULL && SSL_get_verify_result(tls->ssl) == X509_V_OK;
    peer->user[0] = '\0';
    if (peer->has_certificate) {
        tls_name_of(certificate, tls->snapshot->user_from, peer->user, sizeof(peer->user));
    }
}

static const char *
tls_transport_error(const struct transport *transport)
{
    const struct tls_transport *tls =
        CONTAINER_OF((struct transport *)transport, struct tls_transport, transport);
    return tls->error != NULL ? tls->error : "the TLS stream is broken";
}

static void
tls_transport_free(struct transport *transport)
{
    struct tls_transport *tls = tls_transport_of(transport);
    SSL_free(tls->ssl);
    tls_snapshot_unref(&tls->snapshot);
    free(tls->error);
    free(tls);
    ERR_clear_error();
}

struct transport *
tls_transport_new(struct tls_snapshot *snapshot, int fd)
{
    static const struct transport_operations operations = {
        .handshake = tls_transport_handshake,
        .read = tls_transport_read,
        .write = tls_transport_write,
        .shutdown = tls_transport_shutdown,
        .has_pending = tls_transport_has_pending,
        .describe = tls_transport_describe,
        .error = tls_transport_error,
        .free = tls_transport_free,
    };
    ERR_clear_error();
    SSL *ssl = SSL_new(snapshot->ssl);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    struct tls_transport *tls = xalloc(sizeof(*tls));
    tls->transport =
        (struct transport){.operations = &operations, .fd = fd, .wants = TRANSPORT_WANTS_READ};
    tls->ssl = ssl;
    tls->snapshot = tls_snapshot_ref(snapshot);
    SSL_set_app_data(ssl, tls);
    SSL_set_info_callback(ssl, tls_transport_on_progress);
    BIO_set_callback_arg(SSL_get_rbio(ssl), (char *)tls);
    BIO_set_callback_ex(SSL_get_rbio(ssl), tls_transport_on_socket);
    return &tls->transport;
}
