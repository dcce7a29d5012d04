/* SPDX-License-Identifier: Apache-2.0 */

/* One socket of the relay, with or without TLS, as octets in and out. Neither call blocks. */

#ifndef BENCH_RELAY_STREAM_H
#define BENCH_RELAY_STREAM_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct stream {
    int fd;        /* owned */
    SSL *ssl;      /* owned; NULL: plain TCP */
    bool has_more; /* TLS may hold octets that the socket will not announce */
};

/* What all TLS streams share: PEM files of a certificate and its key. NULL: one of them is not
 * usable; OpenSSL's error queue says why. */
SSL_CTX *stream_tls_new(const char *certificate, const char *key);

/* Takes over an accepted socket. False when there is no memory; the socket is then closed. */
bool stream_open(struct stream *stream, int fd, SSL_CTX *tls);
void stream_close(struct stream *stream);

enum stream_got {
    STREAM_GOT_OCTETS,
    STREAM_GOT_NOTHING, /* until it is readable again */
    STREAM_GOT_END,     /* the peer has closed, or broke TLS */
};

/* Reads up to `size` octets, a TLS handshake that is due included. */
enum stream_got stream_read(struct stream *stream, uint8_t *out, size_t size, size_t *length_out);

/* Returns how many of `size` octets were taken; 0: none now. A broken stream shows when it is read.
 */
size_t stream_write(struct stream *stream, const uint8_t *octets, size_t size);

#endif
