/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions as a configuration file: queue-centred, words instead of x-arguments where they have
 * one, rights in words where they are equal. A file is about one vhost. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_YAML_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_YAML_H

#include "management/definitions/definitions.h"

#include <stdio.h>

/* Writes the file of `vhost`. What it cannot say is left out, with a warning in `definitions`.
 * Users come with the vhosts in which they have rights; those who have none anywhere with that
 * which is the first. */
void definitions_write_yaml(struct definitions *definitions, struct bytes vhost, FILE *out);

#endif
