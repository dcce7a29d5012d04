/* SPDX-License-Identifier: Apache-2.0 */
/* Where a broker that is spoken to in AMQP is, as an address of RabbitMQ's form says it:
 *
 *     amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST[/QUEUE]][?SETTING=VALUE&...]
 *
 * Names are percent-encoded. Where a queue is named a single segment is the queue, and the virtual
 * host is "/". Settings, as in RabbitMQ's clients: cacertfile, certfile, keyfile,
 * verify=verify_none|verify_peer. Instead of the address itself "env:NAME" names the environment
 * variable that holds it, "@FILE" the file that does as its one line: so no password is on the
 * command line, where every user of the machine can read it. */
#ifndef BOURSE_CLI_AMQP_AMQP_ADDRESS_H
#define BOURSE_CLI_AMQP_AMQP_ADDRESS_H

#include "cli/command/command.h"

/* All text is owned. */
struct amqp_address {
    bool is_tls;
    bool is_unverified; /* who answers is not asked to prove who it is */
    char *host;
    char *port;
    char *user;     /* NULL: none was said; guest then, or the certificate's */
    char *password; /* NULL: none was said */
    char *vhost;
    char *queue; /* NULL: none was said */
    char *ca_file, *certificate, *key;
    char *shown; /* the address for people: without password and settings */
};

/* Reads `text`. `names_queue`: the path ends in a queue, and must. A password that is missing for a
 * user who is named is asked for on a terminal. COMMAND_OK, or what was reported; a password that
 * stands in `text` is overwritten there, so that listing processes does not show it for long. */
int amqp_address_read(struct amqp_address *address, const char *text, bool names_queue,
                      const struct command_io *io);
void amqp_address_fini(struct amqp_address *address);

#endif
