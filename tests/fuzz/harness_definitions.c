/* SPDX-License-Identifier: Apache-2.0 */
/* definitions.json of other brokers, or of somebody who means harm. It is refused with a line that
 * says why, or: what is written of it in our own form passes `bourse check`, what is written as
 * JSON is read again as the same, and a core takes it over, or says in a line what it cannot have.
 */
#include "management/definitions/definitions_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/plan/examine.h"
#include "cli/definitions/definitions_yaml.h"
#include "config/literal.h"
#include "management/definitions/definitions_apply.h"
#include "management/definitions/definitions_write.h"
#include "tests/fuzz/core_world.h"
#include "tests/fuzz/target.h"

enum { INPUT_MAX = 8192 };

static void
check_line(const char *text)
{
    struct bytes line = bytes_of(text);
    assert(line.size > 0);
    assert(memchr(line.data, '\n', line.size) == NULL);
}

static const char *
no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

static void
print_report(const struct config *config, struct bytes text)
{
    char line[1024];
    for (size_t i = 0; i < config->report.count; i++) {
        (void)fprintf(stderr, "%s\n",
                      config_diagnostic_text(&config->report.items[i], line, sizeof(line)));
    }
    (void)fprintf(stderr, "%.*s", BYTES_FORMAT(text));
}

/* What `bourse import` writes for a vhost. */
static void
check_yaml(struct definitions *definitions, struct bytes vhost)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert(out != NULL);
    definitions_write_yaml(definitions, vhost, out);
    (void)fclose(out);
    struct config_environment environment = {.get_variable = no_variable};
    struct config *config =
        config_read_text("f.yaml", bytes_make(text, size), CONFIG_FOR_CHECK, &environment);
    examine_config(config);
    if (config->report.error_count > 0) {
        print_report(config, bytes_make(text, size));
    }
    assert(config->report.error_count == 0);
    config_free(&config);
    free(text);
}

static void
write_json(const struct definitions *definitions, struct json_writer *json)
{
    json_init(json);
    definitions_write(definitions, "1", "4.1.0", json);
    assert(!json->out.failed);
}

/* Read again it is the same, to the octet. */
static void
check_json(const struct definitions *definitions)
{
    struct json_writer first;
    struct json_writer second;
    struct definitions again;
    char why[DEFINITIONS_WHY_SIZE] = "";
    write_json(definitions, &first);
    definitions_init(&again);
    enum status status =
        definitions_read(&again, buffer_bytes(&first.out), bytes_of("single"), why);
    assert(status == STATUS_OK);
    write_json(&again, &second);
    assert(bytes_equal(buffer_bytes(&first.out), buffer_bytes(&second.out)));
    definitions_fini(&again);
    json_fini(&first);
    json_fini(&second);
}

/* Taken over by a core, twice: what the first left the second finds. */
static void
apply(const struct definitions *definitions)
{
    struct core_world world;
    struct core_settings settings = core_world_settings();
    core_world_init(&world, LOG_LEVEL_DEBUG);
    core_world_open(&world, &settings, core_world_nowhere());
    for (int i = 0; i < 2; i++) {
        struct definitions_apply apply = {.definitions = definitions};
        enum request_progress progress = REQUEST_MORE;
        for (int turn = 0; progress != REQUEST_DONE; turn++) {
            uint32_t budget = 256;
            assert(turn < 1000);
            progress = definitions_apply_step(&apply, world.core, &budget);
        }
        if (apply.is_refused) {
            check_line(apply.change.why);
        }
    }
    core_world_close(&world);
}

static void
run(struct bytes input)
{
    struct definitions definitions;
    char why[DEFINITIONS_WHY_SIZE] = "";
    definitions_init(&definitions);
    enum status status = definitions_read(&definitions, input, bytes_of("single"), why);
    assert(status == STATUS_OK || status == STATUS_FAULT);
    if (status == STATUS_FAULT) {
        check_line(why);
    } else {
        check_json(&definitions);
        apply(&definitions);
        for (size_t i = 0; i < definitions.vhosts.count; i++) {
            struct bytes vhost = definitions.vhosts.items[i].name;
            if (literal_name_problem(vhost) == NULL) { /* others are left out before */
                check_yaml(&definitions, vhost);
            }
        }
        for (size_t i = 0; i < definitions.warnings.count; i++) {
            check_line(definitions.warnings.items[i]);
        }
    }
    definitions_fini(&definitions);
}

const struct fuzz_target fuzz_definitions = {
    .name = "definitions",
    .size_max = INPUT_MAX,
    .run = run,
};
