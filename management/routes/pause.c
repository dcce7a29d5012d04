/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing a queue, and letting it go on. */
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/durability/durability.h"
#include "broker/topology/pause.h"
#include "management/ask/queue_right.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"

struct pause_ask {
    struct call_ask ask;
    bool is_paused; /* as it is to be */
    struct bytes note;
    bool has_begun;
    uint64_t token;
    enum status status;
    struct refusal refusal;
};

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct pause_ask *ask = CONTAINER_OF(request, struct pause_ask, ask.desk.request);
    (void)budget;
    if (!ask->has_begun) {
        struct queue *queue =
            find_queue_with_right(core, ask->ask.call, ACCESS_CONFIGURE, &ask->refusal);
        if (queue == NULL) {
            return REQUEST_DONE;
        }
        ask->has_begun = true;
        ask->status = core_pause_queue(core, queue, ask->is_paused, caller_name(ask->ask.call),
                                       ask->note, &ask->token);
        core->wants_flush = true;
    }
    bool is_over = ask->status != STATUS_OK || core_is_committed(core, ask->token);
    return is_over ? REQUEST_DONE : REQUEST_WAITING;
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct pause_ask *ask = CONTAINER_OF(call_ask, struct pause_ask, ask);
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
    } else if (ask->status != STATUS_OK) {
        call_fail(call, 503, "the log has no room for it: nothing was changed");
    } else {
        call_answer(call, 204);
    }
}

static void
free_ask(struct call_ask *ask)
{
    free(CONTAINER_OF(ask, struct pause_ask, ask));
}

static void
set_paused(struct call *call, bool is_paused)
{
    char why[JSON_WHY_SIZE];
    const json_t *body = call_json(call);
    struct bytes note = bytes_make("", 0);
    if (body == NULL) {
        return;
    }
    if (!json_read_text(body, "note", &note, why)) {
        call_fail(call, 400, "%s", why);
        return;
    }
    struct pause_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    ask->is_paused = is_paused;
    ask->note = note;
    call_ask(call, &ask->ask);
}

void
handle_pause(struct call *call)
{
    set_paused(call, true);
}

void
handle_resume(struct call *call)
{
    set_paused(call, false);
}
