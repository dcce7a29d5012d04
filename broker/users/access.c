/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/access.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/connections/connection.h"
#include "broker/topology/vhost.h"

/* Verdicts remembered for one user in one vhost; when full they are forgotten and asked anew. */
static const uint32_t VERDICTS_MAX = 4096;

static const char DEFAULT_EXCHANGE_NAME[] = "amq.default";

/* An answer under its question; the question's octets follow. */
struct verdict {
    bool allowed;
    uint8_t question[];
};

static const char *const access_right_names[ACCESS_RIGHT_COUNT] = {
    [ACCESS_CONFIGURE] = "configure",
    [ACCESS_WRITE] = "write",
    [ACCESS_READ] = "read",
};

static bool
right_matches(const struct expression *expression, const struct user_rights *rights,
              struct bytes subject)
{
    return expression_match(expression, &rights->runner, subject) == EXPRESSION_MATCHES;
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
