/* SPDX-License-Identifier: Apache-2.0 */
/* Section by section; a row that is no row stops the reading, for whoever imports half a broker
 * without knowing has lost the other half. */
#include "management/definitions_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/map.h"
#include "exchanges/exchange.h"
#include "management/json_reader.h"

/* Where the reading stands, for messages. */
struct reader {
    struct definitions *definitions;
    struct bytes vhost; /* of rows that do not say theirs */
    bool is_of_one;     /* of all rows, whatever they say */
    bool may_have_zeros;
    const char *section;
    size_t row;
    char *why;
    struct map places; /* in its list, of what is there once under its names; the arena's */
};

static bool
fail(struct reader *reader, const char *what)
{
    (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE, "%s[%zu]: %s", reader->section, reader->row,
                   what);
    return false;
}

static struct bytes
keep(struct reader *reader, struct bytes text)
{
    return arena_copy(&reader->definitions->arena, text);
}

static const char *
keep_text(struct reader *reader, struct bytes text)
{
    return (const char *)keep(reader, text).data;
}

/* Where the row of these names belongs in its list of `count` rows: in the place of an earlier one,
 * which it replaces as if one had been imported after the other, or at the end. */
static size_t
place_of(struct reader *reader, size_t count, const char *kind, const struct bytes *names,
         size_t name_count)
{
    struct buffer key;
    buffer_init(&key);
    buffer_put_bytes(&key, bytes_of(kind));
    for (size_t i = 0; i < name_count; i++) {
        buffer_put_u32(&key, (uint32_t)names[i].size);
        buffer_put_bytes(&key, names[i]);
    }
    const size_t *earlier = map_get(&reader->places, buffer_bytes(&key));
    if (earlier == NULL && !key.failed) {
        size_t *place = arena_alloc(&reader->definitions->arena, sizeof(*place));
        *place = count;
        map_put(&reader->places, keep(reader, buffer_bytes(&key)), place);
    }
    buffer_fini(&key);
    return earlier == NULL ? count : *earlier;
}

/* That place; a macro because the lists have different types. */
#define row_at(reader, list, place)                                                                \
    ((place) == (list)->count ? definitions_add((reader)->definitions, (list))                     \
                              : &(list)->items[place])

/* Members ------------------------------------------------------------------------------------- */

/* Rights and the like are C strings, and a name that a client did not choose has no octet 0. */
static bool
has_no_zero(struct reader *reader, const char *name, struct bytes text)
{
    char why[JSON_WHY_SIZE];
    if (text.size == 0 || memchr(text.data, 0, text.size) == NULL) {
        return true;
    }
    (void)snprintf(why, sizeof(why), "\"%s\" has a character U+0000", name);
    return fail(reader, why);
}

/* A text that may be missing. */
static bool
read_text(struct reader *reader, const json_t *row, const char *name, struct bytes *out)
{
    char why[JSON_WHY_SIZE];
    if (!json_read_text(row, name, out, why)) {
        return fail(reader, why);
    }
    return reader->may_have_zeros || has_no_zero(reader, name, *out);
}

/* A text that must be there. */
static bool
need_text(struct reader *reader, const json_t *row, const char *name, struct bytes *out)
{
    char why[JSON_WHY_SIZE];
    const json_t *value = json_object_get(row, name);
    if (value != NULL && !json_is_null(value)) {
        return read_text(reader, row, name, out);
    }
    (void)snprintf(why, sizeof(why), "\"%s\" is missing", name);
    return fail(reader, why);
}

static bool
read_bool(struct reader *reader, const json_t *row, const char *name, bool *out)
{
    char why[JSON_WHY_SIZE];
    return json_read_bool(row, name, out, why) || fail(reader, why);
}

static bool
read_integer(struct reader *reader, const json_t *row, const char *name, int64_t min, int64_t max,
             int64_t *out)
{
    char why[JSON_WHY_SIZE];
    return json_read_integer(row, name, min, max, out, why) || fail(reader, why);
}

/* The vhost of a row, which comes into being by being named. */
static bool
read_vhost(struct reader *reader, const json_t *row, struct bytes *out)
{
    *out = reader->vhost;
    if (!reader->is_of_one &&
        !(read_text(reader, row, "vhost", out) && has_no_zero(reader, "vhost", *out))) {
        return false;
    }
    *out = definitions_put_vhost(reader->definitions, *out)->name;
    return true;
}

/* An empty list stands for an empty object in what Erlang wrote. */
static const json_t *
object_or_none(const json_t *value)
{
    return json_is_object(value) ? value : NULL;
}

static bool
read_table(struct reader *reader, const json_t *row, const char *name, struct bytes *out)
{
    const json_t *value = json_object_get(row, name);
    char why[JSON_WHY_SIZE];
    struct buffer table;
    bool is_empty = value == NULL || json_is_null(value) ||
                    (json_is_array(value) && json_array_size(value) == 0);
    *out = bytes_of("");
    if (is_empty) {
        return true;
    }
    if (!json_is_object(value)) {
        (void)snprintf(why, sizeof(why), "\"%s\" is no object", name);
        return fail(reader, why);
    }
    buffer_init(&table);
    bool is_good = json_read_table(value, &table, why);
    struct fault fault;
    if (is_good && table_validate(buffer_bytes(&table), TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        (void)snprintf(why, sizeof(why), "\"%s\": %.200s", name, fault.text);
        is_good = false;
    }
    if (is_good) {
        *out = keep(reader, buffer_bytes(&table));
    }
    buffer_fini(&table);
    return is_good || fail(reader, why);
}

/* Limits of a user or vhost. */
static bool
read_limits(struct reader *reader, const json_t *limits, const char *second, int64_t *connections,
            int64_t *others)
{
    const json_t *object = object_or_none(limits);
    return object == NULL ||
           (read_integer(reader, object, "max-connections", -1, INT64_MAX, connections) &&
            read_integer(reader, object, second, -1, INT64_MAX, others));
}

/* Tags ---------------------------------------------------------------------------------------- */

struct tag_list {
    struct bytes *items;
    size_t count;
};

static void
add_tag(struct reader *reader, struct tag_list *list, struct bytes tag)
{
    while (tag.size > 0 && tag.data[0] == ' ') {
        tag = bytes_make(tag.data + 1, tag.size - 1);
    }
    while (tag.size > 0 && tag.data[tag.size - 1] == ' ') {
        tag.size--;
    }
    if (tag.size > 0) {
        list->items[list->count++] = keep(reader, tag);
    }
}

/* "a,b" of before 3.9 and of LavinMQ. */
static void
split_tags(struct reader *reader, struct tag_list *list, struct bytes text)
{
    size_t start = 0;
    list->items = arena_alloc(&reader->definitions->arena, (text.size + 1) * sizeof(*list->items));
    for (size_t at = 0; at <= text.size; at++) {
        if (at == text.size || text.data[at] == ',') {
            add_tag(reader, list, bytes_make(text.data + start, at - start));
            start = at + 1;
        }
    }
}

static bool
read_tags(struct reader *reader, const json_t *tags, struct tag_list *list)
{
    if (json_is_string(tags)) {
        split_tags(reader, list, bytes_make(json_string_value(tags), json_string_length(tags)));
        return true;
    }
    if (tags != NULL && !json_is_null(tags) && !json_is_array(tags)) {
        return fail(reader, "\"tags\" is neither a list nor a text");
    }
    list->items = arena_alloc(&reader->definitions->arena,
                              (json_array_size(tags) + 1) * sizeof(*list->items));
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        if (!json_is_string(tag)) {
            return fail(reader, "\"tags\" has something that is no text");
        }
        add_tag(reader, list, bytes_make(json_string_value(tag), json_string_length(tag)));
    }
    return true;
}

/* Users --------------------------------------------------------------------------------------- */

static bool
names_algorithm(struct bytes algorithm, const char *name)
{
    size_t size = strlen(name);
    return algorithm.size >= size &&
           strncasecmp((const char *)algorithm.data + algorithm.size - size, name, size) == 0;
}

/* The form says what it is; the name of the algorithm only what it is not. Without a name it is
 * MD5, unless it is too long for that. */
static void
judge_hash(struct reader *reader, struct definitions_user *user, struct bytes algorithm)
{
    user->hash_kind = definitions_hash_kind(user->hash);
    bool is_contradicted = (user->hash_kind == DEFINITIONS_SHA256 && algorithm.size > 0 &&
                            !names_algorithm(algorithm, "sha256")) ||
                           (user->hash_kind == DEFINITIONS_SHA512 && algorithm.size > 0 &&
                            !names_algorithm(algorithm, "sha512"));
    if (is_contradicted) {
        user->hash_kind = DEFINITIONS_FOREIGN;
    }
    if (user->hash_kind == DEFINITIONS_MD5) {
        definitions_warn(reader->definitions,
                         "user \"%.*s\": a password hash by MD5 cannot stand in a topology file; "
                         "set a new password",
                         BYTES_FORMAT(user->name));
    }
    if (user->hash_kind == DEFINITIONS_FOREIGN) {
        definitions_warn(reader->definitions,
                         "user \"%.*s\": a password hash by %.*s cannot be checked here; set a new "
                         "password",
                         BYTES_FORMAT(user->name),
                         BYTES_FORMAT(algorithm.size > 0 ? algorithm : bytes_of("MD5 or bcrypt")));
    }
}

static bool
read_user(struct reader *reader, const json_t *row)
{
    struct definitions_user user = {.connections_max = -1, .channels_max = -1};
    struct tag_list tags = {.count = 0};
    struct bytes algorithm = bytes_of("");
    struct bytes name;
    struct bytes hash = bytes_of("");
    if (!need_text(reader, row, "name", &name) || !read_text(reader, row, "password_hash", &hash) ||
        !read_text(reader, row, "hashing_algorithm", &algorithm) ||
        !read_tags(reader, json_object_get(row, "tags"), &tags) ||
        !read_limits(reader, json_object_get(row, "limits"), "max-channels", &user.connections_max,
                     &user.channels_max)) {
        return false;
    }
    user.name = keep(reader, name);
    user.hash = keep(reader, hash);
    user.tags = tags.items;
    user.tag_count = tags.count;
    judge_hash(reader, &user, algorithm);
    size_t place = place_of(reader, reader->definitions->users.count, "user", &user.name, 1);
    *row_at(reader, &reader->definitions->users, place) = user;
    return true;
}

/* Vhosts and rights --------------------------------------------------------------------------- */

/* A member that stands in the row, or with what is called metadata; NULL: in neither. */
static const json_t *
described_by(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    bool is_there = value != NULL && !json_is_null(value);
    return is_there ? value : json_object_get(json_object_get(row, "metadata"), name);
}

static bool
read_vhost_text(struct reader *reader, const json_t *row, const char *name, const char **out)
{
    char why[JSON_WHY_SIZE];
    const json_t *value = described_by(row, name);
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value)) {
        (void)snprintf(why, sizeof(why), "\"%s\" is no text", name);
        return fail(reader, why);
    }
    struct bytes text = bytes_make(json_string_value(value), json_string_length(value));
    *out = keep_text(reader, text);
    return has_no_zero(reader, name, text);
}

static bool
read_vhost_tags(struct reader *reader, const json_t *row, const char **out)
{
    const json_t *value = described_by(row, "tags");
    struct tag_list tags = {.count = 0};
    struct buffer text;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!read_tags(reader, value, &tags)) {
        return false;
    }
    buffer_init(&text);
    for (size_t i = 0; i < tags.count; i++) {
        buffer_put(&text, ",", i == 0 ? 0 : 1);
        buffer_put_bytes(&text, tags.items[i]);
    }
    bool is_good = (!text.failed || fail(reader, "no memory")) &&
                   has_no_zero(reader, "tags", buffer_bytes(&text));
    *out = keep_text(reader, buffer_bytes(&text));
    buffer_fini(&text);
    return is_good;
}

/* "undefined" is what Erlang calls a queue type that nobody chose. */
static bool
read_vhost_row(struct reader *reader, const json_t *row)
{
    struct bytes name;
    if (!need_text(reader, row, "name", &name)) {
        return false;
    }
    if (reader->is_of_one) {
        return true; /* it is about the vhost that they come from */
    }
    struct definitions_vhost *vhost = definitions_put_vhost(reader->definitions, name);
    if (!read_vhost_text(reader, row, "description", &vhost->description) ||
        !read_vhost_text(reader, row, "default_queue_type", &vhost->default_queue_type) ||
        !read_vhost_tags(reader, row, &vhost->tags)) {
        return false;
    }
    if (vhost->default_queue_type != NULL && strcmp(vhost->default_queue_type, "undefined") == 0) {
        vhost->default_queue_type = NULL;
    }
    return read_limits(reader, json_object_get(row, "limits"), "max-queues",
                       &vhost->connections_max, &vhost->queues_max);
}

static bool
read_permission(struct reader *reader, const json_t *row)
{
    struct bytes user;
    struct bytes vhost;
    struct bytes rights[3];
    if (!need_text(reader, row, "user", &user) || !read_vhost(reader, row, &vhost) ||
        !need_text(reader, row, "configure", &rights[0]) ||
        !need_text(reader, row, "write", &rights[1]) ||
        !need_text(reader, row, "read", &rights[2])) {
        return false;
    }
    size_t place = place_of(reader, reader->definitions->permissions.count, "permission",
                            (struct bytes[]){user, vhost}, 2);
    *row_at(reader, &reader->definitions->permissions, place) = (struct definitions_permission){
        .user = keep(reader, user),
        .vhost = vhost,
        .configure = keep_text(reader, rights[0]),
        .write = keep_text(reader, rights[1]),
        .read = keep_text(reader, rights[2]),
    };
    return true;
}

static bool
read_topic_permission(struct reader *reader, const json_t *row)
{
    struct bytes user;
    struct bytes vhost;
    struct bytes exchange;
    struct bytes write;
    struct bytes read = bytes_of(".*");
    if (!need_text(reader, row, "user", &user) || !read_vhost(reader, row, &vhost) ||
        !need_text(reader, row, "exchange", &exchange) ||
        !need_text(reader, row, "write", &write) || !read_text(reader, row, "read", &read)) {
        return false;
    }
    size_t place = place_of(reader, reader->definitions->topic_permissions.count, "topic",
                            (struct bytes[]){user, vhost, exchange}, 3);
    *row_at(reader, &reader->definitions->topic_permissions, place) =
        (struct definitions_topic_permission){
            .user = keep(reader, user),
            .vhost = vhost,
            .exchange = keep(reader, exchange),
            .write = keep_text(reader, write),
            .read = keep_text(reader, read),
        };
    return true;
}

/* Policies and parameters --------------------------------------------------------------------- */

/* `value` is where the policy stands: the row itself, or the value of a parameter. */
static bool
add_policy(struct reader *reader, struct bytes vhost, struct bytes name, const json_t *value,
           bool is_operator)
{
    struct bytes pattern;
    struct bytes apply_to = bytes_of("all");
    int64_t priority = 0;
    struct bytes definition;
    if (!need_text(reader, value, "pattern", &pattern) ||
        !read_text(reader, value, "apply-to", &apply_to) ||
        !read_integer(reader, value, "priority", INT32_MIN, INT32_MAX, &priority) ||
        !read_table(reader, value, "definition", &definition)) {
        return false;
    }
    size_t place = place_of(reader, reader->definitions->policies.count,
                            is_operator ? "operator" : "policy", (struct bytes[]){vhost, name}, 2);
    *row_at(reader, &reader->definitions->policies, place) = (struct definitions_policy){
        .vhost = vhost,
        .name = keep(reader, name),
        .pattern = keep(reader, pattern),
        .apply_to = keep_text(reader, apply_to),
        .priority = (int32_t)priority,
        .is_operator = is_operator,
        .definition = definition,
    };
    return true;
}

static bool
read_policy(struct reader *reader, const json_t *row)
{
    struct bytes vhost;
    struct bytes name;
    return read_vhost(reader, row, &vhost) && need_text(reader, row, "name", &name) &&
           add_policy(reader, vhost, name, row, false);
}

static bool
read_global_parameter(struct reader *reader, const json_t *row)
{
    struct bytes name;
    const json_t *value = json_object_get(row, "value");
    if (!need_text(reader, row, "name", &name)) {
        return false;
    }
    if (value == NULL) {
        return fail(reader, "\"value\" is missing");
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return fail(reader, "no memory");
    }
    *definitions_add(reader->definitions, &reader->definitions->parameters) =
        (struct definitions_parameter){
            .name = keep(reader, name),
            .value = keep(reader, bytes_of(text)),
        };
    free(text);
    return true;
}

/* RabbitMQ keeps operator policies and limits of vhosts among its parameters. */
static bool
read_parameter(struct reader *reader, const json_t *row)
{
    struct bytes component;
    struct bytes name = bytes_of("");
    struct bytes vhost;
    const json_t *value = json_object_get(row, "value");
    if (!need_text(reader, row, "component", &component) ||
        !need_text(reader, row, "name", &name) || !read_vhost(reader, row, &vhost)) {
        return false;
    }
    if (bytes_equal_text(component, "operator_policy")) {
        return add_policy(reader, vhost, name, value, true);
    }
    if (bytes_equal_text(component, "vhost-limits")) {
        struct definitions_vhost *limited = definitions_put_vhost(reader->definitions, vhost);
        return read_limits(reader, value, "max-queues", &limited->connections_max,
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
skips_reserved(struct reader *reader, const char *kind, struct bytes vhost, struct bytes name)
{
    if (!is_reserved(name)) {
        return false;
    }
    definitions_warn(reader->definitions, "vhost \"%.*s\": %s \"%.*s\" is left out: the name is %s",
                     BYTES_FORMAT(vhost), kind, BYTES_FORMAT(name),
                     name.size == 0 ? "empty" : "reserved");
    return true;
}

static bool
read_exchange(struct reader *reader, const json_t *row)
{
    struct definitions_exchange exchange = {.durable = true};
    struct bytes name;
    struct bytes type = bytes_of("direct");
    if (!read_vhost(reader, row, &exchange.vhost) || !need_text(reader, row, "name", &name) ||
        !read_text(reader, row, "type", &type) ||
        !read_bool(reader, row, "durable", &exchange.durable) ||
        !read_bool(reader, row, "auto_delete", &exchange.auto_delete) ||
        !read_bool(reader, row, "internal", &exchange.internal) ||
        !read_table(reader, row, "arguments", &exchange.arguments)) {
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
    exchange.name = keep(reader, name);
    exchange.type = known->name;
    *definitions_add(reader->definitions, &reader->definitions->exchanges) = exchange;
    return true;
}

/* The row says the type beside the arguments; ours is an argument. */
static bool
put_type(struct reader *reader, struct definitions_queue *queue, struct bytes type)
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
        queue->arguments = keep(reader, buffer_bytes(&table));
    }
    buffer_fini(&table);
    return is_good || fail(reader, "there is no memory for its arguments");
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
read_queue(struct reader *reader, const json_t *row)
{
    struct definitions_queue queue = {.durable = true};
    struct bytes name;
    struct bytes type = bytes_of("");
    if (!read_vhost(reader, row, &queue.vhost) || !need_text(reader, row, "name", &name) ||
        !read_text(reader, row, "type", &type) ||
        !read_bool(reader, row, "durable", &queue.durable) ||
        !read_bool(reader, row, "auto_delete", &queue.auto_delete) ||
        !read_table(reader, row, "arguments", &queue.arguments)) {
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
    queue.name = keep(reader, name);
    *definitions_add(reader->definitions, &reader->definitions->queues) = queue;
    return true;
}

static bool
read_binding(struct reader *reader, const json_t *row)
{
    struct definitions_binding binding = {.to_exchange = false};
    struct bytes source;
    struct bytes destination;
    struct bytes kind = bytes_of("queue");
    struct bytes key = bytes_of("");
    if (!read_vhost(reader, row, &binding.vhost) || !need_text(reader, row, "source", &source) ||
        !need_text(reader, row, "destination", &destination) ||
        !read_text(reader, row, "destination_type", &kind) ||
        !read_text(reader, row, "routing_key", &key) ||
        !read_table(reader, row, "arguments", &binding.arguments)) {
        return false;
    }
    binding.to_exchange = bytes_equal_text(kind, "exchange");
    if (!binding.to_exchange && !bytes_equal_text(kind, "queue")) {
        return fail(reader, "\"destination_type\" is neither queue nor exchange");
    }
    if (source.size == 0) {
        return true; /* every queue has that one by itself */
    }
    binding.source = keep(reader, source);
    binding.destination = keep(reader, destination);
    binding.routing_key = keep(reader, key);
    *definitions_add(reader->definitions, &reader->definitions->bindings) = binding;
    return true;
}

/* The file ------------------------------------------------------------------------------------ */

/* In the order in which RabbitMQ imports them. */
static const struct {
    const char *name;
    bool (*read)(struct reader *reader, const json_t *row);
    bool may_have_zeros; /* as names and keys that clients chose */
} sections[] = {
    {"users", read_user, false},
    {"vhosts", read_vhost_row, false},
    {"permissions", read_permission, false},
    {"topic_permissions", read_topic_permission, false},
    {"global_parameters", read_global_parameter, false},
    {"parameters", read_parameter, false},
    {"policies", read_policy, false},
    {"queues", read_queue, true},
    {"exchanges", read_exchange, true},
    {"bindings", read_binding, true},
};

static bool
read_section(struct reader *reader, const json_t *list,
             bool (*read)(struct reader *, const json_t *))
{
    if (!json_is_array(list)) {
        (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE, "\"%s\" is no list", reader->section);
        return false;
    }
    for (reader->row = 0; reader->row < json_array_size(list); reader->row++) {
        const json_t *row = json_array_get(list, reader->row);
        if (!json_is_object(row)) {
            return fail(reader, "is no object");
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
read_root(struct reader *reader, const json_t *root)
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
    return true;
}

static enum status
read_with(struct reader *reader, struct bytes text)
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
    struct reader reader = {.definitions = definitions, .vhost = vhost, .why = why};
    return read_with(&reader, text);
}

enum status
definitions_read_into(struct definitions *definitions, struct bytes text, struct bytes vhost,
                      char why[static DEFINITIONS_WHY_SIZE])
{
    struct reader reader = {
        .definitions = definitions, .vhost = vhost, .is_of_one = true, .why = why};
    return read_with(&reader, text);
}
