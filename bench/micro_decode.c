/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to take a publish off the wire: its frames and names by the short way, the same by
 * the long way's codec, and the content laid down in a chunk. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/properties.h"
#include "base/alloc.h"
#include "bench/micro.h"
#include "net/whole_publish.h"
#include "store/chunk.h"

enum { FRAME_MAX = 131072, MESSAGES_PER_TICK = 64, BODY_MAX = 1024 };

/* As many publishes behind each other as one read brings. */
struct input {
    struct buffer octets;
    uint32_t body_size;
    struct chunk_pool *pool;
};

static void
put_publish(struct buffer *out, uint32_t body_size)
{
    static const uint8_t body[BODY_MAX];
    uint8_t header[14] = {0};
    struct buffer payload;
    buffer_init(&payload);
    struct method method = {.id = METHOD_BASIC_PUBLISH};
    method.basic_publish.routing_key = bytes_of("bench.q00000");
    method_encode(&payload, &method);
    frame_encode(out, FRAME_TYPE_METHOD, 1, buffer_bytes(&payload));
    put_u16(header, CLASS_BASIC);
    put_u64(header + 4, body_size);
    frame_encode(out, FRAME_TYPE_HEADER, 1, bytes_make(header, sizeof(header)));
    frame_encode(out, FRAME_TYPE_BODY, 1, bytes_make(body, body_size));
    buffer_fini(&payload);
}

static void
input_init(struct input *input, uint32_t body_size)
{
    *input = (struct input){.body_size = body_size, .pool = chunk_pool_new()};
    buffer_init(&input->octets);
    for (int i = 0; i < MESSAGES_PER_TICK; i++) {
        put_publish(&input->octets, body_size);
    }
    assert(!input->octets.failed);
}

static void
input_fini(struct input *input)
{
    buffer_fini(&input->octets);
    chunk_pool_free(&input->pool);
}

/* The publish at `*at`, which moves to the next one, or back to the first. */
static void
next_publish(const struct input *input, struct bytes *at, struct whole_publish *publish)
{
    if (at->size == 0) {
        *at = buffer_bytes(&input->octets);
    }
    bool is_whole = whole_publish_decode(publish, *at, FRAME_MAX);
    assert(is_whole);
    *at = bytes_make(at->data + publish->size, at->size - publish->size);
}

static void
decode_short(void *context, uint64_t count)
{
    const struct input *input = context;
    struct bytes at = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct whole_publish publish;
        uint8_t delivery_mode;
        next_publish(input, &at, &publish);
        micro_use(whole_publish_is_plain(publish.shape.properties, &delivery_mode));
    }
}

/* The frame at `*at`, which moves behind it. */
static struct frame
next_frame(struct bytes *at)
{
    struct frame frame;
    struct fault fault;
    enum status status = frame_decode(&frame, *at, FRAME_MAX, NULL, &fault);
    assert(status == STATUS_OK);
    size_t size = frame.payload.size + FRAME_OVERHEAD;
    *at = bytes_make(at->data + size, at->size - size);
    return frame;
}

static void
decode_long(void *context, uint64_t count)
{
    const struct input *input = context;
    struct bytes at = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct method method;
        struct fault fault;
        if (at.size == 0) {
            at = buffer_bytes(&input->octets);
        }
        struct frame frame = next_frame(&at);
        enum status status = method_decode(&method, frame.payload, &fault);
        assert(status == STATUS_OK);
        micro_use(next_frame(&at).payload.size);
        micro_use(next_frame(&at).payload.size);
    }
}

/* Decoded, laid down, and let go again; a tick ends after each read. */
static void
take_in(void *context, uint64_t count)
{
    struct input *input = context;
    struct bytes at = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct whole_publish publish;
        struct content_ref content;
        uint8_t *body;
        next_publish(input, &at, &publish);
        publish.shape.kind = CHUNK_KIND_TRANSIENT;
        publish.shape.flags = 0;
        enum status status = chunk_pool_reserve(input->pool, &publish.shape, &content, &body);
        assert(status == STATUS_OK);
        memcpy(body, publish.body, publish.shape.body_size);
        chunk_pool_release(input->pool, content);
        if (at.size == 0) {
            chunk_pool_end_tick(input->pool, chunk_pool_tick(input->pool));
        }
    }
    chunk_pool_end_tick(input->pool, chunk_pool_tick(input->pool));
}

static void
measure(const struct micro *micro, uint32_t body_size, const char *decode_name,
        const char *take_in_name)
{
    struct input input;
    input_init(&input, body_size);
    micro_run(micro, decode_name, "a publish decoded by the short way", decode_short, &input);
    micro_run(micro, take_in_name, "decoded, and its content laid in a chunk", take_in, &input);
    input_fini(&input);
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    measure(&micro, 16, "decode-16", "take-in-16");
    measure(&micro, 128, "decode-128", "take-in-128");
    measure(&micro, BODY_MAX, "decode-1k", "take-in-1k");
    struct input input;
    input_init(&input, 128);
    micro_run(&micro, "decode-long-128", "frames and method by the general codec", decode_long,
              &input);
    input_fini(&input);
    return EXIT_SUCCESS;
}
