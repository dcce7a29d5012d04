/* SPDX-License-Identifier: Apache-2.0 */
/* From what the files say about listeners to addresses and TLS settings. */
#ifndef BOURSE_CONFIG_LISTENERS_H
#define BOURSE_CONFIG_LISTENERS_H

#include "config/document.h"

/* Fills the listeners of `config`; problems go to its report. */
void listeners_compile(struct config *config, const struct document *document,
                       enum config_purpose purpose);

/* A listener's one address from a text that config_parse_address accepts. */
void listener_set_address(struct config *config, enum config_listener_kind kind, const char *text,
                          struct config_mark mark);

#endif
