/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads that check passwords and hash new ones, so that the core never waits for a slow hash.
 */
#ifndef BOURSE_BROKER_PASSWORD_POOL_H
#define BOURSE_BROKER_PASSWORD_POOL_H

#include "broker/core/core.h"

enum { PASSWORD_WAITING_MAX = 64, PASSWORD_THREADS = 2 };

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
