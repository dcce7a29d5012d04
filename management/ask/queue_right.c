/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/queue_right.h"

#include "amqp/reply.h"
#include "broker/topology/vhost.h"
#include "broker/users/abilities.h"

struct vhost *
find_vhost_of(struct core *core, const struct call *call, struct refusal *refusal)
{
    struct vhost *vhost = core_find_vhost(core, call_name(call, 0));
    if (vhost == NULL) {
        struct fault fault;
        (void)fault_connection(&fault, REPLY_NOT_FOUND, "no vhost '%.*s'",
                               BYTES_FORMAT(call_name(call, 0)));
        refusal_set(refusal, &fault);
    }
    return vhost;
}

bool
caller_has_right(struct core *core, const struct call *call, const struct vhost *vhost,
                 enum access_right right, enum access_kind kind, struct bytes name,
                 struct refusal *refusal)
{
    struct bytes user_name = call_user_name(call);
    struct fault fault;
    if (user_name.data == NULL) {
        return true;
    }
    struct user *user = core_find_user(core, user_name);
    if (user == NULL) {
        (void)fault_connection(&fault, REPLY_ACCESS_REFUSED, "there is no user '%.*s' any more",
                               BYTES_FORMAT(user_name));
        refusal_set(refusal, &fault);
        return false;
    }
    if (user->is_disabled || (abilities_of(user) & (uint8_t)call->route->needs) == 0) {
        (void)fault_connection(&fault, REPLY_ACCESS_REFUSED,
                               "user '%.*s' has no role that allows this any more",
                               BYTES_FORMAT(user_name));
        refusal_set(refusal, &fault);
        return false;
    }
    if (access_require_of(user, vhost, right, kind, name, &fault) != STATUS_OK) {
        refusal_set(refusal, &fault);
        return false;
    }
    return true;
}

struct queue *
find_queue_with_right(struct core *core, const struct call *call, enum access_right right,
                      struct refusal *refusal)
{
    const struct vhost *vhost = find_vhost_of(core, call, refusal);
    if (vhost == NULL ||
        !caller_has_right(core, call, vhost, right, ACCESS_QUEUE, call_name(call, 1), refusal)) {
        return NULL;
    }
    struct queue *queue = vhost_find_queue(vhost, call_name(call, 1));
    if (queue == NULL) {
        struct fault fault;
        (void)fault_no_queue(&fault, vhost, call_name(call, 1));
        refusal_set(refusal, &fault);
    }
    return queue;
}

struct bytes
caller_name(const struct call *call)
{
    struct bytes name = call_user_name(call);
    return name.data == NULL ? bytes_of("(local)") : name;
}
