/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/files/offline.h"

#include "base/clock.h"
#include "base/random.h"
#include "cli/files/load.h"

enum { WHY_SIZE = 1024 };

static void
print_errors(const struct config *config, FILE *out)
{
    char line[WHY_SIZE];
    for (size_t i = 0; i < config->report.count; i++) {
        const struct config_diagnostic *item = &config->report.items[i];
        if (item->severity == CONFIG_ERROR) {
            fprintf(out, "%s\n", config_diagnostic_text(item, line, sizeof(line)));
        }
    }
}

static bool
make_core(struct offline *offline, const struct command_io *io)
{
    struct core_settings settings = {0};
    struct core_ports ports = {.random = random_system()};
    struct clock_source clock = clock_system();
    char why[WHY_SIZE];
    offline->core = core_new(&settings, &ports, NULL, NULL, clock.read(clock.context));
    if (core_apply(offline->core, offline->config, why, sizeof(why)) == STATUS_OK) {
        return true;
    }
    fprintf(io->err, "%s\n", why);
    return false;
}

bool
offline_open(struct offline *offline, char *const *paths, size_t path_count, bool with_warnings,
             const struct command_io *io)
{
    *offline = (struct offline){
        .config = load_config(paths, path_count, CONFIG_FOR_CHECK),
    };
    if (with_warnings) {
        load_print_report(offline->config, io->err);
    } else {
        print_errors(offline->config, io->err);
    }
    if (offline->config->report.error_count == 0 && make_core(offline, io)) {
        return true;
    }
    offline_close(offline);
    return false;
}

void
offline_close(struct offline *offline)
{
    if (offline->core != NULL) {
        core_free(&offline->core);
    }
    config_free(&offline->config);
}
