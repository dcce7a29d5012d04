/* SPDX-License-Identifier: Apache-2.0 */
/* Why a message would go where it goes. */
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"
#include "management/views/explanation_json.h"

enum { MISSES_MAX = 1000 };
static const int64_t BODY_SIZE_MAX = INT64_C(512) * 1024 * 1024;

struct explain_ask {
    struct call_ask ask;
    struct buffer properties; /* a block; owned */
    struct route_question question;
    struct route_explanation *explanation; /* owned */
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct explain_ask *ask = CONTAINER_OF(request, struct explain_ask, ask.desk.request);
    if (ask->explanation == NULL) {
        ask->explanation = route_explanation_new(&ask->question);
    }
    return route_explanation_step(ask->explanation, core, budget) ? REQUEST_DONE : REQUEST_MORE;
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct explain_ask *ask = CONTAINER_OF(call_ask, struct explain_ask, ask);
    const struct explained_route *route = route_explanation_result(ask->explanation);
    struct json_writer json;
    if (route->is_changing) {
        call_fail(call, 503, "the topology changes too fast to be looked at; ask again");
        return;
    }
    json_init(&json);
    explanation_write(&json, route, ROUTE_OF_BROKER);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct explain_ask *ask = CONTAINER_OF(call_ask, struct explain_ask, ask);
    route_explanation_free(&ask->explanation);
    buffer_fini(&ask->properties);
    free(ask);
}

/* The question --------------------------------------------------------------------------------- */

static bool
read_headers(struct call *call, const json_t *body, struct explain_ask *ask)
{
    char why[JSON_WHY_SIZE] = "takes an object";
    struct fault fault = {.text = ""};
    const json_t *headers = json_object_get(body, "headers");
    struct buffer table;
    if (headers == NULL || json_is_null(headers)) {
        return true;
    }
    buffer_init(&table);
    bool is_good = json_is_object(headers) && json_read_table(headers, &table, why);
    if (is_good &&
        table_validate(buffer_bytes(&table), TABLE_HEADER_FIELDS_MAX, &fault) != STATUS_OK) {
        (void)snprintf(why, sizeof(why), "%s", fault.text);
        is_good = false;
    }
    if (is_good) {
        struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&table)};
        properties_encode(&ask->properties, &properties);
        is_good = !ask->properties.failed;
        ask->question.properties = buffer_bytes(&ask->properties);
    }
    buffer_fini(&table);
    if (!is_good) {
        call_fail(call, 400, "\"headers\": %s", why);
    }
    return is_good;
}

/* What others may do is shown to those who see it anyway. */
static bool
may_ask_about(struct call *call, struct bytes user)
{
    bool is_own = bytes_equal_text(user, call->user.name);
    if (user.data == NULL || is_own || (call->user.abilities & ABILITY_SEE_ALL) != 0) {
        return true;
    }
    call_fail(call, 401, "user '%s' may not see the rights of other users", call->user.name);
    return false;
}

static bool
read_question(struct call *call, const json_t *body, struct explain_ask *ask)
{
    struct route_question *question = &ask->question;
    char why[JSON_WHY_SIZE];
    int64_t size = 0;
    int64_t misses = EXPLAIN_MISSES;
    question->vhost = call_name(call, 0);
    question->exchange = question->routing_key = bytes_of("");
    if (!json_read_text(body, "exchange", &question->exchange, why) ||
        !json_read_text(body, "routing_key", &question->routing_key, why) ||
        !json_read_text(body, "user", &question->user, why) ||
        !json_read_integer(body, "body_bytes", 0, BODY_SIZE_MAX, &size, why) ||
        !json_read_integer(body, "misses", 1, MISSES_MAX, &misses, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (question->exchange.size > EXPLAIN_NAME_SIZE_MAX ||
        question->routing_key.size > EXPLAIN_NAME_SIZE_MAX) {
        call_fail(call, 400, "names and routing keys have at most 255 octets");
        return false;
    }
    if (bytes_equal_text(question->exchange, "amq.default")) {
        question->exchange = bytes_of("");
    }
    question->body_size = (uint32_t)size;
    question->misses = (uint32_t)misses;
    return may_ask_about(call, question->user) && read_headers(call, body, ask);
}

static void
explain(struct call *call, const json_t *body)
{
    struct explain_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    buffer_init(&ask->properties);
    if (read_question(call, body, ask)) {
        call_ask(call, &ask->ask);
    } else {
        free_ask(&ask->ask);
    }
}

void
handle_explain(struct call *call)
{
    const json_t *body = call_json(call);
    if (body != NULL) {
        explain(call, body);
    }
}

/* The same out of a query, without headers: a link that can be kept. Numbers are texts there. */
void
handle_explain_get(struct call *call)
{
    json_t *body = call_json(call);
    if (body == NULL) {
        return;
    }
    for (uint32_t i = 0; i < call->query_count; i++) {
        const struct call_parameter *parameter = &call->query[i];
        json_object_set_new(body, parameter->name, json_string(parameter->value));
    }
    json_object_del(body, "headers");
    explain(call, body);
}
