/* SPDX-License-Identifier: Apache-2.0 */
/* Holding is a low-water mark that is never reached: libevent calls nobody, and its high-water mark
 * stops reading. */
#include "management/http/body_gate.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>

#include "broker/connections/house.h"
#include "broker/users/abilities.h"
#include "management/http/http_check.h"

struct body_gate {
    struct desk_request desk;
    struct server_connection *connection; /* NULL: nobody waits any more */
    const struct route *route;
    struct net_peer *peer; /* owned until the login begins */
    struct house *house;   /* owned; NULL: no login is under way */
    struct buffer secret;  /* user and password; wiped */
    struct bytes user, password;
    const char *refusal; /* NULL: it may go on; static memory */
};

/* What the head says ------------------------------------------------------------------------- */

/* The route of the request line; NULL: there is none, or the line has not come. */
static const struct route *
route_of(const struct http_head *head)
{
    uint8_t octets[HTTP_HEAD_MAX];
    struct bytes text;
    struct route_path path;
    struct route_match match;
    const char *why = "";
    enum route_method method = ROUTE_GET;
    bool is_found = http_head_split(head, &method, &text) && text.size <= sizeof(octets) &&
                    route_split(text, octets, &path, &why) &&
                    route_find(routes, route_count, method, &path, &match) == ROUTE_FOUND;
    return is_found ? match.route : NULL;
}

/* A number that is none, or too long to be read, is refused when the request is whole. */
static bool
announces_much(const struct http_head *head)
{
    uint64_t size = 0;
    struct bytes length = http_head_find(head, "Content-Length");
    for (size_t i = 0; i < length.size && size <= BODY_OF_STRANGERS; i++) {
        size = size * 10 + (uint64_t)(length.data[i] - '0');
    }
    return size > BODY_OF_STRANGERS || http_head_find(head, "Transfer-Encoding").data != NULL;
}

static bool
wants_holding(const struct server_connection *connection, const struct route *route)
{
    const struct http_head *head = &connection->head;
    bool is_open = route == NULL || (route->flags & (ROUTE_OPEN | ROUTE_OF_SESSION)) != 0;
    if (is_open || connection->port_kind == PORT_CONTROL) {
        return false;
    }
    return http_head_find(head, "Expect").data != NULL ||
           (route->body_max > BODY_OF_STRANGERS && announces_much(head));
}

/* NULL: none. */
static const char *
refusal_of(const struct route *route, uint8_t abilities)
{
    return (abilities & (uint8_t)route->needs) != 0 ? NULL
                                                    : "the user has no role that allows this";
}

/* Letting in, and not ------------------------------------------------------------------------ */

/* libevent names the connection to its callbacks, but to us not before the whole request is there.
 */
static void *
http_of(const struct server_connection *connection)
{
    void *http = NULL;
    bufferevent_getcb(connection->buffer, NULL, NULL, NULL, &http);
    return http;
}

/* From then on libevent throws away what is larger, and answers with 413. */
static void
allow(struct server_connection *connection, size_t body_max)
{
    void *http = http_of(connection);
    connection->octets_max = HTTP_HEAD_MAX + body_max;
    if (http != NULL) {
        evhttp_connection_set_max_body_size(http, (ev_ssize_t)body_max);
    }
}

static void
allow_route(struct server_connection *connection, const struct route *route)
{
    bool takes_much = route != NULL && route->body_max > BODY_OF_STRANGERS;
    allow(connection, takes_much ? route->body_max : BODY_OF_STRANGERS);
}

static void
hold(const struct server_connection *connection)
{
    size_t size = evbuffer_get_length(bufferevent_get_input(connection->buffer));
    bufferevent_setwatermark(connection->buffer, EV_READ, SIZE_MAX, size);
}

static void
let_go_on(const struct server_connection *connection)
{
    bufferevent_setwatermark(connection->buffer, EV_READ, 0, 0);
    bufferevent_trigger(connection->buffer, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
}

static void
throw_away(struct bufferevent *buffer, void *context)
{
    struct evbuffer *input = bufferevent_get_input(buffer);
    (void)context;
    (void)evbuffer_drain(input, evbuffer_get_length(input));
}

/* In libevent's place, which knows nothing of the request. The connection ends with its deadline,
 * or with its other end. */
static void
refuse(struct server_connection *connection, const char *reason)
{
    struct buffer answer;
    bufferevent_event_cb on_event = NULL;
    void *http = NULL;
    bool is_of_browser = http_head_find(&connection->head, "Sec-Fetch-Site").data != NULL;
    buffer_init(&answer);
    call_write_refusal(&answer, reason, !is_of_browser);
    connection->is_refused = true;
    bufferevent_getcb(connection->buffer, NULL, NULL, &on_event, &http);
    bufferevent_setcb(connection->buffer, throw_away, NULL, on_event, http);
    if (!answer.failed && bufferevent_enable(connection->buffer, EV_READ | EV_WRITE) == 0) {
        (void)bufferevent_write(connection->buffer, answer.data + answer.start,
                                buffer_size(&answer));
    }
    buffer_fini(&answer);
    let_go_on(connection);
}

/* In the core -------------------------------------------------------------------------------- */

static enum request_progress
gate_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct body_gate *gate = CONTAINER_OF(request, struct body_gate, desk.request);
    (void)budget;
    if (gate->house == NULL) {
        gate->house = house_new(core, gate->peer);
        gate->peer = NULL;
        house_login(gate->house, gate->user, gate->password);
    }
    if (!house_is_answered(gate->house)) {
        return REQUEST_WAITING;
    }
    gate->refusal = gate->house->answer.reply_code != 0
                        ? "Login failed"
                        : refusal_of(gate->route, abilities_of(house_user(gate->house)));
    house_free(&gate->house);
    return REQUEST_DONE;
}

static void
gate_abandon(struct request *request, struct core *core)
{
    (void)core;
    house_free(&CONTAINER_OF(request, struct body_gate, desk.request)->house);
}

/* Back on the admin thread ------------------------------------------------------------------- */

static void
gate_free(struct body_gate *gate)
{
    if (gate->secret.data != NULL) {
        explicit_bzero(gate->secret.data, gate->secret.capacity);
    }
    buffer_fini(&gate->secret);
    free(gate->peer);
    free(gate);
}

static void
on_answered(struct desk_request *desk)
{
    struct body_gate *gate = CONTAINER_OF(desk, struct body_gate, desk);
    struct server_connection *connection = gate->connection;
    if (connection != NULL) {
        connection->gate = NULL;
        if (desk->request.status != STATUS_OK) {
            refuse(connection, "the broker is stopping");
        } else if (gate->refusal != NULL) {
            refuse(connection, gate->refusal);
        } else {
            allow_route(connection, gate->route);
            let_go_on(connection);
        }
    }
    gate_free(gate);
}

void
body_gate_leave(struct server_connection *connection)
{
    if (connection->gate != NULL) {
        connection->gate->connection = NULL;
        request_desk_cancel(connection->management->desk, &connection->gate->desk);
        connection->gate = NULL;
        bufferevent_setwatermark(connection->buffer, EV_READ, 0, 0);
    }
}

/* Asking ------------------------------------------------------------------------------------- */

/* A value as text; empty: it is absent, or too long. */
enum { VALUE_SIZE = 4096 };

static const char *
value_text(const struct http_head *head, const char *name, char out[static VALUE_SIZE])
{
    struct bytes value = http_head_find(head, name);
    if (value.data == NULL || value.size >= VALUE_SIZE) {
        return NULL;
    }
    memcpy(out, value.data, value.size);
    out[value.size] = '\0';
    return out;
}

/* NULL: there is none. */
static const struct session *
session_of(const struct server_connection *connection)
{
    char value[VALUE_SIZE];
    char host[VALUE_SIZE];
    char id[COOKIE_SIZE];
    struct management *management = connection->management;
    return http_read_cookie(value_text(&connection->head, "Cookie", value),
                            value_text(&connection->head, "Host", host), connection->peer.is_tls,
                            id)
               ? sessions_find(&management->sessions, id, server_now_ms())
               : NULL;
}

static struct body_gate *
gate_new(struct server_connection *connection, const struct route *route)
{
    struct body_gate *gate = xalloc(sizeof(*gate));
    gate->desk.request.step = gate_step;
    gate->desk.request.abandon = gate_abandon;
    gate->desk.answered = on_answered;
    gate->connection = connection;
    gate->route = route;
    gate->peer = xalloc(sizeof(*gate->peer));
    *gate->peer = connection->peer;
    return gate;
}

static void
meet_session(struct server_connection *connection, const struct route *route,
             const struct session *session)
{
    const char *refusal = refusal_of(route, session->user.abilities);
    if (refusal == NULL) {
        allow_route(connection, route);
    } else {
        refuse(connection, refusal);
    }
}

/* By user and password. False: there are none. */
static bool
ask_for_login(struct server_connection *connection, const struct route *route)
{
    char value[VALUE_SIZE];
    bool is_malformed = false;
    struct body_gate *gate = gate_new(connection, route);
    bool has_credentials =
        http_read_credentials(value_text(&connection->head, "Authorization", value), &gate->secret,
                              &gate->user, &gate->password, &is_malformed);
    explicit_bzero(value, sizeof(value));
    if (!has_credentials) {
        gate_free(gate);
        return false;
    }
    connection->gate = gate;
    hold(connection);
    request_desk_post(connection->management->desk, &gate->desk);
    return true;
}

void
body_gate_bound(struct server_connection *connection)
{
    allow(connection, BODY_OF_STRANGERS);
}

void
body_gate_meet(struct server_connection *connection)
{
    const struct route *route = route_of(&connection->head);
    if (!wants_holding(connection, route)) {
        allow_route(connection, connection->port_kind == PORT_CONTROL ? route : NULL);
        return;
    }
    if (!server_describe_peer(connection)) {
        return;
    }
    const struct session *session = session_of(connection);
    if (session != NULL) {
        meet_session(connection, route, session);
    } else if (!ask_for_login(connection, route)) {
        refuse(connection, "Not logged in");
    }
}
