/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of addresses: who is in them decides who may speak for others. */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/assert.h"

/* An address as ranges have it. */
static void
address_of(const char *text, uint8_t out[static CIDR_ADDRESS_SIZE])
{
    if (inet_pton(AF_INET6, text, out) != 1) {
        memset(out, 0, CIDR_ADDRESS_SIZE);
        out[10] = out[11] = 0xFF;
        cr_assert(eq(int, inet_pton(AF_INET, text, out + 12), 1), "%s", text);
    }
}

Test(cidr, address_is_in_a_range_when_its_first_bits_are_the_same)
{
    static const struct {
        const char *range;
        const char *address;
        bool is_in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "203.0.113.9", true},
        {"fd00::/8", "fdff::1", true},
        {"fd00::/8", "fe00::1", false},
        {"2001:db8::/127", "2001:db8::1", true},
        {"2001:db8::/127", "2001:db8::2", false},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        /* One address, written in two ways. */
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr cidr;
        const char *why = NULL;
        uint8_t address[CIDR_ADDRESS_SIZE];
        address_of(rows[i].address, address);
        cr_assert(cidr_parse(rows[i].range, &cidr, &why), "%s %s", rows[i].range, why);
        cr_expect(eq(int, cidr_contains(&cidr, address), rows[i].is_in), "%s in %s",
                  rows[i].address, rows[i].range);
    }
}

Test(cidr, what_is_no_range_is_refused_with_a_reason)
{
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        {"", "is no range"},
        {"/8", "is no range"},
        {"10.0.0/8", "is no range"},
        {"10.0.0.0.0/8", "is no range"},
        {"localhost", "is no range"},
        {"10.0.0.0 /8", "is no range"},
        {"[::1]/128", "is no range"},
        {"10.0.0.0/", "has no number of bits from 0 to 32"},
        {"10.0.0.0/33", "has no number of bits from 0 to 32"},
        {"10.0.0.0/08", "has no number of bits from 0 to 32"},
        {"10.0.0.0/-1", "has no number of bits from 0 to 32"},
        {"10.0.0.0/8/8", "has no number of bits from 0 to 32"},
        {"10.0.0.0/255.0.0.0", "has no number of bits from 0 to 32"},
        {"10.0.0.0/4294967304", "has no number of bits from 0 to 32"},
        {"fd00::/129", "has no number of bits from 0 to 128"},
        {"10.0.0.1/8", "has bits set behind its prefix"},
        {"fd00::1/64", "has bits set behind its prefix"},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee/8", "is no range"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr cidr = {.prefix_bits = 77};
        const char *why = NULL;
        cr_expect(not(cidr_parse(rows[i].text, &cidr, &why)), "%s", rows[i].text);
        cr_assert(why != NULL);
        cr_expect(eq(int, strncmp(why, rows[i].why, strlen(rows[i].why)), 0), "%s: %s",
                  rows[i].text, why);
        cr_expect(eq(u8, cidr.prefix_bits, 77), "outputs are written on success only");
    }
}
