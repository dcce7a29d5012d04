/* SPDX-License-Identifier: Apache-2.0 */
/* Password hashes: salted scrypt in the PHC string form for our own, RabbitMQ's salted MD5,
 * SHA-256 and SHA-512 for those that were imported; and keyed digests, under which secrets are
 * remembered and compared without being kept. */
#ifndef BOURSE_BROKER_PASSWORDS_PASSWORD_H
#define BOURSE_BROKER_PASSWORDS_PASSWORD_H

#include "base/bytes.h"
#include "base/random.h"
#include "base/status.h"

enum { PASSWORD_HASH_SIZE = 128, PASSWORD_MAC_SIZE = 32 };

/* Writes `$scrypt$ln=14,r=8,p=5$SALT$HASH`, NUL-terminated. Takes about 0.3 s of a core.
 * STATUS_NO_MEMORY when scrypt's 16 MiB are not to be had. */
MUST_CHECK enum status password_hash(struct bytes password, const struct random_source *random,
                                     char out[static PASSWORD_HASH_SIZE]);

/* The same with the salt and the cost of another hash, `$scrypt$ln=14,r=8,p=5$SALT`: the password
 * that one is of gives it again. STATUS_REJECTED: `salt` is none, or does not fit. */
MUST_CHECK enum status password_hash_again(struct bytes password, const char *salt,
                                           char out[static PASSWORD_HASH_SIZE]);
/* The same in the form of RabbitMQ's salted SHA-256, in base64: for who asks for one to be given to
 * RabbitMQ. Fast to make, and fast to guess. */
MUST_CHECK enum status password_hash_for_rabbitmq(struct bytes password,
                                                  const struct random_source *random,
                                                  char out[static PASSWORD_HASH_SIZE]);

/* Checks `password` against a hash in any accepted form, comparing in constant time. STATUS_OK: it
 * matches; STATUS_REJECTED: it does not, or the hash is in no form we know or asks for more memory
 * than 64 MiB; STATUS_NO_MEMORY. */
MUST_CHECK enum status password_verify(struct bytes password, const char *hash);

/* Whether checking against `hash` costs what checking against password_hash_nobody costs. */
bool password_hash_is_slow(const char *hash);

/* What made the hash, as RabbitMQ's API names it ("rabbit_password_hashing_sha256", and
 * "bourse_password_hashing_scrypt" for ours); NULL: it is in no form we know, and no password has
 * it. Static memory. */
const char *password_hash_algorithm(const char *hash);

/* A hash that no password has, as costly to check as a real one: what an unknown user's password is
 * checked against. */
extern const char password_hash_nobody[];

/* HMAC-SHA256 of user, hash and secret (each with its length) under `key`. */
void password_mac(const uint8_t key[static PASSWORD_MAC_SIZE], struct bytes user, struct bytes hash,
                  struct bytes secret, uint8_t out[static PASSWORD_MAC_SIZE]);

/* In constant time. */
bool password_mac_equal(const uint8_t a[static PASSWORD_MAC_SIZE],
                        const uint8_t b[static PASSWORD_MAC_SIZE]);

#endif
