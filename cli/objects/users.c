/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/objects/users.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/change.h"
#include "cli/client/list.h"
#include "cli/command/secret.h"

/* Users -------------------------------------------------------------------------------------- */

enum { PASSWORD_FILE, PASSWORD_ENV, USER_ROLE, USER_BY_CERTIFICATE };
enum { HTTP_OK = 200, HTTP_NOT_FOUND = 404 };

#define PASSWORD_OPTIONS                                                                           \
    [PASSWORD_FILE] = {"password-file", "FILE", "take the password from this file's one line"},    \
    [PASSWORD_ENV] = {"password-env", "NAME", "take the password from this environment variable"}

const struct command_option user_add_options[USER_ADD_OPTION_COUNT] = {
    PASSWORD_OPTIONS,
    [USER_ROLE] = {"role", "none|monitor|operator|admin", "what the user may do here (none)"},
    [USER_BY_CERTIFICATE] = {"by-certificate", NULL, "no password: the user shows a certificate"},
};

const struct command_option passwd_options[PASSWD_OPTION_COUNT] = {PASSWORD_OPTIONS};

/* The tags that stand for a role in RabbitMQ. */
static const char *
tags_of_role(const char *role)
{
    static const char *const tags[][2] = {
        {"monitor", "monitoring"},
        {"operator", "monitoring,policymaker,management"},
        {"admin", "administrator"},
    };
    for (size_t i = 0; role != NULL && i < ARRAY_LEN(tags); i++) {
        if (strcmp(tags[i][0], role) == 0) {
            return tags[i][1];
        }
    }
    return "";
}

static int
read_password(char **password_out, const struct command_line *line, const struct command_io *io)
{
    if (line->options[PASSWORD_FILE] != NULL) {
        return secret_from_file(password_out, line->options[PASSWORD_FILE], io);
    }
    if (line->options[PASSWORD_ENV] != NULL) {
        return secret_from_variable(password_out, line->options[PASSWORD_ENV], io);
    }
    return secret_from_input(password_out, "password", io);
}

/* Puts the user with these tags; `password` NULL: with none. */
static int
put_user(const struct command_line *line, const struct command_io *io, const char *password,
         const char *tags, const char *done)
{
    struct change change = {
        .method = "PUT",
        .path = "/api/users/{}",
        .names = {line->operands[0]},
        .body = password == NULL ? json_pack("{s:s, s:s}", "password_hash", "", "tags", tags)
                                 : json_pack("{s:s, s:s}", "password", password, "tags", tags),
        .done = done,
    };
    if (change.body == NULL) {
        return command_error(io, COMMAND_FAILED, "the password is not UTF-8; choose another one");
    }
    return change_run(&change, line, io);
}

/* PUT would take role and password of a user who is there, and be done as if it were a new one. */
static int
refuse_known(const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    json_t *user = NULL;
    long status = 0;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/users/{}", line->operands[0]);
        result = client_try(client, "GET", path, NULL, &status, &user);
        free(path);
    }
    if (result == COMMAND_OK && status == HTTP_OK) {
        result =
            command_error(io, COMMAND_FAILED,
                          "there is a user of this name already, and nothing was changed; "
                          "\"bourse user passwd\" gives one another password, \"bourse user role\" "
                          "another role");
    } else if (result == COMMAND_OK && status != HTTP_NOT_FOUND) {
        result = client_report(client, status, user);
    }
    json_decref(user);
    client_close(&client);
    return result;
}

int
user_add_run(const struct command_line *line, const struct command_io *io)
{
    const char *tags = tags_of_role(line->options[USER_ROLE]);
    char *password = NULL;
    bool is_without = line->options[USER_BY_CERTIFICATE] != NULL;
    int result = is_without ? COMMAND_OK : read_password(&password, line, io);
    if (result == COMMAND_OK) {
        result = refuse_known(line, io);
    }
    if (result == COMMAND_OK) {
        result = put_user(line, io, password, tags, "user added, without rights");
    }
    secret_free(&password);
    return result;
}

/* The user's tags as one text, which PUT wants to have again; NULL was reported. */
static char *
fetch_tags_new(const struct command_line *line, const struct command_io *io, int *result_out)
{
    struct client *client;
    json_t *user = NULL;
    struct buffer tags;
    buffer_init(&tags);
    *result_out = client_open(&client, line, io);
    if (*result_out == COMMAND_OK) {
        char *path = client_path_new("/api/users/{}", line->operands[0]);
        *result_out = client_call(client, "GET", path, NULL, &user);
        free(path);
    }
    const json_t *list = json_object_get(user, "tags");
    for (size_t i = 0; i < json_array_size(list); i++) {
        buffer_printf(&tags, "%s%s", i == 0 ? "" : ",", json_string_value(json_array_get(list, i)));
    }
    if (json_is_string(list)) {
        buffer_printf(&tags, "%s", json_string_value(list));
    }
    buffer_put_u8(&tags, '\0');
    json_decref(user);
    client_close(&client);
    return (char *)tags.data;
}

int
user_passwd_run(const struct command_line *line, const struct command_io *io)
{
    int result;
    char *password = NULL;
    char *tags = fetch_tags_new(line, io, &result);
    if (result == COMMAND_OK) {
        result = read_password(&password, line, io);
    }
    if (result == COMMAND_OK) {
        result = put_user(line, io, password, tags, "password changed");
    }
    secret_free(&password);
    free(tags);
    return result;
}

int
user_role_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "PUT",
        .path = "/api/bourse/users/{}/tags",
        .names = {line->operands[0]},
        .body = json_pack("{s:s}", "tags", tags_of_role(line->operands[1])),
        .done = "role given",
    };
    return change_run(&change, line, io);
}

int
user_delete_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "DELETE",
        .path = "/api/users/{}",
        .names = {line->operands[0]},
        .done = "user deleted",
    };
    return change_run(&change, line, io);
}

/* Rights ------------------------------------------------------------------------------------- */

const struct command_option rights_options[RIGHTS_OPTION_COUNT] = {
    {"clear", NULL, "take all rights in the virtual host away"},
};

static int
print_rights(struct client *client, const struct command_line *line, const struct output *output)
{
    const struct list_kind *kind = list_kind_find("permissions");
    json_t *rows = NULL;
    char *path = client_path_new("/api/users/{}/permissions", line->operands[0]);
    int result = client_call(client, "GET", path, NULL, &rows);
    if (result == COMMAND_OK) {
        result = output_rows(output, kind->columns, kind->column_count, rows);
    }
    json_decref(rows);
    free(path);
    return result;
}

int
user_rights_run(const struct command_line *line, const struct command_io *io)
{
    bool is_clear = line->options[0] != NULL;
    char *const *operands = line->operands;
    if (line->operand_count == 1 && !is_clear) {
        return list_watch(line, io, print_rights);
    }
    if (line->operand_count != (is_clear ? 1 : 4)) {
        return command_misused(io, "\"bourse user rights\" needs a user and three expressions, for "
                                   "configure, write and read; or a user and --clear");
    }
    struct change change = {
        .method = is_clear ? "DELETE" : "PUT",
        .path = "/api/permissions/{}/{}",
        .in_vhost = true,
        .names = {operands[0]},
        .done = is_clear ? "rights taken away" : "rights given",
    };
    if (!is_clear) {
        change.body = json_pack("{s:s, s:s, s:s}", "configure", operands[1], "write", operands[2],
                                "read", operands[3]);
    }
    return change_run(&change, line, io);
}

/* Policies ----------------------------------------------------------------------------------- */

enum { POLICY_OPERATOR, POLICY_APPLY_TO, POLICY_PRIORITY };

#define OPERATOR_OPTION                                                                            \
    {                                                                                              \
        "operator", NULL, "an operator policy, which users' policies cannot lift"                  \
    }

const struct command_option policy_set_options[POLICY_SET_OPTION_COUNT] = {
    [POLICY_OPERATOR] = OPERATOR_OPTION,
    [POLICY_APPLY_TO] = {"apply-to", "all|queues|exchanges|classic_queues|quorum_queues|streams",
                         "what it applies to (all)"},
    [POLICY_PRIORITY] = {"priority", "NUMBER", "of several that match, the highest applies (0)"},
};

const struct command_option policy_options[POLICY_OPTION_COUNT] = {
    [POLICY_OPERATOR] = OPERATOR_OPTION,
};

static const char *
policy_path(const struct command_line *line)
{
    return line->options[POLICY_OPERATOR] != NULL ? "/api/operator-policies/{}/{}"
                                                  : "/api/policies/{}/{}";
}

static int
read_priority(json_int_t *priority_out, const char *text, const struct command_io *io)
{
    char *end;
    errno = 0;
    *priority_out = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0) {
        return command_misused(io, "--priority \"%s\" is not a whole number", text);
    }
    return COMMAND_OK;
}

int
policy_set_run(const struct command_line *line, const struct command_io *io)
{
    const char *apply_to = line->options[POLICY_APPLY_TO];
    const char *priority_text = line->options[POLICY_PRIORITY];
    json_int_t priority = 0;
    json_error_t error;
    if (priority_text != NULL && read_priority(&priority, priority_text, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    json_t *definition = json_loads(line->operands[2], 0, &error);
    if (!json_is_object(definition)) {
        json_decref(definition);
        return command_misused(io,
                               "the definition \"%s\" is no JSON object such as "
                               "{\"max-length\": 1000}",
                               line->operands[2]);
    }
    struct change change = {
        .method = "PUT",
        .path = policy_path(line),
        .in_vhost = true,
        .names = {line->operands[0]},
        .body = json_pack("{s:s, s:o, s:I, s:s}", "pattern", line->operands[1], "definition",
                          definition, "priority", priority, "apply-to",
                          apply_to == NULL ? "all" : apply_to),
        .done = "policy set",
    };
    return change_run(&change, line, io);
}

int
policy_delete_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "DELETE",
        .path = policy_path(line),
        .in_vhost = true,
        .names = {line->operands[0]},
        .done = "policy deleted",
    };
    return change_run(&change, line, io);
}
