/* SPDX-License-Identifier: Apache-2.0 */
/* Making what a configuration declares. Everything is checked before anything is changed, so that a
 * configuration that cannot be had leaves things as they were. What is missing is made; arguments,
 * limits, users and rights become what the file says; a difference that only a new object could
 * settle refuses the whole file, for the one that is there may hold messages. What the file no
 * longer names stays and is reported once; users are the file's alone, and those it no longer names
 * may do nothing any more. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/access.h"
#include "broker/channel.h"
#include "broker/connection.h"
#include "broker/core.h"
#include "broker/durability.h"
#include "broker/durable_topology.h"
#include "broker/vhost.h"
#include "routing/topic_trie.h"

enum { REASON_SIZE = 1024 };

/* A configuration on its way into the core. */
struct application {
    struct core *core;
    const struct config *config;
    struct vhost *vhost; /* the one it is for */
    bool is_new;         /* the vhost is nobody's yet */
    char *why;           /* the first refusal */
    size_t why_size;
    size_t refusal_count;
};

static void reject_at(struct application *application, const struct config_mark *mark,
                      const char *format, ...) PRINTF_LIKE(3, 4);

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
static void
reject_at(struct application *application, const struct config_mark *mark, const char *format, ...)
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
    bool is_stored = difference->is_durable && core_has_log(application->core);
    reject_at(application, mark,
              "%s '%.*s' has %s '%s' in the %s, the file says '%s'; delete it or change the file",
              difference->kind, BYTES_FORMAT(difference->name), difference->property,
              difference->stored, is_stored ? "data directory" : "running broker",
              difference->wanted);
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
        reject_at(application, mark, "it is too large for a segment of the log");
    }
}

/* Checking ----------------------------------------------------------------------------------- */

static void
check_exchange(struct application *application, const struct config_exchange *config)
{
    const struct config_mark *mark = &config->mark;
    const struct exchange *exchange = vhost_find_exchange(application->vhost, config->name);
    if (exchange_type_find(bytes_of(config->type)) == NULL) {
        reject_at(application, mark, "unknown exchange type '%s'", config->type);
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
        .stored = exchange->type->name,
        .wanted = config->type,
        .is_durable = exchange->durable,
    };
    if (strcmp(exchange->type->name, config->type) != 0) {
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

/* Arguments change in place, but for those by which messages lie and consumers wait. */
static void
check_queue_arguments(struct application *application, const struct config_queue *config,
                      const struct queue *queue, const struct queue_settings *wanted,
                      struct difference *difference)
{
    const struct queue_settings *stored = &queue->settings;
    if (stored->type != wanted->type) {
        difference->property = "x-queue-type";
        difference->stored = queue_type_name(stored->type);
        difference->wanted = queue_type_name(wanted->type);
        reject_difference(application, &config->mark, difference);
    }
    if (stored->max_priority != wanted->max_priority) {
        char texts[2][24];
        difference->property = "x-max-priority";
        difference->stored = priority_text(stored->max_priority, texts[0]);
        difference->wanted = priority_text(wanted->max_priority, texts[1]);
        reject_difference(application, &config->mark, difference);
    }
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
        reject_at(application, &config->mark,
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
        reject_at(application, &config->mark, "%s", fault.text);
    } else if (queue != NULL) {
        check_present_queue(application, config, queue, &settings);
    } else if (application->config->queues_max >= 0 &&
               *count > (uint64_t)application->config->queues_max) {
        reject_at(application, &config->mark, "more queues than the vhost may have");
    }
}

/* The ends that bindings name, whether they are there already or will be. */
struct known_names {
    struct map exchanges; /* struct exchange_type by name; const, never written through */
    struct map queues;    /* struct config_queue or struct queue by name; the same */
};

static void
known_names_init(struct known_names *names, const struct vhost *vhost, const struct config *config)
{
    map_init(&names->exchanges, vhost->core->seed);
    map_init(&names->queues, vhost->core->seed);
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct exchange_type *type = exchange_type_find(bytes_of(config->exchanges[i].type));
        if (type != NULL) {
            map_put(&names->exchanges, config->exchanges[i].name, (void *)type);
        }
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&names->queues, config->queues[i].name, (void *)&config->queues[i]);
    }
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        const struct exchange *exchange = entry->value;
        map_put(&names->exchanges, exchange->name, (void *)exchange->type);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        map_put(&names->queues, entry->key, entry->value);
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
        reject_at(application, &binding->mark, "a binding from an exchange that does not exist");
    } else if (map_get(ends, binding->destination) == NULL) {
        reject_at(application, &binding->mark, "a binding to something that does not exist");
    } else if (binding->routing_key.size > TOPIC_KEY_SIZE_MAX) {
        reject_at(application, &binding->mark, "a key has at most 255 octets");
    } else if (type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        reject_at(application, &binding->mark, "%s", fault.text);
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

/* Octets of the texts of the user's record, at most. */
static uint64_t
user_octets(const struct config_user *user)
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
    check_record(application, &user->mark, user_octets(user));
    if (core_check_user(application->core, user, application->vhost->name) != STATUS_OK) {
        reject_at(application, &user->mark, "an expression of this user cannot be used");
    }
}

static bool
check_everything(struct application *application)
{
    const struct config *config = application->config;
    uint64_t queue_count = map_count(&application->vhost->queues);
    for (size_t i = 0; i < config->exchange_count; i++) {
        check_exchange(application, &config->exchanges[i]);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        check_queue(application, &config->queues[i], &queue_count);
    }
    check_bindings(application);
    for (size_t i = 0; i < config->user_count; i++) {
        check_user(application, &config->users[i]);
    }
    return application->refusal_count == 0;
}

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
    for (size_t i = 0; i < config->user_count; i++) {
        octets += CORE_RECORD_FIXED + user_octets(&config->users[i]);
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
    reject_at(application, mark, "there is no memory for it");
}

static struct exchange *
make_exchange(struct vhost *vhost, const struct config_exchange *config)
{
    struct exchange_properties properties = {
        .name = config->name,
        .type = exchange_type_find(bytes_of(config->type)),
        .durable = config->durable,
        .auto_delete = config->auto_delete,
        .internal = config->internal,
        .from_file = true,
        .arguments = config->arguments,
    };
    struct exchange *exchange = NULL;
    struct fault fault;
    return vhost_declare_exchange(vhost, &properties, &exchange, &fault) == STATUS_OK ? exchange
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
    if (is_changed || !exchange->from_file) {
        exchange->from_file = true;
        exchange_remember(exchange);
    }
    return true;
}

static void
apply_exchange(struct application *application, const struct config_exchange *config)
{
    struct exchange *exchange = vhost_find_exchange(application->vhost, config->name);
    if (exchange == NULL) {
        exchange = make_exchange(application->vhost, config);
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
make_queue(struct vhost *vhost, const struct config_queue *config)
{
    struct queue_properties properties = {
        .name = config->name,
        .arguments = config->arguments,
        .durable = config->durable,
        .from_file = true,
    };
    struct queue *queue = NULL;
    struct fault fault;
    return vhost_declare_queue(vhost, &properties, &queue, &fault) == STATUS_OK ? queue : NULL;
}

/* The same for a queue. */
static bool
change_queue(struct queue *queue, const struct config_queue *config)
{
    bool is_changed = !table_equal(queue->arguments, config->arguments);
    if (is_changed && queue_set_arguments(queue, config->arguments) != STATUS_OK) {
        return false;
    }
    if (is_changed || !queue->from_file) {
        queue->from_file = true;
        queue_remember(queue);
    }
    return true;
}

static void
apply_queue(struct application *application, const struct config_queue *config)
{
    struct queue *queue = vhost_find_queue(application->vhost, config->name);
    if (queue == NULL) {
        queue = make_queue(application->vhost, config);
    } else if (!change_queue(queue, config)) {
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

/* What the file no longer names --------------------------------------------------------------- */

/* Whether an object has left the file, which is found once; the mark is for the next file. */
static bool
has_left(bool *from_file, bool *is_named)
{
    bool left = *from_file && !*is_named;
    *from_file = *from_file && *is_named;
    *is_named = false;
    return left;
}

static void
report_left(const struct vhost *vhost, const char *kind, struct bytes name)
{
    char vhost_name[RESOURCE_TEXT_SIZE];
    char text[RESOURCE_TEXT_SIZE];
    log_warn(vhost->core->log, "topology.left_file", "kind=%s vhost=%s name=%s", kind,
             log_escape(vhost_name, sizeof(vhost_name), vhost->name),
             log_escape(text, sizeof(text), name));
}

static void
report_left_binding(const struct vhost *vhost, const struct binding *binding)
{
    const struct exchange *source = binding->source;
    bool to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE;
    struct bytes destination = to_exchange ? exchange_of_target(binding->target)->name
                                           : queue_of_target(binding->target)->name;
    char texts[4][RESOURCE_TEXT_SIZE];
    log_warn(vhost->core->log, "topology.left_file", "kind=binding vhost=%s source=%s %s=%s key=%s",
             log_escape(texts[0], sizeof(texts[0]), vhost->name),
             log_escape(texts[1], sizeof(texts[1]), source->name),
             to_exchange ? "exchange" : "queue",
             log_escape(texts[2], sizeof(texts[2]), destination),
             log_escape(texts[3], sizeof(texts[3]), binding->routing_key));
}

static void
sweep_bindings(const struct vhost *vhost, struct exchange *exchange)
{
    LIST_FOR_EACH(&exchange->bindings.bindings, link)
    {
        struct binding *binding = CONTAINER_OF(link, struct binding, source_link);
        if (has_left(&binding->from_file, &binding->is_named)) {
            report_left_binding(vhost, binding);
            binding_remember(binding);
        }
    }
}

static void
sweep_vhost(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        struct exchange *exchange = entry->value;
        sweep_bindings(vhost, exchange);
        if (has_left(&exchange->from_file, &exchange->is_named)) {
            report_left(vhost, "exchange", exchange->name);
            exchange_remember(exchange);
        }
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        struct queue *queue = entry->value;
        if (has_left(&queue->from_file, &queue->is_named)) {
            report_left(vhost, "queue", queue->name);
            queue_remember(queue);
        }
    }
}

/* In every vhost: the file may name another one than before. */
static void
sweep_topology(const struct application *application)
{
    uint32_t position = 0;
    for (struct map_entry *entry;
         (entry = map_next(&application->core->vhosts, &position)) != NULL;) {
        struct vhost *vhost = entry->value;
        bool is_named = vhost == application->vhost;
        sweep_vhost(vhost);
        if (has_left(&vhost->from_file, &is_named)) {
            report_left(vhost, "vhost", vhost->name);
            vhost_remember(vhost);
        }
    }
}

/* Users and their connections ---------------------------------------------------------------- */

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

/* Users that the file no longer names: a password or right that was taken out of it must not go on
 * opening doors, so they are not kept as queues are. */
static void
disable_other_users(struct core *core)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->users, &position)) != NULL;) {
        struct user *user = entry->value;
        bool has_left_file = user->from_file && !user->is_named;
        user->is_named = false;
        if (has_left_file && !user->is_disabled) {
            core_disable_user(core, user);
            char name[RESOURCE_TEXT_SIZE];
            log_info(core->log, "user.disabled", "user=%s",
                     log_escape(name, sizeof(name), user->name));
        }
    }
}

/* Closes the connection if its user may no longer be where it is; else ends the consumers that may
 * no longer read. Publishing asks each time. */
static void
recheck_connection(struct connection *connection)
{
    const struct user *user = connection->user;
    struct fault fault;
    if (user == NULL) {
        return; /* its login will ask */
    }
    if (user->is_disabled) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED, "user '%.*s' was deleted",
                               BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else if (connection->vhost != NULL && !access_may_enter(user, connection->vhost->name)) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED,
                               "access to vhost '%.*s' was revoked for user '%.*s'",
                               BYTES_FORMAT(connection->vhost->name), BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else {
        connection_recheck_consumers(connection);
    }
}

static void
recheck_connections(struct core *core)
{
    LIST_FOR_EACH(&core->connection_list, link)
    {
        recheck_connection(CONTAINER_OF(link, struct connection, core_link));
    }
}

static void
apply_everything(struct application *application)
{
    core_log_together(application->core, record_octets(application->config));
    apply_vhost(application);
    apply_topology(application);
    apply_users(application);
    /* Without a file nothing can have left it. */
    if (!application->config->is_development) {
        sweep_topology(application);
        disable_other_users(application->core);
    }
    recheck_connections(application->core);
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

enum status
core_apply(struct core *core, const struct config *config, char *why, size_t why_size)
{
    struct vhost *found = core_find_vhost(core, config->vhost);
    struct application application = {
        .core = core,
        .config = config,
        .vhost = found != NULL ? found : vhost_new(core, config->vhost),
        .is_new = found == NULL,
        .why = why,
        .why_size = why_size,
    };
    if (check_everything(&application)) {
        apply_everything(&application);
    }
    if (application.is_new) {
        vhost_free(&application.vhost);
    }
    count_refusals(&application);
    return application.refusal_count == 0 ? STATUS_OK : STATUS_REJECTED;
}
