/* SPDX-License-Identifier: Apache-2.0 */
/* JSON, written as it comes: no tree, one growing buffer. Commas are the writer's business. Text
 * that is not UTF-8 is written with U+FFFD where it is not, so that what goes out is always valid;
 * control characters are escaped, those that JSON lets stand as well.
 * A lack of memory shows in json->out.failed, once, at the end. */
#ifndef BOURSE_MANAGEMENT_JSON_JSON_WRITER_H
#define BOURSE_MANAGEMENT_JSON_JSON_WRITER_H

#include "base/buffer.h"

struct json_writer {
    struct buffer out; /* owned */
    bool needs_comma;
    uint32_t depth;
};

void json_init(struct json_writer *json);
void json_fini(struct json_writer *json);

/* Values: as an element of an array, behind json_key, or alone. */
void json_begin_object(struct json_writer *json);
void json_end_object(struct json_writer *json);
void json_begin_array(struct json_writer *json);
void json_end_array(struct json_writer *json);
void json_text(struct json_writer *json, struct bytes text);
void json_number(struct json_writer *json, int64_t value);
void json_unsigned(struct json_writer *json, uint64_t value);
void json_fraction(struct json_writer *json,
                   double value); /* two decimals; what is not finite is 0 */
void json_bool(struct json_writer *json, bool value);
void json_nil(struct json_writer *json);
void json_raw(struct json_writer *json, struct bytes text); /* that is JSON already */

void json_key(struct json_writer *json, const char *name);
void json_raw_key(struct json_writer *json, struct bytes name); /* escaped already; no quotes */

/* Members of an object. */
void json_put_text(struct json_writer *json, const char *name, struct bytes text);
void json_put_string(struct json_writer *json, const char *name, const char *text);
void json_put_number(struct json_writer *json, const char *name, int64_t value);
void json_put_unsigned(struct json_writer *json, const char *name, uint64_t value);
void json_put_real(struct json_writer *json, const char *name, double value);
void json_put_bool(struct json_writer *json, const char *name, bool value);
void json_put_null(struct json_writer *json, const char *name);

/* The words of a text, as an array; commas and blanks stand between them. */
void json_put_words(struct json_writer *json, const char *name, struct bytes words);

/* A field table as RabbitMQ's API shows it: an object; times as seconds, octets as text. Of fields
 * whose names are one in JSON only the first is written: it is the one that counts in a table, and
 * there are readers (ours is one) that take no object with a name twice. */
void json_table(struct json_writer *json, struct bytes table);

#endif
