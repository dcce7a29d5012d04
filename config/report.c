/* SPDX-License-Identifier: Apache-2.0 */
/* The report: a growing array in the config's arena, sorted once at the end. */
#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { REPORT_TEXT_SIZE = 512 };

static void
report_grow(struct config *config)
{
    struct config_report *report = &config->report;
    size_t capacity = report->capacity == 0 ? 16 : report->capacity * 2;
    struct config_diagnostic *items = arena_alloc(&config->arena, capacity * sizeof(*items));
    if (report->count > 0) {
        memcpy(items, report->items, report->count * sizeof(*items));
    }
    report->items = items;
    report->capacity = capacity;
}

/* Names come from the file: nothing in them may move the cursor of a terminal or break a line. */
static void
replace_controls(char *text)
{
    for (uint8_t *at = (uint8_t *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7F) {
            *at = '?';
        } else if (at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) {
            at[0] = '?';
            at[1] = '?';
        }
    }
}

static void report_add(struct config *config, enum config_severity severity,
                       struct config_mark mark, const char *format, va_list arguments)
    PRINTF_LIKE(4, 0);

static void
report_add(struct config *config, enum config_severity severity, struct config_mark mark,
           const char *format, va_list arguments)
{
    struct config_report *report = &config->report;
    if (severity == CONFIG_ERROR) {
        report->error_count++;
    }
    if (report->count >= REPORT_ITEMS_MAX) {
        report->left_out++;
        return;
    }
    if (report->count == report->capacity) {
        report_grow(config);
    }
    char text[REPORT_TEXT_SIZE];
    vsnprintf(text, sizeof(text), format, arguments);
    text[bytes_utf8_prefix(bytes_of(text), sizeof(text) - 1)] = '\0';
    replace_controls(text);
    report->items[report->count++] = (struct config_diagnostic){
        .severity = severity,
        .mark = mark,
        .text = arena_strdup(&config->arena, text),
    };
}

void
report_error(struct config *config, struct config_mark mark, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_add(config, CONFIG_ERROR, mark, format, arguments);
    va_end(arguments);
}

void
report_warning(struct config *config, struct config_mark mark, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_add(config, CONFIG_WARNING, mark, format, arguments);
    va_end(arguments);
}

/* Order -------------------------------------------------------------------------------------- */

struct path_order {
    const char *const *paths;
    size_t count;
};

static size_t
path_position(const struct path_order *order, const char *file)
{
    size_t position = 0;
    while (position < order->count && strcmp(order->paths[position], file) != 0) {
        position++;
    }
    return position;
}

static int
compare_sizes(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int
diagnostic_compare(const void *left, const void *right, void *context)
{
    const struct config_diagnostic *a = left;
    const struct config_diagnostic *b = right;
    const struct path_order *order = context;
    int result = 0;
    if (a->mark.file != b->mark.file) {
        result =
            compare_sizes(path_position(order, a->mark.file), path_position(order, b->mark.file));
    }
    if (result == 0) {
        result = compare_sizes(a->mark.line, b->mark.line);
    }
    if (result == 0) {
        result = compare_sizes(a->mark.column, b->mark.column);
    }
    if (result == 0) {
        result = (int)a->severity - (int)b->severity;
    }
    return result == 0 ? strcmp(a->text, b->text) : result;
}

static void
report_remove_repetitions(struct config_report *report, struct path_order *order)
{
    size_t kept = 0;
    for (size_t i = 0; i < report->count; i++) {
        bool repeated =
            kept > 0 && diagnostic_compare(&report->items[kept - 1], &report->items[i], order) == 0;
        if (!repeated) {
            report->items[kept++] = report->items[i];
        } else if (report->items[i].severity == CONFIG_ERROR) {
            report->error_count--;
        }
    }
    report->count = kept;
}

void
report_sort(struct config *config, const char *const *paths, size_t path_count)
{
    struct config_report *report = &config->report;
    struct path_order order = {.paths = paths, .count = path_count};
    if (report->count == 0) {
        return;
    }
    qsort_r(report->items, report->count, sizeof(*report->items), diagnostic_compare, &order);
    report_remove_repetitions(report, &order);
}

const char *
config_diagnostic_text(const struct config_diagnostic *diagnostic, char *out, size_t out_size)
{
    const struct config_mark *mark = &diagnostic->mark;
    const char *severity = diagnostic->severity == CONFIG_ERROR ? "error" : "warning";
    if (mark->line == 0) {
        snprintf(out, out_size, "%s: %s: %s", mark->file, severity, diagnostic->text);
    } else {
        snprintf(out, out_size, "%s:%u:%u: %s: %s", mark->file, mark->line, mark->column, severity,
                 diagnostic->text);
    }
    return out;
}

/* Suggestions -------------------------------------------------------------------------------- */

struct suggestion
suggestion_for(struct bytes word)
{
    size_t forgiven = 1 + word.size / 4;
    return (struct suggestion){.word = word, .distance = (forgiven > 3 ? 3 : forgiven) + 1};
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The optimal string alignment distance, row by row. Both words are at most SUGGESTION_WORD_MAX. */
static size_t
edit_distance(struct bytes a, struct bytes b)
{
    size_t rows[3][SUGGESTION_WORD_MAX + 1];
    size_t *before = rows[0], *previous = rows[1], *current = rows[2];
    for (size_t j = 0; j <= b.size; j++) {
        previous[j] = j;
        before[j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t change = a.data[i - 1] == b.data[j - 1] ? 0 : 1;
            size_t best = smaller(previous[j] + 1, current[j - 1] + 1);
            best = smaller(best, previous[j - 1] + change);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] &&
                a.data[i - 2] == b.data[j - 1]) {
                best = smaller(best, before[j - 2] + 1);
            }
            current[j] = best;
        }
        size_t *oldest = before;
        before = previous;
        previous = current;
        current = oldest;
    }
    return previous[b.size];
}

void
suggestion_offer(struct suggestion *suggestion, struct bytes candidate)
{
    if (candidate.size == 0 || candidate.size > SUGGESTION_WORD_MAX ||
        suggestion->word.size > SUGGESTION_WORD_MAX) {
        return;
    }
    size_t distance = edit_distance(suggestion->word, candidate);
    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}

const char *
suggestion_text(const struct suggestion *suggestion, char out[static SUGGESTION_TEXT_SIZE])
{
    out[0] = '\0';
    if (suggestion->best.size > 0) {
        snprintf(out, SUGGESTION_TEXT_SIZE, " (did you mean \"%.*s\"?)",
                 BYTES_FORMAT(suggestion->best));
    }
    return out;
}

const char *
suggestion_among(struct bytes word, const char *const *words, char out[static SUGGESTION_TEXT_SIZE])
{
    struct suggestion suggestion = suggestion_for(word);
    for (; *words != NULL; words++) {
        suggestion_offer(&suggestion, bytes_of(*words));
    }
    return suggestion_text(&suggestion, out);
}
