/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "cli/command/secret.h"
#include "cli/files/load.h"

enum { PATH_SIZE = 4096 };

static const char *const default_sockets[] = {
    "/run/bourse/bourse.sock",
    "./bourse-data/bourse.sock",
};

/* Names and addresses ------------------------------------------------------------------------ */

bool
context_is_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    return text[0] != '\0' && text[0] != '.' && text[0] != '-' &&
           text[strspn(text, allowed)] == '\0';
}

/* The host of an address is this machine. */
static bool
is_loopback(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t size = strlen(names[i]);
        if (strncmp(host, names[i], size) == 0 && strchr(":/", host[size]) != NULL) {
            return true;
        }
    }
    return false;
}

bool
context_is_url(const char *url, const char **why_out)
{
    bool is_secure = strncmp(url, "https://", 8) == 0;
    bool is_plain = strncmp(url, "http://", 7) == 0;
    const char *host = url + (is_secure ? 8 : 7);
    if (!is_secure && !is_plain) {
        *why_out = "is not https://HOST:PORT";
    } else if (host[0] == '\0' || host[0] == '/' || strpbrk(host, "@?# ") != NULL) {
        *why_out = "is not https://HOST:PORT, without user, query or blanks";
    } else if (is_plain && !is_loopback(host)) {
        *why_out = "would send the password in the clear: use https://";
    } else {
        return true;
    }
    return false;
}

/* The file ----------------------------------------------------------------------------------- */

/* The place of `name` in the user's configuration directory; false: the environment has none. */
static bool
find_path(char path[static PATH_SIZE], const char *name)
{
    const char *home = getenv("XDG_CONFIG_HOME");
    const char *below = "/bourse";
    if (home == NULL || home[0] != '/') {
        home = getenv("HOME");
        below = "/.config/bourse";
    }
    return home != NULL && home[0] == '/' &&
           snprintf(path, PATH_SIZE, "%s%s%s", home, below, name) < PATH_SIZE;
}

static int
parse_file(const char *path, json_t **contexts_out, const struct command_io *io)
{
    json_error_t error;
    json_t *contexts = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (contexts == NULL) {
        return command_error(io, COMMAND_FAILED,
                             "contexts cannot be read: %s, line %d: %s; mend or remove the file",
                             path, error.line, error.text);
    }
    if (!json_is_object(json_object_get(contexts, "contexts"))) {
        json_decref(contexts);
        return command_error(io, COMMAND_FAILED,
                             "contexts cannot be read: %s has no object \"contexts\"; remove the "
                             "file and add them anew",
                             path);
    }
    *contexts_out = contexts;
    return COMMAND_OK;
}

int
contexts_load(json_t **contexts_out, const struct command_io *io)
{
    char path[PATH_SIZE];
    if (find_path(path, "/contexts.json") && (access(path, F_OK) == 0 || errno != ENOENT)) {
        return parse_file(path, contexts_out, io);
    }
    *contexts_out = json_pack("{s:{}}", "contexts");
    return COMMAND_OK;
}

/* Makes the directory `path` and the one above it, for this user alone. */
static bool
make_directory(char *path)
{
    char *slash = strrchr(path, '/');
    *slash = '\0';
    bool is_made = path[0] == '\0' || mkdir(path, 0700) == 0 || errno == EEXIST;
    *slash = '/';
    return is_made && (mkdir(path, 0700) == 0 || errno == EEXIST);
}

/* Writes a new file and puts it in the place of the old one. */
static bool
replace_file(const char *path, const json_t *contexts)
{
    char temporary[PATH_SIZE + 8];
    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    int fd = mkstemp(temporary); /* of mode 0600 */
    if (fd < 0) {
        return false;
    }
    bool is_written = json_dumpfd(contexts, fd, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 &&
                      write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    is_written = close(fd) == 0 && is_written;
    if (is_written && rename(temporary, path) == 0) {
        return true;
    }
    int cause = errno;
    unlink(temporary);
    errno = cause;
    return false;
}

int
contexts_save(const json_t *contexts, const struct command_io *io)
{
    char directory[PATH_SIZE];
    char path[PATH_SIZE];
    if (!find_path(directory, "") || !find_path(path, "/contexts.json")) {
        return command_error(io, COMMAND_FAILED,
                             "contexts have no place: neither XDG_CONFIG_HOME nor HOME is set; set "
                             "one, or give --context the path of a control socket");
    }
    if (!make_directory(directory) || !replace_file(path, contexts)) {
        return command_error(io, COMMAND_FAILED,
                             "%s cannot be written: %s; is the directory yours?", path,
                             strerror(errno));
    }
    return COMMAND_OK;
}

/* Passwords ---------------------------------------------------------------------------------- */

static int
read_password(struct context *context, const json_t *entry, const struct command_io *io)
{
    const char *path = json_string_value(json_object_get(entry, "password-file"));
    const char *variable = json_string_value(json_object_get(entry, "password-env"));
    if (path != NULL) {
        return secret_from_file(&context->password, path, io);
    }
    if (variable != NULL) {
        return secret_from_variable(&context->password, variable, io);
    }
    return COMMAND_OK;
}

/* Finding ------------------------------------------------------------------------------------ */

static char *
copy_member(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text == NULL ? NULL : xstrdup(text);
}

static int
open_named(struct context *context, const json_t *contexts, const char *name,
           const struct command_io *io)
{
    const json_t *entry = json_object_get(json_object_get(contexts, "contexts"), name);
    if (!json_is_object(entry)) {
        return command_error(io, COMMAND_FAILED,
                             "there is no context \"%s\"; \"bourse context ls\" lists them, "
                             "\"bourse context add\" makes one",
                             name);
    }
    context->name = xstrdup(name);
    context->socket = copy_member(entry, "socket");
    context->url = copy_member(entry, "url");
    context->user = copy_member(entry, "user");
    context->ca_file = copy_member(entry, "ca-file");
    context->vhost = copy_member(entry, "vhost");
    if ((context->socket == NULL) == (context->url == NULL)) {
        return command_error(io, COMMAND_FAILED,
                             "context \"%s\" says no address, or two; remove it and add it anew",
                             name);
    }
    return read_password(context, entry, io);
}

static void
open_socket(struct context *context, const char *path)
{
    context->name = xstrdup(path);
    context->socket = xstrdup(path);
}

/* The control socket that a configuration file speaks of. */
static int
open_by_file(struct context *context, char *file, const struct command_io *io)
{
    struct config *config = load_config(&file, 1, CONFIG_FOR_CHECK);
    char path[PATH_SIZE];
    int result = COMMAND_OK;
    if (config->report.error_count > 0) {
        result = command_error(io, COMMAND_FAILED,
                               "%s does not say where the broker is: it has errors, or is no "
                               "configuration; \"bourse check\" shows them",
                               file);
    } else if (config->server.control_socket != NULL) {
        open_socket(context, config->server.control_socket);
    } else {
        snprintf(path, sizeof(path), "%s/bourse.sock", config->server.data_dir);
        open_socket(context, path);
    }
    config_free(&config);
    return result;
}

static bool
is_socket(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

static bool
ends_in(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static int
open_wanted(struct context *context, const json_t *contexts, const char *wanted,
            const struct command_io *io)
{
    bool is_file = ends_in(wanted, ".yaml") || ends_in(wanted, ".yml");
    if (strstr(wanted, "://") != NULL) { /* not repeated: there may be a password in it */
        return command_misused(io, "a context is a name, the path of a socket or a configuration "
                                   "file, and no address; \"bourse context add NAME --url "
                                   "https://HOST:PORT --user USER\" makes one of an address");
    }
    if (is_file) {
        char *path = xstrdup(wanted);
        int result = open_by_file(context, path, io);
        free(path);
        return result;
    }
    if (strchr(wanted, '/') != NULL || ends_in(wanted, ".sock")) {
        open_socket(context, wanted);
        return COMMAND_OK;
    }
    return open_named(context, contexts, wanted, io);
}

/* Whoever may write to the current directory could lay a socket there and be told passwords. */
static bool
is_trusted(const char *path)
{
    struct stat info;
    return path[0] == '/' ||
           (lstat(path, &info) == 0 && (info.st_uid == 0 || info.st_uid == geteuid()));
}

static int
open_default(struct context *context, const struct command_io *io)
{
    for (size_t i = 0; i < ARRAY_LEN(default_sockets); i++) {
        if (is_socket(default_sockets[i]) && is_trusted(default_sockets[i])) {
            open_socket(context, default_sockets[i]);
            return COMMAND_OK;
        }
    }
    return command_error(io, COMMAND_UNREACHABLE,
                         "no broker is near: neither %s nor %s is a control socket (of yours); "
                         "start one with \"bourse serve\", or name one with --context",
                         default_sockets[0], default_sockets[1]);
}

int
context_find(struct context *context, const char *wanted, const struct command_io *io)
{
    json_t *contexts = NULL;
    memset(context, 0, sizeof(*context));
    int result = contexts_load(&contexts, io);
    if (result != COMMAND_OK) {
        return result;
    }
    const char *variable = getenv("BOURSE_CONTEXT");
    if (wanted == NULL && variable != NULL && variable[0] != '\0') {
        wanted = variable;
    }
    if (wanted == NULL) {
        wanted = json_string_value(json_object_get(contexts, "current"));
    }
    result =
        wanted != NULL ? open_wanted(context, contexts, wanted, io) : open_default(context, io);
    json_decref(contexts);
    if (result != COMMAND_OK) {
        context_fini(context);
    }
    return result;
}

void
context_fini(struct context *context)
{
    secret_free(&context->password);
    free(context->name);
    free(context->socket);
    free(context->url);
    free(context->user);
    free(context->ca_file);
    free(context->vhost);
    memset(context, 0, sizeof(*context));
}
