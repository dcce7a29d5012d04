/* SPDX-License-Identifier: Apache-2.0 */
/* What a topology file no longer names. Objects stay, and that is reported once: from then on they
 * are as if a client had made them. Users are the file's alone: a password or a right that was
 * taken out of it must not go on opening doors. */
#ifndef BOURSE_BROKER_TOPOLOGY_LEFT_H
#define BOURSE_BROKER_TOPOLOGY_LEFT_H

#include "broker/core.h"

/* Call when everything that the file names is marked (is_named), in `vhost`; the marks are gone
 * afterwards. Other vhosts are looked at, too: the file may name another one than before. */
void core_report_left(struct core *core, const struct vhost *vhost);

/* The same for users: those that are not marked lose all rights, the others those that they had in
 * other vhosts than `vhost`. */
void core_disable_left_users(struct core *core, const struct vhost *vhost);

#endif
