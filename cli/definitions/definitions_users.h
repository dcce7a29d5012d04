/* SPDX-License-Identifier: Apache-2.0 */
/* The users of a vhost, as the section `users` of a configuration file. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_USERS_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_USERS_H

#include "cli/definitions/definitions_known.h"

#include <stdio.h>

/* Writes those who have rights in the vhost; with the first of the definitions' vhosts, those who
 * have rights nowhere, too. Warns of what gets lost. */
void definitions_write_users(struct definitions *definitions, const struct known *known, FILE *out);

#endif
