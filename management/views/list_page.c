/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/list_page.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "broker/names/expression.h"

enum { MATCH_MS_MAX = 500 };

/* What the query asks for. */
struct list_request {
    size_t page; /* 0: all of it */
    size_t page_size;
    const char *name;
    bool is_expression;
    const char *columns; /* NULL: all */
    const struct list_column *sort;
    bool is_reverse;
};

/* Reading the query -------------------------------------------------------------------------- */

/* A whole number from 1 to `max`; false: it was answered. */
static bool
read_number(struct call *call, const char *name, size_t max, size_t *out)
{
    enum { DECIMAL = 10 };
    const char *text = call_parameter(call, name);
    if (text == NULL) {
        return true;
    }
    char *end;
    unsigned long value = strtoul(text, &end, DECIMAL);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || value < 1 || value > max) {
        call_fail(call, 400, "\"%s\" takes a number from 1 to %zu, not \"%.64s\"", name, max, text);
        return false;
    }
    *out = value;
    return true;
}

/* An unknown column leaves the order as it is, as in RabbitMQ. */
static const struct list_column *
find_column(const struct list_kind *kind, const char *name)
{
    for (size_t i = 0; name != NULL && i < kind->column_count; i++) {
        if (strcmp(kind->columns[i].name, name) == 0) {
            return &kind->columns[i];
        }
    }
    return NULL;
}

/* Each is looked at for each member of each row. False: it was answered. */
static bool
check_columns(struct call *call, const char *columns)
{
    size_t count = 1;
    for (; columns != NULL && *columns != '\0'; columns++) {
        count += *columns == ',' ? 1 : 0;
    }
    if (count > LIST_COLUMNS_MAX) {
        call_fail(call, 400, "\"columns\" names more than %d", LIST_COLUMNS_MAX);
    }
    return count <= LIST_COLUMNS_MAX;
}

static bool
read_request(struct call *call, const struct list_kind *kind, struct list_request *request)
{
    enum { PAGE_MAX = 1000000 };
    *request = (struct list_request){
        .page_size = PAGE_SIZE_DEFAULT,
        .name = call_parameter(call, "name"),
        .is_expression = call_flag(call, "use_regex"),
        .columns = call_parameter(call, "columns"),
        .sort = find_column(kind, call_parameter(call, "sort")),
        .is_reverse = call_flag(call, "sort_reverse"),
    };
    return read_number(call, "page", PAGE_MAX, &request->page) &&
           read_number(call, "page_size", PAGE_SIZE_MAX, &request->page_size) &&
           check_columns(call, request->columns);
}

/* Filtering ---------------------------------------------------------------------------------- */

static bool
contains(struct bytes text, const char *part)
{
    return part[0] == '\0' ||
           (text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL);
}

/* Whether the name has the part, which is in small letters, somewhere and in whichever letters. */
static bool
has_part(struct bytes name, const char *part)
{
    uint8_t *lower = xalloc(name.size + 1);
    for (size_t i = 0; i < name.size; i++) {
        lower[i] = (uint8_t)tolower(name.data[i]);
    }
    bool found = contains(bytes_make(lower, name.size), part);
    free(lower);
    return found;
}

/* Takes no case into account, as RabbitMQ's filter. */
static size_t
filter_by_part(const struct list_kind *kind, const char *part, const void **rows, size_t count)
{
    size_t kept = 0;
    char *wanted = xstrdup(part);
    for (char *at = wanted; *at != '\0'; at++) {
        *at = (char)tolower((unsigned char)*at);
    }
    for (size_t i = 0; i < count; i++) {
        if (has_part(kind->name(rows[i]), wanted) ||
            (kind->other_name != NULL && has_part(kind->other_name(rows[i]), wanted))) {
            rows[kept++] = rows[i];
        }
    }
    free(wanted);
    return kept;
}

static uint64_t
now_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).monotonic_ms;
}

/* SIZE_MAX: the expression ran into a limit, or all of it took too long: names that are each just
 * under the limit would keep everybody else waiting. */
static size_t
keep_matches(const struct list_kind *kind, const struct expression *expression,
             const struct expression_runner *runner, const void **rows, size_t count)
{
    enum { LOOK_EVERY = 64 };
    size_t kept = 0;
    uint64_t end_ms = now_ms() + MATCH_MS_MAX;
    for (size_t i = 0; i < count; i++) {
        if (i % LOOK_EVERY == 0 && now_ms() > end_ms) {
            return SIZE_MAX;
        }
        switch (expression_match(expression, runner, kind->name(rows[i]))) {
        case EXPRESSION_MATCHES:
            rows[kept++] = rows[i];
            break;
        case EXPRESSION_GAVE_UP:
            return SIZE_MAX;
        case EXPRESSION_DIFFERS:
        case EXPRESSION_DIFFERS_AT_ONCE:
            break;
        }
    }
    return kept;
}

/* False: it was answered. */
static bool
filter_by_expression(struct call *call, const struct list_kind *kind, const char *pattern,
                     const void **rows, size_t *count)
{
    enum { PATTERN_MAX = 256 };
    struct expression expression;
    struct expression_error error;
    struct expression_runner runner = {.context = NULL};
    char caseless[PATTERN_MAX + sizeof("(?i)")];
    if (strlen(pattern) > PATTERN_MAX) {
        call_fail(call, 400, "\"name\" is longer than %d octets", PATTERN_MAX);
        return false;
    }
    (void)snprintf(caseless, sizeof(caseless), "(?i)%s", pattern);
    if (!expression_compile(&expression, bytes_of(caseless), &error)) {
        size_t at = error.offset >= 4 ? error.offset - 4 : 0;
        call_fail(call, 400, "\"name\" is no regular expression: %s at octet %zu", error.reason,
                  at);
        return false;
    }
    size_t kept = SIZE_MAX;
    if (expression_runner_init(&runner) == STATUS_OK) {
        kept = keep_matches(kind, &expression, &runner, rows, *count);
    }
    expression_runner_fini(&runner);
    expression_fini(&expression);
    if (kept == SIZE_MAX) {
        call_fail(call, 400, "the regular expression in \"name\" takes too long");
        return false;
    }
    *count = kept;
    return true;
}

static bool
filter(struct call *call, const struct list_kind *kind, const struct list_request *request,
       const void **rows, size_t *count)
{
    if (request->name == NULL || request->name[0] == '\0') {
        return true;
    }
    if (request->is_expression) {
        return filter_by_expression(call, kind, request->name, rows, count);
    }
    *count = filter_by_part(kind, request->name, rows, *count);
    return true;
}

/* Sorting ------------------------------------------------------------------------------------ */

static int
compare_rows(const void *a, const void *b, void *context)
{
    const struct list_request *request = context;
    int order = request->sort->compare(*(const void *const *)a, *(const void *const *)b);
    return request->is_reverse ? -order : order;
}

static void
reverse(const void **rows, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const void *row = rows[i];
        rows[i] = rows[count - 1 - i];
        rows[count - 1 - i] = row;
    }
}

/* By names, which is their order already, unless something else is asked for. */
static void
sort(const struct list_request *request, const void **rows, size_t count)
{
    if (request->sort != NULL && count > 1) {
        qsort_r((void *)rows, count, sizeof(*rows), compare_rows, (void *)request);
    } else if (request->is_reverse) {
        reverse(rows, count);
    }
}

/* Writing ------------------------------------------------------------------------------------ */

static void
write_row(struct json_writer *json, const struct list_kind *kind,
          const struct list_request *request, const void *row)
{
    if (request->columns == NULL) {
        kind->write(json, row, kind->context);
        return;
    }
    struct json_writer whole;
    json_init(&whole);
    kind->write(&whole, row, kind->context);
    columns_copy(json, &whole, request->columns);
    json_fini(&whole);
}

static void
write_rows(struct json_writer *json, const struct list_kind *kind,
           const struct list_request *request, const void *const *rows, size_t count)
{
    json_begin_array(json);
    for (size_t i = 0; i < count; i++) {
        write_row(json, kind, request, rows[i]);
    }
    json_end_array(json);
}

static size_t
pages_of(const struct list_request *request, size_t count)
{
    return (count + request->page_size - 1) / request->page_size;
}

static void
write_page(struct json_writer *json, const struct list_kind *kind,
           const struct list_request *request, const void *const *rows,
           const struct list_slice *slice)
{
    json_begin_object(json);
    json_key(json, "items");
    write_rows(json, kind, request, rows, slice->count);
    json_put_unsigned(json, "page", request->page);
    json_put_unsigned(json, "page_size", request->page_size);
    json_put_unsigned(json, "page_count", pages_of(request, slice->filtered));
    json_put_unsigned(json, "item_count", slice->count);
    json_put_unsigned(json, "filtered_count", slice->filtered);
    json_put_unsigned(json, "total_count", slice->total);
    json_end_object(json);
}

/* Those of the page, which there is. */
static struct list_slice
slice_of(const struct list_request *request, size_t count, size_t total)
{
    struct list_slice slice = {.count = count, .filtered = count, .total = total};
    if (request->page > 0) {
        slice.first = (request->page - 1) * request->page_size;
        size_t left = count - slice.first;
        slice.count = left < request->page_size ? left : request->page_size;
    }
    return slice;
}

bool
list_has_column(const struct list_kind *kind, const char *name)
{
    return find_column(kind, name) != NULL;
}

bool
list_select(struct call *call, const struct list_kind *kind, const void **rows, size_t count,
            struct list_slice *slice_out)
{
    struct list_request request;
    size_t total = count;
    if (!read_request(call, kind, &request) || !filter(call, kind, &request, rows, &count)) {
        return false;
    }
    if (request.page > 1 && (request.page - 1) * request.page_size >= count) {
        call_fail(call, 400, "page_out_of_range: there are %zu pages of %zu",
                  pages_of(&request, count), request.page_size);
        return false;
    }
    sort(&request, rows, count);
    *slice_out = slice_of(&request, count, total);
    return true;
}

void
list_answer_slice(struct call *call, const struct list_kind *kind, const void *const *rows,
                  const struct list_slice *slice)
{
    struct list_request request;
    struct json_writer json;
    if (!read_request(call, kind, &request)) {
        return;
    }
    json_init(&json);
    if (request.page == 0) {
        write_rows(&json, kind, &request, rows, slice->count);
    } else {
        write_page(&json, kind, &request, rows, slice);
    }
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
list_answer(struct call *call, const struct list_kind *kind, const void **rows, size_t count)
{
    struct list_slice slice;
    if (list_select(call, kind, rows, count, &slice)) {
        list_answer_slice(call, kind, rows + slice.first, &slice);
    }
}

/* Columns ------------------------------------------------------------------------------------ */

enum { COLUMN_DEPTH_MAX = 8, COLUMN_PATH_SIZE = 256 };

/* The path of the member that is being looked at, "message_stats.publish_details". */
struct column_path {
    char text[COLUMN_PATH_SIZE];
    size_t size;
};

enum column_verdict { COLUMN_OUT, COLUMN_IN, COLUMN_PARTLY };

static enum column_verdict
judge_column(const char *column, size_t size, const struct column_path *path)
{
    size_t common = size < path->size ? size : path->size;
    if (memcmp(column, path->text, common) != 0) {
        return COLUMN_OUT;
    }
    if (size == path->size || (size < path->size && path->text[size] == '.')) {
        return COLUMN_IN;
    }
    return size > path->size && column[path->size] == '.' ? COLUMN_PARTLY : COLUMN_OUT;
}

/* What is to become of the member, by a list of columns. */
static enum column_verdict
judge_path(const char *columns, const struct column_path *path)
{
    enum column_verdict verdict = COLUMN_OUT;
    while (*columns != '\0') {
        size_t size = strcspn(columns, ",");
        enum column_verdict of_this = judge_column(columns, size, path);
        if (of_this == COLUMN_IN) {
            return COLUMN_IN;
        }
        verdict = of_this == COLUMN_PARTLY ? COLUMN_PARTLY : verdict;
        columns += size + (columns[size] == ',' ? 1 : 0);
    }
    return verdict;
}

/* Octets of the text at the front, quotes included. */
static size_t
size_of_text(struct bytes json)
{
    size_t at = 1;
    while (at < json.size && json.data[at] != '"') {
        at += json.data[at] == '\\' ? 2 : 1;
    }
    return at + 1;
}

/* Octets of the value at the front of what our own writer wrote. */
static size_t
size_of_value(struct bytes json)
{
    size_t depth = 0;
    size_t at = 0;
    while (at < json.size) {
        uint8_t octet = json.data[at];
        if (octet == '"') {
            at += size_of_text(bytes_make(json.data + at, json.size - at));
        } else if (octet == '{' || octet == '[') {
            depth++;
            at++;
        } else if (octet == '}' || octet == ']' || octet == ',') {
            if (depth == 0) {
                break;
            }
            depth -= octet == ',' ? 0 : 1;
            at++;
        } else {
            at++;
        }
        if (depth == 0 && (octet == '"' || octet == '}' || octet == ']')) {
            break;
        }
    }
    return at;
}

/* An object that is being copied in part. */
struct column_level {
    struct bytes rest; /* behind the brace or the last member */
    size_t path_size;  /* of the path to it */
};

/* Takes the next member: its name onto the path, its value; false at the end of the object. */
static bool
next_member(struct column_level *level, struct column_path *path, struct bytes *name_out,
            struct bytes *value_out)
{
    struct bytes rest = level->rest;
    if (rest.size > 0 && rest.data[0] == ',') {
        rest = bytes_make(rest.data + 1, rest.size - 1);
    }
    if (rest.size == 0 || rest.data[0] != '"') {
        return false;
    }
    size_t size = size_of_text(rest);
    *name_out = bytes_make(rest.data + 1, size - 2);
    struct bytes value = bytes_make(rest.data + size + 1, rest.size - size - 1);
    *value_out = bytes_make(value.data, size_of_value(value));
    level->rest = bytes_make(value.data + value_out->size, value.size - value_out->size);
    path->size = level->path_size;
    int written = snprintf(path->text + path->size, sizeof(path->text) - path->size, "%s%.*s",
                           path->size > 0 ? "." : "", BYTES_FORMAT(*name_out));
    if (written > 0 && path->size + (size_t)written < sizeof(path->text)) {
        path->size += (size_t)written;
    }
    return true;
}

/* The name is JSON already, whatever a client called what it declared. */
static void
put_member(struct json_writer *out, struct bytes name, struct bytes value)
{
    json_raw_key(out, name);
    if (value.data != NULL) {
        json_raw(out, value);
    }
}

void
columns_copy(struct json_writer *out, const struct json_writer *whole, const char *columns)
{
    struct bytes object = buffer_bytes(&whole->out);
    struct column_level levels[COLUMN_DEPTH_MAX];
    struct column_path path = {.size = 0};
    size_t depth = 1;
    if (whole->out.failed) {
        out->out.failed = true;
        return;
    }
    assert(object.size > 0);
    levels[0] = (struct column_level){.rest = bytes_make(object.data + 1, object.size - 1)};
    json_begin_object(out);
    while (depth > 0) {
        struct bytes name;
        struct bytes value;
        if (!next_member(&levels[depth - 1], &path, &name, &value)) {
            json_end_object(out);
            depth--;
            continue;
        }
        enum column_verdict verdict = judge_path(columns, &path);
        bool is_object = value.size > 0 && value.data[0] == '{';
        if (verdict == COLUMN_IN) {
            put_member(out, name, value);
        } else if (verdict == COLUMN_PARTLY && is_object && depth < COLUMN_DEPTH_MAX) {
            put_member(out, name, bytes_make(NULL, 0));
            json_begin_object(out);
            levels[depth++] = (struct column_level){
                .rest = bytes_make(value.data + 1, value.size - 1),
                .path_size = path.size,
            };
        }
    }
}
