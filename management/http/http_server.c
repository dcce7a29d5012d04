/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and their deadlines, over libevent's HTTP; a request that is sound and has a route
 * becomes a call. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "management/http/body_gate.h"
#include "management/http/http_check.h"
#include "management/http/server.h"
#include "net/socket_address.h"
#include "tls/tls_session.h"

uint64_t
server_now_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).monotonic_ms;
}

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
    if (call->query_problem != NULL) {
        call_fail(call, 400, "%s", call->query_problem);
    } else {
        admission_begin(call, connection);
    }
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

void
server_on_request(struct evhttp_request *http, void *context)
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

/* Where connections begin and end ------------------------------------------------------------ */

/* Every connection begins here. libevent would take one without TLS for a NULL. */
struct bufferevent *
server_on_accept(struct event_base *base, void *context)
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
                    "port=%s connections=%u max=%d", server_schemes[port->port_kind],
                    port->connection_count, HTTP_CONNECTIONS_MAX);
    }
    if (buffer != NULL) {
        connection_add(port, buffer, !is_good);
    }
    return buffer;
}

void
server_end_connections(struct management *management)
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
}
