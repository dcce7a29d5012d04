/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a configuration as `serve` does before it opens a socket, and `check` does to tell. */
#ifndef BOURSE_CLI_FILES_LOAD_H
#define BOURSE_CLI_FILES_LOAD_H

#include "config/config.h"

#include <stdio.h>

/* Reads the files and lets the broker's own parts judge what only they can: x-arguments of queues
 * and of bindings. Never NULL; use it only when report.error_count is 0. */
struct config *load_config(char *const *paths, size_t path_count, enum config_purpose purpose);

/* The same of texts that were read already. */
struct config *load_config_texts(const struct config_source *texts, size_t count,
                                 enum config_purpose purpose);

/* One line per diagnostic. */
void load_print_report(const struct config *config, FILE *out);

#endif
