/* SPDX-License-Identifier: Apache-2.0 */
/* Where definitions come from (load) and how they are written (the formats) are things apart. */
#include "cli/export.h"

#include <string.h>

#include "base/assert.h"
#include "cli/definitions_asyncapi.h"
#include "cli/definitions_dot.h"
#include "cli/definitions_load.h"
#include "cli/definitions_yaml.h"
#include "config/report.h"
#include "management/definitions_write.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

enum { EXPORT_FROM, EXPORT_FORMAT };

const struct command_option export_options[EXPORT_OPTION_COUNT] = {
    {"from", "FILE", "of a configuration file, or a definitions.json; - for standard input"},
    {"format", "yaml|definitions|dot|asyncapi", "what to write (yaml)"},
};

static const char RABBITMQ_VERSION[] = "4.1.0";

/* All of these but definitions are about one vhost. False, with a line: there are several. */
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
        fprintf(io->err, "  %.*s\n", BYTES_FORMAT(definitions->vhosts.items[i].name));
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
    {"yaml", write_yaml},
    {"definitions", write_definitions},
    {"dot", write_dot},
    {"asyncapi", write_asyncapi},
};

/* The place of the format, or the number of formats when there is none of that name. */
static size_t
find_format(const char *name)
{
    size_t at = 0;
    while (at < ARRAY_LEN(formats) && strcmp(formats[at].name, name) != 0) {
        at++;
    }
    return at;
}

static int
refuse_format(const char *name, const struct command_io *io)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(bytes_of(name));
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        suggestion_offer(&suggestion, bytes_of(formats[i].name));
    }
    return command_misused(io, "--format takes yaml, definitions, dot or asyncapi, not \"%s\"%s",
                           name, suggestion_text(&suggestion, guess));
}

static int
load(struct definitions *definitions, const struct command_line *line, const struct command_io *io)
{
    const char *path = line->options[EXPORT_FROM];
    if (path == NULL) {
        return definitions_load_broker(definitions, line, io);
    }
    return definitions_load(definitions, path, line->shared[SHARED_VHOST], io) ? COMMAND_OK
                                                                               : COMMAND_FAILED;
}

int
export_run(const struct command_line *line, const struct command_io *io)
{
    const char *format = line->options[EXPORT_FORMAT];
    size_t at = find_format(format == NULL ? "yaml" : format);
    struct definitions definitions;
    if (at == ARRAY_LEN(formats)) {
        return refuse_format(format, io);
    }
    int result = load(&definitions, line, io);
    if (result != COMMAND_OK) {
        return result;
    }
    bool is_good = formats[at].write(&definitions, io);
    definitions_print_warnings(&definitions, io->err);
    definitions_fini(&definitions);
    return is_good ? COMMAND_OK : COMMAND_FAILED;
}
