/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/desk/desk_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/command/pairs.h"
#include "cli/command/whole_number.h"

/* Those whose value goes on as it is. */
static const char *const members[DESK_FILTER_OPTION_COUNT] = {
    [FILTER_ORIGIN] = "origin_queue",   [FILTER_REASON] = "reason",
    [FILTER_CLASS] = "error_class",     [FILTER_KEY] = "routing_key",
    [FILTER_EXCHANGE] = "exchange",     [FILTER_MESSAGE_ID] = "message_id",
    [FILTER_ORIGIN_KEY] = "origin_key", [FILTER_BATCH] = "batch",
    [FILTER_NOT_BATCH] = "not_batch",
};

static int
put_texts(json_t *object, const struct command_line *line, const struct command_io *io)
{
    int result = COMMAND_OK;
    for (size_t i = 0; i < DESK_FILTER_OPTION_COUNT && result == COMMAND_OK; i++) {
        if (members[i] != NULL) {
            result = pairs_put_text(object, members[i], line->options[i], io);
        }
    }
    return result;
}

static int
put_ids(json_t *object, const struct command_line *line, const struct command_io *io)
{
    const char *id;
    size_t at = 0;
    json_t *ids = json_array();
    int result = COMMAND_OK;
    while ((id = command_line_next(line, FILTER_ID, &at)) != NULL && result == COMMAND_OK) {
        json_t *value = json_string(id);
        result = value == NULL ? command_misused(io, "--id is not UTF-8") : COMMAND_OK;
        json_array_append_new(ids, value);
    }
    if (json_array_size(ids) > 0) {
        json_object_set(object, "ids", ids);
    }
    json_decref(ids);
    return result;
}

static int
put_header(json_t *object, const char *text, const struct command_io *io)
{
    const char *equals = text == NULL ? NULL : strchr(text, '=');
    if (text == NULL) {
        return COMMAND_OK;
    }
    if (equals == NULL || equals == text) {
        return command_misused(io, "--header \"%s\" is not NAME=VALUE", text);
    }
    json_t *name = json_stringn(text, (size_t)(equals - text));
    if (name == NULL) {
        return command_misused(io, "--header is not UTF-8");
    }
    json_object_set_new(object, "header", name);
    return pairs_put_text(object, "header_value", equals + 1, io);
}

/* A number and a unit; false: it is none. */
static bool
read_age(const char *text, int64_t *ms_out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                 {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        bool is_unit = strcmp(end, units[i].unit) == 0;
        if (is_unit && errno == 0 && number > 0 && number <= INT64_MAX / units[i].ms) {
            *ms_out = number * units[i].ms;
            return true;
        }
    }
    return false;
}

static int
put_age(json_t *object, const char *member, const struct command_line *line, size_t option,
        const struct command_io *io)
{
    const char *text = line->options[option];
    int64_t ms;
    if (text == NULL) {
        return COMMAND_OK;
    }
    if (!read_age(text, &ms)) {
        return command_misused(io, "--%s \"%s\" is not an age, such as 30s, 5m or 24h",
                               line->command->options[option].name, text);
    }
    json_object_set_new(object, member, json_integer(ms));
    return COMMAND_OK;
}

int
desk_filter_object(json_t **object_out, const struct command_line *line,
                   const struct command_io *io)
{
    json_t *object = json_object();
    int result = put_texts(object, line, io);
    if (result == COMMAND_OK) {
        result = put_ids(object, line, io);
    }
    if (result == COMMAND_OK) {
        result = put_header(object, line->options[FILTER_HEADER], io);
    }
    if (result == COMMAND_OK) {
        result = put_age(object, "age_min_ms", line, FILTER_OLDER, io);
    }
    if (result == COMMAND_OK) {
        result = put_age(object, "age_max_ms", line, FILTER_YOUNGER, io);
    }
    if (line->options[FILTER_PLACE] != NULL) {
        json_object_set_new(object, "places", json_pack("[s]", line->options[FILTER_PLACE]));
    }
    if (result == COMMAND_OK) {
        *object_out = object;
    } else {
        json_decref(object);
    }
    return result;
}

static void
put_value(struct buffer *query, const char *name, const char *value, bool goes_on)
{
    char *encoded = client_path_new("{}", value);
    if (goes_on) {
        buffer_printf(query, ",%s", encoded);
    } else {
        buffer_printf(query, "&%s=%s", name, encoded);
    }
    free(encoded);
}

void
desk_filter_put_query(struct buffer *query, const json_t *filter)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)filter, name, value)
    {
        if (json_is_string(value)) {
            put_value(query, name, json_string_value(value), false);
        } else if (json_is_integer(value)) {
            buffer_printf(query, "&%s=%lld", name, json_integer_value(value));
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            put_value(query, name, json_string_value(json_array_get(value, i)), i > 0);
        }
    }
}

int
desk_read_number(json_int_t *out, const struct command_line *line, size_t option, json_int_t max,
                 const struct command_io *io)
{
    uint64_t number = (uint64_t)*out;
    int result = whole_number_read(&number, line, option, (uint64_t)max, io);
    *out = (json_int_t)number;
    return result;
}
