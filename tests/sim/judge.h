/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what a recovery has found with a history that goes on after the place where the log was
 * cut: nothing of the history changes but its wrongs. */
#ifndef BOURSE_TESTS_SIM_JUDGE_H
#define BOURSE_TESTS_SIM_JUDGE_H

#include "tests/sim/found.h"
#include "tests/sim/history.h"

/* `promised`: everything below was answered or confirmed before the crash. */
void judge_found(struct history *history, const struct found *found, uint64_t cut,
                 uint64_t promised);

#endif
