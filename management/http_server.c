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
#include "management/body_gate.h"
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
find_connection(const struct management *management, const struct bufferevent *buffer)
{
    LIST_FOR_EACH(&management->connections, link)
    {
        struct server_connection *connection = CONTAINER_OF(link, struct server_connection, link);
        if (connection->buffer == buffer) {
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

static void
forget_octets(struct server_connection *connection)
{
    connection->management->octets -= connection->octets;
    connection->octets = 0;
    connection->is_in_request = false;
}

static void
connection_free_parts(struct server_connection *connection)
{
    free_event(&connection->deadline);
    free_event(&connection->hang_up);
    (void)bufferevent_decref(connection->buffer);
    http_head_fini(&connection->head);
    free(connection);
}

static void
connection_drop(struct server_connection *connection)
{
    if (connection->call != NULL) {
        call_give_up(connection->call);
    }
    if (connection->stream != NULL) {
        event_stream_close(connection->stream);
    }
    body_gate_leave(connection);
    forget_octets(connection);
    list_remove(&connection->link);
    connection->management->ports[connection->port_kind].connection_count--;
    connection_free_parts(connection);
}

/* libevent is about to free the connection. */
static void
on_closed(struct evhttp_connection *http, void *context)
{
    (void)http;
    connection_drop(context);
}

/* Whether libevent has let go of a connection that never had a request. */
static bool
is_gone(const struct server_connection *connection)
{
    bufferevent_event_cb on_event = NULL;
    if (connection->http != NULL) {
        return false;
    }
    bufferevent_getcb(connection->buffer, NULL, NULL, &on_event, NULL);
    return on_event == NULL;
}

/* libevent sets its callbacks once the buffer was made for it, so the newest is looked at later. */
static void
drop_gone(const struct management *management)
{
    LIST_FOR_EACH(&management->connections, link)
    {
        struct server_connection *connection = CONTAINER_OF(link, struct server_connection, link);
        if (is_gone(connection)) {
            connection_drop(connection);
        }
    }
}

static void
arm_deadline(const struct server_connection *connection, int seconds)
{
    struct timeval time = {.tv_sec = seconds};
    (void)event_add(connection->deadline, &time);
}

/* Ends a connection that libevent has not told of: by the end that it waits for. */
static void
close_stranger(struct server_connection *connection)
{
    if (!is_gone(connection)) {
        bufferevent_trigger_event(connection->buffer, BEV_EVENT_READING | BEV_EVENT_TIMEOUT, 0);
    }
    if (is_gone(connection)) {
        connection_drop(connection);
    }
}

/* An answer in pieces: the broker may take its time, the client may not. */
static void
on_stream_deadline(struct server_connection *connection)
{
    if (connection->call->under_way != NULL) {
        arm_deadline(connection, HTTP_IDLE_S);
    } else {
        evhttp_connection_free(connection->http);
    }
}

/* Too long without a request, or without an answer. The answer that is owed then is sent, and the
 * connection has as long as an idle one to take it. */
static void
on_deadline(evutil_socket_t fd, short events, void *context)
{
    struct server_connection *connection = context;
    (void)fd;
    (void)events;
    if (connection->call != NULL && connection->call->is_streaming) {
        on_stream_deadline(connection);
    } else if (connection->call != NULL) {
        call_time_out(connection->call);
    } else if (connection->http != NULL) {
        evhttp_connection_free(connection->http);
    } else {
        close_stranger(connection);
    }
}

static void
on_hang_up(evutil_socket_t fd, short events, void *context)
{
    const struct server_connection *connection = context;
    (void)fd;
    (void)events;
    evhttp_connection_free(connection->http);
}

/* What has come ------------------------------------------------------------------------------ */

static void
begin_body(struct server_connection *connection)
{
    connection->is_chunked = http_head_find(&connection->head, "Transfer-Encoding").data != NULL;
    if (!connection->is_ahead) {
        body_gate_meet(connection);
    }
}

/* What has come of the head, and of the framing behind it. */
static void
watch_part(struct server_connection *connection, struct bytes octets)
{
    struct http_head *head = &connection->head;
    bool had_line = head->has_line;
    bool was_over = head->is_over;
    size_t size = http_head_take(head, octets);
    if (head->has_line && !had_line) {
        body_gate_bound(connection);
    }
    if (head->is_over && !was_over) {
        begin_body(connection);
    }
    if (connection->is_chunked) {
        http_chunks_take(&connection->chunks, bytes_make(octets.data + size, octets.size - size));
    }
}

static void
watch_framing(struct server_connection *connection, size_t start)
{
    struct evbuffer *input = bufferevent_get_input(connection->buffer);
    uint8_t octets[4096];
    struct evbuffer_ptr at;
    ev_ssize_t size = 0;
    do {
        bool is_known = connection->head.is_over && !connection->is_chunked;
        if (is_known || evbuffer_ptr_set(input, &at, start, EVBUFFER_PTR_SET) != 0) {
            break;
        }
        size = evbuffer_copyout_from(input, &at, octets, sizeof(octets));
        watch_part(connection, bytes_make(octets, size > 0 ? (size_t)size : 0));
        start += sizeof(octets);
    } while (size == (ev_ssize_t)sizeof(octets));
}

static void
forget_framing(struct server_connection *connection)
{
    http_head_begin(&connection->head);
    connection->is_chunked = false;
    connection->chunks = (struct http_chunks){.state = CHUNKS_SIZE_BEGINS};
}

/* Takes note of what is in the input from `start` on. Nobody keeps more of a request than it may
 * have, so no more is counted. */
static void
watch_octets(struct server_connection *connection, size_t start)
{
    struct management *management = connection->management;
    size_t added = evbuffer_get_length(bufferevent_get_input(connection->buffer)) - start;
    if (added == 0) {
        return;
    }
    if (!connection->is_in_request) {
        connection->is_in_request = true;
        connection->octets_max = HTTP_HEAD_MAX;
        server_allow(connection, HTTP_REQUEST_S);
    }
    watch_framing(connection, start);
    size_t room = connection->octets_max - connection->octets;
    connection->octets += added < room ? added : room;
    management->octets += added < room ? added : room;
    if (connection->call != NULL) {
        return;
    }
    /* Who sends little is let in also while others send much: there are few of them. */
    if (management->octets > HTTP_OCTETS_MAX && connection->octets > HTTP_HEAD_MAX) {
        log_limited(management->log, LOG_LEVEL_WARN, "http.too_many_octets", "max=%d",
                    HTTP_OCTETS_MAX);
        event_active(connection->deadline, EV_TIMEOUT, 0);
    } else if (start + added > connection->octets_max) {
        /* libevent waits for the end of a chunk, or of its size. */
        event_active(connection->deadline, EV_TIMEOUT, 0);
    }
}

void
server_end_call(struct server_connection *connection)
{
    connection->call = NULL;
    forget_octets(connection);
    if (connection->hang_up != NULL) {
        (void)event_del(connection->hang_up);
    }
    arm_deadline(connection, HTTP_IDLE_S);
    /* What a client has sent ahead is the front of its next request. */
    forget_framing(connection);
    connection->is_ahead = evbuffer_get_length(bufferevent_get_input(connection->buffer)) > 0;
    watch_octets(connection, 0);
}

void
server_begin_stream(struct server_connection *connection, struct event_stream *stream)
{
    static const struct timeval WRITE_TIMEOUT = {.tv_sec = HTTP_IDLE_S};
    connection->call = NULL;
    connection->stream = stream;
    forget_octets(connection);
    (void)event_del(connection->deadline);
    bufferevent_set_timeouts(connection->buffer, NULL, &WRITE_TIMEOUT);
}

void
server_drop(struct server_connection *connection)
{
    event_active(connection->deadline, EV_TIMEOUT, 0);
}

void
server_allow(struct server_connection *connection, int seconds)
{
    connection->allowed_s = seconds;
    arm_deadline(connection, seconds);
}

/* Octets have come. Nothing may be freed from here: the deadline does it, at once. */
static void
on_octets(struct evbuffer *input, const struct evbuffer_cb_info *info, void *context)
{
    struct server_connection *connection = context;
    if (info->n_added > 0 && !connection->is_refused) {
        watch_octets(connection, evbuffer_get_length(input) - info->n_added);
    }
}

bool
server_describe_peer(struct server_connection *connection)
{
    const struct management *management = connection->management;
    int fd = bufferevent_getfd(connection->buffer);
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

/* The first request of a connection is there: it is known to libevent by this name. False: its
 * other end is gone, or there is no memory. */
static bool
connection_meet(struct server_connection *connection, struct evhttp_connection *http)
{
    int fd = bufferevent_getfd(connection->buffer);
    connection->http = http;
    evhttp_connection_set_closecb(http, on_closed, connection);
    connection->hang_up =
        event_new(connection->management->base, fd, EV_CLOSED, on_hang_up, connection);
    return connection->hang_up != NULL && server_describe_peer(connection);
}

/* Takes note of a connection that is being accepted. */
static void
connection_add(struct server_http *port, struct bufferevent *buffer, bool is_surplus)
{
    struct management *management = port->management;
    struct server_connection *connection = xalloc(sizeof(*connection));
    bufferevent_incref(buffer);
    connection->management = management;
    connection->buffer = buffer;
    connection->port_kind = port->port_kind;
    connection->is_surplus = is_surplus;
    connection->deadline = event_new(management->base, -1, 0, on_deadline, connection);
    if (connection->deadline == NULL ||
        evbuffer_add_cb(bufferevent_get_input(buffer), on_octets, connection) == NULL) {
        connection_free_parts(connection); /* its requests are refused: nobody knows them */
        return;
    }
    list_append(&management->connections, &connection->link);
    port->connection_count++;
    if (is_surplus) {
        event_active(connection->deadline, EV_TIMEOUT, 0);
    } else {
        arm_deadline(connection, HTTP_IDLE_S);
    }
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

/* What is refused because it is malformed ends the connection: what follows may not be what it
 * seems. */
static void
refuse(struct server_connection *connection, struct evhttp_request *http, int status,
       const char *why)
{
    if (status != 404 && status != 405) {
        (void)evhttp_add_header(evhttp_request_get_output_headers(http), "Connection", "close");
    }
    server_end_call(connection);
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

/* The connection of a request; NULL: it is not to be served. */
static struct server_connection *
connection_of(const struct server_http *port, struct evhttp_request *http)
{
    struct evhttp_connection *of = evhttp_request_get_connection(http);
    struct server_connection *connection =
        find_connection(port->management, evhttp_connection_get_bufferevent(of));
    if (connection == NULL || connection->is_surplus) {
        return NULL;
    }
    return connection->http != NULL || connection_meet(connection, of) ? connection : NULL;
}

static void
on_request(struct evhttp_request *http, void *context)
{
    struct server_connection *connection = connection_of(context, http);
    uint8_t octets[HTTP_URI_MAX];
    struct route_match match;
    const char *why = "";
    /* libevent does not end the connection of a CONNECT that is refused. */
    if (connection == NULL || evhttp_request_get_command(http) == EVHTTP_REQ_CONNECT) {
        evhttp_connection_free(evhttp_request_get_connection(http));
        return;
    }
    body_gate_leave(connection);
    int status = http_check_head(http, &connection->head, &connection->chunks, &why);
    status = status != 0 ? status : find_route(connection, http, octets, &match, &why);
    status = status != 0 ? status : http_check_body(http, match.route, &why);
    if (status != 0) {
        refuse(connection, http, status, why);
        return;
    }
    begin_call(connection, http, &match);
}

/* Listeners ---------------------------------------------------------------------------------- */

/* Every connection begins here. libevent would take one without TLS for a NULL. */
static struct bufferevent *
on_accept(struct event_base *base, void *context)
{
    struct server_http *port = context;
    struct management *management = port->management;
    struct bufferevent *buffer = NULL;
    drop_gone(management);
    bool has_room = port->connection_count < HTTP_CONNECTIONS_MAX;
    bool is_secure = port->tls != NULL && has_room;
    struct ssl_st *session = is_secure ? tls_session_new(port->tls) : NULL;
    if (session != NULL) {
        buffer = bufferevent_openssl_socket_new(base, -1, session, BUFFEREVENT_SSL_ACCEPTING,
                                                BEV_OPT_CLOSE_ON_FREE);
    }
    bool is_good = has_room && (port->tls == NULL || buffer != NULL);
    if (buffer == NULL) {
        buffer = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    }
    if (!is_good) {
        log_limited(management->log, LOG_LEVEL_WARN, "http.connection_refused",
                    "port=%s connections=%u max=%d", port_schemes[port->port_kind],
                    port->connection_count, HTTP_CONNECTIONS_MAX);
    }
    if (buffer != NULL) {
        connection_add(port, buffer, !is_good);
    }
    return buffer;
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
    evhttp_set_bevcb(port->http, on_accept, port);
    evhttp_set_flags(port->http, EVHTTP_SERVER_LINGERING_CLOSE);
    return true;
}

static void
note_listener(struct management *management, enum server_port port_kind, const char *host,
              uint16_t port)
{
    management->listeners = xrealloc(management->listeners, (management->listener_count + 1) *
                                                                sizeof(*management->listeners));
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
    (void)snprintf(path, sizeof(path), "%s%s",
                   is_chosen ? server->control_socket : server->data_dir,
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

/* The group bourse of this machine. Asking the name service would load its libraries, for some
 * hundred KiB that nobody needs again. */
static gid_t
group_of_operators(void)
{
    gid_t found = (gid_t)-1;
    FILE *file = fopen("/etc/group", "re");
    if (file == NULL) {
        return found;
    }
    const struct group *group;
    while (found == (gid_t)-1 && (group = fgetgrent(file)) != NULL) {
        found = strcmp(group->gr_name, "bourse") == 0 ? group->gr_gid : found;
    }
    (void)fclose(file);
    return found;
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
        struct server_connection *connection = CONTAINER_OF(link, struct server_connection, link);
        if (connection->http != NULL) {
            evhttp_connection_free(connection->http);
        } else {
            connection_drop(connection);
        }
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
