/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration names against what is there. */
#include "amqp/table.h"
#include "base/assert.h"
#include "broker/changes/generation.h"
#include "broker/connections/login.h"
#include "broker/plan/plan_parts.h"
#include "broker/plan/plan_rights.h"
#include "broker/plan/plan_words.h"
#include "broker/plan/topology_check.h"
#include "queues/policy.h"

/* Values ----------------------------------------------------------------------------------------
 */

static const char *
boolean_text(bool value)
{
    return value ? "true" : "false";
}

static void
compare_flag(struct planner *planner, struct plan_step *step, const char *key, bool from, bool to)
{
    if (from != to) {
        planner_add_line(planner, step, key, boolean_text(from), boolean_text(to));
    }
}

/* A limit of -1 is none. */
static void
compare_limit(struct planner *planner, struct plan_step *step, const char *key, int64_t from,
              int64_t to)
{
    struct arena *arena = &planner->plan->arena;
    if (from != to) {
        planner_add_line(planner, step, key, from < 0 ? NULL : plan_number(arena, from),
                         to < 0 ? NULL : plan_number(arena, to));
    }
}

static void
compare_texts(struct planner *planner, struct plan_step *step, const char *key, struct bytes from,
              struct bytes to)
{
    struct arena *arena = &planner->plan->arena;
    if (!bytes_equal(from, to)) {
        planner_add_line(planner, step, key, plan_quoted(arena, from), plan_quoted(arena, to));
    }
}

/* Tables -------------------------------------------------------------------------------------- */

/* The same field in both tables, one of which may not have it. */
struct field_pair {
    struct bytes name;
    const struct table_value *from, *to;
};

typedef void field_visit(struct planner *planner, struct plan_step *step,
                         const struct field_pair *pair);

static bool
find_field(struct bytes table, struct bytes name, struct table_value *value)
{
    char text[256]; /* a name has at most 255 octets */
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    return memchr(name.data, 0, name.size) == NULL && table_find(table, text, value);
}

/* Calls `visit` for every field that the tables do not have in common. */
static void
compare_tables(struct planner *planner, struct plan_step *step, struct bytes from, struct bytes to,
               field_visit *visit)
{
    struct byte_reader reader = byte_reader_make(to);
    struct table_value value, other;
    struct bytes name;
    while (table_next(&reader, &name, &value)) {
        bool is_there = find_field(from, name, &other);
        if (!is_there || !table_value_equal(&other, &value)) {
            visit(planner, step, &(struct field_pair){name, is_there ? &other : NULL, &value});
        }
    }
    reader = byte_reader_make(from);
    while (table_next(&reader, &name, &value)) {
        if (!find_field(to, name, &other)) {
            visit(planner, step, &(struct field_pair){name, &value, NULL});
        }
    }
}

static void
visit_argument(struct planner *planner, struct plan_step *step, const struct field_pair *pair)
{
    struct arena *arena = &planner->plan->arena;
    planner_add_line(planner, step, plan_word(arena, pair->name),
                     pair->from == NULL ? NULL : plan_word_value(arena, pair->name, pair->from),
                     pair->to == NULL ? NULL : plan_word_value(arena, pair->name, pair->to));
}

static const char *
definition_text(struct arena *arena, const struct table_value *value)
{
    char text[512];
    return value == NULL
               ? NULL
               : plan_quoted(arena, bytes_of(table_value_text(value, text, sizeof(text))));
}

static void
visit_definition(struct planner *planner, struct plan_step *step, const struct field_pair *pair)
{
    struct arena *arena = &planner->plan->arena;
    struct buffer key;
    buffer_init(&key);
    buffer_printf(&key, "definition.%s", plan_quoted(arena, pair->name));
    assert(!key.failed);
    planner_add_line(planner, step, (const char *)arena_copy(arena, buffer_bytes(&key)).data,
                     definition_text(arena, pair->from), definition_text(arena, pair->to));
    buffer_fini(&key);
}

/* The host and its policies -------------------------------------------------------------------- */

void
plan_host(struct planner *planner)
{
    const struct config *config = planner->config;
    const struct vhost *vhost = planner_vhost(planner);
    struct plan_step *step = planner_add_step(planner, vhost == NULL ? PLAN_CREATE : PLAN_CHANGE,
                                              PLAN_VHOST, config->vhost);
    compare_limit(planner, step, "limits.max-connections",
                  vhost == NULL ? -1 : vhost->connections_max, config->connections_max);
    compare_limit(planner, step, "limits.max-queues", vhost == NULL ? -1 : vhost->queues_max,
                  config->queues_max);
    if (vhost != NULL && step->lines == NULL) {
        planner_drop_step(planner, step);
    }
}

static void
compare_policy(struct planner *planner, struct plan_step *step, const struct policy *policy,
               const struct policy_properties *to)
{
    static const struct policy_properties none = {.definition = {0}};
    const struct policy_properties *from = policy == NULL ? &none : &policy->is;
    compare_texts(planner, step, "pattern", from->pattern, to->pattern);
    compare_texts(planner, step, "apply-to", bytes_of(policy_target_name(from->target)),
                  bytes_of(policy_target_name(to->target)));
    if (from->priority != to->priority) {
        struct arena *arena = &planner->plan->arena;
        planner_add_line(planner, step, "priority", plan_number(arena, from->priority),
                         plan_number(arena, to->priority));
    }
    compare_tables(planner, step, from->definition, to->definition, visit_definition);
}

static const char OWNED_BY_CLIENTS[] = "clients";
static const char OWNED_BY_FILE[] = "this file";

void
plan_policy(struct planner *planner, const struct config_policy *config)
{
    const struct vhost *vhost = planner_vhost(planner);
    struct policy_properties to = config_policy_properties(config);
    const struct policy *policy = vhost == NULL ? NULL : vhost_find_policy(vhost, to.kind, to.name);
    struct plan_step *step =
        planner_add_step(planner, policy == NULL ? PLAN_CREATE : PLAN_CHANGE,
                         config->is_operator ? PLAN_OPERATOR_POLICY : PLAN_POLICY, config->name);
    compare_policy(planner, step, policy, &to);
    if (policy != NULL && !policy->is.from_file) {
        planner_add_line(planner, step, "owner", OWNED_BY_CLIENTS, OWNED_BY_FILE);
    }
    if (policy != NULL && step->lines == NULL) {
        planner_drop_step(planner, step);
    }
}

/* Exchanges ------------------------------------------------------------------------------------ */

/* Whether only a new one can be as the file has it. */
static bool
exchange_must_go(const struct exchange *exchange, const struct config_exchange *config)
{
    const struct exchange_type *type = exchange_type_find(bytes_of(config->type));
    const struct exchange_type *inner =
        type == NULL ? NULL : exchange_type_inner(type, config->arguments);
    return exchange_declared_type(exchange) != type || (inner != NULL && inner != exchange->type) ||
           exchange->durable != config->durable || exchange->auto_delete != config->auto_delete ||
           exchange->internal != config->internal;
}

static void
compare_exchange(struct planner *planner, struct plan_step *step, const struct exchange *exchange,
                 const struct config_exchange *config)
{
    bool is_new = exchange == NULL;
    struct bytes type = is_new ? bytes_of("") : bytes_of(exchange_declared_type(exchange)->name);
    if (!bytes_equal_text(type, config->type)) {
        planner_add_line(planner, step, "type",
                         is_new ? NULL : exchange_declared_type(exchange)->name, config->type);
    }
    compare_flag(planner, step, "durable", is_new || exchange->durable, config->durable);
    compare_flag(planner, step, "auto-delete", !is_new && exchange->auto_delete,
                 config->auto_delete);
    compare_flag(planner, step, "internal", !is_new && exchange->internal, config->internal);
    compare_flag(planner, step, "protect", !is_new && exchange->is_protected, config->is_protected);
    compare_tables(planner, step, is_new ? bytes_of("") : exchange->arguments, config->arguments,
                   visit_argument);
    if (!is_new && !exchange->from_file) {
        planner_add_line(planner, step, "owner", OWNED_BY_CLIENTS, OWNED_BY_FILE);
    }
}

/* Bindings from it that the file does not name, and would not come back. */
static uint64_t
count_lost_bindings(struct planner *planner, const struct exchange *exchange)
{
    uint64_t count = 0;
    uint64_t position = 0;
    const struct binding *binding;
    while ((binding = binding_table_next(&exchange->bindings, &position)) != NULL) {
        count +=
            binding->target->kind != ROUTE_TARGET_GONE && !planner_names_binding(planner, binding);
    }
    LIST_FOR_EACH(&exchange->target.bindings, link)
    {
        binding = CONTAINER_OF(link, struct binding, target_link);
        count += binding->source != exchange && !planner_names_binding(planner, binding);
    }
    return count;
}

void
plan_exchange(struct planner *planner, const struct config_exchange *config)
{
    const struct vhost *vhost = planner_vhost(planner);
    const struct exchange *exchange =
        vhost == NULL ? NULL : vhost_find_exchange(vhost, config->name);
    enum plan_action action = exchange == NULL                     ? PLAN_CREATE
                              : exchange_must_go(exchange, config) ? PLAN_REPLACE
                                                                   : PLAN_CHANGE;
    struct plan_step *step = planner_add_step(planner, action, PLAN_EXCHANGE, config->name);
    compare_exchange(planner, step, exchange, config);
    if (exchange != NULL && step->lines == NULL) {
        planner_drop_step(planner, step);
        return;
    }
    if (exchange != NULL) {
        planner_note_maker(planner, step, &exchange->made);
    }
    if (action == PLAN_REPLACE) {
        step->binding_count = count_lost_bindings(planner, exchange);
        planner_judge_loss(planner, step, exchange->is_protected);
    }
}

/* Queues --------------------------------------------------------------------------------------- */

static bool
queue_must_go(const struct queue *queue, const struct config_queue *config)
{
    struct queue_settings settings;
    struct fault fault;
    enum status status = queue_settings_read(&settings, config->arguments, "queue", &fault);
    return status != STATUS_OK || queue->durable != config->durable || queue->auto_delete ||
           queue->settings->type != settings.type ||
           queue->settings->max_priority != settings.max_priority ||
           queue->settings->single_active_consumer != settings.single_active_consumer;
}

static const char *
limit_text(struct arena *arena, bool is_given, int64_t limit, bool is_duration)
{
    if (!is_given) {
        return NULL;
    }
    return is_duration ? plan_duration(arena, limit) : plan_number(arena, limit);
}

static void
compare_alert(struct planner *planner, struct plan_step *step, const struct config_alert *from,
              const struct config_alert *to)
{
    struct arena *arena = &planner->plan->arena;
    if (from->has_ready != to->has_ready || from->ready_above != to->ready_above) {
        planner_add_line(planner, step, "alert.ready-above",
                         limit_text(arena, from->has_ready, from->ready_above, false),
                         limit_text(arena, to->has_ready, to->ready_above, false));
    }
    if (from->has_oldest != to->has_oldest || from->oldest_above_ms != to->oldest_above_ms) {
        planner_add_line(planner, step, "alert.oldest-above",
                         limit_text(arena, from->has_oldest, from->oldest_above_ms, true),
                         limit_text(arena, to->has_oldest, to->oldest_above_ms, true));
    }
}

static void
compare_queue(struct planner *planner, struct plan_step *step, const struct queue *queue,
              const struct config_queue *config)
{
    static const struct config_alert no_alert = {.has_ready = false};
    bool is_new = queue == NULL;
    const struct config_alert *alert =
        core_find_alert(planner->core, planner->config->vhost, config->name);
    compare_flag(planner, step, "durable", is_new || queue->durable, config->durable);
    compare_flag(planner, step, "auto-delete", !is_new && queue->auto_delete, false);
    compare_flag(planner, step, "protect", !is_new && queue->is_protected, config->is_protected);
    compare_alert(planner, step, is_new || alert == NULL ? &no_alert : alert, &config->alert);
    compare_tables(planner, step, is_new ? bytes_of("") : queue->arguments, config->arguments,
                   visit_argument);
    if (!is_new && !queue->from_file) {
        planner_add_line(planner, step, "owner", OWNED_BY_CLIENTS, OWNED_BY_FILE);
    }
}

void
plan_queue(struct planner *planner, const struct config_queue *config)
{
    const struct vhost *vhost = planner_vhost(planner);
    const struct queue *queue = vhost == NULL ? NULL : vhost_find_queue(vhost, config->name);
    enum plan_action action = queue == NULL                  ? PLAN_CREATE
                              : queue_must_go(queue, config) ? PLAN_REPLACE
                                                             : PLAN_CHANGE;
    struct plan_step *step = planner_add_step(planner, action, PLAN_QUEUE, config->name);
    compare_queue(planner, step, queue, config);
    if (queue != NULL && step->lines == NULL) {
        planner_drop_step(planner, step);
        return;
    }
    if (queue != NULL) {
        planner_note_maker(planner, step, &queue->made);
    }
    if (action == PLAN_REPLACE) {
        planner_note_queue_loss(step, queue);
        planner_judge_loss(planner, step, queue->is_protected);
    }
}

/* Bindings ------------------------------------------------------------------------------------- */

/* NULL when one of its ends is not there. */
static const struct binding *
find_binding(const struct vhost *vhost, const struct config_binding *config)
{
    const struct exchange *source =
        vhost == NULL ? NULL : vhost_find_exchange(vhost, config->source);
    if (source == NULL) {
        return NULL;
    }
    const struct route_target *target = NULL;
    if (config->to_exchange) {
        const struct exchange *exchange = vhost_find_exchange(vhost, config->destination);
        target = exchange == NULL ? NULL : &exchange->target;
    } else {
        const struct queue *queue = vhost_find_queue(vhost, config->destination);
        target = queue == NULL ? NULL : &queue->target;
    }
    return target == NULL ? NULL
                          : binding_table_find(&source->bindings, target, config->routing_key,
                                               config->arguments);
}

void
plan_binding(struct planner *planner, const struct config_binding *config)
{
    const struct binding *binding = find_binding(planner_vhost(planner), config);
    if (binding == NULL) {
        (void)planner_add_binding_step(planner, PLAN_CREATE, config);
    } else if (!binding->from_file) {
        struct plan_step *step = planner_add_binding_step(planner, PLAN_CHANGE, config);
        planner_add_line(planner, step, "owner", OWNED_BY_CLIENTS, OWNED_BY_FILE);
    }
}

/* Users ---------------------------------------------------------------------------------------- */

static const char *
role_text(enum config_role role)
{
    static const char *const roles[] = {[ROLE_NONE] = "none",
                                        [ROLE_MONITOR] = "monitor",
                                        [ROLE_OPERATOR] = "operator",
                                        [ROLE_ADMIN] = "admin"};
    return roles[role];
}

/* Whether the file gives another password than the broker knows. One that it has in clear text is
 * known only while the process lives: where none is known, none has changed. */
static bool
password_differs(const struct core *core, const struct user *user, const struct config_user *config)
{
    if (config->keeps_password) {
        return false;
    }
    if (config->password != NULL && user->has_secret) {
        uint8_t mac[sizeof(user->secret_mac)];
        login_desk_mac(core->logins, user->name, (struct bytes){.data = NULL},
                       bytes_of(config->password), mac);
        return memcmp(mac, user->secret_mac, sizeof(mac)) != 0;
    }
    const char *before = user->password_hash == NULL ? "" : user->password_hash;
    const char *after = config->password_hash == NULL ? "" : config->password_hash;
    return strcmp(before, after) != 0;
}

bool
planner_find_grant(const struct user *user, struct bytes vhost, struct user_grant *grant)
{
    uint32_t position = 0;
    while (user != NULL && user_next_grant(user, &position, grant)) {
        if (bytes_equal(grant->vhost, vhost)) {
            return true;
        }
    }
    return false;
}

static const char *
auth_text(enum config_auth auth)
{
    return auth == AUTH_CERTIFICATE ? "cert" : "password";
}

static void
compare_user(struct planner *planner, struct plan_step *step, const struct user *user,
             const struct config_user *config)
{
    if (user == NULL || user->auth != config->auth) {
        planner_add_line(planner, step, "auth", user == NULL ? NULL : auth_text(user->auth),
                         auth_text(config->auth));
    }
    if ((user == NULL ? ROLE_NONE : user->role) != config->role) {
        planner_add_line(planner, step, "role", role_text(user == NULL ? ROLE_NONE : user->role),
                         role_text(config->role));
    }
    compare_limit(planner, step, "limits.max-connections",
                  user == NULL ? -1 : user->connections_max, config->connections_max);
    compare_limit(planner, step, "limits.max-channels", user == NULL ? -1 : user->channels_max,
                  config->channels_max);
    if (user != NULL && password_differs(planner->core, user, config)) {
        bool is_known = config->password != NULL || !user->has_secret;
        planner_add_line(planner, step, "password",
                         is_known ? "(one)" : "(one that serve has read, which cannot be compared)",
                         is_known ? "(another)" : "(that of this file)");
    }
    if (user != NULL && user->is_disabled) {
        planner_add_sentence(planner, step, "may log in again");
    }
}

void
plan_user(struct planner *planner, const struct config_user *config)
{
    struct user *user = core_find_user(planner->core, config->name);
    struct plan_step *step = planner_add_step(planner, user == NULL ? PLAN_CREATE : PLAN_CHANGE,
                                              PLAN_USER, config->name);
    struct user_grant from;
    bool has_rights = planner_find_grant(user, planner->config->vhost, &from) && !user->is_disabled;
    struct user_grant to = config_user_grant(config, planner->config->vhost);
    compare_user(planner, step, user, config);
    plan_rights_compare(&planner->plan->arena, &step->lines, has_rights ? &from : NULL, &to);
    if (!has_rights && user != NULL && !user->is_disabled) {
        planner_add_sentence(planner, step, "may enter this vhost");
    }
    if (user != NULL && step->lines == NULL) {
        planner_drop_step(planner, step);
    }
}
