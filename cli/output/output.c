/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output/output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/output/table.h"

enum { FACTS_MAX = 8 };

static enum output_format
format_of(const char *word)
{
    static const char *const names[] = {
        [OUTPUT_TABLE] = "table", [OUTPUT_WIDE] = "wide", [OUTPUT_JSON] = "json",
        [OUTPUT_CSV] = "csv",     [OUTPUT_NAME] = "name",
    };
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], word) == 0) {
            return (enum output_format)i;
        }
    }
    return OUTPUT_TABLE;
}

struct output
output_of(const struct command_line *line, const struct command_io *io)
{
    const char *no_color = getenv("NO_COLOR");
    int fd = fileno(io->out); /* -1: memory */
    struct output output = {
        .io = io,
        .format = format_of(line->shared[SHARED_OUTPUT]),
        .is_terminal = fd >= 0 && isatty(fd) == 1,
        .is_quiet = line->shared[SHARED_QUIET] != NULL,
    };
    output.has_colors = output.is_terminal && line->shared[SHARED_NO_COLOR] == NULL &&
                        (no_color == NULL || no_color[0] == '\0');
    return output;
}

void
output_json(const struct output *output, const json_t *value)
{
    /* DEL and C1 are not control characters for JSON; as ASCII nothing reaches a terminal. */
    json_dumpf(value, output->io->out,
               JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
    fputc('\n', output->io->out);
}

bool
output_is_text(const struct output *output)
{
    return output->format == OUTPUT_TABLE || output->format == OUTPUT_WIDE;
}

void
output_done(const struct output *output, const char *format, ...)
{
    va_list arguments;
    if (output->is_quiet) {
        return;
    }
    va_start(arguments, format);
    vfprintf(output->io->out, format, arguments);
    va_end(arguments);
    fputc('\n', output->io->out);
}

/* CSV ---------------------------------------------------------------------------------------- */

/* RFC 4180: a field with a comma or a quote stands in quotes. Line ends are escaped before. */
static void
put_field(FILE *out, struct bytes text)
{
    if (memchr(text.data, ',', text.size) == NULL && memchr(text.data, '"', text.size) == NULL) {
        fwrite(text.data, 1, text.size, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.size; i++) {
        fputs(text.data[i] == '"' ? "\"" : "", out);
        fputc(text.data[i], out);
    }
    fputc('"', out);
}

static void
print_value(FILE *out, const json_t *value, bool is_field)
{
    struct buffer text;
    buffer_init(&text);
    cell_put_raw(&text, value);
    struct bytes octets = buffer_bytes(&text);
    octets = octets.data == NULL ? bytes_of("") : octets;
    if (is_field) {
        put_field(out, octets);
    } else {
        fwrite(octets.data, 1, octets.size, out);
    }
    buffer_fini(&text);
}

static void
print_csv(const struct output *output, const struct column *columns, size_t count,
          const json_t *rows)
{
    FILE *out = output->io->out;
    for (size_t i = 0; i < count && !output->is_quiet; i++) {
        fprintf(out, "%s%s", i == 0 ? "" : ",", columns[i].path);
    }
    fputs(output->is_quiet ? "" : "\r\n", out);
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (size_t i = 0; i < count; i++) {
            fputs(i == 0 ? "" : ",", out);
            print_value(out, cell_value(json_array_get(rows, row), columns[i].path), true);
        }
        fputs("\r\n", out);
    }
}

/* Rows --------------------------------------------------------------------------------------- */

static void
print_names(const struct output *output, const struct column *name, const json_t *rows)
{
    for (size_t row = 0; row < json_array_size(rows); row++) {
        print_value(output->io->out, cell_value(json_array_get(rows, row), name->path), false);
        fputc('\n', output->io->out);
    }
}

int
output_rows(const struct output *output, const struct column *columns, size_t column_count,
            const json_t *rows)
{
    switch (output->format) {
    case OUTPUT_JSON:
        output_json(output, rows);
        return COMMAND_OK;
    case OUTPUT_CSV:
        print_csv(output, columns, column_count, rows);
        return COMMAND_OK;
    case OUTPUT_NAME:
        print_names(output, &columns[0], rows);
        return COMMAND_OK;
    case OUTPUT_TABLE:
    case OUTPUT_WIDE:
        break;
    }
    if (json_array_size(rows) == 0 && output->is_terminal && !output->is_quiet) {
        fputs("none\n", output->io->err); /* whoever looks at it wants to see that it is done */
    }
    return table_print(output, columns, column_count, rows);
}

/* One object --------------------------------------------------------------------------------- */

static void
print_lines(const struct output *output, const struct column *columns, size_t count,
            const json_t *object)
{
    int width = 0;
    for (size_t i = 0; i < count; i++) {
        int length = (int)strlen(columns[i].title);
        width = length > width ? length : width;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *value = cell_value(object, columns[i].path);
        struct buffer text;
        if (columns[i].is_wide && (output->format != OUTPUT_WIDE || value == NULL)) {
            continue;
        }
        buffer_init(&text);
        cell_put(&text, value, columns[i].kind);
        fprintf(output->io->out, "%-*s  %.*s\n", width, columns[i].title,
                BYTES_FORMAT(buffer_bytes(&text)));
        buffer_fini(&text);
    }
}

int
output_object(const struct output *output, const struct column *columns, size_t column_count,
              const json_t *object)
{
    if (output_is_text(output)) {
        print_lines(output, columns, column_count, object);
        return COMMAND_OK;
    }
    if (output->format == OUTPUT_JSON) {
        output_json(output, object);
        return COMMAND_OK;
    }
    json_t *rows = json_array();
    json_array_append(rows, (json_t *)(uintptr_t)object);
    int result = output_rows(output, columns, column_count, rows);
    json_decref(rows);
    return result;
}

/* What has been done -------------------------------------------------------------------------- */

/* A column for each member, by its name. */
static int
print_facts(const struct output *output, json_t *facts)
{
    struct column columns[FACTS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(facts, name, value)
    {
        assert(count < FACTS_MAX);
        columns[count++] = (struct column){name, name, CELL_TEXT, false};
    }
    return output_object(output, columns, count, facts);
}

int
output_result(const struct output *output, json_t *facts, const char *format, ...)
{
    int result = COMMAND_OK;
    if (output_is_text(output)) {
        va_list arguments;
        char *text = NULL;
        va_start(arguments, format);
        bool is_made = vasprintf(&text, format, arguments) >= 0;
        va_end(arguments);
        output_done(output, "%s", is_made ? text : "done");
        free(is_made ? text : NULL);
    } else {
        result = print_facts(output, facts);
    }
    json_decref(facts);
    return result;
}
