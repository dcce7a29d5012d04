/* SPDX-License-Identifier: Apache-2.0 */
/* Ways of messages in a configuration that hardly anybody meant: queues that nobody can reach, and
 * dead letters that come back to where they died. Both are warnings: another file may lead there,
 * and what goes round may be meant to. */
#ifndef BOURSE_BROKER_PLAN_EXAMINE_WAYS_H
#define BOURSE_BROKER_PLAN_EXAMINE_WAYS_H

#include "broker/core/core.h"
#include "config/config.h"

/* The configuration has no errors; `core` serves nobody and has its users. */
void examine_ways(struct config *config, struct core *core);

#endif
