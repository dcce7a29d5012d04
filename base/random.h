/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness, as it is handed to those who may not ask the system for it: the kernel's in
 * production, a seeded generator in tests and simulation. */
#ifndef BOURSE_BASE_RANDOM_H
#define BOURSE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_source {
    void (*fill)(void *context, void *out, size_t size); /* cannot fail */
    void *context;
};

/* getrandom(2); good enough for tokens and salts. Aborts if the kernel has none to give. */
struct random_source random_system(void);

/* A repeatable generator for tests, the simulator, and octets that only have to be hard to
 * compress; never for secrets. `state` is borrowed and holds the seed on entry. */
struct random_source random_seeded(uint64_t *state);

uint64_t random_u64(const struct random_source *source);

/* 22 characters of URL-safe base64 (128 random bits), NUL-terminated: the tail of amq.gen- and
 * amq.ctag- names and of direct reply-to tokens. */
enum { RANDOM_NAME_SIZE = 23 };
void random_name(const struct random_source *source, char out[static RANDOM_NAME_SIZE]);

#endif
