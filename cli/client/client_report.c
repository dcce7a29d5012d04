/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/client_parts.h"

#include <string.h>

#include "cli/text/reply_texts.h"

enum {
    HTTP_FORBIDDEN = 403,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD = 405,
    HTTP_PRECONDITION = 412,
    HTTP_UNAVAILABLE = 503,
};

int
client_report_no_answer(const struct client *client, CURLcode code)
{
    const char *place = client_place(client);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return command_error(client->io, COMMAND_UNREACHABLE,
                             "no broker answers at %s: nobody listens there, or may be reached by "
                             "you; start one with \"bourse serve\", or name another with --context",
                             place);
    case CURLE_OPERATION_TIMEDOUT:
        return command_error(client->io, COMMAND_UNREACHABLE,
                             "the broker at %s has not answered within %ld s; try a longer "
                             "--timeout, and \"bourse doctor\"",
                             place, client->timeout_s);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return command_error(client->io, COMMAND_UNREACHABLE,
                             "the broker at %s does not prove who it is: %s; give the context the "
                             "authority of its certificate with --ca-file",
                             place, client->library.easy_strerror(code));
    default:
        return command_error(
            client->io, COMMAND_UNREACHABLE,
            "the answer of %s broke off: %s; is a broker behind that address?", place,
            client->is_too_long ? "it is too long" : client->library.easy_strerror(code));
    }
}

const char *
client_reason_of(const json_t *answer)
{
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    if (reason == NULL) {
        reason = json_string_value(json_object_get(answer, "error"));
    }
    return reason == NULL ? "" : reason;
}

static int
report_unauthorized(const struct client *client)
{
    if (client->context.socket != NULL) {
        return command_error(
            client->io, COMMAND_DENIED,
            "the broker at %s does not let you in: its control socket is for root, "
            "the broker's own user and the group bourse; become one of them, or "
            "use a context with a user",
            client_place(client));
    }
    return command_error(client->io, COMMAND_DENIED,
                         "the broker at %s does not know this user with this password; see "
                         "\"bourse context ls\" for what the context says",
                         client_place(client));
}

/* Whether it is the login that was refused, and not what was asked for. */
static bool
is_about_login(const json_t *answer)
{
    const char *reason = json_string_value(json_object_get(answer, "reason"));
    return reason == NULL || strcmp(reason, "Login failed") == 0 ||
           strcmp(reason, "Not logged in") == 0;
}

/* What is refused to everybody is no question of rights. */
static const char *
next_when_denied(const char *reason)
{
    if (strstr(reason, "reserved prefix") != NULL) {
        return "such names are the broker's own: choose another";
    }
    if (strstr(reason, "default exchange") != NULL) {
        return "every queue is bound to it under its own name, and nobody can change that";
    }
    if (strstr(reason, "system exchange") != NULL) {
        return "it is one of the broker's own, which nobody changes";
    }
    return "it takes a user whose role or rights reach so far";
}

/* The code that the reason begins with, such as "PRECONDITION_FAILED - ..."; NULL: none. */
static const struct reply_explanation *
find_code(const char *reason)
{
    const struct reply_explanation *text;
    for (size_t i = 0; (text = reply_explanation_at(i)) != NULL; i++) {
        const char *name = reply_code_name((uint16_t)text->code);
        size_t size = strlen(name);
        if (strncmp(reason, name, size) == 0 && strncmp(reason + size, " - ", 3) == 0) {
            return text;
        }
    }
    return NULL;
}

static int
report_refused(const struct client *client, long status, const char *reason)
{
    const struct reply_explanation *code = find_code(reason);
    if (strcmp(reason, "vhost_or_user_not_found") == 0) {
        return command_error(client->io, COMMAND_NOT_FOUND,
                             "there is no such user, or no vhost \"%s\"; \"bourse ls users\" and "
                             "\"bourse ls vhosts\" show what there is",
                             client_vhost(client));
    }
    if (code != NULL) {
        return command_error(client->io, COMMAND_FAILED,
                             "refused: %s; \"bourse explain %d\" says more", reason,
                             (int)code->code);
    }
    return command_error(client->io, COMMAND_FAILED, "refused (HTTP %ld)%s%s", status,
                         reason[0] == '\0' ? "" : ": ", reason);
}

int
client_report(struct client *client, long status, const json_t *answer)
{
    const char *reason = client_reason_of(answer);
    const char *colon = reason[0] == '\0' ? "" : ": ";
    switch (status) {
    case HTTP_UNAUTHORIZED:
        if (is_about_login(answer)) {
            return report_unauthorized(client);
        }
        __attribute__((fallthrough)); /* RabbitMQ says so to whom it knows, too */
    case HTTP_FORBIDDEN:
        return command_error(client->io, COMMAND_DENIED, "not allowed%s%s; %s", colon, reason,
                             next_when_denied(reason));
    case HTTP_NOT_FOUND:
        return client_report_missing(client, answer);
    case HTTP_METHOD:
        return command_error(client->io, COMMAND_FAILED,
                             "the broker at %s cannot do that: it is older than this command, or "
                             "no Bourse; \"bourse status\" shows its version",
                             client_place(client));
    case HTTP_PRECONDITION:
        return command_error(client->io, COMMAND_FAILED,
                             "refused, for it is in use or not empty%s%s; look at it first, or "
                             "leave --if-empty and --if-unused away",
                             colon, reason);
    case HTTP_UNAVAILABLE:
        return command_error(client->io, COMMAND_FAILED,
                             "the broker cannot do that now%s%s; try again, and see \"bourse "
                             "status\"",
                             colon, reason);
    default:
        return report_refused(client, status, reason);
    }
}
