/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting one binding by its properties key. A key without arguments is looked up; one with
 * arguments is a hash of them, and the bindings of the exchange are gone through in slices. */
#include <stdlib.h>

#include "amqp/reply.h"
#include "broker/connections/house.h"
#include "broker/topology/vhost.h"
#include "management/ask/caller_house.h"
#include "management/http/call.h"
#include "management/routes/handlers.h"
#include "management/views/queue_json.h"

struct unbind_ask {
    struct call_ask ask;
    bool to_exchange;
    bool has_looked;           /* among bindings without arguments */
    uint64_t position;         /* in the exchange's bindings */
    struct buffer routing_key; /* of the one that was found; owned */
    struct buffer arguments;   /* the same */
    struct house *house;       /* owned; of the core while it is under way */
    struct refusal refusal;
};

/* Finding ------------------------------------------------------------------------------------ */

struct ends {
    struct exchange *source;
    struct route_target *target;
};

/* False: they are not there. Looked for in every slice, for they may go meanwhile. */
static bool
find_ends(const struct unbind_ask *ask, struct core *core, struct ends *ends)
{
    const struct call *call = ask->ask.call;
    const struct vhost *vhost = core_find_vhost(core, call_name(call, 0));
    if (vhost == NULL) {
        return false;
    }
    struct bytes destination = call_name(call, 2);
    struct exchange *exchange = vhost_find_exchange(vhost, destination);
    struct queue *queue = vhost_find_queue(vhost, destination);
    ends->source = vhost_find_exchange(vhost, call_name(call, 1));
    ends->target = ask->to_exchange ? (exchange == NULL ? NULL : &exchange->target)
                                    : (queue == NULL ? NULL : &queue->target);
    return ends->source != NULL && ends->target != NULL;
}

static bool
keep(struct unbind_ask *ask, struct binding *binding)
{
    buffer_put_bytes(&ask->routing_key, binding_routing_key(binding));
    buffer_put_bytes(&ask->arguments, binding_arguments(binding));
    return true;
}

static bool
has_properties_key(const struct binding *binding, struct bytes wanted)
{
    struct buffer key;
    buffer_init(&key);
    binding_put_properties_key(&key, binding_routing_key(binding), binding_arguments(binding));
    bool is_it = bytes_equal(buffer_bytes(&key), wanted);
    buffer_fini(&key);
    return is_it;
}

/* As it stands, for clients that encode a routing key once, and as the key of a binding. */
static bool
look_up(struct unbind_ask *ask, const struct ends *ends)
{
    struct bytes wanted = call_name(ask->ask.call, 3);
    struct bytes nothing = bytes_of("");
    struct route_path path;
    uint8_t decoded[UINT8_MAX + 1];
    const char *why;
    struct bytes candidates[2] = {wanted, wanted};
    if (bytes_equal_text(wanted, "~")) {
        candidates[0] = candidates[1] = nothing;
    } else if (wanted.size < UINT8_MAX) {
        uint8_t slashed[UINT8_MAX + 1] = {'/'};
        memcpy(slashed + 1, wanted.data, wanted.size);
        if (route_split(bytes_make(slashed, wanted.size + 1), decoded, &path, &why) &&
            path.count == 1) {
            candidates[0] = path.segments[0];
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
        struct binding *binding =
            candidates[i].size > UINT8_MAX
                ? NULL
                : binding_table_find(&ends->source->bindings, ends->target, candidates[i], nothing);
        if (binding != NULL) {
            return keep(ask, binding);
        }
    }
    return false;
}

/* Among those with arguments. False: it was not found yet, and `*is_end_out` says whether there is
 * more. */
static bool
look_through(struct unbind_ask *ask, const struct ends *ends, uint32_t *budget, bool *is_end_out)
{
    struct binding *binding = NULL;
    *is_end_out = false;
    while (*budget > 0 &&
           (binding = binding_table_next(&ends->source->bindings, &ask->position)) != NULL) {
        (*budget)--;
        if (binding->target == ends->target && binding->arguments_size > 0 &&
            has_properties_key(binding, call_name(ask->ask.call, 3))) {
            return keep(ask, binding);
        }
    }
    *is_end_out = binding == NULL && *budget > 0;
    return false;
}

/* Deleting ----------------------------------------------------------------------------------- */

static void
fill_unbind(const struct unbind_ask *ask, struct method *method)
{
    const struct call *call = ask->ask.call;
    *method =
        (struct method){.id = ask->to_exchange ? METHOD_EXCHANGE_UNBIND : METHOD_QUEUE_UNBIND};
    if (ask->to_exchange) {
        method->exchange_unbind = (struct exchange_unbind){
            .destination = call_name(call, 2),
            .source = call_name(call, 1),
            .routing_key = buffer_bytes(&ask->routing_key),
            .arguments = buffer_bytes(&ask->arguments),
        };
    } else {
        method->queue_unbind = (struct queue_unbind){
            .queue = call_name(call, 2),
            .exchange = call_name(call, 1),
            .routing_key = buffer_bytes(&ask->routing_key),
            .arguments = buffer_bytes(&ask->arguments),
        };
    }
}

static enum request_progress
begin_unbind(struct unbind_ask *ask, struct core *core)
{
    struct method method;
    if (ask->routing_key.failed || ask->arguments.failed) {
        refusal_set_text(&ask->refusal, REPLY_RESOURCE_ERROR, "no memory");
        return REQUEST_DONE;
    }
    ask->house = caller_house_open(core, ask->ask.call, &ask->refusal);
    if (ask->house == NULL) {
        return REQUEST_DONE;
    }
    fill_unbind(ask, &method);
    house_call(ask->house, &method);
    return REQUEST_WAITING;
}

static enum request_progress
look(struct unbind_ask *ask, struct core *core, uint32_t *budget)
{
    struct ends ends;
    bool is_end = true;
    if (find_ends(ask, core, &ends)) {
        bool is_found = !ask->has_looked && look_up(ask, &ends);
        ask->has_looked = true;
        is_found = is_found || look_through(ask, &ends, budget, &is_end);
        if (is_found) {
            return begin_unbind(ask, core);
        }
    }
    if (!is_end) {
        return REQUEST_MORE;
    }
    refusal_set_text(&ask->refusal, REPLY_NOT_FOUND, "Not Found");
    return REQUEST_DONE;
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct unbind_ask *ask = CONTAINER_OF(request, struct unbind_ask, ask.desk.request);
    if (ask->house == NULL) {
        enum request_progress progress = look(ask, core, budget);
        if (progress != REQUEST_WAITING) {
            return progress;
        }
    }
    if (!house_is_answered(ask->house)) {
        return REQUEST_WAITING;
    }
    (void)caller_house_was_refused(ask->house, &ask->refusal);
    house_free(&ask->house);
    return REQUEST_DONE;
}

static void
abandon(struct request *request, struct core *core)
{
    (void)core;
    house_free(&CONTAINER_OF(request, struct unbind_ask, ask.desk.request)->house);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct unbind_ask *ask = CONTAINER_OF(call_ask, struct unbind_ask, ask);
    if (ask->refusal.reply_code == 0) {
        call_answer(call, 204);
    } else {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
    }
}

static void
free_ask(struct call_ask *call_ask)
{
    struct unbind_ask *ask = CONTAINER_OF(call_ask, struct unbind_ask, ask);
    buffer_fini(&ask->routing_key);
    buffer_fini(&ask->arguments);
    free(ask);
}

static void
unbind(struct call *call, bool to_exchange)
{
    if (call_exchange_name(call, 1).size == 0 ||
        (to_exchange && call_exchange_name(call, 2).size == 0)) {
        call_fail_reply(call, REPLY_ACCESS_REFUSED,
                        "ACCESS_REFUSED - operation not permitted on the default exchange");
        return;
    }
    struct unbind_ask *ask = xalloc(sizeof(*ask));
    ask->to_exchange = to_exchange;
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    buffer_init(&ask->routing_key);
    buffer_init(&ask->arguments);
    call_ask(call, &ask->ask);
}

void
handle_queue_unbind(struct call *call)
{
    unbind(call, false);
}

void
handle_exchange_unbind(struct call *call)
{
    unbind(call, true);
}
