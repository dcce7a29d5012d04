/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/retry_headers.h"

#include "amqp/properties.h"
#include "amqp/table.h"
#include "queues/retry.h"

static const char DELIVERY_COUNT[] = "x-delivery-count";
static const char ACQUIRED_COUNT[] = "x-acquired-count";
static const char LAST_VERDICT[] = "x-last-verdict";

bool
retry_headers_have(struct bytes name)
{
    return bytes_equal_text(name, DELIVERY_COUNT) || bytes_equal_text(name, ACQUIRED_COUNT) ||
           bytes_equal_text(name, LAST_VERDICT);
}

static bool
is_of_others(const void *context, struct bytes name)
{
    (void)context;
    return !retry_headers_have(name);
}

void
retry_headers_put(struct buffer *out, struct bytes headers, const struct failure_row *failure)
{
    table_copy_if(out, headers, is_of_others, NULL);
    if (failure->delivery_count > 0) {
        table_put_integer(out, DELIVERY_COUNT, failure->delivery_count);
    }
    if (failure->acquired_count > 0) {
        table_put_integer(out, ACQUIRED_COUNT, failure->acquired_count);
    }
    if (failure->verdict != RETRY_NO_VERDICT) {
        const char *name = retry_verdict_name((enum retry_verdict)failure->verdict);
        table_put_text(out, LAST_VERDICT, bytes_of(name));
    }
}

/* Whether a header frame of so many octets may go out with the headers added. */
static bool
has_room(struct bytes block, uint32_t frame_max)
{
    enum { HEADER_FRAME_OVERHEAD = 8 + 12 };
    return frame_max == 0 ||
           block.size + HEADER_FRAME_OVERHEAD + RETRY_HEADERS_OCTETS_MAX <= frame_max;
}

/* The property block of the copy. */
static void
put_block(struct buffer *block, struct buffer *headers, struct bytes old,
          const struct failure_row *failure)
{
    UNINITIALIZED struct properties properties;
    struct fault fault;
    if (properties_decode_kept(&properties, old, &fault) != STATUS_OK) {
        properties = (struct properties){0}; /* never: it was decoded when it came */
    }
    retry_headers_put(headers, properties.headers, failure);
    properties.headers = buffer_bytes(headers);
    properties.flags |= PROPERTY_HEADERS;
    properties_encode(block, &properties);
}

static enum status
copy_content(struct chunk_pool *pool, const struct content *old, struct bytes block,
             struct content_ref *copy_out)
{
    struct content_shape shape = {
        .exchange = content_exchange(old),
        .routing_key = content_routing_key(old),
        .properties = block,
        .body_size = old->body_size,
        .kind = CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((old->flags & (CONTENT_PERSISTENT | CONTENT_HAS_DEATHS)) |
                            CONTENT_HAS_HEADERS),
    };
    uint8_t *body;
    enum status status = chunk_pool_reserve(pool, &shape, copy_out, &body);
    if (status == STATUS_OK && old->body_size > 0) {
        memcpy(body, content_body(old).data, old->body_size);
    }
    return status;
}

enum status
core_copy_with_failures(struct core *core, struct content_ref ref,
                        const struct failure_row *failure, uint32_t frame_max,
                        struct content_ref *copy_out)
{
    const struct content *old = chunk_pool_content(core->pool, ref);
    struct bytes old_block = content_properties(old);
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    if (has_room(old_block, frame_max)) {
        put_block(&block, &headers, old_block, failure);
    } else {
        buffer_put(&block, old_block.data, old_block.size);
    }
    enum status status = STATUS_NO_MEMORY;
    if (!headers.failed && !block.failed) {
        status = copy_content(core->pool, old, buffer_bytes(&block), copy_out);
    }
    buffer_fini(&block);
    buffer_fini(&headers);
    return status;
}
