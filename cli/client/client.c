/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "cli/client/client_parts.h"
#include "cli/client/socket_probe.h"
#include "cli/command/interrupt.h"

enum {
    TIMEOUT_S = 10,
    MS_PER_S = 1000,
    CONNECT_TIMEOUT_MS = 5000,
    SHOWN_AFTER_MS = 500,         /* what takes longer shows on a terminal that it goes on */
    ANSWER_BYTES_MAX = 256 << 20, /* what a broker with very many queues says, and no more */
};

/* Paths -------------------------------------------------------------------------------------- */

/* RFC 3986: everything but the unreserved octets, so that a name is one segment. */
static void
put_encoded(struct buffer *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_.~";
    /* A segment of dots would be taken for a step in the path. */
    bool is_dots = strcmp(text, ".") == 0 || strcmp(text, "..") == 0;
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL && !is_dots) {
            buffer_put_u8(out, (uint8_t)*text);
        } else {
            buffer_printf(out, "%%%02X", (unsigned)(uint8_t)*text);
        }
    }
}

char *
client_path_new(const char *format, ...)
{
    struct buffer path;
    va_list arguments;
    buffer_init(&path);
    va_start(arguments, format);
    for (const char *at = format; *at != '\0'; at++) {
        if (at[0] == '{' && at[1] == '}') {
            put_encoded(&path, va_arg(arguments, const char *));
            at++;
        } else {
            buffer_put_u8(&path, (uint8_t)*at);
        }
    }
    va_end(arguments);
    buffer_put_u8(&path, '\0');
    char *text = xstrdup((const char *)buffer_bytes(&path).data);
    buffer_fini(&path);
    return text;
}

/* Opening ------------------------------------------------------------------------------------ */

static int
parse_timeout(struct client *client, const char *text)
{
    char *end;
    client->timeout_s = TIMEOUT_S;
    client->has_timeout = text != NULL;
    if (text == NULL) {
        return COMMAND_OK;
    }
    client->timeout_s = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || client->timeout_s < 1 ||
        client->timeout_s > 86400) {
        return command_misused(client->io,
                               "--timeout \"%s\" is not a number of seconds, 1 to 86400", text);
    }
    return COMMAND_OK;
}

static int
open_library(struct client *client)
{
    if (!curl_library_open(&client->library)) {
        return command_error(client->io, COMMAND_FAILED,
                             "libcurl is not installed, which carries requests to the broker; on "
                             "Debian: apt-get install libcurl4");
    }
    /* Over a control socket there is no TLS, and the library need not get it ready. */
    bool is_secure = client->context.socket == NULL;
    client->library.global_init(is_secure ? CURL_GLOBAL_DEFAULT : CURL_GLOBAL_NOTHING);
    client->curl = client->library.easy_init();
    if (client->curl == NULL) {
        return command_error(client->io, COMMAND_FAILED,
                             "libcurl could not be made ready; is there memory left?");
    }
    return COMMAND_OK;
}

/* Takes `place`, which is empty when it is still to be found. */
static int
open_place(struct client **client_out, struct context *place, const struct command_line *line,
           const struct command_io *io)
{
    struct client *client = xalloc(sizeof(*client));
    client->io = io;
    client->line = line;
    buffer_init(&client->answer);
    client->context = *place;
    int result = parse_timeout(client, line->shared[SHARED_TIMEOUT]);
    if (result == COMMAND_OK && place->name == NULL) {
        result = context_find(&client->context, line->shared[SHARED_CONTEXT], io);
    }
    client->is_quiet = line->shared[SHARED_QUIET] != NULL || line->shared[SHARED_WATCH] != NULL;
    const char *vhost = line->shared[SHARED_VHOST];
    client->vhost = vhost != NULL ? vhost : client->context.vhost;
    if (result != COMMAND_OK) {
        client_close(&client);
    }
    *client_out = client;
    return result;
}

/* The same, ready to carry requests. */
static int
open_at(struct client **client_out, struct context *place, const struct command_line *line,
        const struct command_io *io)
{
    int result = open_place(client_out, place, line, io);
    if (result == COMMAND_OK) {
        result = open_library(*client_out);
    }
    if (result != COMMAND_OK) {
        client_close(client_out);
    }
    return result;
}

int
client_open(struct client **client_out, const struct command_line *line,
            const struct command_io *io)
{
    struct context nowhere = {.name = NULL};
    return open_at(client_out, &nowhere, line, io);
}

int
client_open_at(struct client **client_out, struct context *place, const struct command_line *line,
               const struct command_io *io)
{
    assert(place->name != NULL);
    return open_at(client_out, place, line, io);
}

int
client_open_place(struct client **client_out, const struct command_line *line,
                  const struct command_io *io)
{
    struct context nowhere = {.name = NULL};
    return open_place(client_out, &nowhere, line, io);
}

void
client_close(struct client **client)
{
    if (*client == NULL) {
        return;
    }
    if ((*client)->curl != NULL) {
        (*client)->library.easy_cleanup((*client)->curl);
        (*client)->library.global_cleanup();
    }
    context_fini(&(*client)->context);
    buffer_fini(&(*client)->answer);
    free(*client);
    *client = NULL;
}

void
client_allow(struct client *client, long seconds)
{
    client->timeout_s = client->has_timeout ? client->timeout_s : seconds;
}

const char *
client_vhost(const struct client *client)
{
    return client_has_vhost(client) ? client->vhost : "/";
}

bool
client_has_vhost(const struct client *client)
{
    return client->vhost != NULL;
}

const char *
client_place(const struct client *client)
{
    return client->context.socket != NULL ? client->context.socket : client->context.url;
}

/* A request ---------------------------------------------------------------------------------- */

static long last_status(const struct client *client);

/* Whole lines go on, but for one that says that something went wrong. False: no more are taken. */
static bool
pass_lines(struct client *client)
{
    struct bytes octets = buffer_bytes(&client->answer);
    const uint8_t *end = octets.size == 0 ? NULL : memrchr(octets.data, '\n', octets.size);
    static const char error[] = "{\"error\":";
    size_t size = end == NULL ? 0 : (size_t)(end - octets.data) + 1;
    const uint8_t *before = size < 2 ? NULL : memrchr(octets.data, '\n', size - 1);
    size_t last = before == NULL ? 0 : (size_t)(before - octets.data) + 1;
    bool is_error = size > last && size - last > strlen(error) &&
                    memcmp(octets.data + last, error, strlen(error)) == 0;
    size = is_error ? last : size;
    client->has_enough =
        size > 0 && !client->take(client->take_context, bytes_make(octets.data, size));
    buffer_consume(&client->answer, size);
    return !client->has_enough;
}

static size_t
take_answer(char *data, size_t size, size_t count, void *context)
{
    struct client *client = context;
    if (buffer_size(&client->answer) + size * count > ANSWER_BYTES_MAX) {
        client->is_too_long = true;
        return 0;
    }
    buffer_put(&client->answer, data, size * count);
    client->taken_octets += size * count;
    /* Of a line that is long and comes in many parts, each part is looked at once. */
    bool has_end = size * count > 0 && memchr(data, '\n', size * count) != NULL;
    if (has_end && client->take != NULL && last_status(client) == HTTP_OK && !pass_lines(client)) {
        return 0;
    }
    return client->answer.failed ? 0 : size * count;
}

static void
set_place(struct client *client, const char *path)
{
    struct buffer url;
    buffer_init(&url);
    const char *base = client->context.url != NULL ? client->context.url : "http://localhost";
    size_t size = strlen(base);
    size -= size > 0 && base[size - 1] == '/' ? 1 : 0;
    buffer_printf(&url, "%.*s%s", (int)size, base, path);
    buffer_put_u8(&url, '\0');
    client->library.easy_setopt(client->curl, CURLOPT_URL, (const char *)buffer_bytes(&url).data);
    if (client->context.socket != NULL) {
        client->library.easy_setopt(client->curl, CURLOPT_UNIX_SOCKET_PATH, client->context.socket);
    }
    buffer_fini(&url);
}

static void
set_credentials(struct client *client)
{
    const struct context *context = &client->context;
    client->library.easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    client->library.easy_setopt(client->curl, CURLOPT_PROXY, "");
    if (context->ca_file != NULL) {
        client->library.easy_setopt(client->curl, CURLOPT_CAINFO, context->ca_file);
    }
    if (context->user != NULL) {
        client->library.easy_setopt(client->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        client->library.easy_setopt(client->curl, CURLOPT_USERNAME, context->user);
        client->library.easy_setopt(client->curl, CURLOPT_PASSWORD,
                                    context->password != NULL ? context->password : "");
    }
}

static uint64_t
now_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).monotonic_ms;
}

static void
show_that_it_goes_on(struct client *client)
{
    if (now_ms() - client->asked_ms < SHOWN_AFTER_MS) {
        return;
    }
    if (client->take == NULL) {
        progress_show(&client->progress, 0, 0, "%s is at work", client_place(client));
    } else {
        progress_show(&client->progress, 0, 0, "%.1f MiB",
                      (double)client->taken_octets / (double)(1 << 20));
    }
}

/* Called about once a second, when octets come, and when a signal has come. */
static int
on_progress(void *context, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
    struct client *client = context;
    (void)to_get;
    (void)got;
    (void)to_send;
    (void)sent;
    if (client->is_following) {
        return interrupt_came() ? 1 : 0;
    }
    show_that_it_goes_on(client);
    return 0;
}

static void
set_limits(struct client *client)
{
    client->library.easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
    client->library.easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    client->library.easy_setopt(client->curl, CURLOPT_XFERINFODATA, client);
    client->library.easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    client->library.easy_setopt(client->curl, CURLOPT_PATH_AS_IS, 1L);
    client->library.easy_setopt(client->curl, CURLOPT_TIMEOUT,
                                client->take != NULL ? 0L : client->timeout_s);
    client->library.easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    client->library.easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_answer);
    client->library.easy_setopt(client->curl, CURLOPT_WRITEDATA, client);
}

/* Performs; the connection is kept for the next request. */
static CURLcode
perform(struct client *client, const char *method, const char *path, const char *body)
{
    buffer_clear(&client->answer);
    client->is_too_long = false;
    client->library.easy_reset(client->curl);
    set_place(client, path);
    set_credentials(client);
    set_limits(client);
    struct curl_slist *headers = client->library.slist_append(NULL, "Accept: application/json");
    client->library.easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    if (body != NULL) {
        headers = client->library.slist_append(headers, "Content-Type: application/json");
        client->library.easy_setopt(client->curl, CURLOPT_POSTFIELDS, body);
        client->library.easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                    (curl_off_t)strlen(body));
    }
    client->library.easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    client->asked_ms = now_ms();
    client->taken_octets = 0;
    client->progress = progress_begin(client->io, client->is_quiet);
    CURLcode code = client->library.easy_perform(client->curl);
    progress_end(&client->progress);
    client->library.slist_free_all(headers);
    return code;
}

/* Calls -------------------------------------------------------------------------------------- */

static json_t *
parse_answer(const struct client *client)
{
    struct bytes octets = buffer_bytes(&client->answer);
    if (octets.size == 0) {
        return NULL;
    }
    return json_loadb((const char *)octets.data, octets.size, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      NULL);
}

static long
last_status(const struct client *client)
{
    long status = 0;
    client->library.easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static int
finish_call(struct client *client, json_t **answer_out)
{
    long status = last_status(client);
    json_t *answer = parse_answer(client);
    int result = COMMAND_OK;
    if (status < HTTP_OK || status >= HTTP_REDIRECT) {
        result = client_report(client, status, answer);
    } else if (answer == NULL && buffer_size(&client->answer) > 0 && answer_out != NULL) {
        result = command_error(client->io, COMMAND_UNREACHABLE,
                               "what answers at %s speaks no JSON; is a broker behind that "
                               "address?",
                               client_place(client));
    }
    if (result == COMMAND_OK && answer_out != NULL) {
        *answer_out = answer;
    } else {
        json_decref(answer);
    }
    return result;
}

static CURLcode
perform_json(struct client *client, const char *method, const char *path, const json_t *body)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    CURLcode code = perform(client, method, path, text);
    if (text != NULL) {
        explicit_bzero(text, strlen(text)); /* it may hold a password */
        free(text);
    }
    return code;
}

int
client_call(struct client *client, const char *method, const char *path, const json_t *body,
            json_t **answer_out)
{
    CURLcode code = perform_json(client, method, path, body);
    return code == CURLE_OK ? finish_call(client, answer_out)
                            : client_report_no_answer(client, code);
}

/* What socket_probe came to, in the words of every other request. */
static int
report_probe(struct client *client, int status)
{
    if (status == HTTP_OK) {
        return COMMAND_OK;
    }
    if (status != 0) {
        return client_report(client, status, NULL);
    }
    switch (errno) {
    case ETIMEDOUT:
        return client_report_no_answer(client, CURLE_OPERATION_TIMEDOUT);
    case EPROTO:
        return command_error(client->io, COMMAND_UNREACHABLE,
                             "what answers at %s speaks no HTTP; is a broker behind that address?",
                             client_place(client));
    default:
        return client_report_no_answer(client, CURLE_COULDNT_CONNECT);
    }
}

int
client_ping(struct client *client)
{
    static const char who[] = "/api/whoami";
    if (client->context.socket != NULL) {
        return report_probe(
            client, socket_probe(client->context.socket, who, client->timeout_s * MS_PER_S));
    }
    int result = open_library(client);
    return result == COMMAND_OK ? client_call(client, "GET", who, NULL, NULL) : result;
}

int
client_try(struct client *client, const char *method, const char *path, const json_t *body,
           long *status_out, json_t **answer_out)
{
    CURLcode code = perform_json(client, method, path, body);
    if (code != CURLE_OK) {
        return client_report_no_answer(client, code);
    }
    *status_out = last_status(client);
    *answer_out = parse_answer(client);
    return COMMAND_OK;
}

long
client_probe(struct client *client, const char *path, json_t **answer_out)
{
    *answer_out = NULL;
    if (perform(client, "GET", path, NULL) != CURLE_OK) {
        return 0;
    }
    *answer_out = parse_answer(client);
    return last_status(client);
}

/* Whoever may log in and has no role is told that, and not that the login failed. */
static bool
is_let_in(long status, const json_t *answer)
{
    return status == HTTP_OK ||
           (status == HTTP_UNAUTHORIZED && strstr(client_reason_of(answer), "has no role") != NULL);
}

bool
client_is_password_of(struct client *client, const char *user, const char *password)
{
    /* HTTP has no word for a user with a colon. */
    if (client->context.socket == NULL || strchr(user, ':') != NULL) {
        return false;
    }
    json_t *answer = NULL;
    struct context own = client->context;
    client->context.user = (char *)(uintptr_t)user;
    client->context.password = (char *)(uintptr_t)password;
    long status = client_probe(client, "/api/whoami", &answer);
    client->context = own;
    bool is_its = is_let_in(status, answer);
    json_decref(answer);
    return is_its;
}

/* What an answer that was passed on as it came has ended in. */
static int
judge_stream(struct client *client, CURLcode code)
{
    if (code != CURLE_OK) {
        return client_report_no_answer(client, code);
    }
    json_t *answer = parse_answer(client);
    int result = COMMAND_OK;
    if (last_status(client) != HTTP_OK) {
        result = client_report(client, last_status(client), answer);
    } else if (buffer_size(&client->answer) > 0) {
        result = command_error(client->io, COMMAND_FAILED,
                               "the broker has stopped before the end: %s; what was written is not "
                               "all",
                               client_reason_of(answer));
    }
    json_decref(answer);
    return result;
}

static CURLcode
perform_stream(struct client *client, const char *path,
               bool (*take)(void *context, struct bytes lines), void *context)
{
    client->take = take;
    client->take_context = context;
    client->has_enough = false;
    CURLcode code = perform(client, "GET", path, NULL);
    client->take = NULL;
    return code;
}

static bool
write_lines(void *context, struct bytes lines)
{
    return fwrite(lines.data, 1, lines.size, context) == lines.size;
}

int
client_stream(struct client *client, const char *path, FILE *out)
{
    bool was_quiet = client->is_quiet;
    client->is_quiet |= isatty(fileno(out)) == 1; /* there one sees that it goes on */
    CURLcode code = perform_stream(client, path, write_lines, out);
    client->is_quiet = was_quiet;
    if (code == CURLE_WRITE_ERROR && !client->is_too_long) {
        return command_error(client->io, COMMAND_FAILED,
                             "what comes cannot be written; is the disk full, or has the reader "
                             "gone?");
    }
    return judge_stream(client, code);
}

int
client_follow(struct client *client, const char *path,
              bool (*take)(void *context, struct bytes lines), void *context)
{
    client->is_following = true;
    CURLcode code = perform_stream(client, path, take, context);
    client->is_following = false;
    bool is_good_end = client->has_enough || code == CURLE_ABORTED_BY_CALLBACK;
    return is_good_end ? COMMAND_OK : judge_stream(client, code);
}
