/* SPDX-License-Identifier: Apache-2.0 */
/* The octets of one connection to a broker: TCP, or TLS that asks the broker to prove who it is.
 * The socket does not block; opening does, for some seconds at most. */
#ifndef BOURSE_CLI_AMQP_AMQP_STREAM_H
#define BOURSE_CLI_AMQP_AMQP_STREAM_H

#include <openssl/types.h>

#include "base/buffer.h"
#include "cli/amqp/amqp_address.h"

enum { STREAM_ERROR_SIZE = 256 };

struct amqp_stream {
    int fd;           /* owned; -1: closed */
    SSL_CTX *tls;     /* owned; NULL: plain */
    SSL *ssl;         /* owned */
    bool wants_write; /* TLS waits until the socket takes octets, whatever it was to do */
    char error[STREAM_ERROR_SIZE]; /* why the last call failed */
};

/* Connects, and shakes hands. STATUS_OK, or STATUS_IO with stream->error. */
MUST_CHECK enum status amqp_stream_open(struct amqp_stream *stream,
                                        const struct amqp_address *address);
void amqp_stream_close(struct amqp_stream *stream);

/* Appends what has come, 256 KiB at most. STATUS_AGAIN: nothing has; STATUS_CLOSED: the broker has
 * ended the stream; STATUS_IO with stream->error. */
MUST_CHECK enum status amqp_stream_read(struct amqp_stream *stream, struct buffer *input);

/* Writes from the front of `output` what the socket takes, and consumes it. */
MUST_CHECK enum status amqp_stream_write(struct amqp_stream *stream, struct buffer *output);

#endif
