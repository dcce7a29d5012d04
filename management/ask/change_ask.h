/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the core for a change (broker/changes/change.h) on behalf of a call: it is made in one
 * slice, and answered when what it wrote down is on disk. 201 when something was made, 204 when it
 * was there, 404, or 400 with the reason. A new password is hashed before, by the password threads.
 */
#ifndef BOURSE_MANAGEMENT_ASK_CHANGE_ASK_H
#define BOURSE_MANAGEMENT_ASK_CHANGE_ASK_H

#include "broker/topology/vhost_life.h"
#include "broker/users/new_password.h"
#include "broker/users/user_changes.h"
#include "management/http/call.h"

struct change_ask;
/* Makes the change, in the core. */
typedef enum change_outcome change_run(struct change_ask *ask, struct change *change);

/* What is asked for; a route fills in what its `run` reads. Views into the call, or into `table`.
 */
struct change_ask {
    struct call_ask ask;
    change_run *run;
    const char *not_found; /* what 400 says in place of 404; NULL: it is 404 */
    struct user_wish user;
    struct vhost_wish vhost;
    struct policy_properties policy;
    struct user_grant grant;
    struct config_topic_right topic;
    const struct bytes *names; /* of several users */
    size_t name_count;
    struct bytes parameter; /* its name */
    int64_t number;
    int64_t limits[2]; /* of a vhost: connections, queues */
    bool is_on;
    struct bytes password; /* to be hashed into user.password_hash; data NULL: none is */
    struct buffer table;   /* or a text; owned */

    struct new_password hashed; /* of the core while it is under way */
    bool is_hashing, has_run;
    struct change change;
    enum change_outcome outcome;
    uint64_t token;
};

struct change_ask *change_ask_new(change_run *run);
void change_ask_free(struct change_ask *ask); /* of one that was not started */

/* Takes the ask. */
void change_ask_start(struct call *call, struct change_ask *ask);

/* The same, or frees it: what was asked for was no good, and the call is answered. */
void change_ask_start_if(struct call *call, struct change_ask *ask, bool is_good);

/* Reading what a call's body says. All answer 400 and return false when it is not there, or of
 * another type. Texts end with NUL and live as long as the call. */
bool call_need_text(struct call *call, const json_t *body, const char *name, const char **out);
/* `*out` stays as it is when it is not there. */
bool call_may_text(struct call *call, const json_t *body, const char *name, const char **out);
bool call_may_bool(struct call *call, const json_t *body, const char *name, bool *out);
bool call_may_integer(struct call *call, const json_t *body, const char *name, int64_t min,
                      int64_t max, int64_t *out);
/* A list of texts, or one text with commas; written with commas. NULL: it is not there. */
bool call_may_list(struct call *call, const json_t *body, const char *name, const char **out);

/* The members of a policy other than kind and name. */
bool policy_read_body(struct call *call, const json_t *body, struct change_ask *ask);

#endif
