/* SPDX-License-Identifier: Apache-2.0 */
/* Where the reading of definitions stands, and how the members of a row are read: each says what is
 * wrong with which row in one sentence, and returns false then. Texts that are kept are the arena's
 * of the definitions; all others are the row's. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READER_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_READER_H

#include <jansson.h>

#include "base/map.h"
#include "management/definitions/definitions_read.h"

struct definitions_reader {
    struct definitions *definitions;
    struct bytes vhost;  /* of rows that do not say theirs */
    bool is_of_one;      /* of all rows, whatever they say */
    bool may_have_zeros; /* the section's texts, as names and keys that clients chose */
    const char *section; /* where it is, for messages */
    size_t row;
    char *why;
    struct map places; /* in its list, of what is there once under its names; the arena's */
};

/* Says what is wrong with the row. Always false. */
bool reader_fail(struct definitions_reader *reader, const char *what);

/* Copies; the second ends with a NUL. */
struct bytes reader_keep(struct definitions_reader *reader, struct bytes text);
const char *reader_keep_text(struct definitions_reader *reader, struct bytes text);

/* Where the row of these names belongs in its list of `count` rows: in the place of an earlier one,
 * which it replaces as if one had been imported after the other, or at the end. */
size_t reader_place(struct definitions_reader *reader, size_t count, const char *kind,
                    const struct bytes *names, size_t name_count);

/* That place; a macro because the lists have different types. */
#define reader_row_at(reader, list, place)                                                         \
    ((place) == (list)->count ? definitions_add((reader)->definitions, (list))                     \
                              : &(list)->items[place])

/* A text that may be missing, and one that must be there. What is missing leaves `out` as it is. */
bool reader_text(struct definitions_reader *reader, const json_t *row, const char *name,
                 struct bytes *out);
bool reader_needed_text(struct definitions_reader *reader, const json_t *row, const char *name,
                        struct bytes *out);
/* Rights and the like are C strings, and a name that a client did not choose has no octet 0. */
bool reader_has_no_zero(struct definitions_reader *reader, const char *name, struct bytes text);
bool reader_bool(struct definitions_reader *reader, const json_t *row, const char *name, bool *out);
bool reader_integer(struct definitions_reader *reader, const json_t *row, const char *name,
                    int64_t min, int64_t max, int64_t *out);

/* The vhost of a row, which comes into being by being named. */
bool reader_vhost(struct definitions_reader *reader, const json_t *row, struct bytes *out);

/* A table in the wire's form; empty when it is missing. */
bool reader_table(struct definitions_reader *reader, const json_t *row, const char *name,
                  struct bytes *out);

/* Limits of a user or vhost: of connections, and of what `second` names. */
bool reader_limits(struct definitions_reader *reader, const json_t *limits, const char *second,
                   int64_t *connections, int64_t *others);

#endif
