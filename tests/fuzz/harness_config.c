/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: whatever the text, reading ends, every diagnostic is one readable line with
 * a place in the file, `check` is never stricter than `serve`, and what is accepted can be applied
 * to a core. */
#include "config/config.h"

#include "amqp/table.h"
#include "tests/fuzz/core_world.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096 };

static const char *
get_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "PW") == 0 ? "a secret" : NULL;
}

static void
check_diagnostic(const struct config_diagnostic *diagnostic)
{
    char line[1024];
    struct bytes text = bytes_of(config_diagnostic_text(diagnostic, line, sizeof(line)));
    assert(diagnostic->mark.file != NULL);
    assert(diagnostic->mark.line >= 1);
    assert(diagnostic->mark.column >= 1);
    assert(bytes_is_utf8(text));
    assert(memchr(text.data, '\n', text.size) == NULL);
}

static void
check_arguments(struct bytes arguments)
{
    struct fault fault;
    assert(table_validate(arguments, TABLE_FIELDS_MAX, &fault) == STATUS_OK);
}

static void
check_objects(const struct config *config)
{
    for (size_t i = 0; i < config->exchange_count; i++) {
        check_arguments(config->exchanges[i].arguments);
        assert(config->exchanges[i].name.size <= UINT8_MAX);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        check_arguments(config->queues[i].arguments);
        assert(config->queues[i].name.size <= UINT8_MAX);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        check_arguments(config->bindings[i].arguments);
        assert(config->bindings[i].routing_key.size <= UINT8_MAX);
    }
}

/* Applied twice, as a reload does: the second time changes nothing, so it cannot fail either. */
static void
apply(const struct config *config)
{
    struct core_world world;
    struct core_settings settings = core_world_settings();
    core_world_init(&world, LOG_LEVEL_DEBUG);
    core_world_open(&world, &settings, core_world_nowhere());
    char why[512] = "";
    enum status first = core_apply(world.core, config, why, sizeof(why));
    enum status second = core_apply(world.core, config, why, sizeof(why));
    assert(first == second);
    core_world_close(&world);
}

static size_t
read_for(struct bytes text, enum config_purpose purpose)
{
    struct config_environment environment = {.get_variable = get_variable};
    struct config *config = config_read_text("f.yaml", text, purpose, &environment);
    size_t error_count = config->report.error_count;
    for (size_t i = 0; i < config->report.count; i++) {
        check_diagnostic(&config->report.items[i]);
    }
    if (error_count == 0) {
        check_objects(config);
        apply(config);
    }
    config_free(&config);
    return error_count;
}

static void
run(struct bytes input)
{
    struct bytes text = exact_copy(input);
    size_t serve_errors = read_for(text, CONFIG_FOR_SERVE);
    size_t check_errors = read_for(text, CONFIG_FOR_CHECK);
    assert(check_errors <= serve_errors);
    exact_copy_free(text);
}

const struct fuzz_target fuzz_config = {.name = "config", .size_max = INPUT_MAX, .run = run};
