/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions_apply.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "broker/changes/audit.h"
#include "broker/changes/parameters.h"
#include "broker/durability/durability.h"
#include "broker/passwords/password.h"
#include "broker/topology/vhost_life.h"
#include "broker/users/user_changes.h"

/* Notes what came of one; false when it was refused. */
static bool
note(struct definitions_apply *apply, enum change_outcome outcome, const char *what,
     struct bytes name)
{
    char why[CHANGE_WHY_SIZE];
    apply->made_count += outcome == CHANGE_MADE ? 1 : 0;
    if (outcome == CHANGE_DONE || outcome == CHANGE_MADE) {
        return true;
    }
    (void)snprintf(why, sizeof(why), "%s", apply->change.why);
    (void)change_refuse(&apply->change, "%s \"%.100s\": %.300s", what,
                        name.size == 0 ? "" : (const char *)name.data,
                        outcome == CHANGE_NOT_FOUND ? "its user or vhost is not there" : why);
    return false;
}

static bool
refuse(struct definitions_apply *apply, const char *what, struct bytes name, const char *why)
{
    (void)change_refuse(&apply->change, "%.300s", why);
    return note(apply, CHANGE_REFUSED, what, name);
}

/* Whether a name fits where AMQP has names. */
static bool
name_fits(struct definitions_apply *apply, const char *what, struct bytes name)
{
    return name.size <= UINT8_MAX ? true
                                  : refuse(apply, what, name, "a name has at most 255 octets");
}

/* Users and vhosts --------------------------------------------------------------------------- */

static char *
join_tags(const struct definitions_user *user)
{
    struct buffer tags;
    buffer_init(&tags);
    for (size_t i = 0; i < user->tag_count; i++) {
        buffer_printf(&tags, "%s%.*s", i == 0 ? "" : ",", BYTES_FORMAT(user->tags[i]));
    }
    buffer_put_u8(&tags, '\0');
    char *text = tags.failed ? NULL : xstrdup((const char *)buffer_bytes(&tags).data);
    buffer_fini(&tags);
    return text;
}

/* A hash that cannot be checked is no hash: the user is there, and needs a new password. */
static bool
apply_user(struct definitions_apply *apply, size_t at)
{
    const struct definitions_user *user = &apply->definitions->users.items[at];
    struct change *change = &apply->change;
    const char *hash = (const char *)user->hash.data;
    char *tags = join_tags(user);
    if (tags == NULL) {
        return refuse(apply, "user", user->name, "no memory");
    }
    struct user_wish wish = {
        .name = user->name,
        .tags = tags,
        .keeps_file_password = true,
        .password_hash = user->hash.size > 0 && password_hash_algorithm(hash) != NULL ? hash : "",
    };
    enum change_outcome outcome = change_put_user(change, &wish);
    free(tags);
    if (!note(apply, outcome, "user", user->name)) {
        return false;
    }
    (void)change_limit_user(change, user->name, bytes_of("max-connections"), user->connections_max);
    (void)change_limit_user(change, user->name, bytes_of("max-channels"), user->channels_max);
    return true;
}

static bool
apply_vhost(struct definitions_apply *apply, size_t at)
{
    const struct definitions_vhost *vhost = &apply->definitions->vhosts.items[at];
    struct change *change = &apply->change;
    if (apply->vhost.data == NULL) {
        const struct vhost_wish wish = {
            .name = vhost->name,
            .description = vhost->description,
            .tags = vhost->tags,
            .default_queue_type = vhost->default_queue_type,
        };
        if (!note(apply, change_put_vhost(change, &wish), "vhost", vhost->name)) {
            return false;
        }
    } else if (core_find_vhost(change->core, vhost->name) == NULL) {
        return note(apply, CHANGE_NOT_FOUND, "vhost", vhost->name);
    }
    if (vhost->connections_max >= 0) {
        (void)change_limit_vhost(change, vhost->name, bytes_of("max-connections"),
                                 vhost->connections_max);
    }
    if (vhost->queues_max >= 0) {
        (void)change_limit_vhost(change, vhost->name, bytes_of("max-queues"), vhost->queues_max);
    }
    return true;
}

/* Rights and policies ------------------------------------------------------------------------ */

static bool
apply_permission(struct definitions_apply *apply, size_t at)
{
    const struct definitions_permission *permission = &apply->definitions->permissions.items[at];
    const struct user_grant grant = {
        .vhost = permission->vhost,
        .rights = {[ACCESS_CONFIGURE] = permission->configure,
                   [ACCESS_WRITE] = permission->write,
                   [ACCESS_READ] = permission->read},
    };
    return note(apply, change_put_grant(&apply->change, permission->user, &grant), "permissions of",
                permission->user);
}

static bool
apply_topic_permission(struct definitions_apply *apply, size_t at)
{
    const struct definitions_topic_permission *permission =
        &apply->definitions->topic_permissions.items[at];
    const struct config_topic_right right = {
        .exchange = permission->exchange,
        .write = permission->write,
        .read = permission->read,
    };
    return note(apply,
                change_put_topic_right(&apply->change, permission->user, permission->vhost, &right),
                "topic permissions of", permission->user);
}

static bool
apply_parameter(struct definitions_apply *apply, size_t at)
{
    const struct definitions_parameter *parameter = &apply->definitions->parameters.items[at];
    return note(apply, change_put_parameter(&apply->change, parameter->name, parameter->value),
                "global parameter", parameter->name);
}

static bool
apply_policy(struct definitions_apply *apply, size_t at)
{
    const struct definitions_policy *policy = &apply->definitions->policies.items[at];
    struct policy_properties properties = {
        .kind = policy->is_operator ? POLICY_OPERATOR : POLICY_ORDINARY,
        .priority = policy->priority,
        .name = policy->name,
        .pattern = policy->pattern,
        .definition = policy->definition,
    };
    if (!name_fits(apply, "policy", policy->name)) {
        return false;
    }
    if (!policy_target_find(bytes_of(policy->apply_to), &properties.target)) {
        return refuse(apply, "policy", policy->name, "its apply-to is not known");
    }
    return note(apply, change_put_policy(&apply->change, policy->vhost, &properties), "policy",
                policy->name);
}

/* Queues, exchanges, bindings ---------------------------------------------------------------- */

static struct made
maker(const struct definitions_apply *apply)
{
    struct core *core = apply->change.core;
    const struct user *user = core_find_user(core, apply->by);
    return made_by(user == NULL ? 0 : user->id, core->now.wall_ms);
}

static bool
apply_queue(struct definitions_apply *apply, size_t at)
{
    const struct definitions_queue *queue = &apply->definitions->queues.items[at];
    struct vhost *vhost = core_find_vhost(apply->change.core, queue->vhost);
    struct fault fault;
    struct queue_properties properties = {
        .name = queue->name,
        .arguments = queue->arguments,
        .durable = queue->durable,
        .auto_delete = queue->auto_delete,
        .made = maker(apply),
    };
    if (!name_fits(apply, "queue", queue->name)) {
        return false;
    }
    if (vhost == NULL || vhost_find_queue(vhost, queue->name) != NULL) {
        return note(apply, vhost == NULL ? CHANGE_NOT_FOUND : CHANGE_DONE, "queue", queue->name);
    }
    if (vhost_declare_queue(vhost, &properties, NULL, &fault) != STATUS_OK) {
        return refuse(apply, "queue", queue->name, fault.text);
    }
    return note(apply, CHANGE_MADE, "queue", queue->name);
}

/* NULL, or what is wrong with it. */
static const char *
exchange_problem(const struct exchange_properties *properties, struct fault *fault)
{
    struct table_value alternate;
    if (table_find(properties->arguments, "alternate-exchange", &alternate) &&
        table_value_class(&alternate) != TABLE_CLASS_STRING) {
        return "its alternate exchange is no name";
    }
    return exchange_type_check_arguments(properties->type, properties->arguments, "exchange",
                                         fault) == STATUS_OK
               ? NULL
               : fault->text;
}

static bool
apply_exchange(struct definitions_apply *apply, size_t at)
{
    const struct definitions_exchange *exchange = &apply->definitions->exchanges.items[at];
    struct vhost *vhost = core_find_vhost(apply->change.core, exchange->vhost);
    struct fault fault;
    struct exchange_properties properties = {
        .name = exchange->name,
        .type = exchange_type_find(bytes_of(exchange->type)),
        .durable = exchange->durable,
        .auto_delete = exchange->auto_delete,
        .internal = exchange->internal,
        .made = maker(apply),
        .arguments = exchange->arguments,
    };
    if (!name_fits(apply, "exchange", exchange->name)) {
        return false;
    }
    if (vhost == NULL || vhost_find_exchange(vhost, exchange->name) != NULL) {
        return note(apply, vhost == NULL ? CHANGE_NOT_FOUND : CHANGE_DONE, "exchange",
                    exchange->name);
    }
    const char *problem = exchange_problem(&properties, &fault);
    if (problem == NULL && vhost_declare_exchange(vhost, &properties, NULL, &fault) != STATUS_OK) {
        problem = fault.text;
    }
    return problem == NULL ? note(apply, CHANGE_MADE, "exchange", exchange->name)
                           : refuse(apply, "exchange", exchange->name, problem);
}

static struct route_target *
find_destination(const struct vhost *vhost, const struct definitions_binding *binding)
{
    if (binding->to_exchange) {
        struct exchange *exchange = vhost_find_exchange(vhost, binding->destination);
        return exchange == NULL ? NULL : &exchange->target;
    }
    struct queue *queue = vhost_find_queue(vhost, binding->destination);
    return queue == NULL || queue->owner_link != 0 ? NULL : &queue->target;
}

static bool
apply_binding(struct definitions_apply *apply, size_t at)
{
    const struct definitions_binding *binding = &apply->definitions->bindings.items[at];
    struct vhost *vhost = core_find_vhost(apply->change.core, binding->vhost);
    struct exchange *source = vhost == NULL ? NULL : vhost_find_exchange(vhost, binding->source);
    struct route_target *target = source == NULL ? NULL : find_destination(vhost, binding);
    struct fault fault;
    if (target == NULL || source->name.size == 0) {
        return refuse(apply, "binding of exchange", binding->source,
                      "its source or destination is not there, or cannot be bound");
    }
    if (binding->routing_key.size > UINT8_MAX) {
        return refuse(apply, "binding of exchange", binding->source,
                      "its routing key has more than 255 octets");
    }
    if (vhost_bind(vhost, source, target, binding->routing_key, binding->arguments, NULL, &fault) !=
        STATUS_OK) {
        return refuse(apply, "binding of exchange", binding->source, fault.text);
    }
    return true;
}

/* The whole ---------------------------------------------------------------------------------- */

static const struct {
    bool (*apply)(struct definitions_apply *apply, size_t at);
    size_t list;     /* where its list is in struct definitions */
    bool of_a_vhost; /* not left out where only one is meant */
} stages[] = {
    {apply_user, offsetof(struct definitions, users.count), false},
    {apply_vhost, offsetof(struct definitions, vhosts.count), true},
    {apply_permission, offsetof(struct definitions, permissions.count), false},
    {apply_topic_permission, offsetof(struct definitions, topic_permissions.count), false},
    {apply_parameter, offsetof(struct definitions, parameters.count), false},
    {apply_policy, offsetof(struct definitions, policies.count), true},
    {apply_queue, offsetof(struct definitions, queues.count), true},
    {apply_exchange, offsetof(struct definitions, exchanges.count), true},
    {apply_binding, offsetof(struct definitions, bindings.count), true},
};

static size_t
count_of(const struct definitions_apply *apply)
{
    const char *definitions = (const char *)apply->definitions;
    size_t count;
    memcpy(&count, definitions + stages[apply->stage].list, sizeof(count));
    return apply->vhost.data == NULL || stages[apply->stage].of_a_vhost ? count : 0;
}

/* False when there is nothing left to do. */
static bool
apply_one(struct definitions_apply *apply)
{
    while (apply->stage < ARRAY_LEN(stages) && apply->at >= count_of(apply)) {
        apply->stage++;
        apply->at = 0;
    }
    if (apply->stage == ARRAY_LEN(stages)) {
        return false;
    }
    apply->is_refused = !stages[apply->stage].apply(apply, apply->at++);
    return !apply->is_refused;
}

/* One word for all of it: what it changes is not told one by one. */
static void
tell_audit(const struct definitions_apply *apply, enum audit_phase phase)
{
    const struct definitions *definitions = apply->definitions;
    char target[256];
    bool is_all = apply->vhost.data == NULL;
    (void)snprintf(target, sizeof(target),
                   "users=%zu vhosts=%zu permissions=%zu policies=%zu queues=%zu exchanges=%zu "
                   "bindings=%zu",
                   is_all ? definitions->users.count : 0, is_all ? definitions->vhosts.count : 0,
                   is_all ? definitions->permissions.count : 0, definitions->policies.count,
                   definitions->queues.count, definitions->exchanges.count,
                   definitions->bindings.count);
    audit_add(apply->change.core, (struct audit_entry){
                                      .action = AUDIT_DEFINITIONS_IMPORTED,
                                      .phase = phase,
                                      .user = change_maker(&apply->change),
                                      .vhost = apply->vhost,
                                      .target = bytes_of(target),
                                      .outcome = bytes_of(phase == AUDIT_BEGUN ? ""
                                                          : apply->is_refused  ? "given up"
                                                                               : "done"),
                                      .done_count = apply->made_count,
                                  });
}

/* False: its vhost is not there. */
static bool
begin(struct definitions_apply *apply, struct core *core)
{
    apply->has_begun = true;
    apply->change.core = core;
    apply->change.by = apply->by;
    apply->change.is_part = true;
    if (apply->vhost.data != NULL && core_find_vhost(core, apply->vhost) == NULL) {
        apply->is_refused = !note(apply, CHANGE_NOT_FOUND, "vhost", apply->vhost);
        return false;
    }
    tell_audit(apply, AUDIT_BEGUN);
    return true;
}

static void
end(struct definitions_apply *apply, struct core *core)
{
    apply->is_applied = true;
    tell_audit(apply, AUDIT_ENDED);
    apply->token = core_topology_token(core);
    change_log(&apply->change, AUDIT_DEFINITIONS_IMPORTED, bytes_of(""),
               "made=%" PRIu64 " complete=%s", apply->made_count, apply->is_refused ? "no" : "yes");
}

enum request_progress
definitions_apply_step(struct definitions_apply *apply, struct core *core, uint32_t *budget)
{
    if (!apply->has_begun && !begin(apply, core)) {
        return REQUEST_DONE;
    }
    while (!apply->is_applied) {
        if (*budget == 0) {
            return REQUEST_MORE;
        }
        (*budget)--;
        if (!apply_one(apply)) {
            end(apply, core);
        }
    }
    if (core_is_committed(core, apply->token)) {
        return REQUEST_DONE;
    }
    core->wants_flush = true;
    return REQUEST_WAITING;
}
