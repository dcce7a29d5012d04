/* SPDX-License-Identifier: Apache-2.0 */
#include "management/json/json_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/table.h"
#include "base/assert.h"

/* Whether objects and arrays lie deeper in one another than is allowed; looks at nothing else, so
 * that no parser ever goes down that far. */
static bool
is_too_deep(struct bytes text, size_t *at_out)
{
    size_t depth = 0;
    bool is_quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (is_quoted) {
            i += octet == '\\' ? 1 : 0;
            is_quoted = octet != '"';
        } else if (octet == '"') {
            is_quoted = true;
        } else if (octet == '{' || octet == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                *at_out = i;
                return true;
            }
        } else if ((octet == '}' || octet == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* Editors of another system put U+FEFF before what they save as UTF-8. */
static struct bytes
without_mark(struct bytes text)
{
    static const char MARK[] = "\xef\xbb\xbf";
    size_t size = sizeof(MARK) - 1;
    bool has_mark = text.size >= size && memcmp(text.data, MARK, size) == 0;
    return has_mark ? bytes_make(text.data + size, text.size - size) : text;
}

/* jansson names a flag of its own there. */
static const char *
text_of_error(const json_error_t *error)
{
    return json_error_code(error) == json_error_null_character ? "\\u0000 is not allowed here"
                                                               : error->text;
}

static json_t *
read_with(struct bytes text, size_t flags, char why[static JSON_WHY_SIZE])
{
    json_error_t error;
    size_t at = 0;
    text = without_mark(text);
    if (is_too_deep(text, &at)) {
        (void)snprintf(why, JSON_WHY_SIZE,
                       "octet %zu: more than %d arrays and objects lie in one "
                       "another",
                       at + 1, JSON_DEPTH_MAX);
        return NULL;
    }
    json_t *json =
        json_loadb((const char *)text.data, text.size, flags | JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        (void)snprintf(why, JSON_WHY_SIZE, "line %d, column %d: %s", error.line, error.column,
                       text_of_error(&error));
    }
    return json;
}

json_t *
json_read(struct bytes text, char why[static JSON_WHY_SIZE])
{
    return read_with(text, 0, why);
}

json_t *
json_read_zeros(struct bytes text, char why[static JSON_WHY_SIZE])
{
    return read_with(text, JSON_ALLOW_NUL, why);
}

/* Members ------------------------------------------------------------------------------------ */

static const char *
type_text(const json_t *value)
{
    static const char *const texts[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",  [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return texts[json_typeof(value)];
}

static bool
refuse_type(const char *name, const char *wanted, const json_t *value, char *why)
{
    (void)snprintf(why, JSON_WHY_SIZE, "\"%s\" takes %s, not %s", name, wanted, type_text(value));
    return false;
}

/* The member, or NULL when it is not there or null. */
static const json_t *
find_member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return value == NULL || json_is_null(value) ? NULL : value;
}

bool
json_read_text(const json_t *object, const char *name, struct bytes *out,
               char why[static JSON_WHY_SIZE])
{
    const json_t *value = find_member(object, name);
    if (value == NULL) {
        return true;
    }
    if (!json_is_string(value)) {
        return refuse_type(name, "a text", value, why);
    }
    *out = bytes_make(json_string_value(value), json_string_length(value));
    return true;
}

bool
json_read_bool(const json_t *object, const char *name, bool *out, char why[static JSON_WHY_SIZE])
{
    const json_t *value = find_member(object, name);
    if (value == NULL) {
        return true;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    bool is_true = json_is_true(value) || strcmp(text, "true") == 0;
    if (!is_true && !json_is_false(value) && strcmp(text, "false") != 0) {
        return refuse_type(name, "true or false", value, why);
    }
    *out = is_true;
    return true;
}

/* A number, or digits in a text: older clients send those. */
static bool
integer_of(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return text[0] != '\0' && *end == '\0' && errno == 0;
}

bool
json_read_integer(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
                  char why[static JSON_WHY_SIZE])
{
    const json_t *value = find_member(object, name);
    int64_t number = 0;
    if (value == NULL) {
        return true;
    }
    if (!integer_of(value, &number)) {
        return refuse_type(name, "a whole number", value, why);
    }
    if (number < min || number > max) {
        (void)snprintf(why, JSON_WHY_SIZE, "\"%s\" takes %" PRId64 " to %" PRId64 ", not %" PRId64,
                       name, min, max, number);
        return false;
    }
    *out = number;
    return true;
}

/* Tables ------------------------------------------------------------------------------------- */

/* An object or array whose members are being written; `size_at` is where its length goes. */
struct level {
    json_t *value;
    void *member; /* of an object: where it stands */
    size_t item;  /* of an array */
    size_t size_at;
};

static struct level
level_of(const json_t *value, size_t size_at)
{
    json_t *held = (json_t *)value; /* the iterator's type; nothing is changed */
    return (struct level){.value = held, .member = json_object_iter(held), .size_at = size_at};
}

/* The next member, its name written; NULL at the end. False: a name that no table takes. */
static bool
next_member(struct level *level, struct buffer *out, const json_t **value_out, char *why)
{
    *value_out = NULL;
    if (json_is_array(level->value)) {
        *value_out = json_array_get(level->value, level->item++);
        return true;
    }
    if (level->member == NULL) {
        return true;
    }
    const char *name = json_object_iter_key(level->member);
    if (strlen(name) > UINT8_MAX) {
        (void)snprintf(why, JSON_WHY_SIZE, "\"%.32s...\" is longer than 255 octets", name);
        return false;
    }
    buffer_put_shortstr(out, bytes_of(name));
    *value_out = json_object_iter_value(level->member);
    level->member = json_object_iter_next(level->value, level->member);
    return true;
}

static void
put_real(struct buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    buffer_put_u8(out, 'd');
    buffer_put_u64(out, bits);
}

static void
put_scalar(struct buffer *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        buffer_put_u8(out, 'S');
        buffer_put_longstr(out, bytes_make(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER:
        buffer_put_u8(out, 'l');
        buffer_put_u64(out, (uint64_t)json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buffer_put_u8(out, 't');
        buffer_put_u8(out, json_is_true(value) ? 1 : 0);
        break;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        buffer_put_u8(out, 'V');
        break;
    }
}

/* Takes one step of the walk; false with `why` when the table cannot have it. */
static bool
put_next(struct level *levels, size_t *depth, struct buffer *out, char *why)
{
    struct level *level = &levels[*depth - 1];
    const json_t *value;
    if (!next_member(level, out, &value, why)) {
        return false;
    }
    if (value == NULL) {
        (*depth)--;
        if (*depth > 0) {
            table_end_counted(out, level->size_at);
        }
        return true;
    }
    if (!json_is_object(value) && !json_is_array(value)) {
        put_scalar(out, value);
        return true;
    }
    if (*depth == TABLE_DEPTH_MAX) {
        (void)snprintf(why, JSON_WHY_SIZE, "more than %d tables lie in one another",
                       TABLE_DEPTH_MAX);
        return false;
    }
    buffer_put_u8(out, json_is_object(value) ? 'F' : 'A');
    levels[*depth] = level_of(value, table_begin_counted(out));
    (*depth)++;
    return true;
}

bool
json_read_table(const json_t *object, struct buffer *out, char why[static JSON_WHY_SIZE])
{
    struct level levels[TABLE_DEPTH_MAX];
    size_t depth = 1;
    levels[0] = level_of(object, 0);
    while (depth > 0) {
        if (!put_next(levels, &depth, out, why)) {
            return false;
        }
    }
    if (out->failed) {
        (void)snprintf(why, JSON_WHY_SIZE, "no memory for it");
    }
    return !out->failed;
}
