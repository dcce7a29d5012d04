/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request from the moment its route is found and its caller admitted, to its answer. A
 * handler reads what was asked (names of the path, query, body), asks the core as often as it needs
 * (call_ask), and answers exactly once. A call outlives its client: when that goes away, what is
 * under way in the core is cancelled, and the call is freed when it is back.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_HTTP_CALL_H
#define BOURSE_MANAGEMENT_HTTP_CALL_H

#include "base/alloc.h"
#include "base/random.h"
#include "broker/request_desk.h"
#include "broker/survey/survey.h"
#include "management/http/route.h"
#include "management/json/json_reader.h"
#include "management/json/json_writer.h"

struct management;
struct server_connection;
struct watch;
struct evhttp_request;

enum { CALL_USER_SIZE = 256, CALL_QUERY_MAX = 32 };

/* Who asks. */
struct call_user {
    char name[CALL_USER_SIZE]; /* NUL-terminated; empty: the house itself, by the control socket */
    uint8_t abilities;         /* of enum ability */
    uint64_t id, version;      /* which state of which user of that name it was */
};

struct call_parameter {
    const char *name, *value; /* decoded, owned by the call */
};

struct call {
    struct management *management;
    struct server_connection *connection; /* NULL with `http` */
    struct evhttp_request *http;          /* NULL: it was answered, or the client is gone */
    struct watch *watch; /* in place of both: who is told what comes of it; NULL: nobody */
    const struct route *route;
    struct call_user user;
    char session[RANDOM_NAME_SIZE];      /* the id of the session that asks; empty: none */
    struct bytes names[ROUTE_NAMES_MAX]; /* of the path's variables, decoded, in order */
    uint32_t name_count;
    struct call_parameter query[CALL_QUERY_MAX];
    uint32_t query_count;
    const char *query_problem; /* what could not be read of the query; NULL: nothing */
    struct bytes body;
    json_t *json;                     /* the body, if call_json was asked; owned */
    struct call_ask *under_way;       /* in the core; NULL: nothing */
    void *state;                      /* the handler's own; owned: freed with the call, */
    void (*free_state)(void *state);  /* after this, if it is there */
    bool is_streaming;                /* its answer has begun, and goes out in pieces */
    void (*taken)(struct call *call); /* the client has taken the last piece */
    struct arena arena;               /* what names, query and body point to; owned */
};

/* What a handler posts to the core: embed it first. Allocated by the handler, zero but for what it
 * fills in: `desk.request.step` and `abandon`, and what the step reads and writes. */
struct call_ask {
    struct desk_request desk;
    struct call *call;
    const char *too_late; /* what 429 says when the time is over first; NULL: it is 503 */
    /* The core is done; runs only while the client still waits, and not when the broker stops: that
     * is answered 503 without it. Answers, or asks again. */
    void (*then)(struct call *call, struct call_ask *ask);
    /* Frees the ask and all that it has; called whatever becomes of it, after `then`. */
    void (*free)(struct call_ask *ask);
};

/* Takes `ask`. One at a time. */
void call_ask(struct call *call, struct call_ask *ask);

/* The caller's name for broker/connections/house.h and surveys: data NULL for the house itself. */
struct bytes call_user_name(const struct call *call);

/* What the caller may see, for surveys. */
struct survey_viewer call_viewer(const struct call *call);

/* The variable of that position in the path; there is one. */
struct bytes call_name(const struct call *call, uint32_t position);

/* The same where it is an exchange's: the default one, which has no name, is amq.default in paths.
 */
struct bytes call_exchange_name(const struct call *call, uint32_t position);

/* The value of a query parameter, or NULL. */
const char *call_parameter(const struct call *call, const char *name);
bool call_flag(const struct call *call, const char *name); /* "true" */

/* The body as a JSON object ({} when there is none); NULL: it was answered 400. */
json_t *call_json(struct call *call);
/* The same where texts may have an octet 0, as clients' keys, headers and bodies may. */
json_t *call_json_zeros(struct call *call);

/* Answers. ---------------------------------------------------------------------------------- */

void call_answer(struct call *call, int status);                                /* without a body */
void call_answer_json(struct call *call, int status, struct json_writer *json); /* empties it */
void call_answer_octets(struct call *call, int status, const char *content_type,
                        struct bytes octets); /* copied */
/* The same of what was written, which is moved: empties it. */
void call_answer_buffer(struct call *call, int status, const char *content_type,
                        struct buffer *octets);
/* A header for the answer, before it. */
void call_add_header(struct call *call, const char *name, const char *value);
/* More time than HTTP_REQUEST_S, from now on, for what the core has to work on. */
void call_allow(struct call *call, int seconds);

/* An answer in pieces, each of which goes out before the next one is made: so a slow client takes
 * no memory. One that takes nothing for HTTP_IDLE_S is cut off. When the broker stops, a line
 * {"error": ...} ends it. */
void call_stream_begin(struct call *call, const char *content_type);
/* Sends what was written, which is something, and empties it. `taken` is called when the client has
 * it; it asks the core, sends, or ends the answer. */
void call_stream_send(struct call *call, struct buffer *piece, void (*taken)(struct call *call));
void call_stream_end(struct call *call);
/* Ends it before its end, saying why. */
void call_stream_fail(struct call *call, const char *reason);

/* {"error": "bad_request", "reason": ...}, the error by the status. */
void call_fail(struct call *call, int status, const char *format, ...) PRINTF_LIKE(3, 4);
/* By AMQP's reply code: 404 is 404, 403 is 401 ... all others 400, with the reply text. */
void call_fail_reply(struct call *call, uint16_t reply_code, const char *reply_text);

#endif
