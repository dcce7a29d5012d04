/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions of a vhost as a graph in Graphviz's language. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_DOT_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_DOT_H

#include "management/definitions/definitions.h"

#include <stdio.h>

/* Exchanges as boxes, queues as cylinders; bindings as arrows with their keys, alternate and
 * dead-letter exchanges as dashed ones. */
void definitions_write_dot(const struct definitions *definitions, struct bytes vhost, FILE *out);

#endif
