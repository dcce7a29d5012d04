/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output/table.h"

#include <libsmartcols/libsmartcols.h>

#include <locale.h>
#include <string.h>

#include "cli/command/dynamic.h"

/* The functions of the library that we use, under their own names. */
struct smartcols {
    __typeof__(scols_new_table) *new_table;
    __typeof__(scols_unref_table) *unref_table;
    __typeof__(scols_table_new_column) *table_new_column;
    __typeof__(scols_table_new_line) *table_new_line;
    __typeof__(scols_line_set_data) *line_set_data;
    __typeof__(scols_table_set_stream) *table_set_stream;
    __typeof__(scols_table_set_termforce) *table_set_termforce;
    __typeof__(scols_table_enable_noheadings) *table_enable_noheadings;
    __typeof__(scols_table_enable_colors) *table_enable_colors;
    __typeof__(scols_table_enable_noencoding) *table_enable_noencoding;
    __typeof__(scols_column_get_header) *column_get_header;
    __typeof__(scols_cell_set_color) *cell_set_color;
    __typeof__(scols_print_table) *print_table;
};

#define FUNCTION(member)                                                                           \
    {                                                                                              \
        "scols_" #member, offsetof(struct smartcols, member)                                       \
    }

static const struct dynamic_function functions[] = {
    FUNCTION(new_table),           FUNCTION(unref_table),
    FUNCTION(table_new_column),    FUNCTION(table_new_line),
    FUNCTION(line_set_data),       FUNCTION(table_set_stream),
    FUNCTION(table_set_termforce), FUNCTION(table_enable_noheadings),
    FUNCTION(table_enable_colors), FUNCTION(table_enable_noencoding),
    FUNCTION(column_get_header),   FUNCTION(cell_set_color),
    FUNCTION(print_table),         {NULL, 0},
};

struct table {
    struct smartcols library;
    struct libscols_table *scols;
    const struct output *output;
};

static bool
is_shown(const struct table *table, const struct column *column)
{
    return !column->is_wide || table->output->format == OUTPUT_WIDE;
}

static void
set_up(struct table *table)
{
    const struct output *output = table->output;
    table->library.table_set_stream(table->scols, output->io->out);
    table->library.table_enable_noheadings(table->scols, output->is_quiet ? 1 : 0);
    table->library.table_enable_colors(table->scols, output->has_colors ? 1 : 0);
    /* cell_put has escaped what there is to escape, in the way that CSV and names have it too. */
    table->library.table_enable_noencoding(table->scols, 1);
    if (!output->is_terminal) {
        /* A pipe has no width: nothing is cut. */
        table->library.table_set_termforce(table->scols, SCOLS_TERMFORCE_NEVER);
    }
}

/* Where a terminal has no room, texts are cut, but for the name: one goes on working by it. */
static int
flags_of(const struct table *table, const struct column *column, bool is_name)
{
    bool is_text =
        column->kind == CELL_TEXT || column->kind == CELL_JSON || column->kind == CELL_WORDS;
    if (!is_text) {
        return SCOLS_FL_RIGHT;
    }
    return table->output->is_terminal && !is_name ? SCOLS_FL_TRUNC : 0;
}

static bool
add_column(struct table *table, const struct column *column, bool is_name)
{
    struct libscols_column *scols = table->library.table_new_column(
        table->scols, column->title, 0, flags_of(table, column, is_name));
    if (scols == NULL) {
        return false;
    }
    if (table->output->has_colors) {
        table->library.cell_set_color(table->library.column_get_header(scols), "bold");
    }
    return true;
}

static bool
add_row(struct table *table, const struct column *columns, size_t count, const json_t *row)
{
    struct libscols_line *line = table->library.table_new_line(table->scols, NULL);
    size_t at = 0;
    bool is_added = line != NULL;
    for (size_t i = 0; i < count && is_added; i++) {
        struct buffer text;
        if (!is_shown(table, &columns[i])) {
            continue;
        }
        buffer_init(&text);
        cell_put(&text, cell_value(row, columns[i].path), columns[i].kind);
        buffer_put_u8(&text, '\0');
        is_added =
            table->library.line_set_data(line, at++, (const char *)buffer_bytes(&text).data) == 0;
        buffer_fini(&text);
    }
    return is_added;
}

static bool
fill(struct table *table, const struct column *columns, size_t count, const json_t *rows)
{
    for (size_t i = 0; i < count; i++) {
        if (is_shown(table, &columns[i]) && !add_column(table, &columns[i], i == 0)) {
            return false;
        }
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (!add_row(table, columns, count, json_array_get(rows, i))) {
            return false;
        }
    }
    return true;
}

static bool
lay_out(struct table *table, const struct column *columns, size_t count, const json_t *rows)
{
    table->scols = table->library.new_table();
    if (table->scols == NULL) {
        return false;
    }
    set_up(table);
    bool is_printed =
        fill(table, columns, count, rows) && table->library.print_table(table->scols) == 0;
    table->library.unref_table(table->scols);
    return is_printed;
}

/* Cells are UTF-8 whatever the environment says. The library measures them by the locale, and in
 * one that does not know their letters it never ends. */
static bool
lay_out_utf8(struct table *table, const struct column *columns, size_t count, const json_t *rows)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 == (locale_t)0) {
        return false;
    }
    locale_t before = uselocale(utf8);
    bool is_printed = lay_out(table, columns, count, rows);
    uselocale(before);
    freelocale(utf8);
    return is_printed;
}

int
table_print(const struct output *output, const struct column *columns, size_t column_count,
            const json_t *rows)
{
    struct table table = {.output = output};
    if (!dynamic_open("libsmartcols.so.1", functions, &table.library)) {
        return command_error(output->io, COMMAND_FAILED,
                             "libsmartcols is not installed, which lays out tables; on Debian: "
                             "apt-get install libsmartcols1, or use -o json, csv or name");
    }
    if (!lay_out_utf8(&table, columns, column_count, rows)) {
        return command_error(
            output->io, COMMAND_FAILED,
            "the table could not be printed: is there memory and room left, and a locale "
            "C.UTF-8? -o json, csv and name need none");
    }
    return COMMAND_OK;
}
