/* SPDX-License-Identifier: Apache-2.0 */
/* What a topology file no longer names. Objects stay, and that is reported once: from then on they
 * are as if a client had made them. Users are the file's alone: a password or a right that was
 * taken out of it must not go on opening doors. */
#ifndef BOURSE_BROKER_PLAN_TOPOLOGY_LEFT_H
#define BOURSE_BROKER_PLAN_TOPOLOGY_LEFT_H

#include "broker/core/core.h"

struct leaving {
    struct core *core;
    const struct vhost *vhost; /* the one that the configuration is of */
    bool is_alone; /* it is all that there is: others, which were in an earlier file, have left it.
                      Those that a configuration was given to later (generation.h) have not. */
};

/* Call when everything that the file names is marked (is_named), in `vhost`; the marks are gone
 * afterwards. */
void core_report_left(const struct leaving *leaving);

/* The same for users: those that are not marked lose their rights in `vhost`, and all of them those
 * in vhosts that have left. Who has none any more may not log in. */
void core_disable_left_users(const struct leaving *leaving);

#endif
