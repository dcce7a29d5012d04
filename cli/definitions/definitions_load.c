/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "cli/client/client.h"
#include "cli/definitions/definitions_config.h"
#include "cli/definitions/definitions_sort.h"
#include "cli/files/load.h"
#include "config/literal.h"
#include "management/definitions/definitions_read.h"

/* Some hundred thousand objects. */
enum { SIZE_MAX_OCTETS = 256 * 1024 * 1024, PIECE = 64 * 1024 };

/* All of it; false with a line. The buffer is the caller's in any case. */
static bool
read_whole(const char *path, struct buffer *text, const struct command_io *io)
{
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");
    const char *why = file == NULL ? strerrordesc_np(errno) : NULL;
    while (why == NULL) {
        uint8_t *room = buffer_reserve(text, PIECE);
        size_t got = room == NULL ? 0 : fread(room, 1, PIECE, file);
        if (room == NULL || buffer_size(text) > SIZE_MAX_OCTETS) {
            why = "larger than 256 MiB";
        } else if (got == 0) {
            why = ferror(file) != 0 ? strerrordesc_np(errno) : NULL;
            break;
        } else {
            buffer_commit(text, got);
        }
    }
    if (file != NULL && !is_input) {
        (void)fclose(file);
    }
    if (why != NULL) {
        (void)command_error(io, COMMAND_FAILED, "cannot read %s: %s", path, why);
    }
    return why == NULL;
}

/* Leaves the rows of a list that are of one vhost. */
#define KEEP_OF(list, name)                                                                        \
    do {                                                                                           \
        size_t kept_ = 0;                                                                          \
        for (size_t i_ = 0; i_ < (list).count; i_++) {                                             \
            if (bytes_equal((list).items[i_].vhost, (name))) {                                     \
                (list).items[kept_++] = (list).items[i_];                                          \
            }                                                                                      \
        }                                                                                          \
        (list).count = kept_;                                                                      \
    } while (0)

/* Whether a user has rights in other vhosts alone. One who has none at all may be meant for any. */
static bool
is_of_others(const struct definitions *definitions, struct bytes user, struct bytes vhost)
{
    bool is_elsewhere = false;
    for (size_t i = 0; i < definitions->permissions.count; i++) {
        const struct definitions_permission *permission = &definitions->permissions.items[i];
        bool is_his = bytes_equal(permission->user, user);
        if (is_his && bytes_equal(permission->vhost, vhost)) {
            return false;
        }
        is_elsewhere |= is_his;
    }
    return is_elsewhere;
}

static void
keep_users(struct definitions *definitions, struct bytes vhost)
{
    size_t kept = 0;
    for (size_t i = 0; i < definitions->users.count; i++) {
        if (!is_of_others(definitions, definitions->users.items[i].name, vhost)) {
            definitions->users.items[kept++] = definitions->users.items[i];
        }
    }
    definitions->users.count = kept;
}

/* Leaves one vhost over; false when it is not there. */
static bool
keep_vhost(struct definitions *definitions, const char *name, const char *path,
           const struct command_io *io)
{
    const struct definitions_vhost *vhost = definitions_find_vhost(definitions, bytes_of(name));
    if (vhost == NULL) {
        (void)command_error(io, COMMAND_FAILED, "%s has no vhost \"%s\"", path, name);
        return false;
    }
    definitions->vhosts.items[0] = *vhost;
    definitions->vhosts.count = 1;
    struct bytes kept = definitions->vhosts.items[0].name;
    keep_users(definitions, kept);
    KEEP_OF(definitions->permissions, kept);
    KEEP_OF(definitions->topic_permissions, kept);
    KEEP_OF(definitions->policies, kept);
    KEEP_OF(definitions->exchanges, kept);
    KEEP_OF(definitions->queues, kept);
    KEEP_OF(definitions->bindings, kept);
    return true;
}

/* No file can be about a vhost whose name it cannot say. */
static void
leave_out_unspeakable(struct definitions *definitions)
{
    size_t kept = 0;
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        struct definitions_vhost vhost = definitions->vhosts.items[i];
        const char *problem = literal_name_problem(vhost.name);
        if (problem == NULL) {
            definitions->vhosts.items[kept++] = vhost;
        } else {
            definitions_warn(definitions, "vhost \"%.*s\" is left out: the name %s",
                             BYTES_FORMAT(vhost.name), problem);
        }
    }
    definitions->vhosts.count = kept;
}

static bool
take_json(struct definitions *definitions, const char *path, struct bytes text, const char *vhost,
          const struct command_io *io)
{
    char why[DEFINITIONS_WHY_SIZE];
    definitions_init(definitions);
    if (definitions_read(definitions, text, bytes_of(vhost != NULL ? vhost : "/"), why) !=
        STATUS_OK) {
        (void)command_error(io, COMMAND_FAILED, "%s: %s", path, why);
        definitions_fini(definitions);
        return false;
    }
    leave_out_unspeakable(definitions);
    if (definitions->vhosts.count == 0) {
        definitions_print_warnings(definitions, io->err);
        (void)command_error(io, COMMAND_FAILED, "%s has no vhost", path);
    } else if (vhost == NULL || keep_vhost(definitions, vhost, path, io)) {
        return true;
    }
    definitions_fini(definitions);
    return false;
}

bool
definitions_load_json(struct definitions *definitions, const char *path, const char *vhost,
                      const struct command_io *io)
{
    struct buffer text;
    buffer_init(&text);
    bool is_good =
        read_whole(path, &text, io) && take_json(definitions, path, buffer_bytes(&text), vhost, io);
    buffer_fini(&text);
    return is_good;
}

bool
definitions_load_config(struct definitions *definitions, const char *path,
                        const struct command_io *io)
{
    char *const paths[] = {(char *)(uintptr_t)path};
    struct config *config = load_config(paths, 1, CONFIG_FOR_CHECK);
    bool is_good = config->report.error_count == 0;
    if (is_good) {
        definitions_init(definitions);
        definitions_add_config(definitions, config);
    } else {
        load_print_report(config, io->err);
    }
    config_free(&config);
    return is_good;
}

/* What the broker says, with the vhost that is meant or all of them. */
static int
load_from(struct definitions *definitions, struct client *client, const struct command_io *io)
{
    json_t *answer = NULL;
    int result = client_call(client, "GET", "/api/definitions", NULL, &answer);
    if (result == COMMAND_OK) {
        char *text = json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY);
        const char *vhost = client_has_vhost(client) ? client_vhost(client) : NULL;
        bool is_good =
            text != NULL && take_json(definitions, client_place(client), bytes_of(text), vhost, io);
        result = is_good ? COMMAND_OK : COMMAND_FAILED;
        if (is_good) {
            definitions_sort(definitions);
        }
        free(text);
    }
    json_decref(answer);
    return result;
}

int
definitions_load_broker(struct definitions *definitions, const struct command_line *line,
                        const struct command_io *io)
{
    struct client *client;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        result = load_from(definitions, client, io);
    }
    client_close(&client);
    return result;
}

int
definitions_load_place(struct definitions *definitions, struct context *place,
                       const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    int result = client_open_at(&client, place, line, io);
    if (result == COMMAND_OK) {
        result = load_from(definitions, client, io);
    }
    client_close(&client);
    return result;
}

static bool
begins_as_json(const char *path)
{
    FILE *file = fopen(path, "re");
    int first = ' ';
    while (file != NULL && (first == ' ' || first == '\n' || first == '\r' || first == '\t')) {
        first = fgetc(file);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return first == '{';
}

bool
definitions_load(struct definitions *definitions, const char *path, const char *vhost,
                 const struct command_io *io)
{
    return strcmp(path, "-") == 0 || begins_as_json(path)
               ? definitions_load_json(definitions, path, vhost, io)
               : definitions_load_config(definitions, path, io);
}

void
definitions_print_warnings(const struct definitions *definitions, FILE *out)
{
    for (size_t i = 0; i < definitions->warnings.count; i++) {
        fprintf(out, "bourse: warning: %s\n", definitions->warnings.items[i]);
    }
}
