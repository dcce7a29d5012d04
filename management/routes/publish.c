/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing one message: mandatory, so that the caller hears whether a queue took it, and
 * confirmed, so that the answer means what it says. */
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/connections/house.h"
#include "management/ask/caller_house.h"
#include "management/json/base64.h"
#include "management/routes/handlers.h"
#include "management/views/properties_json.h"

struct publish_ask {
    struct call_ask ask;
    struct house_message message; /* views into the call, or into `octets` */
    struct buffer properties;     /* owned */
    struct buffer body;           /* owned; of a payload that was base64 */
    struct house *house;          /* owned; of the core while it is under way */
    struct refusal refusal;
    bool was_routed, was_refused;
};

/* In the core -------------------------------------------------------------------------------- */

static bool
begin(struct publish_ask *ask, struct core *core)
{
    ask->house = caller_house_open(core, ask->ask.call, &ask->refusal);
    if (ask->house == NULL) {
        return false;
    }
    house_publish(ask->house, &ask->message);
    return true;
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct publish_ask *ask = CONTAINER_OF(request, struct publish_ask, ask.desk.request);
    (void)budget;
    if (ask->house == NULL && !begin(ask, core)) {
        return REQUEST_DONE;
    }
    if (!house_is_answered(ask->house)) {
        return REQUEST_WAITING;
    }
    const struct house_answer *answer = &ask->house->answer;
    (void)caller_house_was_refused(ask->house, &ask->refusal);
    ask->was_routed = !answer->was_returned;
    ask->was_refused = answer->method.id == METHOD_BASIC_NACK;
    house_free(&ask->house);
    return REQUEST_DONE;
}

static void
abandon(struct request *request, struct core *core)
{
    struct publish_ask *ask = CONTAINER_OF(request, struct publish_ask, ask.desk.request);
    (void)core;
    house_free(&ask->house);
}

/* The answer --------------------------------------------------------------------------------- */

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct publish_ask *ask = CONTAINER_OF(call_ask, struct publish_ask, ask);
    struct json_writer json;
    if (ask->refusal.reply_code == REPLY_RESOURCE_ERROR) {
        call_fail(call, 503, "%s", ask->refusal.reply_text);
        return;
    }
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    if (ask->was_refused) {
        call_fail(call, 400, "Unable to publish message. Check queue limits.");
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_bool(&json, "routed", ask->was_routed);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct publish_ask *ask = CONTAINER_OF(call_ask, struct publish_ask, ask);
    buffer_fini(&ask->properties);
    buffer_fini(&ask->body);
    free(ask);
}

/* What is asked for -------------------------------------------------------------------------- */

static bool
read_properties(struct call *call, const json_t *body, struct publish_ask *ask)
{
    char why[JSON_WHY_SIZE];
    const json_t *properties = json_object_get(body, "properties");
    bool is_none = json_is_array(properties) && json_array_size(properties) == 0;
    if (!json_is_object(properties) && !is_none) {
        call_fail(call, 400, "\"properties\" takes an object, {} for none");
        return false;
    }
    json_t *none = json_object();
    bool is_good = properties_read(is_none ? none : properties, &ask->properties, why);
    json_decref(none);
    if (!is_good) {
        call_fail(call, 400, "\"properties\": %s", why);
    }
    ask->message.properties = buffer_bytes(&ask->properties);
    return is_good;
}

/* A text that must be there; false: it was answered. */
static bool
read_text(struct call *call, const json_t *body, const char *name, struct bytes *out)
{
    char why[JSON_WHY_SIZE];
    *out = bytes_make(NULL, 0);
    if (!json_read_text(body, name, out, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (out->data == NULL) {
        call_fail(call, 400, "\"%s\" is missing", name);
        return false;
    }
    return true;
}

static bool
read_payload(struct call *call, const json_t *body, struct publish_ask *ask)
{
    struct bytes payload;
    struct bytes encoding;
    if (!read_text(call, body, "payload", &payload) ||
        !read_text(call, body, "payload_encoding", &encoding)) {
        return false;
    }
    if (bytes_equal_text(encoding, "string")) {
        ask->message.body = payload;
        return true;
    }
    if (!bytes_equal_text(encoding, "base64")) {
        call_fail(call, 400, "\"payload_encoding\" is \"string\" or \"base64\"");
        return false;
    }
    if (!base64_read(&ask->body, payload)) {
        call_fail(call, 400, "\"payload\" is no base64");
        return false;
    }
    ask->message.body = buffer_bytes(&ask->body);
    return true;
}

static bool
read_message(struct call *call, const json_t *body, struct publish_ask *ask)
{
    struct bytes exchange = call_exchange_name(call, 1);
    ask->message.exchange = exchange;
    if (!read_text(call, body, "routing_key", &ask->message.routing_key)) {
        return false;
    }
    if (ask->message.routing_key.size > UINT8_MAX || exchange.size > UINT8_MAX) {
        call_fail(call, 400, "a name or routing key has at most 255 octets");
        return false;
    }
    return read_properties(call, body, ask) && read_payload(call, body, ask);
}

void
handle_publish(struct call *call)
{
    const json_t *body = call_json_zeros(call);
    if (body == NULL) {
        return;
    }
    struct publish_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    buffer_init(&ask->properties);
    buffer_init(&ask->body);
    if (!read_message(call, body, ask)) {
        free_ask(&ask->ask);
        return;
    }
    call_ask(call, &ask->ask);
}
