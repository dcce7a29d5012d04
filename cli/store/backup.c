/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/store/backup.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client/client.h"
#include "cli/output/output.h"

/* A path that is not whole is meant from here: the broker works elsewhere. False: it is too long,
 * or nobody knows where this is. */
static bool
whole_path(char out[static PATH_MAX], const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/') {
        return (size_t)snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    }
    return getcwd(here, sizeof(here)) != NULL &&
           (size_t)snprintf(out, PATH_MAX, "%s/%s", here, path) < PATH_MAX;
}

int
backup_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct client *client;
    char path[PATH_MAX];
    json_t *answer = NULL;
    if (!whole_path(path, line->operands[0])) {
        return command_error(io, COMMAND_FAILED, "there is no such path: %s",
                             strerror(ENAMETOOLONG));
    }
    json_t *body = json_pack("{s:s}", "directory", path);
    if (body == NULL) {
        return command_misused(io, "the path is not UTF-8");
    }
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        client_allow(client, CLIENT_BACKUP_SECONDS);
        result = client_call(client, "POST", "/api/bourse/backup", body, &answer);
    }
    if (result == COMMAND_OK) {
        json_int_t linked = json_integer_value(json_object_get(answer, "files_linked"));
        json_int_t copied = json_integer_value(json_object_get(answer, "files_copied"));
        result = output_result(&output,
                               json_pack("{s:s, s:I, s:I}", "directory", path, "files_linked",
                                         linked, "files_copied", copied),
                               "backed up to %s: %lld files linked, %lld copied", path,
                               (long long)linked, (long long)copied);
    }
    json_decref(body);
    json_decref(answer);
    client_close(&client);
    return result;
}
