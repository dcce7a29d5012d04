/* SPDX-License-Identifier: Apache-2.0 */
/* Making what a configuration declares. Everything is checked before anything is changed, so that a
 * configuration that cannot be had leaves things as they were. What is missing is made; arguments,
 * limits, users and rights become what the file says. What the plan says must go, goes first: a
 * start has none of that, for a difference that only a new object could settle refuses the whole
 * file then. What the file no longer names stays otherwise and is reported once; users are the
 * file's alone, and those it no longer names may do nothing any more. */
#include "broker/plan/apply.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/core/core.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/plan/topology_check.h"
#include "broker/plan/topology_left.h"
#include "broker/topology/doomed.h"
#include "broker/topology/vhost.h"
#include "broker/users/recheck.h"
#include "broker/users/user.h"

/* What the log is told, at most: so many octets are kept together. */
static uint64_t
record_octets(const struct config *config)
{
    enum { PREDECLARED_OCTETS = 1024 };
    uint64_t octets = CORE_RECORD_FIXED + config->vhost.size + PREDECLARED_OCTETS;
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct config_exchange *exchange = &config->exchanges[i];
        octets += CORE_RECORD_FIXED + exchange->name.size + exchange->arguments.size;
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        octets += CORE_RECORD_FIXED + queue->name.size + queue->arguments.size;
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct config_binding *binding = &config->bindings[i];
        octets += CORE_RECORD_FIXED + binding->routing_key.size + binding->arguments.size;
    }
    for (size_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        octets +=
            CORE_RECORD_FIXED + policy->name.size + policy->pattern.size + policy->definition.size;
    }
    for (size_t i = 0; i < config->user_count; i++) {
        octets += CORE_RECORD_FIXED + config_user_octets(&config->users[i]);
    }
    return octets;
}

/* Vhost, exchanges, queues, bindings --------------------------------------------------------- */

static void
apply_vhost(struct application *application)
{
    const struct config *config = application->config;
    struct vhost *vhost = application->vhost;
    if (config->is_development && !application->is_new) {
        return; /* it says nothing about limits */
    }
    bool from_file = !config->is_development;
    bool is_changed = vhost->connections_max != config->connections_max ||
                      vhost->queues_max != config->queues_max || vhost->from_file != from_file;
    vhost->connections_max = config->connections_max;
    vhost->queues_max = config->queues_max;
    vhost->from_file = from_file;
    if (application->is_new) {
        core_add_vhost(application->core, vhost);
        application->is_new = false;
    } else if (is_changed) {
        vhost_remember(vhost);
    }
}

/* For want of memory, which no check can foresee. */
static void
reject_memory(struct application *application, const struct config_mark *mark)
{
    application_reject(application, mark, "there is no memory for it");
}

/* Policies come before what they apply to: what is made is under them at once. */
static void
apply_policy(struct application *application, const struct config_policy *config, bool *is_changed)
{
    struct vhost *vhost = application->vhost;
    struct policy_properties properties = config_policy_properties(config);
    struct policy *policy = vhost_find_policy(vhost, properties.kind, properties.name);
    if (policy == NULL || !policy_says_the_same(policy, &properties)) {
        if (vhost_put_policy(vhost, &properties) != STATUS_OK) {
            reject_memory(application, &config->mark);
            return;
        }
        *is_changed = true;
        policy = vhost_find_policy(vhost, properties.kind, properties.name);
    } else if (!policy->is.from_file) {
        policy->is.from_file = true;
        policy_remember(vhost, policy);
    }
    policy->is_named = true;
}

static void
apply_policies(struct application *application)
{
    bool is_changed = false;
    for (size_t i = 0; i < application->config->policy_count; i++) {
        apply_policy(application, &application->config->policies[i], &is_changed);
    }
    if (is_changed) {
        vhost_match_policies_anew(application->vhost);
    }
}

static struct made
application_maker(const struct application *application)
{
    return made_by(application->made_by, application->core->now.wall_ms);
}

static struct exchange *
make_exchange(const struct application *application, const struct config_exchange *config)
{
    struct exchange_properties properties = {
        .name = config->name,
        .type = exchange_type_find(bytes_of(config->type)),
        .durable = config->durable,
        .auto_delete = config->auto_delete,
        .internal = config->internal,
        .from_file = true,
        .is_protected = config->is_protected,
        .made = application_maker(application),
        .arguments = config->arguments,
    };
    struct exchange *exchange = NULL;
    struct fault fault;
    return vhost_declare_exchange(application->vhost, &properties, &exchange, &fault) == STATUS_OK
               ? exchange
               : NULL;
}

/* Gives an exchange that is there the file's arguments; false without memory. */
static bool
change_exchange(struct exchange *exchange, const struct config_exchange *config)
{
    bool is_changed = !table_equal(exchange->arguments, config->arguments);
    if (is_changed && exchange_set_arguments(exchange, config->arguments) != STATUS_OK) {
        return false;
    }
    if (is_changed || !exchange->from_file || exchange->is_protected != config->is_protected) {
        exchange->from_file = true;
        exchange->is_protected = config->is_protected;
        exchange_remember(exchange);
    }
    return true;
}

static void
apply_exchange(struct application *application, const struct config_exchange *config)
{
    struct exchange *exchange = vhost_find_exchange(application->vhost, config->name);
    if (exchange == NULL) {
        exchange = make_exchange(application, config);
    } else if (!change_exchange(exchange, config)) {
        exchange = NULL;
    }
    if (exchange == NULL) {
        reject_memory(application, &config->mark);
        return;
    }
    exchange->is_named = true;
}

static struct queue *
make_queue(const struct application *application, const struct config_queue *config)
{
    struct queue_properties properties = {
        .name = config->name,
        .arguments = config->arguments,
        .durable = config->durable,
        .from_file = true,
        .is_protected = config->is_protected,
        .made = application_maker(application),
    };
    struct queue *queue = NULL;
    struct fault fault;
    return vhost_declare_queue(application->vhost, &properties, &queue, &fault) == STATUS_OK ? queue
                                                                                             : NULL;
}

/* The same for a queue. */
static bool
change_queue(struct vhost *vhost, struct queue *queue, const struct config_queue *config)
{
    bool is_changed = !table_equal(queue->arguments, config->arguments);
    uint32_t changed = 0;
    if (is_changed && queue_set_arguments(queue, config->arguments, &changed) != STATUS_OK) {
        return false;
    }
    if (changed != 0) {
        core_settings_changed(vhost->core, queue, changed);
    }
    if (is_changed || !queue->from_file || queue->is_protected != config->is_protected) {
        queue->from_file = true;
        queue->is_protected = config->is_protected;
        queue_remember(queue);
    }
    return true;
}

static void
apply_queue(struct application *application, const struct config_queue *config)
{
    struct queue *queue = vhost_find_queue(application->vhost, config->name);
    if (queue == NULL) {
        queue = make_queue(application, config);
    } else if (!change_queue(application->vhost, queue, config)) {
        queue = NULL;
    }
    if (queue == NULL) {
        reject_memory(application, &config->mark);
        return;
    }
    queue->is_named = true;
}

static struct route_target *
find_destination(const struct vhost *vhost, const struct config_binding *config)
{
    if (config->to_exchange) {
        struct exchange *exchange = vhost_find_exchange(vhost, config->destination);
        return exchange == NULL ? NULL : &exchange->target;
    }
    struct queue *queue = vhost_find_queue(vhost, config->destination);
    return queue == NULL ? NULL : &queue->target;
}

static void
apply_binding(struct application *application, const struct config_binding *config)
{
    struct vhost *vhost = application->vhost;
    struct exchange *source = vhost_find_exchange(vhost, config->source);
    struct route_target *target = find_destination(vhost, config);
    struct binding *binding;
    struct fault fault;
    if (source == NULL || target == NULL ||
        vhost_bind(vhost, source, target, config->routing_key, config->arguments, &binding,
                   &fault) != STATUS_OK) {
        reject_memory(application, &config->mark);
        return;
    }
    if (!binding->from_file) {
        binding->from_file = true;
        binding_remember(binding);
    }
    binding->is_named = true;
}

static void
apply_topology(struct application *application)
{
    const struct config *config = application->config;
    for (size_t i = 0; i < config->exchange_count; i++) {
        apply_exchange(application, &config->exchanges[i]);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        apply_queue(application, &config->queues[i]);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        apply_binding(application, &config->bindings[i]);
    }
}

/* Users --------------------- ---------------------------------------------------------------- */

static void
apply_users(struct application *application)
{
    const struct config *config = application->config;
    for (size_t i = 0; i < config->user_count; i++) {
        struct core *core = application->core;
        if (core_put_user(core, &config->users[i], application->vhost->name) != STATUS_OK) {
            reject_memory(application, &config->users[i].mark);
        } else {
            core_find_user(core, config->users[i].name)->is_named = !config->is_development;
        }
    }
}

/* What goes ------------------------------------------------------------------------------------ */

static void
delete_binding(struct vhost *vhost, const struct plan_step *step)
{
    const struct config_binding named = {
        .destination = step->destination,
        .to_exchange = step->to_exchange,
    };
    struct exchange *source = vhost_find_exchange(vhost, step->name);
    struct route_target *target = find_destination(vhost, &named);
    struct binding *binding =
        source == NULL || target == NULL
            ? NULL
            : binding_table_find(&source->bindings, target, step->routing_key, step->table);
    if (binding != NULL) {
        binding_forget(binding);
        core_remove_binding(vhost->core, binding);
    }
}

static void
delete_policy(struct vhost *vhost, enum policy_kind kind, struct bytes name)
{
    struct policy *policy = vhost_find_policy(vhost, kind, name);
    if (policy != NULL) {
        vhost_delete_policy(vhost, policy);
        vhost_match_policies_anew(vhost);
    }
}

/* An exchange that deletes itself may have gone with what was deleted before it. */
static void
delete_object(struct vhost *vhost, const struct plan_step *step)
{
    struct exchange *exchange;
    struct queue *queue;
    switch (step->object) {
    case PLAN_BINDING:
        delete_binding(vhost, step);
        break;
    case PLAN_QUEUE:
        queue = vhost_find_queue(vhost, step->name);
        if (queue != NULL) {
            (void)vhost_delete_queue(vhost, queue);
        }
        break;
    case PLAN_EXCHANGE:
        exchange = vhost_find_exchange(vhost, step->name);
        if (exchange != NULL) {
            vhost_delete_exchange(vhost, exchange);
        }
        break;
    case PLAN_POLICY:
        delete_policy(vhost, POLICY_ORDINARY, step->name);
        break;
    case PLAN_OPERATOR_POLICY:
        delete_policy(vhost, POLICY_OPERATOR, step->name);
        break;
    default:
        break; /* users: see topology_left.h */
    }
}

static void
delete_objects(struct vhost *vhost, const struct plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        enum plan_action action = plan->steps[i].action;
        if (action == PLAN_DELETE || action == PLAN_REPLACE) {
            delete_object(vhost, &plan->steps[i]);
        }
    }
}

/* The whole ------------------------------------------------------------------------------------ */

/* A word of the audit, without the name of who asks. */
enum { AUDIT_WORD_OCTETS = 1024 };

/* What the log is told in all, at most. */
static uint64_t
octets_in_all(const struct application *application, const struct plan *plan,
              const struct generation_properties *generation)
{
    uint64_t octets = record_octets(application->config);
    if (plan == NULL) {
        return octets;
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        octets += CORE_RECORD_FIXED + step->routing_key.size + step->table.size;
    }
    octets += CORE_RECORD_FIXED + AUDIT_WORD_OCTETS + generation->maker.size;
    return octets + plan->left_octets + generation_octets(generation);
}

static bool
comes_from_serve(enum generation_cause cause)
{
    return cause == GENERATION_START || cause == GENERATION_RELOAD;
}

/* Applying the same twice is one generation. A start makes again what does not last, and that is
 * no news of the file. */
static bool
is_news(const struct core *core, const struct config *config, const struct plan *plan,
        enum generation_cause cause)
{
    const struct generation *current = core_current_generation(core, config->vhost);
    bool does_something = plan->step_count > 0 && !comes_from_serve(cause);
    return does_something || current == NULL || current->digest != config_digest(config);
}

static void
apply_everything(struct application *application, const struct plan *plan,
                 const struct generation_properties *generation)
{
    struct core *core = application->core;
    bool is_news_here = plan != NULL && is_news(core, application->config, plan, generation->cause);
    core_log_together(core, octets_in_all(application, plan, generation));
    if (plan != NULL) {
        delete_objects(application->vhost, plan);
    }
    apply_vhost(application);
    apply_policies(application);
    apply_topology(application);
    apply_users(application);
    /* Without a file nothing can have left it. */
    if (!application->config->is_development) {
        struct leaving leaving = {.core = core,
                                  .vhost = application->vhost,
                                  .is_alone = comes_from_serve(generation->cause)};
        core_report_left(&leaving);
        core_disable_left_users(&leaving);
    }
    if (is_news_here) {
        (void)core_add_generation(core, generation);
    }
    core_recheck_connections(core, NULL);
}

/* Says how many refusals there were behind the one that is told. */
static void
count_refusals(const struct application *application)
{
    size_t length = strlen(application->why);
    if (application->refusal_count > 1) {
        (void)snprintf(application->why + length, application->why_size - length,
                       " (and %zu more in the log)", application->refusal_count - 1);
    }
}

/* Refuses for what is no place in a file. */
static void
refuse(struct application *application, struct bytes reason)
{
    char shown[1024];
    log_error(application->core->log, "topology.rejected", "reason=%s",
              log_escape(shown, sizeof(shown), reason));
    if (application->refusal_count++ == 0) {
        (void)snprintf(application->why, application->why_size, "%.*s", BYTES_FORMAT(reason));
    }
}

/* What the plan itself forbids. */
static void
judge_plan(struct application *application, const struct apply_options *options,
           struct apply_result *result)
{
    const struct plan *plan = result->plan;
    if (options->digest != NULL && *options->digest != plan->digest) {
        result->is_stale = true;
        refuse(application, bytes_of("the broker is not as it was when the plan was made: what "
                                     "would be done now is something else; make a new plan"));
    } else if (plan->omitted_count > 0) {
        refuse(application, bytes_of("the plan has more than 100,000 steps"));
    } else if (plan->refused_count > 0) {
        struct buffer reason;
        buffer_init(&reason);
        plan_put_refusal(&reason, plan);
        assert(!reason.failed);
        refuse(application, buffer_bytes(&reason));
        buffer_fini(&reason);
    }
}

static void
judge_size(struct application *application, const struct plan *plan,
           const struct generation_properties *generation)
{
    const struct core *core = application->core;
    if (application->may_replace && core_has_log(core) &&
        !journal_fits(core->journal, 0, octets_in_all(application, plan, generation))) {
        refuse(application, bytes_of("it is too large for a segment of the log, which would have "
                                     "to hold all of it (server.segment-size)"));
    }
}

/* The control socket has no user, and a file of `serve` has none either. */
static struct bytes
who_applied(const struct apply_options *options)
{
    if (comes_from_serve(options->cause)) {
        return bytes_of("(file)");
    }
    return options->maker.size == 0 ? bytes_of("(local)") : options->maker;
}

static void
tell_audit(struct core *core, const struct plan *plan, const struct apply_result *result,
           const struct apply_options *options)
{
    char target[256];
    (void)snprintf(
        target, sizeof(target),
        "generation=%" PRIu64 " cause=%s created=%zu changed=%zu replaced=%zu deleted=%zu",
        result->generation_id, generation_cause_name(options->cause), plan->counts[PLAN_CREATE],
        plan->counts[PLAN_CHANGE], plan->counts[PLAN_REPLACE], plan->counts[PLAN_DELETE]);
    audit_add(core, (struct audit_entry){
                        .action = AUDIT_TOPOLOGY_APPLIED,
                        .phase = AUDIT_ENDED,
                        .user = who_applied(options),
                        .vhost = plan->vhost,
                        .target = bytes_of(target),
                        .outcome = bytes_of("done"),
                        .done_count = plan->step_count,
                    });
}

static void
log_applied(struct core *core, const struct plan *plan, const struct apply_result *result,
            const struct apply_options *options)
{
    char vhost[RESOURCE_TEXT_SIZE];
    char maker[RESOURCE_TEXT_SIZE];
    if (plan == NULL || plan->step_count == 0) {
        return;
    }
    log_info(core->log, "topology.applied",
             "vhost=%s generation=%" PRIu64 " cause=%s by=%s created=%zu changed=%zu replaced=%zu "
             "deleted=%zu",
             log_escape(vhost, sizeof(vhost), plan->vhost), result->generation_id,
             generation_cause_name(options->cause),
             log_escape(maker, sizeof(maker), who_applied(options)), plan->counts[PLAN_CREATE],
             plan->counts[PLAN_CHANGE], plan->counts[PLAN_REPLACE], plan->counts[PLAN_DELETE]);
    /* What a start made of its file is a generation, or made again what does not last. */
    if (options->cause != GENERATION_START) {
        tell_audit(core, plan, result, options);
    }
}

/* The reasons are in the log already: who was refused what. */
static void
log_refused(const struct application *application, const struct apply_options *options)
{
    char vhost[RESOURCE_TEXT_SIZE];
    char maker[RESOURCE_TEXT_SIZE];
    log_warn(application->core->log, "topology.refused", "vhost=%s cause=%s by=%s reasons=%zu",
             log_escape(vhost, sizeof(vhost), application->config->vhost),
             generation_cause_name(options->cause),
             log_escape(maker, sizeof(maker), who_applied(options)), application->refusal_count);
}

/* Whether the file of `serve` has nothing new to say, and another configuration has come since. */
static bool
is_outdated(const struct core *core, const struct config *config, enum generation_cause cause)
{
    const struct generation *last = core_last_of_serve(core);
    return comes_from_serve(cause) && config->source_count > 0 && last != NULL &&
           last != core_generation_at(core, 0) && last->digest == config_digest(config);
}

static void
give_passwords(struct core *core, const struct config *config)
{
    for (size_t i = 0; i < config->user_count; i++) {
        struct user *user = core_find_user(core, config->users[i].name);
        bool is_same = user != NULL && user->auth == config->users[i].auth;
        if (is_same && !user->is_disabled && user->password_hash == NULL) {
            core_give_password(core, user, &config->users[i]);
        }
    }
    log_info(core->log, "topology.kept", "generation=%" PRIu64, core_generation_at(core, 0)->id);
}

static size_t
count_queues_going(const struct plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; plan != NULL && i < plan->step_count; i++) {
        count += plan->steps[i].action == PLAN_DELETE && plan->steps[i].object == PLAN_QUEUE;
    }
    return count;
}

static uint64_t
user_id_of(struct core *core, struct bytes name)
{
    const struct user *user = core_find_user(core, name);
    return user == NULL ? 0 : user->id;
}

static struct plan *
make_plan(struct core *core, const struct config *config, const struct apply_options *options)
{
    struct plan_options plan = options->plan;
    if (comes_from_serve(options->cause)) {
        plan = (struct plan_options){.is_alone = true};
    }
    /* What no file says is no generation, and nobody asks what it would change. */
    return config->source_count == 0 && comes_from_serve(options->cause)
               ? NULL
               : plan_make(core, config, &plan);
}

static void
judge_and_apply(struct application *application, const struct apply_options *options,
                struct apply_result *result)
{
    const struct generation_properties generation = {
        .vhost = application->vhost,
        .config = application->config,
        .cause = options->cause,
        .maker = options->maker,
        .restored_id = options->restored_id,
    };
    if (application->may_replace) {
        judge_plan(application, options, result);
        judge_size(application, result->plan, &generation);
    }
    if (application_check(application)) {
        apply_everything(application, result->plan, &generation);
        application->core->wants_flush = true; /* whoever asked is told when it is on disk */
    }
}

enum status
core_apply_as(struct core *core, const struct config *config, const struct apply_options *options,
              struct apply_result *result, char *why, size_t why_size)
{
    *result = (struct apply_result){0};
    if (is_outdated(core, config, options->cause)) {
        give_passwords(core, config);
        result->generation_id = core_generation_at(core, 0)->id;
        return STATUS_OK;
    }
    struct vhost *found = core_find_vhost(core, config->vhost);
    result->plan = make_plan(core, config, options);
    struct application application = {
        .core = core,
        .config = config,
        .vhost = found != NULL ? found : vhost_new(core, config->vhost),
        .is_new = found == NULL,
        .may_replace = !comes_from_serve(options->cause),
        .going_count = count_queues_going(result->plan),
        .made_by = user_id_of(core, options->maker),
        .why = why,
        .why_size = why_size,
    };
    judge_and_apply(&application, options, result);
    if (application.is_new) {
        vhost_free(&application.vhost);
    }
    count_refusals(&application);
    const struct generation *current = core_current_generation(core, config->vhost);
    result->generation_id = current == NULL ? 0 : current->id;
    if (application.refusal_count > 0) {
        log_refused(&application, options);
        return STATUS_REJECTED;
    }
    log_applied(core, result->plan, result, options);
    return STATUS_OK;
}

enum status
core_apply(struct core *core, const struct config *config, char *why, size_t why_size)
{
    const struct apply_options options = {.cause = GENERATION_START, .maker = bytes_of("")};
    struct apply_result result;
    enum status status = core_apply_as(core, config, &options, &result, why, why_size);
    plan_free(&result.plan);
    return status;
}
