/* SPDX-License-Identifier: Apache-2.0 */
/* A client of any AMQP 0-9-1 broker, over the codec of amqp/: one connection with one channel.
 * Opening and calls wait for the broker; after that octets go in and out in amqp_clients_wait, and
 * what has come is taken with amqp_client_next. A message's properties are handed over as the
 * octets that they came in, so that passing them on keeps every type and their order.
 *
 * Whatever goes wrong is told once, with the client's role in front, and becomes an exit status. */
#ifndef BOURSE_CLI_AMQP_AMQP_CLIENT_H
#define BOURSE_CLI_AMQP_AMQP_CLIENT_H

#include "amqp/method.h"
#include "cli/amqp/amqp_address.h"

struct amqp_client;

/* What has come: a method, and of a message its content. Views live until the next call. */
struct amqp_event {
    struct method method;
    struct bytes properties, body;
};

/* Connects, logs in, opens the virtual host and a channel. `role` is what the broker is called in
 * messages ("source"); it, `address` and `io` are borrowed. */
int amqp_client_open(struct amqp_client **client_out, const struct amqp_address *address,
                     const char *role, const struct command_io *io)
    __attribute__((warn_unused_result));

/* Says goodbye, and waits a moment for the answer, unless the connection has failed. */
void amqp_client_close(struct amqp_client **client);

/* Sends a method and waits for its answer, while nothing else is under way on the channel.
 * `answer_out` may be NULL. */
int amqp_client_call(struct amqp_client *client, const struct method *request,
                     enum method_id answer, struct method *answer_out)
    __attribute__((warn_unused_result));

/* Puts into the output, which amqp_clients_wait sends. `properties` is a property block. */
void amqp_client_send(struct amqp_client *client, const struct method *method);
void amqp_client_publish(struct amqp_client *client, const struct basic_publish *publish,
                         struct bytes properties, struct bytes body);

/* Takes the next event that is here whole. COMMAND_OK, with `*has_event_out`, or what was reported:
 * the broker has closed channel or connection, or the connection is broken. */
int amqp_client_next(struct amqp_client *client, struct amqp_event *event, bool *has_event_out)
    __attribute__((warn_unused_result));

/* Waits at most `timeout_ms` until one of them can read or write, and lets them; heartbeats go out.
 * No octets are read for a client of which `READ_AHEAD_MAX` are there already. */
int amqp_clients_wait(struct amqp_client *const *clients, size_t count, int timeout_ms)
    __attribute__((warn_unused_result));

/* Octets that the socket has not taken yet. */
size_t amqp_client_output_size(const struct amqp_client *client);

/* Whether both are connected to the same address and port, and so to the same broker; false where
 * that cannot be known. */
bool amqp_clients_share_peer(const struct amqp_client *one, const struct amqp_client *other);

/* True while the broker has told that it blocks publishers. */
bool amqp_client_is_blocked(const struct amqp_client *client);

/* One line: the role, the address, and what is said. Returns `status`. */
int amqp_client_error(const struct amqp_client *client, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Milliseconds of a clock that never goes back. */
uint64_t amqp_client_now_ms(void);

#endif
