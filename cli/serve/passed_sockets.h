/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that a service manager has opened and passes on (systemd.socket(5)): while the
 * broker restarts they stay open there, and whoever connects waits in the kernel's backlog. */
#ifndef BOURSE_CLI_SERVE_PASSED_SOCKETS_H
#define BOURSE_CLI_SERVE_PASSED_SOCKETS_H

#include "config/config.h"

enum { PASSED_SOCKET_FIRST = 3, PASSED_SOCKETS_MAX = 64 };

/* Gives each socket that the environment (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES) tells of to a
 * listener of `config`: those that are called like a listener (FileDescriptorName=amqps) take the
 * place of all its addresses; any other belongs to the listener that has its address and port.
 * `first_fd` is the descriptor of the first one. False, with the reason in one line, when one
 * belongs to nobody, is no listening socket of TCP, or the environment makes no sense. */
bool passed_sockets_adopt(struct config *config, const struct config_environment *environment,
                          int first_fd, char *why, size_t why_size);

#endif
