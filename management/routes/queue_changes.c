/* SPDX-License-Identifier: Apache-2.0 */
/* Declaring, deleting and purging queues. */
#include "management/ask/operation_call.h"
#include "management/routes/handlers.h"

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
    return operation_read_arguments(call, body, operation);
}

static struct operation *
operation_on_queue(const struct call *call, enum method_id id)
{
    return operation_new_on(call, OPERATION_ON_QUEUE, id);
}

void
handle_queue_put(struct call *call)
{
    const json_t *body = call_names_fit(call) ? call_json(call) : NULL;
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
    operation->answer = operation_answer_put;
    operation_start(call, operation);
}

void
handle_queue_delete(struct call *call)
{
    if (!call_names_fit(call)) {
        return;
    }
    struct operation *operation = operation_on_queue(call, METHOD_QUEUE_DELETE);
    operation->must_exist = true;
    operation->method.queue_delete = (struct queue_delete){
        .queue = operation->name,
        .if_unused = call_flag(call, "if-unused"),
        .if_empty = call_flag(call, "if-empty"),
    };
    operation->answer = operation_answer_change;
    operation_start(call, operation);
}

static void
purge(struct call *call, void (*answer)(struct call *call, const struct operation *operation))
{
    if (!call_names_fit(call)) {
        return;
    }
    struct operation *operation = operation_on_queue(call, METHOD_QUEUE_PURGE);
    operation->must_exist = true;
    operation->method.queue_purge.queue = operation->name;
    operation->answer = answer;
    operation_start(call, operation);
}

void
handle_queue_purge(struct call *call)
{
    purge(call, operation_answer_change);
}

static void
answer_purged(struct call *call, const struct operation *operation)
{
    struct json_writer json;
    if (operation->refusal.reply_code != 0) {
        operation_answer_change(call, operation);
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_unsigned(&json, "messages", operation->message_count);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_queue_purge_counted(struct call *call)
{
    purge(call, answer_purged);
}
