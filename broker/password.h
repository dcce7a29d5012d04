/* SPDX-License-Identifier: Apache-2.0 */
/* Password hashes: salted scrypt in the PHC string form for our own, RabbitMQ's salted SHA-256 and
 * SHA-512 for those that were imported; and the two threads that check them, so that the core never
 * waits for one. */
#ifndef BOURSE_BROKER_PASSWORD_H
#define BOURSE_BROKER_PASSWORD_H

#include "base/bytes.h"
#include "base/random.h"
#include "base/status.h"
#include "broker/core.h"

enum { PASSWORD_HASH_SIZE = 128, PASSWORD_WAITING_MAX = 64, PASSWORD_THREADS = 2 };

/* Writes `$scrypt$ln=14,r=8,p=5$SALT$HASH`. STATUS_NO_MEMORY when scrypt's 16 MiB are not to be
 * had. */
MUST_CHECK enum status password_hash(struct bytes password, const struct random_source *random,
                                     char out[static PASSWORD_HASH_SIZE]);

/* Checks `password` against a hash in any accepted form, comparing in constant time. STATUS_OK: it
 * matches; STATUS_REJECTED: it does not, or the hash is in no form we know; STATUS_NO_MEMORY. */
MUST_CHECK enum status password_verify(struct bytes password, const char *hash);

/* A hash that no password has, as costly to check as a real one: what an unknown user's password is
 * checked against. */
extern const char password_hash_nobody[];

struct password_pool;

/* Starts the threads. NULL with errno set when they are not to be had. */
struct password_pool *password_pool_new(void);
void password_pool_free(struct password_pool **pool); /* waits for checks under way */

struct password_port password_pool_port(struct password_pool *pool);

/* Readable whenever verdicts wait: call password_pool_collect then. */
int password_pool_fd(const struct password_pool *pool);

/* Hands every verdict that is there to core_password_done. */
void password_pool_collect(struct password_pool *pool, struct core *core);

#endif
