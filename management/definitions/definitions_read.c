/* SPDX-License-Identifier: Apache-2.0 */
/* Section by section; a row that is no row stops the reading, for whoever imports half a broker
 * without knowing has lost the other half. */
#include "management/definitions/definitions_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "exchanges/exchange.h"
#include "management/definitions/definitions_read_access.h"
#include "management/definitions/definitions_reader.h"
#include "management/json/json_reader.h"

/* Policies and parameters --------------------------------------------------------------------- */

/* `value` is where the policy stands: the row itself, or the value of a parameter. */
static bool
add_policy(struct definitions_reader *reader, struct bytes vhost, struct bytes name,
           const json_t *value, bool is_operator)
{
    struct bytes pattern;
    struct bytes apply_to = bytes_of("all");
    int64_t priority = 0;
    struct bytes definition;
    if (!reader_needed_text(reader, value, "pattern", &pattern) ||
        !reader_text(reader, value, "apply-to", &apply_to) ||
        !reader_integer(reader, value, "priority", INT32_MIN, INT32_MAX, &priority) ||
        !reader_table(reader, value, "definition", &definition)) {
        return false;
    }
    size_t place =
        reader_place(reader, reader->definitions->policies.count,
                     is_operator ? "operator" : "policy", (struct bytes[]){vhost, name}, 2);
    *reader_row_at(reader, &reader->definitions->policies, place) = (struct definitions_policy){
        .vhost = vhost,
        .name = reader_keep(reader, name),
        .pattern = reader_keep(reader, pattern),
        .apply_to = reader_keep_text(reader, apply_to),
        .priority = (int32_t)priority,
        .is_operator = is_operator,
        .definition = definition,
    };
    return true;
}

static bool
read_policy(struct definitions_reader *reader, const json_t *row)
{
    struct bytes vhost;
    struct bytes name;
    return reader_vhost(reader, row, &vhost) && reader_needed_text(reader, row, "name", &name) &&
           add_policy(reader, vhost, name, row, false);
}

static bool
read_global_parameter(struct definitions_reader *reader, const json_t *row)
{
    struct bytes name;
    const json_t *value = json_object_get(row, "value");
    if (!reader_needed_text(reader, row, "name", &name)) {
        return false;
    }
    if (value == NULL) {
        return reader_fail(reader, "\"value\" is missing");
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return reader_fail(reader, "no memory");
    }
    *definitions_add(reader->definitions, &reader->definitions->parameters) =
        (struct definitions_parameter){
            .name = reader_keep(reader, name),
            .value = reader_keep(reader, bytes_of(text)),
        };
    free(text);
    return true;
}

/* RabbitMQ keeps operator policies and limits of vhosts among its parameters. */
static bool
read_parameter(struct definitions_reader *reader, const json_t *row)
{
    struct bytes component;
    struct bytes name = bytes_of("");
    struct bytes vhost;
    const json_t *value = json_object_get(row, "value");
    if (!reader_needed_text(reader, row, "component", &component) ||
        !reader_needed_text(reader, row, "name", &name) || !reader_vhost(reader, row, &vhost)) {
        return false;
    }
    if (bytes_equal_text(component, "operator_policy")) {
        return add_policy(reader, vhost, name, value, true);
    }
    if (bytes_equal_text(component, "vhost-limits")) {
        struct definitions_vhost *limited = definitions_put_vhost(reader->definitions, vhost);
        return reader_limits(reader, value, "max-queues", &limited->connections_max,
                             &limited->queues_max);
    }
    definitions_warn(reader->definitions,
                     "vhost \"%.*s\": the parameter \"%.*s\" of %.*s is left out",
                     BYTES_FORMAT(vhost), BYTES_FORMAT(name), BYTES_FORMAT(component));
    return true;
}

/* Exchanges, queues, bindings ----------------------------------------------------------------- */

static bool
is_reserved(struct bytes name)
{
    return name.size == 0 || bytes_starts_with(name, "amq.");
}

/* Warns of what every vhost has, or clients alone may have. */
static bool
skips_reserved(struct definitions_reader *reader, const char *kind, struct bytes vhost,
               struct bytes name)
{
    if (!is_reserved(name)) {
        return false;
    }
    definitions_warn(reader->definitions, "vhost \"%.*s\": %s \"%.*s\" is left out: the name is %s",
                     BYTES_FORMAT(vhost), kind, BYTES_FORMAT(name),
                     name.size == 0 ? "empty" : "reserved");
    return true;
}

/* What a Bourse has written beside it; other brokers write nothing there. */
static bool
read_ours(struct definitions_reader *reader, const json_t *row, bool *is_protected,
          struct config_alert *alert)
{
    const json_t *ours = json_object_get(row, "bourse");
    alert->has_ready = json_object_get(ours, "ready_above") != NULL;
    alert->has_oldest = json_object_get(ours, "oldest_above_ms") != NULL;
    if (ours != NULL && !json_is_object(ours)) {
        return reader_fail(reader, "\"bourse\" is no object");
    }
    return ours == NULL ||
           (reader_bool(reader, ours, "protect", is_protected) &&
            reader_integer(reader, ours, "ready_above", 0, INT64_MAX, &alert->ready_above) &&
            reader_integer(reader, ours, "oldest_above_ms", 1, INT64_MAX, &alert->oldest_above_ms));
}

static bool
read_exchange(struct definitions_reader *reader, const json_t *row)
{
    struct definitions_exchange exchange = {.durable = true};
    struct config_alert alert;
    struct bytes name;
    struct bytes type = bytes_of("direct");
    if (!reader_vhost(reader, row, &exchange.vhost) ||
        !reader_needed_text(reader, row, "name", &name) ||
        !reader_text(reader, row, "type", &type) ||
        !reader_bool(reader, row, "durable", &exchange.durable) ||
        !reader_bool(reader, row, "auto_delete", &exchange.auto_delete) ||
        !reader_bool(reader, row, "internal", &exchange.internal) ||
        !read_ours(reader, row, &exchange.is_protected, &alert) ||
        !reader_table(reader, row, "arguments", &exchange.arguments)) {
        return false;
    }
    if (skips_reserved(reader, "exchange", exchange.vhost, name)) {
        return true;
    }
    const struct exchange_type *known = exchange_type_find(type);
    if (known == NULL) {
        definitions_warn(reader->definitions,
                         "vhost \"%.*s\": exchange \"%.*s\" is left out: there is no type \"%.*s\"",
                         BYTES_FORMAT(exchange.vhost), BYTES_FORMAT(name), BYTES_FORMAT(type));
        return true;
    }
    exchange.name = reader_keep(reader, name);
    exchange.type = known->name;
    *definitions_add(reader->definitions, &reader->definitions->exchanges) = exchange;
    return true;
}

/* The row says the type beside the arguments; ours is an argument. */
static bool
put_type(struct definitions_reader *reader, struct definitions_queue *queue, struct bytes type)
{
    struct table_value value;
    struct buffer table;
    if (type.size == 0 || bytes_equal_text(type, "classic") ||
        table_find(queue->arguments, "x-queue-type", &value)) {
        return true;
    }
    buffer_init(&table);
    buffer_put_bytes(&table, queue->arguments);
    table_put_text(&table, "x-queue-type", type);
    bool is_good = !table.failed;
    if (is_good) {
        queue->arguments = reader_keep(reader, buffer_bytes(&table));
    }
    buffer_fini(&table);
    return is_good || reader_fail(reader, "there is no memory for its arguments");
}

static bool
is_stream(const struct definitions_queue *queue)
{
    struct table_value value;
    return table_find(queue->arguments, "x-queue-type", &value) &&
           table_value_class(&value) == TABLE_CLASS_STRING &&
           !bytes_equal_text(value.raw, "classic") && !bytes_equal_text(value.raw, "quorum");
}

static bool
read_queue(struct definitions_reader *reader, const json_t *row)
{
    struct definitions_queue queue = {.durable = true};
    struct bytes name;
    struct bytes type = bytes_of("");
    if (!reader_vhost(reader, row, &queue.vhost) ||
        !reader_needed_text(reader, row, "name", &name) ||
        !reader_text(reader, row, "type", &type) ||
        !reader_bool(reader, row, "durable", &queue.durable) ||
        !reader_bool(reader, row, "auto_delete", &queue.auto_delete) ||
        !read_ours(reader, row, &queue.is_protected, &queue.alert) ||
        !reader_table(reader, row, "arguments", &queue.arguments)) {
        return false;
    }
    if (skips_reserved(reader, "queue", queue.vhost, name)) {
        return true;
    }
    if (!put_type(reader, &queue, type)) {
        return false;
    }
    if (is_stream(&queue)) {
        definitions_warn(reader->definitions,
                         "vhost \"%.*s\": queue \"%.*s\" is left out: there are classic and quorum "
                         "queues only",
                         BYTES_FORMAT(queue.vhost), BYTES_FORMAT(name));
        return true;
    }
    queue.name = reader_keep(reader, name);
    *definitions_add(reader->definitions, &reader->definitions->queues) = queue;
    return true;
}

static bool
read_binding(struct definitions_reader *reader, const json_t *row)
{
    struct definitions_binding binding = {.to_exchange = false};
    struct bytes source;
    struct bytes destination;
    struct bytes kind = bytes_of("queue");
    struct bytes key = bytes_of("");
    if (!reader_vhost(reader, row, &binding.vhost) ||
        !reader_needed_text(reader, row, "source", &source) ||
        !reader_needed_text(reader, row, "destination", &destination) ||
        !reader_text(reader, row, "destination_type", &kind) ||
        !reader_text(reader, row, "routing_key", &key) ||
        !reader_table(reader, row, "arguments", &binding.arguments)) {
        return false;
    }
    binding.to_exchange = bytes_equal_text(kind, "exchange");
    if (!binding.to_exchange && !bytes_equal_text(kind, "queue")) {
        return reader_fail(reader, "\"destination_type\" is neither queue nor exchange");
    }
    if (source.size == 0) {
        return true; /* every queue has that one by itself */
    }
    binding.source = reader_keep(reader, source);
    binding.destination = reader_keep(reader, destination);
    binding.routing_key = reader_keep(reader, key);
    *definitions_add(reader->definitions, &reader->definitions->bindings) = binding;
    return true;
}

/* The file ------------------------------------------------------------------------------------ */

/* In the order in which RabbitMQ imports them. */
static const struct {
    const char *name;
    bool (*read)(struct definitions_reader *reader, const json_t *row);
    bool may_have_zeros; /* as names and keys that clients chose */
} sections[] = {
    {"users", definitions_read_user, false},
    {"vhosts", definitions_read_vhost, false},
    {"permissions", definitions_read_permission, false},
    {"topic_permissions", definitions_read_topic_permission, false},
    {"global_parameters", read_global_parameter, false},
    {"parameters", read_parameter, false},
    {"policies", read_policy, false},
    {"queues", read_queue, true},
    {"exchanges", read_exchange, true},
    {"bindings", read_binding, true},
};

static bool
read_section(struct definitions_reader *reader, const json_t *list,
             bool (*read)(struct definitions_reader *, const json_t *))
{
    if (!json_is_array(list)) {
        (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE, "\"%s\" is no list", reader->section);
        return false;
    }
    for (reader->row = 0; reader->row < json_array_size(list); reader->row++) {
        const json_t *row = json_array_get(list, reader->row);
        if (!json_is_object(row)) {
            return reader_fail(reader, "is no object");
        }
        if (!read(reader, row)) {
            return false;
        }
    }
    return true;
}

/* At least one of the sections, or it is another kind of file. */
static bool
is_definitions(const json_t *root)
{
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        if (json_object_get(root, sections[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

static bool
is_section(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        if (strcmp(sections[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* What stands beside the sections and holds something: of a later version, or a plugin's. Texts
 * there say who has written the file. */
static void
warn_of_sections(struct definitions_reader *reader, const json_t *root)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, name, value)
    {
        bool holds_something = json_array_size(value) > 0 || json_object_size(value) > 0;
        if (holds_something && !is_section(name)) {
            definitions_warn(reader->definitions,
                             "\"%s\" is left out: there is nothing like it here", name);
        }
    }
}

static bool
read_root(struct definitions_reader *reader, const json_t *root)
{
    if (!json_is_object(root) || !is_definitions(root)) {
        (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE,
                       "it has none of the lists of a definitions file (queues, exchanges, ...)");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        const json_t *list = json_object_get(root, sections[i].name);
        reader->section = sections[i].name;
        reader->may_have_zeros = sections[i].may_have_zeros;
        if (list != NULL && !read_section(reader, list, sections[i].read)) {
            return false;
        }
    }
    warn_of_sections(reader, root);
    return true;
}

static enum status
read_with(struct definitions_reader *reader, struct bytes text)
{
    char reason[JSON_WHY_SIZE];
    json_t *root = json_read_zeros(text, reason);
    if (root == NULL) {
        (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE, "%s", reason);
        return STATUS_FAULT;
    }
    map_init(&reader->places, (uint64_t)(uintptr_t)reader->definitions);
    bool is_good = read_root(reader, root);
    map_fini(&reader->places);
    json_decref(root);
    return is_good ? STATUS_OK : STATUS_FAULT;
}

enum status
definitions_read(struct definitions *definitions, struct bytes text, struct bytes vhost,
                 char why[static DEFINITIONS_WHY_SIZE])
{
    struct definitions_reader reader = {.definitions = definitions, .vhost = vhost, .why = why};
    return read_with(&reader, text);
}

enum status
definitions_read_into(struct definitions *definitions, struct bytes text, struct bytes vhost,
                      char why[static DEFINITIONS_WHY_SIZE])
{
    struct definitions_reader reader = {
        .definitions = definitions, .vhost = vhost, .is_of_one = true, .why = why};
    return read_with(&reader, text);
}
