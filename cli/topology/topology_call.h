/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of a running broker: asked for, shown, agreed to and carried out. */
#ifndef BOURSE_CLI_TOPOLOGY_TOPOLOGY_CALL_H
#define BOURSE_CLI_TOPOLOGY_TOPOLOGY_CALL_H

#include "cli/client/client.h"
#include "config/config.h"

/* Posts `body` and takes what comes back, which the caller releases. A 422 is printed line by line;
 * with a 409 (COMMAND_FAILED) the plan that is refused, and why. */
int topology_post(struct client *client, const char *path, const json_t *body, json_t **answer_out,
                  const struct command_io *io);

/* The plan of what `body` holds; `config` is what its files are, and its passwords are put into the
 * body with the salts that the broker knows. */
int topology_plan(struct client *client, json_t *body, const struct config *config,
                  json_t **plan_out, const struct command_io *io);

/* Prints a plan, or drift: the text that came with it. */
void topology_print(const json_t *plan, FILE *out);

/* How many steps a plan has, kept or not. */
json_int_t topology_step_count(const json_t *plan);

/* Shows what would be done and does it, if it can be and somebody agrees: --yes, or a yes on the
 * terminal. Nothing to do needs no agreement, nor does a `body` that has the digest of a plan which
 * was looked at before. An answer is to the plan that is shown, and to no other; --yes is to
 * whatever there is to do. */
int topology_carry_out(struct client *client, const char *path, json_t *body, const json_t *plan,
                       bool says_yes, const struct command_line *line, const struct command_io *io);

#endif
