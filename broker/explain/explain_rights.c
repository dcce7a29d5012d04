/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/explain_rights.h"

#include "amqp/reply.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

/* The user's expressions in the vhost, copied. */
static void
copy_expressions(const struct user *user, struct bytes vhost, struct bytes exchange,
                 struct arena *arena, struct explained_rights *rights)
{
    uint32_t position = 0;
    for (struct user_grant grant; user_next_grant(user, &position, &grant);) {
        if (!bytes_equal(grant.vhost, vhost)) {
            continue;
        }
        rights->write = arena_strdup(arena, grant.rights[ACCESS_WRITE]);
        for (size_t i = 0; i < grant.topic_count; i++) {
            if (bytes_equal(grant.topics[i].exchange, exchange)) {
                rights->topic = arena_strdup(arena, grant.topics[i].write);
            }
        }
    }
}

/* Every key is asked for; the first that is refused is what the client is told. */
static enum status
explain_keys(struct user *user, const struct vhost *vhost, const struct exchange *exchange,
             const struct bytes *keys, uint32_t key_count, struct arena *arena,
             struct explained_rights *rights, struct fault *fault)
{
    enum status status = STATUS_OK;
    rights->keys = arena_alloc(arena, key_count * sizeof(*rights->keys));
    rights->key_count = key_count;
    for (uint32_t i = 0; i < key_count; i++) {
        struct fault refusal;
        rights->keys[i].key = arena_copy(arena, keys[i]);
        rights->keys[i].is_allowed =
            access_require_topic_of(user, vhost, ACCESS_WRITE, exchange->name, keys[i], &refusal) ==
            STATUS_OK;
        if (!rights->keys[i].is_allowed && status == STATUS_OK) {
            *fault = refusal;
            status = STATUS_FAULT;
        }
    }
    return status;
}

/* What opening the vhost would say. */
static enum status
check_entrance(const struct vhost *vhost, struct bytes name, const struct explained_rights *rights,
               struct fault *fault)
{
    if (rights->is_missing) {
        return fault_connection(fault, REPLY_ACCESS_REFUSED, "there is no user '%.*s'",
                                BYTES_FORMAT(name));
    }
    if (rights->is_disabled) {
        return fault_connection(fault, REPLY_ACCESS_REFUSED,
                                "user '%.*s' is no longer in the file: it may do nothing",
                                BYTES_FORMAT(name));
    }
    if (!rights->may_enter) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "access to vhost '%.*s' refused for user '%.*s'",
                                BYTES_FORMAT(vhost->name), BYTES_FORMAT(name));
    }
    return STATUS_OK;
}

enum status
rights_explain(struct core *core, struct vhost *vhost, struct bytes user, struct bytes name,
               const struct exchange *exchange, const struct bytes *keys, uint32_t key_count,
               struct arena *arena, struct explained_rights *rights_out, struct fault *fault)
{
    struct user *found = core_find_user(core, user);
    *rights_out = (struct explained_rights){.is_missing = found == NULL};
    if (found != NULL) {
        rights_out->is_disabled = found->is_disabled;
        rights_out->may_enter = access_may_enter(found, vhost->name);
        copy_expressions(found, vhost->name, name, arena, rights_out);
    }
    if (check_entrance(vhost, user, rights_out, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct fault refusal;
    enum status status =
        access_require_of(found, vhost, ACCESS_WRITE, ACCESS_EXCHANGE, name, &refusal);
    rights_out->may_write = status == STATUS_OK;
    enum status keys_status = STATUS_OK;
    if (exchange != NULL && exchange->type->is_topic) {
        keys_status =
            explain_keys(found, vhost, exchange, keys, key_count, arena, rights_out, fault);
    }
    if (status != STATUS_OK) {
        *fault = refusal; /* which comes first */
    }
    return status != STATUS_OK ? status : keys_status;
}
