/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait for a time: looking at them, letting them in early, taking them out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/desk/pending.h"
#include "broker/durability/durability.h"
#include "management/ask/queue_right.h"
#include "management/routes/handlers.h"
#include "management/views/desk_filter_json.h"
#include "management/views/message_rows.h"
#include "store/content.h"

enum { LIST_COUNT = 100, LIST_COUNT_MAX = 1000, LOOK_SECONDS = 120 };
enum { KEY_TEXT_SIZE = 40, SLICE = 64 };
enum { KINDS_ALL = (1 << WAITING_KIND_COUNT) - 1 };

static const char *const kind_names[WAITING_KIND_COUNT] = {"delayed", "retry", "parked"};

/* A key as text, like an id. */
static const char *
key_text(char out[static KEY_TEXT_SIZE], const struct due_key *key)
{
    (void)snprintf(out, KEY_TEXT_SIZE, "%" PRIx64 "-%" PRIx64, (uint64_t)key->due_ms,
                   (uint64_t)key->position);
    return out;
}

static bool
key_read(struct bytes text, struct due_key *key_out)
{
    uint64_t numbers[2];
    if (!hex_numbers_read(text, numbers, 2)) {
        return false;
    }
    *key_out = (struct due_key){.due_ms = numbers[0], .position = numbers[1]};
    return true;
}

static bool
kind_read(struct bytes name, uint32_t *kinds)
{
    for (size_t i = 0; i < WAITING_KIND_COUNT; i++) {
        if (bytes_equal_text(name, kind_names[i])) {
            *kinds |= 1U << i;
            return true;
        }
    }
    return false;
}

/* The list ------------------------------------------------------------------------------------- */

struct pending_row {
    enum waiting_kind kind;
    struct due_key key;
    uint64_t due_wall_ms, due_in_ms; /* 0: never */
    uint64_t lsn;
    uint32_t body_size;
    struct bytes routing_key, message_id; /* data NULL: not known */
};

struct list_ask {
    struct call_ask ask;
    uint32_t kinds, count_max;
    struct due_key after;
    bool has_after, is_at_end;
    struct pending_row *rows;
    uint32_t count;
    uint64_t counts[WAITING_KIND_COUNT];
    struct arena arena;
    struct refusal refusal;
};

static void
copy_content(struct list_ask *ask, struct pending_row *row, const struct content *content)
{
    UNINITIALIZED struct properties properties;
    struct fault fault;
    if (content == NULL) {
        return;
    }
    row->routing_key = arena_copy(&ask->arena, content_routing_key(content));
    if (properties_decode_kept(&properties, content_properties(content), &fault) == STATUS_OK &&
        (properties.flags & PROPERTY_MESSAGE_ID) != 0) {
        row->message_id = arena_copy(&ask->arena, properties.message_id);
    }
}

static void
add_row(struct list_ask *ask, const struct core *core, const struct pending_message *message)
{
    struct pending_row *row = &ask->rows[ask->count++];
    uint64_t now_ms = (uint64_t)core->now.wall_ms;
    *row = (struct pending_row){
        .kind = message->kind,
        .key = message->key,
        .lsn = message->lsn,
        .body_size = message->body_size,
    };
    if (message->kind != WAITING_PARKED) {
        row->due_wall_ms = message->due_wall_ms;
        row->due_in_ms = message->due_wall_ms > now_ms ? message->due_wall_ms - now_ms : 0;
    }
    copy_content(ask, row, message->content);
}

/* Some rows; false: there are no more, or enough. */
static bool
list_slice(struct list_ask *ask, const struct core *core, const struct queue *queue,
           uint32_t *budget)
{
    struct pending_message messages[SLICE];
    uint32_t max = *budget < SLICE ? *budget : SLICE;
    uint32_t count =
        core_list_pending(core, queue, ask->has_after ? &ask->after : NULL, messages, max);
    *budget -= count;
    for (uint32_t i = 0; i < count; i++) {
        bool is_wanted = (ask->kinds & 1U << messages[i].kind) != 0;
        if (is_wanted && ask->count == ask->count_max) {
            return false;
        }
        ask->after = messages[i].key;
        ask->has_after = true;
        if (is_wanted) {
            add_row(ask, core, &messages[i]);
        }
    }
    ask->is_at_end = count < max;
    return !ask->is_at_end;
}

static enum request_progress
list_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct list_ask *ask = CONTAINER_OF(request, struct list_ask, ask.desk.request);
    const struct queue *queue =
        find_queue_with_right(core, ask->ask.call, ACCESS_READ, &ask->refusal);
    if (queue == NULL) {
        return REQUEST_DONE;
    }
    if (ask->rows == NULL) {
        ask->rows = xalloc(ask->count_max * sizeof(*ask->rows));
    }
    if (queue->waiting != NULL) {
        memcpy(ask->counts, queue->waiting->counts, sizeof(ask->counts));
    }
    while (*budget > 0) {
        if (!list_slice(ask, core, queue, budget)) {
            return REQUEST_DONE;
        }
    }
    return REQUEST_MORE;
}

static void
write_row(struct json_writer *json, const struct pending_row *row)
{
    char key[KEY_TEXT_SIZE];
    json_begin_object(json);
    json_put_string(json, "key", key_text(key, &row->key));
    json_put_string(json, "kind", kind_names[row->kind]);
    json_put_time(json, "due_ms", row->due_wall_ms);
    if (row->due_wall_ms == 0) {
        json_put_null(json, "due_in_ms");
    } else {
        json_put_unsigned(json, "due_in_ms", row->due_in_ms);
    }
    json_put_unsigned(json, "lsn", row->lsn);
    json_put_unsigned(json, "payload_bytes", row->body_size);
    json_put_known(json, "routing_key", row->routing_key);
    json_put_known(json, "message_id", row->message_id);
    json_end_object(json);
}

static void
write_list(struct json_writer *json, const struct list_ask *ask)
{
    char key[KEY_TEXT_SIZE];
    json_begin_object(json);
    json_key(json, "messages");
    json_begin_array(json);
    for (uint32_t i = 0; i < ask->count; i++) {
        write_row(json, &ask->rows[i]);
    }
    json_end_array(json);
    if (ask->is_at_end) {
        json_put_null(json, "next");
    } else {
        json_put_string(json, "next", key_text(key, &ask->after));
    }
    json_key(json, "counts");
    json_begin_object(json);
    for (size_t i = 0; i < WAITING_KIND_COUNT; i++) {
        json_put_unsigned(json, kind_names[i], ask->counts[i]);
    }
    json_end_object(json);
    json_end_object(json);
}

static void
answer_list(struct call *call, struct call_ask *call_ask)
{
    const struct list_ask *ask = CONTAINER_OF(call_ask, struct list_ask, ask);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    json_init(&json);
    write_list(&json, ask);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_list(struct call_ask *call_ask)
{
    struct list_ask *ask = CONTAINER_OF(call_ask, struct list_ask, ask);
    free(ask->rows);
    arena_fini(&ask->arena);
    free(ask);
}

/* False: answered 400. */
static bool
read_list(struct call *call, struct list_ask *ask)
{
    const char *kind = call_parameter(call, "kind");
    const char *after = call_parameter(call, "after");
    int64_t count = LIST_COUNT;
    ask->kinds = kind == NULL ? KINDS_ALL : 0;
    if (kind != NULL && !kind_read(bytes_of(kind), &ask->kinds)) {
        call_fail(call, 400, "\"kind\" is one of delayed, retry, parked");
        return false;
    }
    ask->has_after = after != NULL;
    if (after != NULL && !key_read(bytes_of(after), &ask->after)) {
        call_fail(call, 400, "\"after\" takes what \"next\" of the page before says");
        return false;
    }
    if (!call_read_number(call, "count", 1, LIST_COUNT_MAX, &count)) {
        return false;
    }
    ask->count_max = (uint32_t)count;
    return true;
}

void
handle_delayed(struct call *call)
{
    struct list_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = list_step;
    ask->ask.then = answer_list;
    ask->ask.free = free_list;
    if (read_list(call, ask)) {
        call_ask(call, &ask->ask);
    } else {
        free_list(&ask->ask);
    }
}

/* Release and cancel --------------------------------------------------------------------------- */

struct settle_ask {
    struct call_ask ask;
    struct pending_request request; /* of many */
    struct due_key key;             /* of one */
    bool is_one;
    bool has_begun, is_over;
    enum status status;
    uint64_t count, unreadable, token;
    struct refusal refusal;
};

static void
on_settled(void *context, uint64_t count, uint64_t unreadable, uint64_t token)
{
    struct settle_ask *ask = context;
    ask->is_over = true;
    ask->count = count;
    ask->unreadable = unreadable;
    ask->token = token;
}

static void
tell_audit_of_one(const struct settle_ask *ask, struct core *core, const struct queue *queue)
{
    char key[KEY_TEXT_SIZE];
    char filter[KEY_TEXT_SIZE + 8];
    (void)snprintf(filter, sizeof(filter), "key=\"%s\"", key_text(key, &ask->key));
    audit_pending(
        core, queue, &ask->request,
        (struct audit_entry){.phase = AUDIT_ENDED, .filter = bytes_of(filter), .done_count = 1});
}

static void
settle_one(struct settle_ask *ask, struct core *core, struct queue *queue)
{
    if (ask->request.action == PENDING_RELEASE) {
        ask->status = core_release_pending(core, queue, &ask->key);
    } else {
        ask->status = core_cancel_pending(core, queue, &ask->key) ? STATUS_OK : STATUS_REJECTED;
    }
    if (ask->status == STATUS_OK) {
        tell_audit_of_one(ask, core, queue);
    }
    on_settled(ask, ask->status == STATUS_OK ? 1 : 0, 0, core_log_token(core));
}

/* False: it is refused. */
static bool
begin(struct settle_ask *ask, struct core *core)
{
    struct queue *queue = find_queue_with_right(core, ask->ask.call, ACCESS_READ, &ask->refusal);
    if (queue == NULL) {
        return false;
    }
    ask->has_begun = true;
    ask->request.user = caller_name(ask->ask.call);
    if (ask->is_one) {
        settle_one(ask, core, queue);
    } else {
        ask->request.done = on_settled;
        ask->request.context = ask;
        ask->status = core_request_pending(core, queue, &ask->request);
    }
    return ask->status == STATUS_OK;
}

static enum request_progress
settle_step(struct request *request, struct core *core, uint32_t *budget)
{
    struct settle_ask *ask = CONTAINER_OF(request, struct settle_ask, ask.desk.request);
    (void)budget;
    if (!ask->has_begun && !begin(ask, core)) {
        return REQUEST_DONE;
    }
    if (!ask->is_over) {
        return REQUEST_WAITING;
    }
    core->wants_flush = true;
    return core_is_committed(core, ask->token) ? REQUEST_DONE : REQUEST_WAITING;
}

static void
settle_abandon(struct request *request, struct core *core)
{
    core_leave_pending(core, CONTAINER_OF(request, struct settle_ask, ask.desk.request));
}

static void
answer_settled(struct call *call, struct call_ask *call_ask)
{
    const struct settle_ask *ask = CONTAINER_OF(call_ask, struct settle_ask, ask);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
    } else if (ask->status == STATUS_REJECTED) {
        call_fail(call, 404, "no message waits under that key any more");
    } else if (ask->status != STATUS_OK) {
        call_fail(call, 503, "there is no memory for it: nothing was changed");
    } else {
        json_init(&json);
        json_begin_object(&json);
        json_put_unsigned(&json, "count", ask->count);
        json_put_unsigned(&json, "unreadable", ask->unreadable);
        json_end_object(&json);
        call_answer_json(call, 200, &json);
        json_fini(&json);
    }
}

static void
free_settle(struct call_ask *ask)
{
    free(CONTAINER_OF(ask, struct settle_ask, ask));
}

/* False: answered 400. */
static bool
read_kinds(struct call *call, const json_t *body, uint32_t *kinds)
{
    const json_t *list = json_object_get(body, "kinds");
    size_t index;
    const json_t *item;
    bool is_good = list == NULL || (json_is_array(list) && json_array_size(list) > 0);
    *kinds = list == NULL ? 1U << WAITING_DELAYED | 1U << WAITING_RETRY : 0;
    for (index = 0; is_good && index < json_array_size(list); index++) {
        item = json_array_get(list, index);
        is_good = json_is_string(item) && kind_read(bytes_of(json_string_value(item)), kinds);
    }
    if (!is_good) {
        call_fail(call, 400, "\"kinds\" takes a list out of delayed, retry, parked");
    }
    return is_good;
}

static bool
read_settle(struct call *call, const json_t *body, struct settle_ask *ask)
{
    char why[JSON_WHY_SIZE];
    struct bytes key = bytes_make(NULL, 0);
    bool is_all = false;
    if (!json_read_text(body, "key", &key, why) ||
        !json_read_text(body, "message_id", &ask->request.message_id, why) ||
        !json_read_bool(body, "all", &is_all, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    ask->is_one = key.data != NULL;
    if (ask->is_one + (ask->request.message_id.data != NULL) + is_all != 1) {
        call_fail(call, 400, "give one of \"key\", \"message_id\" and \"all\": true");
        return false;
    }
    if (ask->is_one && !key_read(key, &ask->key)) {
        call_fail(call, 400, "that is no \"key\"; the list of waiting messages shows them");
        return false;
    }
    return read_kinds(call, body, &ask->request.kinds);
}

static void
settle(struct call *call, enum pending_action action)
{
    static const char *const names[] = {"key", "message_id", "all", "kinds", NULL};
    const json_t *body = call_json_zeros(call);
    if (body == NULL || !json_has_only(call, body, names)) {
        return;
    }
    struct settle_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = settle_step;
    ask->ask.desk.request.abandon = settle_abandon;
    ask->ask.then = answer_settled;
    ask->ask.free = free_settle;
    ask->request.action = action;
    if (read_settle(call, body, ask)) {
        call_allow(call, LOOK_SECONDS);
        call_ask(call, &ask->ask);
    } else {
        free_settle(&ask->ask);
    }
}

void
handle_delayed_release(struct call *call)
{
    settle(call, PENDING_RELEASE);
}

void
handle_delayed_cancel(struct call *call)
{
    settle(call, PENDING_CANCEL);
}
