/* SPDX-License-Identifier: Apache-2.0 */
/* Reads as `serve` does, and prints. */
#include "cli/check.h"

#include "base/bytes.h"
#include "cli/load.h"

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
    fprintf(out,
            "ok: vhost %.*s with %zu exchange%s, %zu queue%s, %zu binding%s, %zu user%s; %zu "
            "address%s to listen on; %zu warning%s\n",
            BYTES_FORMAT(config->vhost), config->exchange_count, plural(config->exchange_count),
            config->queue_count, plural(config->queue_count), config->binding_count,
            plural(config->binding_count), config->user_count, plural(config->user_count),
            addresses, addresses == 1 ? "" : "es", warnings, plural(warnings));
}

int
check_run(const struct command_line *line, const struct command_io *io)
{
    struct config *config = load_config(line->operands, line->operand_count, CONFIG_FOR_CHECK);
    size_t errors = config->report.error_count;
    load_print_report(config, io->err);
    if (errors == 0) {
        print_summary(config, io->out);
    } else {
        fprintf(io->err, "bourse: %zu error%s\n", errors, plural(errors));
    }
    config_free(&config);
    return errors == 0 ? COMMAND_OK : COMMAND_FAILED;
}
