/* SPDX-License-Identifier: Apache-2.0 */
/* What only the broker's own parts can judge in a configuration: x-arguments of queues, arguments
 * of bindings, expressions. Asking them here means that no rule is written down twice and that
 * `check` refuses what `serve` would. */
#ifndef BOURSE_BROKER_PLAN_EXAMINE_H
#define BOURSE_BROKER_PLAN_EXAMINE_H

#include "config/config.h"

/* Adds errors to the report, unsorted. A configuration that already has errors may be examined. */
void examine_config(struct config *config);

#endif
