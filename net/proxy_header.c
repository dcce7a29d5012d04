/* SPDX-License-Identifier: Apache-2.0 */
/* Version 1 is a line of text, version 2 a header of 16 octets with what it announces behind it.
 * Both are read as strictly as they are written by those who keep to the specification: what two
 * readers could take for different things is refused. */
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static enum status
reject(const char **why_out, const char *why)
{
    *why_out = why;
    return STATUS_REJECTED;
}

/* Version 1 ----------------------------------------------------------------------------------- */

static const char line_start[] = "PROXY ";

enum { LINE_START = sizeof(line_start) - 1, PORT_DIGITS_MAX = 5 };

/* Takes the word in front of the next blank, or all that is left; false when it does not fit `out`,
 * or is empty. */
static bool
take_word(struct bytes *line, char *out, size_t out_size)
{
    const uint8_t *blank = line->size == 0 ? NULL : memchr(line->data, ' ', line->size);
    size_t size = blank == NULL ? line->size : (size_t)(blank - line->data);
    if (size == 0 || size >= out_size) {
        return false;
    }
    memcpy(out, line->data, size);
    out[size] = '\0';
    size_t taken = blank == NULL ? size : size + 1;
    *line = bytes_make(line->data + taken, line->size - taken);
    return blank == NULL || line->size > 0; /* no blank at the end */
}

/* The address as we write it: the family's, and nothing but an address. */
static bool
take_address(struct bytes *line, int family, char out[static PROXY_ADDRESS_TEXT_SIZE])
{
    char word[PROXY_ADDRESS_TEXT_SIZE];
    uint8_t octets[sizeof(struct in6_addr)];
    return take_word(line, word, sizeof(word)) && inet_pton(family, word, octets) == 1 &&
           inet_ntop(family, octets, out, PROXY_ADDRESS_TEXT_SIZE) != NULL;
}

static bool
take_port(struct bytes *line, uint16_t *port_out)
{
    char word[PORT_DIGITS_MAX + 1];
    if (!take_word(line, word, sizeof(word)) || word[strspn(word, "0123456789")] != '\0' ||
        (word[0] == '0' && word[1] != '\0')) {
        return false;
    }
    unsigned long port = strtoul(word, NULL, 10);
    *port_out = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* `line` is what stands between the start and the end of the line. */
static enum status
decode_words(struct proxy_header *header, struct bytes line, const char **why_out)
{
    char family[sizeof("UNKNOWN")];
    struct bytes rest = line;
    if (!take_word(&rest, family, sizeof(family))) {
        return reject(why_out, "no family in the line");
    }
    if (strcmp(family, "UNKNOWN") == 0) {
        return STATUS_OK; /* whatever follows is not to be looked at */
    }
    bool is_v6 = strcmp(family, "TCP6") == 0;
    if (!is_v6 && strcmp(family, "TCP4") != 0) {
        return reject(why_out, "a family other than TCP4, TCP6 and UNKNOWN");
    }
    int number = is_v6 ? AF_INET6 : AF_INET;
    if (!take_address(&rest, number, header->source) ||
        !take_address(&rest, number, header->destination) ||
        !take_port(&rest, &header->source_port) || !take_port(&rest, &header->destination_port) ||
        rest.size > 0) {
        return reject(why_out, "the line is not family, two addresses and two ports");
    }
    header->has_addresses = true;
    return STATUS_OK;
}

/* Where the carriage return stands; `size` when it has not come. False when something else stands
 * where it has to be, or before. */
static bool
find_line_end(struct bytes input, size_t *end_out)
{
    size_t size = input.size < PROXY_HEADER_V1_MAX ? input.size : PROXY_HEADER_V1_MAX;
    size_t end = 0;
    while (end < size && input.data[end] >= ' ' && input.data[end] <= '~') {
        end++;
    }
    *end_out = end;
    if (end == size) {
        return size < PROXY_HEADER_V1_MAX;
    }
    return input.data[end] == '\r' && end + 1 < PROXY_HEADER_V1_MAX &&
           (end + 1 == size || input.data[end + 1] == '\n');
}

static enum status
decode_line(struct proxy_header *header, struct bytes input, const char **why_out)
{
    size_t end;
    if (!find_line_end(input, &end)) {
        return reject(why_out, "the line does not end as it must within 107 octets");
    }
    if (end + 2 > input.size) {
        return STATUS_AGAIN;
    }
    header->size = end + 2;
    return decode_words(header, bytes_make(input.data + LINE_START, end - LINE_START), why_out);
}

/* Version 2 ----------------------------------------------------------------------------------- */

static const uint8_t signature[] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                    0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

enum {
    V2_FIXED = 16,
    V2_LOCAL = 0x20, /* version and command in one octet */
    V2_PROXY = 0x21,
    V2_UNSPECIFIED = 0x00, /* family and transport in one octet */
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_UNIX_STREAM = 0x31,
    V2_TCP4_SIZE = 12, /* of addresses and ports */
    V2_TCP6_SIZE = 36,
    V2_UNIX_SIZE = 216,
    TLV_FIXED = 3, /* octet for the type, two for the length */
};

/* What stands behind the addresses: each with a length, and nothing left over. */
static bool
vectors_are_whole(struct bytes vectors)
{
    while (vectors.size > 0) {
        if (vectors.size < TLV_FIXED) {
            return false;
        }
        size_t size = TLV_FIXED + (size_t)get_u16(vectors.data + 1);
        if (size > vectors.size) {
            return false;
        }
        vectors = bytes_make(vectors.data + size, vectors.size - size);
    }
    return true;
}

static void
read_addresses(struct proxy_header *header, const uint8_t *at, int family, size_t address_size)
{
    const char *source = inet_ntop(family, at, header->source, sizeof(header->source));
    const char *destination =
        inet_ntop(family, at + address_size, header->destination, sizeof(header->destination));
    assert(source != NULL);
    assert(destination != NULL);
    header->source_port = get_u16(at + 2 * address_size);
    header->destination_port = get_u16(at + 2 * address_size + 2);
    header->has_addresses = true;
}

/* How many octets the addresses of that family take; SIZE_MAX: it cannot have come to us. */
static size_t
family_size(uint8_t family)
{
    switch (family) {
    case V2_UNSPECIFIED:
        return 0;
    case V2_TCP4:
        return V2_TCP4_SIZE;
    case V2_TCP6:
        return V2_TCP6_SIZE;
    case V2_UNIX_STREAM:
        return V2_UNIX_SIZE;
    default:
        return SIZE_MAX;
    }
}

/* `rest` is what the header announced. */
static enum status
decode_forwarded(struct proxy_header *header, uint8_t family, struct bytes rest,
                 const char **why_out)
{
    size_t size = family_size(family);
    if (size == SIZE_MAX) {
        return reject(why_out, "a family or transport that no stream of bytes comes from");
    }
    if (size > rest.size) {
        return reject(why_out, "the header is too short for its addresses");
    }
    /* Of what is not specified nothing may be assumed. */
    if (family != V2_UNSPECIFIED &&
        !vectors_are_whole(bytes_make(rest.data + size, rest.size - size))) {
        return reject(why_out, "what follows the addresses does not fit the header");
    }
    if (family == V2_TCP4) {
        read_addresses(header, rest.data, AF_INET, sizeof(struct in_addr));
    } else if (family == V2_TCP6) {
        read_addresses(header, rest.data, AF_INET6, sizeof(struct in6_addr));
    }
    return STATUS_OK;
}

static enum status
decode_binary(struct proxy_header *header, struct bytes input, const char **why_out)
{
    if (input.size > sizeof(signature) && input.data[sizeof(signature)] != V2_LOCAL &&
        input.data[sizeof(signature)] != V2_PROXY) {
        return reject(why_out, "a version or command that is not known");
    }
    if (input.size < V2_FIXED) {
        return STATUS_AGAIN;
    }
    size_t announced = get_u16(input.data + V2_FIXED - 2);
    if (announced > PROXY_HEADER_MAX - V2_FIXED) {
        return reject(why_out, "a header longer than 4096 octets");
    }
    if (input.size - V2_FIXED < announced) {
        return STATUS_AGAIN;
    }
    header->size = V2_FIXED + announced;
    if (input.data[sizeof(signature)] == V2_LOCAL) {
        return STATUS_OK;
    }
    return decode_forwarded(header, input.data[sizeof(signature) + 1],
                            bytes_make(input.data + V2_FIXED, announced), why_out);
}

/* Entrance ------------------------------------------------------------------------------------ */

/* Whether the front of `input`, as far as it has come, is that of `start`. */
static bool
begins_like(struct bytes input, const void *start, size_t start_size)
{
    size_t size = input.size < start_size ? input.size : start_size;
    return size == 0 || memcmp(input.data, start, size) == 0;
}

enum status
proxy_header_decode(struct proxy_header *header, struct bytes input, const char **why_out)
{
    struct proxy_header decoded = {.size = 0};
    enum status status;
    if (begins_like(input, line_start, LINE_START)) {
        status = input.size < LINE_START ? STATUS_AGAIN : decode_line(&decoded, input, why_out);
    } else if (begins_like(input, signature, sizeof(signature))) {
        status = decode_binary(&decoded, input, why_out);
    } else {
        status = reject(why_out, "no PROXY header");
    }
    if (status == STATUS_OK) {
        *header = decoded;
    }
    return status;
}
