/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of frames: framing, methods and content headers. What decodes must encode to the same
 * octets again, and nothing may depend on how much of a frame has arrived. */
#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "amqp/properties.h"
#include "tests/fuzz/make.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096, FRAME_LIMIT = 4096 };

static void
check_fault(const struct fault *fault)
{
    assert(fault->scope == FAULT_CONNECTION);
    assert(fault->reply_code >= 500);
    assert(memchr(fault->text, 0, sizeof(fault->text)) != NULL);
    assert(fault->text[0] != '\0');
}

/* Unused bits of a packed octet and the sign of a zero length are all that may differ; so what was
 * encoded is decoded once more, and then everything must be the same. */
static void
check_method(struct bytes payload)
{
    struct method method;
    struct method again;
    struct fault fault;
    enum method_id id;
    bool is_known = method_identify(payload, &id, &fault) == STATUS_OK;
    if (method_decode(&method, payload, &fault) != STATUS_OK) {
        check_fault(&fault);
        return;
    }
    assert(is_known);
    assert(method.id == id);
    struct buffer first;
    struct buffer second;
    buffer_init(&first);
    buffer_init(&second);
    method_encode(&first, &method);
    assert(buffer_size(&first) == payload.size);
    enum status status = method_decode(&again, buffer_bytes(&first), &fault);
    assert(status == STATUS_OK);
    method_encode(&second, &again);
    assert(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
    buffer_fini(&first);
    buffer_fini(&second);
}

static void
check_header(struct bytes payload)
{
    struct content_header header;
    struct properties properties;
    struct fault fault;
    if (content_header_decode(&header, payload, &fault) != STATUS_OK ||
        properties_decode(&properties, header.properties, &fault) != STATUS_OK) {
        check_fault(&fault);
        return;
    }
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    assert(bytes_equal(buffer_bytes(&block), header.properties));
    buffer_fini(&block);
}

static void
check_payload(const struct frame *frame)
{
    struct bytes payload = exact_copy(frame->payload);
    if (frame->type == FRAME_TYPE_METHOD) {
        check_method(payload);
    } else if (frame->type == FRAME_TYPE_HEADER) {
        check_header(payload);
    }
    exact_copy_free(payload);
}

/* The same frame comes of exactly its own octets, and of one less comes none. */
static void
check_frame(const struct frame *frame, struct bytes octets)
{
    struct bytes copy = exact_copy(octets);
    struct frame same;
    struct fault fault;
    size_t needed = 0;
    enum status status = frame_decode(&same, copy, FRAME_LIMIT, NULL, &fault);
    assert(status == STATUS_OK);
    assert(same.type == frame->type);
    assert(same.channel == frame->channel);
    status =
        frame_decode(&same, bytes_make(copy.data, copy.size - 1), FRAME_LIMIT, &needed, &fault);
    assert(status == STATUS_AGAIN);
    assert(needed == octets.size);
    struct buffer encoded;
    buffer_init(&encoded);
    frame_encode(&encoded, frame->type, frame->channel, frame->payload);
    assert(bytes_equal(buffer_bytes(&encoded), octets));
    buffer_fini(&encoded);
    exact_copy_free(copy);
}

static void
check_protocol_header(struct bytes input)
{
    enum protocol_header answer;
    enum protocol_header earlier;
    enum status status = protocol_header_decode(input, &answer);
    assert(status == STATUS_OK || input.size < PROTOCOL_HEADER_SIZE);
    /* An answer that is certain stays the same when more octets come. */
    for (size_t size = 0; size < input.size && size < PROTOCOL_HEADER_SIZE; size++) {
        if (protocol_header_decode(bytes_make(input.data, size), &earlier) == STATUS_OK) {
            assert(status == STATUS_OK);
            assert(earlier == answer);
        }
    }
}

static void
run(struct bytes input)
{
    struct frame frame;
    struct fault fault;
    check_protocol_header(input);
    enum status status;
    while ((status = frame_decode(&frame, input, FRAME_LIMIT, NULL, &fault)) == STATUS_OK) {
        size_t size = frame.payload.size + FRAME_OVERHEAD;
        assert(size <= FRAME_LIMIT + FRAME_TOLERANCE);
        check_frame(&frame, bytes_make(input.data, size));
        check_payload(&frame);
        input = bytes_make(input.data + size, input.size - size);
    }
    if (status == STATUS_FAULT) {
        check_fault(&fault);
    }
}

/* Puts new frames in front of a frame, or in place of what is there. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    struct maker maker;
    struct buffer out;
    maker_init(&maker, draw);
    buffer_init(&out);
    make_frames(&maker, &out, (uint16_t)draw_below(draw, 3));
    if (draw_chance(draw, 50)) {
        buffer_put(&out, data, size);
    }
    size_t out_size = buffer_size(&out);
    if (out_size <= size_max) {
        memcpy(data, buffer_bytes(&out).data, out_size);
        size = out_size;
    }
    if (draw_chance(draw, 40)) {
        data[draw_below(draw, (uint32_t)size)] = (uint8_t)draw_number(draw);
    }
    buffer_fini(&out);
    maker_fini(&maker);
    return size;
}

const struct fuzz_target fuzz_frame = {
    .name = "frame", .size_max = INPUT_MAX, .run = run, .mutate = mutate};
