/* SPDX-License-Identifier: Apache-2.0 */
/* Who is connected: connections, channels and consumers, and the closing of connections. Who does
 * not see all sees his own. */
#include <event2/http.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/changes/audit.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "management/ask/queue_right.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/client_json.h"
#include "management/views/row_answer.h"

/* Lists -------------------------------------------------------------------------------------- */

static struct list_kind
kind_of(const struct call *call, enum client_survey_kind survey_kind)
{
    static const struct list_kind *const kinds[] = {
        [SURVEY_CONNECTIONS] = &connection_list_kind,
        [SURVEY_CHANNELS] = &channel_list_kind,
        [SURVEY_CONSUMERS] = &subscription_list_kind,
    };
    struct list_kind kind = *kinds[survey_kind];
    kind.context = call->management->node;
    return kind;
}

static void
write_list(struct call *call, struct survey_ask *ask)
{
    struct list_kind kind = kind_of(call, ask->clients.kind);
    client_survey_sort(&ask->clients);
    rows_answer(call, &kind, &ask->clients.rows);
}

/* All of them, or those of the vhost that the path names. */
static void
list_clients(struct call *call, enum client_survey_kind kind)
{
    struct survey_ask *ask = survey_ask_for_clients(call, kind, write_list);
    if (call->name_count > 0) {
        ask->clients.vhost = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}

void
handle_connections(struct call *call)
{
    list_clients(call, SURVEY_CONNECTIONS);
}

void
handle_channels(struct call *call)
{
    list_clients(call, SURVEY_CHANNELS);
}

void
handle_consumers(struct call *call)
{
    list_clients(call, SURVEY_CONSUMERS);
}

void
handle_connections_of_user(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_clients(call, SURVEY_CONNECTIONS, write_list);
    ask->clients.user = call_name(call, 0);
    call_ask(call, &ask->ask);
}

/* One ---------------------------------------------------------------------------------------- */

static void
write_connection(struct call *call, struct survey_ask *ask)
{
    struct list_kind kind = kind_of(call, SURVEY_CONNECTIONS);
    row_answer(call, &kind, &ask->clients.rows);
}

void
handle_connection(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_clients(call, SURVEY_CONNECTIONS, write_connection);
    ask->clients.connection = call_name(call, 0);
    call_ask(call, &ask->ask);
}

/* A connection that is not there, or not to be seen, has no list of channels. */
static void
write_channels_of_connection(struct call *call, struct survey_ask *ask)
{
    if (ask->others.rows.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    write_list(call, ask);
}

/* The connection, and then its channels. */
static enum request_progress
look_at_connection(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    if (ask->others.rows.count == 0) {
        enum request_progress progress = client_survey_step(&ask->others, core, budget);
        bool is_found = ask->others.rows.count > 0;
        if (!is_found || *budget == 0) {
            return is_found ? REQUEST_MORE : progress;
        }
    }
    return client_survey_step(&ask->clients, core, budget);
}

void
handle_channels_of_connection(struct call *call)
{
    struct survey_ask *ask =
        survey_ask_for_clients(call, SURVEY_CHANNELS, write_channels_of_connection);
    ask->clients.connection = call_name(call, 0);
    ask->others = (struct client_survey){
        .viewer = ask->clients.viewer,
        .kind = SURVEY_CONNECTIONS,
        .connection = call_name(call, 0),
    };
    ask->go_on = look_at_connection;
    call_ask(call, &ask->ask);
}

static void
write_channel(struct call *call, struct survey_ask *ask)
{
    const char *node = call->management->node;
    struct json_writer json;
    if (ask->clients.rows.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    client_survey_sort(&ask->others);
    json_init(&json);
    json_begin_object(&json);
    channel_write_members(&json, ask->clients.rows.rows[0], node);
    json_key(&json, "consumer_details");
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->others.rows.count; i++) {
        subscription_list_kind.write(&json, ask->others.rows.rows[i], node);
    }
    json_end_array(&json);
    put_empty_array(&json, "publishes");
    put_empty_array(&json, "deliveries");
    json_end_object(&json);
    object_answer(call, &json);
}

/* The channel, and then its consumers. */
static enum request_progress
look_at_channel(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    if (ask->clients.rows.count == 0) {
        enum request_progress progress = client_survey_step(&ask->clients, core, budget);
        bool is_found = ask->clients.rows.count > 0;
        if (!is_found || *budget == 0) {
            return is_found ? REQUEST_MORE : progress;
        }
    }
    return client_survey_step(&ask->others, core, budget);
}

void
handle_channel(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_clients(call, SURVEY_CHANNELS, write_channel);
    ask->clients.channel = call_name(call, 0);
    ask->others = (struct client_survey){
        .viewer = ask->clients.viewer,
        .kind = SURVEY_CONSUMERS,
        .channel = call_name(call, 0),
    };
    ask->go_on = look_at_channel;
    call_ask(call, &ask->ask);
}

/* Closing: one's own, or as an administrator anybody's. --------------------------------------- */

/* What is found, and how far closing has come. */
struct closing {
    struct call_ask ask;
    struct client_survey found;
    bool is_complete; /* all of them are found */
    bool is_over;     /* they are closed */
    uint64_t token;   /* of the word in the audit */
    uint32_t position;
    struct bytes reason;
    bool must_exist;
};

/* One word for all that a call closes. */
static void
tell_audit(struct closing *closing, struct core *core)
{
    char target[2 * RESOURCE_TEXT_SIZE];
    const struct client_survey *found = &closing->found;
    const struct survey_connection *first = found->rows.rows[0];
    bool is_one = found->connection.data != NULL;
    char name[RESOURCE_TEXT_SIZE];
    (void)snprintf(target, sizeof(target), "%s=%s", is_one ? "connection" : "user",
                   log_escape(name, sizeof(name), is_one ? first->name : found->user));
    audit_add(core, (struct audit_entry){
                        .action = AUDIT_CONNECTIONS_CLOSED,
                        .phase = AUDIT_ENDED,
                        .user = caller_name(closing->ask.call),
                        .vhost = is_one ? first->vhost : bytes_of(""),
                        .target = bytes_of(target),
                        .note = closing->reason,
                        .outcome = bytes_of("done"),
                        .done_count = found->rows.count,
                    });
    closing->token = core_topology_token(core);
}

static enum request_progress
find_connections(struct closing *closing, struct core *core, uint32_t *budget)
{
    if (client_survey_step(&closing->found, core, budget) != REQUEST_DONE) {
        return REQUEST_MORE;
    }
    closing->is_complete = true;
    if (closing->found.rows.count == 0) {
        return REQUEST_DONE;
    }
    tell_audit(closing, core);
    return REQUEST_MORE;
}

static enum request_progress
close_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct closing *closing = CONTAINER_OF(request, struct closing, ask.desk.request);
    if (!closing->is_complete) {
        return find_connections(closing, core, budget);
    }
    if (!closing->is_over && client_survey_close(&closing->found, core, closing->reason,
                                                 &closing->position, budget) != REQUEST_DONE) {
        return REQUEST_MORE;
    }
    closing->is_over = true;
    core->wants_flush = true;
    return core_is_committed(core, closing->token) ? REQUEST_DONE : REQUEST_WAITING;
}

static void
close_then(struct call *call, struct call_ask *ask)
{
    const struct closing *closing = CONTAINER_OF(ask, struct closing, ask);
    if (closing->must_exist && closing->found.rows.count == 0) {
        call_fail(call, 404, "Not Found");
    } else {
        call_answer(call, 204);
    }
}

static void
close_free(struct call_ask *ask)
{
    struct closing *closing = CONTAINER_OF(ask, struct closing, ask);
    client_survey_fini(&closing->found);
    free(closing);
}

/* What the client is told: X-Reason, else that an operator did it. */
static struct bytes
reason_of(struct call *call)
{
    const char *given =
        evhttp_find_header(evhttp_request_get_input_headers(call->http), "X-Reason");
    bool is_given = given != NULL && given[0] != '\0';
    return arena_copy(&call->arena,
                      bytes_of(is_given ? given : "closed by the management interface"));
}

static struct closing *
closing_new(struct call *call)
{
    struct closing *closing = xalloc(sizeof(*closing));
    closing->ask.desk.request.step = close_step;
    closing->ask.then = close_then;
    closing->ask.free = close_free;
    closing->found.viewer = call_viewer(call);
    closing->found.viewer.sees_all = (call->user.abilities & ABILITY_ADMIN) != 0;
    closing->found.kind = SURVEY_CONNECTIONS;
    closing->reason = reason_of(call);
    return closing;
}

/* It reaches a client in a frame, and the audit. False: the call is answered. */
static bool
check_reason(struct call *call)
{
    const char *given =
        evhttp_find_header(evhttp_request_get_input_headers(call->http), "X-Reason");
    if (given != NULL && !bytes_is_utf8(bytes_of(given))) {
        call_fail(call, 400, "X-Reason is no UTF-8");
        return false;
    }
    return true;
}

void
handle_connection_close(struct call *call)
{
    if (!check_reason(call)) {
        return;
    }
    struct closing *closing = closing_new(call);
    closing->found.connection = call_name(call, 0);
    closing->must_exist = true;
    call_ask(call, &closing->ask);
}

void
handle_connections_of_user_close(struct call *call)
{
    if (!check_reason(call)) {
        return;
    }
    struct closing *closing = closing_new(call);
    closing->found.user = call_name(call, 0);
    call_ask(call, &closing->ask);
}
