/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the admin thread share: its loop, its listeners and its connections. Within the
 * folder only.
 *
 * Bounds: HTTP_CONNECTIONS_MAX connections of each kind of port, so that strangers at one keep
 * nobody from another, of which one more is closed at once; a head of 16 KiB; a body as large as
 * its route says; HTTP_OCTETS_MAX of all requests that are not answered, but for those of no more
 * than a head; HTTP_IDLE_S without an octet, and HTTP_REQUEST_S from the first one to the answer,
 * whatever the client does meanwhile. */
#ifndef BOURSE_MANAGEMENT_HTTP_SERVER_H
#define BOURSE_MANAGEMENT_HTTP_SERVER_H

#include "management/http/call.h"
#include "management/http/event_stream.h"
#include "management/http/http_chunks.h"
#include "management/http/http_head.h"
#include "management/http/sessions.h"
#include "net/seam.h"
#include "tls/tls_context.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HTTP_CONNECTIONS_MAX = 256, HTTP_HEAD_MAX = 16 * 1024, HTTP_URI_MAX = 8 * 1024 };
enum { HTTP_IDLE_S = 60, HTTP_REQUEST_S = 10, HTTP_OCTETS_MAX = 96 * 1024 * 1024 };

/* RabbitMQ's: there are clients that have their password for it alone. */
#define BASIC_REALM "Basic realm=\"RabbitMQ Management\""

struct event;
struct log_tail;
struct event_base;
struct bufferevent;
struct evhttp;
struct evhttp_connection;
struct body_gate;

enum server_port { PORT_HTTP, PORT_HTTPS, PORT_METRICS, PORT_CONTROL, PORT_COUNT };

/* One listening address. */
struct server_listener {
    enum server_port port_kind;
    char *host; /* owned; of the control socket its path */
    uint16_t port;
    bool is_tls;
};

/* One connection of a client. libevent tells of it when its first request is there, and of its end
 * from then on; until then it is known by its buffer, of which the end is seen when somebody looks.
 */
struct server_connection {
    struct list_link link; /* management->connections */
    struct management *management;
    struct bufferevent *buffer;     /* a reference */
    struct evhttp_connection *http; /* owned by libevent; NULL: no request has come yet */
    enum server_port port_kind;
    struct net_peer peer;  /* once a request has come */
    bool is_house;         /* the control socket, and its other end may do everything */
    bool is_surplus;       /* one too many, or without TLS where it is to be: is being closed */
    bool is_in_request;    /* octets of one have come, and it is not answered */
    size_t octets;         /* of it, so far, as far as they are kept */
    size_t octets_max;     /* of it, that are kept */
    struct http_head head; /* of it */
    bool is_chunked;       /* its body is, by the head */
    bool is_ahead;         /* some of it came before the answer to the one before: it gets no more
                              than a stranger's body, for nothing can be said in between */
    struct http_chunks chunks;
    struct body_gate *gate; /* it waits until somebody has said who it is; NULL: it does not */
    bool is_refused;        /* before it was whole: what comes is thrown away */
    struct event *deadline; /* owned */
    int allowed_s;          /* for the answer */
    struct event *hang_up;  /* the other end has gone; waited for while `call` is there; owned */
    struct call *call;      /* NULL: none is under way */
    struct event_stream *stream; /* an answer that goes on; NULL: none */
};

/* One evhttp for each kind of port, with what its callbacks need. */
struct server_http {
    struct management *management;
    enum server_port port_kind;
    struct evhttp *http; /* owned; NULL: off */
    uint32_t connection_count;
    struct tls_context *tls; /* owned; NULL: plain */
};

struct management {
    struct log *log;           /* borrowed */
    struct broker *broker;     /* borrowed */
    struct request_desk *desk; /* the broker's */
    struct event_base *base;   /* owned */
    struct event *stop;        /* owned */
    struct event *answers;     /* owned */
    int stop_fd;               /* owned */
    struct server_http ports[PORT_COUNT];
    struct server_listener *listeners; /* owned */
    size_t listener_count;
    struct sessions sessions;
    struct event_streams streams;
    struct list connections;
    size_t octets; /* of requests that are not answered, of all connections */
    pthread_t thread;
    bool has_thread;
    atomic_bool is_ready;
    atomic_bool reload_has_failed; /* the last one */
    gid_t group;                   /* of operators; (gid_t)-1: there is none */
    char *control_path;            /* owned; NULL: no control socket */
    char *rabbitmq_version;        /* owned */
    char *node;                    /* "bourse@HOST"; owned */
    char *data_directory;          /* owned; NULL: nothing is written */
    char *effective_config;        /* JSON; owned */
    struct monitor *monitor;       /* owned */
    struct log_tail *log_tail;     /* owned */
    /* When the certificates that listeners show end, as of the last time they were loaded; 0: there
     * is none. */
    _Atomic int64_t certificate_ends_ms[LISTENER_KIND_COUNT];
    int64_t prepared_ends_ms[LISTENER_KIND_COUNT]; /* of those that are prepared */
};

/* http_listeners.c: opens what the configuration says; false with the reason. */
bool server_open(struct management *management, const struct config *config, char *why,
                 size_t why_size);
void server_close(struct management *management);

/* "http", ..., as addresses are written. */
extern const char *const server_schemes[PORT_COUNT];

/* http_server.c: what libevent calls for each connection and each request; the context is the
 * struct server_http. */
struct bufferevent *server_on_accept(struct event_base *base, void *context);
void server_on_request(struct evhttp_request *http, void *context);

/* Ends every connection, at once. */
void server_end_connections(struct management *management);

/* The clock that sessions, streams and deadlines go by. */
uint64_t server_now_ms(void);

/* The connection's call has been answered, or given up: the next request may come. */
void server_end_call(struct server_connection *connection);

/* The connection's call is given so many seconds from now on. */
void server_allow(struct server_connection *connection, int seconds);

/* call.c: the call of a request whose route was found; what `match` points to is copied. */
struct call *call_new(struct server_connection *connection, struct evhttp_request *http,
                      const struct route_match *match);
/* What a watch asks, `target` with its query. */
struct call *call_new_of_watch(struct management *management, struct watch *watch,
                               const struct route_match *match, const char *target);
/* Headers that every answer has. */
void call_add_headers_of_all(struct evhttp_request *http);
/* Its client is gone. */
void call_give_up(struct call *call);
/* Its client has waited for too long, and is told so. */
void call_time_out(struct call *call);
/* Frees a call that is answered or given up, unless something of it is under way in the core. */
void call_settle(struct call *call);
/* Answers in place of a handler. */
void call_refuse(struct evhttp_request *http, int status, const char *reason);
/* The octets of an answer 401, its head included, that ends the connection. */
void call_write_refusal(struct buffer *out, const char *reason, bool asks_for_password);

/* admission.c: asks the core who it is, and whether that one may; then the route's handler runs. */
void admission_begin(struct call *call, const struct server_connection *connection);

/* The same for what a watch asks in the name of who began it. */
void admission_begin_for(struct call *call, const struct call_user *user);

/* The connection goes on with a stream: nothing is owed within a time any more. */
void server_begin_stream(struct server_connection *connection, struct event_stream *stream);
/* Fills in `peer` and `is_house`; false: the other end is gone. */
bool server_describe_peer(struct server_connection *connection);
/* Ends the connection, soon. */
void server_drop(struct server_connection *connection);

/* control_socket.c: -1 with the reason. */
int control_socket_open(const char *path, char *why, size_t why_size);
/* Whether who is at the other end may do everything. */
bool control_socket_is_house(int fd, gid_t group);

#endif
