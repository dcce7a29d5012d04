/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of the server as they are in force, for who looks: without topology, users, and
 * anything secret. */
#ifndef BOURSE_MANAGEMENT_EFFECTIVE_CONFIG_H
#define BOURSE_MANAGEMENT_EFFECTIVE_CONFIG_H

#include "config/config.h"

/* JSON, [{"key": "server.frame-max", "value": 131072}, ...], NUL-terminated; the caller frees it.
 */
char *effective_config_new(const struct config *config);

#endif
