/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/serve_options.h"

#include <stdlib.h>

#include "base/assert.h"
#include "cli/files/load.h"

const struct command_option serve_options[SERVE_OPTION_COUNT] = {
    [SERVE_OPTION_DATA_DIR] = {"data-dir", "DIR", "keep durable state here"},
    [SERVE_OPTION_EPHEMERAL] = {"ephemeral", NULL, "keep everything in memory: nothing survives"},
    [SERVE_OPTION_AMQP] = {"amqp", "ADDR:PORT", "listen here for plain AMQP"},
    [SERVE_OPTION_AMQPS] = {"amqps", "ADDR:PORT", "listen here for AMQP over TLS"},
    [SERVE_OPTION_HTTP] = {"http", "ADDR:PORT|off", "listen here for the management interface"},
    [SERVE_OPTION_HTTPS] = {"https", "ADDR:PORT|off", "the same over TLS"},
    [SERVE_OPTION_METRICS] = {"metrics", "ADDR:PORT|off", "listen here for metrics and health"},
    [SERVE_OPTION_THREADS] = {"threads", "N", "threads for core and network, 1 to 64"},
};

void
serve_take_file_of_environment(struct command_line *line, char **file)
{
    *file = getenv("BOURSE_CONFIG");
    if (line->operand_count == 0 && *file != NULL && (*file)[0] != '\0') {
        line->operands = file;
        line->operand_count = 1;
    }
}

struct config *
serve_read_configuration(const struct command_line *line)
{
    if (line->operand_count == 0) {
        return config_new_development();
    }
    return load_config(line->operands, line->operand_count, CONFIG_FOR_SERVE);
}

static const struct {
    int option;
    enum config_listener_kind kind;
} overrides[] = {
    {SERVE_OPTION_AMQP, LISTENER_AMQP},       {SERVE_OPTION_AMQPS, LISTENER_AMQPS},
    {SERVE_OPTION_HTTP, LISTENER_HTTP},       {SERVE_OPTION_HTTPS, LISTENER_HTTPS},
    {SERVE_OPTION_METRICS, LISTENER_METRICS},
};

/* Where durable state goes, if anywhere. */
static int
apply_data_dir(struct config *config, const struct command_line *line, const struct command_io *io)
{
    const char *data_dir = line->options[SERVE_OPTION_DATA_DIR];
    config->server.is_ephemeral = line->options[SERVE_OPTION_EPHEMERAL] != NULL;
    if (data_dir == NULL) {
        return COMMAND_OK;
    }
    if (config->server.is_ephemeral) {
        return command_misused(io, "--ephemeral writes nothing: it goes without --data-dir");
    }
    if (data_dir[0] == '\0') {
        return command_misused(io, "--data-dir is empty");
    }
    config->server.data_dir = data_dir;
    config->server_marks.data_dir = (struct config_mark){.file = CONFIG_COMMAND_LINE};
    return COMMAND_OK;
}

static int
apply_threads(struct config *config, const struct command_line *line, const struct command_io *io)
{
    enum { THREADS_MAX = 64, DECIMAL = 10 };
    const char *text = line->options[SERVE_OPTION_THREADS];
    if (text == NULL) {
        return COMMAND_OK;
    }
    char *end;
    long threads = strtol(text, &end, DECIMAL);
    if (end == text || *end != '\0' || threads < 1 || threads > THREADS_MAX) {
        return command_misused(io, "--threads \"%s\" is not a number from 1 to %d", text,
                               THREADS_MAX);
    }
    config->server.threads = (uint32_t)threads;
    config->server_marks.threads = (struct config_mark){.file = CONFIG_COMMAND_LINE};
    return COMMAND_OK;
}

int
serve_apply_overrides(struct config *config, const struct command_line *line,
                      const struct command_io *io)
{
    if (apply_data_dir(config, line, io) != COMMAND_OK ||
        apply_threads(config, line, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    for (size_t i = 0; i < ARRAY_LEN(overrides); i++) {
        const char *text = line->options[overrides[i].option];
        const char *name = serve_options[overrides[i].option].name;
        const char *why = NULL;
        if (text != NULL && !config_override_listener(config, overrides[i].kind, text, &why)) {
            return command_misused(io, "--%s \"%s\" %s", name, text, why);
        }
    }
    return COMMAND_OK;
}

static bool
has_listener(const struct config *config)
{
    return config->listeners[LISTENER_AMQP].enabled || config->listeners[LISTENER_AMQPS].enabled;
}

struct config *
serve_first_configuration(const struct command_line *line, const struct command_io *io,
                          int *result_out)
{
    struct config *config = serve_read_configuration(line);
    load_print_report(config, io->err);
    if (config->report.error_count > 0) {
        fprintf(io->err, "bourse: not started: %zu error%s in the configuration\n",
                config->report.error_count, config->report.error_count == 1 ? "" : "s");
        *result_out = COMMAND_FAILED;
    } else {
        *result_out = serve_apply_overrides(config, line, io);
    }
    if (*result_out == COMMAND_OK && !has_listener(config)) {
        fputs("bourse: not started: the configuration has no amqp or amqps listener\n", io->err);
        *result_out = COMMAND_FAILED;
    }
    if (*result_out != COMMAND_OK) {
        config_free(&config);
    }
    return config;
}
