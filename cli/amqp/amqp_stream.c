/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/amqp_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAM_WAIT_MS = 5000, READ_SIZE = 65536, READ_SIZE_MAX = 256 * 1024 };

static enum status
fail(struct amqp_stream *stream, const char *doing, const char *why)
{
    snprintf(stream->error, sizeof(stream->error), "%s: %s", doing, why);
    return STATUS_IO;
}

/* Why OpenSSL refused; what the certificate's check says is told better than "verify failed". */
static enum status
fail_tls(struct amqp_stream *stream, const char *doing)
{
    int cause = errno;
    long verdict = stream->ssl == NULL ? X509_V_OK : SSL_get_verify_result(stream->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    if (verdict != X509_V_OK) {
        return fail(stream, doing, X509_verify_cert_error_string(verdict));
    }
    if (reason != NULL) {
        return fail(stream, doing, reason);
    }
    return fail(stream, doing, cause != 0 ? strerror(cause) : "the broker ended the connection");
}

/* Connecting --------------------------------------------------------------------------------- */

/* Until the socket is ready; false, with errno: it was not in time. */
static bool
wait_for(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int ready = poll(&poll_fd, 1, STREAM_WAIT_MS);
    errno = ready == 0 ? ETIMEDOUT : errno;
    return ready > 0;
}

/* True when it is connected; else errno says why not. */
static bool
connect_to(int fd, const struct addrinfo *place)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (connect(fd, place->ai_addr, place->ai_addrlen) == 0) {
        return true;
    }
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT) ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        return false;
    }
    errno = error;
    return error == 0;
}

static int
open_socket(const struct addrinfo *place)
{
    int on = 1;
    int fd = socket(place->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (!connect_to(fd, place) || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

static enum status
open_tcp(struct amqp_stream *stream, const struct amqp_address *address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *places = NULL;
    int error = getaddrinfo(address->host, address->port, &hints, &places);
    if (error != 0) {
        return fail(stream, "no such host", gai_strerror(error));
    }
    for (const struct addrinfo *at = places; at != NULL && stream->fd < 0; at = at->ai_next) {
        stream->fd = open_socket(at);
    }
    int cause = errno;
    freeaddrinfo(places);
    return stream->fd >= 0 ? STATUS_OK : fail(stream, "nobody answers there", strerror(cause));
}

/* TLS ---------------------------------------------------------------------------------------- */

static enum status
load_files(struct amqp_stream *stream, const struct amqp_address *address)
{
    bool has_authority = address->ca_file == NULL
                             ? SSL_CTX_set_default_verify_paths(stream->tls) == 1
                             : SSL_CTX_load_verify_file(stream->tls, address->ca_file) == 1;
    if (!has_authority) {
        return fail_tls(stream, "certificate authorities cannot be read");
    }
    const char *key = address->key != NULL ? address->key : address->certificate;
    if (address->certificate != NULL &&
        (SSL_CTX_use_certificate_chain_file(stream->tls, address->certificate) != 1 ||
         SSL_CTX_use_PrivateKey_file(stream->tls, key, SSL_FILETYPE_PEM) != 1)) {
        return fail_tls(stream, "certfile or keyfile cannot be read");
    }
    return STATUS_OK;
}

static enum status
make_context(struct amqp_stream *stream, const struct amqp_address *address)
{
    stream->tls = SSL_CTX_new(TLS_client_method());
    if (stream->tls == NULL || SSL_CTX_set_min_proto_version(stream->tls, TLS1_2_VERSION) != 1) {
        return fail_tls(stream, "TLS cannot be made ready");
    }
    SSL_CTX_set_mode(stream->tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(stream->tls, address->is_unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    return load_files(stream, address);
}

/* Names and addresses are looked for in different places of a certificate. */
static bool
expect_host(SSL *ssl, const char *host)
{
    struct in6_addr octets;
    if (inet_pton(AF_INET, host, &octets) == 1 || inet_pton(AF_INET6, host, &octets) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static enum status
shake_hands(struct amqp_stream *stream)
{
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_connect(stream->ssl);
        if (result == 1) {
            return STATUS_OK;
        }
        int why = SSL_get_error(stream->ssl, result);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            return fail_tls(stream, "TLS");
        }
        if (!wait_for(stream->fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) {
            return fail(stream, "TLS", strerror(errno));
        }
    }
}

static enum status
open_tls(struct amqp_stream *stream, const struct amqp_address *address)
{
    enum status status = make_context(stream, address);
    if (status != STATUS_OK) {
        return status;
    }
    stream->ssl = SSL_new(stream->tls);
    if (stream->ssl == NULL || SSL_set_fd(stream->ssl, stream->fd) != 1 ||
        !expect_host(stream->ssl, address->host)) {
        return fail_tls(stream, "TLS cannot be made ready");
    }
    return shake_hands(stream);
}

enum status
amqp_stream_open(struct amqp_stream *stream, const struct amqp_address *address)
{
    *stream = (struct amqp_stream){.fd = -1};
    enum status status = open_tcp(stream, address);
    if (status == STATUS_OK && address->is_tls) {
        status = open_tls(stream, address);
    }
    return status;
}

void
amqp_stream_close(struct amqp_stream *stream)
{
    if (stream->ssl != NULL) {
        ERR_clear_error();
        SSL_shutdown(stream->ssl); /* best effort: nobody waits for the answer */
        SSL_free(stream->ssl);
    }
    SSL_CTX_free(stream->tls);
    if (stream->fd >= 0) {
        close(stream->fd);
    }
    *stream = (struct amqp_stream){.fd = -1};
}

/* Octets ------------------------------------------------------------------------------------- */

static enum status
explain_tls(struct amqp_stream *stream)
{
    switch (SSL_get_error(stream->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return STATUS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        stream->wants_write = true;
        return STATUS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return STATUS_CLOSED;
    default:
        return fail_tls(stream, "TLS");
    }
}

static enum status
explain_tcp(struct amqp_stream *stream, const char *doing)
{
    bool is_later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return is_later ? STATUS_AGAIN : fail(stream, doing, strerror(errno));
}

static enum status
read_some(struct amqp_stream *stream, uint8_t *out, size_t size, size_t *size_out)
{
    if (stream->ssl != NULL) {
        ERR_clear_error();
        errno = 0;
        stream->wants_write = false;
        return SSL_read_ex(stream->ssl, out, size, size_out) == 1 ? STATUS_OK : explain_tls(stream);
    }
    ssize_t count = recv(stream->fd, out, size, 0);
    *size_out = count < 0 ? 0 : (size_t)count;
    return count > 0 ? STATUS_OK : count == 0 ? STATUS_CLOSED : explain_tcp(stream, "reading");
}

enum status
amqp_stream_read(struct amqp_stream *stream, struct buffer *input)
{
    size_t total = 0;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && total < READ_SIZE_MAX) {
        size_t size = 0;
        uint8_t *at = buffer_reserve(input, READ_SIZE);
        if (at == NULL) {
            return fail(stream, "reading", "there is no memory left");
        }
        status = read_some(stream, at, READ_SIZE, &size);
        buffer_commit(input, size);
        total += size;
    }
    return total > 0 ? STATUS_OK : status;
}

static enum status
write_some(struct amqp_stream *stream, struct bytes octets, size_t *size_out)
{
    if (stream->ssl != NULL) {
        ERR_clear_error();
        errno = 0;
        stream->wants_write = false;
        bool is_written = SSL_write_ex(stream->ssl, octets.data, octets.size, size_out) == 1;
        return is_written ? STATUS_OK : explain_tls(stream);
    }
    ssize_t count = send(stream->fd, octets.data, octets.size, MSG_NOSIGNAL);
    *size_out = count < 0 ? 0 : (size_t)count;
    return count >= 0 ? STATUS_OK : explain_tcp(stream, "writing");
}

enum status
amqp_stream_write(struct amqp_stream *stream, struct buffer *output)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && buffer_size(output) > 0) {
        size_t size = 0;
        status = write_some(stream, buffer_bytes(output), &size);
        buffer_consume(output, size);
    }
    return status;
}
