/* SPDX-License-Identifier: Apache-2.0 */

/* One connection to the broker, with one open channel: TCP or TLS, login, and whole frames out of
 * the bytes that arrive. Opening, requests and closing block; once link_set_nonblocking() was
 * called, link_read() and link_write() do not.
 *
 * Whatever the broker refuses ends the program with the broker's own code and text. */

#ifndef BENCH_LOADGEN_LINK_H
#define BENCH_LOADGEN_LINK_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/loadgen_options.h"
#include "bench/wire.h"

enum { LINK_CHANNEL = 1 };

struct link {
    int fd;
    SSL *ssl;           /* NULL on plain TCP */
    const char *role;   /* "producer" and so on, for messages to a person; borrowed */
    uint32_t frame_max; /* as tuned; bodies are cut into pieces of frame_max - 8 */
    uint8_t *input;     /* owned; NULL after link_release_input() */
    size_t input_start;
    size_t input_end;
    bool nonblocking;
    uint64_t blocked_count; /* connection.blocked seen */
};

/* Makes the TLS settings that every link of a run shares. NULL if the options ask for plain TCP.
 * The caller frees them with SSL_CTX_free(). */
SSL_CTX *link_tls_new(const struct options *options);

/* Connects, logs in and opens channel 1. `role` and `options` are borrowed; `tls` may be NULL. */
void link_open(struct link *link, const struct options *options, SSL_CTX *tls, const char *role);

/* Sends a method that has an answer and waits for it. `request` holds one whole frame or several,
 * of which only the last has an answer. Returns the answer, valid until the next read. */
struct wire_frame link_request(struct link *link, const struct wire_writer *request,
                               enum wire_method answer);

/* Sends bytes and waits until the kernel has taken all of them. */
void link_send(struct link *link, const uint8_t *bytes, size_t length);

void link_set_nonblocking(struct link *link);

/* Reads what has arrived, as far as there is room behind the bytes not yet taken as frames.
 * Returns the number of bytes, and zero if none are there now. */
size_t link_read(struct link *link);

/* Writes as much as the socket takes now and returns how much that was, zero included. Over TLS,
 * after a partial write, the next call must offer the same bytes again from where it ended. */
size_t link_write(struct link *link, const uint8_t *bytes, size_t length);

/* Takes the next whole frame out of the input. Heartbeats, connection.blocked and unblocked are
 * dealt with here and never returned. False: more has to be read first. */
bool link_next_frame(struct link *link, struct wire_frame *frame_out);

/* Ends the program with the broker's code and text if `frame` is a connection.close, channel.close
 * or basic.cancel, or with its method's number if it is anything else: call it for every frame
 * that has no business here. */
_Noreturn void link_refuse_frame(const struct link *link, const struct wire_frame *frame);

/* The method a frame carries, or zero if it is not a method frame. */
uint32_t link_method_of(const struct wire_frame *frame);

/* Gives the input buffer back; for connections that only sit there. link_close() still works. */
void link_release_input(struct link *link);

/* Closes the connection in the protocol's words, waits for the broker's answer and frees all. */
void link_close(struct link *link);

#endif
