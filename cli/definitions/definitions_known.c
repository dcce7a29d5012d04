/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_known.h"

#include <string.h>

#include "base/assert.h"
#include "broker/names/expression.h"
#include "config/literal.h"
#include "exchanges/exchange.h"
#include "queues/policy.h"
#include "queues/settings.h"

struct sorter {
    struct known *known;
    struct definitions *definitions;
};

static void
warn_left_out(struct sorter *sorter, const char *kind, struct bytes name, const char *why)
{
    definitions_warn(sorter->definitions, "vhost \"%.*s\": %s \"%.*s\" is left out: %s",
                     BYTES_FORMAT(sorter->known->vhost), kind, BYTES_FORMAT(name), why);
}

/* False, with a warning: files cannot have such a name. */
static bool
name_is_good(struct sorter *sorter, const char *kind, struct bytes name)
{
    const char *problem = literal_name_problem(name);
    if (problem == NULL && !bytes_is_utf8(name)) {
        problem = "is not UTF-8";
    }
    if (problem != NULL) {
        char why[128];
        (void)snprintf(why, sizeof(why), "the name %s", problem);
        warn_left_out(sorter, kind, name, why);
    }
    return problem == NULL;
}

/* A copy of the table without one of its fields; the arena's. */
static struct bytes
without(struct sorter *sorter, struct bytes table, const char *name)
{
    struct buffer rest;
    buffer_init(&rest);
    table_copy_without(&rest, table, name);
    struct bytes copy = arena_copy(&sorter->definitions->arena, buffer_bytes(&rest));
    buffer_fini(&rest);
    return copy;
}

static bool
has_zero(struct bytes text)
{
    return text.size > 0 && memchr(text.data, 0, text.size) != NULL;
}

/* Whether a text in the table, however deep, has an octet 0, which no file can say. */
static bool
says_zero(struct bytes table)
{
    struct byte_reader readers[TABLE_DEPTH_MAX + 1] = {byte_reader_make(table)};
    bool is_array[TABLE_DEPTH_MAX + 1] = {false};
    size_t depth = 1;
    while (depth > 0) {
        struct table_value value;
        struct bytes name;
        struct byte_reader *reader = &readers[depth - 1];
        bool is_left = is_array[depth - 1] ? table_array_next(reader, &value)
                                           : table_next(reader, &name, &value);
        enum table_class class = is_left ? table_value_class(&value) : TABLE_CLASS_VOID;
        if (!is_left) {
            depth--;
        } else if (class == TABLE_CLASS_TABLE || class == TABLE_CLASS_ARRAY) {
            assert(depth < ARRAY_LEN(readers));
            is_array[depth] = class == TABLE_CLASS_ARRAY;
            readers[depth++] = byte_reader_make(value.raw);
        } else if (class == TABLE_CLASS_STRING && has_zero(value.raw)) {
            return true;
        }
    }
    return false;
}

/* Exchanges ----------------------------------------------------------------------------------- */

static bool
exchange_is_good(struct sorter *sorter, const struct definitions_exchange *exchange)
{
    const struct exchange_type *type = exchange_type_find(bytes_of(exchange->type));
    struct fault fault;
    assert(type != NULL); /* the reader takes no others */
    if (!name_is_good(sorter, "exchange", exchange->name)) {
        return false;
    }
    if (exchange_type_check_arguments(type, exchange->arguments, "it", &fault) != STATUS_OK) {
        warn_left_out(sorter, "exchange", exchange->name, fault.text);
        return false;
    }
    if (says_zero(exchange->arguments)) {
        warn_left_out(sorter, "exchange", exchange->name, "an argument has a character U+0000");
        return false;
    }
    return true;
}

static void
sort_exchange(struct sorter *sorter, const struct definitions_exchange *exchange)
{
    struct known *known = sorter->known;
    struct table_value value;
    if (map_get(&known->exchange_index, exchange->name) != NULL ||
        !exchange_is_good(sorter, exchange)) {
        return;
    }
    struct known_exchange *out = &known->exchanges[known->exchange_count++];
    *out = (struct known_exchange){.is = exchange, .arguments = exchange->arguments};
    if (table_find(out->arguments, "alternate-exchange", &value) &&
        table_value_class(&value) != TABLE_CLASS_STRING) {
        out->arguments = without(sorter, out->arguments, "alternate-exchange");
    }
    map_put(&known->exchange_index, exchange->name, out);
}

/* Queues -------------------------------------------------------------------------------------- */

static struct bytes
without_zeros(struct sorter *sorter, const struct definitions_queue *queue, struct bytes arguments)
{
    struct byte_reader reader = byte_reader_make(arguments);
    struct bytes rest = arguments;
    struct bytes key;
    struct table_value value;
    while (table_next(&reader, &key, &value)) {
        struct buffer alone;
        char name[256];
        buffer_init(&alone);
        table_put_value(&alone, key, &value);
        if (says_zero(buffer_bytes(&alone))) {
            (void)snprintf(name, sizeof(name), "%.*s", BYTES_FORMAT(key));
            definitions_warn(sorter->definitions,
                             "vhost \"%.*s\": queue \"%.*s\" goes without the argument %s, which "
                             "has a character U+0000",
                             BYTES_FORMAT(sorter->known->vhost), BYTES_FORMAT(queue->name), name);
            rest = without(sorter, rest, name);
        }
        buffer_fini(&alone);
    }
    return rest;
}

/* The arguments without those that are refused, one after the other. */
static struct bytes
good_arguments(struct sorter *sorter, const struct definitions_queue *queue)
{
    struct bytes arguments = queue->arguments;
    const char *culprit;
    while ((culprit = queue_settings_culprit(arguments)) != NULL) {
        definitions_warn(
            sorter->definitions,
            "vhost \"%.*s\": queue \"%.*s\" goes without the argument %s, which cannot "
            "be had here",
            BYTES_FORMAT(sorter->known->vhost), BYTES_FORMAT(queue->name), culprit);
        arguments = without(sorter, arguments, culprit);
    }
    return says_zero(arguments) ? without_zeros(sorter, queue, arguments) : arguments;
}

static bool
queue_is_good(struct sorter *sorter, const struct definitions_queue *queue, struct bytes arguments)
{
    struct queue_settings settings;
    struct fault fault;
    if (queue->auto_delete) {
        warn_left_out(sorter, "queue", queue->name,
                      "it is deleted with its last consumer, so whoever consumes declares it");
        return false;
    }
    if (queue_settings_read(&settings, arguments, "it", &fault) != STATUS_OK ||
        queue_settings_check_quorum(&settings, false, queue->durable, false, "it", &fault) !=
            STATUS_OK) {
        warn_left_out(sorter, "queue", queue->name, fault.text);
        return false;
    }
    return true;
}

static void
sort_queue(struct sorter *sorter, const struct definitions_queue *queue)
{
    struct known *known = sorter->known;
    if (map_get(&known->queue_index, queue->name) != NULL ||
        !name_is_good(sorter, "queue", queue->name)) {
        return;
    }
    struct bytes arguments = good_arguments(sorter, queue);
    if (!queue_is_good(sorter, queue, arguments)) {
        return;
    }
    struct known_queue *out = &known->queues[known->queue_count++];
    *out = (struct known_queue){.is = queue, .arguments = arguments};
    map_put(&known->queue_index, queue->name, out);
}

/* Bindings ------------------------------------------------------------------------------------ */

static const struct exchange_type *
type_of(const struct known *known, struct bytes name)
{
    static const struct {
        const char *name, *type;
    } everywhere[] = {
        {"amq.direct", "direct"},     {"amq.fanout", "fanout"}, {"amq.topic", "topic"},
        {"amq.headers", "headers"},   {"amq.match", "headers"}, {"amq.rabbitmq.trace", "topic"},
        {"bourse.control", "direct"},
    };
    const struct known_exchange *exchange = map_get(&known->exchange_index, name);
    if (exchange != NULL) {
        return exchange_type_inner(exchange_type_find(bytes_of(exchange->is->type)),
                                   exchange->is->arguments);
    }
    for (size_t i = 0; i < ARRAY_LEN(everywhere); i++) {
        if (bytes_equal_text(name, everywhere[i].name)) {
            return exchange_type_find(bytes_of(everywhere[i].type));
        }
    }
    return NULL;
}

bool
known_has_exchange(const struct known *known, struct bytes name)
{
    return type_of(known, name) != NULL;
}

bool
known_has_queue(const struct known *known, struct bytes name)
{
    return map_get(&known->queue_index, name) != NULL;
}

static struct known_bindings *
find_destination(const struct known *known, const struct definitions_binding *binding)
{
    if (binding->to_exchange) {
        struct known_exchange *exchange = map_get(&known->exchange_index, binding->destination);
        return exchange == NULL ? NULL : &exchange->from;
    }
    struct known_queue *queue = map_get(&known->queue_index, binding->destination);
    return queue == NULL ? NULL : &queue->from;
}

/* Where the binding goes, or NULL with a warning. */
static struct known_bindings *
place_binding(struct sorter *sorter, const struct definitions_binding *binding)
{
    enum { KEY_MAX = 255 };
    const struct exchange_type *type = type_of(sorter->known, binding->source);
    struct known_bindings *place = find_destination(sorter->known, binding);
    const char *why = NULL;
    struct fault fault;
    if (type == NULL) {
        why = "its source is not there";
    } else if (place == NULL) {
        why = "its destination is not there, or belongs to every vhost";
    } else if (binding->routing_key.size > KEY_MAX) {
        why = "its key is longer than 255 octets";
    } else if (has_zero(binding->routing_key) || says_zero(binding->arguments)) {
        why = "its key or an argument has a character U+0000";
    } else if (type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        why = fault.text;
    }
    if (why == NULL) {
        return place;
    }
    definitions_warn(sorter->definitions,
                     "vhost \"%.*s\": the binding from \"%.*s\" to \"%.*s\" with key \"%.*s\" is "
                     "left out: %s",
                     BYTES_FORMAT(sorter->known->vhost), BYTES_FORMAT(binding->source),
                     BYTES_FORMAT(binding->destination), BYTES_FORMAT(binding->routing_key), why);
    return NULL;
}

static void
append_binding(struct arena *arena, struct known_bindings *list,
               const struct definitions_binding *binding)
{
    /* A power of two, which the count has just reached: there is no more room. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t capacity = list->count == 0 ? 1 : 2 * list->count;
        const struct definitions_binding **items =
            arena_alloc(arena, capacity * sizeof(struct definitions_binding *));
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(struct definitions_binding *));
        }
        list->items = items;
    }
    list->items[list->count++] = binding;
}

/* Policies ------------------------------------------------------------------------------------ */

static struct bytes
good_definition(struct sorter *sorter, const struct policy_properties *properties)
{
    struct bytes definition = properties->definition;
    struct byte_reader reader = byte_reader_make(properties->definition);
    struct bytes key;
    struct table_value value;
    struct policy_problem problem;
    while (table_next(&reader, &key, &value)) {
        char name[256];
        if (policy_key_check(properties, key, &value, &problem)) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "%.*s", BYTES_FORMAT(key));
        definitions_warn(sorter->definitions, "vhost \"%.*s\": policy \"%.*s\" goes without %s: %s",
                         BYTES_FORMAT(sorter->known->vhost), BYTES_FORMAT(properties->name), name,
                         problem.text);
        definition = without(sorter, definition, name);
    }
    return definition;
}

static bool
pattern_is_good(struct bytes pattern)
{
    struct expression expression;
    struct expression_error error;
    bool is_good = pattern.size > 0 && expression_compile(&expression, pattern, &error);
    if (is_good) {
        expression_fini(&expression);
    }
    return is_good;
}

static void
sort_policy(struct sorter *sorter, const struct definitions_policy *policy)
{
    struct policy_properties properties = {
        .kind = policy->is_operator ? POLICY_OPERATOR : POLICY_ORDINARY,
        .priority = policy->priority,
        .name = policy->name,
        .pattern = policy->pattern,
        .definition = policy->definition,
    };
    if (!name_is_good(sorter, "policy", policy->name)) {
        return;
    }
    if (!policy_target_find(bytes_of(policy->apply_to), &properties.target)) {
        warn_left_out(sorter, "policy", policy->name, "\"apply-to\" names nothing that is known");
        return;
    }
    if (!pattern_is_good(policy->pattern)) {
        warn_left_out(sorter, "policy", policy->name, "its pattern does not compile");
        return;
    }
    struct bytes definition = good_definition(sorter, &properties);
    if (definition.size == 0) {
        warn_left_out(sorter, "policy", policy->name, "nothing of its definition is left");
        return;
    }
    if (says_zero(definition)) {
        warn_left_out(sorter, "policy", policy->name, "its definition has a character U+0000");
        return;
    }
    sorter->known->policies[sorter->known->policy_count++] =
        (struct known_policy){.is = policy, .definition = definition};
}

/* All of it ----------------------------------------------------------------------------------- */

static bool
is_here(const struct sorter *sorter, struct bytes vhost)
{
    return bytes_equal(sorter->known->vhost, vhost);
}

static void
sort_all(struct sorter *sorter)
{
    struct definitions *definitions = sorter->definitions;
    for (size_t i = 0; i < definitions->exchanges.count; i++) {
        if (is_here(sorter, definitions->exchanges.items[i].vhost)) {
            sort_exchange(sorter, &definitions->exchanges.items[i]);
        }
    }
    for (size_t i = 0; i < definitions->queues.count; i++) {
        if (is_here(sorter, definitions->queues.items[i].vhost)) {
            sort_queue(sorter, &definitions->queues.items[i]);
        }
    }
    for (size_t i = 0; i < definitions->bindings.count; i++) {
        const struct definitions_binding *binding = &definitions->bindings.items[i];
        struct known_bindings *place =
            is_here(sorter, binding->vhost) ? place_binding(sorter, binding) : NULL;
        if (place != NULL) {
            append_binding(&definitions->arena, place, binding);
        }
    }
    for (size_t i = 0; i < definitions->policies.count; i++) {
        if (is_here(sorter, definitions->policies.items[i].vhost)) {
            sort_policy(sorter, &definitions->policies.items[i]);
        }
    }
}

void
known_init(struct known *known, struct definitions *definitions, struct bytes vhost)
{
    struct sorter sorter = {.known = known, .definitions = definitions};
    struct arena *arena = &definitions->arena;
    *known = (struct known){
        .vhost = vhost,
        .exchanges =
            arena_alloc(arena, (definitions->exchanges.count + 1) * sizeof(*known->exchanges)),
        .queues = arena_alloc(arena, (definitions->queues.count + 1) * sizeof(*known->queues)),
        .policies =
            arena_alloc(arena, (definitions->policies.count + 1) * sizeof(*known->policies)),
    };
    map_init(&known->exchange_index, (uint64_t)(uintptr_t)known);
    map_init(&known->queue_index, (uint64_t)(uintptr_t)known);
    sort_all(&sorter);
}

void
known_fini(struct known *known)
{
    map_fini(&known->exchange_index);
    map_fini(&known->queue_index);
}
