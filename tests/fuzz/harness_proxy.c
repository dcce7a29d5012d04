/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY headers, and the ranges of addresses that say who may send them. The input is what a proxy
 * sends; behind the octet `@`, a range, a blank, and an address. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/cidr.h"
#include "net/proxy_header.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4200 };

static bool
is_address(const char *text)
{
    uint8_t octets[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, octets) == 1 || inet_pton(AF_INET6, text, octets) == 1;
}

static void
check_taken(const struct proxy_header *header, struct bytes input)
{
    assert(header->size > 0);
    assert(header->size <= input.size);
    assert(header->size <= PROXY_HEADER_MAX);
    assert(memchr(header->source, 0, sizeof(header->source)) != NULL);
    assert(memchr(header->destination, 0, sizeof(header->destination)) != NULL);
    assert(!header->has_addresses || is_address(header->source));
    assert(!header->has_addresses || is_address(header->destination));
}

static enum status
decode(struct proxy_header *header, struct bytes input)
{
    const char *why = NULL;
    struct bytes copy = exact_copy(input);
    enum status status = proxy_header_decode(header, copy, &why);
    exact_copy_free(copy);
    assert((status == STATUS_REJECTED) == (why != NULL));
    return status;
}

/* Each front of the input: first it is waited for, then it is what it is, whatever follows. */
static void
check_header(struct bytes input)
{
    struct proxy_header whole;
    enum status status = decode(&whole, input);
    assert(status == STATUS_OK || status == STATUS_AGAIN || status == STATUS_REJECTED);
    assert(status != STATUS_AGAIN || input.size < PROXY_HEADER_MAX);
    if (status == STATUS_OK) {
        check_taken(&whole, input);
    }
    size_t step = input.size > 256 ? 61 : 1;
    bool was_refused = false;
    for (size_t size = 0; size < input.size; size += step) {
        struct proxy_header front;
        enum status of_front = decode(&front, bytes_make(input.data, size));
        assert(!was_refused || of_front == STATUS_REJECTED);
        was_refused = of_front == STATUS_REJECTED;
        assert(of_front != STATUS_OK || (status == STATUS_OK && front.size == whole.size));
        assert(status != STATUS_OK || size >= whole.size || of_front == STATUS_AGAIN);
        assert(status != STATUS_AGAIN || of_front == STATUS_AGAIN);
    }
}

static void
check_range(char *text)
{
    char *blank = strchr(text, ' ');
    struct cidr cidr;
    const char *why = NULL;
    uint8_t address[CIDR_ADDRESS_SIZE];
    if (blank != NULL) {
        *blank = '\0';
    }
    if (!cidr_parse(text, &cidr, &why)) {
        assert(why != NULL);
        return;
    }
    assert(cidr.prefix_bits <= 128);
    assert(cidr_contains(&cidr, cidr.address));
    if (blank == NULL || inet_pton(AF_INET6, blank + 1, address) != 1) {
        return;
    }
    bool is_same = true;
    for (unsigned bit = 0; bit < cidr.prefix_bits; bit++) {
        unsigned mask = 0x80U >> (bit % 8);
        is_same = is_same && ((address[bit / 8] ^ cidr.address[bit / 8]) & mask) == 0;
    }
    assert(cidr_contains(&cidr, address) == is_same);
}

static void
run(struct bytes input)
{
    if (input.size > 0 && input.data[0] == '@') {
        char *text = calloc(1, input.size);
        memcpy(text, input.data + 1, input.size - 1);
        check_range(text);
        free(text);
    } else {
        check_header(input);
    }
}

const struct fuzz_target fuzz_proxy = {.name = "proxy", .size_max = INPUT_MAX, .run = run};
