/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/topology_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "broker/passwords/password.h"
#include "cli/files/load.h"
#include "config/file.h"
#include "config/yaml_tree.h"

/* Files ---------------------------------------------------------------------------------------- */

/* All of it, once: it may be a pipe. */
static enum status
read_text(const char *path, uint8_t *room, size_t *size_out)
{
    size_t capacity = YAML_FILE_SIZE_MAX + 1;
    return strcmp(path, "-") == 0 ? file_read_input(room, capacity, size_out)
                                  : file_read(path, room, capacity, size_out, NULL);
}

/* Reads `path` into `text`, whose octets are the caller's; false with a line. */
static bool
take_text(const char *path, struct config_source *text, const struct command_io *io)
{
    size_t size = 0;
    uint8_t *room = xalloc(YAML_FILE_SIZE_MAX + 1);
    enum status status = read_text(path, room, &size);
    *text = (struct config_source){.name = path, .text = bytes_make(room, size)};
    if (status == STATUS_FULL || size > YAML_FILE_SIZE_MAX) {
        (void)command_error(io, COMMAND_FAILED, "%s has more than 1 MiB; give it as several files",
                            path);
        return false;
    }
    if (status != STATUS_OK) {
        (void)command_error(io, COMMAND_FAILED, "cannot read %s: %s", path, strerror(errno));
    }
    return status == STATUS_OK;
}

static bool
add_file(json_t *files, const struct config_source *text, const struct command_io *io)
{
    json_t *octets = json_stringn((const char *)text->text.data, text->text.size);
    json_t *file = json_pack("{s:s, s:o}", "name", text->name, "text", octets);
    if (file == NULL) {
        (void)command_misused(io, "the name of %s is not UTF-8", text->name);
    }
    return file != NULL && json_array_append_new(files, file) == 0;
}

static void
print_errors(const struct config *config, FILE *out)
{
    char line[1024];
    for (size_t i = 0; i < config->report.count; i++) {
        const struct config_diagnostic *item = &config->report.items[i];
        if (item->severity == CONFIG_ERROR) {
            fprintf(out, "%s\n", config_diagnostic_text(item, line, sizeof(line)));
        }
    }
}

/* The body of those texts, or NULL. */
static json_t *
body_new(const struct config_source *texts, size_t count, struct config **config_out,
         const struct command_io *io)
{
    struct config *config = load_config_texts(texts, count, CONFIG_FOR_CHECK);
    json_t *files = json_array();
    bool is_good = config->report.error_count == 0;
    if (!is_good) {
        print_errors(config, io->err);
    }
    for (size_t i = 0; i < count && is_good; i++) {
        is_good = add_file(files, &texts[i], io);
    }
    if (!is_good) {
        json_decref(files);
        config_free(&config);
        return NULL;
    }
    *config_out = config;
    return json_pack("{s:o}", "files", files);
}

json_t *
topology_read_files(char *const *paths, size_t path_count, struct config **config_out,
                    const struct command_io *io)
{
    struct config_source *texts = xalloc(path_count * sizeof(*texts));
    size_t count = 0;
    bool is_good = true;
    while (count < path_count && is_good) {
        is_good = take_text(paths[count], &texts[count], io);
        count++;
    }
    json_t *body = is_good ? body_new(texts, count, config_out, io) : NULL;
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)texts[i].text.data);
    }
    free(texts);
    return body;
}

/* Passwords ------------------------------------------------------------------------------------ */

/* Whether the broker has this password already. Where it may be asked, that is cheaper than to hash
 * it, and it is the only way to know one that serve has read, of which there is no hash. */
static bool
is_known(struct client *client, const struct config_user *user, const char *salt)
{
    return salt != NULL &&
           client_is_password_of(client, (const char *)user->name.data, user->password);
}

static enum status
hash_password(const struct config_user *user, const char *salt, char out[static PASSWORD_HASH_SIZE])
{
    struct random_source random = random_system();
    struct bytes password = bytes_of(user->password);
    if (salt != NULL && password_hash_again(password, salt, out) == STATUS_OK) {
        return STATUS_OK;
    }
    return password_hash(password, &random, out);
}

/* One that cannot be read here is not sent, and the broker keeps the one it knows. */
static void
say_kept(const struct config_user *user, const struct command_io *io)
{
    bool has_one = user->password_hash != NULL || user->auth == AUTH_CERTIFICATE;
    if (user->password == NULL && !has_one) {
        command_note(io,
                     "bourse: warning: the password of user \"%.*s\" cannot be read here; the "
                     "broker keeps the one it knows",
                     BYTES_FORMAT(user->name));
    }
}

int
topology_put_passwords(struct client *client, json_t *body, const struct config *config,
                       const json_t *salts, const struct command_io *io)
{
    json_t *passwords = json_object();
    char hash[PASSWORD_HASH_SIZE];
    json_object_set_new(body, "passwords", passwords);
    for (size_t i = 0; i < config->user_count; i++) {
        const struct config_user *user = &config->users[i];
        const char *name = (const char *)user->name.data;
        say_kept(user, io);
        const char *salt = json_string_value(json_object_get(salts, name));
        if (user->password == NULL || is_known(client, user, salt)) {
            continue;
        }
        if (hash_password(user, salt, hash) != STATUS_OK) {
            return command_error(io, COMMAND_FAILED, "there is no memory to hash a password in");
        }
        json_object_set_new(passwords, name, json_string(hash));
    }
    return COMMAND_OK;
}
