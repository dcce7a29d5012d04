/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/definitions/definitions_load.h"
#include "cli/definitions/definitions_yaml.h"
#include "cli/topology/topology_call.h"
#include "config/yaml_tree.h"

enum { IMPORT_OUT, IMPORT_APPLY, IMPORT_YES, NAME_SIZE = 300 };

const struct command_option import_options[IMPORT_OPTION_COUNT] = {
    {"out", "DIR", "write VHOST.yaml into DIR for each vhost; - for standard output"},
    {"apply", NULL, "apply it to a running broker, vhost by vhost"},
    {"yes", NULL, "with --apply: do not ask"},
};

/* The vhost as a file name: what is no letter, digit, dot, hyphen or underscore is %XX; "/" alone
 * is "default", so that a vhost of that name is "%64efault". */
static void
make_file_name(struct bytes vhost, char out[static NAME_SIZE])
{
    size_t used = 0;
    if (bytes_equal_text(vhost, "/")) {
        (void)snprintf(out, NAME_SIZE, "default.yaml");
        return;
    }
    bool is_default = bytes_equal_text(vhost, "default");
    for (size_t i = 0; i < vhost.size && used + 10 < NAME_SIZE; i++) {
        uint8_t octet = vhost.data[i];
        bool is_plain = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
                        (octet >= '0' && octet <= '9') || octet == '-' || octet == '_' ||
                        (octet == '.' && i > 0);
        is_plain = is_plain && !(is_default && i == 0);
        used += (size_t)snprintf(out + used, NAME_SIZE - used, is_plain ? "%c" : "%%%02X", octet);
    }
    (void)snprintf(out + used, NAME_SIZE - used, ".yaml");
}

/* Opens a new file; one that is there is left alone. Its hashes are nobody else's business. */
static FILE *
open_new(const char *path, const struct command_io *io)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR | S_IRGRP);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        (void)command_error(
            io, COMMAND_FAILED, "cannot write %s: %s%s", path, strerrordesc_np(errno),
            errno == EEXIST ? "; move it away, or name another folder with --out" : "");
        if (fd >= 0) {
            close(fd);
        }
    }
    return file;
}

static bool
write_file(struct definitions *definitions, struct bytes vhost, const char *folder,
           const struct command_io *io)
{
    char name[NAME_SIZE];
    char path[4096];
    make_file_name(vhost, name);
    int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        fprintf(io->err, "bourse: the name of the folder is too long\n");
        return false;
    }
    FILE *file = open_new(path, io);
    if (file == NULL) {
        return false;
    }
    definitions_write_yaml(definitions, vhost, file);
    bool is_large = ftell(file) > YAML_FILE_SIZE_MAX;
    bool is_written = ferror(file) == 0;
    is_written = fclose(file) == 0 && is_written;
    if (!is_written) {
        (void)command_error(io, COMMAND_FAILED, "cannot write %s: %s", path,
                            strerrordesc_np(errno));
        return false;
    }
    if (is_large) {
        definitions_warn(definitions,
                         "%s is larger than the 1 MiB that a configuration file may have: cut it "
                         "into several",
                         path);
    }
    fprintf(io->out, "%s\n", path);
    return true;
}

/* A file may be about one vhost only, so there is no more than one on standard output. */
static bool
write_output(struct definitions *definitions, const struct command_io *io)
{
    if (definitions->vhosts.count > 1) {
        fprintf(io->err,
                "bourse: there are %zu vhosts, and a file is about one: choose with --vhost, or "
                "write them into a folder with --out DIR:\n",
                definitions->vhosts.count);
        for (size_t i = 0; i < definitions->vhosts.count; i++) {
            command_note(io, "  %.*s", BYTES_FORMAT(definitions->vhosts.items[i].name));
        }
        return false;
    }
    definitions_write_yaml(definitions, definitions->vhosts.items[0].name, io->out);
    return true;
}

static bool
write_files(struct definitions *definitions, const char *folder, const struct command_io *io)
{
    if (mkdir(folder, S_IRWXU | S_IRGRP | S_IXGRP) != 0 && errno != EEXIST) {
        (void)command_error(io, COMMAND_FAILED, "cannot make %s: %s", folder,
                            strerrordesc_np(errno));
        return false;
    }
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        if (!write_file(definitions, definitions->vhosts.items[i].name, folder, io)) {
            return false;
        }
    }
    return true;
}

/* Into a broker -------------------------------------------------------------------------------- */

/* The configuration of a vhost as the body of a request. NULL: there is no memory for it. */
static json_t *
body_of_vhost(struct definitions *definitions, struct bytes vhost)
{
    char name[NAME_SIZE];
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    json_t *body = NULL;
    make_file_name(vhost, name);
    if (memory != NULL) {
        definitions_write_yaml(definitions, vhost, memory);
    }
    if (memory != NULL && fclose(memory) == 0) {
        body =
            json_pack("{s:[{s:s, s:o}]}", "files", "name", name, "text", json_stringn(text, size));
    }
    free(text);
    return body;
}

static int
apply_vhost(struct definitions *definitions, struct bytes vhost, struct client *client,
            const struct command_line *line, const struct command_io *io)
{
    json_t *plan = NULL;
    json_t *body = body_of_vhost(definitions, vhost);
    if (body == NULL) {
        return command_error(io, COMMAND_FAILED, "there is no memory for it");
    }
    int result = topology_post(client, "/api/bourse/plan", body, &plan, io);
    if (result == COMMAND_OK) {
        result = topology_carry_out(client, "/api/bourse/apply", body, plan,
                                    line->options[IMPORT_YES] != NULL, line, io);
    }
    json_decref(plan);
    json_decref(body);
    return result;
}

static int
apply_all(struct definitions *definitions, const struct command_line *line,
          const struct command_io *io)
{
    struct client *client;
    int result = client_open(&client, line, io);
    for (size_t i = 0; i < definitions->vhosts.count && result == COMMAND_OK; i++) {
        result = apply_vhost(definitions, definitions->vhosts.items[i].name, client, line, io);
    }
    client_close(&client);
    return result;
}

/* The command ---------------------------------------------------------------------------------- */

static int
write_or_apply(struct definitions *definitions, const struct command_line *line,
               const struct command_io *io)
{
    const char *folder = line->options[IMPORT_OUT];
    if (line->options[IMPORT_APPLY] != NULL) {
        return apply_all(definitions, line, io);
    }
    bool is_good = folder == NULL || strcmp(folder, "-") == 0
                       ? write_output(definitions, io)
                       : write_files(definitions, folder, io);
    return is_good ? COMMAND_OK : COMMAND_FAILED;
}

/* A configuration file has no words for what people say of a vhost, and for global parameters. */
static void
warn_of_what_has_no_words(struct definitions *definitions)
{
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        const struct definitions_vhost *vhost = &definitions->vhosts.items[i];
        bool has_tags = vhost->tags != NULL && vhost->tags[0] != '\0';
        bool is_described = vhost->description != NULL && vhost->description[0] != '\0';
        if (is_described || has_tags) {
            definitions_warn(definitions,
                             "vhost \"%.*s\": its description and tags are left out: a file has "
                             "no words for them",
                             BYTES_FORMAT(vhost->name));
        }
    }
    for (size_t i = 0; i < definitions->parameters.count; i++) {
        definitions_warn(definitions,
                         "the global parameter \"%.*s\" is left out: a file has no words for it",
                         BYTES_FORMAT(definitions->parameters.items[i].name));
    }
}

int
import_run(const struct command_line *line, const struct command_io *io)
{
    struct definitions definitions;
    if (line->options[IMPORT_APPLY] != NULL && line->options[IMPORT_OUT] != NULL) {
        return command_misused(io, "--apply writes no files: leave --out away");
    }
    if (!definitions_load_json(&definitions, line->operands[0], line->shared[SHARED_VHOST], io)) {
        return COMMAND_FAILED;
    }
    int result = write_or_apply(&definitions, line, io);
    warn_of_what_has_no_words(&definitions);
    definitions_print_warnings(&definitions, io->err);
    definitions_fini(&definitions);
    return result;
}
