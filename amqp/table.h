/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables (specification, 4.2.5.5, with the type letters that deployed brokers and clients
 * use). A table travels as the octets it came in: it is validated once, in one iterative pass that
 * allocates nothing, and read in place; nothing builds a tree. */
#ifndef BOURSE_AMQP_TABLE_H
#define BOURSE_AMQP_TABLE_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

enum {
    TABLE_DEPTH_MAX = 16,    /* tables and arrays inside one another, the outermost included */
    TABLE_FIELDS_MAX = 1024, /* in method arguments, nested ones and array items included */
    TABLE_HEADER_FIELDS_MAX = 4096, /* in message headers */
};

/* One value as it stands in a table or array. */
struct table_value {
    uint8_t type;     /* the letter: t b B s u I i l L f d D S A T F V x */
    struct bytes raw; /* its octets without letter; for S, x, A and F without the length too */
};

/* Checks the *body* of a table (the octets after its 32-bit length): every name and value lies
 * inside, letters are known, depth and field count are within limits. STATUS_FAULT: 501 at
 * connection scope. Never allocates, never recurses. Everything below takes validated tables. */
MUST_CHECK enum status table_validate(struct bytes table, uint32_t fields_max, struct fault *fault);

/* Walks the fields in their order; start with byte_reader_make(table). False at the end. */
bool table_next(struct byte_reader *reader, struct bytes *name_out, struct table_value *value_out);

/* Walks the items of an array (type A). False at the end. */
bool table_array_next(struct byte_reader *reader, struct table_value *value_out);

/* The first field of that name. False when there is none. */
bool table_find(struct bytes table, const char *name, struct table_value *value_out);

/* What class a value belongs to: the letters b B s u I i l L are all integers, f and d floats. */
enum table_class {
    TABLE_CLASS_INTEGER,
    TABLE_CLASS_FLOAT,
    TABLE_CLASS_BOOLEAN,
    TABLE_CLASS_STRING, /* S */
    TABLE_CLASS_BINARY, /* x */
    TABLE_CLASS_TIMESTAMP,
    TABLE_CLASS_DECIMAL,
    TABLE_CLASS_ARRAY,
    TABLE_CLASS_TABLE,
    TABLE_CLASS_VOID,
};

enum table_class table_value_class(const struct table_value *value);
int64_t table_value_integer(const struct table_value *value); /* TABLE_CLASS_INTEGER, TIMESTAMP */
double table_value_float(const struct table_value *value);    /* TABLE_CLASS_FLOAT */
bool table_value_boolean(const struct table_value *value);    /* TABLE_CLASS_BOOLEAN */

/* Same class and same value: integer width does not matter, integer and float differ; arrays item
 * by item, tables field by field whatever their order, where the first of several fields with one
 * name answers to the first, the second to the second. Iterative; costs what sorting the fields
 * does, and takes 16 octets for each meanwhile where there are many. Without that memory it is
 * bounded by the square of the validated field count. */
bool table_value_equal(const struct table_value *a, const struct table_value *b);

/* Same fields with equal values, in any order (binding arguments). */
bool table_equal(struct bytes a, struct bytes b);

/* The word that RabbitMQ uses for the letter in "inequivalent arg" texts: I signedint, l long,
 * S longstr, t bool, d double, f float, A array, F table, T timestamp, V void, x binary, b byte,
 * B unsignedbyte, s short, u unsignedshort, i unsignedint, L long, D decimal. */
const char *table_type_name(uint8_t type);

/* A value as text for error messages and logs ("5", "abc", "true", "undefined" for V, "[...]" for
 * an array, "{...}" for a table); cut to fit, NUL-terminated, and valid UTF-8: octets that are not
 * become '?'. Returns `out`. */
const char *table_value_text(const struct table_value *value, char *out, size_t out_size);

/* Builders: append one field to a table body. Names have at most 255 octets. Integers are written
 * as `l`, as brokers do. */
void table_put_text(struct buffer *table, const char *name, struct bytes value); /* S */
void table_put_integer(struct buffer *table, const char *name, int64_t value);   /* l */
void table_put_boolean(struct buffer *table, const char *name, bool value);      /* t */
void table_put_table(struct buffer *table, const char *name, struct bytes body); /* F */
void table_put_value(struct buffer *table, struct bytes name, const struct table_value *value);

/* Appends the fields of another table as they are, as far as they are wanted. */
void table_copy_if(struct buffer *out, struct bytes table,
                   bool (*is_wanted)(const void *context, struct bytes name), const void *context);

/* Appends all fields of `table` but the one called `name`. */
void table_copy_without(struct buffer *out, struct bytes table, const char *name);

/* A table or array whose length is known behind what it counts: where the length is begins it, and
 * ends it when all of it is in the buffer. */
size_t table_begin_counted(struct buffer *out);
void table_end_counted(struct buffer *out, size_t size_at);

#endif
