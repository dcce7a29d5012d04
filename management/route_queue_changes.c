/* SPDX-License-Identifier: Apache-2.0 */
/* Declaring, deleting and purging queues. */
#include "amqp/reply.h"
#include "management/handlers.h"
#include "management/operation.h"

/* What a method's refusal means where it may be that of a condition the caller has set. */
static bool
is_refused_by_condition(const struct call *call, const struct operation *operation)
{
    return operation->reply_code == REPLY_PRECONDITION_FAILED &&
           (call_flag(call, "if-unused") || call_flag(call, "if-empty"));
}

static void
answer_change(struct call *call, const struct operation *operation)
{
    if (operation->reply_code == 0) {
        call_answer(call, 204);
    } else if (is_refused_by_condition(call, operation)) {
        call_fail(call, 412, "%s", operation->reply_text);
    } else {
        call_fail_reply(call, operation->reply_code, operation->reply_text);
    }
}

static void
answer_put(struct call *call, const struct operation *operation)
{
    if (operation->reply_code == 0) {
        call_answer(call, operation->existed ? 204 : 201);
    } else {
        call_fail_reply(call, operation->reply_code, operation->reply_text);
    }
}

/* Reads `arguments` into the operation; false: it was answered. */
static bool
read_arguments(struct call *call, const json_t *body, struct operation *operation)
{
    char why[JSON_WHY_SIZE];
    const json_t *arguments = json_object_get(body, "arguments");
    if (arguments == NULL || json_is_null(arguments) ||
        (json_is_array(arguments) && json_array_size(arguments) == 0)) {
        return true;
    }
    if (!json_is_object(arguments)) {
        call_fail(call, 400, "\"arguments\" takes an object");
        return false;
    }
    if (!json_read_table(arguments, &operation->arguments, why)) {
        call_fail(call, 400, "\"arguments\": %s", why);
        return false;
    }
    return true;
}

/* As RabbitMQ: durable unless it says otherwise. */
static bool
read_declare(struct call *call, const json_t *body, struct operation *operation)
{
    struct queue_declare *declare = &operation->method.queue_declare;
    char why[JSON_WHY_SIZE];
    declare->durable = true;
    if (!json_read_bool(body, "durable", &declare->durable, why) ||
        !json_read_bool(body, "auto_delete", &declare->auto_delete, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    return read_arguments(call, body, operation);
}

static struct operation *
operation_on_queue(const struct call *call, enum method_id id)
{
    struct operation *operation = operation_new();
    operation->object = OPERATION_ON_QUEUE;
    operation->name = call_name(call, 1);
    operation->method.id = id;
    return operation;
}

/* Names that AMQP's shortstr does not hold. */
static bool
name_fits(struct call *call)
{
    if (call_name(call, 1).size > UINT8_MAX) {
        call_fail(call, 400, "a name has at most 255 octets");
        return false;
    }
    return true;
}

void
handle_queue_put(struct call *call)
{
    const json_t *body = name_fits(call) ? call_json(call) : NULL;
    if (body == NULL) {
        return;
    }
    struct operation *operation = operation_on_queue(call, METHOD_QUEUE_DECLARE);
    if (!read_declare(call, body, operation)) {
        operation_free(operation);
        return;
    }
    operation->method.queue_declare.queue = operation->name;
    operation->method.queue_declare.arguments = buffer_bytes(&operation->arguments);
    operation->answer = answer_put;
    operation_start(call, operation);
}

void
handle_queue_delete(struct call *call)
{
    if (!name_fits(call)) {
        return;
    }
    struct operation *operation = operation_on_queue(call, METHOD_QUEUE_DELETE);
    operation->must_exist = true;
    operation->method.queue_delete = (struct queue_delete){
        .queue = operation->name,
        .if_unused = call_flag(call, "if-unused"),
        .if_empty = call_flag(call, "if-empty"),
    };
    operation->answer = answer_change;
    operation_start(call, operation);
}

void
handle_queue_purge(struct call *call)
{
    if (!name_fits(call)) {
        return;
    }
    struct operation *operation = operation_on_queue(call, METHOD_QUEUE_PURGE);
    operation->must_exist = true;
    operation->method.queue_purge.queue = operation->name;
    operation->answer = answer_change;
    operation_start(call, operation);
}
