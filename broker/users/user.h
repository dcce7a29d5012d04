/* SPDX-License-Identifier: Apache-2.0 */
/* Users, with the password or secret by which they log in, their limits, and their rights vhost by
 * vhost. A user that the configuration made is changed by it alone; what an operator changes is
 * user_changes.h. Owner: the core thread. */
#ifndef BOURSE_BROKER_USERS_USER_H
#define BOURSE_BROKER_USERS_USER_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/map.h"
#include "base/status.h"
#include "broker/core/core.h"
#include "broker/users/rights.h"
#include "config/config.h"

/* How the login was made: what a user may use. */
enum access_method { ACCESS_BY_PASSWORD, ACCESS_BY_CERTIFICATE };

struct user {
    struct bytes name; /* owned */
    uint64_t id;       /* in the log */
    bool from_file;    /* the configuration made it, not a client */
    bool is_named;     /* by the file that is being applied */
    enum config_auth auth;
    enum config_role role;
    char *tags; /* as RabbitMQ names them, "administrator,monitoring"; owned; NULL: by the role */
    bool has_all_rights; /* the house (house.h) */
    bool loopback_only;
    bool is_disabled;       /* no longer in the file: nothing is allowed, logins fail */
    char *password_hash;    /* PHC or RabbitMQ form; owned; NULL: none */
    uint8_t secret_mac[32]; /* HMAC of a clear-text secret of the file, under the core's own key */
    bool has_secret;
    int64_t connections_max; /* -1: none */
    int64_t channels_max;
    uint32_t connection_count;
    uint32_t channel_count;
    struct map rights;    /* struct user_rights by vhost name; owns */
    uint64_t version;     /* raised by every change of this user */
    uint32_t references;  /* connections that speak for it */
    bool is_gone;         /* deleted: nobody finds it, and the last connection frees it */
    struct buffer record; /* the one that the log has; empty: none */
};

/* Makes or changes a user to what the file says; `vhost` is the one its rights are for. Expressions
 * that do not compile: STATUS_REJECTED, and the log says which. */
MUST_CHECK enum status core_check_user(struct core *core, const struct config_user *config,
                                       struct bytes vhost); /* changes nothing */
MUST_CHECK enum status core_put_user(struct core *core, const struct config_user *config,
                                     struct bytes vhost);
struct user *core_find_user(struct core *core, struct bytes name);
void user_free(struct user **user);

/* It is no longer in the file: nothing is allowed to it any more, and logins fail. */
void core_disable_user(struct core *core, struct user *user);

/* Takes away those in `vhost`; a user who has none left may not log in any more. */
void core_take_grant(struct core *core, struct user *user, struct bytes vhost);

/* Takes over the password that the file gives, or its hash, and nothing else. */
void core_give_password(struct core *core, struct user *user, const struct config_user *config);

/* Gives the rights in one vhost, in place of those that were there; copied. STATUS_REJECTED: an
 * expression does not compile, and the log says which. Not told to the log of changes. */
MUST_CHECK enum status user_put_grant(struct user *user, struct core *core,
                                      const struct user_grant *grant);

/* Takes away those in one vhost; false when there were none. */
bool user_drop_grant(struct user *user, struct bytes vhost);

/* Those in one vhost; false when there are none. */
bool user_find_grant(const struct user *user, struct bytes vhost, struct user_grant *grant_out);

/* A connection speaks for the user from now on, or no longer. */
void user_ref(struct user *user);
void user_unref(struct user *user);

/* Takes the user out of what can be found; freed when no connection speaks for it. */
void core_drop_user(struct core *core, struct user *user);

/* The rights vhost by vhost, in the order in which they were given; start with position 0. False
 * at the end. Views live until the user changes. */
bool user_next_grant(const struct user *user, uint32_t *position, struct user_grant *grant_out);

/* From the log: a user of a name that is not taken, without rights, and rights for it. Both may
 * have been taken in by another version of PCRE2: an expression that does not compile denies. */
struct user *core_restore_user(struct core *core, uint64_t id, struct bytes name);
void user_restore_grant(struct user *user, struct core *core, const struct user_grant *grant);

#endif
