/* SPDX-License-Identifier: Apache-2.0 */
/* Reads as `serve` does, and prints. */
#include "cli/topology/check.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "cli/files/load.h"
#include "cli/text/cell.h"
#include "cli/topology/report_formats.h"

enum { CHECK_STRICT, CHECK_FORMAT };

const struct command_option check_options[CHECK_OPTION_COUNT] = {
    {"strict", NULL, "exit with 3 when there are warnings"},
    {"format", "text|json|sarif", "lines (text), one object, or for code hosts"},
};

static size_t
count_addresses(const struct config *config)
{
    size_t count = 0;
    for (int kind = 0; kind < LISTENER_KIND_COUNT; kind++) {
        count += config->listeners[kind].address_count;
    }
    return count;
}

static const char *
plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void
print_summary(const struct config *config, FILE *out)
{
    const struct config_report *report = &config->report;
    size_t warnings = report->count + report->left_out - report->error_count;
    size_t addresses = count_addresses(config);
    struct buffer vhost;
    buffer_init(&vhost);
    cell_put_escaped(&vhost, config->vhost);
    fprintf(out,
            "ok: vhost %.*s with %zu exchange%s, %zu queue%s, %zu binding%s, %zu user%s; %zu "
            "address%s to listen on; %zu warning%s\n",
            BYTES_FORMAT(buffer_bytes(&vhost)), config->exchange_count,
            plural(config->exchange_count), config->queue_count, plural(config->queue_count),
            config->binding_count, plural(config->binding_count), config->user_count,
            plural(config->user_count), addresses, addresses == 1 ? "" : "es", warnings,
            plural(warnings));
    buffer_fini(&vhost);
}

static void
print_text(const struct config *config, const struct command_io *io)
{
    size_t errors = config->report.error_count;
    load_print_report(config, io->err);
    if (errors == 0) {
        print_summary(config, io->out);
    } else {
        fprintf(io->err, "bourse: %zu error%s\n", errors, plural(errors));
    }
}

static const struct {
    const char *name;
    void (*print)(const struct config *config, const struct command_io *io);
} formats[] = {
    {"text", print_text},
    {"json", report_print_json},
    {"sarif", report_print_sarif},
};

/* Warnings count only if they were asked for. */
static int
verdict(const struct config *config, bool is_strict)
{
    const struct config_report *report = &config->report;
    if (report->error_count > 0) {
        return COMMAND_FAILED;
    }
    return is_strict && report->count + report->left_out > 0 ? COMMAND_WARNED : COMMAND_OK;
}

int
check_run(const struct command_line *line, const struct command_io *io)
{
    const char *format = line->options[CHECK_FORMAT];
    size_t at = 0;
    while (format != NULL && at < ARRAY_LEN(formats) && strcmp(formats[at].name, format) != 0) {
        at++;
    }
    if (at == ARRAY_LEN(formats)) {
        return command_misused(io, "--format takes text, json or sarif, not \"%s\"", format);
    }
    struct config *config = load_config(line->operands, line->operand_count, CONFIG_FOR_CHECK);
    int result = verdict(config, line->options[CHECK_STRICT] != NULL);
    formats[at].print(config, io);
    config_free(&config);
    return result;
}
