/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/topology_files.h"

#include <errno.h>
#include <string.h>

#include "base/buffer.h"
#include "base/random.h"
#include "broker/passwords/password.h"
#include "cli/files/load.h"

enum { PIECE = 64 * 1024 };

/* Files ---------------------------------------------------------------------------------------- */

/* All of it; what may be in a configuration file was judged when it was read as one. */
static bool
read_text(const char *path, struct buffer *text)
{
    FILE *file = fopen(path, "re");
    size_t got = file == NULL ? 0 : 1;
    while (got > 0) {
        uint8_t *room = buffer_reserve(text, PIECE);
        got = room == NULL ? 0 : fread(room, 1, PIECE, file);
        buffer_commit(text, got);
    }
    bool is_read = file != NULL && ferror(file) == 0 && !text->failed;
    if (file != NULL) {
        (void)fclose(file);
    }
    return is_read;
}

static bool
add_file(json_t *files, const char *path, const struct command_io *io)
{
    struct buffer text;
    buffer_init(&text);
    bool is_read = read_text(path, &text);
    if (is_read) {
        struct bytes octets = buffer_bytes(&text);
        json_t *file =
            json_pack("{s:s, s:o}", "name", path, "text",
                      json_stringn(octets.size == 0 ? "" : (const char *)octets.data, octets.size));
        if (file == NULL) {
            (void)command_misused(io, "the name of %s is not UTF-8", path);
        }
        is_read = file != NULL;
        json_array_append_new(files, file);
    } else {
        (void)command_error(io, COMMAND_FAILED, "cannot read %s: %s", path, strerror(errno));
    }
    buffer_fini(&text);
    return is_read;
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

json_t *
topology_read_files(char *const *paths, size_t path_count, struct config **config_out,
                    const struct command_io *io)
{
    struct config *config = load_config(paths, path_count, CONFIG_FOR_CHECK);
    json_t *files = json_array();
    bool is_good = config->report.error_count == 0;
    if (!is_good) {
        print_errors(config, io->err);
    }
    for (size_t i = 0; i < path_count && is_good; i++) {
        is_good = add_file(files, paths[i], io);
    }
    if (!is_good) {
        json_decref(files);
        config_free(&config);
        return NULL;
    }
    *config_out = config;
    return json_pack("{s:o}", "files", files);
}

/* Passwords ------------------------------------------------------------------------------------ */

bool
topology_has_passwords(const struct config *config)
{
    for (size_t i = 0; i < config->user_count; i++) {
        if (config->users[i].password != NULL) {
            return true;
        }
    }
    return false;
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
        fprintf(io->err,
                "bourse: warning: the password of user \"%.*s\" cannot be read here; the broker "
                "keeps the one it knows\n",
                BYTES_FORMAT(user->name));
    }
}

int
topology_put_passwords(json_t *body, const struct config *config, const json_t *salts,
                       const struct command_io *io)
{
    json_t *passwords = json_object();
    char hash[PASSWORD_HASH_SIZE];
    json_object_set_new(body, "passwords", passwords);
    for (size_t i = 0; i < config->user_count; i++) {
        const struct config_user *user = &config->users[i];
        const char *name = (const char *)user->name.data;
        say_kept(user, io);
        if (user->password == NULL) {
            continue;
        }
        if (hash_password(user, json_string_value(json_object_get(salts, name)), hash) !=
            STATUS_OK) {
            return command_error(io, COMMAND_FAILED, "there is no memory to hash a password in");
        }
        json_object_set_new(passwords, name, json_string(hash));
    }
    return COMMAND_OK;
}
