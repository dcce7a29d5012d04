/* SPDX-License-Identifier: Apache-2.0 */
/* The way from paths to a validated configuration: read, build trees, read them by the tables, then
 * compile section by section. Nothing stops at the first error but a file that cannot be parsed. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "config/document.h"
#include "config/file.h"
#include "config/listeners.h"
#include "config/policies.h"
#include "config/report.h"
#include "config/secrets.h"
#include "config/server.h"
#include "config/topology.h"
#include "config/users.h"

static const char *
get_system_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

struct config_environment
config_environment_system(void)
{
    return (struct config_environment){.get_variable = get_system_variable};
}

static struct config *
config_new(void)
{
    struct config *config = xalloc(sizeof(*config));
    arena_init(&config->arena);
    server_set_defaults(&config->server);
    config->vhost = bytes_of("/");
    config->connections_max = -1;
    config->queues_max = -1;
    return config;
}

struct config *
config_new_development(void)
{
    struct config *config = config_new();
    struct config_mark mark = {.file = "development mode"};
    config->is_development = true;
    config->server.data_dir = "./bourse-data";
    listener_set_address(config, LISTENER_AMQP, "127.0.0.1:5672", mark);
    listener_set_address(config, LISTENER_HTTP, "127.0.0.1:15672", mark);
    listener_set_address(config, LISTENER_METRICS, "127.0.0.1:15692", mark);
    config->users = arena_alloc(&config->arena, sizeof(*config->users));
    config->user_count = 1;
    config->users[0] = (struct config_user){
        .name = bytes_of("guest"),
        .auth = AUTH_PASSWORD,
        .password = arena_strdup(&config->arena, "guest"),
        .role = ROLE_ADMIN,
        .configure = ".*",
        .write = ".*",
        .read = ".*",
        .rights_mark = mark,
        .connections_max = -1,
        .channels_max = -1,
        .loopback_only = true,
        .mark = mark,
    };
    return config;
}

void
config_free(struct config **config)
{
    struct config *gone = *config;
    *config = NULL;
    if (gone == NULL) {
        return;
    }
    for (size_t i = 0; i < gone->user_count; i++) {
        /* The arena's own memory, so it may be written to. */
        char *password = (char *)(uintptr_t)gone->users[i].password;
        if (password != NULL) {
            explicit_bzero(password, strlen(password));
        }
    }
    arena_fini(&gone->arena);
    free(gone);
}

/* Files -------------------------------------------------------------------------------------- */

static struct config_mark
file_mark(const char *path)
{
    return (struct config_mark){.file = path};
}

/* Adds a file whose octets are at hand. `path` is the arena's. */
static void
add_text(struct config *config, struct document *document, const char *path, struct bytes text)
{
    text = yaml_without_mark(text);
    const struct node *root = yaml_tree_parse(config, path, text, NULL);
    if (root != NULL) {
        document_add(config, document, root);
        config->sources[config->source_count++] = (struct config_source){
            .name = path, .text = secrets_replace(&config->arena, root, text)};
    }
}

static void
add_file(struct config *config, struct document *document, const char *path)
{
    size_t capacity = YAML_FILE_SIZE_MAX + 1;
    size_t size = 0;
    uint8_t *text = try_alloc(capacity);
    enum status status = STATUS_NO_MEMORY;
    if (text != NULL) {
        status = strcmp(path, "-") == 0 ? file_read_input(text, capacity, &size)
                                        : file_read(path, text, capacity, &size, NULL);
    }
    if (status == STATUS_OK) {
        add_text(config, document, path, bytes_make(text, size));
    } else if (status == STATUS_FULL) {
        report_error(config, file_mark(path), "a configuration file may have at most 1 MiB");
    } else if (status == STATUS_IO) {
        report_error(config, file_mark(path), "cannot be read: %s", strerrordesc_np(errno));
    } else {
        report_error(config, file_mark(path), "cannot be read: %s", status_name(status));
    }
    free(text);
}

static int64_t
limit_or_none(const struct setting *setting)
{
    return setting->node == NULL ? -1 : setting->value.integer;
}

/* References can only be judged when every file has been understood. */
static void
compile(struct config *config, struct document *document, enum config_purpose purpose,
        const struct config_environment *environment)
{
    if (document->vhost_given.node != NULL) {
        config->vhost = document->vhost_given.value.text;
    }
    config->connections_max = limit_or_none(&document->limits.max_connections);
    config->queues_max = limit_or_none(&document->limits.max_queues);
    server_compile(config, document);
    topology_compile(config, document);
    policies_compile(config, document);
    listeners_compile(config, document, purpose);
    users_compile(config, document, purpose, environment);
}

/* A file that could not be understood has been reported: judging the references of the others
 * without it would only add noise. */
static void
finish(struct config *config, struct document *document, const char *const *paths,
       size_t path_count, enum config_purpose purpose, const struct config_environment *environment)
{
    if (document->file_count == path_count) {
        compile(config, document, purpose, environment);
    }
    document_fini(document);
    report_sort(config, paths, path_count);
}

static struct config *
config_new_for(size_t source_count)
{
    struct config *config = config_new();
    config->sources = arena_alloc(&config->arena, (source_count + 1) * sizeof(*config->sources));
    return config;
}

struct config *
config_read(const char *const *paths, size_t path_count, enum config_purpose purpose,
            const struct config_environment *environment)
{
    struct config *config = config_new_for(path_count);
    struct document document = {0};
    const char **names = arena_alloc(&config->arena, (path_count + 1) * sizeof(*names));
    for (size_t i = 0; i < path_count; i++) {
        names[i] = arena_strdup(&config->arena, paths[i]);
        add_file(config, &document, names[i]);
    }
    finish(config, &document, names, path_count, purpose, environment);
    return config;
}

struct config *
config_read_text(const char *path, struct bytes text, enum config_purpose purpose,
                 const struct config_environment *environment)
{
    struct config_source source = {.name = path, .text = text};
    return config_read_sources(&source, 1, purpose, environment);
}

struct config *
config_read_sources(const struct config_source *sources, size_t count, enum config_purpose purpose,
                    const struct config_environment *environment)
{
    struct config *config = config_new_for(count);
    struct document document = {0};
    const char **names = arena_alloc(&config->arena, (count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = arena_strdup(&config->arena, sources[i].name);
        add_text(config, &document, names[i], sources[i].text);
    }
    finish(config, &document, names, count, purpose, environment);
    return config;
}
