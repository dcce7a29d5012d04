/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory. Small fixed structs come from the x-functions, which abort the process when the
 * machine has none left; memory whose size a peer chooses comes from the try-functions, whose NULL
 * the caller turns into STATUS_NO_MEMORY. An arena holds many small objects that die together. */
#ifndef BOURSE_BASE_ALLOC_H
#define BOURSE_BASE_ALLOC_H

#include "base/bytes.h"
#include "base/status.h"

#include <stddef.h>

/* Two cache lines, since processors fetch them in pairs. */
enum { ALLOC_APART = 128 };

/* Zeroed memory for a struct of ours; aborts with one line on standard error instead of NULL. */
void *xalloc(size_t size) __attribute__((returns_nonnull, malloc));

/* The same for a struct that one thread writes while another writes its neighbours: it has its
 * cache lines to itself, so neither waits for the other's. */
void *xalloc_apart(size_t size) __attribute__((returns_nonnull, malloc));

void *xrealloc(void *memory, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((returns_nonnull, malloc));

/* Memory of a size that somebody else chose, not zeroed; NULL when there is none (try_realloc then
 * leaves `memory` as it was). `size` is not 0. Release with free(). */
void *try_alloc(size_t size) MUST_CHECK;
void *try_realloc(void *memory, size_t size) MUST_CHECK;

/* Asked before each try-allocation whether it shall fail. The product has no such function: alloc.c
 * refers to it weakly, and skips the question where nobody defines it. Test programs do, in
 * tests/support/alloc_faults.c. */
bool alloc_fault_is_due(void) __attribute__((weak));

/* Blocks of memory that are released together. All zero is an empty arena. */
struct arena {
    struct arena_block *blocks; /* newest first; owned */
    size_t used;                /* in the newest block */
};

void arena_init(struct arena *arena);
void arena_fini(struct arena *arena);

/* Makes room for `count` pieces of `size` octets in all, whose size somebody else chose: what is
 * allocated next, and is no more than that, needs no more memory. False: there is none. */
MUST_CHECK bool arena_reserve(struct arena *arena, size_t size, size_t count);

/* Zeroed, aligned for any type, aborts when there is no memory. Lives until arena_fini. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));

/* A NUL-terminated copy of `text`. */
char *arena_strdup(struct arena *arena, const char *text) __attribute__((returns_nonnull));

/* A copy of `bytes`, followed by a NUL octet that is not counted; `data` is never NULL. */
struct bytes arena_copy(struct arena *arena, struct bytes bytes);

#endif
