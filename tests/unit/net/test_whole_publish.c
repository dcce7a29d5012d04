/* SPDX-License-Identifier: Apache-2.0 */
/* The short way must agree with the long one wherever it says yes. */
#include "net/whole_publish.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "base/assert.h"
#include "tests/unit/net/harness.h"

enum { FRAME_MAX = 4096 };

TestSuite(whole_publish);

/* A copy of exactly these octets, so that the sanitizer sees a step over their end. */
static bool
decode(struct whole_publish *publish, const uint8_t *octets, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, octets, size);
    bool is_whole = whole_publish_decode(publish, bytes_make(copy, size), FRAME_MAX);
    free(copy);
    return is_whole;
}

/* What the general decoders make of one frame. */
static bool
next_frame(struct bytes *octets, struct frame *frame)
{
    struct fault fault;
    if (frame_decode(frame, *octets, FRAME_MAX, NULL, &fault) != STATUS_OK) {
        return false;
    }
    size_t size = frame->payload.size + FRAME_OVERHEAD;
    *octets = bytes_make(octets->data + size, octets->size - size);
    return true;
}

/* Whether the general decoders read `octets` as the publish that the short way has found. */
static bool
is_confirmed(const struct whole_publish *publish, struct bytes octets)
{
    struct bytes rest = octets;
    struct frame method_frame;
    struct frame frame;
    struct method method;
    struct content_header header;
    struct fault fault;
    bool is_right =
        next_frame(&rest, &method_frame) && method_frame.type == FRAME_TYPE_METHOD &&
        method_frame.channel == publish->channel && publish->channel != 0 &&
        method_decode(&method, method_frame.payload, &fault) == STATUS_OK &&
        method.id == METHOD_BASIC_PUBLISH &&
        method.basic_publish.exchange.data == publish->shape.exchange.data &&
        method.basic_publish.exchange.size == publish->shape.exchange.size &&
        method.basic_publish.routing_key.data == publish->shape.routing_key.data &&
        method.basic_publish.routing_key.size == publish->shape.routing_key.size &&
        method.basic_publish.mandatory == publish->mandatory &&
        method.basic_publish.immediate == publish->immediate && next_frame(&rest, &frame) &&
        frame.type == FRAME_TYPE_HEADER && frame.channel == publish->channel &&
        content_header_decode(&header, frame.payload, &fault) == STATUS_OK &&
        header.class_id == CLASS_BASIC && header.body_size == publish->shape.body_size &&
        header.properties.data == publish->shape.properties.data &&
        header.properties.size == publish->shape.properties.size;
    if (is_right && header.body_size > 0) {
        is_right = next_frame(&rest, &frame) && frame.type == FRAME_TYPE_BODY &&
                   frame.channel == publish->channel && frame.payload.data == publish->body &&
                   frame.payload.size == publish->shape.body_size;
    }
    return is_right && publish->size == octets.size - rest.size;
}

static void
put_one(struct buffer *out, const char *exchange, const char *key, const char *text)
{
    put_publish(out, 0x0102, exchange, key, bytes_of(text), FRAME_MAX);
}

Test(whole_publish, frames_behind_each_other_are_one_publish)
{
    static const char *const rows[][3] = {
        {"x", "key", "hello"},
        {"", "", ""},
        {"", "q", "z"},
        {"gr\xc3\xbc\xc3\x9f", "k\xc3\xa4", "b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer out = {0};
        put_one(&out, rows[i][0], rows[i][1], rows[i][2]);
        size_t size = buffer_size(&out);
        buffer_put(&out, "more", 4);
        struct whole_publish publish;
        cr_assert(whole_publish_decode(&publish, buffer_bytes(&out), FRAME_MAX), "row %zu", i);
        cr_expect(eq(sz, publish.size, size), "row %zu", i);
        cr_expect(eq(int, publish.channel, 0x0102));
        cr_expect(publish.mandatory);
        cr_expect(not(publish.immediate));
        cr_expect(bytes_equal_text(publish.shape.exchange, rows[i][0]), "row %zu", i);
        cr_expect(bytes_equal_text(publish.shape.routing_key, rows[i][1]), "row %zu", i);
        cr_expect(bytes_equal_text(bytes_make(publish.body, publish.shape.body_size), rows[i][2]),
                  "row %zu", i);
        cr_expect(bytes_equal(publish.shape.properties, bytes_make("\0\0", 2)), "row %zu", i);
        buffer_fini(&out);
    }
}

Test(whole_publish, anything_cut_short_takes_the_long_way)
{
    struct buffer out = {0};
    put_one(&out, "x", "key", "hello");
    struct whole_publish publish;
    for (size_t size = 0; size < buffer_size(&out); size++) {
        cr_expect(not(decode(&publish, out.data, size)), "%zu octets", size);
    }
    cr_expect(decode(&publish, out.data, buffer_size(&out)));
    buffer_fini(&out);
}

Test(whole_publish, body_in_two_frames_and_channel_0_take_the_long_way)
{
    struct buffer out = {0};
    struct whole_publish publish;
    static uint8_t body[5000];
    put_publish(&out, 1, "x", "k", bytes_make(body, sizeof(body)), FRAME_MAX);
    cr_expect(not(whole_publish_decode(&publish, buffer_bytes(&out), FRAME_MAX)));
    buffer_clear(&out);
    put_publish(&out, 0, "x", "k", bytes_of("z"), FRAME_MAX);
    cr_expect(not(whole_publish_decode(&publish, buffer_bytes(&out), FRAME_MAX)));
    buffer_fini(&out);
}

/* Every octet replaced by every value: a yes must be what the general decoders say. */
Test(whole_publish, changed_octets_are_never_read_differently_from_the_long_way)
{
    struct buffer out = {0};
    put_one(&out, "ex", "key", "hello");
    put_one(&out, "ex", "key", "again"); /* so that longer lengths find octets */
    size_t agreed = 0;
    for (size_t at = 0; at < buffer_size(&out) / 2; at++) {
        uint8_t before = out.data[at];
        for (int value = 0; value < 256; value++) {
            out.data[at] = (uint8_t)value;
            struct whole_publish publish;
            if (whole_publish_decode(&publish, buffer_bytes(&out), FRAME_MAX)) {
                agreed++;
                cr_assert(is_confirmed(&publish, buffer_bytes(&out)), "octet %zu = %d", at, value);
            }
        }
        out.data[at] = before;
    }
    cr_expect(lt(sz, 1000, agreed), "bodies, names and bits may change");
    buffer_fini(&out);
}

Test(whole_publish, only_delivery_mode_and_priority_need_no_validation)
{
    static const struct {
        const char *block;
        size_t size;
        bool is_plain;
        uint8_t delivery_mode;
    } rows[] = {
        {"\0\0", 2, true, 0},           {"\x10\0\x02", 3, true, 2}, {"\x08\0\x02", 3, true, 0},
        {"\x18\0\x01\x09", 4, true, 1}, {"\x10\0", 2, false, 0},    {"\x10\0\x02\x02", 4, false, 0},
        {"\x18\0\x01", 3, false, 0},    {"\x80\0\0", 3, false, 0},  {"\x20\0\0\0\0\0", 6, false, 0},
        {"\0\x01", 2, false, 0},        {"\0\x02", 2, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes block = bytes_make(rows[i].block, rows[i].size);
        uint8_t delivery_mode = 0;
        cr_expect(eq(int, whole_publish_is_plain(block, &delivery_mode), rows[i].is_plain));
        cr_expect(eq(int, delivery_mode, rows[i].delivery_mode), "row %zu", i);
        struct properties properties;
        struct fault fault;
        if (rows[i].is_plain) {
            cr_expect(eq(int, properties_decode(&properties, block, &fault), STATUS_OK));
            cr_expect(eq(int, properties.delivery_mode, delivery_mode));
        }
    }
}
