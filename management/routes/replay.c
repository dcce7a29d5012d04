/* SPDX-License-Identifier: Apache-2.0 */
/* Sending messages of a queue on, and dropping them. */
#include "base/alloc.h"
#include "broker/topology/vhost.h"
#include "management/ask/desk_ask.h"
#include "management/routes/handlers.h"
#include "management/views/desk_filter_json.h"
#include "management/views/job_row.h"

enum { WAIT_MS = 8000, WAIT_SECONDS = 30 };

/* Beginning ------------------------------------------------------------------------------------ */

struct change_ask {
    struct desk_ask desk; /* the first */
    struct job_row row;
    struct arena arena; /* owned */
};

static void
take_job(struct desk_ask *ask, const struct desk_job *job)
{
    struct change_ask *change = CONTAINER_OF(ask, struct change_ask, desk);
    job_row_copy(&change->row, &change->arena, job);
}

static void
answer_job(struct call *call, struct desk_ask *ask)
{
    struct change_ask *change = CONTAINER_OF(ask, struct change_ask, desk);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    change->row.is_on_disk = ask->is_on_disk;
    json_init(&json);
    job_row_write(&json, &change->row);
    call_answer_json(call, ask->is_on_disk ? 200 : 202, &json);
    json_fini(&json);
}

static void
change_fini(struct desk_ask *ask)
{
    arena_fini(&CONTAINER_OF(ask, struct change_ask, desk)->arena);
}

static struct change_ask *
change_new(const struct call *call, enum desk_action action)
{
    struct change_ask *change = xalloc(sizeof(*change));
    desk_ask_init(&change->desk);
    change->desk.order.action = action;
    change->desk.order.user = caller_name(call);
    change->desk.order.is_by_user = call_user_name(call).data != NULL;
    change->desk.take = take_job;
    change->desk.answer = answer_job;
    change->desk.fini = change_fini;
    return change;
}

/* What both take; false: answered. */
static bool
read_common(struct call *call, const json_t *body, struct desk_ask *ask)
{
    char why[JSON_WHY_SIZE];
    struct desk_order *order = &ask->order;
    int64_t limit = 0;
    bool waits = false;
    if (!json_read_integer(body, "limit", 1, INT64_MAX, &limit, why) ||
        !json_read_text(body, "note", &order->note, why) ||
        !json_read_bool(body, "wait", &waits, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (order->note.size > DESK_NOTE_MAX) {
        call_fail(call, 400, "\"note\" has at most %d octets", DESK_NOTE_MAX);
        return false;
    }
    order->limit = (uint64_t)limit;
    ask->patience_ms = waits ? WAIT_MS : 0;
    return desk_filter_read(call, json_object_get(body, "filter"), &order->filter);
}

static void
start(struct call *call, struct change_ask *change)
{
    call_allow(call, WAIT_SECONDS);
    desk_ask_start(call, &change->desk);
}

/* Replaying ------------------------------------------------------------------------------------ */

/* An exchange that is named has to be there, and the caller to be allowed to publish to it. */
static bool
may_send_on(struct desk_ask *ask, struct core *core, struct queue *queue)
{
    const struct replay_target *target = &ask->order.target;
    const struct vhost *vhost = queue->vhost;
    if (target->to != REPLAY_TO_EXCHANGE) {
        return true;
    }
    if (!caller_has_right(core, ask->ask.call, vhost, ACCESS_WRITE, ACCESS_EXCHANGE,
                          target->exchange, &ask->refusal)) {
        return false;
    }
    if (vhost_find_exchange(vhost, target->exchange) == NULL) {
        struct fault fault;
        (void)fault_no_exchange(&fault, vhost, target->exchange);
        refusal_set(&ask->refusal, &fault);
        return false;
    }
    return true;
}

static bool
read_target(struct call *call, const json_t *body, struct replay_target *target)
{
    char why[JSON_WHY_SIZE];
    struct bytes to = bytes_make(NULL, 0);
    if (!json_read_text(body, "to", &to, why) ||
        !json_read_text(body, "exchange", &target->exchange, why) ||
        !json_read_text(body, "routing_key", &target->routing_key, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    bool has_exchange = target->exchange.data != NULL;
    target->to = has_exchange && to.data == NULL ? REPLAY_TO_EXCHANGE : REPLAY_TO_ORIGIN_QUEUE;
    if (to.data != NULL && !replay_to_read(to, &target->to)) {
        call_fail(call, 400, "\"to\" is one of origin, origin_exchange, exchange");
        return false;
    }
    bool is_to_exchange = target->to == REPLAY_TO_EXCHANGE;
    if (is_to_exchange && !has_exchange) {
        call_fail(call, 400, "\"exchange\" is missing; \"\" is the default exchange");
        return false;
    }
    if (is_to_exchange != has_exchange || (target->routing_key.data != NULL && !is_to_exchange)) {
        call_fail(call, 400, "\"exchange\" and \"routing_key\" go with \"to\": \"exchange\"");
        return false;
    }
    if (target->exchange.size > UINT8_MAX || target->routing_key.size > UINT8_MAX) {
        call_fail(call, 400, "a name and a key have at most 255 octets");
        return false;
    }
    if (has_exchange && bytes_equal_text(target->exchange, "amq.default")) {
        target->exchange = bytes_make("", 0);
    }
    return true;
}

static bool
read_replay(struct call *call, const json_t *body, struct desk_order *order)
{
    char why[JSON_WHY_SIZE];
    int64_t rate = 0;
    if (!json_read_bool(body, "dry_run", &order->is_dry, why) ||
        !json_read_integer(body, "rate", 0, UINT32_MAX, &rate, why) ||
        !json_read_text(body, "batch", &order->batch, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (order->batch.size > DESK_BATCH_MAX) {
        call_fail(call, 400, "\"batch\" has at most %d octets", DESK_BATCH_MAX);
        return false;
    }
    order->rate = (uint32_t)rate;
    return read_target(call, body, &order->target);
}

void
handle_replay(struct call *call)
{
    static const char *const names[] = {"to",    "exchange", "routing_key", "filter",
                                        "limit", "dry_run",  "rate",        "batch",
                                        "note",  "wait",     NULL};
    const json_t *body = call_json_zeros(call);
    if (body == NULL || !json_has_only(call, body, names)) {
        return;
    }
    struct change_ask *change = change_new(call, DESK_REPLAY);
    change->desk.may_begin = may_send_on;
    if (read_common(call, body, &change->desk) && read_replay(call, body, &change->desk.order)) {
        start(call, change);
    } else {
        desk_ask_free(&change->desk);
    }
}

/* Dropping ------------------------------------------------------------------------------------- */

/* All of them only for who says so. */
static bool
read_all(struct call *call, const json_t *body, const struct desk_order *order)
{
    char why[JSON_WHY_SIZE];
    bool is_all = false;
    const json_t *filter = json_object_get(body, "filter");
    if (!json_read_bool(body, "all", &is_all, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    if (!is_all && order->limit == 0 && json_object_size(filter) == 0) {
        call_fail(call, 400,
                  "which messages? Give a \"filter\" or a \"limit\", or say \"all\": true");
        return false;
    }
    return true;
}

void
handle_drop(struct call *call)
{
    static const char *const names[] = {"filter", "limit", "note", "wait", "all", NULL};
    const json_t *body = call_json_zeros(call);
    if (body == NULL || !json_has_only(call, body, names)) {
        return;
    }
    struct change_ask *change = change_new(call, DESK_DROP);
    if (read_common(call, body, &change->desk) && read_all(call, body, &change->desk.order)) {
        start(call, change);
    } else {
        desk_ask_free(&change->desk);
    }
}
