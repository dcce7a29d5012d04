/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor/support_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/doctor/doctor.h"
#include "cli/output/output.h"

/* What is asked for; what the broker does not have is left out. */
static const char *const routes[] = {
    "/api/overview",
    "/api/nodes",
    "/api/vhosts",
    "/api/users",
    "/api/permissions",
    "/api/topic-permissions",
    "/api/exchanges",
    "/api/queues",
    "/api/bindings",
    "/api/policies",
    "/api/operator-policies",
    "/api/parameters",
    "/api/connections",
    "/api/channels",
    "/api/consumers",
    "/api/vhost-limits",
    "/api/user-limits",
    "/api/config/effective",
    "/api/health/checks/alarms",
    "/api/bourse/attention",
    "/api/bourse/history",
    "/api/bourse/generations",
    "/api/bourse/dead-letters",
    "/api/bourse/drift",
};

/* Masking ------------------------------------------------------------------------------------ */

static bool
is_secret_name(const char *name)
{
    static const char *const words[] = {"password",   "hash",    "secret", "token",
                                        "credential", "private", "cookie"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasestr(name, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* True for an address with a user in it: amqp://user:password@host. */
static bool
has_user_in_address(const char *text)
{
    const char *slashes = strstr(text, "://");
    const char *at = slashes == NULL ? NULL : strrchr(slashes, '@');
    return at != NULL;
}

static json_t *
masked(void)
{
    return json_string("(masked)");
}

/* Values of an object that are to be masked, or looked into. The stack of `pending` is a list of
 * containers, so that the depth of the JSON does not matter. */
static void
mask_object(json_t *object, json_t *pending)
{
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, name, value)
    {
        bool is_secret = is_secret_name(name) && !json_is_object(value) && !json_is_array(value);
        if (is_secret || (json_is_string(value) && has_user_in_address(json_string_value(value)))) {
            json_object_set_new(object, name, masked());
        } else if (json_is_object(value) || json_is_array(value)) {
            json_array_append(pending, value);
        }
    }
}

static void
mask_array(json_t *array, json_t *pending)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *value = json_array_get(array, i);
        if (json_is_string(value) && has_user_in_address(json_string_value(value))) {
            json_array_set_new(array, i, masked());
        } else if (json_is_object(value) || json_is_array(value)) {
            json_array_append(pending, value);
        }
    }
}

void
support_mask(json_t *value)
{
    json_t *pending = json_array();
    json_array_append(pending, value);
    while (json_array_size(pending) > 0) {
        size_t last = json_array_size(pending) - 1;
        json_t *one = json_incref(json_array_get(pending, last));
        json_array_remove(pending, last);
        if (json_is_object(one)) {
            mask_object(one, pending);
        } else {
            mask_array(one, pending);
        }
        json_decref(one);
    }
    json_decref(pending);
}

/* Gathering ---------------------------------------------------------------------------------- */

static void
add_system(json_t *bundle)
{
    struct utsname name;
    if (uname(&name) == 0) {
        json_object_set_new(bundle, "system",
                            json_pack("{s:s, s:s, s:s}", "kernel", name.sysname, "release",
                                      name.release, "machine", name.machine));
    }
    json_object_set_new(bundle, "bourse", json_string(BOURSE_VERSION));
}

static void
add_routes(json_t *bundle, struct client *client)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        json_t *answer;
        if (client_probe(client, routes[i], &answer) == 200 && answer != NULL) {
            support_mask(answer);
            json_object_set(bundle, routes[i], answer);
        }
        json_decref(answer);
    }
}

/* A new file that only this user may read. */
static int
write_bundle(const json_t *bundle, const char *path, const struct command_io *io)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return command_error(io, COMMAND_FAILED, "%s cannot be made: %s; name another file", path,
                             strerror(errno));
    }
    bool is_written = json_dumpfd(bundle, fd, JSON_INDENT(1)) == 0;
    is_written = close(fd) == 0 && is_written;
    if (!is_written) {
        return command_error(io, COMMAND_FAILED, "%s cannot be written: %s; is the disk full?",
                             path, strerror(errno));
    }
    return COMMAND_OK;
}

int
support_bundle_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct client *client;
    int result = client_open(&client, line, io);
    if (result != COMMAND_OK) {
        return result;
    }
    json_t *bundle = json_object();
    add_system(bundle);
    json_object_set_new(bundle, "doctor", doctor_findings(client, NULL));
    add_routes(bundle, client);
    client_close(&client);
    result = write_bundle(bundle, line->operands[0], io);
    json_decref(bundle);
    if (result == COMMAND_OK) {
        result = output_result(
            &output, json_pack("{s:s, s:s}", "file", line->operands[0], "done", "written"),
            "written: %s; secrets are masked, names and addresses are not: read it "
            "before you pass it on",
            line->operands[0]);
    }
    return result;
}
