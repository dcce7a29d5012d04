/* SPDX-License-Identifier: Apache-2.0 */
/* The sections `policies` and `operator-policies`. What keys mean and what they may be is known to
 * the queues, and judged where a configuration is examined (broker/plan/examine.h). */
#ifndef BOURSE_CONFIG_POLICIES_H
#define BOURSE_CONFIG_POLICIES_H

#include "config/document.h"

/* Fills config->policies. An exchange that a definition names and the files do not declare is a
 * warning: clients may declare it. */
void policies_compile(struct config *config, const struct document *document);

#endif
