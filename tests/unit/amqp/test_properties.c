/* SPDX-License-Identifier: Apache-2.0 */
/* Content headers and property blocks. */
#include "amqp/properties.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "base/random.h"
#include "tests/support/exact_copy.h"

static struct buffer block;
static struct buffer headers;
static struct fault fault;

static void
tear_down(void)
{
    buffer_fini(&block);
    buffer_fini(&headers);
}

TestSuite(properties, .fini = tear_down);
TestSuite(content_header, .fini = tear_down);

/* Decodes a copy of exactly the size of `octets` and forgets the result. */
static enum status
try_decode(struct bytes octets)
{
    struct properties read;
    struct bytes copy = exact_copy(octets);
    enum status status = properties_decode(&read, copy, &fault);
    exact_copy_free(copy);
    return status;
}

static struct properties
all_fourteen(void)
{
    buffer_clear(&headers);
    table_put_text(&headers, "k", bytes_of("v"));
    table_put_integer(&headers, "n", -5);
    return (struct properties){
        .flags = 0xFFFC,
        .content_type = bytes_of("text/plain"),
        .content_encoding = bytes_of("gzip"),
        .headers = buffer_bytes(&headers),
        .delivery_mode = DELIVERY_MODE_PERSISTENT,
        .priority = 9,
        .correlation_id = bytes_of("c-1"),
        .reply_to = bytes_of("answers"),
        .expiration = bytes_of("60000"),
        .message_id = bytes_of("m-1"),
        .timestamp = UINT64_C(0x8000000000000001),
        .type = bytes_of("order"),
        .user_id = bytes_of("guest"),
        .app_id = bytes_of("shop"),
        .cluster_id = bytes_of("c"),
    };
}

static void
expect_equal(const struct properties *a, const struct properties *b)
{
    cr_expect(eq(u16, a->flags, b->flags));
    cr_expect(bytes_equal(a->content_type, b->content_type));
    cr_expect(bytes_equal(a->content_encoding, b->content_encoding));
    cr_expect(bytes_equal(a->headers, b->headers));
    cr_expect(eq(u8, a->delivery_mode, b->delivery_mode));
    cr_expect(eq(u8, a->priority, b->priority));
    cr_expect(bytes_equal(a->correlation_id, b->correlation_id));
    cr_expect(bytes_equal(a->reply_to, b->reply_to));
    cr_expect(bytes_equal(a->expiration, b->expiration));
    cr_expect(bytes_equal(a->message_id, b->message_id));
    cr_expect(eq(u64, a->timestamp, b->timestamp));
    cr_expect(bytes_equal(a->type, b->type));
    cr_expect(bytes_equal(a->user_id, b->user_id));
    cr_expect(bytes_equal(a->app_id, b->app_id));
    cr_expect(bytes_equal(a->cluster_id, b->cluster_id));
}

Test(properties, all_fourteen_make_the_round_trip)
{
    struct properties written = all_fourteen();
    struct properties read;
    properties_encode(&block, &written);
    cr_assert(eq(int, properties_decode(&read, buffer_bytes(&block), &fault), STATUS_OK));
    expect_equal(&read, &written);
}

/* The order on the wire is that of the flags; here it is written by hand. */
Test(properties, the_order_on_the_wire_is_that_of_the_specification)
{
    static const uint8_t expected[] = {
        0xFF, 0xFC, 1,   'a', 1, 'b', 0, 0, 0, 3, 1, 'h', 'V', 2, 7,   1, 'c', 1, 'd', 1,
        'e',  1,    'f', 0,   0, 0,   0, 0, 0, 0, 9, 1,   'g', 1, 'i', 1, 'j', 1, 'k'};
    struct properties read;
    cr_assert(eq(int, properties_decode(&read, bytes_make(expected, sizeof(expected)), &fault),
                 STATUS_OK));
    cr_expect(bytes_equal_text(read.content_type, "a"));
    cr_expect(bytes_equal_text(read.content_encoding, "b"));
    cr_expect(eq(sz, read.headers.size, 3));
    cr_expect(eq(u8, read.delivery_mode, 2));
    cr_expect(eq(u8, read.priority, 7));
    cr_expect(bytes_equal_text(read.correlation_id, "c"));
    cr_expect(bytes_equal_text(read.reply_to, "d"));
    cr_expect(bytes_equal_text(read.expiration, "e"));
    cr_expect(bytes_equal_text(read.message_id, "f"));
    cr_expect(eq(u64, read.timestamp, 9));
    cr_expect(bytes_equal_text(read.type, "g"));
    cr_expect(bytes_equal_text(read.user_id, "i"));
    cr_expect(bytes_equal_text(read.app_id, "j"));
    cr_expect(bytes_equal_text(read.cluster_id, "k"));
    properties_encode(&block, &read);
    cr_expect(bytes_equal(buffer_bytes(&block), bytes_make(expected, sizeof(expected))));
}

/* Every one of the 16384 combinations: what is not flagged is neither written nor read. */
Test(properties, every_combination_of_flags_makes_the_round_trip)
{
    struct properties full = all_fourteen();
    for (uint32_t flags = 0; flags <= 0xFFFC; flags += 4) {
        struct properties written = full;
        struct properties read;
        written.flags = (uint16_t)flags;
        buffer_clear(&block);
        properties_encode(&block, &written);
        cr_assert(eq(int, properties_decode(&read, buffer_bytes(&block), &fault), STATUS_OK),
                  "flags 0x%04x: %s", flags, fault.text);
        cr_assert(eq(u16, read.flags, written.flags));
        cr_assert(eq(sz, read.app_id.size, (flags & PROPERTY_APP_ID) != 0 ? 4 : 0));
        cr_assert(eq(u8, read.priority, (flags & PROPERTY_PRIORITY) != 0 ? 9 : 0));
        cr_assert(
            eq(sz, read.headers.size, (flags & PROPERTY_HEADERS) != 0 ? full.headers.size : 0));
    }
}

Test(properties, undefined_flags_and_a_second_flag_word_are_refused)
{
    static const uint8_t rows[][4] = {
        {0x00, 0x01, 0x00, 0x00}, {0x00, 0x02, 0, 0}, {0x00, 0x03, 0, 0}, {0x80, 0x01, 0, 0}};
    static const size_t sizes[] = {4, 2, 4, 4};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, try_decode(bytes_make(rows[i], sizes[i])), STATUS_FAULT), "row %zu", i);
        cr_expect(eq(u16, fault.reply_code, 502), "row %zu", i);
    }
}

Test(properties, a_block_cut_at_any_octet_is_refused)
{
    struct properties written = all_fourteen();
    properties_encode(&block, &written);
    struct bytes whole = buffer_bytes(&block);
    for (size_t size = 0; size < whole.size; size++) {
        cr_expect(eq(int, try_decode(bytes_make(whole.data, size)), STATUS_FAULT), "%zu", size);
        cr_expect(eq(u16, fault.reply_code, 502), "%zu octets", size);
        cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
    }
}

Test(properties, octets_left_over_are_refused)
{
    struct properties written = all_fourteen();
    properties_encode(&block, &written);
    buffer_put_u8(&block, 0);
    cr_expect(eq(int, try_decode(buffer_bytes(&block)), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 502));
}

Test(properties, a_malformed_headers_table_is_a_frame_error)
{
    static const uint8_t octets[] = {0x20, 0x00, 0, 0, 0, 3, 1, 'k', '?'};
    cr_expect(eq(int, try_decode(bytes_make(octets, sizeof(octets))), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 501));
}

/* Headers may hold more fields than arguments. */
Test(properties, headers_take_4096_fields_and_no_more)
{
    for (uint32_t count = 4095; count <= 4097; count++) {
        buffer_clear(&headers);
        for (uint32_t i = 0; i < count; i++) {
            buffer_put_u8(&headers, 0);
            buffer_put_u8(&headers, 'V');
        }
        buffer_clear(&block);
        struct properties written = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
        properties_encode(&block, &written);
        enum status status = try_decode(buffer_bytes(&block));
        cr_expect(eq(int, status, count <= 4096 ? STATUS_OK : STATUS_FAULT), "%u fields", count);
    }
    cr_expect(eq(u16, fault.reply_code, 501));
}

/* Properties are binary to a broker: correlation ids are often raw UUIDs. */
Test(properties, short_strings_need_not_be_utf8)
{
    static const uint8_t octets[] = {0x04, 0x00, 2, 0xFF, 0x00};
    cr_expect(eq(int, try_decode(bytes_make(octets, sizeof(octets))), STATUS_OK));
}

Test(properties, a_failed_decode_leaves_the_result_alone)
{
    struct properties read = {.flags = 0x1234, .priority = 3};
    cr_expect(eq(int, properties_decode(&read, bytes_of("\xFF\xFC"), &fault), STATUS_FAULT));
    cr_expect(eq(u16, read.flags, 0x1234));
    cr_expect(eq(u8, read.priority, 3));
}

Test(properties, random_changes_never_break_the_decoder)
{
    struct properties written = all_fourteen();
    properties_encode(&block, &written);
    struct bytes whole = buffer_bytes(&block);
    uint64_t seed = 21;
    struct random_source random = random_seeded(&seed);
    int accepted = 0;
    for (int round = 0; round < 50000; round++) {
        struct bytes copy = exact_copy(whole);
        for (uint64_t change = random_u64(&random) % 4; change < 4; change++) {
            ((uint8_t *)copy.data)[random_u64(&random) % copy.size] = (uint8_t)random_u64(&random);
        }
        struct properties read;
        enum status status = properties_decode(&read, copy, &fault);
        if (status == STATUS_OK) {
            accepted++;
            buffer_clear(&headers);
            properties_encode(&headers, &read);
            cr_assert(bytes_equal(buffer_bytes(&headers), copy), "what is taken is understood");
        } else {
            cr_assert(eq(int, status, STATUS_FAULT));
            cr_assert(fault.reply_code == 501 || fault.reply_code == 502);
        }
        exact_copy_free(copy);
    }
    cr_expect(lt(int, 1000, accepted));
}

Test(content_header, the_fixed_part_is_read_and_the_rest_is_the_block)
{
    static const uint64_t sizes[] = {
        0, 1, 255, 256, UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        buffer_clear(&block);
        buffer_put_u16(&block, 60);
        buffer_put_u16(&block, 0);
        buffer_put_u64(&block, sizes[i]);
        buffer_put_u16(&block, 0x1000);
        buffer_put_u8(&block, 2);
        struct content_header header;
        cr_assert(eq(int, content_header_decode(&header, buffer_bytes(&block), &fault), STATUS_OK));
        cr_expect(eq(u16, header.class_id, 60));
        cr_expect(eq(u64, header.body_size, sizes[i]));
        cr_expect(bytes_equal(header.properties, bytes_make("\x10\x00\x02", 3)));
    }
}

Test(content_header, one_cut_at_any_octet_is_refused)
{
    static const uint8_t octets[14] = {0, 60};
    for (size_t size = 0; size <= sizeof(octets); size++) {
        struct content_header header;
        struct bytes copy = exact_copy(bytes_make(octets, size));
        enum status status = content_header_decode(&header, copy, &fault);
        exact_copy_free(copy);
        cr_expect(eq(int, status, size == sizeof(octets) ? STATUS_OK : STATUS_FAULT));
        cr_expect(size == sizeof(octets) || fault.reply_code == 502);
    }
}

/* The specification: the weight is unused and must be zero. */
Test(content_header, one_with_a_weight_is_no_content_header)
{
    static const uint8_t octets[14] = {0, 60, 0, 1};
    struct content_header header;
    enum status status = content_header_decode(&header, bytes_make(octets, sizeof(octets)), &fault);
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 505));
}
