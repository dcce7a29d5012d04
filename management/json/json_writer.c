/* SPDX-License-Identifier: Apache-2.0 */
#include "management/json/json_writer.h"

#include <math.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "management/json/field_repeats.h"

void
json_init(struct json_writer *json)
{
    *json = (struct json_writer){.depth = 0};
    buffer_init(&json->out);
}

void
json_fini(struct json_writer *json)
{
    buffer_fini(&json->out);
}

/* What stands between two values. */
static void
begin_value(struct json_writer *json)
{
    if (json->needs_comma) {
        buffer_put_u8(&json->out, ',');
    }
    json->needs_comma = true;
}

static void
open_with(struct json_writer *json, uint8_t bracket)
{
    begin_value(json);
    buffer_put_u8(&json->out, bracket);
    json->needs_comma = false;
    json->depth++;
}

static void
close_with(struct json_writer *json, uint8_t bracket)
{
    assert(json->depth > 0);
    buffer_put_u8(&json->out, bracket);
    json->needs_comma = true;
    json->depth--;
}

void
json_begin_object(struct json_writer *json)
{
    open_with(json, '{');
}

void
json_end_object(struct json_writer *json)
{
    close_with(json, '}');
}

void
json_begin_array(struct json_writer *json)
{
    open_with(json, '[');
}

void
json_end_array(struct json_writer *json)
{
    close_with(json, ']');
}

/* Text --------------------------------------------------------------------------------------- */

static bool
is_plain(uint8_t octet)
{
    return octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\';
}

static const char REPLACEMENT[] = "\xef\xbf\xbd"; /* U+FFFD */

static void
put_escaped(struct buffer *out, uint8_t octet)
{
    if (octet == '"' || octet == '\\') {
        buffer_put_u8(out, '\\');
        buffer_put_u8(out, octet);
    } else {
        buffer_printf(out, "\\u%04x", (unsigned)octet);
    }
}

/* U+0080 to U+009F, which JSON lets stand and a terminal obeys. */
static bool
is_control_of_two(struct bytes text)
{
    return text.size > 1 && text.data[0] == 0xc2 && text.data[1] >= 0x80 && text.data[1] < 0xa0;
}

/* Writes the character at the front of `text`, which is not plain. */
static size_t
put_character(struct buffer *out, struct bytes text)
{
    size_t size = bytes_utf8_char(text);
    if (size == 0) {
        buffer_put_bytes(out, bytes_of(REPLACEMENT));
        return 1;
    }
    if (size == 1 || is_control_of_two(text)) {
        put_escaped(out, text.data[size - 1]);
    } else {
        buffer_put(out, text.data, size);
    }
    return size;
}

/* Writes what is at the front of `text` and returns how many octets that was. */
static size_t
put_front(struct buffer *out, struct bytes text)
{
    size_t size = 0;
    while (size < text.size && is_plain(text.data[size])) {
        size++;
    }
    if (size == 0) {
        return put_character(out, text);
    }
    buffer_put(out, text.data, size);
    return size;
}

/* Most texts need no escapes: the comma, the text, and the colon of a key in one go. False: it
 * does, and nothing was written. */
static bool
put_plain(struct json_writer *json, struct bytes text, bool is_key)
{
    enum { AROUND = 4 };
    uint8_t *start = buffer_reserve(&json->out, text.size + AROUND);
    uint8_t *at = start;
    if (start == NULL) {
        return false;
    }
    if (json->needs_comma) {
        *at++ = ',';
    }
    *at++ = '"';
    for (size_t i = 0; i < text.size; i++) {
        if (!is_plain(text.data[i])) {
            return false;
        }
        *at++ = text.data[i];
    }
    *at++ = '"';
    if (is_key) {
        *at++ = ':';
    }
    buffer_commit(&json->out, (size_t)(at - start));
    json->needs_comma = !is_key;
    return true;
}

static void
put_characters(struct json_writer *json, struct bytes text)
{
    while (text.size > 0) {
        size_t size = put_front(&json->out, text);
        text = bytes_make(text.data + size, text.size - size);
    }
}

void
json_text(struct json_writer *json, struct bytes text)
{
    if (!put_plain(json, text, false)) {
        begin_value(json);
        buffer_put_u8(&json->out, '"');
        put_characters(json, text);
        buffer_put_u8(&json->out, '"');
    }
}

/* Other values ------------------------------------------------------------------------------- */

void
json_number(struct json_writer *json, int64_t value)
{
    begin_value(json);
    if (value < 0) {
        buffer_put_u8(&json->out, '-');
    }
    buffer_put_decimal(&json->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void
json_unsigned(struct json_writer *json, uint64_t value)
{
    begin_value(json);
    buffer_put_decimal(&json->out, value);
}

void
json_fraction(struct json_writer *json, double value)
{
    enum { PARTS = 100, TENTHS = 10 };
    static const double FITS = 1e15; /* its hundredths are whole numbers of 64 bits */
    double size = isfinite(value) ? fabs(value) : 0;
    begin_value(json);
    if (size >= FITS) {
        buffer_printf(&json->out, "%.2f", value);
        return;
    }
    uint64_t parts = (uint64_t)(size * PARTS + 0.5);
    if (value < 0 && parts > 0) {
        buffer_put_u8(&json->out, '-');
    }
    buffer_put_decimal(&json->out, parts / PARTS);
    const uint8_t rest[] = {'.', (uint8_t)('0' + parts % PARTS / TENTHS),
                            (uint8_t)('0' + parts % TENTHS)};
    buffer_put(&json->out, rest, sizeof(rest));
}

void
json_raw(struct json_writer *json, struct bytes text)
{
    begin_value(json);
    buffer_put_bytes(&json->out, text);
}

void
json_bool(struct json_writer *json, bool value)
{
    json_raw(json, bytes_of(value ? "true" : "false"));
}

void
json_nil(struct json_writer *json)
{
    json_raw(json, bytes_of("null"));
}

/* Members ------------------------------------------------------------------------------------ */

/* A field's name may have any octets in AMQP: names that differ stay different, and what one client
 * declares is nobody else's trouble. */
static void
put_key(struct json_writer *json, struct bytes name)
{
    struct buffer shown;
    if (put_plain(json, name, true)) {
        return;
    }
    buffer_init(&shown);
    field_name_put(&shown, name);
    begin_value(json);
    buffer_put_u8(&json->out, '"');
    put_characters(json, buffer_bytes(&shown));
    buffer_put_bytes(&json->out, bytes_of("\":"));
    json->needs_comma = false;
    json->out.failed = json->out.failed || shown.failed;
    buffer_fini(&shown);
}

void
json_key(struct json_writer *json, const char *name)
{
    put_key(json, bytes_of(name));
}

void
json_raw_key(struct json_writer *json, struct bytes name)
{
    begin_value(json);
    buffer_put_u8(&json->out, '"');
    buffer_put_bytes(&json->out, name);
    buffer_put_bytes(&json->out, bytes_of("\":"));
    json->needs_comma = false;
}

void
json_put_text(struct json_writer *json, const char *name, struct bytes text)
{
    json_key(json, name);
    json_text(json, text);
}

void
json_put_string(struct json_writer *json, const char *name, const char *text)
{
    json_put_text(json, name, bytes_of(text));
}

void
json_put_number(struct json_writer *json, const char *name, int64_t value)
{
    json_key(json, name);
    json_number(json, value);
}

void
json_put_unsigned(struct json_writer *json, const char *name, uint64_t value)
{
    json_key(json, name);
    json_unsigned(json, value);
}

void
json_put_real(struct json_writer *json, const char *name, double value)
{
    json_key(json, name);
    json_fraction(json, value);
}

void
json_put_bool(struct json_writer *json, const char *name, bool value)
{
    json_key(json, name);
    json_bool(json, value);
}

void
json_put_null(struct json_writer *json, const char *name)
{
    json_key(json, name);
    json_nil(json);
}

void
json_put_words(struct json_writer *json, const char *name, struct bytes words)
{
    size_t start = 0;
    json_key(json, name);
    json_begin_array(json);
    for (size_t at = 0; at <= words.size; at++) {
        if (at == words.size || words.data[at] == ',' || words.data[at] == ' ') {
            if (at > start) {
                json_text(json, bytes_make(words.data + start, at - start));
            }
            start = at + 1;
        }
    }
    json_end_array(json);
}

/* Tables ------------------------------------------------------------------------------------- */

/* A table or array that is being written. */
struct table_level {
    struct byte_reader rest;
    struct field_repeats repeats; /* of a table */
    bool is_array;
};

static void
put_scalar(struct json_writer *json, const struct table_value *value)
{
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
    case TABLE_CLASS_TIMESTAMP:
        json_number(json, table_value_integer(value));
        break;
    case TABLE_CLASS_FLOAT:
        begin_value(json);
        buffer_printf(&json->out, "%.17g",
                      isfinite(table_value_float(value)) ? table_value_float(value) : 0);
        break;
    case TABLE_CLASS_BOOLEAN:
        json_bool(json, table_value_boolean(value));
        break;
    case TABLE_CLASS_STRING:
    case TABLE_CLASS_BINARY:
        json_text(json, value->raw);
        break;
    case TABLE_CLASS_DECIMAL: {
        char text[64];
        json_text(json, bytes_of(table_value_text(value, text, sizeof(text))));
        break;
    }
    case TABLE_CLASS_VOID:
    case TABLE_CLASS_ARRAY:
    case TABLE_CLASS_TABLE:
        json_nil(json);
        break;
    }
}

/* The next value of a level, its key written; false at the end. */
static bool
next_of_level(struct json_writer *json, struct table_level *level, struct table_value *value)
{
    struct bytes name;
    if (level->is_array) {
        return table_array_next(&level->rest, value);
    }
    do {
        if (!table_next(&level->rest, &name, value)) {
            return false;
        }
    } while (field_repeats_next(&level->repeats));
    put_key(json, name);
    return true;
}

static void
open_level(struct json_writer *json, struct table_level *level, struct bytes body, bool is_array)
{
    *level = (struct table_level){.rest = byte_reader_make(body), .is_array = is_array};
    if (!is_array && field_repeats_init(&level->repeats, body) != STATUS_OK) {
        json->out.failed = true;
    }
    open_with(json, is_array ? '[' : '{');
}

static void
close_level(struct json_writer *json, struct table_level *level)
{
    field_repeats_fini(&level->repeats);
    close_with(json, level->is_array ? ']' : '}');
}

void
json_table(struct json_writer *json, struct bytes table)
{
    struct table_level levels[TABLE_DEPTH_MAX + 1];
    size_t depth = 1;
    open_level(json, &levels[0], table, false);
    while (depth > 0) {
        struct table_level *level = &levels[depth - 1];
        struct table_value value;
        if (!next_of_level(json, level, &value)) {
            close_level(json, level);
            depth--;
            continue;
        }
        enum table_class class = table_value_class(&value);
        bool is_nested = class == TABLE_CLASS_ARRAY || class == TABLE_CLASS_TABLE;
        if (is_nested && depth < ARRAY_LEN(levels)) {
            open_level(json, &levels[depth++], value.raw, class == TABLE_CLASS_ARRAY);
        } else {
            put_scalar(json, &value);
        }
    }
}
