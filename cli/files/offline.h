/* SPDX-License-Identifier: Apache-2.0 */
/* A core that serves nobody, made from configuration files: what a broker with these files and an
 * empty data directory would have. Questions to it need no server. */
#ifndef BOURSE_CLI_FILES_OFFLINE_H
#define BOURSE_CLI_FILES_OFFLINE_H

#include "broker/core/core.h"
#include "cli/command/command.h"

struct offline {
    struct config *config;
    struct core *core;
};

/* Reads the files, printing what is wrong with them to io->err (warnings only if `with_warnings`),
 * and makes what they declare. False: there are errors, and nothing is left to be released. */
bool offline_open(struct offline *offline, char *const *paths, size_t path_count,
                  bool with_warnings, const struct command_io *io);
void offline_close(struct offline *offline);

#endif
