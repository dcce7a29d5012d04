/* SPDX-License-Identifier: Apache-2.0 */
/* The definition that base/alloc.c refers to weakly. */
#include "tests/support/alloc_faults.h"

#include "base/alloc.h"

/* Try-allocations left until the one that fails; 0: none does. */
static uint32_t countdown;

void
alloc_faults_plan(uint32_t nth)
{
    countdown = nth;
}

bool
alloc_fault_is_due(void)
{
    if (countdown == 0) {
        return false;
    }
    countdown--;
    return countdown == 0;
}
