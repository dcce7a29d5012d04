/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that came in: jansson's tree, taken only when it is strictly valid, at most 32 deep and
 * without a key that stands twice in an object. Behind it small readers that say in one sentence
 * what is wrong with which field. */
#ifndef BOURSE_MANAGEMENT_JSON_JSON_READER_H
#define BOURSE_MANAGEMENT_JSON_JSON_READER_H

#include "base/buffer.h"
#include "base/status.h"

#include <jansson.h>

enum { JSON_DEPTH_MAX = 32, JSON_WHY_SIZE = 256 };

/* The tree, which the caller releases with json_decref. NULL: `why` says what is wrong where:
 * "line 3, column 14: duplicate object key near '\"name\"'". */
json_t *json_read(struct bytes text, char why[static JSON_WHY_SIZE]);

/* The same where texts, but no names of members, may have an octet 0, as names that clients chose
 * may; whoever keeps a text as a C string looks for it. */
json_t *json_read_zeros(struct bytes text, char why[static JSON_WHY_SIZE]);

/* The member of an object: false with `why` when it is there and of another type; absent or null
 * leaves `*out` as it is. Texts are views into the tree. */
bool json_read_text(const json_t *object, const char *name, struct bytes *out,
                    char why[static JSON_WHY_SIZE]);
bool json_read_bool(const json_t *object, const char *name, bool *out,
                    char why[static JSON_WHY_SIZE]); /* "true" and "false" as text, too */
bool json_read_integer(const json_t *object, const char *name, int64_t min, int64_t max,
                       int64_t *out, char why[static JSON_WHY_SIZE]);

/* A field table out of an object: integers as l, reals as d, true and false as t, null as V, texts
 * as S, arrays and objects as A and F. False with `why` when something does not go into a table. */
bool json_read_table(const json_t *object, struct buffer *out, char why[static JSON_WHY_SIZE]);

#endif
