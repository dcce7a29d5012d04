/* SPDX-License-Identifier: Apache-2.0 */
/* Makes try_alloc and try_realloc (base/alloc.h) fail when a test wants them to. All of it is about
 * the thread that calls: what the threads of a data directory allocate meanwhile neither fails nor
 * counts. */
#ifndef BOURSE_TESTS_SUPPORT_ALLOC_FAULTS_H
#define BOURSE_TESTS_SUPPORT_ALLOC_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* The `nth` try-allocation from here on fails, once; 1 is the next one, 0 calls it off. Each test
 * runs in a process of its own, so nobody else notices. */
void alloc_faults_plan(uint32_t nth);

/* How many try-allocations are left until the planned one; 0 when it has failed, or none is
 * planned.
 */
uint32_t alloc_faults_left(void);

/* While on hold, allocations neither fail nor count: for what the test allocates itself. Returns
 * whether they were on hold before. */
bool alloc_faults_hold(bool hold);

#endif
