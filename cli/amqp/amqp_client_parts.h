/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the AMQP client share: amqp_client.c connects and turns it, amqp_client_input.c
 * makes events of what comes. */
#ifndef BOURSE_CLI_AMQP_AMQP_CLIENT_PARTS_H
#define BOURSE_CLI_AMQP_AMQP_CLIENT_PARTS_H

#include "cli/amqp/amqp_client.h"
#include "cli/amqp/amqp_stream.h"

enum { AMQP_CHANNEL = 1 };

/* A content of which the method has come. */
struct assembly {
    bool is_open;
    bool has_header;
    uint64_t body_left;
    struct buffer method, properties, body;
};

struct amqp_client {
    struct amqp_stream stream;
    const struct amqp_address *address;
    const char *role;
    const struct command_io *io;
    struct buffer input, output;
    struct buffer scratch; /* a method that is being written */
    struct assembly content;
    uint32_t frame_max;
    uint64_t heartbeat_ms; /* 0: none */
    uint64_t heard_ms, told_ms;
    bool is_blocked;
    bool is_leaving; /* the goodbye is said: what goes wrong now matters to nobody */
    bool is_broken;
};

/* It is broken: says why, once, and returns the exit status. */
int amqp_client_break_off(struct amqp_client *client, const char *why);

/* Puts a method into the output. */
void amqp_client_send_on(struct amqp_client *client, uint16_t channel, const struct method *method);

#endif
