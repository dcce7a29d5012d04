/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/access.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/connections/connection.h"
#include "broker/connections/login.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/names/expression.h"
#include "broker/passwords/password.h"
#include "broker/topology/vhost.h"

/* Verdicts remembered for one user in one vhost; when full they are forgotten and asked anew. */
static const uint32_t VERDICTS_MAX = 4096;

static const char DEFAULT_EXCHANGE_NAME[] = "amq.default";

struct topic_right {
    struct bytes exchange;                        /* view into what was given */
    struct expression rights[ACCESS_RIGHT_COUNT]; /* write and read are used */
};

/* An answer under its question; the question's octets follow. */
struct verdict {
    bool allowed;
    uint8_t question[];
};

struct user_rights {
    struct user_grant given;
    struct arena arena; /* what `given` points at */
    struct expression rights[ACCESS_RIGHT_COUNT];
    struct topic_right *topics;
    size_t topic_count;
    struct map verdicts; /* struct verdict by question; owns */
    struct expression_runner runner;
};

static const char *const access_right_names[ACCESS_RIGHT_COUNT] = {
    [ACCESS_CONFIGURE] = "configure",
    [ACCESS_WRITE] = "write",
    [ACCESS_READ] = "read",
};

/* An empty expression matches nothing, nor does one that does not compile. */
static bool
right_compile(struct expression *expression, const char *pattern, struct log *log,
              struct bytes user)
{
    struct expression_error error;
    *expression = (struct expression){.code = NULL};
    if (pattern[0] == '\0' || expression_compile(expression, bytes_of(pattern), &error)) {
        return true;
    }
    char shown[300];
    log_error(log, "access.bad_expression", "user=\"%.*s\" expression=%s at=%zu reason=\"%s\"",
              BYTES_FORMAT(user), log_escape(shown, sizeof(shown), bytes_of(pattern)), error.offset,
              error.reason);
    return false;
}

static bool
right_matches(const struct expression *expression, const struct user_rights *rights,
              struct bytes subject)
{
    return expression_match(expression, &rights->runner, subject) == EXPRESSION_MATCHES;
}

static struct bytes
bytes_new_copy(struct bytes source)
{
    uint8_t *copy = xalloc(source.size + 1);
    memcpy(copy, source.data, source.size);
    return bytes_make(copy, source.size);
}

static void
user_rights_forget_verdicts(struct user_rights *rights)
{
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&rights->verdicts, &position)) != NULL) {
        free(entry->value);
    }
    uint64_t seed = rights->verdicts.seed;
    map_fini(&rights->verdicts);
    map_init(&rights->verdicts, seed);
}

static void
user_rights_free(struct user_rights *rights)
{
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        expression_fini(&rights->rights[i]);
    }
    for (size_t i = 0; i < rights->topic_count; i++) {
        for (size_t j = 0; j < ACCESS_RIGHT_COUNT; j++) {
            expression_fini(&rights->topics[i].rights[j]);
        }
    }
    free(rights->topics);
    user_rights_forget_verdicts(rights);
    map_fini(&rights->verdicts);
    expression_runner_fini(&rights->runner);
    arena_fini(&rights->arena);
    free(rights);
}

/* Appends `text` so that PCRE2 takes it literally. */
static void
buffer_put_quoted(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        bool is_word = (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
                       (octet >= 'a' && octet <= 'z') || octet == '_' || octet >= 0x80;
        if (!is_word) {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, octet);
    }
}

/* Replaces {username} and {vhost} in a topic expression. NULL when there is no memory. */
static char *
topic_expression_expand(const char *pattern, struct bytes user, struct bytes vhost)
{
    struct buffer out;
    buffer_init(&out);
    for (const char *at = pattern; *at != '\0';) {
        if (strncmp(at, "{username}", 10) == 0) {
            buffer_put_quoted(&out, user);
            at += 10;
        } else if (strncmp(at, "{vhost}", 7) == 0) {
            buffer_put_quoted(&out, vhost);
            at += 7;
        } else {
            buffer_put_u8(&out, (uint8_t)*at++);
        }
    }
    buffer_put_u8(&out, 0);
    char *expanded = out.failed ? NULL : xstrdup((const char *)buffer_bytes(&out).data);
    buffer_fini(&out);
    return expanded;
}

static bool
topic_right_compile(struct expression *expression, const char *pattern, struct log *log,
                    struct bytes user, struct bytes vhost)
{
    char *expanded = topic_expression_expand(pattern, user, vhost);
    bool compiled = expanded != NULL && right_compile(expression, expanded, log, user);
    free(expanded);
    return compiled;
}

/* All of them, so that one that does not compile denies and the others are what they say. */
static bool
user_rights_compile_topics(struct user_rights *rights, struct bytes user, struct log *log)
{
    const struct user_grant *given = &rights->given;
    bool is_good = true;
    rights->topics = xalloc(given->topic_count * sizeof(*rights->topics) + 1);
    rights->topic_count = given->topic_count;
    for (size_t i = 0; i < given->topic_count; i++) {
        struct topic_right *topic = &rights->topics[i];
        topic->exchange = given->topics[i].exchange;
        is_good &= topic_right_compile(&topic->rights[ACCESS_WRITE], given->topics[i].write, log,
                                       user, given->vhost);
        is_good &= topic_right_compile(&topic->rights[ACCESS_READ], given->topics[i].read, log,
                                       user, given->vhost);
    }
    return is_good;
}

static bool
user_rights_compile(struct user_rights *rights, struct bytes user, struct log *log)
{
    bool is_good = true;
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        is_good &= right_compile(&rights->rights[i], rights->given.rights[i], log, user);
    }
    return user_rights_compile_topics(rights, user, log) && is_good;
}

static void
user_rights_take_grant(struct user_rights *rights, const struct user_grant *grant)
{
    struct arena *arena = &rights->arena;
    struct config_topic_right *topics =
        arena_alloc(arena, (grant->topic_count + 1) * sizeof(*topics));
    for (size_t i = 0; i < grant->topic_count; i++) {
        topics[i].exchange = arena_copy(arena, grant->topics[i].exchange);
        topics[i].write = arena_strdup(arena, grant->topics[i].write);
        topics[i].read = arena_strdup(arena, grant->topics[i].read);
    }
    rights->given.vhost = arena_copy(arena, grant->vhost);
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        rights->given.rights[i] = arena_strdup(arena, grant->rights[i]);
    }
    rights->given.topics = topics;
    rights->given.topic_count = grant->topic_count;
}

/* Not compiled yet. NULL when there is no memory. */
static struct user_rights *
user_rights_new(const struct user_grant *grant, uint64_t seed)
{
    struct user_rights *rights = xalloc(sizeof(*rights));
    user_rights_take_grant(rights, grant);
    map_init(&rights->verdicts, seed);
    if (expression_runner_init(&rights->runner) != STATUS_OK) {
        user_rights_free(rights);
        return NULL;
    }
    return rights;
}

struct user_grant
config_user_grant(const struct config_user *config, struct bytes vhost)
{
    return (struct user_grant){
        .vhost = vhost,
        .rights = {[ACCESS_CONFIGURE] = config->configure,
                   [ACCESS_WRITE] = config->write,
                   [ACCESS_READ] = config->read},
        .topics = config->topics,
        .topic_count = config->topic_count,
    };
}

/* NULL when an expression does not compile; the log says which. */
static struct user_rights *
user_rights_make(const struct config_user *config, struct bytes vhost, struct core *core)
{
    struct user_grant grant = config_user_grant(config, vhost);
    struct user_rights *rights = user_rights_new(&grant, core->seed);
    if (rights != NULL && !user_rights_compile(rights, config->name, core->log)) {
        user_rights_free(rights);
        return NULL;
    }
    return rights;
}

void
user_free(struct user **user_pointer)
{
    struct user *user = *user_pointer;
    if (user == NULL) {
        return;
    }
    uint32_t position = 0;
    struct map_entry *entry;
    while ((entry = map_next(&user->rights, &position)) != NULL) {
        user_rights_free(entry->value);
    }
    map_fini(&user->rights);
    buffer_fini(&user->record);
    free(user->password_hash);
    free(user->tags);
    free((void *)user->name.data);
    free(user);
    *user_pointer = NULL;
}

struct user *
core_find_user(struct core *core, struct bytes name)
{
    return map_get(&core->users, name);
}

struct user *
core_restore_user(struct core *core, uint64_t id, struct bytes name)
{
    struct user *user = xalloc(sizeof(*user));
    user->id = id;
    user->name = bytes_new_copy(name);
    map_init(&user->rights, core->seed);
    map_put(&core->users, user->name, user);
    map_put(&core->user_ids, bytes_make(&user->id, sizeof(user->id)), user);
    return user;
}

static void
user_take_rights(struct user *user, struct user_rights *rights)
{
    struct user_rights *replaced = map_get(&user->rights, rights->given.vhost);
    map_put(&user->rights, rights->given.vhost, rights);
    if (replaced != NULL) {
        user_rights_free(replaced);
    }
    user->version++;
}

void
user_restore_grant(struct user *user, struct core *core, const struct user_grant *grant)
{
    struct user_rights *rights = user_rights_new(grant, core->seed);
    assert(rights != NULL);
    (void)user_rights_compile(rights, user->name, core->log);
    user_take_rights(user, rights);
}

enum status
user_put_grant(struct user *user, struct core *core, const struct user_grant *grant)
{
    struct user_rights *rights = user_rights_new(grant, core->seed);
    if (rights != NULL && !user_rights_compile(rights, user->name, core->log)) {
        user_rights_free(rights);
        rights = NULL;
    }
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    user_take_rights(user, rights);
    return STATUS_OK;
}

bool
user_drop_grant(struct user *user, struct bytes vhost)
{
    struct user_rights *rights = map_remove(&user->rights, vhost);
    if (rights == NULL) {
        return false;
    }
    user_rights_free(rights);
    user->version++;
    return true;
}

bool
user_find_grant(const struct user *user, struct bytes vhost, struct user_grant *grant_out)
{
    const struct user_rights *rights = map_get(&user->rights, vhost);
    if (rights == NULL) {
        return false;
    }
    *grant_out = rights->given;
    return true;
}

void
user_ref(struct user *user)
{
    user->references++;
}

void
user_unref(struct user *user)
{
    assert(user->references > 0);
    user->references--;
    if (user->is_gone && user->references == 0) {
        user_free(&user);
    }
}

void
core_drop_user(struct core *core, struct user *user)
{
    (void)map_remove(&core->users, user->name);
    (void)map_remove(&core->user_ids, bytes_make(&user->id, sizeof(user->id)));
    user->is_gone = true;
    user->is_disabled = true;
    user->version++;
    user_ref(user);
    user_unref(user);
}

bool
user_next_grant(const struct user *user, uint32_t *position, struct user_grant *grant_out)
{
    const struct map_entry *entry = map_next(&user->rights, position);
    if (entry == NULL) {
        return false;
    }
    const struct user_rights *rights = entry->value;
    *grant_out = rights->given;
    return true;
}

static void
user_take_credentials(struct user *user, const struct config_user *config, struct core *core)
{
    if (config->keeps_password) {
        return;
    }
    free(user->password_hash);
    user->password_hash = config->password_hash != NULL ? xstrdup(config->password_hash) : NULL;
    user->has_secret = config->password != NULL;
    if (user->has_secret) {
        login_desk_mac(core->logins, user->name, (struct bytes){.data = NULL},
                       bytes_of(config->password), user->secret_mac);
    }
}

enum status
core_check_user(struct core *core, const struct config_user *config, struct bytes vhost)
{
    struct user_rights *rights = user_rights_make(config, vhost, core);
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    user_rights_free(rights);
    return STATUS_OK;
}

enum status
core_put_user(struct core *core, const struct config_user *config, struct bytes vhost)
{
    struct user_rights *rights = user_rights_make(config, vhost, core);
    if (rights == NULL) {
        return STATUS_REJECTED;
    }
    struct user *user = core_find_user(core, config->name);
    if (user == NULL) {
        user = core_restore_user(core, core_new_id(core, true), config->name);
    }
    user->from_file = true;
    user->auth = config->auth;
    user->role = config->role;
    free(user->tags);
    user->tags = NULL;
    user->loopback_only = config->loopback_only;
    user->is_disabled = false;
    user->connections_max = config->connections_max;
    user->channels_max = config->channels_max;
    user_take_credentials(user, config, core);
    user_take_rights(user, rights);
    user_remember(core, user);
    return STATUS_OK;
}

void
core_disable_user(struct core *core, struct user *user)
{
    user->is_disabled = true;
    user->version++;
    user_remember(core, user);
}

void
core_take_grant(struct core *core, struct user *user, struct bytes vhost)
{
    (void)user_drop_grant(user, vhost);
    if (map_count(&user->rights) == 0) {
        user->is_disabled = true;
    }
    user_remember(core, user);
}

void
core_give_password(struct core *core, struct user *user, const struct config_user *config)
{
    user_take_credentials(user, config, core);
    user->version++;
    user_remember(core, user);
}

bool
access_may_enter(const struct user *user, struct bytes vhost)
{
    return user->has_all_rights || (!user->is_disabled && map_get(&user->rights, vhost) != NULL);
}

/* The answer remembered under `question`, or NULL. */
static const struct verdict *
user_rights_find_verdict(const struct user_rights *rights, struct bytes question)
{
    return map_get(&rights->verdicts, question);
}

static void
user_rights_remember(struct user_rights *rights, struct bytes question, bool allowed)
{
    if (map_count(&rights->verdicts) >= VERDICTS_MAX) {
        user_rights_forget_verdicts(rights);
    }
    struct verdict *verdict = xalloc(sizeof(*verdict) + question.size);
    verdict->allowed = allowed;
    memcpy(verdict->question, question.data, question.size);
    map_put(&rights->verdicts, bytes_make(verdict->question, question.size), verdict);
}

static bool
user_rights_allow(struct user_rights *rights, enum access_right right, struct bytes name)
{
    const struct expression *expression = &rights->rights[right];
    if (expression->matches_all) {
        return true;
    }
    if (name.size > UINT8_MAX) {
        return right_matches(expression, rights, name);
    }
    uint8_t question[1 + UINT8_MAX]; /* the right, then the name */
    question[0] = (uint8_t)right;
    memcpy(question + 1, name.data, name.size);
    struct bytes asked = bytes_make(question, 1 + name.size);
    const struct verdict *known = user_rights_find_verdict(rights, asked);
    if (known != NULL) {
        return known->allowed;
    }
    bool allowed = right_matches(expression, rights, name);
    user_rights_remember(rights, asked, allowed);
    return allowed;
}

bool
access_allows(struct core *core, struct user *user, struct bytes vhost, enum access_right right,
              enum access_kind kind, struct bytes name)
{
    (void)core;
    if (user->has_all_rights) {
        return true;
    }
    struct user_rights *rights = user->is_disabled ? NULL : map_get(&user->rights, vhost);
    if (rights == NULL) {
        return false;
    }
    if (kind == ACCESS_EXCHANGE && name.size == 0) {
        name = bytes_of(DEFAULT_EXCHANGE_NAME);
    }
    return user_rights_allow(rights, right, name);
}

static enum status
access_refuse(const struct user *user, const struct vhost *vhost, enum access_right right,
              enum access_kind kind, struct bytes name, struct fault *fault)
{
    char subject[RESOURCE_TEXT_SIZE];
    if (kind == ACCESS_QUEUE) {
        vhost_queue_text(vhost, name, subject);
    } else {
        vhost_exchange_text(vhost, name.size == 0 ? bytes_of(DEFAULT_EXCHANGE_NAME) : name,
                            subject);
    }
    return fault_channel(fault, REPLY_ACCESS_REFUSED, "%s access to %s refused for user '%.*s'",
                         access_right_names[right], subject, BYTES_FORMAT(user->name));
}

enum status
access_require_of(struct user *user, const struct vhost *vhost, enum access_right right,
                  enum access_kind kind, struct bytes name, struct fault *fault)
{
    if (access_allows(vhost->core, user, vhost->name, right, kind, name)) {
        return STATUS_OK;
    }
    return access_refuse(user, vhost, right, kind, name, fault);
}

enum status
access_require(const struct connection *connection, enum access_right right, enum access_kind kind,
               struct bytes name, struct fault *fault)
{
    return access_require_of(connection->user, connection->vhost, right, kind, name, fault);
}

enum status
access_require_any(const struct connection *connection, enum access_kind kind, struct bytes name,
                   struct fault *fault)
{
    for (int right = 0; right < ACCESS_RIGHT_COUNT; right++) {
        if (access_allows(connection->core, connection->user, connection->vhost->name,
                          (enum access_right)right, kind, name)) {
            return STATUS_OK;
        }
    }
    return access_refuse(connection->user, connection->vhost, ACCESS_CONFIGURE, kind, name, fault);
}

static const struct topic_right *
user_rights_find_topic(const struct user_rights *rights, struct bytes exchange)
{
    for (size_t i = 0; i < rights->topic_count; i++) {
        if (bytes_equal(rights->topics[i].exchange, exchange)) {
            return &rights->topics[i];
        }
    }
    return NULL;
}

static bool
topic_right_allows(struct user_rights *rights, const struct topic_right *topic,
                   enum access_right right, struct bytes routing_key)
{
    if (routing_key.size > UINT8_MAX) { /* from a CC header: a shortstr has no more */
        return right_matches(&topic->rights[right], rights, routing_key);
    }
    /* The topic's number keeps questions about different exchanges apart; its first octet is none
     * that a question about a name begins with. */
    uint8_t question[6 + UINT8_MAX];
    question[0] = (uint8_t)(ACCESS_RIGHT_COUNT + right);
    put_u32(question + 1, (uint32_t)(topic - rights->topics));
    memcpy(question + 5, routing_key.data, routing_key.size);
    struct bytes asked = bytes_make(question, 5 + routing_key.size);
    const struct verdict *known = user_rights_find_verdict(rights, asked);
    if (known != NULL) {
        return known->allowed;
    }
    bool allowed = right_matches(&topic->rights[right], rights, routing_key);
    user_rights_remember(rights, asked, allowed);
    return allowed;
}

enum status
access_require_topic_of(struct user *user, const struct vhost *vhost, enum access_right right,
                        struct bytes exchange, struct bytes routing_key, struct fault *fault)
{
    struct user_rights *rights = map_get(&user->rights, vhost->name);
    const struct topic_right *topic =
        rights == NULL ? NULL : user_rights_find_topic(rights, exchange);
    if (topic == NULL || topic_right_allows(rights, topic, right, routing_key)) {
        return STATUS_OK;
    }
    char subject[RESOURCE_TEXT_SIZE];
    vhost_exchange_text(vhost, exchange, subject);
    return fault_channel(
        fault, REPLY_ACCESS_REFUSED, "%s access to topic '%.*s' in %s refused for user '%.*s'",
        access_right_names[right], BYTES_FORMAT(routing_key), subject, BYTES_FORMAT(user->name));
}

enum status
access_require_topic(const struct connection *connection, enum access_right right,
                     struct bytes exchange, struct bytes routing_key, struct fault *fault)
{
    return access_require_topic_of(connection->user, connection->vhost, right, exchange,
                                   routing_key, fault);
}
