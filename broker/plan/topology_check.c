/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/plan/topology_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"
#include "routing/topic_trie.h"

enum { REASON_SIZE = 1024 };

static void
keep_first_refusal(struct application *application, const struct config_mark *mark,
                   const char *reason)
{
    struct config_diagnostic diagnostic = {.severity = CONFIG_ERROR, .mark = *mark, .text = reason};
    if (application->refusal_count++ == 0) {
        (void)config_diagnostic_text(&diagnostic, application->why, application->why_size);
    }
}

/* One line of the log about one place in the file. */
void
application_reject(struct application *application, const struct config_mark *mark,
                   const char *format, ...)
{
    char reason[REASON_SIZE];
    char file[512];
    char text[2 * REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    log_error(application->core->log, "topology.rejected",
              "file=%s line=%" PRIu32 " column=%" PRIu32 " reason=%s",
              log_escape(file, sizeof(file), bytes_of(mark->file)), mark->line, mark->column,
              log_escape(text, sizeof(text), bytes_of(reason)));
    keep_first_refusal(application, mark, reason);
}

/* What a stored object is, and what the file wants it to be. */
struct difference {
    const char *kind; /* "queue" */
    struct bytes name;
    const char *property;
    const char *stored, *wanted; /* as texts */
    bool is_durable;
};

static void
reject_difference(struct application *application, const struct config_mark *mark,
                  const struct difference *difference)
{
    if (application->may_replace) {
        return;
    }
    bool is_stored = difference->is_durable && core_has_log(application->core);
    application_reject(
        application, mark,
        "%s '%.*s' has %s '%s' in the %s, the file says '%s'; delete it or change the file",
        difference->kind, BYTES_FORMAT(difference->name), difference->property, difference->stored,
        is_stored ? "data directory" : "running broker", difference->wanted);
}

static void
check_flag(struct application *application, const struct config_mark *mark,
           struct difference *difference, const char *property, bool stored, bool wanted)
{
    if (stored != wanted) {
        difference->property = property;
        difference->stored = stored ? "true" : "false";
        difference->wanted = wanted ? "true" : "false";
        reject_difference(application, mark, difference);
    }
}

/* An object whose record would not fit a segment can be made nowhere. */
static void
check_record(struct application *application, const struct config_mark *mark, uint64_t text_octets)
{
    if (core_prepare_record(application->core, text_octets) != STATUS_OK) {
        application_reject(application, mark, "it is too large for a segment of the log");
    }
}

/* Checking ----------------------------------------------------------------------------------- */

/* Type and arguments; false when there is no such type. */
static bool
check_exchange_type(struct application *application, const struct config_exchange *config)
{
    const struct exchange_type *type = exchange_type_find(bytes_of(config->type));
    char subject[RESOURCE_TEXT_SIZE];
    struct fault fault;
    if (type == NULL) {
        application_reject(application, &config->mark, "unknown exchange type '%s'", config->type);
        return false;
    }
    vhost_exchange_text(application->vhost, config->name, subject);
    if (exchange_type_check_arguments(type, config->arguments, subject, &fault) != STATUS_OK) {
        application_reject(application, &config->mark, "%s", fault.text);
    }
    return true;
}

static void
check_exchange(struct application *application, const struct config_exchange *config)
{
    const struct config_mark *mark = &config->mark;
    const struct exchange *exchange = vhost_find_exchange(application->vhost, config->name);
    if (!check_exchange_type(application, config)) {
        return;
    }
    check_record(application, mark, config->name.size + config->arguments.size);
    if (exchange == NULL) {
        return;
    }
    struct difference difference = {
        .kind = "exchange",
        .name = config->name,
        .property = "type",
        .stored = exchange_declared_type(exchange)->name,
        .wanted = config->type,
        .is_durable = exchange->durable,
    };
    const struct exchange_type *type = exchange_type_find(bytes_of(config->type));
    const struct exchange_type *inner = exchange_type_inner(type, config->arguments);
    if (exchange_declared_type(exchange) != type) {
        reject_difference(application, mark, &difference);
    } else if (inner != NULL && inner != exchange->type) {
        difference.property = "x-delayed-type";
        difference.stored = exchange->type->name;
        difference.wanted = inner->name;
        reject_difference(application, mark, &difference);
    }
    check_flag(application, mark, &difference, "durable", exchange->durable, config->durable);
    check_flag(application, mark, &difference, "auto-delete", exchange->auto_delete,
               config->auto_delete);
    check_flag(application, mark, &difference, "internal", exchange->internal, config->internal);
}

static const char *
priority_text(int64_t priority, char out[static 24])
{
    if (priority < 0) {
        return "none";
    }
    (void)snprintf(out, 24, "%" PRId64, priority);
    return out;
}

static void
check_max_priority(struct application *application, const struct config_mark *mark,
                   const struct difference *queue, int64_t stored, int64_t wanted)
{
    char texts[2][24];
    if (stored != wanted) {
        struct difference difference = *queue;
        difference.property = "x-max-priority";
        difference.stored = priority_text(stored, texts[0]);
        difference.wanted = priority_text(wanted, texts[1]);
        reject_difference(application, mark, &difference);
    }
}

/* Arguments change in place, but for those by which messages lie and consumers wait. */
static void
check_queue_arguments(struct application *application, const struct config_queue *config,
                      const struct queue *queue, const struct queue_settings *wanted,
                      struct difference *difference)
{
    const struct queue_settings *stored = queue->settings;
    if (stored->type != wanted->type) {
        difference->property = "x-queue-type";
        difference->stored = queue_type_name(stored->type);
        difference->wanted = queue_type_name(wanted->type);
        reject_difference(application, &config->mark, difference);
    }
    check_max_priority(application, &config->mark, difference, stored->max_priority,
                       wanted->max_priority);
    check_flag(application, &config->mark, difference, "x-single-active-consumer",
               stored->single_active_consumer, wanted->single_active_consumer);
}

static void
check_present_queue(struct application *application, const struct config_queue *config,
                    const struct queue *queue, const struct queue_settings *wanted)
{
    struct difference difference = {
        .kind = "queue",
        .name = config->name,
        .is_durable = queue->durable,
    };
    if (queue->exclusive) {
        application_reject(application, &config->mark,
                           "queue '%.*s' belongs to a connection, for which it is exclusive",
                           BYTES_FORMAT(config->name));
        return;
    }
    check_flag(application, &config->mark, &difference, "durable", queue->durable, config->durable);
    check_flag(application, &config->mark, &difference, "auto-delete", queue->auto_delete, false);
    check_queue_arguments(application, config, queue, wanted, &difference);
}

/* `*count` is how many queues the vhost will have. */
static void
check_queue(struct application *application, const struct config_queue *config, uint64_t *count)
{
    const struct vhost *vhost = application->vhost;
    const struct queue *queue = vhost_find_queue(vhost, config->name);
    char subject[RESOURCE_TEXT_SIZE];
    struct queue_settings settings;
    struct fault fault;
    vhost_queue_text(vhost, config->name, subject);
    check_record(application, &config->mark, config->name.size + config->arguments.size);
    *count += queue == NULL;
    if (queue_settings_read(&settings, config->arguments, subject, &fault) != STATUS_OK ||
        queue_settings_check_quorum(&settings, false, config->durable, false, subject, &fault) !=
            STATUS_OK) {
        application_reject(application, &config->mark, "%s", fault.text);
    } else if (queue != NULL) {
        check_present_queue(application, config, queue, &settings);
    } else if (application->config->queues_max >= 0 &&
               *count > (uint64_t)application->config->queues_max) {
        application_reject(application, &config->mark, "more queues than the vhost may have");
    }
}

/* The ends that bindings name, whether they are there already or will be. */
struct known_names {
    struct map exchanges; /* struct exchange_type by name; const, never written through */
    struct map queues;    /* struct config_queue or struct queue by name; the same */
};

static void
note_live_names(struct known_names *names, const struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        const struct exchange *exchange = entry->value;
        map_put(&names->exchanges, exchange->name, (void *)exchange->type);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        map_put(&names->queues, map_entry_key(entry), entry->value);
    }
}

/* Where an exchange is there and in the file, with two types, that of the file holds: it is refused
 * or replaced. */
static void
known_names_init(struct known_names *names, const struct vhost *vhost, const struct config *config)
{
    map_init(&names->exchanges, vhost->core->seed);
    map_init(&names->queues, vhost->core->seed);
    note_live_names(names, vhost);
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct exchange_type *type = exchange_type_find(bytes_of(config->exchanges[i].type));
        if (type != NULL) {
            const struct exchange_type *inner =
                exchange_type_inner(type, config->exchanges[i].arguments);
            map_put(&names->exchanges, config->exchanges[i].name,
                    (void *)(inner == NULL ? type : inner));
        }
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&names->queues, config->queues[i].name, (void *)&config->queues[i]);
    }
}

static void
known_names_fini(struct known_names *names)
{
    map_fini(&names->exchanges);
    map_fini(&names->queues);
}

static void
check_binding(struct application *application, const struct known_names *names,
              const struct config_binding *binding)
{
    const struct exchange_type *type = map_get(&names->exchanges, binding->source);
    const struct map *ends = binding->to_exchange ? &names->exchanges : &names->queues;
    struct fault fault;
    if (type == NULL || binding->source.size == 0) {
        application_reject(application, &binding->mark,
                           "a binding from an exchange that does not exist");
    } else if (map_get(ends, binding->destination) == NULL) {
        application_reject(application, &binding->mark,
                           "a binding to something that does not exist");
    } else if (binding->routing_key.size > TOPIC_KEY_SIZE_MAX) {
        application_reject(application, &binding->mark, "a key has at most 255 octets");
    } else if (type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        application_reject(application, &binding->mark, "%s", fault.text);
    } else {
        check_record(application, &binding->mark,
                     binding->routing_key.size + binding->arguments.size);
    }
}

static void
check_bindings(struct application *application)
{
    const struct config *config = application->config;
    struct known_names names;
    known_names_init(&names, application->vhost, config);
    for (size_t i = 0; i < config->binding_count; i++) {
        check_binding(application, &names, &config->bindings[i]);
    }
    known_names_fini(&names);
}

struct policy_properties
config_policy_properties(const struct config_policy *config)
{
    struct policy_properties properties = {
        .kind = config->is_operator ? POLICY_OPERATOR : POLICY_ORDINARY,
        .priority = config->priority,
        .from_file = true,
        .name = config->name,
        .pattern = config->pattern,
        .definition = config->definition,
    };
    bool is_known = policy_target_find(bytes_of(config->apply_to), &properties.target);
    assert(is_known); /* the file has a list of the same words */
    return properties;
}

static void
check_policy(struct application *application, const struct config_policy *config)
{
    char why[512];
    struct policy_properties properties = config_policy_properties(config);
    check_record(application, &config->mark, policy_octets(&properties));
    if (!policy_check(&properties, why, sizeof(why))) {
        application_reject(application, &config->mark, "%s", why);
    }
}

/* Octets of the texts of the user's record, at most. */
uint64_t
config_user_octets(const struct config_user *user)
{
    uint64_t octets = user->name.size + 64 + strlen(user->configure) + strlen(user->write) +
                      strlen(user->read) +
                      (user->password_hash != NULL ? strlen(user->password_hash) : 0);
    for (size_t i = 0; i < user->topic_count; i++) {
        const struct config_topic_right *topic = &user->topics[i];
        octets += 12 + topic->exchange.size + strlen(topic->write) + strlen(topic->read);
    }
    return octets;
}

static void
check_user(struct application *application, const struct config_user *user)
{
    check_record(application, &user->mark, config_user_octets(user));
    if (core_check_user(application->core, user, application->vhost->name) != STATUS_OK) {
        application_reject(application, &user->mark, "an expression of this user cannot be used");
    }
}

bool
application_check(struct application *application)
{
    const struct config *config = application->config;
    uint64_t queue_count = map_count(&application->vhost->queues) - application->going_count;
    for (size_t i = 0; i < config->exchange_count; i++) {
        check_exchange(application, &config->exchanges[i]);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        check_queue(application, &config->queues[i], &queue_count);
    }
    check_bindings(application);
    for (size_t i = 0; i < config->policy_count; i++) {
        check_policy(application, &config->policies[i]);
    }
    for (size_t i = 0; i < config->user_count; i++) {
        check_user(application, &config->users[i]);
    }
    return application->refusal_count == 0;
}
