/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/output/output.h"
#include "cli/topology/topology_call.h"
#include "cli/topology/topology_files.h"

/* Words that several of them take; a command's table begins with them. */
enum { WORD_PRUNE, WORD_DISCARD, WORD_UNPROTECT, WORD_COUNT };
enum { PLAN_OUT = WORD_COUNT, PLAN_FORMAT };
enum { APPLY_YES = WORD_COUNT, APPLY_PLAN };
enum { ROLLBACK_YES = WORD_COUNT };
enum { DRIFT_FORMAT };

#define WORDS                                                                                      \
    [WORD_PRUNE] = {"prune", NULL, "delete what the files do not name"},                           \
    [WORD_DISCARD] = {"discard", "NAME...",                                                        \
                      "lose what is in this queue, or bound to this exchange"},                    \
    [WORD_UNPROTECT] = {"unprotect", "NAME...", "the same for what stands under \"protect\""}

const struct command_option plan_options[PLAN_OPTION_COUNT] = {
    WORDS,
    [PLAN_OUT] = {"out", "FILE", "write the plan for \"bourse apply --plan\""},
    [PLAN_FORMAT] = {"format", "text|json", "how it is printed (text)"},
};

const struct command_option apply_options[APPLY_OPTION_COUNT] = {
    WORDS,
    [APPLY_YES] = {"yes", NULL, "do not ask"},
    [APPLY_PLAN] = {"plan", "FILE", "apply only if this plan is still what would be done"},
};

const struct command_option rollback_options[ROLLBACK_OPTION_COUNT] = {
    WORDS,
    [ROLLBACK_YES] = {"yes", NULL, "do not ask"},
};

const struct command_option drift_options[DRIFT_OPTION_COUNT] = {
    [DRIFT_FORMAT] = {"format", "text|json", "how it is printed (text)"},
};

static json_t *
names_given(const struct command_line *line, size_t option)
{
    json_t *names = json_array();
    const char *name;
    size_t at = 0;
    while ((name = command_line_next(line, option, &at)) != NULL) {
        json_array_append_new(names, json_string(name));
    }
    return names;
}

static void
put_words(json_t *body, const struct command_line *line)
{
    json_object_set_new(body, "prune", json_boolean(line->options[WORD_PRUNE] != NULL));
    json_object_set_new(body, "discard", names_given(line, WORD_DISCARD));
    json_object_set_new(body, "unprotect", names_given(line, WORD_UNPROTECT));
}

/* --format json is another word for -o json. */
static struct output
output_with_format(const struct command_line *line, const char *format, const struct command_io *io)
{
    struct output output = output_of(line, io);
    if (format != NULL) {
        output.format = strcmp(format, "json") == 0 ? OUTPUT_JSON : OUTPUT_TABLE;
    }
    return output;
}

/* What plans and drift say of a step in columns. */
#define STEP_COLUMNS                                                                               \
    {"NAME", "name", CELL_TEXT, false}, {"OBJECT", "object", CELL_TEXT, false},                    \
        {"DESTINATION", "destination", CELL_TEXT, false},                                          \
        {"TO", "destination_type", CELL_TEXT, false},                                              \
    {                                                                                              \
        "KEY", "routing_key", CELL_TEXT, false                                                     \
    }

static int
print_plan(const struct output *output, const json_t *plan)
{
    static const struct column columns[] = {
        STEP_COLUMNS,
        {"ACTION", "action", CELL_TEXT, false},
        {"NEEDS", "needs", CELL_WORDS, false},
        {"MESSAGES", "messages", CELL_NUMBER, false},
    };
    if (output_is_text(output)) {
        topology_print(plan, output->io->out);
        return COMMAND_OK;
    }
    if (output->format == OUTPUT_JSON) {
        output_json(output, plan);
        return COMMAND_OK;
    }
    return output_rows(output, columns, ARRAY_LEN(columns), json_object_get(plan, "steps"));
}

/* Plan files ----------------------------------------------------------------------------------- */

static const char *const kept_words[] = {"prune", "discard", "unprotect"};

/* What was planned is the digest; with which words belongs to it. */
static int
write_plan(const char *path, const json_t *plan, const json_t *body, const struct command_io *io)
{
    json_t *kept =
        json_pack("{s:i, s:O, s:O, s:O}", "bourse_plan", 1, "vhost", json_object_get(plan, "vhost"),
                  "digest", json_object_get(plan, "digest"), "text", json_object_get(plan, "text"));
    for (size_t i = 0; i < sizeof(kept_words) / sizeof(kept_words[0]); i++) {
        json_object_set(kept, kept_words[i], json_object_get(body, kept_words[i]));
    }
    int written = json_dump_file(kept, path, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(kept);
    return written == 0 ? COMMAND_OK
                        : command_error(io, COMMAND_FAILED, "cannot write the plan to %s: %s", path,
                                        strerror(errno));
}

/* Takes over its words, and its digest. */
static int
read_plan(const char *path, json_t *body, const struct command_line *line,
          const struct command_io *io)
{
    json_error_t error;
    if (line->options[WORD_PRUNE] != NULL || line->options[WORD_DISCARD] != NULL ||
        line->options[WORD_UNPROTECT] != NULL) {
        return command_misused(io, "--plan has the words that it was made with; --prune, --discard "
                                   "and --unprotect belong to \"bourse plan\" then");
    }
    json_t *plan = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    bool is_plan = json_integer_value(json_object_get(plan, "bourse_plan")) == 1 &&
                   json_is_string(json_object_get(plan, "digest"));
    for (size_t i = 0; is_plan && i < sizeof(kept_words) / sizeof(kept_words[0]); i++) {
        json_object_set(body, kept_words[i], json_object_get(plan, kept_words[i]));
    }
    json_object_set(body, "digest", json_object_get(plan, "digest"));
    int result = is_plan
                     ? COMMAND_OK
                     : command_error(io, COMMAND_FAILED,
                                     "%s is no plan%s%s; \"bourse plan --out\" writes one", path,
                                     plan == NULL ? ": " : "", plan == NULL ? error.text : "");
    json_decref(plan);
    return result;
}

/* Plan, apply ---------------------------------------------------------------------------------- */

/* A client, and what the command's files say. */
struct topology {
    struct client *client;
    struct config *config;
    json_t *body;
};

static int
topology_open(struct topology *topology, const struct command_line *line,
              const struct command_io *io)
{
    *topology = (struct topology){.client = NULL};
    topology->body =
        topology_read_files(line->operands, line->operand_count, &topology->config, io);
    if (topology->body == NULL) {
        return COMMAND_FAILED;
    }
    put_words(topology->body, line);
    return client_open(&topology->client, line, io);
}

static void
topology_close(struct topology *topology)
{
    client_close(&topology->client);
    config_free(&topology->config);
    json_decref(topology->body);
}

int
plan_run(const struct command_line *line, const struct command_io *io)
{
    struct topology topology;
    json_t *plan = NULL;
    struct output output = output_with_format(line, line->options[PLAN_FORMAT], io);
    int result = topology_open(&topology, line, io);
    if (result == COMMAND_OK) {
        result = topology_plan(topology.client, topology.body, topology.config, &plan, io);
    }
    if (result == COMMAND_OK) {
        result = print_plan(&output, plan);
    }
    if (result == COMMAND_OK && topology_step_count(plan) > 0) {
        result = COMMAND_DIFFERS;
    }
    if (plan != NULL && line->options[PLAN_OUT] != NULL &&
        write_plan(line->options[PLAN_OUT], plan, topology.body, io) != COMMAND_OK) {
        result = COMMAND_FAILED;
    }
    json_decref(plan);
    topology_close(&topology);
    return result;
}

int
apply_run(const struct command_line *line, const struct command_io *io)
{
    struct topology topology;
    json_t *plan = NULL;
    const char *path = line->options[APPLY_PLAN];
    int result = topology_open(&topology, line, io);
    if (result == COMMAND_OK && path != NULL) {
        result = read_plan(path, topology.body, line, io);
    }
    if (result == COMMAND_OK) {
        result = topology_plan(topology.client, topology.body, topology.config, &plan, io);
    }
    if (result == COMMAND_OK) {
        result = topology_carry_out(topology.client, "/api/bourse/apply", topology.body, plan,
                                    line->options[APPLY_YES] != NULL, line, io);
    }
    json_decref(plan);
    topology_close(&topology);
    return result;
}

/* Rollback ------------------------------------------------------------------------------------- */

static bool
is_of_vhost(const json_t *generation, const char *vhost)
{
    const char *name = json_string_value(json_object_get(generation, "vhost"));
    return name != NULL && strcmp(name, vhost) == 0;
}

/* The one before that which is in force in the vhost; before the one that was gone back to, where
 * that is how it came. 0: there is none. */
static json_int_t
find_previous(const json_t *generations, const char *vhost)
{
    size_t at;
    const json_t *generation;
    json_int_t before = 0;
    json_array_foreach(generations, at, generation)
    {
        json_int_t id = json_integer_value(json_object_get(generation, "id"));
        if (!is_of_vhost(generation, vhost)) {
            continue;
        }
        if (before == 0) {
            json_int_t restored = json_integer_value(json_object_get(generation, "restored_id"));
            before = restored > 0 ? restored : id;
        } else if (id < before) {
            return id;
        }
    }
    return 0;
}

/* Without --vhost it is the vhost of what was applied last. */
static int
choose_generation(struct client *client, json_int_t *id_out, const struct command_io *io)
{
    json_t *generations = NULL;
    int result = client_call(client, "GET", "/api/bourse/generations", NULL, &generations);
    const char *newest =
        json_string_value(json_object_get(json_array_get(generations, 0), "vhost"));
    const char *vhost = client_has_vhost(client) || newest == NULL ? client_vhost(client) : newest;
    if (result == COMMAND_OK) {
        *id_out = find_previous(generations, vhost);
        if (*id_out == 0) {
            result = command_error(io, COMMAND_FAILED,
                                   "there is no earlier generation of vhost \"%s\" to go back to; "
                                   "\"bourse generation ls\" shows what is kept",
                                   vhost);
        }
    }
    json_decref(generations);
    return result;
}

static int
read_generation(const struct command_line *line, struct client *client, json_int_t *id_out,
                const struct command_io *io)
{
    char *end;
    if (line->operand_count == 0) {
        return choose_generation(client, id_out, io);
    }
    errno = 0;
    const char *text = line->operands[0];
    *id_out = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || *id_out == 0) {
        return command_misused(io,
                               "\"%s\" is no number of a generation; \"bourse generation ls\" "
                               "shows them",
                               text);
    }
    return COMMAND_OK;
}

int
rollback_run(const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    char path[64];
    json_int_t id = 0;
    json_t *plan = NULL;
    json_t *body = json_pack("{s:b}", "dry_run", 1);
    put_words(body, line);
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        result = read_generation(line, client, &id, io);
    }
    if (result == COMMAND_OK) {
        (void)snprintf(path, sizeof(path), "/api/bourse/rollback/%" JSON_INTEGER_FORMAT, id);
        result = topology_post(client, path, body, &plan, io);
    }
    if (result == COMMAND_OK) {
        result = topology_carry_out(client, path, body, plan, line->options[ROLLBACK_YES] != NULL,
                                    line, io);
    }
    json_decref(plan);
    json_decref(body);
    client_close(&client);
    return result;
}

/* Drift ---------------------------------------------------------------------------------------- */

/* COMMAND_DIFFERS when there is some, COMMAND_FAILED when it cannot be known. */
static int
judge_drift(const json_t *vhosts, const struct command_io *io)
{
    size_t at;
    const json_t *item;
    int result = COMMAND_OK;
    json_array_foreach(vhosts, at, item)
    {
        const char *error = json_string_value(json_object_get(item, "error"));
        if (error != NULL) {
            result = command_error(io, COMMAND_FAILED, "drift of vhost \"%s\" is not known: %s",
                                   json_string_value(json_object_get(item, "vhost")), error);
        } else if (json_integer_value(json_object_get(item, "count")) > 0 && result == COMMAND_OK) {
            result = COMMAND_DIFFERS;
        }
    }
    return result;
}

static void
print_drift_text(const json_t *vhosts, FILE *out)
{
    size_t at;
    const json_t *item;
    json_array_foreach(vhosts, at, item)
    {
        fputs(at == 0 ? "" : "\n", out);
        topology_print(item, out);
    }
    if (json_array_size(vhosts) == 0) {
        fputs("no configuration was ever applied: there is nothing to drift from\n", out);
    }
}

/* Rows are of all vhosts. */
static int
print_drift_rows(const struct output *output, const json_t *vhosts)
{
    static const struct column columns[] = {
        STEP_COLUMNS,
        {"VHOST", "vhost", CELL_TEXT, false},
        {"DIFFERENCE", "difference", CELL_TEXT, false},
        {"BY", "made_by", CELL_TEXT, false},
        {"SINCE", "made_ms", CELL_WHEN, false},
    };
    size_t at, of_vhost;
    const json_t *item;
    json_t *difference;
    json_t *rows = json_array();
    json_array_foreach(vhosts, at, item)
    {
        json_array_foreach(json_object_get(item, "differences"), of_vhost, difference)
        {
            json_object_set(difference, "vhost", json_object_get(item, "vhost"));
            json_array_append(rows, difference);
        }
    }
    int result = output_rows(output, columns, ARRAY_LEN(columns), rows);
    json_decref(rows);
    return result;
}

static int
print_drift(const struct output *output, const json_t *vhosts)
{
    if (output_is_text(output)) {
        print_drift_text(vhosts, output->io->out);
        return COMMAND_OK;
    }
    if (output->format == OUTPUT_JSON) {
        output_json(output, vhosts);
        return COMMAND_OK;
    }
    return print_drift_rows(output, vhosts);
}

int
drift_run(const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    json_t *vhosts = NULL;
    struct output output = output_with_format(line, line->options[DRIFT_FORMAT], io);
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_has_vhost(client)
                         ? client_path_new("/api/bourse/drift?vhost={}", client_vhost(client))
                         : client_path_new("/api/bourse/drift");
        result = client_call(client, "GET", path, NULL, &vhosts);
        free(path);
    }
    if (result == COMMAND_OK) {
        result = print_drift(&output, vhosts);
    }
    if (result == COMMAND_OK) {
        result = judge_drift(vhosts, io);
    }
    json_decref(vhosts);
    client_close(&client);
    return result;
}
