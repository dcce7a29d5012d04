/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables, read where they lie. Whatever nests is walked with a stack of TABLE_DEPTH_MAX
 * places, so that a peer's nesting never becomes our recursion. */
#include "amqp/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "base/assert.h"

/* Letters ------------------------------------------------------------------------------------ */

enum {
    SIZE_UNKNOWN = 0, /* no such letter */
    SIZE_COUNTED = 1, /* a 32-bit length, then as many octets */
    SIZE_FIXED = 2,   /* added to the number of octets */
};

static const struct letter {
    const char *name;
    uint8_t size; /* of the above */
    uint8_t class;
} letters[256] = {
    ['t'] = {"bool", SIZE_FIXED + 1, TABLE_CLASS_BOOLEAN},
    ['b'] = {"byte", SIZE_FIXED + 1, TABLE_CLASS_INTEGER},
    ['B'] = {"unsignedbyte", SIZE_FIXED + 1, TABLE_CLASS_INTEGER},
    ['s'] = {"short", SIZE_FIXED + 2, TABLE_CLASS_INTEGER},
    ['u'] = {"unsignedshort", SIZE_FIXED + 2, TABLE_CLASS_INTEGER},
    ['I'] = {"signedint", SIZE_FIXED + 4, TABLE_CLASS_INTEGER},
    ['i'] = {"unsignedint", SIZE_FIXED + 4, TABLE_CLASS_INTEGER},
    ['l'] = {"long", SIZE_FIXED + 8, TABLE_CLASS_INTEGER},
    ['L'] = {"long", SIZE_FIXED + 8, TABLE_CLASS_INTEGER},
    ['f'] = {"float", SIZE_FIXED + 4, TABLE_CLASS_FLOAT},
    ['d'] = {"double", SIZE_FIXED + 8, TABLE_CLASS_FLOAT},
    ['D'] = {"decimal", SIZE_FIXED + 5, TABLE_CLASS_DECIMAL},
    ['S'] = {"longstr", SIZE_COUNTED, TABLE_CLASS_STRING},
    ['x'] = {"binary", SIZE_COUNTED, TABLE_CLASS_BINARY},
    ['A'] = {"array", SIZE_COUNTED, TABLE_CLASS_ARRAY},
    ['T'] = {"timestamp", SIZE_FIXED + 8, TABLE_CLASS_TIMESTAMP},
    ['F'] = {"table", SIZE_COUNTED, TABLE_CLASS_TABLE},
    ['V'] = {"void", SIZE_FIXED + 0, TABLE_CLASS_VOID},
};

/* A letter that we took in, or chose ourselves. */
static const struct letter *
known_letter(uint8_t type)
{
    assert(letters[type].size != SIZE_UNKNOWN);
    return &letters[type];
}

const char *
table_type_name(uint8_t type)
{
    return known_letter(type)->name;
}

enum table_class
table_value_class(const struct table_value *value)
{
    return (enum table_class)known_letter(value->type)->class;
}

static bool
nests(uint8_t type)
{
    return type == 'A' || type == 'F';
}

/* Reads letter and value. On a letter that we do not know, or a value that is cut short, the reader
 * has failed. */
static struct table_value
read_value(struct byte_reader *reader)
{
    struct table_value value = {.type = byte_reader_u8(reader)};
    uint8_t size = letters[value.type].size;
    if (size == SIZE_COUNTED) {
        value.raw = byte_reader_longstr(reader);
    } else if (size >= SIZE_FIXED) {
        value.raw = byte_reader_take(reader, (size_t)size - SIZE_FIXED);
    } else {
        reader->failed = true;
    }
    return value;
}

/* Validation --------------------------------------------------------------------------------- */

/* One table or array that is being walked. */
struct level {
    struct byte_reader reader;
    bool is_array;
};

enum status
table_validate(struct bytes table, uint32_t fields_max, struct fault *fault)
{
    struct level levels[TABLE_DEPTH_MAX];
    size_t depth = 0;
    uint32_t field_count = 0;

    /* Each turn leaves a level or takes at least one octet. */
    levels[depth++] = (struct level){.reader = byte_reader_make(table), .is_array = false};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        if (byte_reader_left(&level->reader) == 0) {
            depth--;
            continue;
        }
        if (!level->is_array) {
            (void)byte_reader_shortstr(&level->reader);
        }
        struct table_value value = read_value(&level->reader);
        if (level->reader.failed) {
            return fault_connection(fault, REPLY_FRAME_ERROR, "malformed field table");
        }
        if (++field_count > fields_max) {
            return fault_connection(fault, REPLY_FRAME_ERROR,
                                    "field table has more than %" PRIu32 " fields", fields_max);
        }
        if (nests(value.type)) {
            if (depth == TABLE_DEPTH_MAX) {
                return fault_connection(fault, REPLY_FRAME_ERROR,
                                        "field table is nested more than %d deep", TABLE_DEPTH_MAX);
            }
            levels[depth++] = (struct level){byte_reader_make(value.raw), value.type == 'A'};
        }
    }
    return STATUS_OK;
}

/* Reading ------------------------------------------------------------------------------------ */

bool
table_next(struct byte_reader *reader, struct bytes *name_out, struct table_value *value_out)
{
    struct bytes name = byte_reader_shortstr(reader);
    if (!table_array_next(reader, value_out)) {
        return false;
    }
    *name_out = name;
    return true;
}

bool
table_array_next(struct byte_reader *reader, struct table_value *value_out)
{
    struct table_value value = read_value(reader);
    if (reader->failed) {
        return false;
    }
    *value_out = value;
    return true;
}

bool
table_find(struct bytes table, const char *name, struct table_value *value_out)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes other;
    struct table_value value;
    while (table_next(&reader, &other, &value)) {
        if (bytes_equal_text(other, name)) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

int64_t
table_value_integer(const struct table_value *value)
{
    const uint8_t *at = value->raw.data;
    switch (value->type) {
    case 'b':
        return (int8_t)at[0];
    case 'B':
        return at[0];
    case 's':
        return (int16_t)get_u16(at);
    case 'u':
        return get_u16(at);
    case 'I':
        return (int32_t)get_u32(at);
    case 'i':
        return get_u32(at);
    default:
        assert(value->type == 'l' || value->type == 'L' || value->type == 'T');
        return (int64_t)get_u64(at);
    }
}

double
table_value_float(const struct table_value *value)
{
    if (value->type == 'f') {
        uint32_t bits = get_u32(value->raw.data);
        float single;
        memcpy(&single, &bits, sizeof(single));
        return (double)single;
    }
    assert(value->type == 'd');
    uint64_t bits = get_u64(value->raw.data);
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

bool
table_value_boolean(const struct table_value *value)
{
    assert(value->type == 't');
    return value->raw.data[0] != 0;
}

/* Text --------------------------------------------------------------------------------------- */

/* Copies `text`, at most out_size - 1 octets of it, with '?' for each octet that is not UTF-8. */
static void
copy_as_utf8(struct bytes text, char *out, size_t out_size)
{
    size_t used = 0;
    while (text.size > 0) {
        size_t length = bytes_utf8_char(text);
        size_t taken = length == 0 ? 1 : length;
        if (taken > out_size - 1 - used) {
            break;
        }
        if (length == 0) {
            out[used] = '?';
        } else {
            memcpy(out + used, text.data, length);
        }
        used += taken;
        text = bytes_make(text.data + taken, text.size - taken);
    }
    out[used] = '\0';
}

/* The mantissa is signed, as the errata of the specification have it. */
static void
print_decimal(const struct table_value *value, char *out, size_t out_size)
{
    unsigned scale = value->raw.data[0];
    int32_t mantissa = (int32_t)get_u32(value->raw.data + 1);
    snprintf(out, out_size, scale == 0 ? "%" PRId32 : "%" PRId32 "e-%u", mantissa, scale);
}

const char *
table_value_text(const struct table_value *value, char *out, size_t out_size)
{
    assert(out_size > 0);
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
    case TABLE_CLASS_TIMESTAMP:
        snprintf(out, out_size, "%" PRId64, table_value_integer(value));
        break;
    case TABLE_CLASS_FLOAT:
        snprintf(out, out_size, "%g", table_value_float(value));
        break;
    case TABLE_CLASS_BOOLEAN:
        snprintf(out, out_size, "%s", table_value_boolean(value) ? "true" : "false");
        break;
    case TABLE_CLASS_STRING:
    case TABLE_CLASS_BINARY:
        copy_as_utf8(value->raw, out, out_size);
        break;
    case TABLE_CLASS_DECIMAL:
        print_decimal(value, out, out_size);
        break;
    case TABLE_CLASS_ARRAY:
        snprintf(out, out_size, "[...]");
        break;
    case TABLE_CLASS_TABLE:
        snprintf(out, out_size, "{...}");
        break;
    case TABLE_CLASS_VOID:
        snprintf(out, out_size, "undefined");
        break;
    }
    return out;
}

/* Building ----------------------------------------------------------------------------------- */

void
table_put_value(struct buffer *table, struct bytes name, const struct table_value *value)
{
    uint8_t size = known_letter(value->type)->size;
    buffer_put_shortstr(table, name);
    buffer_put_u8(table, value->type);
    if (size == SIZE_COUNTED) {
        buffer_put_longstr(table, value->raw);
    } else {
        assert(value->raw.size == (size_t)size - SIZE_FIXED);
        buffer_put_bytes(table, value->raw);
    }
}

void
table_put_text(struct buffer *table, const char *name, struct bytes value)
{
    table_put_value(table, bytes_of(name), &(struct table_value){.type = 'S', .raw = value});
}

void
table_put_integer(struct buffer *table, const char *name, int64_t value)
{
    uint8_t octets[sizeof(value)];
    put_u64(octets, (uint64_t)value);
    struct table_value field = {.type = 'l', .raw = bytes_make(octets, sizeof(octets))};
    table_put_value(table, bytes_of(name), &field);
}

void
table_put_boolean(struct buffer *table, const char *name, bool value)
{
    uint8_t octet = value;
    struct table_value field = {.type = 't', .raw = bytes_make(&octet, sizeof(octet))};
    table_put_value(table, bytes_of(name), &field);
}

void
table_put_table(struct buffer *table, const char *name, struct bytes body)
{
    table_put_value(table, bytes_of(name), &(struct table_value){.type = 'F', .raw = body});
}

void
table_copy_if(struct buffer *out, struct bytes table,
              bool (*is_wanted)(const void *context, struct bytes name), const void *context)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    const uint8_t *field = reader.next;
    for (; table_next(&reader, &name, &value); field = reader.next) {
        if (is_wanted(context, name)) {
            buffer_put(out, field, (size_t)(reader.next - field));
        }
    }
}

static bool
is_another_name(const void *context, struct bytes name)
{
    return !bytes_equal_text(name, context);
}

void
table_copy_without(struct buffer *out, struct bytes table, const char *name)
{
    table_copy_if(out, table, is_another_name, name);
}

/* Writing -------------------------------------------------------------------------------------- */

size_t
table_begin_counted(struct buffer *out)
{
    size_t size_at = buffer_size(out);
    buffer_put_u32(out, 0);
    return size_at;
}

void
table_end_counted(struct buffer *out, size_t size_at)
{
    if (!out->failed) {
        put_u32(out->data + out->start + size_at,
                (uint32_t)(buffer_size(out) - size_at - sizeof(uint32_t)));
    }
}
