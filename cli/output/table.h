/* SPDX-License-Identifier: Apache-2.0 */
/* Tables by libsmartcols, which is opened when one is printed. */
#ifndef BOURSE_CLI_OUTPUT_TABLE_H
#define BOURSE_CLI_OUTPUT_TABLE_H

#include "cli/output/output.h"

/* Prints the rows under their titles. Returns COMMAND_OK, or what was reported. */
int table_print(const struct output *output, const struct column *columns, size_t column_count,
                const json_t *rows);

#endif
