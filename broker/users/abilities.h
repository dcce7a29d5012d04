/* SPDX-License-Identifier: Apache-2.0 */
/* What a user may do through the management interface, by role and tags. Rights on queues and
 * exchanges are asked for besides, where they always are (broker/users/access.h). */
#ifndef BOURSE_BROKER_USERS_ABILITIES_H
#define BOURSE_BROKER_USERS_ABILITIES_H

#include "broker/users/user.h"

enum ability {
    ABILITY_NONE = 0,
    ABILITY_LOOK = 1 << 0,    /* sign in, and see what is in vhosts that one may enter */
    ABILITY_SEE_ALL = 1 << 1, /* see all vhosts, and everybody's connections */
    ABILITY_OPERATE = 1 << 2, /* change what one's rights allow: declare, purge, publish, replay */
    ABILITY_POLICY = 1 << 3,  /* policies and parameters */
    ABILITY_ADMIN = 1 << 4,   /* users, vhosts, rights, topology of all */
    ABILITY_ALL = (1 << 5) - 1,
};

/* A set of enum ability: of a role, of RabbitMQ's tags ("administrator,monitoring"), of a user. */
uint8_t abilities_of_role(enum config_role role);
uint8_t abilities_of_tags(struct bytes tags);
uint8_t abilities_of(const struct user *user);

/* The tags of a user as RabbitMQ names them, comma-separated: those given, else those of the role.
 */
const char *user_tags(const struct user *user);

#endif
