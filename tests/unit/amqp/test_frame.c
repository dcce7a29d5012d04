/* SPDX-License-Identifier: Apache-2.0 */
/* Frames at their limits, and what a connection may open with. */
#include "amqp/frame.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/support/exact_copy.h"

enum { MAX = 4096 };

static struct buffer wire;
static struct frame frame;
static struct fault fault;

static void
tear_down(void)
{
    buffer_fini(&wire);
}

TestSuite(frame, .fini = tear_down);

/* Decodes a copy of `input` of exactly its size; the views in `frame` are gone afterwards. */
static enum status
decode(struct bytes input, size_t *needed_out)
{
    struct bytes copy = exact_copy(input);
    enum status status = frame_decode(&frame, copy, MAX, needed_out, &fault);
    exact_copy_free(copy);
    return status;
}

Test(frame, sizes_up_to_the_limit_make_the_round_trip)
{
    static const size_t sizes[] = {0, 1, 254, 255, 256, 4086, 4087, 4088};
    static const enum frame_type types[] = {FRAME_TYPE_METHOD, FRAME_TYPE_HEADER, FRAME_TYPE_BODY};
    static const uint16_t channels[] = {0, 1, 255, 256, 2047, 65535};
    uint8_t payload[MAX];
    memset(payload, 0xCE, sizeof(payload)); /* the end octet inside means nothing */
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        enum frame_type type = types[i % ARRAY_LEN(types)];
        uint16_t channel = channels[i % ARRAY_LEN(channels)];
        buffer_clear(&wire);
        frame_encode(&wire, type, channel, bytes_make(payload, sizes[i]));
        cr_assert(eq(sz, buffer_size(&wire), sizes[i] + FRAME_OVERHEAD));
        buffer_put_u8(&wire, 0x77); /* the next frame has begun */
        enum status status = frame_decode(&frame, buffer_bytes(&wire), MAX, NULL, &fault);
        cr_assert(eq(int, status, STATUS_OK));
        cr_expect(eq(int, frame.type, type));
        cr_expect(eq(u16, frame.channel, channel));
        cr_expect(bytes_equal(frame.payload, bytes_make(payload, sizes[i])));
    }
}

/* Clients that forget the eight octets of overhead are let through, as RabbitMQ does. */
Test(frame, payloads_are_tolerated_up_to_eight_octets_over_the_limit)
{
    static const struct {
        uint32_t payload_size;
        bool is_allowed;
    } rows[] = {
        {MAX - 9, true},     {MAX - 8, true},     {MAX - 7, true},     {MAX - 1, true},
        {MAX, true},         {MAX + 1, false},    {MAX + 8, false},    {0x7FFFFFFF, false},
        {0x80000000, false}, {0xFFFFFFF7, false}, {0xFFFFFFFF, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t header[FRAME_HEADER_SIZE];
        size_t needed = 0;
        frame_put_header(header, FRAME_TYPE_BODY, 1, rows[i].payload_size);
        enum status status = decode(bytes_make(header, sizeof(header)), &needed);
        if (rows[i].is_allowed) {
            cr_expect(eq(int, status, STATUS_AGAIN), "row %zu", i);
            cr_expect(eq(sz, needed, (size_t)rows[i].payload_size + 8));
        } else {
            /* Told before any of the payload has arrived. */
            cr_expect(eq(int, status, STATUS_FAULT), "row %zu", i);
            cr_expect(eq(u16, fault.reply_code, 501));
            cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
        }
    }
}

Test(frame, every_part_of_a_frame_asks_for_the_rest_and_changes_nothing)
{
    frame_encode(&wire, FRAME_TYPE_METHOD, 3, bytes_of("payload"));
    struct frame untouched = {.type = FRAME_TYPE_BODY, .channel = 77};
    for (size_t size = 0; size < buffer_size(&wire); size++) {
        size_t needed = 0;
        frame = untouched;
        enum status status = decode(bytes_make(buffer_bytes(&wire).data, size), &needed);
        cr_expect(eq(int, status, STATUS_AGAIN), "%zu octets", size);
        cr_expect(eq(sz, needed, size < FRAME_HEADER_SIZE ? FRAME_HEADER_SIZE : 15));
        cr_expect(eq(int, frame.type, FRAME_TYPE_BODY));
        cr_expect(eq(u16, frame.channel, 77));
    }
}

Test(frame, broken_framing_has_its_reply_code)
{
    static const struct {
        uint8_t octets[9];
        size_t size;
        uint16_t reply_code;
    } rows[] = {
        {{1, 0, 0, 0, 0, 0, 0, 0xCD}, 8, 501},      /* wrong end */
        {{3, 0, 1, 0, 0, 0, 1, 'x', 0x00}, 9, 501}, /* wrong end behind a payload */
        {{0, 0, 0, 0, 0, 0, 0, 0xCE}, 8, 501},      /* unknown types */
        {{4, 0, 0, 0, 0, 0, 0, 0xCE}, 8, 501},      {{7, 0, 0, 0, 0, 0, 0, 0xCE}, 8, 501},
        {{9, 0, 0, 0, 0, 0, 0, 0xCE}, 8, 501},      {{'A', 'M', 'Q', 'P', 0, 0, 9, 1}, 8, 501},
        {{8, 0, 0, 0, 0, 0, 1, 'x', 0xCE}, 9, 501}, /* heartbeat with a payload */
        {{8, 0, 1, 0, 0, 0, 0, 0xCE}, 8, 505},      /* heartbeat on a channel */
        {{8, 0, 0, 0, 0, 0, 0, 0xCD}, 8, 501},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum status status = decode(bytes_make(rows[i].octets, rows[i].size), NULL);
        cr_expect(eq(int, status, STATUS_FAULT), "row %zu", i);
        cr_expect(eq(u16, fault.reply_code, rows[i].reply_code), "row %zu: %s", i, fault.text);
        cr_expect(eq(int, fault.scope, FAULT_CONNECTION), "row %zu", i);
    }
}

Test(frame, the_heartbeat_is_a_frame_that_decodes)
{
    enum status status = decode(bytes_make(frame_heartbeat, sizeof(frame_heartbeat)), NULL);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(int, frame.type, FRAME_TYPE_HEARTBEAT));
    cr_expect(eq(u16, frame.channel, 0));
    cr_expect(eq(sz, frame.payload.size, 0));
}

Test(protocol_header, each_opening_is_told_as_soon_as_it_is_certain)
{
    static const struct {
        uint8_t octets[8];
        size_t certain_at; /* octets */
        enum protocol_header header;
    } rows[] = {
        {{'A', 'M', 'Q', 'P', 0, 0, 9, 1}, 8, PROTOCOL_AMQP_0_9_1},
        {{'A', 'M', 'Q', 'P', 1, 1, 0, 9}, 8, PROTOCOL_AMQP_0_9_1},
        {{'A', 'M', 'Q', 'P', 0, 0, 9, 2}, 8, PROTOCOL_OTHER_AMQP},
        {{'A', 'M', 'Q', 'P', 0, 0, 10, 0}, 7, PROTOCOL_OTHER_AMQP},
        {{'A', 'M', 'Q', 'P', 1, 1, 0, 10}, 8, PROTOCOL_OTHER_AMQP}, /* 0-10 */
        {{'A', 'M', 'Q', 'P', 1, 1, 8, 0}, 7, PROTOCOL_OTHER_AMQP},  /* 0-8 */
        {{'A', 'M', 'Q', 'P', 3, 1, 0, 0}, 5, PROTOCOL_OTHER_AMQP},  /* 1.0 with SASL */
        {{'A', 'M', 'Q', 'P', 0, 1, 0, 0}, 6, PROTOCOL_OTHER_AMQP},  /* 1.0 */
        {{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}, 4, PROTOCOL_HTTP},
        {{'P', 'O', 'S', 'T', ' ', '/', 'a', ' '}, 5, PROTOCOL_HTTP},
        {{'P', 'U', 'T', ' ', '/', 'a', ' ', 'H'}, 4, PROTOCOL_HTTP},
        {{'P', 'R', 'I', ' ', '*', ' ', 'H', 'T'}, 4, PROTOCOL_HTTP},
        {{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01}, 6, PROTOCOL_TLS},
        {{0x16, 0x03, 0x01, 0x02, 0x00, 0x02, 0x00, 0x01}, 6, PROTOCOL_UNKNOWN},
        {{0x16, 0x02, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01}, 2, PROTOCOL_UNKNOWN},
        {{'A', 'M', 'Q', 'X', 0, 0, 9, 1}, 4, PROTOCOL_UNKNOWN},
        {{'G', 'E', 'T', '/', 0, 0, 0, 0}, 4, PROTOCOL_UNKNOWN},
        {{0, 'M', 'Q', 'P', 0, 0, 9, 1}, 1, PROTOCOL_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t size = 0; size <= 8; size++) {
            struct bytes copy = exact_copy(bytes_make(rows[i].octets, size));
            enum protocol_header header = PROTOCOL_UNKNOWN;
            enum status status = protocol_header_decode(copy, &header);
            exact_copy_free(copy);
            bool is_certain = size >= rows[i].certain_at;
            cr_expect(eq(int, status, is_certain ? STATUS_OK : STATUS_AGAIN), "row %zu, %zu octets",
                      i, size);
            if (is_certain) {
                cr_expect(eq(int, header, rows[i].header), "row %zu, %zu octets", i, size);
            }
        }
    }
}

Test(protocol_header, ours_is_one_that_we_take)
{
    enum protocol_header header = PROTOCOL_UNKNOWN;
    enum status status = protocol_header_decode(
        bytes_make(protocol_header_supported, sizeof(protocol_header_supported)), &header);
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(int, header, PROTOCOL_AMQP_0_9_1));
}
