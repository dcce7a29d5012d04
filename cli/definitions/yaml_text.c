/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/yaml_text.h"

#include <inttypes.h>

#include "base/assert.h"

static bool
is_letter(uint8_t octet)
{
    return (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z');
}

/* Letters first, and none of the words that mean something in YAML, of whatever version. */
static bool
is_plain(struct bytes text)
{
    static const char *const words[] = {"true",  "false", "null", "yes", "no", "on",  "off", "True",
                                        "False", "Null",  "Yes",  "No",  "On", "Off", "y",   "n"};
    if (text.size == 0 || !is_letter(text.data[0])) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (!is_letter(octet) && !(octet >= '0' && octet <= '9') && octet != '_' && octet != '-' &&
            octet != '.') {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (bytes_equal_text(text, words[i])) {
            return false;
        }
    }
    return true;
}

/* The character at the front of `text` when it has two octets or three and YAML takes it for the
 * end of a line, for a mark at the beginning of a file, or for nothing that may be in one: C1
 * controls, line and paragraph separators, U+FEFF, U+FFFE and U+FFFF. Otherwise 0. */
static unsigned
special_char(struct bytes text, size_t size)
{
    const uint8_t *data = text.data;
    if (size == 2) {
        return data[0] == 0xC2 && data[1] < 0xA0 ? data[1] : 0;
    }
    if (size != 3) {
        return 0;
    }
    unsigned code = (data[0] & 0x0FU) << 12 | (data[1] & 0x3FU) << 6 | (data[2] & 0x3FU);
    bool is_special = code == 0x2028 || code == 0x2029 || code == 0xFEFF || code >= 0xFFFE;
    return is_special ? code : 0;
}

static void
put_quoted(FILE *out, struct bytes text)
{
    fputc('"', out);
    for (size_t i = 0; i < text.size;) {
        struct bytes rest = bytes_make(text.data + i, text.size - i);
        size_t size = bytes_utf8_char(rest);
        uint8_t octet = rest.data[0];
        unsigned code = special_char(rest, size);
        size = size == 0 ? 1 : size;
        if (octet == '"' || octet == '\\') {
            fprintf(out, "\\%c", octet);
        } else if (octet < 0x20 || octet == 0x7F) {
            fprintf(out, "\\x%02X", octet);
        } else if (code != 0) {
            fprintf(out, "\\u%04X", code);
        } else {
            fwrite(rest.data, 1, size, out);
        }
        i += size;
    }
    fputc('"', out);
}

void
yaml_put_text(FILE *out, struct bytes text)
{
    if (is_plain(text)) {
        fwrite(text.data, 1, text.size, out);
    } else {
        put_quoted(out, text);
    }
}

/* A number that does not read as a whole one. */
static void
put_float(FILE *out, double value)
{
    char text[40];
    (void)snprintf(text, sizeof(text), "%.17g", value);
    fprintf(out, "%s%s", text, strpbrk(text, ".e") == NULL ? ".0" : "");
}

static void
put_scalar(FILE *out, const struct table_value *value)
{
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
    case TABLE_CLASS_TIMESTAMP:
        fprintf(out, "%" PRId64, table_value_integer(value));
        break;
    case TABLE_CLASS_FLOAT:
        put_float(out, table_value_float(value));
        break;
    case TABLE_CLASS_BOOLEAN:
        fputs(table_value_boolean(value) ? "true" : "false", out);
        break;
    case TABLE_CLASS_STRING:
    case TABLE_CLASS_BINARY:
        yaml_put_text(out, value->raw);
        break;
    default:
        fputs("null", out);
        break;
    }
}

/* An array or table that is being written. */
struct level {
    struct byte_reader reader;
    bool is_table;
    bool has_items;
};

static void
begin_item(FILE *out, struct level *level)
{
    fputs(level->has_items ? ", " : "", out);
    level->has_items = true;
}

/* The next item of a level; false at its end. */
static bool
next_item(FILE *out, struct level *level, struct table_value *value)
{
    struct bytes name;
    if (!level->is_table) {
        bool is_left = table_array_next(&level->reader, value);
        if (is_left) {
            begin_item(out, level);
        }
        return is_left;
    }
    if (!table_next(&level->reader, &name, value)) {
        return false;
    }
    begin_item(out, level);
    yaml_put_text(out, name);
    fputs(": ", out);
    return true;
}

static bool
is_nested(const struct table_value *value)
{
    enum table_class class = table_value_class(value);
    return class == TABLE_CLASS_ARRAY || class == TABLE_CLASS_TABLE;
}

static struct level
open_level(FILE *out, const struct table_value *value)
{
    bool is_table = table_value_class(value) == TABLE_CLASS_TABLE;
    fputc(is_table ? '{' : '[', out);
    return (struct level){.reader = byte_reader_make(value->raw), .is_table = is_table};
}

void
yaml_put_value(FILE *out, const struct table_value *value)
{
    struct level levels[TABLE_DEPTH_MAX + 1];
    size_t depth = 0;
    if (!is_nested(value)) {
        put_scalar(out, value);
        return;
    }
    levels[depth++] = open_level(out, value);
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        struct table_value item;
        if (!next_item(out, level, &item)) {
            fputc(level->is_table ? '}' : ']', out);
            depth--;
        } else if (is_nested(&item)) {
            assert(depth < ARRAY_LEN(levels));
            levels[depth++] = open_level(out, &item);
        } else {
            put_scalar(out, &item);
        }
    }
}

void
yaml_flow_key(struct yaml_flow *flow, const char *key)
{
    fprintf(flow->out, "%s%s: ", flow->has_members ? ", " : "{", key);
    flow->has_members = true;
}

void
yaml_flow_text(struct yaml_flow *flow, const char *key, struct bytes text)
{
    yaml_flow_key(flow, key);
    yaml_put_text(flow->out, text);
}

void
yaml_flow_end(struct yaml_flow *flow)
{
    fputs(flow->has_members ? "}" : "{}", flow->out);
}
