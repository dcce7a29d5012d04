/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the broker's JSON as text in a column. Names may hold whatever their makers liked, and
 * reach a terminal here: what would steer it is shown as what it is. */
#ifndef BOURSE_CLI_TEXT_CELL_H
#define BOURSE_CLI_TEXT_CELL_H

#include <jansson.h>

#include <stdbool.h>
#include <stdio.h>

#include "base/buffer.h"

enum cell_kind {
    CELL_TEXT,   /* text, number or truth as it is */
    CELL_NUMBER, /* the same, at the right edge */
    CELL_SIZE,   /* octets: "1.5 GiB" */
    CELL_RATE,   /* a number a second: "12.5/s" */
    CELL_AGE,    /* milliseconds: "3m 20s" */
    CELL_WHEN,   /* milliseconds since 1970: "2026-01-31T08:00:00Z" */
    CELL_JSON,   /* an object or a list, on one line; an empty one is nothing */
    CELL_WORDS,  /* a list of words: "a, b" */
};

struct column {
    const char *title;
    const char *path; /* members on the way, between dots: "message_stats.publish" */
    enum cell_kind kind;
    bool is_wide; /* only with -o wide and csv */
};

/* The value that a path leads to; NULL: there is none. */
const json_t *cell_value(const json_t *object, const char *path);

/* Puts the value for people. A value that is not there is "-". */
void cell_put(struct buffer *out, const json_t *value, enum cell_kind kind);

/* Puts the value for a program: numbers as they are; one that is not there is nothing. */
void cell_put_raw(struct buffer *out, const json_t *value);

/* Puts text in which control characters, and those that turn the direction of writing, are written
 * as \n, \t, \xNN or \u{NNNN}. */
void cell_put_escaped(struct buffer *out, struct bytes text);

/* Prints text of several lines in the same way; the ends of its lines stay. */
void cell_print_lines(FILE *out, const char *text);

#endif
