/* SPDX-License-Identifier: Apache-2.0 */
/* Finds exchanges that lead back to themselves over `from` and `unrouted`. The broker visits an
 * exchange once per message, so a cycle is harmless; but hardly ever was it meant. */
#ifndef BOURSE_CONFIG_CYCLES_H
#define BOURSE_CONFIG_CYCLES_H

#include "config/document.h"

/* Reports one warning for each edge that closes a cycle in a walk in the order of the files. The
 * exchanges and bindings of `config` are complete. */
void cycles_report(struct config *config, const struct document *document);

#endif
