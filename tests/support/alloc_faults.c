/* SPDX-License-Identifier: Apache-2.0 */
/* The definition that base/alloc.c refers to weakly. */
#include "tests/support/alloc_faults.h"

#include "base/alloc.h"

/* Try-allocations of this thread left until the one that fails; 0: none does. */
static _Thread_local uint32_t countdown;
static _Thread_local bool is_on_hold;

void
alloc_faults_plan(uint32_t nth)
{
    countdown = nth;
}

uint32_t
alloc_faults_left(void)
{
    return countdown;
}

bool
alloc_faults_hold(bool hold)
{
    bool was_on_hold = is_on_hold;
    is_on_hold = hold;
    return was_on_hold;
}

bool
alloc_fault_is_due(void)
{
    if (countdown == 0 || is_on_hold) {
        return false;
    }
    countdown--;
    return countdown == 0;
}
