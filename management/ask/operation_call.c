/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/operation_call.h"

#include "amqp/reply.h"

bool
call_names_fit(struct call *call)
{
    for (uint32_t i = 0; i < call->name_count; i++) {
        if (call_name(call, i).size > UINT8_MAX) {
            call_fail(call, 400, "a name has at most 255 octets");
            return false;
        }
    }
    return true;
}

struct operation *
operation_new_on(const struct call *call, enum operation_object object, enum method_id id)
{
    struct operation *operation = operation_new();
    operation->object = object;
    operation->name = call_name(call, 1);
    operation->method.id = id;
    return operation;
}

/* What a method's refusal means where it may be that of a condition the caller has set. */
static bool
is_refused_by_condition(const struct call *call, const struct operation *operation)
{
    return operation->refusal.reply_code == REPLY_PRECONDITION_FAILED &&
           (call_flag(call, "if-unused") || call_flag(call, "if-empty"));
}

void
operation_answer_change(struct call *call, const struct operation *operation)
{
    if (operation->refusal.reply_code == 0) {
        call_answer(call, 204);
    } else if (is_refused_by_condition(call, operation)) {
        call_fail(call, 412, "%s", operation->refusal.reply_text);
    } else {
        call_fail_reply(call, operation->refusal.reply_code, operation->refusal.reply_text);
    }
}

void
operation_answer_put(struct call *call, const struct operation *operation)
{
    if (operation->refusal.reply_code == 0) {
        call_answer(call, operation->existed ? 204 : 201);
    } else {
        call_fail_reply(call, operation->refusal.reply_code, operation->refusal.reply_text);
    }
}

bool
operation_read_arguments(struct call *call, const json_t *body, struct operation *operation)
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
