/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/retry_headers.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"

static struct buffer headers, out;

static void
set_up(void)
{
    buffer_init(&headers);
    buffer_init(&out);
}

static void
tear_down(void)
{
    buffer_fini(&headers);
    buffer_fini(&out);
}

TestSuite(retry_headers, .init = set_up, .fini = tear_down);

static void
expect_field(struct byte_reader *reader, const char *name, uint8_t type)
{
    struct bytes found;
    struct table_value value;
    cr_assert(table_next(reader, &found, &value));
    cr_expect(bytes_equal_text(found, name), "%s", name);
    cr_expect(eq(int, value.type, type), "%s", name);
}

/* Only what must change is changed. */
Test(retry_headers, other_headers_keep_order_and_letters)
{
    const struct failure_row failure = {
        .delivery_count = 2, .acquired_count = 3, .verdict = RETRY_NACK};
    const uint8_t small[] = {0, 0, 0, 9};
    table_put_value(&headers, bytes_of("b"),
                    &(struct table_value){.type = 'I', .raw = bytes_make(small, sizeof(small))});
    table_put_integer(&headers, "x-delivery-count", 77);
    table_put_text(&headers, "x-last-verdict", bytes_of("mine"));
    table_put_boolean(&headers, "a", true);
    retry_headers_put(&out, buffer_bytes(&headers), &failure);
    struct byte_reader reader = byte_reader_make(buffer_bytes(&out));
    expect_field(&reader, "b", 'I');
    expect_field(&reader, "a", 't');
    expect_field(&reader, "x-delivery-count", 'l');
    expect_field(&reader, "x-acquired-count", 'l');
    expect_field(&reader, "x-last-verdict", 'S');
    cr_expect(eq(u64, byte_reader_left(&reader), 0));
    struct table_value value;
    cr_assert(table_find(buffer_bytes(&out), "x-delivery-count", &value));
    cr_expect(eq(i64, table_value_integer(&value), 2), "the client's own is replaced");
    cr_assert(table_find(buffer_bytes(&out), "x-acquired-count", &value));
    cr_expect(eq(i64, table_value_integer(&value), 3));
    cr_assert(table_find(buffer_bytes(&out), "x-last-verdict", &value));
    cr_expect(bytes_equal_text(value.raw, "nack"));
}

/* Handed out, and come back without anybody saying that it failed. */
Test(retry_headers, what_is_not_known_is_not_said)
{
    const struct failure_row failure = {.acquired_count = 1};
    retry_headers_put(&out, buffer_bytes(&headers), &failure);
    struct byte_reader reader = byte_reader_make(buffer_bytes(&out));
    expect_field(&reader, "x-acquired-count", 'l');
    cr_expect(eq(u64, byte_reader_left(&reader), 0));
}

Test(retry_headers, they_take_no_more_than_they_are_expected_to)
{
    const struct failure_row failure = {
        .delivery_count = UINT32_MAX, .acquired_count = UINT32_MAX, .verdict = RETRY_TIMEOUT};
    retry_headers_put(&out, buffer_bytes(&headers), &failure);
    cr_expect(le(sz, buffer_size(&out) + sizeof(uint32_t), RETRY_HEADERS_OCTETS_MAX));
}
