/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding and writing. Deliveries are encoded by hand, straight into the buffer: they are what a
 * broker writes most. */
#include "net/output.h"

#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "net/copy.h"

enum {
    BASIC_DELIVER = 60,
    IOVEC_MAX = 64,
    PARTS_FIRST = 64,
    LOANS_FIRST = 16,
    OUTPUT_SIZE_FIRST = 512,
};

/* Pool ---------------------------------------------------------------------------------------- */

void
output_pool_init(struct output_pool *pool)
{
    *pool = (struct output_pool){0};
}

void
output_pool_fini(struct output_pool *pool)
{
    for (uint32_t i = 0; i < pool->spare_count; i++) {
        buffer_fini(&pool->spares[i]);
    }
    free(pool->parts);
    free(pool->loans);
    output_pool_init(pool);
}

bool
output_pool_trim(struct output_pool *pool)
{
    bool has_spares = pool->spare_count > 0;
    while (pool->spare_count > 0) {
        buffer_fini(&pool->spares[--pool->spare_count]);
    }
    return has_spares;
}

void
output_pool_trim_parts(struct output_pool *pool)
{
    if (pool->parts_used == 0 && pool->part_capacity > OUTPUT_PARTS_KEPT_MAX) {
        free(pool->parts);
        pool->parts = NULL;
        pool->part_capacity = 0;
    }
}

void
output_pool_return(struct output_pool *pool, uint64_t loan)
{
    if (loan == 0) {
        return;
    }
    if (pool->loan_count == pool->loan_capacity) {
        pool->loan_capacity = pool->loan_capacity == 0 ? LOANS_FIRST : pool->loan_capacity * 2;
        pool->loans = xrealloc(pool->loans, pool->loan_capacity * sizeof(*pool->loans));
    }
    pool->loans[pool->loan_count++] = loan;
}

static bool
pool_grow_parts(struct output_pool *pool)
{
    uint32_t capacity = pool->part_capacity == 0 ? PARTS_FIRST : pool->part_capacity * 2;
    struct output_part *parts = try_realloc(pool->parts, capacity * sizeof(*parts));
    if (parts == NULL) {
        return false;
    }
    pool->parts = parts;
    pool->part_capacity = capacity;
    return true;
}

/* One more part; its number + 1, or 0 when there is no memory. */
static uint32_t
pool_add_part(struct output_pool *pool, struct output_part part)
{
    uint32_t number = pool->free_part;
    if (number != 0) {
        pool->free_part = pool->parts[number - 1].next;
    } else {
        if (pool->part_count == pool->part_capacity && !pool_grow_parts(pool)) {
            return 0;
        }
        number = ++pool->part_count;
    }
    pool->parts[number - 1] = part;
    pool->parts_used++;
    return number;
}

static struct output_part *
pool_part(const struct output_pool *pool, uint32_t number)
{
    return number == 0 ? NULL : &pool->parts[number - 1];
}

/* The part is written, copied or given up. */
static void
pool_free_part(struct output_pool *pool, uint32_t number)
{
    struct output_part *part = &pool->parts[number - 1];
    output_pool_return(pool, part->loan);
    part->next = pool->free_part;
    pool->free_part = number;
    if (--pool->parts_used == 0) {
        pool->free_part = 0;
        pool->part_count = 0;
    }
}

/* Takes the memory of an empty buffer, to keep it warm for the next link that writes. */
static void
pool_take_memory(struct output_pool *pool, struct buffer *buffer)
{
    bool is_kept = buffer->data != NULL && !buffer->failed &&
                   buffer->capacity <= OUTPUT_SPARE_SIZE_MAX &&
                   pool->spare_count < OUTPUT_SPARES_MAX;
    if (!is_kept) {
        buffer_fini(buffer);
        return;
    }
    buffer_clear(buffer);
    pool->spares[pool->spare_count++] = *buffer;
    buffer_init(buffer);
}

/* Output -------------------------------------------------------------------------------------- */

void
output_init(struct output *output)
{
    *output = (struct output){0};
}

void
output_fini(struct output *output, struct output_pool *pool)
{
    while (output->part_first != 0) {
        uint32_t number = output->part_first;
        output->part_first = pool_part(pool, number)->next;
        pool_free_part(pool, number);
    }
    pool_take_memory(pool, &output->buffer);
    output_init(output);
}

/* Room for `size` octets at the end of the buffer; NULL when there is no memory. */
static uint8_t *
output_reserve(struct output *output, struct output_pool *pool, size_t size)
{
    if (output->buffer.data == NULL && pool->spare_count > 0) {
        output->buffer = pool->spares[--pool->spare_count];
    }
    bool is_first = output->buffer.data == NULL && size < OUTPUT_SIZE_FIRST;
    return buffer_reserve(&output->buffer, is_first ? OUTPUT_SIZE_FIRST : size);
}

/* Appends octets of a chunk without copying them. */
static enum status
output_add_part(struct output *output, struct output_pool *pool, struct bytes octets, bool is_lent)
{
    uint32_t number = pool_add_part(pool, (struct output_part){
                                              .data = octets.data,
                                              .size = octets.size,
                                              .at = output->consumed + buffer_size(&output->buffer),
                                              .is_lent = is_lent,
                                          });
    if (number == 0) {
        return STATUS_NO_MEMORY;
    }
    if (output->part_last == 0) {
        output->part_first = number;
    } else {
        pool_part(pool, output->part_last)->next = number;
    }
    output->part_last = number;
    output->is_unsettled |= !is_lent;
    return STATUS_OK;
}

/* Writers that return where the next octet goes. */

static uint8_t *
write_shortstr(uint8_t *at, struct bytes text)
{
    at[0] = (uint8_t)text.size;
    if (text.size > 0) {
        memcpy(at + 1, text.data, text.size);
    }
    return at + 1 + text.size;
}

static uint8_t *
write_deliver_frame(uint8_t *at, const struct net_action *action)
{
    uint8_t *frame = at;
    at += FRAME_HEADER_SIZE;
    put_u16(at, CLASS_BASIC);
    put_u16(at + 2, BASIC_DELIVER);
    at = write_shortstr(at + 4, action->deliver.consumer_tag);
    put_u64(at, action->deliver.delivery_tag);
    at[8] = action->deliver.redelivered ? 1 : 0;
    at = write_shortstr(at + 9, action->deliver.exchange);
    at = write_shortstr(at, action->deliver.routing_key);
    frame_put_header(frame, FRAME_TYPE_METHOD, action->channel,
                     (uint32_t)(at - frame) - FRAME_HEADER_SIZE);
    *at = FRAME_END;
    return at + 1;
}

static uint8_t *
write_frame(uint8_t *at, enum frame_type type, uint16_t channel, struct bytes payload)
{
    frame_put_header(at, type, channel, (uint32_t)payload.size);
    copy_octets(at + FRAME_HEADER_SIZE, payload.data, payload.size);
    at[FRAME_HEADER_SIZE + payload.size] = FRAME_END;
    return at + FRAME_OVERHEAD + payload.size;
}

static uint8_t *
write_method_frame(uint8_t *at, const struct net_action *action)
{
    switch (action->type) {
    case NET_ACTION_DELIVER:
        return write_deliver_frame(at, action);
    case NET_ACTION_CONTENT:
        return write_frame(at, FRAME_TYPE_METHOD, action->channel, action->content.payload);
    default:
        return write_frame(at, FRAME_TYPE_METHOD, action->channel, action->method.payload);
    }
}

static uint8_t *
write_header_frame(uint8_t *at, uint16_t channel, const struct content *content)
{
    struct bytes properties = content_properties(content);
    uint32_t payload_size = 12 + (uint32_t)properties.size;
    frame_put_header(at, FRAME_TYPE_HEADER, channel, payload_size);
    at += FRAME_HEADER_SIZE;
    put_u16(at, CLASS_BASIC);
    put_u16(at + 2, 0); /* weight */
    put_u64(at + 4, content->body_size);
    copy_octets(at + 12, properties.data, properties.size);
    at[payload_size] = FRAME_END;
    return at + payload_size + 1;
}

/* The next piece of a body that has to go into one frame. */
static struct bytes
take_piece(struct bytes *body, uint32_t frame_max)
{
    size_t size = frame_max - FRAME_OVERHEAD;
    struct bytes piece = bytes_make(body->data, body->size < size ? body->size : size);
    *body = bytes_make(body->data + piece.size, body->size - piece.size);
    return piece;
}

static uint8_t *
write_body_frames(uint8_t *at, uint16_t channel, struct bytes body, uint32_t frame_max)
{
    while (body.size > 0) {
        at = write_frame(at, FRAME_TYPE_BODY, channel, take_piece(&body, frame_max));
    }
    return at;
}

/* Body frames whose payload stays in the chunk. The loan goes back with the last of them. */
static enum status
output_put_body_parts(struct output *output, struct output_pool *pool,
                      const struct net_action *action, struct bytes body, uint32_t frame_max)
{
    while (body.size > 0) {
        struct bytes piece = take_piece(&body, frame_max);
        uint8_t *at = output_reserve(output, pool, FRAME_OVERHEAD);
        if (at == NULL) {
            return STATUS_NO_MEMORY;
        }
        frame_put_header(at, FRAME_TYPE_BODY, action->channel, (uint32_t)piece.size);
        buffer_commit(&output->buffer, FRAME_HEADER_SIZE);
        if (output_add_part(output, pool, piece, action->loan != 0) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        at[FRAME_HEADER_SIZE] = FRAME_END;
        buffer_commit(&output->buffer, 1);
    }
    pool_part(pool, output->part_last)->loan = action->loan;
    return STATUS_OK;
}

/* What is copied of an action: all frames, or all but those of a body that stays in its chunk. */
static size_t
copied_octets(const struct net_action *action, const struct content *content, uint32_t frame_max)
{
    static const struct content none;
    if (content == NULL) {
        return net_action_octets(action, &none, frame_max);
    }
    if (content->body_size <= OUTPUT_COPY_MAX) {
        return net_action_octets(action, content, frame_max);
    }
    struct content head = {.properties_size = content->properties_size};
    return net_action_octets(action, &head, frame_max);
}

enum status
output_put(struct output *output, struct output_pool *pool, const struct net_action *action,
           const struct content *content, uint32_t frame_max)
{
    bool has_parts = content != NULL && content->body_size > OUTPUT_COPY_MAX;
    size_t size = copied_octets(action, content, frame_max);
    uint8_t *front = output_reserve(output, pool, size);
    if (front == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *at = write_method_frame(front, action);
    if (content != NULL) {
        at = write_header_frame(at, action->channel, content);
    }
    if (content != NULL && !has_parts) {
        at = write_body_frames(at, action->channel, content_body(content), frame_max);
    }
    assert((size_t)(at - front) == size);
    buffer_commit(&output->buffer, size);
    if (!has_parts) {
        output_pool_return(pool, action->loan);
        return STATUS_OK;
    }
    return output_put_body_parts(output, pool, action, content_body(content), frame_max);
}

enum status
output_put_uncounted(struct output *output, struct output_pool *pool, const uint8_t *octets,
                     uint32_t size)
{
    assert(output_is_empty(output));
    assert(output->uncounted == 0);
    uint8_t *at = output_reserve(output, pool, size);
    if (at == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(at, octets, size);
    buffer_commit(&output->buffer, size);
    output->uncounted = size;
    return STATUS_OK;
}

/* Writing ------------------------------------------------------------------------------------- */

/* Buffered octets in front of `part` that are not among the first `skipped`. */
static size_t
octets_before(const struct output *output, const struct output_part *part, size_t skipped)
{
    size_t end = part == NULL ? buffer_size(&output->buffer) : part->at - output->consumed;
    return end - skipped;
}

/* Points `parts` at the front of the stream, at OUTPUT_WRITE_MAX octets at most; returns how many
 * of them it took. */
static int
output_gather(const struct output *output, const struct output_pool *pool,
              struct iovec parts[static IOVEC_MAX])
{
    int count = 0;
    size_t gathered = 0; /* of the buffer */
    size_t room = OUTPUT_WRITE_MAX;
    const struct output_part *part = pool_part(pool, output->part_first);
    while (count < IOVEC_MAX && room > 0) {
        size_t size = octets_before(output, part, gathered);
        void *data = output->buffer.data + output->buffer.start + gathered;
        if (size == 0 && part == NULL) {
            break;
        }
        if (size > 0) {
            gathered += size;
        } else {
            size = part->size;
            data = (void *)(uintptr_t)part->data;
            part = pool_part(pool, part->next);
        }
        size = size < room ? size : room;
        room -= size;
        parts[count++] = (struct iovec){.iov_base = data, .iov_len = size};
    }
    return count;
}

/* Takes `size` octets off the front of the stream. */
static void
output_consume(struct output *output, struct output_pool *pool, size_t size)
{
    while (size > 0) {
        struct output_part *part = pool_part(pool, output->part_first);
        size_t buffered = octets_before(output, part, 0);
        if (buffered > 0) {
            size_t taken = buffered < size ? buffered : size;
            buffer_consume(&output->buffer, taken);
            output->consumed += taken;
            size -= taken;
            continue;
        }
        assert(part != NULL);
        size_t taken = part->size < size ? part->size : size;
        part->data += taken;
        part->size -= taken;
        size -= taken;
        if (part->size == 0) {
            uint32_t number = output->part_first;
            output->part_first = part->next;
            pool_free_part(pool, number);
        }
    }
    if (output->part_first == 0) {
        output->part_last = 0;
    }
}

/* How many of `size` octets from the front belong to actions. */
static uint64_t
output_count(struct output *output, uint64_t size)
{
    uint32_t uncounted = size < output->uncounted ? (uint32_t)size : output->uncounted;
    output->uncounted -= uncounted;
    return size - uncounted;
}

enum status
output_write(struct output *output, struct output_pool *pool, struct transport *transport,
             uint64_t *octets_out, uint64_t *counted_out)
{
    *octets_out = 0;
    *counted_out = 0;
    /* Only STATUS_AGAIN promises that the descriptor will tell when it takes more; a short write
     * does not. What is offered is never less than before, since TLS repeats a write as it was. */
    while (!output_is_empty(output) && *octets_out < OUTPUT_WRITE_MAX) {
        struct iovec parts[IOVEC_MAX];
        int count = output_gather(output, pool, parts);
        size_t written = 0;
        enum status status = transport->operations->write(transport, parts, count, &written);
        if (status != STATUS_OK) {
            return status;
        }
        *octets_out += written;
        *counted_out += output_count(output, written);
        output_consume(output, pool, written);
    }
    if (output_is_empty(output)) {
        pool_take_memory(pool, &output->buffer);
    }
    return STATUS_OK;
}

/* The first part that is not lent; NULL when all are. `*octets_out` is how much all such parts
 * have. */
static const struct output_part *
first_unsettled(const struct output *output, const struct output_pool *pool, size_t *octets_out)
{
    const struct output_part *first = NULL;
    *octets_out = 0;
    const struct output_part *part = pool_part(pool, output->part_first);
    for (; part != NULL; part = pool_part(pool, part->next)) {
        if (!part->is_lent) {
            first = first == NULL ? part : first;
            *octets_out += part->size;
        }
    }
    return first;
}

/* Puts the parts that are not lent where they belong among the buffered octets. From octet
 * `position` of these on, they have been moved to `from`; the gap in front of them, which begins at
 * `to`, is as large as what is to be put into it. */
static void
settle_parts(struct output *output, struct output_pool *pool, uint64_t position, uint8_t *to,
             const uint8_t *from)
{
    uint64_t copied = 0;
    uint32_t last = 0;
    uint32_t *at = &output->part_first;
    while (*at != 0) {
        uint32_t number = *at;
        struct output_part *part = pool_part(pool, number);
        if (part->is_lent) {
            part->at += copied;
            last = number;
            at = &part->next;
            continue;
        }
        size_t before = part->at - position;
        memmove(to, from, before);
        copy_octets(to + before, part->data, part->size);
        to += before + part->size;
        from += before;
        position += before;
        copied += part->size;
        *at = part->next;
        pool_free_part(pool, number);
    }
    output->part_last = last;
}

/* Only what stands behind the first part to be copied is moved: what an earlier tick has left stays
 * where it is, however much that is. */
enum status
output_settle(struct output *output, struct output_pool *pool)
{
    size_t gap;
    const struct output_part *first =
        output->is_unsettled ? first_unsettled(output, pool, &gap) : NULL;
    if (first == NULL) {
        output->is_unsettled = false;
        return STATUS_OK;
    }
    uint64_t position = first->at;
    size_t before = position - output->consumed;
    size_t behind = buffer_size(&output->buffer) - before;
    if (buffer_reserve(&output->buffer, gap) == NULL) {
        return STATUS_NO_MEMORY;
    }
    buffer_commit(&output->buffer, gap);
    uint8_t *to = output->buffer.data + output->buffer.start + before;
    memmove(to + gap, to, behind);
    settle_parts(output, pool, position, to, to + gap);
    output->is_unsettled = false;
    return STATUS_OK;
}
