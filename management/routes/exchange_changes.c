/* SPDX-License-Identifier: Apache-2.0 */
/* Declaring and deleting exchanges, and binding to them. */
#include <event2/http.h>
#include <stdlib.h>

#include "management/ask/change_ask.h"
#include "management/ask/operation_call.h"
#include "management/routes/handlers.h"
#include "management/views/queue_json.h"

/* Exchanges ---------------------------------------------------------------------------------- */

/* As RabbitMQ: direct and durable unless it says otherwise. */
static bool
read_declare(struct call *call, const json_t *body, struct operation *operation)
{
    struct exchange_declare *declare = &operation->method.exchange_declare;
    char why[JSON_WHY_SIZE];
    const char *type = "direct";
    if (!call_may_text(call, body, "type", &type)) {
        return false;
    }
    declare->type = bytes_of(type);
    declare->durable = true;
    if (declare->type.size > UINT8_MAX) {
        call_fail(call, 400, "a type has at most 255 octets");
        return false;
    }
    if (!json_read_bool(body, "durable", &declare->durable, why) ||
        !json_read_bool(body, "auto_delete", &declare->auto_delete, why) ||
        !json_read_bool(body, "internal", &declare->internal, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    return operation_read_arguments(call, body, operation);
}

void
handle_exchange_put(struct call *call)
{
    const json_t *body = call_names_fit(call) ? call_json(call) : NULL;
    if (body == NULL) {
        return;
    }
    struct operation *operation =
        operation_new_on(call, OPERATION_ON_EXCHANGE, METHOD_EXCHANGE_DECLARE);
    if (!read_declare(call, body, operation)) {
        operation_free(operation);
        return;
    }
    operation->method.exchange_declare.exchange = operation->name;
    operation->method.exchange_declare.arguments = buffer_bytes(&operation->arguments);
    operation->answer = operation_answer_put;
    operation_start(call, operation);
}

void
handle_exchange_delete(struct call *call)
{
    if (!call_names_fit(call)) {
        return;
    }
    struct operation *operation =
        operation_new_on(call, OPERATION_ON_EXCHANGE, METHOD_EXCHANGE_DELETE);
    operation->must_exist = true;
    operation->method.exchange_delete = (struct exchange_delete){
        .exchange = operation->name,
        .if_unused = call_flag(call, "if-unused"),
    };
    operation->answer = operation_answer_change;
    operation_start(call, operation);
}

/* Binding ------------------------------------------------------------------------------------ */

static struct bytes
routing_key_of(const struct operation *operation)
{
    return operation->method.id == METHOD_QUEUE_BIND ? operation->method.queue_bind.routing_key
                                                     : operation->method.exchange_bind.routing_key;
}

/* Appends "/TEXT", percent-encoded. */
static void
put_segment(struct buffer *out, struct bytes text)
{
    char *encoded =
        text.size == 0 ? NULL : evhttp_uriencode((const char *)text.data, (ev_ssize_t)text.size, 0);
    buffer_printf(out, "/%s", encoded == NULL ? "" : encoded);
    free(encoded);
}

/* Where the new binding is: its properties key is the last part, encoded once more as all names
 * are. */
static void
add_location(struct call *call, const struct operation *operation)
{
    bool to_queue = operation->method.id == METHOD_QUEUE_BIND;
    struct buffer key;
    struct buffer location;
    buffer_init(&key);
    buffer_init(&location);
    binding_put_properties_key(&key, routing_key_of(operation),
                               buffer_bytes(&operation->arguments));
    buffer_printf(&location, "/api/bindings");
    put_segment(&location, call_name(call, 0));
    buffer_printf(&location, "/e");
    put_segment(&location, call_name(call, 1));
    buffer_printf(&location, to_queue ? "/q" : "/e");
    put_segment(&location, call_name(call, 2));
    put_segment(&location, buffer_bytes(&key));
    buffer_put_u8(&location, '\0');
    if (!location.failed) {
        call_add_header(call, "Location", (const char *)buffer_bytes(&location).data);
    }
    buffer_fini(&location);
    buffer_fini(&key);
}

static void
answer_bind(struct call *call, const struct operation *operation)
{
    if (operation->refusal.reply_code != 0) {
        call_fail_reply(call, operation->refusal.reply_code, operation->refusal.reply_text);
        return;
    }
    add_location(call, operation);
    call_answer(call, 201);
}

static bool
read_binding(struct call *call, const json_t *body, struct operation *operation,
             struct bytes *routing_key_out)
{
    const char *routing_key = "";
    if (!call_may_text(call, body, "routing_key", &routing_key) ||
        !operation_read_arguments(call, body, operation)) {
        return false;
    }
    *routing_key_out = bytes_of(routing_key);
    if (routing_key_out->size > UINT8_MAX) {
        call_fail(call, 400, "a routing key has at most 255 octets");
        return false;
    }
    return true;
}

static void
fill_bind(const struct call *call, struct operation *operation, struct bytes routing_key)
{
    struct bytes arguments = buffer_bytes(&operation->arguments);
    if (operation->method.id == METHOD_QUEUE_BIND) {
        operation->method.queue_bind = (struct queue_bind){
            .queue = call_name(call, 2),
            .exchange = call_exchange_name(call, 1),
            .routing_key = routing_key,
            .arguments = arguments,
        };
    } else {
        operation->method.exchange_bind = (struct exchange_bind){
            .destination = call_exchange_name(call, 2),
            .source = call_exchange_name(call, 1),
            .routing_key = routing_key,
            .arguments = arguments,
        };
    }
}

static void
begin_bind(struct call *call, enum method_id id)
{
    const json_t *body = call_names_fit(call) ? call_json(call) : NULL;
    struct bytes routing_key;
    if (body == NULL) {
        return;
    }
    struct operation *operation = operation_new_on(call, OPERATION_ON_NOTHING, id);
    if (!read_binding(call, body, operation, &routing_key)) {
        operation_free(operation);
        return;
    }
    fill_bind(call, operation, routing_key);
    operation->answer = answer_bind;
    operation_start(call, operation);
}

void
handle_queue_bind(struct call *call)
{
    begin_bind(call, METHOD_QUEUE_BIND);
}

void
handle_exchange_bind(struct call *call)
{
    begin_bind(call, METHOD_EXCHANGE_BIND);
}
