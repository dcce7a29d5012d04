/* SPDX-License-Identifier: Apache-2.0 */
/* Files to a configuration that the broker will accept. */
#include "cli/files/load.h"

#include "base/clock.h"
#include "broker/plan/examine.h"
#include "cli/files/certificates.h"
#include "config/report.h"

enum { LINE_SIZE = 1024 };

/* What only the broker's own parts can judge. */
static void
examine(struct config *config, enum config_purpose purpose)
{
    examine_config(config);
    if (purpose == CONFIG_FOR_CHECK) {
        struct clock_source clock = clock_system();
        certificates_examine(config, clock.read(clock.context).wall_ms);
    }
}

struct config *
load_config(char *const *paths, size_t path_count, enum config_purpose purpose)
{
    struct config_environment environment = config_environment_system();
    const char *const *names = (const char *const *)paths;
    struct config *config = config_read(names, path_count, purpose, &environment);
    examine(config, purpose);
    report_sort(config, names, path_count);
    return config;
}

struct config *
load_config_texts(const struct config_source *texts, size_t count, enum config_purpose purpose)
{
    struct config_environment environment = config_environment_system();
    struct config *config = config_read_sources(texts, count, purpose, &environment);
    const char **names = arena_alloc(&config->arena, (count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = texts[i].name;
    }
    examine(config, purpose);
    report_sort(config, names, count);
    return config;
}

void
load_print_report(const struct config *config, FILE *out)
{
    const struct config_report *report = &config->report;
    char line[LINE_SIZE];
    for (size_t i = 0; i < report->count; i++) {
        fprintf(out, "%s\n", config_diagnostic_text(&report->items[i], line, sizeof(line)));
    }
    if (report->left_out > 0) {
        fprintf(out, "bourse: and %zu more\n", report->left_out);
    }
}
