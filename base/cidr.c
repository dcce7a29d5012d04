/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V4_BITS = 32, V6_BITS = 128, MAPPED_BITS = V6_BITS - V4_BITS, DIGITS_MAX = 3 };

static const uint8_t mapped_prefix[MAPPED_BITS / 8] = {[10] = 0xFF, [11] = 0xFF};

/* Digits without a sign or a zero in front. */
static bool
parse_bits(const char *text, uint32_t max, uint32_t *bits_out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || text[digits] != '\0' ||
        (digits > 1 && text[0] == '0')) {
        return false;
    }
    unsigned long bits = strtoul(text, NULL, 10);
    *bits_out = (uint32_t)bits;
    return bits <= max;
}

/* Of an address without a prefix, its size in bits. 0: it is none. */
static uint32_t
parse_address(const char *text, uint8_t out[static CIDR_ADDRESS_SIZE])
{
    if (inet_pton(AF_INET6, text, out) == 1) {
        return V6_BITS;
    }
    memcpy(out, mapped_prefix, sizeof(mapped_prefix));
    return inet_pton(AF_INET, text, out + sizeof(mapped_prefix)) == 1 ? V4_BITS : 0;
}

/* The bits of octet number `at` that the prefix covers. */
static uint8_t
mask_of(uint32_t prefix_bits, uint32_t at)
{
    uint32_t covered = prefix_bits > at * 8 ? prefix_bits - at * 8 : 0;
    return (uint8_t)(covered >= 8 ? 0xFFU : 0xFF00U >> covered);
}

static bool
ends_with_its_prefix(const struct cidr *cidr)
{
    for (uint32_t i = 0; i < CIDR_ADDRESS_SIZE; i++) {
        if ((cidr->address[i] & ~mask_of(cidr->prefix_bits, i)) != 0) {
            return false;
        }
    }
    return true;
}

bool
cidr_parse(const char *text, struct cidr *cidr_out, const char **why_out)
{
    const char *slash = strchr(text, '/');
    size_t size = slash == NULL ? strlen(text) : (size_t)(slash - text);
    char address[CIDR_TEXT_SIZE] = "";
    struct cidr cidr = {.prefix_bits = 0};
    if (size < sizeof(address)) {
        (void)snprintf(address, sizeof(address), "%.*s", (int)size, text);
    }
    uint32_t address_bits = parse_address(address, cidr.address);
    uint32_t bits = address_bits;
    if (address_bits == 0) {
        *why_out = "is no range of addresses, such as 10.0.0.0/8 or fd00::/8";
        return false;
    }
    if (slash != NULL && !parse_bits(slash + 1, address_bits, &bits)) {
        *why_out = address_bits == V4_BITS ? "has no number of bits from 0 to 32 behind the slash"
                                           : "has no number of bits from 0 to 128 behind the slash";
        return false;
    }
    cidr.prefix_bits = (uint8_t)(V6_BITS - address_bits + bits);
    if (!ends_with_its_prefix(&cidr)) {
        *why_out = "has bits set behind its prefix: write the first address of the range";
        return false;
    }
    *cidr_out = cidr;
    return true;
}

bool
cidr_contains(const struct cidr *cidr, const uint8_t address[static CIDR_ADDRESS_SIZE])
{
    for (uint32_t i = 0; i < CIDR_ADDRESS_SIZE; i++) {
        if ((address[i] & mask_of(cidr->prefix_bits, i)) != cidr->address[i]) {
            return false;
        }
    }
    return true;
}
