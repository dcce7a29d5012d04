/* SPDX-License-Identifier: Apache-2.0 */
/* Every state that a crash could leave: a run is recorded call by call, and recovery is run on each
 * prefix of it with all, none and random parts of what was not flushed, files torn and names
 * reordered. What it finds is judged by the history, as in any other run. Some states are left by
 * another crash right behind that recovery, and must give the same again. */
#ifndef BOURSE_TESTS_SIM_ENUMERATE_H
#define BOURSE_TESTS_SIM_ENUMERATE_H

#include "tests/sim/history.h"
#include "tests/sim/mutant.h"

struct enumeration {
    uint64_t seed;
    enum mutant mutant;
    uint32_t operation_count; /* of clients, while calls are recorded */
    uint32_t crash_count;     /* before; 0: the recording begins with the first start */
    uint32_t random_count;    /* random states of each prefix */
    uint32_t stride;          /* of prefixes; 1: every one */

    /* What came of it. */
    uint64_t call_count;  /* recorded */
    uint64_t state_count; /* recovered */
    char wrong[HISTORY_TEXT_SIZE];
};

/* False: a state breaks a promise; `enumeration->wrong` says which. */
bool enumerate(struct enumeration *enumeration);

#endif
