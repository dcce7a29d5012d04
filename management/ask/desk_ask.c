/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/desk_ask.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "broker/durability/durability.h"

static bool
on_show(void *context, const struct desk_row *row, const struct desk_facts *facts)
{
    struct desk_ask *ask = context;
    return ask->show(ask, row, facts);
}

static void
take(struct desk_ask *ask, const struct desk_job *job)
{
    ask->progress = *desk_job_progress(job);
    if (ask->take != NULL) {
        ask->take(ask, job);
    }
}

static void
on_done(void *context, const struct desk_job *job)
{
    struct desk_ask *ask = context;
    ask->is_over = true;
    take(ask, job);
}

/* False: it is refused. */
static bool
begin(struct desk_ask *ask, struct core *core)
{
    struct queue *queue = find_queue_with_right(core, ask->ask.call, ACCESS_READ, &ask->refusal);
    if (queue == NULL || (ask->may_begin != NULL && !ask->may_begin(ask, core, queue))) {
        return false;
    }
    ask->core = core;
    ask->begun_ms = core->now.monotonic_ms;
    ask->order.show = ask->show == NULL ? NULL : on_show;
    ask->order.done = on_done;
    ask->order.context = ask;
    enum status status = desk_begin(core, queue, &ask->order, &ask->number);
    if (status != STATUS_OK) {
        refusal_set_text(&ask->refusal, REPLY_CONNECTION_FORCED,
                         status == STATUS_REJECTED
                             ? "too many jobs of the desk are under way; try later"
                             : "there is no memory for it");
    }
    return status == STATUS_OK;
}

/* It is answered before the job has ended: that goes on by itself. */
static enum request_progress
stop_waiting(struct desk_ask *ask, struct core *core)
{
    take(ask, desk_find(core, ask->number));
    desk_leave(core, ask->number);
    return REQUEST_DONE;
}

static bool
is_on_disk(const struct desk_ask *ask, const struct core *core)
{
    const struct desk_order *order = &ask->order;
    bool changes = order->action == DESK_DROP || (order->action == DESK_REPLAY && !order->is_dry);
    return !changes || core_is_committed(core, ask->progress.token);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct desk_ask *ask = CONTAINER_OF(request, struct desk_ask, ask.desk.request);
    (void)budget;
    if (ask->number == 0 && !begin(ask, core)) {
        return REQUEST_DONE;
    }
    ask->is_on_disk = ask->is_over && is_on_disk(ask, core);
    if (ask->is_on_disk) {
        return REQUEST_DONE;
    }
    if (core->now.monotonic_ms - ask->begun_ms < ask->patience_ms) {
        return REQUEST_WAITING;
    }
    return ask->is_over ? REQUEST_DONE : stop_waiting(ask, core);
}

static void
abandon(struct request *request, struct core *core)
{
    const struct desk_ask *ask = CONTAINER_OF(request, struct desk_ask, ask.desk.request);
    if (ask->number != 0 && !ask->is_over) {
        desk_leave(core, ask->number);
    }
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    struct desk_ask *ask = CONTAINER_OF(call_ask, struct desk_ask, ask);
    ask->answer(call, ask);
}

static void
free_ask(struct call_ask *call_ask)
{
    desk_ask_free(CONTAINER_OF(call_ask, struct desk_ask, ask));
}

void
desk_ask_init(struct desk_ask *ask)
{
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
}

void
desk_ask_free(struct desk_ask *ask)
{
    if (ask->fini != NULL) {
        ask->fini(ask);
    }
    free(ask);
}

void
desk_ask_start(struct call *call, struct desk_ask *ask)
{
    call_ask(call, &ask->ask);
}
