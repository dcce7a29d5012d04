/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at users, at what they may do, at policies and at limits. */
#include "base/assert.h"
#include "management/ask/survey_ask.h"
#include "management/definitions/definitions_write.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/row_answer.h"

/* Users -------------------------------------------------------------------------------------- */

/* A hash that nobody here can check says nothing to others either. */
static void
write_hash(struct json_writer *json, struct bytes hash)
{
    enum definitions_hash kind =
        hash.data == NULL ? DEFINITIONS_NO_HASH : definitions_hash_kind(hash);
    bool is_shown = kind != DEFINITIONS_NO_HASH && kind != DEFINITIONS_FOREIGN;
    json_put_text(json, "password_hash", is_shown ? hash : bytes_make("", 0));
    json_put_string(json, "hashing_algorithm", definitions_hash_algorithm(kind));
}

static void
write_user(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_user *user = row;
    (void)context;
    json_begin_object(json);
    json_put_text(json, "name", user->name);
    write_hash(json, user->password_hash);
    json_put_words(json, "tags", user->tags);
    definitions_write_limits(json, "limits", user->connections_max, "max-channels",
                             user->channels_max);
    json_end_object(json);
}

static struct bytes
name_of_user(const void *row)
{
    return ((const struct survey_user *)row)->name;
}

static int
compare_user_name(const void *a, const void *b)
{
    return bytes_compare(name_of_user(a), name_of_user(b));
}

static const struct list_column user_columns[] = {{"name", compare_user_name}};

static const struct list_kind user_list_kind = {
    .name = name_of_user,
    .write = write_user,
    .columns = user_columns,
    .column_count = ARRAY_LEN(user_columns),
};

static void
write_users(struct call *call, struct survey_ask *ask)
{
    rights_survey_sort(&ask->rights);
    rows_answer(call, &user_list_kind, &ask->rights.rows);
}

void
handle_users(struct call *call)
{
    call_ask(call, &survey_ask_for_rights(call, SURVEY_USERS, write_users)->ask);
}

static void
write_users_without_rights(struct call *call, struct survey_ask *ask)
{
    struct survey_rows *rows = &ask->rights.rows;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        if (!((const struct survey_user *)rows->rows[i])->has_rights) {
            rows->rows[kept++] = rows->rows[i];
        }
    }
    rows->count = kept;
    write_users(call, ask);
}

void
handle_users_without_rights(struct call *call)
{
    call_ask(call, &survey_ask_for_rights(call, SURVEY_USERS, write_users_without_rights)->ask);
}

static void
write_one_user(struct call *call, struct survey_ask *ask)
{
    row_answer(call, &user_list_kind, &ask->rights.rows);
}

void
handle_user(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_rights(call, SURVEY_USERS, write_one_user);
    ask->rights.user = call_name(call, 0);
    call_ask(call, &ask->ask);
}

/* Limits of users: an array of those that have some. */
static void
write_user_limits(struct call *call, struct survey_ask *ask)
{
    struct survey_rows *rows = &ask->rights.rows;
    struct json_writer json;
    if (!ask->rights.user_exists) {
        call_fail(call, 404, "Not Found");
        return;
    }
    rights_survey_sort(&ask->rights);
    json_init(&json);
    json_begin_array(&json);
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct survey_user *user = rows->rows[i];
        if (user->connections_max >= 0 || user->channels_max >= 0) {
            json_begin_object(&json);
            json_put_text(&json, "user", user->name);
            definitions_write_limits(&json, "value", user->connections_max, "max-channels",
                                     user->channels_max);
            json_end_object(&json);
        }
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_user_limits(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_rights(call, SURVEY_USERS, write_user_limits);
    if (call->name_count > 0) {
        ask->rights.user = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}

/* Permissions -------------------------------------------------------------------------------- */

static void
write_permission(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_permission *permission = row;
    (void)context;
    json_begin_object(json);
    json_put_text(json, "user", permission->user);
    json_put_text(json, "vhost", permission->vhost);
    if (permission->exchange.data != NULL) {
        json_put_text(json, "exchange", permission->exchange);
    } else {
        json_put_text(json, "configure", permission->rights[ACCESS_CONFIGURE]);
    }
    json_put_text(json, "write", permission->rights[ACCESS_WRITE]);
    json_put_text(json, "read", permission->rights[ACCESS_READ]);
    json_end_object(json);
}

static struct bytes
user_of_permission(const void *row)
{
    return ((const struct survey_permission *)row)->user;
}

static int
compare_permission_user(const void *a, const void *b)
{
    return bytes_compare(user_of_permission(a), user_of_permission(b));
}

static int
compare_permission_vhost(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_permission *)a)->vhost,
                         ((const struct survey_permission *)b)->vhost);
}

static const struct list_column permission_columns[] = {
    {"user", compare_permission_user},
    {"vhost", compare_permission_vhost},
};

static const struct list_kind permission_list_kind = {
    .name = user_of_permission,
    .write = write_permission,
    .columns = permission_columns,
    .column_count = ARRAY_LEN(permission_columns),
};

static void
write_permissions(struct call *call, struct survey_ask *ask)
{
    if (!ask->rights.user_exists) {
        call_fail(call, 404, "Not Found");
        return;
    }
    rights_survey_sort(&ask->rights);
    rows_answer(call, &permission_list_kind, &ask->rights.rows);
}

static void
write_one_permission(struct call *call, struct survey_ask *ask)
{
    row_answer(call, &permission_list_kind, &ask->rights.rows);
}

static void
list_permissions(struct call *call, enum rights_survey_kind kind, struct bytes vhost,
                 struct bytes user)
{
    struct survey_ask *ask = survey_ask_for_rights(call, kind, write_permissions);
    ask->rights.vhost = vhost;
    ask->rights.user = user;
    call_ask(call, &ask->ask);
}

static const struct bytes ANY = {.data = NULL};

void
handle_permissions(struct call *call)
{
    list_permissions(call, SURVEY_PERMISSIONS, ANY, ANY);
}

void
handle_permissions_of_vhost(struct call *call)
{
    list_permissions(call, SURVEY_PERMISSIONS, call_name(call, 0), ANY);
}

void
handle_permissions_of_user(struct call *call)
{
    list_permissions(call, SURVEY_PERMISSIONS, ANY, call_name(call, 0));
}

void
handle_permission(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_rights(call, SURVEY_PERMISSIONS, write_one_permission);
    ask->rights.vhost = call_name(call, 0);
    ask->rights.user = call_name(call, 1);
    call_ask(call, &ask->ask);
}

void
handle_topic_permissions(struct call *call)
{
    list_permissions(call, SURVEY_TOPIC_PERMISSIONS, ANY, ANY);
}

void
handle_topic_permissions_of_vhost(struct call *call)
{
    list_permissions(call, SURVEY_TOPIC_PERMISSIONS, call_name(call, 0), ANY);
}

void
handle_topic_permissions_of_user(struct call *call)
{
    list_permissions(call, SURVEY_TOPIC_PERMISSIONS, ANY, call_name(call, 0));
}

/* Those of a user in a vhost: a list, for there may be several exchanges. None is 404. */
static void
write_topic_permissions_there(struct call *call, struct survey_ask *ask)
{
    if (ask->rights.rows.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    write_permissions(call, ask);
}

void
handle_topic_permission(struct call *call)
{
    struct survey_ask *ask =
        survey_ask_for_rights(call, SURVEY_TOPIC_PERMISSIONS, write_topic_permissions_there);
    ask->rights.vhost = call_name(call, 0);
    ask->rights.user = call_name(call, 1);
    if (call->name_count > 2) {
        ask->rights.name = call_name(call, 2);
    }
    call_ask(call, &ask->ask);
}

/* Policies ----------------------------------------------------------------------------------- */

void
policy_write_body(struct json_writer *json, const struct survey_policy *policy)
{
    json_put_text(json, "pattern", policy->pattern);
    json_put_string(json, "apply-to", policy_target_name(policy->target));
    json_key(json, "definition");
    json_table(json, policy->definition);
    json_put_number(json, "priority", policy->priority);
}

/* The next key without an effect; false: there is no more. */
static bool
next_without_effect(const struct survey_policy *policy, struct byte_reader *reader,
                    struct bytes *key_out)
{
    struct table_value value;
    while (table_next(reader, key_out, &value)) {
        if (policy_does_nothing_by(policy->target, *key_out)) {
            return true;
        }
    }
    return false;
}

/* What is accepted for the sake of others' definitions is to be seen as that. */
static void
write_without_effect(struct json_writer *json, const struct survey_policy *policy)
{
    struct byte_reader reader = byte_reader_make(policy->definition);
    struct bytes key;
    if (!next_without_effect(policy, &reader, &key)) {
        return;
    }
    json_key(json, "bourse");
    json_begin_object(json);
    json_key(json, "without_effect");
    json_begin_array(json);
    do {
        json_text(json, key);
    } while (next_without_effect(policy, &reader, &key));
    json_end_array(json);
    json_end_object(json);
}

static void
write_policy(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_policy *policy = row;
    (void)context;
    json_begin_object(json);
    json_put_text(json, "vhost", policy->vhost);
    json_put_text(json, "name", policy->name);
    policy_write_body(json, policy);
    write_without_effect(json, policy);
    json_end_object(json);
}

static struct bytes
name_of_policy(const void *row)
{
    return ((const struct survey_policy *)row)->name;
}

static int
compare_policy_name(const void *a, const void *b)
{
    return bytes_compare(name_of_policy(a), name_of_policy(b));
}

static int
compare_policy_vhost(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_policy *)a)->vhost,
                         ((const struct survey_policy *)b)->vhost);
}

static int
compare_policy_priority(const void *a, const void *b)
{
    int32_t first = ((const struct survey_policy *)a)->priority;
    int32_t second = ((const struct survey_policy *)b)->priority;
    return first < second ? -1 : first > second;
}

static const struct list_column policy_columns[] = {
    {"name", compare_policy_name},
    {"vhost", compare_policy_vhost},
    {"priority", compare_policy_priority},
};

static const struct list_kind policy_list_kind = {
    .name = name_of_policy,
    .write = write_policy,
    .columns = policy_columns,
    .column_count = ARRAY_LEN(policy_columns),
};

static void
write_policies(struct call *call, struct survey_ask *ask)
{
    rights_survey_sort(&ask->rights);
    rows_answer(call, &policy_list_kind, &ask->rights.rows);
}

static void
write_one_policy(struct call *call, struct survey_ask *ask)
{
    row_answer(call, &policy_list_kind, &ask->rights.rows);
}

/* All of a kind, those of a vhost, or one. */
static void
look_at_policies(struct call *call, enum policy_kind kind)
{
    bool is_one = call->name_count > 1;
    struct survey_ask *ask =
        survey_ask_for_rights(call, SURVEY_POLICIES, is_one ? write_one_policy : write_policies);
    ask->rights.policies = kind;
    if (call->name_count > 0) {
        ask->rights.vhost = call_name(call, 0);
    }
    if (is_one) {
        ask->rights.name = call_name(call, 1);
    }
    call_ask(call, &ask->ask);
}

void
handle_policies(struct call *call)
{
    look_at_policies(call, POLICY_ORDINARY);
}

void
handle_operator_policies(struct call *call)
{
    look_at_policies(call, POLICY_OPERATOR);
}

/* Limits of vhosts --------------------------------------------------------------------------- */

static void
write_vhost_limits(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_vhost_limits *limits = row;
    (void)context;
    json_begin_object(json);
    json_put_text(json, "vhost", limits->vhost);
    definitions_write_limits(json, "value", limits->connections_max, "max-queues",
                             limits->queues_max);
    json_end_object(json);
}

static struct bytes
vhost_of_limits(const void *row)
{
    return ((const struct survey_vhost_limits *)row)->vhost;
}

static const struct list_kind vhost_limits_list_kind = {
    .name = vhost_of_limits,
    .write = write_vhost_limits,
};

static void
write_limits_of_vhosts(struct call *call, struct survey_ask *ask)
{
    rights_survey_sort(&ask->rights);
    rows_answer(call, &vhost_limits_list_kind, &ask->rights.rows);
}

void
handle_vhost_limits(struct call *call)
{
    struct survey_ask *ask =
        survey_ask_for_rights(call, SURVEY_VHOST_LIMITS, write_limits_of_vhosts);
    if (call->name_count > 0) {
        ask->rights.vhost = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}
