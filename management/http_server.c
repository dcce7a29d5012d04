/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, connections and their deadlines, over libevent's HTTP; a request that is sound and has
 * a route becomes a call. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/tls_settings.h"
#include "management/http_check.h"
#include "management/server.h"
#include "net/socket_address.h"
#include "tls/tls_session.h"

static const char *const port_schemes[PORT_COUNT] = {
    [PORT_HTTP] = "http",
    [PORT_HTTPS] = "https",
    [PORT_METRICS] = "metrics",
    [PORT_CONTROL] = "unix",
};

/* Connections -------------------------------------------------------------------------------- */

static struct server_connection *
find_connection(const struct management *management, const struct evhttp_connection *http)
{
    LIST_FOR_EACH(&management->connections, link)
    {
        struct server_connection *connection = CONTAINER_OF(link, struct server_connection, link);
        if (connection->http == http) {
            return connection;
        }
    }
    return NULL;
}

static void
free_event(struct event **event)
{
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

/* libevent is about to free the connection. */
static void
on_closed(struct evhttp_connection *http, void *context)
{
    struct server_connection *connection = context;
    (void)http;
    if (connection->call != NULL) {
        call_give_up(connection->call);
    }
    list_remove(&connection->link);
    connection->management->connection_count--;
    free_event(&connection->deadline);
    free_event(&connection->hang_up);
    free(connection);
}

static void
arm_deadline(struct server_connection *connection, int seconds)
{
    struct timeval time = {.tv_sec = seconds};
    (void)event_add(connection->deadline, &time);
}

/* Too long without a whole request, or without an answer. The answer that is owed then is sent, and
 * the connection has as long again to take it. */
static void
on_deadline(evutil_socket_t fd, short events, void *context)
{
    struct server_connection *connection = context;
    (void)fd;
    (void)events;
    if (connection->call != NULL) {
        call_time_out(connection->call);
    } else {
        evhttp_connection_free(connection->http);
    }
}

static void
on_hang_up(evutil_socket_t fd, short events, void *context)
{
    struct server_connection *connection = context;
    (void)fd;
    (void)events;
    evhttp_connection_free(connection->http);
}

void
server_end_call(struct server_connection *connection)
{
    connection->call = NULL;
    if (connection->hang_up != NULL) {
        (void)event_del(connection->hang_up);
    }
    arm_deadline(connection, HTTP_IDLE_S);
}

/* Who is there. False: nobody any more. */
static bool
describe_peer(struct server_connection *connection, int fd)
{
    const struct management *management = connection->management;
    struct net_peer *peer = &connection->peer;
    if (connection->port_kind == PORT_CONTROL) {
        (void)snprintf(peer->address, sizeof(peer->address), "local");
        (void)snprintf(peer->local_address, sizeof(peer->local_address), "socket");
        peer->is_loopback = true;
        connection->is_house = control_socket_is_house(fd, management->group);
        return true;
    }
    union socket_address address = {0};
    socklen_t size = sizeof(address);
    peer->is_tls = management->ports[connection->port_kind].tls != NULL;
    return getpeername(fd, &address.any, &size) == 0 && socket_describe_peer(fd, &address, peer);
}

static struct server_connection *
connection_add(struct server_http *port, struct evhttp_connection *http)
{
    struct management *management = port->management;
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(http));
    if (management->connection_count >= HTTP_CONNECTIONS_MAX) {
        log_limited(management->log, LOG_LEVEL_WARN, "http.too_many_connections", "max=%d",
                    HTTP_CONNECTIONS_MAX);
        return NULL;
    }
    struct server_connection *connection = xalloc(sizeof(*connection));
    connection->management = management;
    connection->http = http;
    connection->port_kind = port->port_kind;
    connection->deadline = event_new(management->base, -1, 0, on_deadline, connection);
    connection->hang_up = event_new(management->base, fd, EV_CLOSED, on_hang_up, connection);
    if (connection->deadline == NULL || connection->hang_up == NULL ||
        !describe_peer(connection, fd)) {
        free_event(&connection->deadline);
        free_event(&connection->hang_up);
        free(connection);
        return NULL;
    }
    list_append(&management->connections, &connection->link);
    management->connection_count++;
    evhttp_connection_set_closecb(http, on_closed, connection);
    return connection;
}

/* Requests ----------------------------------------------------------------------------------- */

/* Which routes there are on the port; NULL: none under that path. */
static bool
is_served_on(const struct route *route, enum server_port port_kind)
{
    bool is_metrics = port_kind == PORT_METRICS;
    uint32_t flags = route->flags;
    return (flags & ROUTE_EVERYWHERE) != 0 || is_metrics == ((flags & ROUTE_ON_METRICS) != 0);
}

/* Takes the path apart and finds its row; 0, or the status of the refusal. */
static int
find_route(struct server_connection *connection, struct evhttp_request *http, uint8_t *octets,
           struct route_match *match, const char **why)
{
    const char *uri = evhttp_request_get_uri(http);
    struct route_path path;
    enum route_method method = ROUTE_GET;
    if (!route_split(bytes_make(uri, strcspn(uri, "?#")), octets, &path, why)) {
        return 400;
    }
    bool has_method = http_method(http, &method);
    enum route_verdict verdict = route_find(routes, route_count, method, &path, match);
    if (verdict == ROUTE_NO_PATH ||
        (verdict == ROUTE_FOUND && !is_served_on(match->route, connection->port_kind))) {
        *why = "Not Found";
        return 404;
    }
    if (verdict == ROUTE_NO_METHOD || !has_method) {
        char allowed[64];
        (void)evhttp_add_header(evhttp_request_get_output_headers(http), "Allow",
                                route_allowed_text(match->allowed, allowed));
        *why = "the path has no such method";
        return 405;
    }
    return 0;
}

/* What is refused before it has a call ends the connection: what follows may not be what it seems.
 */
static void
refuse(struct evhttp_request *http, int status, const char *why)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(http), "Connection", "close");
    call_refuse(http, status, why);
}

static void
begin_call(struct server_connection *connection, struct evhttp_request *http,
           const struct route_match *match)
{
    struct call *call = call_new(connection, http, match);
    connection->call = call;
    (void)event_add(connection->hang_up, NULL);
    admission_begin(call, connection);
    call_settle(call);
}

static void
on_request(struct evhttp_request *http, void *context)
{
    const struct server_http *port = context;
    struct server_connection *connection =
        find_connection(port->management, evhttp_request_get_connection(http));
    uint8_t octets[HTTP_URI_MAX];
    struct route_match match;
    const char *why = "";
    assert(connection != NULL);
    int status = http_check_head(http, &why);
    status = status != 0 ? status : find_route(connection, http, octets, &match, &why);
    if (status == 404 || status == 405) {
        call_refuse(http, status, why);
        return;
    }
    status = status != 0 ? status : http_check_body(http, match.route, &why);
    if (status != 0) {
        refuse(http, status, why);
        return;
    }
    begin_call(connection, http, &match);
}

/* How large a body may become is known when the head is there. */
static size_t
body_max_of(struct server_connection *connection, struct evhttp_request *http)
{
    enum { BODY_TO_REFUSE = 64 * 1024 };
    uint8_t octets[HTTP_URI_MAX];
    struct route_match match;
    const char *why;
    const char *uri = evhttp_request_get_uri(http);
    if (uri == NULL || strlen(uri) > HTTP_URI_MAX || http_check_head(http, &why) != 0 ||
        find_route(connection, http, octets, &match, &why) != 0) {
        return BODY_TO_REFUSE;
    }
    size_t body_max = match.route->body_max;
    return body_max > BODY_TO_REFUSE ? body_max : BODY_TO_REFUSE;
}

static int
on_head(struct evhttp_request *http, void *context)
{
    struct server_connection *connection = context;
    arm_deadline(connection, HTTP_REQUEST_S);
    evhttp_connection_set_max_body_size(connection->http,
                                        (ev_ssize_t)body_max_of(connection, http));
    evhttp_clear_headers(evhttp_request_get_output_headers(http));
    return 0;
}

/* The connection waits for its next request. */
static int
on_new_request(struct evhttp_request *http, void *context)
{
    struct server_http *port = context;
    struct evhttp_connection *of = evhttp_request_get_connection(http);
    struct server_connection *connection = find_connection(port->management, of);
    if (connection == NULL) {
        connection = connection_add(port, of);
    }
    if (connection == NULL) {
        return -1;
    }
    arm_deadline(connection, HTTP_IDLE_S);
    evhttp_request_set_header_cb(http, on_head);
    return 0;
}

/* Listeners ---------------------------------------------------------------------------------- */

static struct bufferevent *
on_accept_tls(struct event_base *base, void *context)
{
    struct server_http *port = context;
    struct ssl_st *session = tls_session_new(port->tls);
    if (session == NULL) {
        return NULL;
    }
    return bufferevent_openssl_socket_new(base, -1, session, BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

static bool
open_port(struct management *management, enum server_port port_kind)
{
    struct server_http *port = &management->ports[port_kind];
    if (port->http != NULL) {
        return true;
    }
    port->management = management;
    port->port_kind = port_kind;
    port->http = evhttp_new(management->base);
    if (port->http == NULL) {
        return false;
    }
    evhttp_set_allowed_methods(port->http, UINT16_MAX);
    evhttp_set_max_headers_size(port->http, HTTP_HEAD_MAX);
    evhttp_set_timeout(port->http, HTTP_IDLE_S);
    evhttp_set_gencb(port->http, on_request, port);
    evhttp_set_newreqcb(port->http, on_new_request, port);
    if (port->tls != NULL) {
        evhttp_set_bevcb(port->http, on_accept_tls, port);
    }
    return true;
}

static void
note_listener(struct management *management, enum server_port port_kind, const char *host,
              uint16_t port)
{
    management->listeners =
        xrealloc(management->listeners,
                 (management->listener_count + 1) * sizeof(*management->listeners));
    management->listeners[management->listener_count++] = (struct server_listener){
        .port_kind = port_kind,
        .host = xstrdup(host),
        .port = port,
        .is_tls = management->ports[port_kind].tls != NULL,
    };
}

/* Takes the socket. */
static bool
accept_on(struct management *management, enum server_port port_kind, int fd, char *why,
          size_t why_size)
{
    if (!open_port(management, port_kind) ||
        evhttp_accept_socket(management->ports[port_kind].http, fd) != 0) {
        (void)snprintf(why, why_size, "cannot set up the event loop of the management interface");
        close(fd);
        return false;
    }
    return true;
}

static bool
open_address(struct management *management, enum server_port port_kind,
             const struct config_address *address, char *why, size_t why_size)
{
    char reason[256] = "";
    uint16_t port = 0;
    int fd = listening_socket_open(address->host, address->port, &port, reason, sizeof(reason));
    if (fd < 0) {
        (void)snprintf(why, why_size, "cannot listen on %s://%s: %s", port_schemes[port_kind],
                       address->text, reason);
        return false;
    }
    if (!accept_on(management, port_kind, fd, why, why_size)) {
        return false;
    }
    note_listener(management, port_kind, address->host, port);
    return true;
}

static bool
open_listener(struct management *management, enum server_port port_kind,
              const struct config_listener *listener, char *why, size_t why_size)
{
    if (!listener->enabled) {
        return true;
    }
    if (listener->tls != NULL) {
        struct tls_settings settings = tls_settings_of(listener->tls);
        struct server_http *port = &management->ports[port_kind];
        port->tls = tls_context_new(&settings, management->log, why, why_size);
        if (port->tls == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < listener->address_count; i++) {
        if (!open_address(management, port_kind, &listener->addresses[i], why, why_size)) {
            return false;
        }
    }
    return true;
}

/* A path that nobody chose and that is too long is told about, not refused. */
static bool
open_control(struct management *management, const struct config_server *server, char *why,
             size_t why_size)
{
    char path[4096];
    char reason[256];
    bool is_chosen = server->control_socket != NULL;
    if (!is_chosen && server->is_ephemeral) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "%s%s", is_chosen ? server->control_socket : server->data_dir,
                   is_chosen ? "" : "/bourse.sock");
    int fd = control_socket_open(path, reason, sizeof(reason));
    if (fd < 0 && !is_chosen) {
        log_warn(management->log, "http.no_control_socket", "path=\"%s\" reason=\"%s\"", path,
                 reason);
        return true;
    }
    if (fd < 0) {
        (void)snprintf(why, why_size, "cannot listen on control socket %s: %s", path, reason);
        return false;
    }
    management->control_path = xstrdup(path);
    return accept_on(management, PORT_CONTROL, fd, why, why_size);
}

static gid_t
group_of_operators(void)
{
    const struct group *group = getgrnam("bourse");
    return group == NULL ? (gid_t)-1 : group->gr_gid;
}

bool
server_open(struct management *management, const struct config *config, char *why, size_t why_size)
{
    static const enum config_listener_kind kinds[] = {
        [PORT_HTTP] = LISTENER_HTTP,
        [PORT_HTTPS] = LISTENER_HTTPS,
        [PORT_METRICS] = LISTENER_METRICS,
    };
    management->group = group_of_operators();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!open_listener(management, (enum server_port)i, &config->listeners[kinds[i]], why,
                           why_size)) {
            return false;
        }
    }
    return open_control(management, &config->server, why, why_size);
}

void
server_close(struct management *management)
{
    struct list_link *link;
    while ((link = list_first(&management->connections)) != NULL) {
        evhttp_connection_free(CONTAINER_OF(link, struct server_connection, link)->http);
    }
    for (size_t i = 0; i < PORT_COUNT; i++) {
        if (management->ports[i].http != NULL) {
            evhttp_free(management->ports[i].http);
            management->ports[i].http = NULL;
        }
        tls_context_unref(&management->ports[i].tls);
    }
    for (size_t i = 0; i < management->listener_count; i++) {
        free(management->listeners[i].host);
    }
    free(management->listeners);
    management->listeners = NULL;
    management->listener_count = 0;
    if (management->control_path != NULL) {
        (void)unlink(management->control_path);
        free(management->control_path);
        management->control_path = NULL;
    }
}
