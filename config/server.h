/* SPDX-License-Identifier: Apache-2.0 */
/* From what the files say about the server itself to its settings, with their defaults. */
#ifndef BOURSE_CONFIG_SERVER_H
#define BOURSE_CONFIG_SERVER_H

#include "config/document.h"

void server_set_defaults(struct config_server *server);

/* Fills config->server from the files; problems go to the report. */
void server_compile(struct config *config, const struct document *document);

#endif
