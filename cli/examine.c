/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the queue, exchange and access code about what a configuration declares. */
#include "cli/examine.h"

#include <stdio.h>

#include "amqp/table.h"
#include "base/map.h"
#include "base/random.h"
#include "broker/access.h"
#include "broker/core.h"
#include "config/report.h"
#include "exchanges/exchange.h"
#include "queues/settings.h"

enum { SUBJECT_SIZE = 640 };

/* What a fault says, at the place in the file that would cause it. */
static void
report_fault(struct config *config, struct config_mark mark, const struct fault *fault)
{
    report_error(config, mark, "%s", fault->text);
}

static void
examine_queue(struct config *config, const struct config_queue *queue)
{
    char subject[SUBJECT_SIZE];
    struct queue_settings settings;
    struct fault fault;
    snprintf(subject, sizeof(subject), "queue '%.*s' in vhost '%.*s'", BYTES_FORMAT(queue->name),
             BYTES_FORMAT(config->vhost));
    if (table_validate(queue->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK ||
        queue_settings_read(&settings, queue->arguments, subject, &fault) != STATUS_OK ||
        queue_settings_check_quorum(&settings, false, queue->durable, false, subject, &fault) !=
            STATUS_OK) {
        report_fault(config, queue->mark, &fault);
    }
}

static const char *
predeclared_type(struct bytes name)
{
    if (bytes_equal_text(name, "amq.headers") || bytes_equal_text(name, "amq.match")) {
        return "headers";
    }
    if (bytes_equal_text(name, "amq.fanout")) {
        return "fanout";
    }
    return bytes_equal_text(name, "amq.direct") ? "direct" : "topic";
}

static void
examine_binding(struct config *config, const struct map *exchanges,
                const struct config_binding *binding)
{
    const struct config_exchange *source = map_get(exchanges, binding->source);
    const char *name = source == NULL ? predeclared_type(binding->source) : source->type;
    const struct exchange_type *type = exchange_type_find(bytes_of(name));
    struct fault fault;
    if (table_validate(binding->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK ||
        type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        report_fault(config, binding->mark, &fault);
    }
}

/* The one argument of an exchange that means something must be a name. */
static void
examine_alternate(struct config *config, const struct config_exchange *exchange)
{
    struct table_value value;
    if (table_find(exchange->arguments, "alternate-exchange", &value) &&
        table_value_class(&value) != TABLE_CLASS_STRING) {
        report_error(config, exchange->mark,
                     "\"alternate-exchange\" of exchange \"%.*s\" is no "
                     "text",
                     BYTES_FORMAT(exchange->name));
    }
}

static void
examine_exchanges(struct config *config, struct map *exchanges)
{
    for (size_t i = 0; i < config->exchange_count; i++) {
        struct config_exchange *exchange = &config->exchanges[i];
        struct fault fault;
        map_put(exchanges, exchange->name, exchange);
        if (table_validate(exchange->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
            report_fault(config, exchange->mark, &fault);
        } else {
            examine_alternate(config, exchange);
        }
    }
}

/* A core that serves nobody: enough to make users in. */
static struct core *
rehearsal_core_new(void)
{
    struct core_settings settings = {0};
    struct core_ports ports = {.random = random_system()};
    return core_new(&settings, &ports, NULL, NULL, (struct clock_reading){0});
}

/* Reports the first of a user's expressions that does not compile; `probe` has that one alone. */
static bool
examine_expression(struct config *config, struct core *core, const struct config_user *probe,
                   const char *which)
{
    if (core_put_user(core, probe, config->vhost) == STATUS_OK) {
        return true;
    }
    report_error(config, probe->rights_mark,
                 "the expression for \"%s\" of user \"%.*s\" is not valid or too large", which,
                 BYTES_FORMAT(probe->name));
    return false;
}

static void
examine_user(struct config *config, struct core *core, const struct config_user *user)
{
    struct config_user none = {
        .name = user->name,
        .configure = "",
        .write = "",
        .read = "",
        .rights_mark = user->rights_mark,
    };
    struct config_user configure = none;
    struct config_user write = none;
    struct config_user read = none;
    struct config_user topics = none;
    configure.configure = user->configure;
    write.write = user->write;
    read.read = user->read;
    topics.topics = user->topics;
    topics.topic_count = user->topic_count;
    if (examine_expression(config, core, &configure, "configure") &&
        examine_expression(config, core, &write, "write") &&
        examine_expression(config, core, &read, "read")) {
        (void)examine_expression(config, core, &topics, "topics");
    }
}

static void
examine_users(struct config *config)
{
    struct core *core = rehearsal_core_new();
    for (size_t i = 0; i < config->user_count; i++) {
        examine_user(config, core, &config->users[i]);
    }
    core_free(&core);
}

void
examine_config(struct config *config)
{
    struct map exchanges;
    map_init(&exchanges, (uint64_t)(uintptr_t)config);
    examine_exchanges(config, &exchanges);
    for (size_t i = 0; i < config->queue_count; i++) {
        examine_queue(config, &config->queues[i]);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        examine_binding(config, &exchanges, &config->bindings[i]);
    }
    map_fini(&exchanges);
    examine_users(config);
}
