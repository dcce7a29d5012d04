/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk writer whose pool hears of its chunks at once, without a network between them. */
#ifndef BOURSE_TESTS_SUPPORT_CHUNK_FEED_H
#define BOURSE_TESTS_SUPPORT_CHUNK_FEED_H

#include "store/chunk.h"

/* A network, as message memory knows it. Stays where it is while its writer lives. */
struct chunk_feed {
    struct chunk_pool *pool; /* borrowed */
    struct chunk_writer *writer;
    uint32_t number; /* the pool's for the writer */
};

void chunk_feed_init(struct chunk_feed *feed, struct chunk_pool *pool, uint32_t number,
                     struct chunk_memory memory);
void chunk_feed_fini(struct chunk_feed *feed); /* before the pool is freed, or after */

/* A finished content, counted once; not set when the pool has no slot for its chunk. */
struct content_ref chunk_feed_receive(struct chunk_feed *feed, struct chunk_place place);

#endif
