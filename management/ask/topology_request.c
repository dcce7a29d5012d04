/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/topology_request.h"

#include "broker/plan/examine.h"
#include "config/password_hash.h"
#include "config/report.h"
#include "management/views/plan_json.h"

enum { FILES_MAX = 256, HTTP_UNPROCESSABLE = 422 };

/* Words ---------------------------------------------------------------------------------------- */

static bool
refuse_names(struct call *call, const char *name)
{
    call_fail(call, 400, "\"%s\" takes an array of names", name);
    return false;
}

/* An array of texts; absent: none. */
static bool
read_names(struct call *call, const json_t *body, const char *name, const struct bytes **names_out,
           size_t *count_out)
{
    const json_t *list = json_object_get(body, name);
    size_t count = json_array_size(list);
    if (list != NULL && !json_is_array(list)) {
        return refuse_names(call, name);
    }
    struct bytes *names = arena_alloc(&call->arena, (count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item)) {
            return refuse_names(call, name);
        }
        names[i] = bytes_make(json_string_value(item), json_string_length(item));
    }
    *names_out = names;
    *count_out = count;
    return true;
}

static bool
read_digest(struct call *call, const json_t *body, struct topology_request *request)
{
    char why[JSON_WHY_SIZE];
    struct bytes digest = bytes_make(NULL, 0);
    if (!json_read_text(body, "digest", &digest, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    request->has_digest = digest.data != NULL;
    if (request->has_digest && !digest_read(digest, &request->digest)) {
        call_fail(call, 400, "\"digest\" takes the 16 digits that a plan says");
        return false;
    }
    return true;
}

bool
topology_request_read(struct call *call, struct topology_request *request_out)
{
    struct topology_request request = {0};
    struct plan_options *options = &request.options;
    char why[JSON_WHY_SIZE];
    const json_t *body = call_json(call);
    if (body == NULL) {
        return false;
    }
    if (!json_read_bool(body, "prune", &options->prune, why) ||
        !json_read_bool(body, "dry_run", &request.is_dry_run, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (!read_names(call, body, "discard", &options->discards, &options->discard_count) ||
        !read_names(call, body, "unprotect", &options->unprotected, &options->unprotected_count) ||
        !read_digest(call, body, &request)) {
        return false;
    }
    *request_out = request;
    return true;
}

/* Files ---------------------------------------------------------------------------------------- */

static const char *
get_no_variable(void *context, const char *name)
{
    (void)context;
    (void)name;
    return NULL;
}

struct config *
topology_config_of(const struct config_source *sources, size_t count)
{
    static const struct config_environment nothing = {.get_variable = get_no_variable};
    struct config *config = config_read_sources(sources, count, CONFIG_FOR_APPLY, &nothing);
    const char **names = arena_alloc(&config->arena, (count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = arena_strdup(&config->arena, sources[i].name);
    }
    examine_config(config);
    report_sort(config, names, count);
    return config;
}

static bool
read_files(struct call *call, const json_t *files, struct config_source **sources_out)
{
    char why[JSON_WHY_SIZE];
    size_t count = json_array_size(files);
    if (count == 0 || count > FILES_MAX) {
        call_fail(call, 400, "\"files\" takes an array of 1 to %d {\"name\", \"text\"}", FILES_MAX);
        return false;
    }
    struct config_source *sources = arena_alloc(&call->arena, count * sizeof(*sources));
    for (size_t i = 0; i < count; i++) {
        const json_t *file = json_array_get(files, i);
        struct bytes name = bytes_make(NULL, 0);
        struct bytes text = bytes_make(NULL, 0);
        if (!json_is_object(file) || !json_read_text(file, "name", &name, why) ||
            !json_read_text(file, "text", &text, why) || name.size == 0 || text.data == NULL) {
            call_fail(call, 400, "\"files\": each is {\"name\": TEXT, \"text\": TEXT}");
            return false;
        }
        sources[i] = (struct config_source){.name = (const char *)name.data, .text = text};
    }
    *sources_out = sources;
    return true;
}

/* Passwords ------------------------------------------------------------------------------------ */

static struct config_user *
find_user(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->user_count; i++) {
        if (bytes_equal_text(config->users[i].name, name)) {
            return &config->users[i];
        }
    }
    return NULL;
}

/* The hash of a password that lies where the files were written. */
static bool
take_password(struct call *call, struct config *config, const char *name, const json_t *value)
{
    struct config_user *user = find_user(config, name);
    const char *problem = !json_is_string(value)
                              ? "is to be a text"
                              : password_hash_problem(bytes_of(json_string_value(value)));
    if (user == NULL || !user->keeps_password) {
        call_fail(call, 400,
                  "\"passwords\": the files have no user \"%s\" with password-file or password-env",
                  name);
        return false;
    }
    if (problem != NULL) {
        call_fail(call, 400, "\"passwords\": the hash of \"%s\" %s", name, problem);
        return false;
    }
    user->password_hash = arena_strdup(&config->arena, json_string_value(value));
    user->keeps_password = false;
    return true;
}

static bool
take_passwords(struct call *call, struct config *config)
{
    json_t *passwords = json_object_get(call->json, "passwords");
    if (passwords != NULL && !json_is_object(passwords)) {
        call_fail(call, 400, "\"passwords\" takes an object of hashes by user");
        return false;
    }
    for (void *at = json_object_iter(passwords); at != NULL;
         at = json_object_iter_next(passwords, at)) {
        if (!take_password(call, config, json_object_iter_key(at), json_object_iter_value(at))) {
            return false;
        }
    }
    return true;
}

/* Configurations ------------------------------------------------------------------------------- */

static const struct config_diagnostic *
first_error(const struct config *config)
{
    for (size_t i = 0; i < config->report.count; i++) {
        if (config->report.items[i].severity == CONFIG_ERROR) {
            return &config->report.items[i];
        }
    }
    return NULL;
}

void
topology_refuse_config(struct call *call, const struct config *config)
{
    char line[1024] = "there are errors";
    struct json_writer json;
    const struct config_diagnostic *error = first_error(config);
    if (error != NULL) {
        (void)config_diagnostic_text(error, line, sizeof(line));
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "error", "unprocessable");
    json_put_string(&json, "reason", line);
    json_put_unsigned(&json, "errors", config->report.error_count);
    json_put_unsigned(&json, "left_out", config->report.left_out);
    diagnostics_write(&json, "diagnostics", config);
    json_end_object(&json);
    call_answer_json(call, HTTP_UNPROCESSABLE, &json);
    json_fini(&json);
}

struct config *
topology_config_new(struct call *call)
{
    struct config_source *sources;
    const json_t *body = call_json(call);
    if (body == NULL) {
        return NULL;
    }
    const json_t *files = json_object_get(body, "files");
    if (!read_files(call, files, &sources)) {
        return NULL;
    }
    struct config *config = topology_config_of(sources, json_array_size(files));
    bool is_good = config->report.error_count == 0;
    if (!is_good) {
        topology_refuse_config(call, config);
    }
    if (!is_good || !take_passwords(call, config)) {
        config_free(&config);
    }
    return config;
}
