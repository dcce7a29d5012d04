/* SPDX-License-Identifier: Apache-2.0 */

#include "bench/relay_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

SSL_CTX *
stream_tls_new(const char *certificate, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL) {
        return NULL;
    }
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        SSL_CTX_free(tls);
        return NULL;
    }
    return tls;
}

bool
stream_open(struct stream *stream, int fd, SSL_CTX *tls)
{
    *stream = (struct stream){.fd = fd};
    if (tls == NULL) {
        return true;
    }
    stream->ssl = SSL_new(tls);
    if (stream->ssl == NULL || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        SSL_set_fd(stream->ssl, fd) != 1) {
        stream_close(stream);
        return false;
    }
    SSL_set_accept_state(stream->ssl);
    return true;
}

void
stream_close(struct stream *stream)
{
    SSL_free(stream->ssl);
    ERR_clear_error();
    close(stream->fd);
    *stream = (struct stream){.fd = -1};
}

static enum stream_got
stream_read_plain(const struct stream *stream, uint8_t *out, size_t size, size_t *length_out)
{
    ssize_t length = recv(stream->fd, out, size, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN) {
        return STREAM_GOT_NOTHING;
    }
    *length_out = length > 0 ? (size_t)length : 0;
    return length > 0 ? STREAM_GOT_OCTETS : STREAM_GOT_END;
}

/* Whether a call of OpenSSL failed only because the socket was not ready. */
static bool
stream_is_later(const struct stream *stream)
{
    int why = SSL_get_error(stream->ssl, 0);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* A record holds at most 16 KiB, so several are read at a time. */
static enum stream_got
stream_read_tls(struct stream *stream, uint8_t *out, size_t size, size_t *length_out)
{
    size_t total = 0;
    size_t length;
    while (total < size && SSL_read_ex(stream->ssl, out + total, size - total, &length) == 1) {
        total += length;
    }
    stream->has_more = total == size;
    *length_out = total;
    if (total > 0) {
        return STREAM_GOT_OCTETS;
    }
    return stream_is_later(stream) ? STREAM_GOT_NOTHING : STREAM_GOT_END;
}

enum stream_got
stream_read(struct stream *stream, uint8_t *out, size_t size, size_t *length_out)
{
    return stream->ssl == NULL ? stream_read_plain(stream, out, size, length_out)
                               : stream_read_tls(stream, out, size, length_out);
}

size_t
stream_write(struct stream *stream, const uint8_t *octets, size_t size)
{
    if (stream->ssl == NULL) {
        ssize_t written = send(stream->fd, octets, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        return written > 0 ? (size_t)written : 0;
    }
    size_t written;
    if (SSL_write_ex(stream->ssl, octets, size, &written) != 1) {
        ERR_clear_error();
        return 0;
    }
    return written;
}
