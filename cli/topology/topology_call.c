/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/topology_call.h"

#include <string.h>
#include <unistd.h>

#include "cli/output/output.h"
#include "cli/text/cell.h"
#include "cli/topology/topology_files.h"

enum { HTTP_OK = 200, HTTP_CONFLICT = 409, HTTP_UNPROCESSABLE = 422, ANSWER_SIZE = 16 };

static const char *
text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

static json_int_t
number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* Answers -------------------------------------------------------------------------------------- */

static int
report_diagnostics(const json_t *answer, const struct command_io *io)
{
    size_t at;
    const json_t *item;
    json_array_foreach(json_object_get(answer, "diagnostics"), at, item)
    {
        command_note(io, "%s:%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ": %s: %s",
                     text_of(item, "file"), number_of(item, "line"), number_of(item, "column"),
                     text_of(item, "severity"), text_of(item, "text"));
    }
    return command_error(
        io, COMMAND_FAILED,
        "the broker does not take this: see above; \"bourse check\" looks at files "
        "without one");
}

static int
report_conflict(const json_t *answer, const struct command_io *io)
{
    bool is_stale = strcmp(text_of(answer, "error"), "stale") == 0;
    return command_error(io, COMMAND_FAILED, "nothing was changed: %s%s", text_of(answer, "reason"),
                         is_stale ? "; \"bourse plan\" shows it" : "");
}

int
topology_post(struct client *client, const char *path, const json_t *body, json_t **answer_out,
              const struct command_io *io)
{
    long status = 0;
    json_t *answer = NULL;
    int result = client_try(client, "POST", path, body, &status, &answer);
    if (result == COMMAND_OK && status == HTTP_OK && answer != NULL) {
        *answer_out = answer;
        return COMMAND_OK;
    }
    if (result == COMMAND_OK) {
        result = status == HTTP_UNPROCESSABLE ? report_diagnostics(answer, io)
                 : status == HTTP_CONFLICT    ? report_conflict(answer, io)
                                              : client_report(client, status, answer);
    }
    json_decref(answer);
    return result;
}

/* Plans ---------------------------------------------------------------------------------------- */

int
topology_plan(struct client *client, json_t *body, const struct config *config, json_t **plan_out,
              const struct command_io *io)
{
    json_t *plan = NULL;
    int result = topology_post(client, "/api/bourse/plan", body, &plan, io);
    if (result == COMMAND_OK) {
        result = topology_put_passwords(client, body, config, json_object_get(plan, "salts"), io);
    }
    if (result == COMMAND_OK && json_object_size(json_object_get(body, "passwords")) > 0) {
        json_decref(plan);
        plan = NULL;
        result = topology_post(client, "/api/bourse/plan", body, &plan, io);
    }
    if (result == COMMAND_OK) {
        *plan_out = plan;
    } else {
        json_decref(plan);
    }
    return result;
}

void
topology_print(const json_t *plan, FILE *out)
{
    cell_print_lines(out, text_of(plan, "text"));
}

json_int_t
topology_step_count(const json_t *plan)
{
    return (json_int_t)json_array_size(json_object_get(plan, "steps")) +
           number_of(json_object_get(plan, "counts"), "omitted");
}

/* Agreement ------------------------------------------------------------------------------------ */

static bool
is_terminal(const struct command_io *io)
{
    int fd = io->in == NULL ? -1 : fileno(io->in);
    return fd >= 0 && isatty(fd) == 1;
}

static int
ask(FILE *out, const struct command_io *io)
{
    char answer[ANSWER_SIZE];
    fputs("\nApply it? [y/N] ", out);
    fflush(out);
    if (fgets(answer, sizeof(answer), io->in) != NULL &&
        (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0)) {
        return COMMAND_OK;
    }
    return command_error(io, COMMAND_FAILED, "nothing was changed: the answer was not yes");
}

/* `out` is where the plan was shown. */
static int
agree(const json_t *plan, bool says_yes, FILE *out, const struct command_io *io)
{
    if (!json_is_true(json_object_get(plan, "is_applicable"))) {
        return command_error(io, COMMAND_FAILED,
                             "nothing was changed: steps are refused; see above which words they "
                             "need");
    }
    if (says_yes || topology_step_count(plan) == 0) {
        return COMMAND_OK;
    }
    if (!is_terminal(io)) {
        return command_error(io, COMMAND_FAILED,
                             "nothing was changed: there is no terminal to ask on; say --yes, or "
                             "give the plan that was looked at with --plan");
    }
    return ask(out, io);
}

/* Posts what was agreed to. A broker that has gone may have done it before. */
static int
carry_out(struct client *client, const char *path, const json_t *body, json_t **applied_out,
          const struct command_io *io)
{
    int result = topology_post(client, path, body, applied_out, io);
    if (result == COMMAND_UNREACHABLE) {
        (void)command_error(io, result,
                            "whether it was applied is not known: all of it was, or nothing; "
                            "\"bourse plan\" tells when the broker is back");
    }
    return result;
}

static void
show_another(const json_t *applied, const json_t *plan, FILE *out)
{
    if (strcmp(text_of(applied, "digest"), text_of(plan, "digest")) != 0) {
        fputs("\nthe broker has changed meanwhile; what was done is this:\n\n", out);
        topology_print(applied, out);
    }
}

int
topology_carry_out(struct client *client, const char *path, json_t *body, const json_t *plan,
                   bool says_yes, const struct command_line *line, const struct command_io *io)
{
    json_t *applied = NULL;
    bool was_planned = json_object_get(body, "digest") != NULL;
    struct output output = output_of(line, io);
    FILE *shown = output_is_text(&output) ? io->out : io->err;
    if (!output.is_quiet) {
        topology_print(plan, shown);
    }
    int result = agree(plan, says_yes || was_planned, shown, io);
    if (result != COMMAND_OK) {
        return result;
    }
    /* Who does not want to be asked takes what there is to do by then, should it be another. */
    if (!was_planned && !says_yes) {
        json_object_set(body, "digest", json_object_get(plan, "digest"));
    }
    json_object_del(body, "dry_run");
    result = carry_out(client, path, body, &applied, io);
    if (result == COMMAND_OK && !output.is_quiet) {
        show_another(applied, plan, shown);
    }
    if (result == COMMAND_OK) {
        json_int_t generation = number_of(applied, "generation");
        result = output_result(&output,
                               json_pack("{s:I, s:s, s:s}", "generation", generation, "vhost",
                                         text_of(applied, "vhost"), "done", "applied"),
                               "applied: generation %" JSON_INTEGER_FORMAT, generation);
    }
    json_decref(applied);
    return result;
}
