/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/context_commands.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/context.h"
#include "cli/output/output.h"

enum { ADD_SOCKET, ADD_URL, ADD_USER, ADD_PASSWORD_FILE, ADD_PASSWORD_ENV, ADD_CA_FILE, ADD_VHOST };

const struct command_option context_add_options[CONTEXT_ADD_OPTION_COUNT] = {
    [ADD_SOCKET] = {"socket", "FILE", "the control socket of a broker on this machine"},
    [ADD_URL] = {"url", "URL", "the HTTP interface: https://HOST:15671; http:// on this machine"},
    [ADD_USER] = {"user", "NAME", "who one is there"},
    [ADD_PASSWORD_FILE] = {"password-file", "FILE", "where the password is, as its one line"},
    [ADD_PASSWORD_ENV] = {"password-env", "NAME", "the environment variable that holds it"},
    [ADD_CA_FILE] = {"ca-file", "FILE", "the authority of the broker's certificate, in PEM"},
    [ADD_VHOST] = {"default-vhost", "VHOST", "the virtual host when --vhost does not say one"},
};

/* What each option is called in the file. */
static const char *const keys[CONTEXT_ADD_OPTION_COUNT] = {
    [ADD_SOCKET] = "socket",
    [ADD_URL] = "url",
    [ADD_USER] = "user",
    [ADD_PASSWORD_FILE] = "password-file",
    [ADD_PASSWORD_ENV] = "password-env",
    [ADD_CA_FILE] = "ca-file",
    [ADD_VHOST] = "vhost",
};

/* Adding ------------------------------------------------------------------------------------- */

static int
check_options(const struct command_line *line, const struct command_io *io)
{
    const char *const *options = line->options;
    const char *why;
    if (!context_is_name(line->operands[0])) {
        return command_misused(io, "\"%s\" is no name for a context: letters, digits and \"._-\"",
                               line->operands[0]);
    }
    if ((options[ADD_SOCKET] == NULL) == (options[ADD_URL] == NULL)) {
        return command_misused(io, "a context has either --socket or --url");
    }
    if (options[ADD_URL] != NULL && !context_is_url(options[ADD_URL], &why)) {
        return command_misused(io, "--url \"%s\" %s", options[ADD_URL], why);
    }
    if (options[ADD_PASSWORD_FILE] != NULL && options[ADD_PASSWORD_ENV] != NULL) {
        return command_misused(io, "the password comes from --password-file or --password-env, not "
                                   "from both");
    }
    if (options[ADD_URL] != NULL && options[ADD_USER] == NULL) {
        return command_misused(io, "--url needs --user, and --password-file or --password-env");
    }
    return COMMAND_OK;
}

/* Paths are kept so that they mean the same from every directory. */
static json_t *
value_of(size_t option, const char *text)
{
    bool is_path = option == ADD_SOCKET || option == ADD_PASSWORD_FILE || option == ADD_CA_FILE;
    char *whole = is_path ? realpath(text, NULL) : NULL;
    json_t *value = json_string(whole != NULL ? whole : text);
    free(whole);
    return value;
}

static json_t *
make_entry(const struct command_line *line)
{
    json_t *entry = json_object();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (line->options[i] != NULL) {
            json_object_set_new(entry, keys[i], value_of(i, line->options[i]));
        }
    }
    return entry;
}

int
context_add_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    json_t *contexts = NULL;
    int result = check_options(line, io);
    if (result == COMMAND_OK) {
        result = contexts_load(&contexts, io);
    }
    if (result != COMMAND_OK) {
        return result;
    }
    json_object_set_new(json_object_get(contexts, "contexts"), line->operands[0], make_entry(line));
    result = contexts_save(contexts, io);
    json_decref(contexts);
    if (result == COMMAND_OK) {
        output_done(&output,
                    "context added: %s; \"bourse context use %s\" makes it the one that is "
                    "meant",
                    line->operands[0], line->operands[0]);
    }
    return result;
}

/* The others --------------------------------------------------------------------------------- */

/* Loads the contexts, of which one is called `name`. */
static int
load_with(json_t **contexts_out, const char *name, const struct command_io *io)
{
    int result = contexts_load(contexts_out, io);
    if (result != COMMAND_OK) {
        return result;
    }
    if (json_object_get(json_object_get(*contexts_out, "contexts"), name) == NULL) {
        json_decref(*contexts_out);
        return command_error(io, COMMAND_NOT_FOUND,
                             "there is no context \"%s\"; \"bourse context ls\" lists them", name);
    }
    return COMMAND_OK;
}

int
context_use_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    json_t *contexts = NULL;
    int result = load_with(&contexts, line->operands[0], io);
    if (result != COMMAND_OK) {
        return result;
    }
    json_object_set_new(contexts, "current", json_string(line->operands[0]));
    result = contexts_save(contexts, io);
    json_decref(contexts);
    if (result == COMMAND_OK) {
        output_done(&output, "commands now mean: %s", line->operands[0]);
    }
    return result;
}

int
context_remove_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    json_t *contexts = NULL;
    int result = load_with(&contexts, line->operands[0], io);
    if (result != COMMAND_OK) {
        return result;
    }
    const char *current = json_string_value(json_object_get(contexts, "current"));
    json_object_del(json_object_get(contexts, "contexts"), line->operands[0]);
    if (current != NULL && strcmp(current, line->operands[0]) == 0) {
        json_object_del(contexts, "current");
    }
    result = contexts_save(contexts, io);
    json_decref(contexts);
    if (result == COMMAND_OK) {
        output_done(&output, "context removed: %s", line->operands[0]);
    }
    return result;
}

/* A list of objects for the columns, each with its name and whether it is the current one. */
static json_t *
make_rows(const json_t *contexts)
{
    const char *current = json_string_value(json_object_get(contexts, "current"));
    json_t *rows = json_array();
    const char *name;
    json_t *entry;
    json_object_foreach(json_object_get(contexts, "contexts"), name, entry)
    {
        json_t *row = json_pack("{s:s, s:b}", "name", name, "current",
                                current != NULL && strcmp(current, name) == 0);
        json_object_update(row, entry);
        json_array_append_new(rows, row);
    }
    return rows;
}

int
context_list_run(const struct command_line *line, const struct command_io *io)
{
    static const struct column columns[] = {
        {"NAME", "name", CELL_TEXT, false},
        {"CURRENT", "current", CELL_TEXT, false},
        {"SOCKET", "socket", CELL_TEXT, false},
        {"URL", "url", CELL_TEXT, false},
        {"USER", "user", CELL_TEXT, false},
        {"VHOST", "vhost", CELL_TEXT, false},
        {"PASSWORD FILE", "password-file", CELL_TEXT, true},
        {"PASSWORD ENV", "password-env", CELL_TEXT, true},
        {"CA FILE", "ca-file", CELL_TEXT, true},
    };
    struct output output = output_of(line, io);
    json_t *contexts = NULL;
    int result = contexts_load(&contexts, io);
    if (result != COMMAND_OK) {
        return result;
    }
    json_t *rows = make_rows(contexts);
    result = output_rows(&output, columns, ARRAY_LEN(columns), rows);
    json_decref(rows);
    json_decref(contexts);
    return result;
}
