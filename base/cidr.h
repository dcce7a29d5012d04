/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of addresses, as in 10.0.0.0/8 and fd00::/8. An IPv4 address is the IPv6 one that it is
 * mapped to (::ffff:a.b.c.d), so that there is one kind of address and one comparison. */
#ifndef BOURSE_BASE_CIDR_H
#define BOURSE_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>

enum { CIDR_ADDRESS_SIZE = 16, CIDR_TEXT_SIZE = 64 };

struct cidr {
    uint8_t address[CIDR_ADDRESS_SIZE]; /* 0 behind the prefix */
    uint8_t prefix_bits;                /* of the mapped address: 96 more than an IPv4 range says */
};

/* Reads ADDRESS/BITS, or an address alone, which is a range of one. False with a reason that goes
 * behind the text ("has ..."; static) when it is none, or has bits set behind its prefix. */
bool cidr_parse(const char *text, struct cidr *cidr_out, const char **why_out);

bool cidr_contains(const struct cidr *cidr, const uint8_t address[static CIDR_ADDRESS_SIZE]);

#endif
