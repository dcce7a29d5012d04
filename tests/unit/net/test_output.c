/* SPDX-License-Identifier: Apache-2.0 */
/* What actions look like on the wire, compared with what the general codec makes of them, and the
 * count of octets that both sides of the seam share. */
#include "net/output.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/net/harness.h"

/* A transport that keeps what it is given and takes `room` octets in all, `step` at a time. */
struct sink {
    struct transport base;
    struct buffer taken;
    size_t room;
    size_t step;
    enum status refusal;
};

static struct output output;
static struct output_pool outputs;
static struct sink sink;
static struct content *content;
static uint64_t octets;
static uint64_t counted;

static enum status
sink_write(struct transport *transport, const struct iovec *parts, int part_count, size_t *size_out)
{
    struct sink *to = (struct sink *)(void *)transport;
    size_t left = to->room < to->step ? to->room : to->step;
    size_t size = 0;
    for (int i = 0; i < part_count && left > 0; i++) {
        size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
        buffer_put(&to->taken, parts[i].iov_base, piece);
        left -= piece;
        size += piece;
    }
    to->room -= size;
    *size_out = size;
    return size > 0 ? STATUS_OK : to->refusal;
}

static const struct transport_operations sink_operations = {.write = sink_write};

static void
set_up(void)
{
    output_init(&output);
    output_pool_init(&outputs);
    sink = (struct sink){
        .base = {.operations = &sink_operations},
        .room = SIZE_MAX,
        .step = SIZE_MAX,
        .refusal = STATUS_AGAIN,
    };
}

static void
tear_down(void)
{
    free(content);
    buffer_fini(&sink.taken);
    output_fini(&output, &outputs);
    output_pool_fini(&outputs);
}

TestSuite(output, .init = set_up, .fini = tear_down);

/* A content with two properties and a body that counts up. */
static void
make_content(uint32_t body_size)
{
    static const char properties[] = "\x80\x00\x04text";
    free(content);
    content = malloc(sizeof(*content) + 8 + sizeof(properties) - 1 + body_size);
    *content = (struct content){
        .body_size = body_size,
        .properties_size = sizeof(properties) - 1,
        .exchange_size = 5,
        .routing_key_size = 3,
    };
    memcpy(content->octets, "tradekey", 8);
    memcpy(content->octets + 8, properties, sizeof(properties) - 1);
    for (uint32_t i = 0; i < body_size; i++) {
        content->octets[8 + sizeof(properties) - 1 + i] = (uint8_t)(i + i / 251);
    }
}

static struct net_action
deliver(void)
{
    struct net_action action = {.type = NET_ACTION_DELIVER, .channel = 7};
    action.deliver.delivery_tag = 0x0102030405060708;
    action.deliver.consumer_tag = bytes_of("ctag");
    action.deliver.exchange = content_exchange(content);
    action.deliver.routing_key = content_routing_key(content);
    action.deliver.redelivered = true;
    return action;
}

/* What the general codec makes of `action`. */
static void
expect_frames(struct buffer *out, const struct net_action *action, uint32_t frame_max)
{
    struct method method = {.id = METHOD_BASIC_DELIVER};
    method.basic_deliver = (struct basic_deliver){
        .consumer_tag = action->deliver.consumer_tag,
        .delivery_tag = action->deliver.delivery_tag,
        .redelivered = action->deliver.redelivered,
        .exchange = action->deliver.exchange,
        .routing_key = action->deliver.routing_key,
    };
    put_method(out, action->channel, &method);
    put_header(out, action->channel, CLASS_BASIC, content->body_size, content_properties(content));
    put_body(out, action->channel, content_body(content), frame_max);
}

/* As many turns of writing as it takes. */
static enum status
write_out(void)
{
    enum status status;
    uint64_t octets_before = 0;
    uint64_t counted_before = 0;
    do {
        status = output_write(&output, &outputs, &sink.base, &octets, &counted);
        octets = octets_before += octets;
        counted = counted_before += counted;
    } while (status == STATUS_OK && !output_is_empty(&output));
    return status;
}

Test(output, delivery_is_what_the_codec_would_write)
{
    static const struct {
        uint32_t body_size;
        uint32_t frame_max;
        size_t step; /* octets that the socket takes at a time */
    } rows[] = {
        {0, 131072, SIZE_MAX},    {1, 131072, SIZE_MAX},     {2048, 131072, SIZE_MAX},
        {2049, 131072, SIZE_MAX}, {2048, 4096, 1},           {4088, 4096, 1},
        {4089, 4096, 1},          {300000, 4096, SIZE_MAX},  {300000, 4096, 5000},
        {300000, 4096, 1},        {1000000, 131072, 100000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        make_content(rows[i].body_size);
        struct net_action action = deliver();
        struct buffer expected = {0};
        expect_frames(&expected, &action, rows[i].frame_max);
        sink.step = rows[i].step;
        buffer_clear(&sink.taken);

        cr_assert(
            eq(int, output_put(&output, &outputs, &action, content, rows[i].frame_max), STATUS_OK));
        cr_expect(eq(int, write_out(), STATUS_OK), "row %zu", i);
        cr_expect(octets_equal(buffer_bytes(&sink.taken), buffer_bytes(&expected)), "row %zu", i);
        uint64_t size = net_action_octets(&action, content, rows[i].frame_max);
        cr_expect(eq(u64, size, buffer_size(&expected)), "row %zu", i);
        cr_expect(eq(u64, counted, size), "row %zu", i);
        cr_expect(eq(u64, octets, size), "row %zu", i);
        cr_expect(output_is_empty(&output), "row %zu", i);
        buffer_fini(&expected);
    }
}

Test(output, method_and_content_carry_the_given_payload)
{
    make_content(3000);
    struct net_action method = {.type = NET_ACTION_METHOD, .channel = 3};
    method.method.payload = bytes_make("\0\x14\0\x0b\0\0\0\0", 8);
    struct net_action get_ok = {.type = NET_ACTION_CONTENT, .channel = 4};
    get_ok.content.payload = bytes_make("\0\x3c\0\x47rest", 8);

    struct buffer expected = {0};
    frame_encode(&expected, FRAME_TYPE_METHOD, 3, method.method.payload);
    frame_encode(&expected, FRAME_TYPE_METHOD, 4, get_ok.content.payload);
    put_header(&expected, 4, CLASS_BASIC, 3000, content_properties(content));
    put_body(&expected, 4, content_body(content), 8192);

    cr_assert(eq(int, output_put(&output, &outputs, &method, NULL, 8192), STATUS_OK));
    cr_assert(eq(int, output_put(&output, &outputs, &get_ok, content, 8192), STATUS_OK));
    cr_expect(eq(int, write_out(), STATUS_OK));
    cr_expect(octets_equal(buffer_bytes(&sink.taken), buffer_bytes(&expected)));
    uint64_t size =
        net_action_octets(&method, NULL, 8192) + net_action_octets(&get_ok, content, 8192);
    cr_expect(eq(u64, counted, size));
    buffer_fini(&expected);
}

/* The chunk is gone after the flush, so what is left must have been copied. */
Test(output, what_the_socket_did_not_take_survives_the_content)
{
    static const size_t rooms[] = {0, 1, 40, 60, 61, 5000, 299999, 300100};
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        make_content(300000);
        struct net_action action = deliver();
        struct buffer expected = {0};
        expect_frames(&expected, &action, 8192);
        expect_frames(&expected, &action, 8192);
        buffer_clear(&sink.taken);

        sink.room = rooms[i];
        cr_assert(eq(int, output_put(&output, &outputs, &action, content, 8192), STATUS_OK));
        cr_assert(eq(int, output_put(&output, &outputs, &action, content, 8192), STATUS_OK));
        cr_expect(eq(int, write_out(), STATUS_AGAIN));
        cr_expect(eq(u64, counted, rooms[i]));
        cr_expect(eq(int, output_settle(&output, &outputs), STATUS_OK));
        memset(content->octets, 0xEE, 300000);

        sink.room = SIZE_MAX;
        cr_expect(eq(int, write_out(), STATUS_OK));
        cr_expect(octets_equal(buffer_bytes(&sink.taken), buffer_bytes(&expected)), "row %zu", i);
        cr_expect(eq(u64, counted, buffer_size(&expected) - rooms[i]), "row %zu", i);
        buffer_fini(&expected);
    }
}

/* I10: what a socket takes at once is bounded, or a reader that is fast enough would keep a turn
 * going until it has its whole message. */
Test(output, one_turn_writes_a_bounded_part_of_a_large_message)
{
    make_content(3000000);
    struct net_action action = deliver();
    action.loan = 5;
    cr_assert(eq(int, output_put(&output, &outputs, &action, content, 131072), STATUS_OK));
    uint64_t size = net_action_octets(&action, content, 131072);
    uint64_t sum = 0;
    uint32_t turns = 0;
    while (!output_is_empty(&output)) {
        sink.step = 100000;
        cr_assert(
            eq(int, output_write(&output, &outputs, &sink.base, &octets, &counted), STATUS_OK));
        cr_expect(lt(u64, octets, 2 * OUTPUT_WRITE_MAX));
        cr_expect(eq(int, output_settle(&output, &outputs), STATUS_OK));
        cr_expect(lt(sz, output.buffer.capacity, 4096), "nothing of the body is copied");
        sum += octets;
        turns++;
    }
    cr_expect(eq(u64, sum, size));
    cr_expect(ge(u32, turns, 6));
    cr_expect(eq(u32, outputs.loan_count, 1));
    cr_expect(eq(u64, outputs.loans[0], 5));
}

/* Contents that are lent and such that are not, in any order, at any place where the socket stops:
 * the stream is the same, the lent ones are read where they lie and the others from their copy. */
Test(output, what_is_lent_stays_and_the_rest_is_copied_around_it)
{
    enum { SIZE = 9000, FRAME_MAX = 4096 };
    struct content *lent = NULL;
    for (uint32_t pattern = 0; pattern < 16; pattern++) {
        for (size_t room = 0; room < 4 * (SIZE + 100); room += 1500) {
            make_content(SIZE);
            lent = content;
            content = NULL;
            make_content(SIZE);
            struct buffer expected = {0};
            buffer_clear(&sink.taken);
            outputs.loan_count = 0;
            sink.room = room;
            for (uint32_t i = 0; i < 4; i++) {
                struct net_action action = deliver();
                bool is_lent = (pattern >> i & 1) != 0;
                action.loan = is_lent ? i + 1 : 0;
                expect_frames(&expected, &action, FRAME_MAX);
                cr_assert(
                    eq(int,
                       output_put(&output, &outputs, &action, is_lent ? lent : content, FRAME_MAX),
                       STATUS_OK));
                if (i % 2 == 1) { /* two turns of the loop */
                    enum status status =
                        output_write(&output, &outputs, &sink.base, &octets, &counted);
                    cr_assert(status == STATUS_OK || status == STATUS_AGAIN);
                    cr_assert(eq(int, output_settle(&output, &outputs), STATUS_OK));
                    memset(content->octets + 8, 0xEE, SIZE);
                    make_content(SIZE);
                }
            }
            sink.room = SIZE_MAX;
            cr_assert(eq(int, write_out(), STATUS_OK));
            cr_expect(octets_equal(buffer_bytes(&sink.taken), buffer_bytes(&expected)),
                      "pattern %u room %zu", pattern, room);
            cr_expect(eq(u32, outputs.loan_count, (uint32_t)__builtin_popcount(pattern)));
            cr_expect(eq(u32, outputs.parts_used, 0));
            buffer_fini(&expected);
            free(lent);
        }
    }
}

/* What earlier ticks have left is not moved again: a client that asks for more and more and reads
 * nothing would make each tick longer than the one before. */
Test(output, settling_leaves_what_is_settled_where_it_is)
{
    sink.room = 0;
    make_content(3000);
    struct net_action action = deliver();
    for (int tick = 0; tick < 1000; tick++) {
        cr_assert(eq(int, output_put(&output, &outputs, &action, content, 4096), STATUS_OK));
        size_t before = buffer_size(&output.buffer);
        cr_assert(eq(int, output_settle(&output, &outputs), STATUS_OK));
        cr_expect(eq(sz, buffer_size(&output.buffer), before + 3000));
        cr_expect(not(output.is_unsettled));
    }
    cr_expect(eq(u32, outputs.parts_used, 0));
    cr_expect(eq(u32, outputs.part_count, 0));
}

Test(output, octets_of_no_action_are_not_counted)
{
    struct net_action method = {.type = NET_ACTION_METHOD};
    method.method.payload = bytes_make("\0\x0a\0\x33", 4);
    cr_assert(eq(int, output_put_uncounted(&output, &outputs, frame_heartbeat, FRAME_OVERHEAD),
                 STATUS_OK));
    cr_assert(eq(int, output_put(&output, &outputs, &method, NULL, 8192), STATUS_OK));
    sink.room = 5;
    cr_expect(eq(int, write_out(), STATUS_AGAIN));
    cr_expect(eq(u64, octets, 5));
    cr_expect(eq(u64, counted, 0));
    sink.room = SIZE_MAX;
    cr_expect(eq(int, write_out(), STATUS_OK));
    cr_expect(eq(u64, octets, 15));
    cr_expect(eq(u64, counted, 12));
}

Test(output, broken_transport_is_passed_on)
{
    make_content(10);
    struct net_action action = deliver();
    sink.room = 12;
    sink.refusal = STATUS_IO;
    cr_assert(eq(int, output_put(&output, &outputs, &action, content, 8192), STATUS_OK));
    cr_expect(eq(int, write_out(), STATUS_IO));
    cr_expect(eq(u64, octets, 12));
}

/* The memory of one busy link serves the next one; an idle network keeps little. */
Test(output, memory_goes_from_output_to_output)
{
    struct net_action method = {.type = NET_ACTION_METHOD};
    method.method.payload = bytes_make("\0\x0a\0\x33", 4);
    cr_assert(eq(int, output_put(&output, &outputs, &method, NULL, 8192), STATUS_OK));
    void *memory = output.buffer.data;
    cr_expect(eq(int, write_out(), STATUS_OK));
    cr_expect(zero(ptr, output.buffer.data));

    struct output other;
    output_init(&other);
    cr_assert(eq(int, output_put(&other, &outputs, &method, NULL, 8192), STATUS_OK));
    cr_expect(eq(ptr, other.buffer.data, memory));
    output_fini(&other, &outputs);
    cr_expect(output_pool_trim(&outputs), "there was some to give back");
    cr_expect(not(output_pool_trim(&outputs)));
}

Test(output, missing_memory_is_told_at_each_allocation)
{
    make_content(100000);
    struct net_action action = deliver();
    enum status status = STATUS_NO_MEMORY;
    uint32_t nth = 0;
    while (status == STATUS_NO_MEMORY) {
        nth++;
        alloc_faults_plan(nth);
        status = output_put(&output, &outputs, &action, content, 4096);
        if (status == STATUS_OK) {
            status = output_settle(&output, &outputs);
        }
        alloc_faults_plan(0);
        output_fini(&output, &outputs);
        output_pool_fini(&outputs);
    }
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(ge(int, nth, 4), "buffer, its growth, parts and room for what is copied");
}
