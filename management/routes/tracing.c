/* SPDX-License-Identifier: Apache-2.0 */
/* The firehose of a vhost (broker/watch/trace.h): whether it is on, and switching it. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost_life.h"
#include "management/ask/queue_right.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"

struct tracing_ask {
    struct call_ask ask;
    bool is_change, has_changed;
    bool is_traced; /* as it is to be, or as it is */
    struct refusal refusal;
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct tracing_ask *ask = CONTAINER_OF(request, struct tracing_ask, ask.desk.request);
    struct vhost *vhost = find_vhost_of(core, ask->ask.call, &ask->refusal);
    (void)budget;
    if (vhost == NULL) {
        return REQUEST_DONE;
    }
    if (ask->is_change && !ask->has_changed) {
        const struct change change = {.core = core, .by = call_user_name(ask->ask.call)};
        change_trace_vhost(&change, vhost, ask->is_traced);
        ask->has_changed = true;
        core->wants_flush = true;
    }
    ask->is_traced = vhost->is_traced;
    bool is_over = !ask->is_change || core_is_committed(core, core_topology_token(core));
    return is_over ? REQUEST_DONE : REQUEST_WAITING;
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct tracing_ask *ask = CONTAINER_OF(call_ask, struct tracing_ask, ask);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    json_put_text(&json, "vhost", call_name(call, 0));
    json_put_bool(&json, "tracing", ask->is_traced);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *ask)
{
    free(CONTAINER_OF(ask, struct tracing_ask, ask));
}

static void
ask_for_tracing(struct call *call, bool is_change, bool is_traced)
{
    struct tracing_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->is_change = is_change;
    ask->is_traced = is_traced;
    call_ask(call, &ask->ask);
}

void
handle_tracing(struct call *call)
{
    ask_for_tracing(call, false, false);
}

void
handle_tracing_set(struct call *call)
{
    const json_t *body = call_json(call);
    if (body == NULL) {
        return;
    }
    const json_t *tracing = json_object_get(body, "tracing");
    if (!json_is_boolean(tracing)) {
        call_fail(call, 400, "\"tracing\" takes true or false");
        return;
    }
    ask_for_tracing(call, true, json_is_true(tracing));
}
