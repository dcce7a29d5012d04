/* SPDX-License-Identifier: Apache-2.0 */
/* Turns library functions that we do not use into compile errors.
 *
 * The Makefile puts this file in front of every source of ours (-include), so nobody includes it
 * by hand. Poisoning an identifier also hits the headers that declare it; so those come first, and
 * their include guards keep them from being read again.
 *
 *   Instead of                          we use
 *   strcpy strncpy strcat strncat ...   struct bytes, and memcpy with a length that was checked
 *   sprintf vsprintf                    snprintf, vsnprintf
 *   gets strtok                         getline, strtok_r
 *   gmtime localtime asctime ctime      gmtime_r, localtime_r, strftime: theirs share one buffer
 *   rand srand drand48 ...              base/random.h, which a test can seed
 *   alloca                              a fixed array or the heap: no peer sizes our stack
 *   atoi atol atoll atof                strtol and friends: theirs cannot report an error
 *   tmpnam tempnam mktemp               mkstemp
 */
#ifndef BOURSE_BASE_BANNED_H
#define BOURSE_BASE_BANNED_H

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* With optimisation on, libc and clang have some of them as macros. */
#undef alloca
#undef sprintf
#undef vsprintf
#undef stpcpy
#undef stpncpy
#undef strcat
#undef strcpy
#undef strncat
#undef strncpy

#pragma GCC poison strcpy stpcpy strncpy stpncpy strcat strncat
#pragma GCC poison sprintf vsprintf gets strtok
#pragma GCC poison gmtime localtime asctime ctime asctime_r ctime_r
#pragma GCC poison srand rand_r drand48 lrand48 mrand48
#pragma GCC poison alloca
#pragma GCC poison atoi atol atoll atof
#pragma GCC poison tmpnam tempnam mktemp

/* OpenSSL has parameters of this name, hence no poison: only a call is an error. */
#define rand() rand_is_banned_use_base_random_h

#endif
