/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/operation.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/topology/vhost.h"

static bool
look_for(const struct operation *operation, struct core *core)
{
    const struct vhost *vhost = core_find_vhost(core, call_name(operation->ask.call, 0));
    if (vhost == NULL) {
        return false;
    }
    return operation->object == OPERATION_ON_QUEUE
               ? vhost_find_queue(vhost, operation->name) != NULL
               : vhost_find_exchange(vhost, operation->name) != NULL;
}

/* False: it is over already. */
static bool
begin(struct operation *operation, struct core *core)
{
    operation->house = caller_house_open(core, operation->ask.call, &operation->refusal);
    if (operation->house == NULL) {
        return false;
    }
    operation->existed = operation->object != OPERATION_ON_NOTHING && look_for(operation, core);
    house_call(operation->house, &operation->method);
    return true;
}

static uint64_t
count_in(const struct method *method)
{
    switch (method->id) {
    case METHOD_QUEUE_PURGE_OK:
        return method->queue_purge_ok.message_count;
    case METHOD_QUEUE_DELETE_OK:
        return method->queue_delete_ok.message_count;
    default:
        return 0;
    }
}

static void
take_answer(struct operation *operation)
{
    bool is_refused = caller_house_was_refused(operation->house, &operation->refusal);
    if (!is_refused && operation->must_exist && !operation->existed) {
        refusal_set_text(&operation->refusal, REPLY_NOT_FOUND, "Not Found");
    } else if (!is_refused) {
        operation->message_count = count_in(&operation->house->answer.method);
    }
    house_free(&operation->house);
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct operation *operation = CONTAINER_OF(request, struct operation, ask.desk.request);
    (void)budget;
    if (operation->house == NULL && !begin(operation, core)) {
        return REQUEST_DONE;
    }
    if (!house_is_answered(operation->house)) {
        return REQUEST_WAITING;
    }
    take_answer(operation);
    return REQUEST_DONE;
}

static void
abandon(struct request *request, struct core *core)
{
    struct operation *operation = CONTAINER_OF(request, struct operation, ask.desk.request);
    (void)core;
    house_free(&operation->house);
}

static void
then(struct call *call, struct call_ask *ask)
{
    const struct operation *operation = CONTAINER_OF(ask, struct operation, ask);
    operation->answer(call, operation);
}

static void
free_ask(struct call_ask *ask)
{
    operation_free(CONTAINER_OF(ask, struct operation, ask));
}

struct operation *
operation_new(void)
{
    struct operation *operation = xalloc(sizeof(*operation));
    operation->ask.desk.request.step = step;
    operation->ask.desk.request.abandon = abandon;
    operation->ask.then = then;
    operation->ask.free = free_ask;
    buffer_init(&operation->arguments);
    return operation;
}

void
operation_free(struct operation *operation)
{
    buffer_fini(&operation->arguments);
    free(operation);
}

void
operation_start(struct call *call, struct operation *operation)
{
    call_ask(call, &operation->ask);
}
