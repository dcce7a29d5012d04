/* SPDX-License-Identifier: Apache-2.0 */
/* The manual pages besides bourse(1), in roff. */
#ifndef BOURSE_CLI_MANUAL_MAN_PAGES_H
#define BOURSE_CLI_MANUAL_MAN_PAGES_H

#include <stdio.h>

void man_put_server(FILE *out);   /* bourse(8) */
void man_put_file(FILE *out);     /* bourse.yaml(5) */
void man_put_topology(FILE *out); /* bourse-topology(5) */

#endif
