/* SPDX-License-Identifier: Apache-2.0 */
/* Rights of one user in one vhost: as they were given, and made into expressions. Expressions are
 * PCRE2, searched and not anchored, interpreted, with match limits; one that fails to compile or
 * runs into a limit denies. What is asked of them, and answered, is access.h. */
#ifndef BOURSE_BROKER_USERS_RIGHTS_H
#define BOURSE_BROKER_USERS_RIGHTS_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/map.h"
#include "broker/names/expression.h"
#include "config/config.h"

enum access_right { ACCESS_CONFIGURE, ACCESS_WRITE, ACCESS_READ, ACCESS_RIGHT_COUNT };

/* The rights of a user in one vhost, as they were given. */
struct user_grant {
    struct bytes vhost;
    const char *rights[ACCESS_RIGHT_COUNT]; /* expressions */
    const struct config_topic_right *topics;
    size_t topic_count;
};

/* The rights that the file gives; views of it. */
struct user_grant config_user_grant(const struct config_user *config, struct bytes vhost);

struct topic_right {
    struct bytes exchange;                        /* view into what was given */
    struct expression rights[ACCESS_RIGHT_COUNT]; /* write and read are used */
};

/* The same, made into expressions. */
struct user_rights {
    struct user_grant given;
    struct arena arena; /* what `given` points at */
    struct expression rights[ACCESS_RIGHT_COUNT];
    struct topic_right *topics;
    size_t topic_count;
    struct map verdicts; /* what access.c remembers, by question; owns */
    struct expression_runner runner;
};

/* Copies the grant; nothing is compiled yet, and everything denied. NULL when there is no memory.
 */
struct user_rights *user_rights_new(const struct user_grant *grant, uint64_t seed);

/* Compiles all of the expressions, in which a topic's `{username}` and `{vhost}` are replaced,
 * quoted. False: one does not compile, which the log says and which denies. */
bool user_rights_compile(struct user_rights *rights, struct bytes user, struct log *log);

void user_rights_forget_verdicts(struct user_rights *rights);
void user_rights_free(struct user_rights *rights);

#endif
