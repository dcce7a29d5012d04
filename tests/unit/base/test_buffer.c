/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: growing, consuming, and running out of memory. */
#include "base/buffer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <signal.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"

static struct buffer buffer;

static void
set_up(void)
{
    buffer_init(&buffer);
}

static void
tear_down(void)
{
    buffer_fini(&buffer);
}

TestSuite(buffer, .init = set_up, .fini = tear_down);

Test(buffer, an_empty_one_holds_no_memory)
{
    cr_expect(eq(sz, buffer_size(&buffer), 0));
    cr_expect(eq(ptr, buffer.data, NULL));
    cr_expect(eq(sz, buffer_bytes(&buffer).size, 0));
    buffer_put(&buffer, NULL, 0);
    buffer_put_bytes(&buffer, bytes_make(NULL, 0));
    cr_expect(eq(ptr, buffer.data, NULL));
}

Test(buffer, puts_values_big_endian)
{
    static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A,
                                       0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 2,    'h',  'i',  0,    0,
                                       0,    3,    'y',  'o',  'u',  'n',  '=',  '4',  '2'};
    buffer_put_u8(&buffer, 0x01);
    buffer_put_u16(&buffer, 0x0203);
    buffer_put_u32(&buffer, 0x04050607);
    buffer_put_u64(&buffer, UINT64_C(0x08090A0B0C0D0E0F));
    buffer_put_shortstr(&buffer, bytes_of("hi"));
    buffer_put_longstr(&buffer, bytes_of("you"));
    buffer_printf(&buffer, "%s=%d", "n", 42);
    cr_expect(bytes_equal(buffer_bytes(&buffer), bytes_make(expected, sizeof(expected))));
}

Test(buffer, takes_strings_of_every_wire_length)
{
    static const size_t sizes[] = {0, 1, 254, 255};
    uint8_t text[255];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        buffer_clear(&buffer);
        buffer_put_shortstr(&buffer, bytes_make(text, sizes[i]));
        struct byte_reader reader = byte_reader_make(buffer_bytes(&buffer));
        cr_expect(eq(sz, byte_reader_shortstr(&reader).size, sizes[i]));
        cr_expect(eq(sz, byte_reader_left(&reader), 0));
    }
}

Test(buffer, a_short_string_of_256_octets_is_a_bug, .signal = SIGABRT)
{
    uint8_t text[256] = {0};
    buffer_put_shortstr(&buffer, bytes_make(text, sizeof(text)));
}

Test(buffer, consuming_more_than_there_is_is_a_bug, .signal = SIGABRT)
{
    buffer_put_u8(&buffer, 1);
    buffer_consume(&buffer, 2);
}

/* Against a model: a window that moves over a known sequence of octets. */
Test(buffer, keeps_order_whatever_is_put_and_consumed)
{
    uint32_t random = 1;
    uint8_t next_put = 0;
    uint8_t next_taken = 0;
    size_t model_size = 0;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        size_t count = random >> 16 & 0xFF;
        if ((random >> 30 & 1) != 0) {
            for (size_t i = 0; i < count; i++) {
                buffer_put_u8(&buffer, next_put++);
            }
            model_size += count;
        } else {
            count = count < model_size ? count : model_size;
            struct bytes live = buffer_bytes(&buffer);
            for (size_t i = 0; i < count; i++) {
                cr_assert(eq(u8, live.data[i], next_taken));
                next_taken++;
            }
            buffer_consume(&buffer, count);
            model_size -= count;
        }
        cr_assert(eq(sz, buffer_size(&buffer), model_size));
    }
}

/* A connection's output buffer lives for days: what goes out at the front must not cost memory. */
Test(buffer, a_steady_flow_does_not_grow_it)
{
    uint8_t block[100] = {0};
    for (int i = 0; i < 100000; i++) {
        buffer_put(&buffer, block, sizeof(block));
        buffer_put(&buffer, block, sizeof(block));
        buffer_consume(&buffer, i == 0 ? 100 : 200);
    }
    cr_expect(le(sz, buffer.capacity, 1024));
}

Test(buffer, printf_grows_it_as_needed)
{
    buffer_printf(&buffer, "%0*d", 5000, 7);
    cr_expect(eq(sz, buffer_size(&buffer), 5000));
    cr_expect(eq(u8, buffer_bytes(&buffer).data[4999], '7'));
    buffer_printf(&buffer, "%s", "");
    cr_expect(eq(sz, buffer_size(&buffer), 5000));
}

/* After a failed reservation later puts must not leave a content with a gap. */
Test(buffer, running_out_of_memory_stops_it_until_it_is_cleared)
{
    buffer_put_u32(&buffer, 1);
    alloc_faults_plan(1);
    cr_expect(eq(ptr, buffer_reserve(&buffer, 100000), NULL));
    cr_expect(buffer.failed);
    buffer_put_u8(&buffer, 2);
    buffer_put_shortstr(&buffer, bytes_of("x"));
    buffer_printf(&buffer, "x");
    cr_expect(eq(sz, buffer_size(&buffer), 4));
    cr_expect(buffer.failed);
    buffer_clear(&buffer);
    buffer_put_u8(&buffer, 3);
    cr_expect(not(buffer.failed));
    cr_expect(eq(sz, buffer_size(&buffer), 1));
}

Test(buffer, a_size_that_would_wrap_around_is_refused)
{
    buffer_put_u8(&buffer, 1);
    cr_expect(eq(ptr, buffer_reserve(&buffer, SIZE_MAX), NULL));
    cr_expect(buffer.failed);
}

Test(buffer, numbers_are_put_in_decimal_digits)
{
    static const struct {
        uint64_t value;
        const char *text;
    } rows[] = {{0, "0"},
                {7, "7"},
                {10, "10"},
                {1234567890123, "1234567890123"},
                {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&buffer);
        buffer_put_decimal(&buffer, rows[i].value);
        cr_expect(bytes_equal_text(buffer_bytes(&buffer), rows[i].text));
    }
}
