/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions_reader.h"

#include <stdio.h>
#include <string.h>

#include "amqp/table.h"
#include "management/json/json_reader.h"

bool
reader_fail(struct definitions_reader *reader, const char *what)
{
    (void)snprintf(reader->why, DEFINITIONS_WHY_SIZE, "%s[%zu]: %s", reader->section, reader->row,
                   what);
    return false;
}

struct bytes
reader_keep(struct definitions_reader *reader, struct bytes text)
{
    return arena_copy(&reader->definitions->arena, text);
}

const char *
reader_keep_text(struct definitions_reader *reader, struct bytes text)
{
    return (const char *)reader_keep(reader, text).data;
}

size_t
reader_place(struct definitions_reader *reader, size_t count, const char *kind,
             const struct bytes *names, size_t name_count)
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
        map_put(&reader->places, reader_keep(reader, buffer_bytes(&key)), place);
    }
    buffer_fini(&key);
    return earlier == NULL ? count : *earlier;
}

bool
reader_has_no_zero(struct definitions_reader *reader, const char *name, struct bytes text)
{
    char why[JSON_WHY_SIZE];
    if (text.size == 0 || memchr(text.data, 0, text.size) == NULL) {
        return true;
    }
    (void)snprintf(why, sizeof(why), "\"%s\" has a character U+0000", name);
    return reader_fail(reader, why);
}

bool
reader_text(struct definitions_reader *reader, const json_t *row, const char *name,
            struct bytes *out)
{
    char why[JSON_WHY_SIZE];
    if (!json_read_text(row, name, out, why)) {
        return reader_fail(reader, why);
    }
    return reader->may_have_zeros || reader_has_no_zero(reader, name, *out);
}

bool
reader_needed_text(struct definitions_reader *reader, const json_t *row, const char *name,
                   struct bytes *out)
{
    char why[JSON_WHY_SIZE];
    const json_t *value = json_object_get(row, name);
    if (value != NULL && !json_is_null(value)) {
        return reader_text(reader, row, name, out);
    }
    (void)snprintf(why, sizeof(why), "\"%s\" is missing", name);
    return reader_fail(reader, why);
}

bool
reader_bool(struct definitions_reader *reader, const json_t *row, const char *name, bool *out)
{
    char why[JSON_WHY_SIZE];
    return json_read_bool(row, name, out, why) || reader_fail(reader, why);
}

bool
reader_integer(struct definitions_reader *reader, const json_t *row, const char *name, int64_t min,
               int64_t max, int64_t *out)
{
    char why[JSON_WHY_SIZE];
    return json_read_integer(row, name, min, max, out, why) || reader_fail(reader, why);
}

bool
reader_vhost(struct definitions_reader *reader, const json_t *row, struct bytes *out)
{
    *out = reader->vhost;
    if (!reader->is_of_one &&
        !(reader_text(reader, row, "vhost", out) && reader_has_no_zero(reader, "vhost", *out))) {
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

bool
reader_table(struct definitions_reader *reader, const json_t *row, const char *name,
             struct bytes *out)
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
        return reader_fail(reader, why);
    }
    buffer_init(&table);
    bool is_good = json_read_table(value, &table, why);
    struct fault fault;
    if (is_good && table_validate(buffer_bytes(&table), TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        (void)snprintf(why, sizeof(why), "\"%s\": %.200s", name, fault.text);
        is_good = false;
    }
    if (is_good) {
        *out = reader_keep(reader, buffer_bytes(&table));
    }
    buffer_fini(&table);
    return is_good || reader_fail(reader, why);
}

bool
reader_limits(struct definitions_reader *reader, const json_t *limits, const char *second,
              int64_t *connections, int64_t *others)
{
    const json_t *object = object_or_none(limits);
    return object == NULL ||
           (reader_integer(reader, object, "max-connections", -1, INT64_MAX, connections) &&
            reader_integer(reader, object, second, -1, INT64_MAX, others));
}
