/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a consumer: it outlives its registration as long as deliveries of it are open. */
#include "queues/consumer.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

struct consumer *
consumer_new(struct bytes tag)
{
    struct consumer *consumer = xalloc(sizeof(*consumer) + tag.size);
    uint8_t *copy = (uint8_t *)(consumer + 1);
    if (tag.size > 0) {
        memcpy(copy, tag.data, tag.size);
    }
    consumer->tag = bytes_make(copy, tag.size);
    consumer->references = 1;
    return consumer;
}

struct consumer *
consumer_ref(struct consumer *consumer)
{
    assert(consumer->references > 0);
    consumer->references++;
    return consumer;
}

void
consumer_unref(struct consumer **consumer)
{
    struct consumer *released = *consumer;
    if (released == NULL) {
        return;
    }
    *consumer = NULL;
    assert(released->references > 0);
    if (--released->references > 0) {
        return;
    }
    assert(released->queue == NULL);
    assert(released->unacked_count == 0);
    assert(!consumer_is_ready(released));
    assert(!list_link_is_linked(&released->queue_link));
    assert(!list_link_is_linked(&released->channel_link));
    free(released);
}
