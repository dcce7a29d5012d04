/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/http_check.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "management/http/server.h"
#include "management/json/base64.h"

/* Headers that mean nothing good when they stand twice. */
static const char *const single_headers[] = {
    "Authorization", "Content-Encoding", "Content-Length", "Content-Type",      "Cookie",
    "Host",          "Origin",           "Sec-Fetch-Site", "Transfer-Encoding", "X-Bourse-CSRF",
};

static const char *
find_header(struct evhttp_request *http, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(http), name);
}

static uint32_t
count_header(struct evhttp_request *http, const char *name)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(http);
    uint32_t count = 0;
    for (const struct evkeyval *at = headers->tqh_first; at != NULL; at = at->next.tqe_next) {
        count += strcasecmp(at->key, name) == 0 ? 1 : 0;
    }
    return count;
}

static bool
is_number(const char *text)
{
    enum { DIGITS_MAX = 12 };
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= DIGITS_MAX && text[digits] == '\0';
}

/* How long the body is must be said in one way. */
static const char *
check_framing(struct evhttp_request *http, const struct http_chunks *chunks)
{
    const char *length = find_header(http, "Content-Length");
    const char *coding = find_header(http, "Transfer-Encoding");
    if (length != NULL && coding != NULL) {
        return "Content-Length and Transfer-Encoding exclude each other";
    }
    if (length != NULL && !is_number(length)) {
        return "Content-Length is a number";
    }
    if (coding != NULL && strcasecmp(coding, "chunked") != 0) {
        return "Transfer-Encoding is chunked, or absent";
    }
    if (coding != NULL && chunks->state != CHUNKS_OVER) {
        return "a chunk begins with its size in hexadecimal digits, and nothing follows the last";
    }
    return NULL;
}

/* libevent takes "Content-Length : 2" for another header than a proxy may take it for. */
static bool
is_header_name(const char *text)
{
    size_t size = strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return size > 0 && text[size] == '\0';
}

static const char *
check_headers(struct evhttp_request *http, const struct http_head *head,
              const struct http_chunks *chunks)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(http);
    for (const struct evkeyval *at = headers->tqh_first; at != NULL; at = at->next.tqe_next) {
        if (!is_header_name(at->key)) {
            return "the name of a header is a word, with the colon right behind it";
        }
    }
    if (head->has_control) {
        return "a head has no control characters";
    }
    if (head->has_fold) {
        return "a header has one line";
    }
    if (head->size > HTTP_HEAD_MAX) {
        return "the head is too large";
    }
    for (size_t i = 0; i < ARRAY_LEN(single_headers); i++) {
        if (count_header(http, single_headers[i]) > 1) {
            return "a header stands twice that may stand once";
        }
    }
    return check_framing(http, chunks);
}

/* A browser says with which site it has to do only over TLS and on this machine; of which origin a
 * change is it always says. */
static bool
is_change(struct evhttp_request *http)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(http);
    return method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD;
}

int
http_check_head(struct evhttp_request *http, const struct http_head *head,
                const struct http_chunks *chunks, const char **why_out)
{
    const char *uri = evhttp_request_get_uri(http);
    const char *site = find_header(http, "Sec-Fetch-Site");
    *why_out = check_headers(http, head, chunks);
    if (*why_out != NULL) {
        return 400;
    }
    if (uri == NULL || strlen(uri) > HTTP_URI_MAX) {
        *why_out = "the path is too long";
        return 414;
    }
    if (strchr(uri, ' ') != NULL) { /* others may take what is behind it for the version */
        *why_out = "a path has no spaces; they are written %20";
        return 400;
    }
    if (site != NULL ? strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0
                     : is_change(http) && http_is_of_other_origin(http)) {
        *why_out = "a page of another site may not ask";
        return 403;
    }
    if (find_header(http, "Content-Encoding") != NULL) {
        *why_out = "a body that is encoded (compressed) is not taken";
        return 415;
    }
    return 0;
}

/* "application/json; charset=utf-8" is "application/json". */
static bool
is_type(const char *value, const char *type)
{
    size_t size = strlen(type);
    return value != NULL && strncasecmp(value, type, size) == 0 &&
           (value[size] == '\0' || value[size] == ';' || value[size] == ' ');
}

int
http_check_body(struct evhttp_request *http, const struct route *route, const char **why_out)
{
    size_t size = evbuffer_get_length(evhttp_request_get_input_buffer(http));
    const char *type = find_header(http, "Content-Type");
    if (size == 0) {
        return 0;
    }
    if (size > route->body_max) {
        *why_out = route->body_max == 0 ? "this takes no body" : "the body is too large";
        return 413;
    }
    if (!is_type(type, "application/json") &&
        ((route->flags & ROUTE_TAKES_FORM) == 0 || !is_type(type, "multipart/form-data"))) {
        *why_out = "the body is application/json, and its Content-Type says so";
        return 415;
    }
    return 0;
}

bool
http_method(struct evhttp_request *http, enum route_method *method_out)
{
    switch (evhttp_request_get_command(http)) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD:
        *method_out = ROUTE_GET;
        return true;
    case EVHTTP_REQ_PUT:
        *method_out = ROUTE_PUT;
        return true;
    case EVHTTP_REQ_POST:
        *method_out = ROUTE_POST;
        return true;
    case EVHTTP_REQ_DELETE:
        *method_out = ROUTE_DELETE;
        return true;
    default:
        return false;
    }
}

bool
http_is_head(struct evhttp_request *http)
{
    return evhttp_request_get_command(http) == EVHTTP_REQ_HEAD;
}

bool
http_is_of_browser(struct evhttp_request *http)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(http);
    for (const struct evkeyval *at = headers->tqh_first; at != NULL; at = at->next.tqe_next) {
        if (strncasecmp(at->key, "Sec-Fetch-", sizeof("Sec-Fetch-") - 1) == 0) {
            return true;
        }
    }
    return false;
}

/* Credentials -------------------------------------------------------------------------------- */

bool
http_read_credentials(const char *value, struct buffer *out, struct bytes *user_out,
                      struct bytes *password_out, bool *is_malformed)
{
    *is_malformed = false;
    if (value == NULL) {
        return false;
    }
    *is_malformed = true;
    if (strncasecmp(value, "Basic ", 6) != 0 ||
        !base64_read(out, bytes_of(value + 6 + strspn(value + 6, " ")))) {
        return false;
    }
    struct bytes both = buffer_bytes(out);
    const uint8_t *colon = both.size == 0 ? NULL : memchr(both.data, ':', both.size);
    if (colon == NULL || memchr(both.data, 0, both.size) != NULL) {
        return false;
    }
    size_t size = (size_t)(colon - both.data);
    *user_out = bytes_make(both.data, size);
    *password_out = bytes_make(colon + 1, both.size - size - 1);
    *is_malformed = false;
    return true;
}

bool
http_credentials(struct evhttp_request *http, struct buffer *out, struct bytes *user_out,
                 struct bytes *password_out, bool *is_malformed)
{
    return http_read_credentials(find_header(http, "Authorization"), out, user_out, password_out,
                                 is_malformed);
}

/* Sessions ----------------------------------------------------------------------------------- */

/* Where the port begins, or the end; a colon within brackets is an address's. */
static size_t
host_size(const char *host)
{
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    return bracket != NULL ? (size_t)(bracket - host) + 1 : strcspn(host, ":");
}

void
http_cookie_name(const char *host, bool is_tls, char out[static COOKIE_NAME_SIZE])
{
    enum { PORT_DIGITS_MAX = 5 };
    const char *name = is_tls ? "__Host-bourse-session" : "bourse-session";
    const char *port = host == NULL ? "" : host + host_size(host);
    size_t digits = port[0] == ':' ? strspn(port + 1, "0123456789") : 0;
    if (digits > 0 && digits <= PORT_DIGITS_MAX && port[1 + digits] == '\0') {
        (void)snprintf(out, COOKIE_NAME_SIZE, "%s-%s", name, port + 1);
    } else {
        (void)snprintf(out, COOKIE_NAME_SIZE, "%s", name);
    }
}

bool
http_read_cookie(const char *value, const char *host, bool is_tls, char out[static COOKIE_SIZE])
{
    const char *at = value;
    char name[COOKIE_NAME_SIZE];
    http_cookie_name(host, is_tls, name);
    size_t name_size = strlen(name);
    while (at != NULL) {
        at += strspn(at, "; ");
        if (strncmp(at, name, name_size) == 0 && at[name_size] == '=') {
            size_t size = strcspn(at + name_size + 1, "; ");
            (void)snprintf(out, COOKIE_SIZE, "%.*s", (int)size, at + name_size + 1);
            return size > 0 && size < COOKIE_SIZE;
        }
        at = strchr(at, ';');
    }
    return false;
}

bool
http_session_cookie(struct evhttp_request *http, bool is_tls, char out[static COOKIE_SIZE])
{
    return http_read_cookie(find_header(http, "Cookie"), find_header(http, "Host"), is_tls, out);
}

bool
http_is_of_other_origin(struct evhttp_request *http)
{
    const char *origin = find_header(http, "Origin");
    const char *host = find_header(http, "Host");
    const char *slashes = origin == NULL ? NULL : strstr(origin, "://");
    if (origin == NULL) {
        return false;
    }
    return slashes == NULL || host == NULL || strcasecmp(slashes + 3, host) != 0;
}

static bool
is_address(const char *host, size_t size)
{
    enum { ADDRESS_SIZE = 64 };
    char text[ADDRESS_SIZE];
    struct in6_addr address;
    bool has_brackets = host[0] == '[';
    size_t edge = has_brackets ? 1 : 0;
    if (size >= sizeof(text) || size <= 2 * edge) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)(size - 2 * edge), host + edge);
    return inet_pton(has_brackets ? AF_INET6 : AF_INET, text, &address) == 1;
}

bool
http_is_local(struct evhttp_request *http)
{
    static const char *const of_proxies[] = {"X-Forwarded-For", "Forwarded", "X-Real-IP"};
    const char *host = find_header(http, "Host");
    size_t size = host == NULL ? 0 : host_size(host);
    for (size_t i = 0; i < ARRAY_LEN(of_proxies); i++) {
        if (find_header(http, of_proxies[i]) != NULL) {
            return false;
        }
    }
    return host == NULL || is_address(host, size) ||
           (size == strlen("localhost") && strncasecmp(host, "localhost", size) == 0);
}
