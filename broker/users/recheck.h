/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of connections when rights have changed. */
#ifndef BOURSE_BROKER_USERS_RECHECK_H
#define BOURSE_BROKER_USERS_RECHECK_H

#include "broker/users/user.h"

/* Closes every connection whose user may no longer be where it is, or is gone; ends the consumers
 * of others that may no longer read. Publishing asks each time. `user`: only his; NULL: all. */
void core_recheck_connections(struct core *core, const struct user *user);

#endif
