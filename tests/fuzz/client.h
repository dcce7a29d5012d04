/* SPDX-License-Identifier: Apache-2.0 */
/* A client at the far end of a transport that lies in memory, and what it checks of all that the
 * broker sends: whole frames within the agreed size, methods that a server may send, contents in
 * order and of the announced size, nothing behind the end. */
#ifndef BOURSE_TESTS_FUZZ_CLIENT_H
#define BOURSE_TESTS_FUZZ_CLIENT_H

#include "amqp/method.h"
#include "base/buffer.h"
#include "net/transport.h"

struct client {
    uint32_t connection;    /* counts; a transport of an earlier one leads nowhere any more */
    int bell;               /* our end of the socket that wakes the broker; -1: not connected */
    uint16_t port;          /* of the socket that it connects with, in network order */
    struct buffer sent;     /* not yet read by the broker */
    struct buffer received; /* the front of a frame that is not complete */
    size_t read_max;        /* octets that one read brings */
    uint32_t frame_max;
    bool has_ended; /* our side of the stream */
    bool is_stuck;
    bool answers; /* sends close-ok where one is due, and opens a channel anew */
    bool heard_close;
    uint16_t content_channel; /* while a content is coming */
    bool header_is_due;
    uint64_t body_left;
    uint32_t method_counts[METHOD_COUNT]; /* heard so far */
};

/* Ready to be connected. */
void client_init(struct client *client);
void client_fini(struct client *client);

/* As new, and as the next connection: what the broker still writes to the last one is lost. */
void client_renew(struct client *client);

/* A transport that ends at the client whose address `*context` holds when a socket is accepted. */
struct transport_factory client_factory(struct client **accepted);

void client_send(struct client *client, struct bytes octets);
void client_send_method(struct client *client, uint16_t channel, const struct method *method);

/* Wakes the broker: there is something to read, or room to write. */
void client_ring(struct client *client);

/* True when nothing that is sent will be heard: it is not connected, or one side has said good-bye.
 */
bool client_is_over(const struct client *client);

/* Ends our side of the stream. */
void client_hang_up(struct client *client);

#endif
