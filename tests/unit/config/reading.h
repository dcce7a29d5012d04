/* SPDX-License-Identifier: Apache-2.0 */
/* Reading configurations from texts, for the tests of this folder. */
#ifndef BOURSE_TESTS_UNIT_CONFIG_READING_H
#define BOURSE_TESTS_UNIT_CONFIG_READING_H

#include "base/buffer.h"
#include "config/config.h"

#include <string.h>

/* Two lines that every configuration without a warning has: rows of tests begin in line 3. */
#define READING_HEAD                                                                               \
    "bourse: 1\n"                                                                                  \
    "users: {root: {auth: password, password-env: ROOT_PW, role: admin}}\n"

static inline const char *
reading_variable(void *context, const char *name)
{
    (void)context;
    if (strcmp(name, "ROOT_PW") == 0 || strcmp(name, "ONCALL_PW") == 0) {
        return "secret of a variable";
    }
    return strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

static inline struct config *
reading_of(const char *text, enum config_purpose purpose)
{
    struct config_environment environment = {.get_variable = reading_variable};
    return config_read_text("f.yaml", bytes_of(text), purpose, &environment);
}

/* All diagnostics without "f.yaml:", one a line; without those that say that a key has no effect
 * yet when `with_effects` is false. The buffer is the caller's. */
static inline const char *
reading_report(const struct config *config, bool with_effects, struct buffer *out)
{
    buffer_init(out);
    for (size_t i = 0; i < config->report.count; i++) {
        char line[1024];
        config_diagnostic_text(&config->report.items[i], line, sizeof(line));
        if (with_effects || strstr(line, "has no effect in this version") == NULL) {
            bool is_own = strncmp(line, "f.yaml:", 7) == 0;
            buffer_printf(out, "%s\n", is_own ? line + 7 : line);
        }
    }
    buffer_put_u8(out, 0);
    return (const char *)buffer_bytes(out).data;
}

#endif
