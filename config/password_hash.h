/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a text is a password hash that the broker can check, and one that it can afford to. */
#ifndef BOURSE_CONFIG_PASSWORD_HASH_H
#define BOURSE_CONFIG_PASSWORD_HASH_H

#include "base/bytes.h"

/* Two forms are known: the PHC string of scrypt, `$scrypt$ln=14,r=8,p=5$SALT$HASH`, with base64
 * without padding (salt 8 to 64 octets, hash 16 to 64), at most 64 MiB of memory and the work of a
 * few seconds; and RabbitMQ's, base64 of 4 octets of salt and a SHA-256 or SHA-512 digest. NULL: it
 * is one of them. Otherwise what is wrong, in static memory; never a part of the text itself. */
const char *password_hash_problem(struct bytes text);

#endif
