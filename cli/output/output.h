/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and objects of the broker's JSON on standard output, as --output says. */
#ifndef BOURSE_CLI_OUTPUT_OUTPUT_H
#define BOURSE_CLI_OUTPUT_OUTPUT_H

#include <jansson.h>

#include "cli/command/command.h"
#include "cli/text/cell.h"

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_CSV, OUTPUT_NAME };

struct output {
    const struct command_io *io;
    enum output_format format;
    bool is_terminal;
    bool has_colors; /* a terminal, and neither --no-color nor NO_COLOR */
    bool is_quiet;   /* no headings */
};

struct output output_of(const struct command_line *line, const struct command_io *io);

/* One row for each object of the list `rows`. The first column is the name. Returns COMMAND_OK, or
 * what was reported. */
int output_rows(const struct output *output, const struct column *columns, size_t column_count,
                const json_t *rows);

/* One object, a line for each column. */
int output_object(const struct output *output, const struct column *columns, size_t column_count,
                  const json_t *object);

/* JSON, indented, with control characters escaped and a newline behind it. */
void output_json(const struct output *output, const json_t *value);

/* Says that something is done, unless --quiet was given. */
void output_done(const struct output *output, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What a command has done: as such a line, or, where --output asks for JSON, CSV or names, `facts`,
 * an object whose first member is the name. `facts` is taken. Returns COMMAND_OK, or what was
 * reported. */
int output_result(const struct output *output, json_t *facts, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether it is read by people: a table, or more of it. */
bool output_is_text(const struct output *output);

#endif
