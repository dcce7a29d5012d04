/* SPDX-License-Identifier: Apache-2.0 */
/* A small data directory with a bit of everything: three epochs, segments of 64 KiB with and
 * without index, one that is prepared and empty, a snapshot and records above it, a dead file. */
#ifndef BOURSE_TESTS_SUPPORT_SMALL_STORE_H
#define BOURSE_TESTS_SUPPORT_SMALL_STORE_H

#include "tests/support/store_maker.h"

enum { SMALL_STORE_MESSAGES = 190 };

struct small_store {
    uint64_t lsns[SMALL_STORE_MESSAGES];
    uint32_t sizes[SMALL_STORE_MESSAGES];
    size_t count;
};

/* The maker is initialised; afterwards its process has ended. */
void small_store_make(struct small_store *store, struct store_maker *maker);

/* Whether every message that came back is one that was published, and has its body or cannot be
 * read at all. */
bool small_store_bodies_are_right(const struct small_store *store, const struct disk *disk,
                                  const struct store_content *content);

#endif
