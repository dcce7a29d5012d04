/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of the server as they are in force, for who looks: without topology, users, and
 * anything secret. */
#ifndef BOURSE_MANAGEMENT_MONITOR_EFFECTIVE_CONFIG_H
#define BOURSE_MANAGEMENT_MONITOR_EFFECTIVE_CONFIG_H

#include "config/config.h"

/* JSON, [{"key": "server.frame-max", "value": 131072, "file": "bourse.yaml", "line": 7}, ...],
 * NUL-terminated; the caller frees it. `file` is null where nobody says so, and CONFIG_COMMAND_LINE
 * without a line where the command line does. */
char *effective_config_new(const struct config *config);

#endif
