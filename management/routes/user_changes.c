/* SPDX-License-Identifier: Apache-2.0 */
/* Users, their rights and their limits. */
#include "broker/passwords/password.h"
#include "management/ask/change_ask.h"
#include "management/routes/handlers.h"

/* In RabbitMQ's word, for whoever looks at the reason. */
static const char NO_VHOST_OR_USER[] = "vhost_or_user_not_found";

/* Users -------------------------------------------------------------------------------------- */

static const char *const user_limits[] = {"max-connections", "max-channels"};

enum { LIMIT_NOT_SAID = INT32_MIN };

/* Limits that are not said stay as they are. */
static enum change_outcome
run_put_user(struct change_ask *ask, struct change *change)
{
    enum change_outcome outcome = change_put_user(change, &ask->user);
    for (size_t i = 0; outcome <= CHANGE_MADE && i < ARRAY_LEN(user_limits); i++) {
        if (ask->limits[i] != LIMIT_NOT_SAID &&
            change_limit_user(change, ask->user.name, bytes_of(user_limits[i]), ask->limits[i]) !=
                CHANGE_DONE) {
            return CHANGE_REFUSED;
        }
    }
    return outcome;
}

/* "limits" of a user, as in definitions; what is negative is no limit. */
static bool
read_limits(struct call *call, const json_t *body, struct change_ask *ask)
{
    json_t *limits = json_object_get(body, "limits");
    const char *name;
    json_t *value;
    if (limits != NULL && !json_is_null(limits) && !json_is_object(limits)) {
        call_fail(call, 400, "\"limits\" takes an object");
        return false;
    }
    json_object_foreach(limits, name, value)
    {
        if (strcmp(name, user_limits[0]) != 0 && strcmp(name, user_limits[1]) != 0) {
            call_fail(call, 400, "a user has no limit \"%.100s\"; it has \"%s\" and \"%s\"", name,
                      user_limits[0], user_limits[1]);
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(user_limits); i++) {
        ask->limits[i] = LIMIT_NOT_SAID;
        if (limits != NULL && !call_may_integer(call, limits, user_limits[i], LIMIT_NOT_SAID + 1,
                                                INT32_MAX, &ask->limits[i])) {
            return false;
        }
        bool is_lifted = ask->limits[i] < 0 && ask->limits[i] != LIMIT_NOT_SAID;
        ask->limits[i] = is_lifted ? -1 : ask->limits[i];
    }
    return true;
}

/* The hash is in a form that is known, and in the one that its algorithm has, if that is said. */
static bool
check_hash(struct call *call, const char *hash, const char *algorithm)
{
    const char *found = password_hash_algorithm(hash);
    if (hash[0] == '\0') {
        return true;
    }
    if (found == NULL) {
        call_fail(call, 400,
                  "\"password_hash\" is in no form that can be checked here: RabbitMQ's "
                  "MD5, SHA-256 or SHA-512 in base64, or $scrypt$");
        return false;
    }
    if (algorithm != NULL && strcmp(algorithm, found) != 0) {
        call_fail(call, 400, "\"password_hash\" has the form of %s, not of %.100s", found,
                  algorithm);
        return false;
    }
    return true;
}

static bool
read_credentials(struct call *call, const json_t *body, struct change_ask *ask)
{
    const char *password = NULL;
    const char *hash = NULL;
    const char *algorithm = NULL;
    if (!call_may_text(call, body, "password", &password) ||
        !call_may_text(call, body, "password_hash", &hash) ||
        !call_may_text(call, body, "hashing_algorithm", &algorithm)) {
        return false;
    }
    if (password != NULL && hash != NULL) {
        call_fail(call, 400, "only one of \"password\" and \"password_hash\" can be given");
        return false;
    }
    ask->user.password_hash = hash == NULL ? "" : hash;
    if (password != NULL && password[0] != '\0') {
        ask->password = bytes_of(password);
    }
    return check_hash(call, ask->user.password_hash, algorithm);
}

static bool
read_tags(struct call *call, const json_t *body, struct change_ask *ask)
{
    if (body == NULL || !call_may_list(call, body, "tags", &ask->user.tags)) {
        return false;
    }
    if (ask->user.tags == NULL) {
        call_fail(call, 400, "\"tags\" is missing");
        return false;
    }
    ask->user.name = call_name(call, 0);
    return true;
}

static bool
read_user(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    return read_tags(call, body, ask) && read_credentials(call, body, ask) &&
           read_limits(call, body, ask);
}

void
handle_user_put(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_put_user);
    change_ask_start_if(call, ask, read_user(call, ask));
}

static enum change_outcome
run_tag_user(struct change_ask *ask, struct change *change)
{
    return change_tag_user(change, ask->user.name, ask->user.tags);
}

void
handle_user_tags_put(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_tag_user);
    change_ask_start_if(call, ask, read_tags(call, call_json(call), ask));
}

static enum change_outcome
run_delete_user(struct change_ask *ask, struct change *change)
{
    return change_delete_user(change, call_name(ask->ask.call, 0));
}

void
handle_user_delete(struct call *call)
{
    change_ask_start(call, change_ask_new(run_delete_user));
}

/* Those that are protected stay, as do those that are not there. */
static enum change_outcome
run_delete_users(struct change_ask *ask, struct change *change)
{
    for (size_t i = 0; i < ask->name_count; i++) {
        (void)change_delete_user(change, ask->names[i]);
    }
    return CHANGE_DONE;
}

static bool
read_names(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    const json_t *list = json_object_get(body, "users");
    if (body == NULL) {
        return false;
    }
    struct bytes *names = arena_alloc(&call->arena, (json_array_size(list) + 1) * sizeof(*names));
    bool is_good = json_is_array(list);
    for (size_t i = 0; is_good && i < json_array_size(list); i++) {
        const json_t *name = json_array_get(list, i);
        is_good = json_is_string(name);
        names[i] = is_good ? bytes_of(json_string_value(name)) : bytes_of("");
    }
    if (!is_good) {
        call_fail(call, 400, "\"users\" takes a list of names");
        return false;
    }
    ask->names = names;
    ask->name_count = json_array_size(list);
    return true;
}

void
handle_users_delete(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_delete_users);
    change_ask_start_if(call, ask, read_names(call, ask));
}

/* Rights ------------------------------------------------------------------------------------- */

static enum change_outcome
run_put_grant(struct change_ask *ask, struct change *change)
{
    return change_put_grant(change, call_name(ask->ask.call, 1), &ask->grant);
}

static bool
read_grant(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    ask->grant.vhost = call_name(call, 0);
    ask->not_found = NO_VHOST_OR_USER;
    return body != NULL &&
           call_need_text(call, body, "configure", &ask->grant.rights[ACCESS_CONFIGURE]) &&
           call_need_text(call, body, "write", &ask->grant.rights[ACCESS_WRITE]) &&
           call_need_text(call, body, "read", &ask->grant.rights[ACCESS_READ]);
}

void
handle_permission_put(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_put_grant);
    change_ask_start_if(call, ask, read_grant(call, ask));
}

static enum change_outcome
run_delete_grant(struct change_ask *ask, struct change *change)
{
    return change_delete_grant(change, call_name(ask->ask.call, 1), call_name(ask->ask.call, 0));
}

void
handle_permission_delete(struct call *call)
{
    change_ask_start(call, change_ask_new(run_delete_grant));
}

static enum change_outcome
run_put_topic(struct change_ask *ask, struct change *change)
{
    return change_put_topic_right(change, call_name(ask->ask.call, 1), call_name(ask->ask.call, 0),
                                  &ask->topic);
}

static bool
read_topic(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    const char *exchange = NULL;
    bool is_in_path = call->name_count > 2;
    ask->not_found = NO_VHOST_OR_USER;
    if (body == NULL ||
        !(is_in_path ? call_may_text(call, body, "exchange", &exchange)
                     : call_need_text(call, body, "exchange", &exchange)) ||
        !call_need_text(call, body, "write", &ask->topic.write) ||
        !call_need_text(call, body, "read", &ask->topic.read)) {
        return false;
    }
    if (is_in_path && exchange != NULL && !bytes_equal_text(call_name(call, 2), exchange)) {
        call_fail(call, 400, "\"exchange\" is another one than in the path");
        return false;
    }
    ask->topic.exchange = is_in_path ? call_name(call, 2) : bytes_of(exchange);
    return true;
}

void
handle_topic_permission_put(struct call *call)
{
    struct change_ask *ask = change_ask_new(run_put_topic);
    change_ask_start_if(call, ask, read_topic(call, ask));
}

static enum change_outcome
run_delete_topics(struct change_ask *ask, struct change *change)
{
    const struct call *call = ask->ask.call;
    struct bytes exchange = call->name_count > 2 ? call_name(call, 2) : bytes_make(NULL, 0);
    return change_delete_topic_rights(change, call_name(call, 1), call_name(call, 0), exchange);
}

void
handle_topic_permission_delete(struct call *call)
{
    change_ask_start(call, change_ask_new(run_delete_topics));
}

/* Limits ------------------------------------------------------------------------------------- */

static enum change_outcome
run_limit_user(struct change_ask *ask, struct change *change)
{
    const struct call *call = ask->ask.call;
    return change_limit_user(change, call_name(call, 0), call_name(call, 1), ask->number);
}

static enum change_outcome
run_limit_vhost(struct change_ask *ask, struct change *change)
{
    const struct call *call = ask->ask.call;
    return change_limit_vhost(change, call_name(call, 0), call_name(call, 1), ask->number);
}

/* What is negative is no limit. */
static bool
read_limit(struct call *call, struct change_ask *ask)
{
    const json_t *body = call_json(call);
    if (body == NULL) {
        return false;
    }
    const json_t *value = json_object_get(body, "value");
    if (value == NULL || json_is_null(value)) {
        call_fail(call, 400, "\"value\" is missing");
        return false;
    }
    if (!call_may_integer(call, body, "value", INT32_MIN, INT32_MAX, &ask->number)) {
        return false;
    }
    ask->number = ask->number < 0 ? -1 : ask->number;
    return true;
}

static void
put_limit(struct call *call, change_run *run)
{
    struct change_ask *ask = change_ask_new(run);
    change_ask_start_if(call, ask, read_limit(call, ask));
}

static void
delete_limit(struct call *call, change_run *run)
{
    struct change_ask *ask = change_ask_new(run);
    ask->number = -1;
    change_ask_start(call, ask);
}

void
handle_user_limit_put(struct call *call)
{
    put_limit(call, run_limit_user);
}

void
handle_vhost_limit_put(struct call *call)
{
    put_limit(call, run_limit_vhost);
}

void
handle_user_limit_delete(struct call *call)
{
    delete_limit(call, run_limit_user);
}

void
handle_vhost_limit_delete(struct call *call)
{
    delete_limit(call, run_limit_vhost);
}
