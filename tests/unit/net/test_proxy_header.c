/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol as its specification (versions 1 and 2) writes it, and everything next to it:
 * who may say for whom a connection is, must not be misunderstood. */
#include "net/proxy_header.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "tests/support/exact_copy.h"

static const uint8_t SIGNATURE[12] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                      0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

static enum status
decode(struct proxy_header *header, struct bytes input, const char **why)
{
    struct bytes copy = exact_copy(input);
    enum status status = proxy_header_decode(header, copy, why);
    exact_copy_free(copy);
    return status;
}

static void
put_front(struct buffer *out, uint8_t command, uint8_t family, uint16_t size)
{
    buffer_put(out, SIGNATURE, sizeof(SIGNATURE));
    buffer_put_u8(out, command);
    buffer_put_u8(out, family);
    buffer_put_u16(out, size);
}

Test(proxy_header, line_says_who_connects_to_where)
{
    static const struct {
        const char *line;
        const char *source;
        uint16_t source_port;
        const char *destination;
        uint16_t destination_port;
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.2 40000 5672\r\n", "192.0.2.1", 40000, "198.51.100.2",
         5672},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535,
         "255.255.255.255", 65535},
        {"PROXY TCP6 2001:DB8::1 ::1 0 5671\r\n", "2001:db8::1", 0, "::1", 5671},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_header header;
        const char *why = NULL;
        cr_assert(eq(int, decode(&header, bytes_of(rows[i].line), &why), STATUS_OK), "%s: %s",
                  rows[i].line, why);
        cr_expect(eq(sz, header.size, strlen(rows[i].line)));
        cr_expect(header.has_addresses);
        cr_expect(eq(str, header.source, (char *)rows[i].source));
        cr_expect(eq(str, header.destination, (char *)rows[i].destination));
        cr_expect(eq(u16, header.source_port, rows[i].source_port));
        cr_expect(eq(u16, header.destination_port, rows[i].destination_port));
    }
}

/* "The receiver must ignore anything presented before the CRLF is found." */
Test(proxy_header, line_of_an_unknown_family_says_nothing)
{
    static const char *const lines[] = {
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UNKNOWN anything at all\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct proxy_header header;
        const char *why = NULL;
        cr_expect(eq(int, decode(&header, bytes_of(lines[i]), &why), STATUS_OK), "%s", lines[i]);
        cr_expect(not(header.has_addresses));
        cr_expect(eq(sz, header.size, strlen(lines[i])));
    }
}

Test(proxy_header, what_is_no_header_is_refused_at_once)
{
    static const char *const lines[] = {
        "AMQP\x01",
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY\tTCP4",
        "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r",
        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN \x7f\r\n",
        "PROXY UNKNOWN \xc3\xa9\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct proxy_header header = {.size = 7};
        const char *why = NULL;
        cr_expect(eq(int, decode(&header, bytes_of(lines[i]), &why), STATUS_REJECTED), "%s",
                  lines[i]);
        cr_expect(why != NULL);
        cr_expect(eq(sz, header.size, 7), "outputs are written on success only");
    }
}

/* 107 octets are the longest line there is: one that goes on is none, and is not waited for. */
Test(proxy_header, line_that_does_not_end_in_time_is_refused)
{
    char line[PROXY_HEADER_V1_MAX + 1];
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    struct proxy_header header;
    const char *why = NULL;
    cr_expect(
        eq(int, decode(&header, bytes_make(line, PROXY_HEADER_V1_MAX - 1), &why), STATUS_AGAIN));
    cr_expect(
        eq(int, decode(&header, bytes_make(line, PROXY_HEADER_V1_MAX), &why), STATUS_REJECTED));
    line[PROXY_HEADER_V1_MAX - 2] = '\r';
    line[PROXY_HEADER_V1_MAX - 1] = '\n';
    cr_expect(eq(int, decode(&header, bytes_make(line, PROXY_HEADER_V1_MAX), &why), STATUS_OK));
    line[PROXY_HEADER_V1_MAX - 2] = 'x';
    line[PROXY_HEADER_V1_MAX - 1] = '\r';
    line[PROXY_HEADER_V1_MAX] = '\n';
    cr_expect(
        eq(int, decode(&header, bytes_make(line, PROXY_HEADER_V1_MAX + 1), &why), STATUS_REJECTED));
}

/* A header of version 2 with IPv4 addresses, and what a cloud's balancer puts behind them. */
static void
put_tcp4(struct buffer *out, uint8_t command)
{
    static const uint8_t addresses[] = {192, 0, 2, 1, 198, 51, 100, 2, 0x9C, 0x40, 0x16, 0x28};
    static const uint8_t vectors[] = {0x04, 0, 2, 0, 0, 0xEA, 0, 1, 0x01};
    put_front(out, command, 0x11, sizeof(addresses) + sizeof(vectors));
    buffer_put(out, addresses, sizeof(addresses));
    buffer_put(out, vectors, sizeof(vectors));
}

Test(proxy_header, binary_header_says_who_connects_to_where)
{
    struct buffer input;
    struct proxy_header header;
    const char *why = NULL;
    buffer_init(&input);
    put_tcp4(&input, 0x21);
    size_t size = buffer_size(&input);
    buffer_put(&input, "AMQP", 4);
    cr_assert(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_OK), "%s", why);
    cr_expect(eq(sz, header.size, size), "what follows is the client's");
    cr_expect(eq(str, header.source, "192.0.2.1"));
    cr_expect(eq(u16, header.source_port, 40000));
    cr_expect(eq(str, header.destination, "198.51.100.2"));
    cr_expect(eq(u16, header.destination_port, 5672));

    uint8_t v6[36] = {[0] = 0x20, [1] = 0x01, [15] = 1, [31] = 1, [32] = 1, [35] = 2};
    buffer_clear(&input);
    put_front(&input, 0x21, 0x21, sizeof(v6));
    buffer_put(&input, v6, sizeof(v6));
    cr_assert(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_OK), "%s", why);
    cr_expect(eq(str, header.source, "2001::1"));
    cr_expect(eq(str, header.destination, "::1"));
    cr_expect(eq(u16, header.source_port, 256));
    cr_expect(eq(u16, header.destination_port, 2));
    buffer_fini(&input);
}

/* LOCAL is the proxy's own connection, a health check say: whatever stands behind it means nothing.
 * A client that came to the proxy over a socket of another kind has no address for us. */
Test(proxy_header, binary_header_may_say_nothing)
{
    static const struct {
        uint8_t command, family;
        uint16_t size;
    } rows[] = {
        {0x20, 0x00, 0}, {0x20, 0x11, 12}, {0x20, 0x11, 3},   {0x20, 0xFF, 40},
        {0x21, 0x00, 0}, {0x21, 0x00, 5},  {0x21, 0x31, 216},
    };
    struct buffer input;
    buffer_init(&input);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t rest[216] = {0};
        struct proxy_header header;
        const char *why = NULL;
        buffer_clear(&input);
        put_front(&input, rows[i].command, rows[i].family, rows[i].size);
        buffer_put(&input, rest, rows[i].size);
        cr_expect(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_OK), "row %zu: %s", i,
                  why);
        cr_expect(not(header.has_addresses));
        cr_expect(eq(sz, header.size, 16 + (size_t)rows[i].size));
    }
    buffer_fini(&input);
}

Test(proxy_header, binary_header_that_is_not_right_is_refused)
{
    static const struct {
        uint8_t command, family;
        uint16_t size;
        const char *why;
    } rows[] = {
        {0x11, 0x11, 12, "version"},      {0x22, 0x11, 12, "version"},
        {0x2F, 0x11, 12, "version"},      {0x21, 0x12, 12, "transport"},
        {0x21, 0x22, 36, "transport"},    {0x21, 0x32, 216, "transport"},
        {0x21, 0x41, 216, "transport"},   {0x21, 0x11, 11, "too short"},
        {0x21, 0x21, 35, "too short"},    {0x21, 0x31, 215, "too short"},
        {0x21, 0x11, 13, "does not fit"}, {0x21, 0x11, 14, "does not fit"},
    };
    struct buffer input;
    buffer_init(&input);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t rest[256];
        struct proxy_header header;
        const char *why = "";
        memset(rest, 0x20, sizeof(rest));
        buffer_clear(&input);
        put_front(&input, rows[i].command, rows[i].family, rows[i].size);
        buffer_put(&input, rest, rows[i].size);
        cr_expect(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_REJECTED), "row %zu",
                  i);
        cr_expect(strstr(why, rows[i].why) != NULL, "row %zu: %s", i, why);
    }
    buffer_fini(&input);
}

/* What is announced is bounded before it is waited for. */
Test(proxy_header, binary_header_is_at_most_4096_octets_long)
{
    struct buffer input;
    struct proxy_header header;
    const char *why = NULL;
    buffer_init(&input);
    put_front(&input, 0x20, 0x00, PROXY_HEADER_MAX - 16);
    cr_expect(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_AGAIN));
    buffer_clear(&input);
    put_front(&input, 0x20, 0x00, PROXY_HEADER_MAX - 15);
    cr_expect(eq(int, decode(&header, buffer_bytes(&input), &why), STATUS_REJECTED));
    buffer_fini(&input);
}

/* Octets come as they like: until the last one all is well, and nothing is known. */
Test(proxy_header, front_of_a_header_waits_for_the_rest)
{
    struct buffer input;
    buffer_init(&input);
    put_tcp4(&input, 0x21);
    const struct bytes inputs[] = {
        bytes_of("PROXY TCP6 2001:db8::1 ::1 40000 5671\r\n"),
        buffer_bytes(&input),
    };
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        for (size_t size = 0; size < inputs[i].size; size++) {
            struct proxy_header header;
            const char *why = NULL;
            cr_expect(
                eq(int, decode(&header, bytes_make(inputs[i].data, size), &why), STATUS_AGAIN),
                "input %zu, %zu octets: %s", i, size, why);
        }
    }
    buffer_fini(&input);
}
