/* SPDX-License-Identifier: Apache-2.0 */
/* What a USER_SET record says beside name and flags ("The rest of a user" in docs/store-format.md).
 *
 * A password that the topology file gives in clear text is not among it, in no form: the file gives
 * it again at every start, and until it has, nobody logs in as that user. */
#ifndef BOURSE_BROKER_USERS_USER_RECORD_H
#define BOURSE_BROKER_USERS_USER_RECORD_H

#include "base/buffer.h"
#include "broker/users/user.h"

/* Appends the rest of `user`; a lack of memory shows in out->failed. */
void user_record_encode(struct buffer *out, struct core *core, const struct user *user);

/* Gives `user`, which is new, what `rest` says. `vhosts` has struct vhost by id; rights in one that
 * is not there are dropped, for it was deleted. STATUS_CORRUPT: `rest` is no such thing. */
MUST_CHECK enum status user_record_decode(struct user *user, struct core *core,
                                          const struct map *vhosts, struct bytes rest);

#endif
