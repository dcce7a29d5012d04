/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request, looked at once more behind libevent: what could be understood in two ways
 * is refused, and so is what a browser sends on behalf of another site (docs/management.md). */
#ifndef BOURSE_MANAGEMENT_HTTP_HTTP_CHECK_H
#define BOURSE_MANAGEMENT_HTTP_HTTP_CHECK_H

#include "base/buffer.h"
#include "management/http/http_chunks.h"
#include "management/http/http_head.h"

struct evhttp_request;

/* 0 when the head is fine, else the status with which the request is refused, and why. `head` is
 * as it came in, and so are the `chunks` of a body in chunks. */
int http_check_head(struct evhttp_request *http, const struct http_head *head,
                    const struct http_chunks *chunks, const char **why_out);

/* The same for the body and its type, by what the route takes. */
int http_check_body(struct evhttp_request *http, const struct route *route, const char **why_out);

/* The method; false: none that any route has. */
bool http_method(struct evhttp_request *http, enum route_method *method_out);
bool http_is_head(struct evhttp_request *http);

/* Whether a browser sends it: it must not be asked for a password by the browser itself. */
bool http_is_of_browser(struct evhttp_request *http);

/* The user and password of "Authorization: Basic"; false: there are none, or they are malformed
 * (`*is_malformed`). Appends both to `out`; views into it. */
bool http_credentials(struct evhttp_request *http, struct buffer *out, struct bytes *user_out,
                      struct bytes *password_out, bool *is_malformed);
/* The same of the header's value (NULL: it is absent). */
bool http_read_credentials(const char *value, struct buffer *out, struct bytes *user_out,
                           struct bytes *password_out, bool *is_malformed);

/* What the cookie of the console's session is called for who asks for `host` (the header Host;
 * NULL: there is none). Where the browser can keep it to TLS it is another one. A browser sends a
 * cookie to every port of a host: with the port in its name, signing in to one broker is not
 * signing out of another one beside it. */
enum { COOKIE_NAME_SIZE = 32 };
void http_cookie_name(const char *host, bool is_tls, char out[static COOKIE_NAME_SIZE]);

/* The console's session of the header Cookie; false: there is none. */
enum { COOKIE_SIZE = 64 };
bool http_session_cookie(struct evhttp_request *http, bool is_tls, char out[static COOKIE_SIZE]);
/* The same of the headers' values (NULL: absent). */
bool http_read_cookie(const char *value, const char *host, bool is_tls,
                      char out[static COOKIE_SIZE]);

/* Whether a page of another origin asks, by the header Origin. */
bool http_is_of_other_origin(struct evhttp_request *http);

/* Whether it is asked for as something on this machine: by "localhost" or by an address, and not
 * through a proxy that says for whom. */
bool http_is_local(struct evhttp_request *http);

#endif
