/* SPDX-License-Identifier: Apache-2.0 */
/* Users and their rights as an operator changes them in a running broker (change.h). Connections of
 * who is changed are looked at again before the function returns: those that may no longer be where
 * they are get connection.close, consumers that may no longer read are cancelled.
 *
 * Users of the topology file can be changed here like others; the next plan shows the difference.
 * A user of that kind who has left the file counts as absent. */
#ifndef BOURSE_BROKER_USERS_USER_CHANGES_H
#define BOURSE_BROKER_USERS_USER_CHANGES_H

#include "broker/changes/change.h"
#include "broker/users/user.h"

struct user_wish {
    struct bytes name;
    const char *tags;          /* "administrator,monitoring" */
    const char *password_hash; /* "": no login by password, only by certificate */
    /* Without a hash a password that the topology file gave in clear text stays: it goes out with
     * no definitions, so that those say nothing about it when they come back. */
    bool keeps_file_password;
};

enum { USER_NAME_SIZE_MAX = 255 };

/* Makes the user, without rights, or gives it these tags and this hash. The hash is in a form that
 * password_hash_algorithm knows, or it is refused. */
enum change_outcome change_put_user(struct change *change, const struct user_wish *wish);

/* Gives the user these tags and leaves the password alone. CHANGE_NOT_FOUND: there is none. */
enum change_outcome change_tag_user(struct change *change, struct bytes name, const char *tags);

/* A user with the tag "protected" is refused. */
enum change_outcome change_delete_user(struct change *change, struct bytes name);

/* Whether there is such a user. */
bool core_has_user(struct core *core, struct bytes name);

/* CHANGE_NOT_FOUND: there is no such user or vhost. Topic rights stay as they are. */
enum change_outcome change_put_grant(struct change *change, struct bytes user,
                                     const struct user_grant *grant);
enum change_outcome change_delete_grant(struct change *change, struct bytes user,
                                        struct bytes vhost);

/* For one exchange. Refused for a user who has no rights in the vhost: there is nothing that they
 * could be narrowed from. */
enum change_outcome change_put_topic_right(struct change *change, struct bytes user,
                                           struct bytes vhost,
                                           const struct config_topic_right *right);
/* `exchange` data NULL: for all. */
enum change_outcome change_delete_topic_rights(struct change *change, struct bytes user,
                                               struct bytes vhost, struct bytes exchange);

/* "max-connections" or "max-channels"; -1: none. */
enum change_outcome change_limit_user(struct change *change, struct bytes user, struct bytes limit,
                                      int64_t value);

#endif
