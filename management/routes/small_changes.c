/* SPDX-License-Identifier: Apache-2.0 */
/* What tools for RabbitMQ ask for and what has little or no meaning here. */
#include <stdio.h>

#include "broker/passwords/password.h"
#include "management/ask/change_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"

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
