/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/chunk_feed.h"

static void
forward_opened(void *context, const struct chunk_notice *notice)
{
    struct chunk_feed *feed = context;
    chunk_pool_open(feed->pool, feed->number, notice);
}

static void
forward_closed(void *context, const struct chunk_notice *notice)
{
    struct chunk_feed *feed = context;
    chunk_pool_close(feed->pool, feed->number, notice);
}

void
chunk_feed_init(struct chunk_feed *feed, struct chunk_pool *pool, uint32_t number,
                struct chunk_memory memory)
{
    struct chunk_sink sink = {.opened = forward_opened, .closed = forward_closed, .context = feed};
    *feed = (struct chunk_feed){
        .pool = pool, .writer = chunk_writer_new(memory, sink), .number = number};
}

void
chunk_feed_fini(struct chunk_feed *feed)
{
    chunk_writer_free(&feed->writer);
}

struct content_ref
chunk_feed_receive(struct chunk_feed *feed, struct chunk_place place)
{
    struct content_ref ref = chunk_pool_receive(feed->pool, feed->number, place);
    chunk_writer_release(feed->writer, place);
    chunk_writer_report(feed->writer);
    return ref;
}
