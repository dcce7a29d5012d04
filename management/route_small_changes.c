/* SPDX-License-Identifier: Apache-2.0 */
/* What tools for RabbitMQ ask for and what has little or no meaning here. */
#include <stdio.h>

#include "broker/password.h"
#include "management/change_ask.h"
#include "management/handlers.h"
#include "management/server.h"

/* RabbitMQ's mirrors, of which there are none. */
void
handle_queue_action(struct call *call)
{
    const json_t *body = call_json(call);
    const char *action;
    if (body == NULL || !call_need_text(call, body, "action", &action)) {
        return;
    }
    if (strcmp(action, "sync") != 0 && strcmp(action, "cancel_sync") != 0) {
        call_fail(call, 400, "unknown action '%.100s'; there are \"sync\" and \"cancel_sync\"",
                  action);
        return;
    }
    call_answer(call, 204);
}

void
handle_hash_password(struct call *call)
{
    char hash[PASSWORD_HASH_SIZE];
    struct random_source random = random_system();
    struct json_writer json;
    if (password_hash_for_rabbitmq(call_name(call, 0), &random, hash) != STATUS_OK) {
        call_fail(call, 503, "there is no memory for it");
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "ok", hash);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* The name is the machine's; that it is asked for again is fine. */
void
handle_cluster_name_put(struct call *call)
{
    const json_t *body = call_json(call);
    const char *name;
    if (body == NULL || !call_need_text(call, body, "name", &name)) {
        return;
    }
    if (strcmp(name, call->management->node) == 0) {
        call_answer(call, 204);
    } else {
        call_fail(call, 400,
                  "the name of this broker is %s, after its machine, and cannot be "
                  "set here",
                  call->management->node);
    }
}

void
handle_no_list(struct call *call)
{
    struct json_writer json;
    json_init(&json);
    json_begin_array(&json);
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_no_parameter(struct call *call)
{
    call_fail(call, 404, "Not Found");
}

/* As RabbitMQ answers for a component that no plugin has. */
void
handle_parameter_put(struct call *call)
{
    bool is_global = call->name_count == 1;
    call_fail(call, 400,
              is_global ? "Validation failed: global parameter %.*s: nothing here reads global "
                          "parameters, so none are kept"
                        : "Validation failed: component %.*s not found: there are no shovels, "
                          "federation or other plugins here, so no parameters are kept",
              BYTES_FORMAT(call_name(call, 0)));
}

void
handle_login(struct call *call)
{
    handle_whoami(call);
}

void
handle_nothing_to_do(struct call *call)
{
    call_answer(call, 204);
}
