/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration file declares, as definitions. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_CONFIG_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_CONFIG_H

#include "config/config.h"
#include "management/definitions/definitions.h"

/* Adds the one vhost of the configuration with all it has. Passwords that are in files and
 * variables stay out, with a warning: such a user has a hash that nobody knows. */
void definitions_add_config(struct definitions *definitions, const struct config *config);

/* The tags of RabbitMQ that a role stands for; ends with NULL. */
const char *const *definitions_role_tags(enum config_role role);

#endif
