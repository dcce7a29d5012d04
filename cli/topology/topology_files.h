/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files on their way to a running broker. Passwords that they leave in other files or
 * in variables are read here, where the operator is, and travel as hashes. */
#ifndef BOURSE_CLI_TOPOLOGY_TOPOLOGY_FILES_H
#define BOURSE_CLI_TOPOLOGY_TOPOLOGY_FILES_H

#include <jansson.h>

#include "cli/client/client.h"
#include "config/config.h"

/* The body {"files": [...]} of a request, the caller's; NULL: what is wrong was printed.
 * `*config_out` is the configuration that the files are, for topology_put_passwords; the caller
 * frees it. */
json_t *topology_read_files(char *const *paths, size_t path_count, struct config **config_out,
                            const struct command_io *io);

/* Adds "passwords": hashes of those that the broker does not have, as far as it may be asked
 * (client_is_password_of), with the salts of an object by user (NULL: none are known), so that one
 * that has not changed gives the hash that the broker has. COMMAND_OK, or what was reported. */
int topology_put_passwords(struct client *client, json_t *body, const struct config *config,
                           const json_t *salts, const struct command_io *io);

#endif
