/* SPDX-License-Identifier: Apache-2.0 */
/* Where definitions come from (load) and how they are written (the formats) are things apart. */
#include "cli/definitions/export.h"

#include <string.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cli/command/secret.h"
#include "cli/definitions/definitions_asyncapi.h"
#include "cli/definitions/definitions_dot.h"
#include "cli/definitions/definitions_load.h"
#include "cli/definitions/definitions_yaml.h"
#include "management/definitions/definitions_write.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

enum {
    EXPORT_FROM,
    EXPORT_FORMAT,
    EXPORT_USER,
    EXPORT_PASSWORD_FILE,
    EXPORT_PASSWORD_ENV,
    EXPORT_CA_FILE,
    EXPORT_ALLOW_HTTP,
};

const struct command_option export_options[EXPORT_OPTION_COUNT] = {
    [EXPORT_FROM] = {"from", "FILE",
                     "of a configuration file, or a definitions.json; - for standard input; or "
                     "http[s]://HOST:PORT, the management interface of RabbitMQ or one like it"},
    [EXPORT_FORMAT] = {"format", "yaml|definitions|rabbitmq|dot|asyncapi", "what to write (yaml)"},
    [EXPORT_USER] = {"user", "USER", "who one is at that address (guest)"},
    [EXPORT_PASSWORD_FILE] = {"password-file", "FILE", "where the password is, as its one line"},
    [EXPORT_PASSWORD_ENV] = {"password-env", "NAME",
                             "the environment variable that holds it; without both it is read from "
                             "standard input"},
    [EXPORT_CA_FILE] = {"ca-file", "FILE", "the authority of that address's certificate, in PEM"},
    [EXPORT_ALLOW_HTTP] = {"allow-http", NULL,
                           "let the password go to another machine in the clear"},
};

static const char RABBITMQ_VERSION[] = "4.1.0";

/* All forms but those of definitions are about one vhost. False, with a line: there are several. */
static bool
is_about_one(const struct definitions *definitions, const struct command_io *io)
{
    if (definitions->vhosts.count == 1) {
        return true;
    }
    fprintf(io->err,
            "bourse: there are %zu vhosts, and this format is about one: choose with "
            "--vhost:\n",
            definitions->vhosts.count);
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        command_note(io, "  %.*s", BYTES_FORMAT(definitions->vhosts.items[i].name));
    }
    return false;
}

static bool
write_yaml(struct definitions *definitions, const struct command_io *io)
{
    if (!is_about_one(definitions, io)) {
        return false;
    }
    definitions_write_yaml(definitions, definitions->vhosts.items[0].name, io->out);
    return true;
}

/* What was written into memory goes out whole, or not at all. */
static bool
write_json(struct json_writer *json, const struct command_io *io)
{
    struct bytes text = buffer_bytes(&json->out);
    bool is_good = !json->out.failed;
    if (is_good) {
        fwrite(text.data, 1, text.size, io->out);
        fputc('\n', io->out);
    } else {
        fprintf(io->err, "bourse: there is no memory for it\n");
    }
    return is_good;
}

static bool
write_definitions(struct definitions *definitions, const struct command_io *io)
{
    struct json_writer json;
    json_init(&json);
    definitions_write(definitions, BOURSE_VERSION, RABBITMQ_VERSION, &json);
    bool is_good = write_json(&json, io);
    json_fini(&json);
    return is_good;
}

/* Of a classic queue it is none of RabbitMQ's arguments. */
static void
leave_out_delivery_limit(struct definitions *definitions, struct definitions_queue *queue)
{
    static const char limit[] = "x-delivery-limit";
    struct table_value value;
    bool is_quorum = table_find(queue->arguments, "x-queue-type", &value) &&
                     bytes_equal_text(value.raw, "quorum");
    if (is_quorum || !table_find(queue->arguments, limit, &value)) {
        return;
    }
    struct buffer kept;
    buffer_init(&kept);
    table_copy_without(&kept, queue->arguments, limit);
    queue->arguments = arena_copy(&definitions->arena, buffer_bytes(&kept));
    buffer_fini(&kept);
    definitions_warn(
        definitions,
        "vhost \"%.*s\": queue \"%.*s\" goes without %s, which RabbitMQ takes of quorum "
        "queues alone: its messages are tried without end there",
        BYTES_FORMAT(queue->vhost), BYTES_FORMAT(queue->name), limit);
}

/* RabbitMQ refuses all of a file that has one hash or argument in it which it does not take. */
static bool
write_for_rabbitmq(struct definitions *definitions, const struct command_io *io)
{
    for (size_t i = 0; i < definitions->queues.count; i++) {
        leave_out_delivery_limit(definitions, &definitions->queues.items[i]);
    }
    for (size_t i = 0; i < definitions->users.count; i++) {
        struct definitions_user *user = &definitions->users.items[i];
        if (user->hash_kind == DEFINITIONS_SCRYPT) {
            user->hash_kind = DEFINITIONS_FOREIGN;
            definitions_warn(definitions,
                             "user \"%.*s\" has no password there: RabbitMQ cannot check a scrypt "
                             "hash; give one with \"rabbitmqctl change_password\"",
                             BYTES_FORMAT(user->name));
        }
    }
    return write_definitions(definitions, io);
}

static bool
write_dot(struct definitions *definitions, const struct command_io *io)
{
    if (!is_about_one(definitions, io)) {
        return false;
    }
    definitions_write_dot(definitions, definitions->vhosts.items[0].name, io->out);
    return true;
}

static bool
write_asyncapi(struct definitions *definitions, const struct command_io *io)
{
    struct json_writer json;
    if (!is_about_one(definitions, io)) {
        return false;
    }
    json_init(&json);
    definitions_write_asyncapi(definitions, definitions->vhosts.items[0].name, &json);
    bool is_good = write_json(&json, io);
    json_fini(&json);
    return is_good;
}

static const struct {
    const char *name;
    bool (*write)(struct definitions *definitions, const struct command_io *io);
} formats[] = {
    {"yaml", write_yaml}, {"definitions", write_definitions}, {"rabbitmq", write_for_rabbitmq},
    {"dot", write_dot},   {"asyncapi", write_asyncapi},
};

/* The parser has seen to it that it is one of them. NULL: the one that is usual. */
static size_t
find_format(const char *name)
{
    size_t at = 0;
    while (name != NULL && strcmp(formats[at].name, name) != 0) {
        at++;
        assert(at < ARRAY_LEN(formats));
    }
    return at;
}

/* An address ------------------------------------------------------------------------------------
 */

static bool
is_address(const char *from)
{
    return strncmp(from, "http://", 7) == 0 || strncmp(from, "https://", 8) == 0;
}

static int
read_password(struct context *place, const struct command_line *line, const struct command_io *io)
{
    const char *path = line->options[EXPORT_PASSWORD_FILE];
    const char *variable = line->options[EXPORT_PASSWORD_ENV];
    char prompt[512];
    if (path != NULL && variable != NULL) {
        return command_misused(io, "the password comes from --password-file or --password-env, not "
                                   "from both");
    }
    if (path != NULL) {
        return secret_from_file(&place->password, path, io);
    }
    if (variable != NULL) {
        return secret_from_variable(&place->password, variable, io);
    }
    if (line->options[EXPORT_USER] == NULL) {
        place->password = xstrdup("guest");
        return COMMAND_OK;
    }
    snprintf(prompt, sizeof(prompt), "password of %s at %s", place->user, place->url);
    return secret_from_input(&place->password, prompt, io);
}

static int
check_address(const char *from, const struct command_line *line, const struct command_io *io)
{
    const char *why = "";
    if (context_is_url(from, &why)) {
        return COMMAND_OK;
    }
    bool is_allowed = line->options[EXPORT_ALLOW_HTTP] != NULL && strpbrk(from, "@?# ") == NULL;
    if (is_allowed) {
        return COMMAND_OK;
    }
    return command_misused(io,
                           "--from \"%s\" %s; --user says who one is, and --allow-http lets a "
                           "password go in the clear",
                           strchr(from, '@') != NULL ? "..." : from, why);
}

static int
load_address(struct definitions *definitions, const char *from, const struct command_line *line,
             const struct command_io *io)
{
    const char *user = line->options[EXPORT_USER];
    const char *authority = line->options[EXPORT_CA_FILE];
    int result = check_address(from, line, io);
    if (result != COMMAND_OK) {
        return result;
    }
    struct context place = {
        .name = xstrdup(from),
        .url = xstrdup(from),
        .user = xstrdup(user != NULL ? user : "guest"),
        .ca_file = authority != NULL ? xstrdup(authority) : NULL,
    };
    result = read_password(&place, line, io);
    if (result != COMMAND_OK) {
        context_fini(&place);
        return result;
    }
    return definitions_load_place(definitions, &place, line, io);
}

/* The command ---------------------------------------------------------------------------------- */

static int
load(struct definitions *definitions, const struct command_line *line, const struct command_io *io)
{
    const char *path = line->options[EXPORT_FROM];
    if (path == NULL) {
        return definitions_load_broker(definitions, line, io);
    }
    if (is_address(path)) {
        return load_address(definitions, path, line, io);
    }
    return definitions_load(definitions, path, line->shared[SHARED_VHOST], io) ? COMMAND_OK
                                                                               : COMMAND_FAILED;
}

int
export_run(const struct command_line *line, const struct command_io *io)
{
    size_t at = find_format(line->options[EXPORT_FORMAT]);
    struct definitions definitions;
    int result = load(&definitions, line, io);
    if (result != COMMAND_OK) {
        return result;
    }
    bool is_good = formats[at].write(&definitions, io);
    definitions_print_warnings(&definitions, io->err);
    definitions_fini(&definitions);
    return is_good ? COMMAND_OK : COMMAND_FAILED;
}
