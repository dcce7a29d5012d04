/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions_survey.h"

#include "broker/changes/generation.h"
#include "broker/changes/parameters.h"
#include "broker/topology/vhost.h"
#include "broker/users/abilities.h"

static struct bytes
keep(struct definitions_survey *survey, struct bytes text)
{
    return arena_copy(&survey->definitions->arena, text);
}

static const char *
keep_text(struct definitions_survey *survey, const char *text)
{
    return arena_strdup(&survey->definitions->arena, text);
}

static void
spend(uint32_t *budget)
{
    *budget -= *budget > 0 ? 1 : 0;
}

/* Users and rights --------------------------------------------------------------------------- */

static void
add_tags(struct definitions_survey *survey, struct definitions_user *row, const char *tags)
{
    row->tags = arena_alloc(&survey->definitions->arena, (strlen(tags) + 1) * sizeof(*row->tags));
    for (const char *at = tags; *at != '\0';) {
        size_t size = strcspn(at, ", ");
        if (size > 0) {
            row->tags[row->tag_count++] = keep(survey, bytes_make(at, size));
        }
        at += size;
        at += strspn(at, ", ");
    }
}

static void
add_grant(struct definitions_survey *survey, struct bytes user, const struct user_grant *grant)
{
    struct definitions *definitions = survey->definitions;
    struct bytes vhost = keep(survey, grant->vhost);
    *definitions_add(definitions, &definitions->permissions) = (struct definitions_permission){
        .user = user,
        .vhost = vhost,
        .configure = keep_text(survey, grant->rights[ACCESS_CONFIGURE]),
        .write = keep_text(survey, grant->rights[ACCESS_WRITE]),
        .read = keep_text(survey, grant->rights[ACCESS_READ]),
    };
    for (size_t i = 0; i < grant->topic_count; i++) {
        *definitions_add(definitions, &definitions->topic_permissions) =
            (struct definitions_topic_permission){
                .user = user,
                .vhost = vhost,
                .exchange = keep(survey, grant->topics[i].exchange),
                .write = keep_text(survey, grant->topics[i].write),
                .read = keep_text(survey, grant->topics[i].read),
            };
    }
}

static void
add_user(struct definitions_survey *survey, const struct user *user)
{
    struct definitions *definitions = survey->definitions;
    const char *hash = user->password_hash == NULL ? "" : user->password_hash;
    struct definitions_user row = {
        .name = keep(survey, user->name),
        .hash = bytes_of(keep_text(survey, hash)),
        .connections_max = user->connections_max,
        .channels_max = user->channels_max,
    };
    row.hash_kind = definitions_hash_kind(row.hash);
    if (row.hash_kind == DEFINITIONS_NO_HASH && user->auth == AUTH_PASSWORD) {
        row.hash_kind = DEFINITIONS_FOREIGN; /* it stands where the files of serve are */
    }
    add_tags(survey, &row, user_tags(user));
    *definitions_add(definitions, &definitions->users) = row;
    uint32_t position = 0;
    struct user_grant grant;
    while (user_next_grant(user, &position, &grant)) {
        add_grant(survey, row.name, &grant);
    }
}

/* All of them in one slice: there are few. */
static void
add_users(struct definitions_survey *survey, struct core *core, uint32_t *budget)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->users, &position)) != NULL;) {
        const struct user *user = entry->value;
        spend(budget);
        if (!user->is_disabled) {
            add_user(survey, user);
        }
    }
}

/* Vhosts and policies ------------------------------------------------------------------------ */

static const char *
keep_text_or_none(struct definitions_survey *survey, const char *text)
{
    return text == NULL ? NULL : keep_text(survey, text);
}

static void
add_vhost(struct definitions_survey *survey, const struct vhost *vhost)
{
    struct definitions_vhost *row = definitions_put_vhost(survey->definitions, vhost->name);
    row->description = keep_text_or_none(survey, vhost->description);
    row->tags = keep_text_or_none(survey, vhost->tags);
    row->default_queue_type = keep_text_or_none(survey, vhost->default_queue_type);
    row->connections_max = vhost->connections_max;
    row->queues_max = vhost->queues_max;
}

static void
add_parameters(struct definitions_survey *survey, const struct core *core, uint32_t *budget)
{
    struct definitions *definitions = survey->definitions;
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->parameters, &position)) != NULL;) {
        const struct parameter *parameter = entry->value;
        spend(budget);
        *definitions_add(definitions, &definitions->parameters) = (struct definitions_parameter){
            .name = keep(survey, parameter->name),
            .value = keep(survey, parameter->value),
        };
    }
}

static void
begin(struct definitions_survey *survey, struct core *core, uint32_t *budget)
{
    survey->has_begun = true;
    if (survey->vhost.data != NULL) {
        const struct vhost *vhost = core_find_vhost(core, survey->vhost);
        survey->is_found = vhost != NULL;
        if (vhost != NULL) {
            add_vhost(survey, vhost);
        }
        return;
    }
    survey->is_found = true;
    add_users(survey, core, budget);
    add_parameters(survey, core, budget);
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->vhosts, &position)) != NULL;) {
        add_vhost(survey, entry->value);
    }
}

static void
add_policies(struct definitions_survey *survey, const struct vhost *vhost, enum policy_kind kind,
             uint32_t *budget)
{
    const struct policy *policy;
    for (uint32_t at = 0; (policy = vhost_policy_at(vhost, kind, at)) != NULL; at++) {
        spend(budget);
        *definitions_add(survey->definitions, &survey->definitions->policies) =
            (struct definitions_policy){
                .vhost = keep(survey, vhost->name),
                .name = keep(survey, policy->is.name),
                .pattern = keep(survey, policy->is.pattern),
                .apply_to = policy_target_name(policy->is.target),
                .priority = policy->is.priority,
                .is_operator = kind == POLICY_OPERATOR,
                .definition = keep(survey, policy->is.definition),
            };
    }
}

/* Queues, exchanges, bindings ---------------------------------------------------------------- */

static bool
add_next_queue(struct definitions_survey *survey, const struct core *core,
               const struct vhost *vhost)
{
    const struct map_entry *entry = map_previous(&vhost->queues, &survey->queues_left);
    if (entry == NULL) {
        return false;
    }
    const struct queue *queue = entry->value;
    const struct config_alert *alert = core_find_alert(core, vhost->name, queue_name(queue));
    if (queue->owner_link == 0) {
        *definitions_add(survey->definitions, &survey->definitions->queues) =
            (struct definitions_queue){
                .vhost = keep(survey, vhost->name),
                .name = keep(survey, queue_name(queue)),
                .durable = queue->durable,
                .auto_delete = queue->auto_delete,
                .is_protected = queue->is_protected,
                .alert = alert == NULL ? (struct config_alert){.has_ready = false} : *alert,
                .arguments = keep(survey, queue->arguments),
            };
    }
    return true;
}

static bool
is_defined(const struct exchange *exchange)
{
    return !exchange->predeclared && exchange->name.size > 0 &&
           !bytes_starts_with(exchange->name, "amq.");
}

static bool
add_next_exchange(struct definitions_survey *survey, const struct vhost *vhost)
{
    const struct map_entry *entry = map_previous(&vhost->exchanges, &survey->exchanges_left);
    if (entry == NULL) {
        return false;
    }
    const struct exchange *exchange = entry->value;
    if (is_defined(exchange)) {
        *definitions_add(survey->definitions, &survey->definitions->exchanges) =
            (struct definitions_exchange){
                .vhost = keep(survey, vhost->name),
                .name = keep(survey, exchange->name),
                .type = exchange_declared_type(exchange)->name,
                .durable = exchange->durable,
                .auto_delete = exchange->auto_delete,
                .internal = exchange->internal,
                .is_protected = exchange->is_protected,
                .arguments = keep(survey, exchange->arguments),
            };
    }
    survey->bindings_of = keep(survey, exchange->name);
    survey->binding_at = 0;
    return true;
}

static void
add_binding(struct definitions_survey *survey, const struct vhost *vhost, struct binding *binding)
{
    struct route_target *target = binding->target;
    bool to_exchange = target->kind == ROUTE_TARGET_EXCHANGE;
    bool is_gone = target->kind == ROUTE_TARGET_GONE;
    if (is_gone || (!to_exchange && queue_of_target(target)->owner_link != 0)) {
        return;
    }
    struct bytes destination =
        to_exchange ? exchange_of_target(target)->name : queue_name(queue_of_target(target));
    *definitions_add(survey->definitions, &survey->definitions->bindings) =
        (struct definitions_binding){
            .vhost = keep(survey, vhost->name),
            .source = survey->bindings_of,
            .destination = keep(survey, destination),
            .routing_key = keep(survey, binding_routing_key(binding)),
            .to_exchange = to_exchange,
            .arguments = keep(survey, binding_arguments(binding)),
        };
}

/* An exchange that is gone meanwhile has none left. */
static bool
add_next_binding(struct definitions_survey *survey, const struct vhost *vhost)
{
    const struct exchange *exchange =
        survey->bindings_of.data == NULL ? NULL : vhost_find_exchange(vhost, survey->bindings_of);
    struct binding *binding =
        exchange == NULL ? NULL : binding_table_next(&exchange->bindings, &survey->binding_at);
    if (binding == NULL) {
        survey->bindings_of.data = NULL;
        return false;
    }
    add_binding(survey, vhost, binding);
    return true;
}

/* The whole ---------------------------------------------------------------------------------- */

/* False: this vhost is done. */
static bool
go_on_in(struct definitions_survey *survey, const struct core *core, const struct vhost *vhost)
{
    return add_next_binding(survey, vhost) || add_next_exchange(survey, vhost) ||
           add_next_queue(survey, core, vhost);
}

static void
enter(struct definitions_survey *survey, const struct vhost *vhost, uint32_t *budget)
{
    survey->is_in_vhost = true;
    survey->vhost_id = vhost->id;
    survey->queues_left = map_places(&vhost->queues);
    survey->exchanges_left = map_places(&vhost->exchanges);
    survey->bindings_of.data = NULL;
    add_policies(survey, vhost, POLICY_ORDINARY, budget);
    add_policies(survey, vhost, POLICY_OPERATOR, budget);
}

enum request_progress
definitions_survey_step(struct definitions_survey *survey, struct core *core, uint32_t *budget)
{
    const struct definitions *definitions = survey->definitions;
    if (!survey->has_begun) {
        begin(survey, core, budget);
    }
    while (survey->vhost_at < definitions->vhosts.count) {
        const struct vhost *vhost =
            core_find_vhost(core, definitions->vhosts.items[survey->vhost_at].name);
        if (vhost != NULL && survey->is_in_vhost && vhost->id != survey->vhost_id) {
            vhost = NULL;
        }
        if (vhost != NULL && *budget == 0) {
            return REQUEST_MORE;
        }
        if (vhost != NULL && !survey->is_in_vhost) {
            enter(survey, vhost, budget);
        }
        spend(budget);
        if (vhost == NULL || !go_on_in(survey, core, vhost)) {
            survey->vhost_at++;
            survey->is_in_vhost = false;
        }
    }
    return REQUEST_DONE;
}
