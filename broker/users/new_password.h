/* SPDX-License-Identifier: Apache-2.0 */
/* A password that is being hashed by the password threads (password_pool.h), so that neither the
 * core nor who asked for it waits. Owner: the core thread. */
#ifndef BOURSE_BROKER_USERS_NEW_PASSWORD_H
#define BOURSE_BROKER_USERS_NEW_PASSWORD_H

#include "broker/core/core.h"
#include "broker/passwords/password.h"

struct new_password {
    struct list_link link; /* core->new_passwords while it is under way */
    uint64_t id;
    bool is_done;
    char hash[PASSWORD_HASH_SIZE]; /* when it is done; "": there was no memory */
};

/* Hands the password over, which is copied. False: too many wait; try again in a later tick. */
bool new_password_begin(struct new_password *password, struct core *core, struct bytes text);

/* Nobody waits for it any more; nothing if it is not under way. */
void new_password_forget(struct new_password *password);

#endif
