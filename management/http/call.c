/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/call.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "management/http/event_stream.h"
#include "management/http/http_check.h"
#include "management/http/server.h"

/* The life of a call ------------------------------------------------------------------------- */

/* Decodes a part of the query to text of the call: "+" is a space there, and an escape that is none
 * stands for itself. NULL: it has an octet 0. */
static char *
decode_query(struct call *call, struct bytes part)
{
    const char *raw = (const char *)arena_copy(&call->arena, part).data;
    size_t size = 0;
    char *decoded = evhttp_uridecode(raw, 1, &size);
    char *kept =
        decoded == NULL || strlen(decoded) != size ? NULL : arena_strdup(&call->arena, decoded);
    free(decoded);
    return kept;
}

static void
read_parameter(struct call *call, struct bytes text)
{
    const uint8_t *equals = text.size == 0 ? NULL : memchr(text.data, '=', text.size);
    size_t size = equals == NULL ? text.size : (size_t)(equals - text.data);
    struct bytes value =
        equals == NULL ? bytes_make("", 0) : bytes_make(equals + 1, text.size - size - 1);
    struct call_parameter parameter = {
        .name = decode_query(call, bytes_make(text.data, size)),
        .value = decode_query(call, value),
    };
    if (parameter.name == NULL || parameter.value == NULL) {
        call->query_problem = "the query has an octet 0";
    } else if (size > 0 && call->query_count == CALL_QUERY_MAX) {
        call->query_problem = "the query has too many parameters";
    } else if (size > 0) {
        call->query[call->query_count++] = parameter;
    }
}

static void
read_query(struct call *call, const char *uri)
{
    const char *at = strchr(uri, '?');
    while (at != NULL && *at != '\0' && *at != '#') {
        at++;
        size_t size = strcspn(at, "&#");
        read_parameter(call, bytes_make(at, size));
        at += size;
    }
}

static void
read_body(struct call *call)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(call->http);
    size_t size = evbuffer_get_length(input);
    uint8_t *octets = arena_alloc(&call->arena, size + 1);
    if (size > 0) {
        (void)evbuffer_remove(input, octets, size);
    }
    call->body = bytes_make(octets, size);
}

static void
copy_names(struct call *call, const struct route_match *match)
{
    call->name_count = match->name_count;
    for (uint32_t i = 0; i < match->name_count; i++) {
        call->names[i] = arena_copy(&call->arena, match->names[i]);
    }
}

struct call *
call_new(struct server_connection *connection, struct evhttp_request *http,
         const struct route_match *match)
{
    struct call *call = xalloc(sizeof(*call));
    call->management = connection->management;
    call->connection = connection;
    call->http = http;
    call->route = match->route;
    copy_names(call, match);
    read_query(call, evhttp_request_get_uri(http));
    read_body(call);
    return call;
}

struct call *
call_new_of_watch(struct management *management, struct watch *watch,
                  const struct route_match *match, const char *target)
{
    struct call *call = xalloc(sizeof(*call));
    call->management = management;
    call->watch = watch;
    call->route = match->route;
    copy_names(call, match);
    read_query(call, target);
    return call;
}

static void
call_free(struct call *call)
{
    if (call->free_state != NULL) {
        call->free_state(call->state);
    } else {
        free(call->state);
    }
    json_decref(call->json);
    arena_fini(&call->arena);
    free(call);
}

static bool
is_waited_for(const struct call *call)
{
    return call->http != NULL || call->watch != NULL;
}

void
call_settle(struct call *call)
{
    bool waits_for_client = call->is_streaming && call->http != NULL;
    if (call->under_way == NULL && !waits_for_client) {
        assert(!is_waited_for(call)); /* a handler answers, or asks */
        call_free(call);
    }
}

/* The connection is free for its next request. */
static struct evhttp_request *
call_leave(struct call *call)
{
    struct evhttp_request *http = call->http;
    assert(http != NULL);
    call->http = NULL;
    server_end_call(call->connection);
    call->connection = NULL;
    return http;
}

/* Its client is gone, or takes nothing: what libevent has let go of is freed here. */
static void
leave_stream(struct call *call)
{
    struct evhttp_request *http = call_leave(call);
    if (evhttp_request_get_connection(http) == NULL) {
        evhttp_request_free(http);
    }
    if (call->under_way == NULL) {
        call_free(call);
    } else {
        request_desk_cancel(call->management->desk, &call->under_way->desk);
    }
}

void
call_give_up(struct call *call)
{
    if (call->is_streaming) {
        leave_stream(call);
        return;
    }
    if (call->http != NULL) {
        (void)call_leave(call);
    }
    call->watch = NULL;
    if (call->under_way != NULL) {
        request_desk_cancel(call->management->desk, &call->under_way->desk);
    }
}

void
call_time_out(struct call *call)
{
    if (call->under_way != NULL && call->under_way->too_late != NULL) {
        call_add_header(call, "Retry-After", "30");
        call_fail(call, 429, "%s", call->under_way->too_late);
    } else {
        call_fail(
            call, 503,
            "the broker has not answered within %d seconds: its disk may be full or slow, and "
            "what was asked may still be done",
            call->connection->allowed_s);
    }
    call_give_up(call);
}

/* Asking ------------------------------------------------------------------------------------- */

static void
on_answered(struct desk_request *desk)
{
    struct call_ask *ask = CONTAINER_OF(desk, struct call_ask, desk);
    struct call *call = ask->call;
    call->under_way = NULL;
    if (is_waited_for(call) && desk->request.status == STATUS_OK) {
        ask->then(call, ask);
    } else if (call->http != NULL && call->is_streaming) {
        call_stream_fail(call, "the broker is stopping");
    } else if (is_waited_for(call)) {
        call_fail(call, 503, "the broker is stopping");
    }
    ask->free(ask);
    call_settle(call);
}

void
call_ask(struct call *call, struct call_ask *ask)
{
    assert(call->under_way == NULL);
    ask->call = call;
    ask->desk.answered = on_answered;
    call->under_way = ask;
    request_desk_post(call->management->desk, &ask->desk);
}

/* Reading ------------------------------------------------------------------------------------ */

struct bytes
call_user_name(const struct call *call)
{
    return call->user.name[0] == '\0' ? bytes_make(NULL, 0) : bytes_of(call->user.name);
}

struct survey_viewer
call_viewer(const struct call *call)
{
    return (struct survey_viewer){
        .user = call_user_name(call),
        .sees_all = (call->user.abilities & ABILITY_SEE_ALL) != 0,
    };
}

struct bytes
call_name(const struct call *call, uint32_t position)
{
    assert(position < call->name_count);
    return call->names[position];
}

struct bytes
call_exchange_name(const struct call *call, uint32_t position)
{
    struct bytes name = call_name(call, position);
    return bytes_equal_text(name, "amq.default") ? bytes_make("", 0) : name;
}

const char *
call_parameter(const struct call *call, const char *name)
{
    for (uint32_t i = 0; i < call->query_count; i++) {
        if (strcmp(call->query[i].name, name) == 0) {
            return call->query[i].value;
        }
    }
    return NULL;
}

bool
call_flag(const struct call *call, const char *name)
{
    const char *value = call_parameter(call, name);
    return value != NULL && strcmp(value, "true") == 0;
}

static json_t *
parse_body(struct call *call, json_t *(*read)(struct bytes text, char why[static JSON_WHY_SIZE]))
{
    char why[JSON_WHY_SIZE] = "there is no memory for it";
    if (call->json != NULL) {
        return call->json;
    }
    json_t *json = call->body.size == 0 ? json_object() : read(call->body, why);
    if (json == NULL) {
        call_fail(call, 400, "the body is no JSON: %s", why);
    } else if (!json_is_object(json)) {
        call_fail(call, 400, "the body is to be a JSON object");
        json_decref(json);
        json = NULL;
    }
    call->json = json;
    return json;
}

json_t *
call_json(struct call *call)
{
    return parse_body(call, json_read);
}

json_t *
call_json_zeros(struct call *call)
{
    return parse_body(call, json_read_zeros);
}

/* Answering ---------------------------------------------------------------------------------- */

static const char content_security[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

static void
add_header(struct evhttp_request *http, const char *name, const char *value)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(http);
    if (evhttp_find_header(headers, name) == NULL) {
        (void)evhttp_add_header(headers, name, value);
    }
}

static const char *const headers_of_all[][2] = {
    {"Content-Security-Policy", content_security},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
    {"Server", "Bourse"},
};

void
call_add_headers_of_all(struct evhttp_request *http)
{
    for (size_t i = 0; i < ARRAY_LEN(headers_of_all); i++) {
        add_header(http, headers_of_all[i][0], headers_of_all[i][1]);
    }
}

/* Takes `body`. The answer to HEAD says how long that of GET would be. */
static void
reply(struct evhttp_request *http, int status, struct evbuffer *body)
{
    char length[32];
    call_add_headers_of_all(http);
    if (body != NULL && http_is_head(http)) {
        (void)snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
        add_header(http, "Content-Length", length);
        (void)evbuffer_drain(body, evbuffer_get_length(body));
    }
    evhttp_send_reply(http, status, NULL, body);
    if (body != NULL) {
        evbuffer_free(body);
    }
}

static void
free_octets(const void *data, size_t size, void *context)
{
    (void)size;
    (void)context;
    free((void *)data);
}

/* Moves what was written into the answer. */
static void
reply_buffer(struct evhttp_request *http, int status, const char *content_type, struct buffer *out)
{
    struct evbuffer *body = evbuffer_new();
    if (body == NULL || out->failed ||
        evbuffer_add_reference(body, out->data + out->start, buffer_size(out), free_octets, NULL) !=
            0) {
        reply(http, 503, body);
        return;
    }
    assert(out->start == 0);
    buffer_init(out); /* its memory belongs to the answer now */
    add_header(http, "Content-Type", content_type);
    reply(http, status, body);
}

static void
reply_json(struct evhttp_request *http, int status, struct json_writer *json)
{
    reply_buffer(http, status, "application/json", &json->out);
}

static const char *
error_of(int status)
{
    static const struct {
        int status;
        const char *error;
    } errors[] = {
        {401, "not_authorized"},         {403, "forbidden"},           {404, "Object Not Found"},
        {405, "method_not_allowed"},     {412, "precondition_failed"}, {413, "too_large"},
        {415, "unsupported_media_type"}, {429, "too_many_requests"},   {503, "service_unavailable"},
    };
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (errors[i].status == status) {
            return errors[i].error;
        }
    }
    return "bad_request";
}

static void
write_refusal(struct json_writer *json, int status, const char *reason)
{
    json_begin_object(json);
    json_put_string(json, "error", error_of(status));
    json_put_string(json, "reason", reason);
    json_end_object(json);
}

void
call_refuse(struct evhttp_request *http, int status, const char *reason)
{
    struct json_writer json;
    json_init(&json);
    write_refusal(&json, status, reason);
    reply_json(http, status, &json);
    json_fini(&json);
}

void
call_write_refusal(struct buffer *out, const char *reason, bool asks_for_password)
{
    struct json_writer json;
    json_init(&json);
    write_refusal(&json, 401, reason);
    buffer_printf(out, "HTTP/1.1 401 Unauthorized\r\n");
    for (size_t i = 0; i < ARRAY_LEN(headers_of_all); i++) {
        buffer_printf(out, "%s: %s\r\n", headers_of_all[i][0], headers_of_all[i][1]);
    }
    if (asks_for_password) {
        buffer_printf(out, "WWW-Authenticate: " BASIC_REALM "\r\n");
    }
    buffer_printf(out,
                  "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                  "Connection: close\r\n\r\n",
                  buffer_size(&json.out));
    buffer_put_bytes(out, buffer_bytes(&json.out));
    out->failed = out->failed || json.out.failed;
    json_fini(&json);
}

/* A watch gets the answer in place of a client. */
static bool
tell_watch(struct call *call, int status, struct bytes octets)
{
    struct watch *watch = call->watch;
    call->watch = NULL;
    if (watch != NULL) {
        watch_answered(watch, status, octets);
    }
    return watch != NULL;
}

void
call_answer(struct call *call, int status)
{
    if (tell_watch(call, status, bytes_of("{}"))) {
        return;
    }
    reply(call_leave(call), status, NULL);
}

void
call_answer_json(struct call *call, int status, struct json_writer *json)
{
    if (!tell_watch(call, json->out.failed ? 503 : status, buffer_bytes(&json->out))) {
        reply_json(call_leave(call), status, json);
    }
}

void
call_answer_octets(struct call *call, int status, const char *content_type, struct bytes octets)
{
    if (tell_watch(call, status, octets)) {
        return;
    }
    struct evhttp_request *http = call_leave(call);
    struct evbuffer *body = evbuffer_new();
    if (body == NULL || evbuffer_add(body, octets.data, octets.size) != 0) {
        reply(http, 503, body);
        return;
    }
    add_header(http, "Content-Type", content_type);
    reply(http, status, body);
}

void
call_answer_buffer(struct call *call, int status, const char *content_type, struct buffer *octets)
{
    reply_buffer(call_leave(call), status, content_type, octets);
}

void
call_add_header(struct call *call, const char *name, const char *value)
{
    if (call->http != NULL) {
        add_header(call->http, name, value);
    }
}

void
call_allow(struct call *call, int seconds)
{
    server_allow(call->connection, seconds);
}

/* Pieces ------------------------------------------------------------------------------------- */

void
call_stream_begin(struct call *call, const char *content_type)
{
    add_header(call->http, "Content-Type", content_type);
    call_add_headers_of_all(call->http);
    call->is_streaming = true;
    server_allow(call->connection, HTTP_IDLE_S);
    evhttp_send_reply_start(call->http, 200, NULL);
}

static void
on_taken(struct evhttp_connection *connection, void *context)
{
    struct call *call = context;
    (void)connection;
    if (call->under_way == NULL) {
        call->taken(call);
        call_settle(call);
    }
}

/* Moves the octets to an answer's buffer; NULL: there is no memory. */
static struct evbuffer *
piece_new(struct buffer *octets)
{
    struct evbuffer *piece = evbuffer_new();
    bool is_whole = piece != NULL && !octets->failed &&
                    evbuffer_add(piece, octets->data + octets->start, buffer_size(octets)) == 0;
    buffer_clear(octets);
    if (!is_whole && piece != NULL) {
        evbuffer_free(piece);
    }
    return is_whole ? piece : NULL;
}

void
call_stream_send(struct call *call, struct buffer *octets, void (*taken)(struct call *call))
{
    struct evbuffer *piece = piece_new(octets);
    if (piece == NULL) {
        call_stream_fail(call, "there is no memory for more");
        return;
    }
    if (http_is_head(call->http)) {
        evbuffer_free(piece);
        call_stream_end(call); /* it is told the head only */
        return;
    }
    call->taken = taken;
    server_allow(call->connection, HTTP_IDLE_S);
    evhttp_send_reply_chunk_with_cb(call->http, piece, on_taken, call);
    evbuffer_free(piece);
}

void
call_stream_end(struct call *call)
{
    evhttp_send_reply_end(call_leave(call));
}

void
call_stream_fail(struct call *call, const char *reason)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "error", reason);
    json_end_object(&json);
    buffer_put_u8(&json.out, '\n');
    struct evbuffer *piece = piece_new(&json.out);
    if (piece != NULL) {
        evhttp_send_reply_chunk(call->http, piece);
        evbuffer_free(piece);
    }
    json_fini(&json);
    call_stream_end(call);
}

void
call_fail(struct call *call, int status, const char *format, ...)
{
    char reason[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    struct json_writer json;
    json_init(&json);
    write_refusal(&json, status, reason);
    call_answer_json(call, status, &json);
    json_fini(&json);
}

void
call_fail_reply(struct call *call, uint16_t reply_code, const char *reply_text)
{
    if (reply_code == REPLY_NOT_FOUND) {
        call_fail(call, 404, "%s", reply_text);
    } else if (reply_code == REPLY_ACCESS_REFUSED || reply_code == REPLY_NOT_ALLOWED) {
        call_fail(call, 401, "%s", reply_text);
    } else if (reply_code == REPLY_CONNECTION_FORCED) {
        call_fail(call, 503, "%s", reply_text);
    } else {
        call_fail(call, 400, "%s", reply_text);
    }
}
