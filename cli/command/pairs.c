/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/pairs.h"

#include <string.h>

static json_t *
value_of(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value != NULL ? value : json_string(text);
}

static int
add_pair(json_t *object, const char *pair, const char *option, const struct command_io *io)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair) {
        return command_misused(io, "--%s \"%s\" is not NAME=VALUE", option, pair);
    }
    json_t *value = value_of(equals + 1);
    if (value == NULL || json_object_setn_new(object, pair, (size_t)(equals - pair), value) != 0) {
        return command_misused(io, "--%s \"%s\" is not UTF-8", option, pair);
    }
    return COMMAND_OK;
}

int
pairs_put_text(json_t *object, const char *name, const char *text, const struct command_io *io)
{
    if (text == NULL) {
        return COMMAND_OK;
    }
    json_t *value = json_string(text);
    if (value == NULL) {
        return command_misused(io, "what is given for %s is not UTF-8", name);
    }
    json_object_set_new(object, name, value);
    return COMMAND_OK;
}

int
pairs_read(json_t **object_out, const struct command_line *line, size_t option,
           const struct command_io *io)
{
    json_t *object = json_object();
    const char *pair;
    int result = COMMAND_OK;
    size_t at = 0;
    while (result == COMMAND_OK && (pair = command_line_next(line, option, &at)) != NULL) {
        result = add_pair(object, pair, line->command->options[option].name, io);
    }
    if (result == COMMAND_OK) {
        *object_out = object;
    } else {
        json_decref(object);
    }
    return result;
}
