/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in to the console and out of it. The password was checked before the handler runs, in the
 * way of every login (admission.c). */
#include <event2/http.h>
#include <stdio.h>

#include "management/http/http_check.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"

/* What this broker can be asked: a page leaves away what there is no route for. */
static void
write_routes(struct json_writer *json)
{
    static const char *const methods[ROUTE_METHOD_COUNT] = {"GET", "PUT", "POST", "DELETE"};
    json_key(json, "routes");
    json_begin_array(json);
    for (size_t i = 0; i < route_count; i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "%s %s", methods[routes[i].method], routes[i].path);
        json_text(json, bytes_of(text));
    }
    json_end_array(json);
}

/* Chosen so that the page knows which buttons to leave away. */
static void
write_session(struct json_writer *json, const struct call_user *user, const char *proof)
{
    static const struct {
        uint8_t ability;
        const char *name;
    } abilities[] = {
        {ABILITY_LOOK, "look"},     {ABILITY_SEE_ALL, "see_all"}, {ABILITY_OPERATE, "operate"},
        {ABILITY_POLICY, "policy"}, {ABILITY_ADMIN, "admin"},
    };
    json_begin_object(json);
    json_put_string(json, "name", user->name);
    json_key(json, "abilities");
    json_begin_array(json);
    for (size_t i = 0; i < ARRAY_LEN(abilities); i++) {
        if ((user->abilities & abilities[i].ability) != 0) {
            json_text(json, bytes_of(abilities[i].name));
        }
    }
    json_end_array(json);
    json_put_string(json, "csrf", proof);
    write_routes(json);
    json_end_object(json);
}

static void
answer(struct call *call, int status, const char *proof)
{
    struct json_writer json;
    json_init(&json);
    write_session(&json, &call->user, proof);
    call_answer_json(call, status, &json);
    json_fini(&json);
}

static void
set_cookie(struct call *call, const char *id, const char *more)
{
    char cookie[256];
    char name[COOKIE_NAME_SIZE];
    bool is_tls = call->connection->peer.is_tls;
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(call->http);
    http_cookie_name(evhttp_find_header(headers, "Host"), is_tls, name);
    (void)snprintf(cookie, sizeof(cookie), "%s=%s; Path=/; HttpOnly; SameSite=Strict%s%s", name, id,
                   is_tls ? "; Secure" : "", more);
    call_add_header(call, "Set-Cookie", cookie);
}

/* A browser forgets the one that it had; nobody shall find it. */
static void
end_former(struct call *call)
{
    char former[COOKIE_SIZE];
    if (http_session_cookie(call->http, call->connection->peer.is_tls, former)) {
        sessions_end(&call->management->sessions, former);
    }
}

void
handle_session_begin(struct call *call)
{
    struct random_source random = random_system();
    end_former(call);
    const struct session *session =
        sessions_begin(&call->management->sessions, &random, &call->user, server_now_ms());
    set_cookie(call, session->id, "");
    answer(call, 201, session->proof);
}

void
handle_session(struct call *call)
{
    const struct session *session =
        sessions_find(&call->management->sessions, call->session, server_now_ms());
    if (session == NULL) {
        call_fail(call, 404, "there is no session: the request has a password of its own");
        return;
    }
    answer(call, 200, session->proof);
}

void
handle_session_end(struct call *call)
{
    sessions_end(&call->management->sessions, call->session);
    set_cookie(call, "", "; Max-Age=0");
    call_answer(call, 204);
}
