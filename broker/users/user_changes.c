/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/user_changes.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/durability/durable_topology.h"
#include "broker/names/expression.h"
#include "broker/passwords/password.h"
#include "broker/topology/vhost.h"
#include "broker/users/abilities.h"
#include "broker/users/recheck.h"

enum {
    TEXT_FIXED = 16,      /* of a record, for each text and number */
    TAGS_TEXT_SIZE = 512, /* of tags as the log has them */
};

/* Helpers ------------------------------------------------------------------------------------ */

/* Who has left the file is not there any more. */
static struct user *
find_user(const struct change *change, struct bytes name)
{
    struct user *user = core_find_user(change->core, name);
    return user == NULL || user->is_disabled ? NULL : user;
}

bool
core_has_user(struct core *core, struct bytes name)
{
    const struct user *user = core_find_user(core, name);
    return user != NULL && !user->is_disabled;
}

static const char *
user_text(struct bytes name, char out[static RESOURCE_TEXT_SIZE])
{
    return log_escape(out, RESOURCE_TEXT_SIZE, name);
}

/* Tells the log and the connections. */
static void
settle(const struct change *change, struct user *user)
{
    user_remember(change->core, user);
    core_recheck_connections(change->core, user);
}

/* Octets of the record as it is, and of what is added. */
static uint64_t
octets_with(const struct user *user, uint64_t added)
{
    return buffer_size(&user->record) + user->name.size + added + (uint64_t)8 * TEXT_FIXED;
}

/* Whether an expression is one. */
static bool
check_expression(struct change *change, const char *pattern)
{
    struct expression expression;
    struct expression_error error;
    if (pattern[0] == '\0') {
        return true;
    }
    if (!expression_compile(&expression, bytes_of(pattern), &error)) {
        (void)change_refuse(change, "\"%.200s\" is no regular expression: %s, at offset %zu",
                            pattern, error.reason, error.offset);
        return false;
    }
    expression_fini(&expression);
    return true;
}

/* Users -------------------------------------------------------------------------------------- */

static bool
check_wish(struct change *change, const struct user_wish *wish)
{
    if (wish->name.size == 0 || wish->name.size > USER_NAME_SIZE_MAX) {
        (void)change_refuse(change, "the name of a user has 1 to 255 octets");
        return false;
    }
    if (wish->password_hash[0] != '\0' && password_hash_algorithm(wish->password_hash) == NULL) {
        (void)change_refuse(change, "the password hash is in no form that can be checked here");
        return false;
    }
    return change_has_room(change, wish->name.size + strlen(wish->tags) +
                                       strlen(wish->password_hash) + (uint64_t)8 * TEXT_FIXED);
}

static void
take_wish(struct user *user, const struct user_wish *wish)
{
    bool has_password = wish->password_hash[0] != '\0';
    bool keeps_secret = wish->keeps_file_password && user->has_secret && !has_password;
    free(user->password_hash);
    free(user->tags);
    user->password_hash = has_password ? xstrdup(wish->password_hash) : NULL;
    user->tags = xstrdup(wish->tags);
    user->auth = has_password || keeps_secret ? AUTH_PASSWORD : AUTH_CERTIFICATE;
    user->has_secret = keeps_secret;
    user->is_disabled = false;
    user->version++;
}

/* Of one who had left the file nothing stays but the number. */
static void
forget_all(struct user *user)
{
    uint32_t position = 0;
    struct user_grant grant;
    while (user_next_grant(user, &position, &grant)) {
        (void)user_drop_grant(user, grant.vhost);
        position = 0;
    }
    user->from_file = false;
    user->loopback_only = false;
    user->role = ROLE_NONE;
    user->connections_max = -1;
    user->channels_max = -1;
}

enum change_outcome
change_put_user(struct change *change, const struct user_wish *wish)
{
    struct core *core = change->core;
    char name[RESOURCE_TEXT_SIZE];
    char tags[TAGS_TEXT_SIZE];
    if (!check_wish(change, wish)) {
        return CHANGE_REFUSED;
    }
    struct user *user = core_find_user(core, wish->name);
    bool existed = user != NULL && !user->is_disabled;
    if (user == NULL) {
        user = core_restore_user(core, core_new_id(core, true), wish->name);
    }
    if (!existed) {
        forget_all(user);
    }
    take_wish(user, wish);
    settle(change, user);
    change_log(change, existed ? AUDIT_USER_CHANGED : AUDIT_USER_CREATED, bytes_of(""),
               "user=%s tags=%s", user_text(wish->name, name),
               log_escape(tags, sizeof(tags), bytes_of(wish->tags)));
    return existed ? CHANGE_DONE : CHANGE_MADE;
}

static bool
has_tag(const struct user *user, const char *tag)
{
    static const char separators[] = ", ";
    const char *at = user->tags != NULL ? user->tags : "";
    while (*at != '\0') {
        size_t size = strcspn(at, separators);
        if (bytes_equal_text(bytes_make(at, size), tag)) {
            return true;
        }
        at += size;
        at += strspn(at, separators);
    }
    return false;
}

enum change_outcome
change_tag_user(struct change *change, struct bytes name, const char *tags)
{
    char text[RESOURCE_TEXT_SIZE];
    char tags_text[TAGS_TEXT_SIZE];
    struct user *user = find_user(change, name);
    if (user == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (!change_has_room(change, octets_with(user, strlen(tags)))) {
        return CHANGE_REFUSED;
    }
    free(user->tags);
    user->tags = xstrdup(tags);
    user->version++;
    settle(change, user);
    change_log(change, AUDIT_USER_CHANGED, bytes_of(""), "user=%s tags=%s", user_text(name, text),
               log_escape(tags_text, sizeof(tags_text), bytes_of(tags)));
    return CHANGE_DONE;
}

enum change_outcome
change_delete_user(struct change *change, struct bytes name)
{
    struct core *core = change->core;
    char text[RESOURCE_TEXT_SIZE];
    struct user *user = find_user(change, name);
    if (user == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (has_tag(user, "protected")) {
        return change_refuse(change, "user '%.*s' has the tag \"protected\"", BYTES_FORMAT(name));
    }
    if (!change_has_room(change, 0)) {
        return CHANGE_REFUSED;
    }
    change_log(change, AUDIT_USER_DELETED, bytes_of(""), "user=%s", user_text(name, text));
    user_forget(core, user);
    user_ref(user);
    core_drop_user(core, user);
    core_recheck_connections(core, user);
    user_unref(user);
    return CHANGE_DONE;
}

/* Rights ------------------------------------------------------------------------------------- */

static bool
check_grant(struct change *change, const struct user *user, const struct user_grant *grant)
{
    uint64_t octets = 0;
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        if (!check_expression(change, grant->rights[i])) {
            return false;
        }
        octets += strlen(grant->rights[i]) + TEXT_FIXED;
    }
    return change_has_room(change, octets_with(user, octets));
}

enum change_outcome
change_put_grant(struct change *change, struct bytes name, const struct user_grant *wanted)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    struct user *user = find_user(change, name);
    struct user_grant before;
    struct user_grant grant = *wanted;
    if (user == NULL || core_find_vhost(change->core, wanted->vhost) == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (!check_grant(change, user, wanted)) {
        return CHANGE_REFUSED;
    }
    bool existed = user_find_grant(user, wanted->vhost, &before);
    if (existed) {
        grant.topics = before.topics;
        grant.topic_count = before.topic_count;
    }
    if (user_put_grant(user, change->core, &grant) != STATUS_OK) {
        return change_refuse(change, "there is no memory for it");
    }
    settle(change, user);
    change_log(change, AUDIT_RIGHTS_GRANTED, grant.vhost, "user=%s vhost=%s",
               user_text(name, texts[0]), user_text(grant.vhost, texts[1]));
    return existed ? CHANGE_DONE : CHANGE_MADE;
}

enum change_outcome
change_delete_grant(struct change *change, struct bytes name, struct bytes vhost)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    struct user *user = find_user(change, name);
    struct user_grant grant;
    if (user == NULL || !user_find_grant(user, vhost, &grant)) {
        return CHANGE_NOT_FOUND;
    }
    if (!change_has_room(change, octets_with(user, 0))) {
        return CHANGE_REFUSED;
    }
    (void)user_drop_grant(user, vhost);
    settle(change, user);
    change_log(change, AUDIT_RIGHTS_REVOKED, vhost, "user=%s vhost=%s", user_text(name, texts[0]),
               user_text(vhost, texts[1]));
    return CHANGE_DONE;
}

/* Topic rights ------------------------------------------------------------------------------- */

/* The topic rights without those for `exchange` (data NULL: none at all), with room for one more;
 * memory that the caller frees. */
static struct config_topic_right *
topics_without(const struct user_grant *grant, struct bytes exchange, size_t *count_out)
{
    struct config_topic_right *topics = xalloc((grant->topic_count + 1) * sizeof(*topics));
    size_t count = 0;
    for (size_t i = 0; exchange.data != NULL && i < grant->topic_count; i++) {
        if (!bytes_equal(grant->topics[i].exchange, exchange)) {
            topics[count++] = grant->topics[i];
        }
    }
    *count_out = count;
    return topics;
}

/* Puts `topics` in the place of those that `before` has; frees them. */
static enum change_outcome
replace_topics(struct change *change, struct user *user, const struct user_grant *before,
               struct config_topic_right *topics, size_t count)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    struct user_grant grant = *before;
    const struct vhost *vhost = core_find_vhost(change->core, before->vhost);
    bool grows = count > before->topic_count;
    grant.topics = topics;
    grant.topic_count = count;
    enum status status = user_put_grant(user, change->core, &grant);
    free(topics);
    if (status != STATUS_OK) {
        return change_refuse(change, "there is no memory for it");
    }
    settle(change, user);
    change_log(change, AUDIT_TOPICS_CHANGED, vhost == NULL ? bytes_of("") : vhost->name,
               "user=%s topics=%zu", user_text(user->name, texts[0]), count);
    return grows ? CHANGE_MADE : CHANGE_DONE;
}

enum change_outcome
change_put_topic_right(struct change *change, struct bytes name, struct bytes vhost,
                       const struct config_topic_right *right)
{
    struct user *user = find_user(change, name);
    struct user_grant before;
    size_t count;
    if (user == NULL || core_find_vhost(change->core, vhost) == NULL) {
        return CHANGE_NOT_FOUND;
    }
    if (!user_find_grant(user, vhost, &before)) {
        return change_refuse(change,
                             "user '%.*s' has no permissions in vhost '%.*s': topic permissions "
                             "narrow those, so set them first",
                             BYTES_FORMAT(name), BYTES_FORMAT(vhost));
    }
    if (!check_expression(change, right->write) || !check_expression(change, right->read) ||
        !change_has_room(change,
                         octets_with(user, right->exchange.size + strlen(right->write) +
                                               strlen(right->read) + (uint64_t)3 * TEXT_FIXED))) {
        return CHANGE_REFUSED;
    }
    struct config_topic_right *topics = topics_without(&before, right->exchange, &count);
    topics[count++] = *right;
    return replace_topics(change, user, &before, topics, count);
}

enum change_outcome
change_delete_topic_rights(struct change *change, struct bytes name, struct bytes vhost,
                           struct bytes exchange)
{
    struct user *user = find_user(change, name);
    struct user_grant before;
    size_t count;
    if (user == NULL || !user_find_grant(user, vhost, &before)) {
        return CHANGE_NOT_FOUND;
    }
    struct config_topic_right *topics = topics_without(&before, exchange, &count);
    bool is_there = count < before.topic_count;
    if (!is_there || !change_has_room(change, octets_with(user, 0))) {
        free(topics);
        return is_there ? CHANGE_REFUSED : CHANGE_NOT_FOUND;
    }
    return replace_topics(change, user, &before, topics, count);
}

/* Limits ------------------------------------------------------------------------------------- */

enum change_outcome
change_limit_user(struct change *change, struct bytes name, struct bytes limit, int64_t value)
{
    char text[RESOURCE_TEXT_SIZE];
    struct user *user = find_user(change, name);
    if (user == NULL) {
        return CHANGE_NOT_FOUND;
    }
    int64_t *place = bytes_equal_text(limit, "max-connections") ? &user->connections_max
                     : bytes_equal_text(limit, "max-channels")  ? &user->channels_max
                                                                : NULL;
    if (place == NULL) {
        return change_refuse(change,
                             "a user has no limit \"%.*s\"; it has \"max-connections\" and "
                             "\"max-channels\"",
                             BYTES_FORMAT(limit));
    }
    if (*place == value) {
        return CHANGE_DONE; /* definitions say of every limit that there is none */
    }
    if (!change_has_room(change, octets_with(user, 0))) {
        return CHANGE_REFUSED;
    }
    *place = value;
    user->version++;
    user_remember(change->core, user);
    change_log(change, AUDIT_USER_LIMITED, bytes_of(""), "user=%s %.*s=%" PRId64,
               user_text(name, text), BYTES_FORMAT(limit), value);
    return CHANGE_DONE;
}
