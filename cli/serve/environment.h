/* SPDX-License-Identifier: Apache-2.0 */
/* Variables by which a service manager speaks to the process. */
#ifndef BOURSE_CLI_SERVE_ENVIRONMENT_H
#define BOURSE_CLI_SERVE_ENVIRONMENT_H

#include "config/config.h"

/* NULL: it is not set. */
const char *environment_text(const struct config_environment *environment, const char *name);

/* The number that a value is, of at most 18 digits; false: it is none. */
bool environment_number(const char *value, uint64_t *number_out);

#endif
