/* SPDX-License-Identifier: Apache-2.0 */
/* What the headers of a message say of its delay. */
#include "broker/message/delay.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "amqp/reply.h"
#include "amqp/table.h"

static const int64_t WALL_MS = INT64_C(1700000000000);

static struct buffer headers;
static struct fault fault;
static uint64_t delay_ms;

static void
set_up(void)
{
    buffer_init(&headers);
}

static void
tear_down(void)
{
    buffer_fini(&headers);
}

TestSuite(delay, .init = set_up, .fini = tear_down);

static enum status
read_delay(void)
{
    return delay_read(buffer_bytes(&headers), WALL_MS, &delay_ms, &fault);
}

static void
put(const char *name, uint8_t type, const void *octets, size_t size)
{
    struct table_value value = {.type = type, .raw = bytes_make(octets, size)};
    table_put_value(&headers, bytes_of(name), &value);
}

static void
expect_delay(uint64_t expected_ms)
{
    enum status status = read_delay();
    cr_expect(eq(int, status, STATUS_OK));
    cr_expect(eq(u64, delay_ms, expected_ms));
}

static void
expect_fault(const char *text)
{
    enum status status = read_delay();
    cr_assert(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.reply_code, REPLY_PRECONDITION_FAILED));
    cr_expect(eq(str, fault.text, (char *)text));
}

Test(delay, message_without_headers_comes_at_once)
{
    expect_delay(0);
}

/* Clients write what their language calls an integer. */
Test(delay, integer_of_any_letter_counts)
{
    static const struct {
        uint8_t type;
        uint8_t size;
        const char *octets;
    } rows[] = {
        {'b', 1, "\x64"},
        {'B', 1, "\x64"},
        {'s', 2, "\0\x64"},
        {'u', 2, "\0\x64"},
        {'I', 4, "\0\0\0\x64"},
        {'i', 4, "\0\0\0\x64"},
        {'l', 8, "\0\0\0\0\0\0\0\x64"},
        {'L', 8, "\0\0\0\0\0\0\0\x64"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&headers);
        put("x-delay", rows[i].type, rows[i].octets, rows[i].size);
        expect_delay(100);
    }
}

Test(delay, what_clients_write_for_an_integer_counts)
{
    table_put_text(&headers, "x-delay", bytes_of("2500"));
    expect_delay(2500);
    buffer_clear(&headers);
    put("x-delay", 'd', "\x40\x8f\x47\0\0\0\0\0", 8); /* 1000.875 */
    expect_delay(1000);
    buffer_clear(&headers);
    put("x-delay", 'V', "", 0);
    expect_delay(0);
}

/* A message that the plugin of RabbitMQ has delayed carries the number below zero. */
Test(delay, time_that_is_over_means_at_once)
{
    table_put_integer(&headers, "x-delay", -5000);
    table_put_integer(&headers, "x-deliver-at", WALL_MS - 1);
    expect_delay(0);
}

Test(delay, later_of_both_headers_counts)
{
    table_put_integer(&headers, "x-delay", 5000);
    table_put_integer(&headers, "x-deliver-at", WALL_MS + 4000);
    expect_delay(5000);
    buffer_clear(&headers);
    table_put_integer(&headers, "x-delay", 5000);
    table_put_integer(&headers, "x-deliver-at", WALL_MS + 6000);
    expect_delay(6000);
}

Test(delay, ten_years_are_the_longest)
{
    table_put_integer(&headers, "x-delay", INT64_C(315360000000));
    expect_delay(UINT64_C(315360000000));
    buffer_clear(&headers);
    table_put_integer(&headers, "x-delay", INT64_C(315360000001));
    expect_fault(
        "invalid header 'x-delay': '315360000001' is more than ten years (315360000000 ms) "
        "from now");
    buffer_clear(&headers);
    table_put_integer(&headers, "x-deliver-at", INT64_MAX);
    expect_fault("invalid header 'x-deliver-at': '9223372036854775807' is more than ten years "
                 "(315360000000 ms) from now");
    cr_expect(eq(u64, delay_ms, UINT64_C(315360000000)), "for who cannot refuse it");
}

Test(delay, what_is_no_number_is_refused)
{
    table_put_text(&headers, "x-delay", bytes_of("5s"));
    expect_fault("invalid header 'x-delay': '5s' of type 'longstr' is no number of milliseconds");
    buffer_clear(&headers);
    table_put_text(&headers, "x-delay", bytes_of("-"));
    expect_fault("invalid header 'x-delay': '-' of type 'longstr' is no number of milliseconds");
    buffer_clear(&headers);
    table_put_boolean(&headers, "x-delay", true);
    expect_fault("invalid header 'x-delay': 'true' of type 'bool' is no number of milliseconds");
    buffer_clear(&headers);
    put("x-deliver-at", 'T', "\0\0\0\0\x65\x53\xf1\0", 8);
    enum status status = read_delay();
    cr_expect(eq(int, status, STATUS_FAULT), "seconds, where milliseconds are asked for");
}

Test(delay, numbers_beyond_any_clock_do_no_harm)
{
    static const char *const digits[] = {"99999999999999999999999999",
                                         "-99999999999999999999999999"};
    table_put_text(&headers, "x-delay", bytes_of(digits[0]));
    enum status status = read_delay();
    cr_expect(eq(int, status, STATUS_FAULT));
    buffer_clear(&headers);
    table_put_text(&headers, "x-delay", bytes_of(digits[1]));
    table_put_integer(&headers, "x-deliver-at", INT64_MIN);
    expect_delay(0);
    buffer_clear(&headers);
    put("x-delay", 'd', "\x7f\xf0\0\0\0\0\0\0", 8); /* infinity */
    status = read_delay();
    cr_expect(eq(int, status, STATUS_FAULT));
    buffer_clear(&headers);
    put("x-delay", 'd', "\x7f\xf8\0\0\0\0\0\0", 8); /* no number */
    status = read_delay();
    cr_expect(eq(int, status, STATUS_FAULT));
}
