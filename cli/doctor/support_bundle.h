/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse support-bundle`: what somebody who helps wants to see, without secrets. */
#ifndef BOURSE_CLI_DOCTOR_SUPPORT_BUNDLE_H
#define BOURSE_CLI_DOCTOR_SUPPORT_BUNDLE_H

#include <jansson.h>

#include "cli/command/command.h"

/* Replaces, however deep, what may be secret: values of keys that speak of passwords, hashes,
 * secrets, tokens and private keys, and user and password in addresses. */
void support_mask(json_t *value);

int support_bundle_run(const struct command_line *line, const struct command_io *io);

#endif
