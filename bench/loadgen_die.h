/* SPDX-License-Identifier: Apache-2.0 */

/* How the load generator fails: one line on standard error, exit status 1, no figure. A run that
 * met an error has nothing to report, so there is no error to hand upwards. */

#ifndef BENCH_LOADGEN_DIE_H
#define BENCH_LOADGEN_DIE_H

#include <stddef.h>

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* As die(), with the text of errno. */
_Noreturn void die_errno(const char *what);

/* calloc() that ends the program when there is no memory. Zero items give a pointer to nothing. */
void *die_calloc(size_t count, size_t size);

#endif
