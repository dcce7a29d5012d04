/* SPDX-License-Identifier: Apache-2.0 */
/* Files to a configuration that the broker will accept. */
#include "cli/load.h"

#include "amqp/table.h"
#include "base/map.h"
#include "config/report.h"
#include "exchanges/exchange.h"
#include "queues/settings.h"

enum { SUBJECT_SIZE = 640, LINE_SIZE = 1024 };

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
        queue_settings_read(&settings, queue->arguments, subject, &fault) != STATUS_OK) {
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

static void
examine_exchanges(struct config *config, struct map *exchanges)
{
    for (size_t i = 0; i < config->exchange_count; i++) {
        struct config_exchange *exchange = &config->exchanges[i];
        struct fault fault;
        map_put(exchanges, exchange->name, exchange);
        if (table_validate(exchange->arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
            report_fault(config, exchange->mark, &fault);
        }
    }
}

static void
examine(struct config *config)
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
}

struct config *
load_config(char *const *paths, size_t path_count, enum config_purpose purpose)
{
    struct config_environment environment = config_environment_system();
    const char *const *names = (const char *const *)paths;
    struct config *config = config_read(names, path_count, purpose, &environment);
    examine(config);
    report_sort(config, names, path_count);
    return config;
}

void
load_print_report(const struct config *config, FILE *out)
{
    const struct config_report *report = &config->report;
    char line[LINE_SIZE];
    for (size_t i = 0; i < report->count; i++) {
        fprintf(out, "%s\n", config_diagnostic_text(&report->items[i], line, sizeof(line)));
    }
    if (report->left_out > 0) {
        fprintf(out, "bourse: and %zu more\n", report->left_out);
    }
}
