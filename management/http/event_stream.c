/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/event_stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "management/http/http_check.h"
#include "management/http/server.h"

enum {
    PERIOD_MS = 1000,
    PERIOD_MAX_MS = 10 * 1000,
    SHARE = 300, /* a watch may take one part in so many of the time */
    SIGN_OF_LIFE_MS = 15 * 1000,
    UNREAD_MS = 5 * 1000, /* a full stream of which nothing is taken for so long is cut off */
    TARGET_MAX = 2048,
};

static const char CONTENT_TYPE[] = "text/event-stream";

struct watch {
    struct list_link link; /* streams->watches */
    struct management *management;
    struct call_user user;
    char *target; /* path and query; owned */
    struct route_match match;
    uint8_t *names;    /* what `match` points to; owned */
    struct call *call; /* under way; NULL: none */
    uint32_t readers;
    uint64_t asked_ms, due_ms;
    struct buffer last; /* the event as it was sent; empty: none yet */
    int last_status;
};

struct event_stream {
    struct list_link link; /* streams->streams */
    struct server_connection *connection;
    struct evhttp_request *http; /* libevent's, as long as the connection is there */
    struct call_user user;
    char session[RANDOM_NAME_SIZE]; /* its id; empty: by a password */
    struct watch *watches[STREAM_WATCHES_MAX];
    uint32_t watch_count;
    uint32_t untold; /* watches that have changed while the stream was full, a bit each */
    uint64_t sent_ms;
    size_t unread;     /* octets that the client had not taken at the last look */
    uint64_t taken_ms; /* when there were fewer of them than before, or room */
    bool is_over;
};
static_assert(STREAM_WATCHES_MAX <= 32, "struct event_stream.untold");

/* Sending ------------------------------------------------------------------------------------ */

static void
drop(struct event_stream *stream)
{
    stream->is_over = true;
    server_drop(stream->connection);
}

static size_t
unread_octets(const struct event_stream *stream)
{
    return evbuffer_get_length(bufferevent_get_output(stream->connection->buffer));
}

static void
stream_send(struct event_stream *stream, struct bytes text)
{
    struct evbuffer *chunk = NULL;
    if (stream->is_over) {
        return;
    }
    if ((chunk = evbuffer_new()) == NULL || evbuffer_add(chunk, text.data, text.size) != 0) {
        drop(stream);
    } else {
        evhttp_send_reply_chunk(stream->http, chunk);
        stream->sent_ms = server_now_ms();
    }
    if (chunk != NULL) {
        evbuffer_free(chunk);
    }
}

/* The client is told not to come again by itself. */
static void
stream_end(struct event_stream *stream)
{
    struct server_connection *connection = stream->connection;
    struct evhttp_request *http = stream->http;
    stream_send(stream, bytes_of("event: end\ndata: {}\n\n"));
    if (!stream->is_over) {
        event_stream_close(stream);
        server_end_call(connection);
        evhttp_send_reply_end(http);
    }
}

/* What the watch has is the event of that number in this stream. One that is full is told later
 * what the watch has then. */
static void
stream_tell(struct event_stream *stream, uint32_t number)
{
    const struct watch *watch = stream->watches[number];
    struct buffer event;
    if (!stream->is_over && unread_octets(stream) > STREAM_BACKLOG_MAX) {
        stream->untold |= UINT32_C(1) << number;
        return;
    }
    stream->untold &= ~(UINT32_C(1) << number);
    buffer_init(&event);
    buffer_printf(&event, "event: %s%u\ndata: ", watch->last_status == 200 ? "w" : "f", number);
    buffer_put_bytes(&event, buffer_bytes(&watch->last));
    buffer_printf(&event, "\n\n");
    if (event.failed) {
        drop(stream);
    } else {
        stream_send(stream, buffer_bytes(&event));
    }
    buffer_fini(&event);
}

static void
tell_readers(const struct watch *watch)
{
    LIST_FOR_EACH(&watch->management->streams.streams, link)
    {
        struct event_stream *stream = CONTAINER_OF(link, struct event_stream, link);
        for (uint32_t i = 0; i < stream->watch_count; i++) {
            if (stream->watches[i] == watch) {
                stream_tell(stream, i);
            }
        }
    }
}

/* Watches ------------------------------------------------------------------------------------ */

static void
watch_free(struct watch *watch)
{
    list_remove(&watch->link);
    buffer_fini(&watch->last);
    free(watch->target);
    free(watch->names);
    free(watch);
}

/* The next one is due when this one was no more than its share of the time. */
void
watch_answered(struct watch *watch, int status, struct bytes octets)
{
    uint64_t took_ms = server_now_ms() - watch->asked_ms;
    uint64_t period_ms = took_ms * SHARE < PERIOD_MS       ? PERIOD_MS
                         : took_ms * SHARE > PERIOD_MAX_MS ? PERIOD_MAX_MS
                                                           : took_ms * SHARE;
    watch->call = NULL;
    watch->due_ms = watch->asked_ms + period_ms;
    if (status == watch->last_status && bytes_equal(octets, buffer_bytes(&watch->last))) {
        return;
    }
    buffer_fini(&watch->last);
    buffer_put_bytes(&watch->last, octets);
    watch->last_status = status;
    if (watch->last.failed) {
        buffer_fini(&watch->last);
        watch->last_status = 0;
        return;
    }
    tell_readers(watch);
}

static void
watch_ask(struct watch *watch, uint64_t now_ms)
{
    watch->asked_ms = now_ms;
    watch->call = call_new_of_watch(watch->management, watch, &watch->match, watch->target);
    admission_begin_for(watch->call, &watch->user);
}

static bool
is_same_user(const struct call_user *user, const struct call_user *other)
{
    return user->id == other->id && user->version == other->version &&
           strcmp(user->name, other->name) == 0;
}

/* NULL with the reason: there is no such route, or it is none to watch. */
static struct watch *
watch_new(struct call *call, const char *target, const char **why)
{
    struct management *management = call->management;
    struct route_path path;
    size_t size = strcspn(target, "?#");
    struct watch *watch = xalloc(sizeof(*watch));
    watch->names = xalloc(size + 1);
    watch->target = xstrdup(target);
    watch->management = management;
    watch->user = call->user;
    buffer_init(&watch->last);
    list_append(&management->streams.watches, &watch->link);
    *why = "there is nothing to watch under that path";
    if (!route_split(bytes_make(watch->target, size), watch->names, &path, why) ||
        route_find(routes, route_count, ROUTE_GET, &path, &watch->match) != ROUTE_FOUND ||
        (watch->match.route->flags & ROUTE_WATCHED) == 0) {
        watch_free(watch);
        return NULL;
    }
    return watch;
}

static struct watch *
watch_find(const struct call *call, const char *target)
{
    LIST_FOR_EACH(&call->management->streams.watches, link)
    {
        struct watch *watch = CONTAINER_OF(link, struct watch, link);
        if (is_same_user(&watch->user, &call->user) && strcmp(watch->target, target) == 0) {
            return watch;
        }
    }
    return NULL;
}

/* The pulse ---------------------------------------------------------------------------------- */

/* Whether the session that began it is still there. */
static bool
has_ended(struct management *management, const struct event_stream *stream, uint64_t now_ms)
{
    return stream->session[0] != '\0' &&
           sessions_find(&management->sessions, stream->session, now_ms) == NULL;
}

/* 401 for a question is for all of the user's: the user has changed, or may not look any more. */
static bool
is_refused(const struct event_stream *stream)
{
    bool is_all = stream->watch_count > 0;
    for (uint32_t i = 0; i < stream->watch_count; i++) {
        is_all = is_all && stream->watches[i]->last_status == 401;
    }
    return is_all;
}

/* Tells what it was too full for, or cuts off who takes nothing. */
static void
catch_up(struct event_stream *stream, uint64_t now_ms)
{
    if (stream->is_over) {
        return;
    }
    size_t unread = unread_octets(stream);
    if (unread <= STREAM_BACKLOG_MAX || unread < stream->unread) {
        stream->taken_ms = now_ms;
    }
    stream->unread = unread;
    if (now_ms - stream->taken_ms >= UNREAD_MS) {
        char name[CALL_USER_SIZE + 8];
        log_limited(stream->connection->management->log, LOG_LEVEL_INFO, "http.reader_cut_off",
                    "user=%s unread=%zu",
                    log_escape(name, sizeof(name), bytes_of(stream->user.name)), unread);
        drop(stream);
        return;
    }
    for (uint32_t i = 0; i < stream->watch_count; i++) {
        if ((stream->untold & UINT32_C(1) << i) != 0) {
            stream_tell(stream, i);
        }
    }
}

static void
look_after(struct management *management, struct event_stream *stream, uint64_t now_ms)
{
    if (stream->is_over) {
        return;
    }
    if (has_ended(management, stream, now_ms) || is_refused(stream)) {
        stream_end(stream);
        return;
    }
    if (now_ms - stream->sent_ms >= SIGN_OF_LIFE_MS) {
        stream_send(stream, bytes_of("event: alive\ndata: {}\n\n"));
    }
    catch_up(stream, now_ms);
}

static void
ask_what_is_due(struct management *management, uint64_t now_ms)
{
    LIST_FOR_EACH(&management->streams.watches, link)
    {
        struct watch *watch = CONTAINER_OF(link, struct watch, link);
        if (watch->call == NULL && watch->readers == 0) {
            watch_free(watch);
        } else if (watch->call == NULL && now_ms >= watch->due_ms) {
            watch_ask(watch, now_ms);
        }
    }
}

static void
on_pulse(evutil_socket_t fd, short events, void *context)
{
    struct management *management = context;
    uint64_t now_ms = server_now_ms();
    (void)fd;
    (void)events;
    LIST_FOR_EACH(&management->streams.streams, link)
    {
        look_after(management, CONTAINER_OF(link, struct event_stream, link), now_ms);
    }
    ask_what_is_due(management, now_ms);
    if (list_is_empty(&management->streams.streams) &&
        list_is_empty(&management->streams.watches)) {
        event_free(management->streams.pulse);
        management->streams.pulse = NULL;
    }
}

/* A little more often than what is asked once a second comes due. One that beats goes on as it
 * does: whoever asks more often than that must not hold it up. */
static bool
start_pulse(struct management *management)
{
    static const struct timeval PULSE = {.tv_usec = 250 * 1000};
    struct event_streams *streams = &management->streams;
    if (streams->pulse == NULL) {
        streams->pulse = event_new(management->base, -1, EV_PERSIST, on_pulse, management);
    }
    return streams->pulse != NULL && (event_pending(streams->pulse, EV_TIMEOUT, NULL) != 0 ||
                                      event_add(streams->pulse, &PULSE) == 0);
}

/* Streams ------------------------------------------------------------------------------------ */

void
event_streams_init(struct event_streams *streams)
{
    list_init(&streams->streams);
    list_init(&streams->watches);
}

void
event_streams_fini(struct event_streams *streams)
{
    struct list_link *link;
    while ((link = list_first(&streams->watches)) != NULL) {
        watch_free(CONTAINER_OF(link, struct watch, link));
    }
    if (streams->pulse != NULL) {
        event_free(streams->pulse);
        streams->pulse = NULL;
    }
}

static void
stream_free(struct event_stream *stream)
{
    for (uint32_t i = 0; i < stream->watch_count; i++) {
        stream->watches[i]->readers--;
    }
    free(stream);
}

void
event_stream_close(struct event_stream *stream)
{
    struct management *management = stream->connection->management;
    list_remove(&stream->link);
    management->streams.stream_count--;
    stream->connection->stream = NULL;
    if (evhttp_request_get_connection(stream->http) == NULL) {
        evhttp_request_free(stream->http); /* libevent has let go of it */
    }
    stream_free(stream);
}

/* Each `watch=` of the query. False: it was answered. */
static bool
add_watches(struct call *call, struct event_stream *stream)
{
    for (uint32_t i = 0; i < call->query_count; i++) {
        const char *target = call->query[i].value;
        const char *why = "a stream watches at most eight paths";
        struct watch *watch = NULL;
        if (strcmp(call->query[i].name, "watch") != 0) {
            continue;
        }
        if (stream->watch_count < STREAM_WATCHES_MAX && strlen(target) <= TARGET_MAX) {
            watch = watch_find(call, target);
            watch = watch != NULL ? watch : watch_new(call, target, &why);
        }
        if (watch == NULL) {
            call_fail(call, 400, "%s", why);
            return false;
        }
        watch->readers++;
        stream->watches[stream->watch_count++] = watch;
    }
    return true;
}

/* The answer begins, and the call ends. */
static void
stream_begin(struct call *call, struct event_stream *stream)
{
    struct management *management = call->management;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(call->http);
    stream->connection = call->connection;
    stream->http = call->http;
    stream->sent_ms = server_now_ms();
    stream->taken_ms = stream->sent_ms;
    call->http = NULL;
    call->connection = NULL;
    server_begin_stream(stream->connection, stream);
    list_append(&management->streams.streams, &stream->link);
    management->streams.stream_count++;
    (void)evhttp_add_header(headers, "Content-Type", CONTENT_TYPE);
    (void)evhttp_add_header(headers, "X-Accel-Buffering", "no");
    call_add_headers_of_all(stream->http);
    evhttp_send_reply_start(stream->http, 200, NULL);
    stream_send(stream, bytes_of("retry: 2000\n\n"));
}

void
handle_events(struct call *call)
{
    struct event_streams *streams = &call->management->streams;
    if (http_is_head(call->http)) { /* there would be nothing to tell, and no end */
        call_add_header(call, "Content-Type", CONTENT_TYPE);
        call_answer(call, 200);
        return;
    }
    if (streams->stream_count >= STREAMS_MAX) {
        call_fail(call, 503, "%d streams are open: as many as there may be", STREAMS_MAX);
        return;
    }
    struct event_stream *stream = xalloc(sizeof(*stream));
    stream->user = call->user;
    memcpy(stream->session, call->session, sizeof(stream->session));
    /* The pulse first: it frees watches that nobody came to read. */
    if (!start_pulse(call->management) || !add_watches(call, stream)) {
        if (call->http != NULL) {
            call_fail(call, 503, "no memory for a timer");
        }
        stream_free(stream);
        return;
    }
    stream_begin(call, stream);
    for (uint32_t i = 0; i < stream->watch_count; i++) {
        if (stream->watches[i]->last_status != 0) {
            stream_tell(stream, i);
        }
    }
    event_active(streams->pulse, EV_TIMEOUT, 0);
}
