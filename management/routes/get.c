/* SPDX-License-Identifier: Apache-2.0 */
/* Taking messages out of a queue, one basic.get after the other, and then settling all of them as
 * the caller wants it. To look without changing anything there is another way (docs/management.md).
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/changes/audit.h"
#include "broker/connections/house.h"
#include "management/ask/caller_house.h"
#include "management/json/base64.h"
#include "management/routes/handlers.h"
#include "management/views/properties_json.h"

enum { GET_COUNT_MAX = 10000, GET_OCTETS_MAX = 32 * 1024 * 1024, GET_OCTETS_PER_ROW = 4096 };

enum get_mode { GET_AND_RETURN, GET_AND_TAKE, GET_AND_REQUEUE, GET_AND_REJECT };

struct got_message {
    struct bytes exchange, routing_key, properties, body; /* in the ask's arena */
    uint64_t tag;
    uint32_t left; /* messages in the queue behind it */
    bool redelivered;
};

struct get_ask {
    struct call_ask ask;
    enum get_mode mode;
    uint32_t count_max;
    int64_t truncate; /* octets of a body that are shown; -1: all */
    bool always_base64;

    struct house *house; /* owned; of the core while it is under way */
    struct got_message *messages;
    uint32_t count, settled, capacity;
    uint64_t octets;
    struct arena arena; /* owned */
    struct refusal refusal;
    bool has_all;
    bool has_no_memory; /* for one of them: all go back */
};

/* In the core -------------------------------------------------------------------------------- */

/* Whether there is memory for a copy; a body may have 128 MiB. */
static bool
has_room_for(struct get_ask *ask, const struct house_answer *answer)
{
    enum { PARTS = 4 };
    return arena_reserve(&ask->arena,
                         answer->exchange.size + answer->routing_key.size +
                             answer->properties.size + answer->body.size,
                         PARTS);
}

static void
keep_message(struct get_ask *ask, const struct house_answer *answer)
{
    const struct basic_get_ok *got = &answer->method.basic_get_ok;
    struct arena *arena = &ask->arena;
    if (ask->count == ask->capacity) {
        ask->capacity = ask->capacity == 0 ? 16 : ask->capacity * 2;
        ask->messages = xrealloc(ask->messages, ask->capacity * sizeof(*ask->messages));
    }
    ask->messages[ask->count++] = (struct got_message){
        .exchange = arena_copy(arena, answer->exchange),
        .routing_key = arena_copy(arena, answer->routing_key),
        .properties = arena_copy(arena, answer->properties),
        .body = arena_copy(arena, answer->body),
        .tag = got->delivery_tag,
        .left = got->message_count,
        .redelivered = got->redelivered,
    };
    ask->octets += answer->body.size;
    ask->has_all = ask->count == ask->count_max || ask->octets >= GET_OCTETS_MAX;
}

static void
take_answer(struct get_ask *ask, uint32_t *budget)
{
    const struct house_answer *answer = &ask->house->answer;
    if (caller_house_was_refused(ask->house, &ask->refusal) ||
        answer->method.id != METHOD_BASIC_GET_OK) {
        ask->has_all = true;
        return;
    }
    uint32_t rows = (uint32_t)(answer->body.size / GET_OCTETS_PER_ROW) + 1;
    *budget -= rows < *budget ? rows : *budget;
    ask->has_no_memory = !has_room_for(ask, answer);
    ask->has_all = ask->has_no_memory;
    if (!ask->has_no_memory) {
        keep_message(ask, answer);
    }
}

static void
get_next(struct get_ask *ask)
{
    struct method get = {
        .id = METHOD_BASIC_GET,
        .basic_get = {.queue = call_name(ask->ask.call, 1)},
    };
    house_call(ask->house, &get);
}

/* All at once, or one after the other where each is a rejection of its own. What is only looked at
 * goes back when the house's channel ends. */
static void
settle_next(struct get_ask *ask)
{
    const struct got_message *last = &ask->messages[ask->count - 1];
    struct method method = {
        .id = METHOD_BASIC_ACK,
        .basic_ack = {.delivery_tag = last->tag, .multiple = true},
    };
    if (ask->mode == GET_AND_TAKE) {
        ask->settled = ask->count;
    } else {
        method = (struct method){
            .id = METHOD_BASIC_REJECT,
            .basic_reject = {.delivery_tag = ask->messages[ask->settled].tag,
                             .requeue = ask->mode == GET_AND_REQUEUE},
        };
        ask->settled++;
    }
    house_call(ask->house, &method);
}

static bool
has_to_settle(const struct get_ask *ask)
{
    return ask->refusal.reply_code == 0 && !ask->has_no_memory && ask->mode != GET_AND_RETURN &&
           ask->settled < ask->count;
}

/* In one batch with the first that goes. */
static void
tell_audit(const struct get_ask *ask)
{
    bool is_rejected = ask->mode == GET_AND_REJECT;
    if (ask->mode == GET_AND_TAKE || is_rejected) {
        audit_method_again(ask->house->connection,
                           &(struct audit_entry){.action = is_rejected ? AUDIT_REJECT : AUDIT_TAKE,
                                                 .queue = call_name(ask->ask.call, 1),
                                                 .done_count = ask->count});
    }
}

static bool
open_house(struct get_ask *ask, struct core *core)
{
    ask->house = caller_house_open(core, ask->ask.call, &ask->refusal);
    if (ask->house == NULL) {
        return false;
    }
    get_next(ask);
    return true;
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct get_ask *ask = CONTAINER_OF(request, struct get_ask, ask.desk.request);
    if (ask->house == NULL && !open_house(ask, core)) {
        return REQUEST_DONE;
    }
    while (!ask->has_all) {
        if (!house_is_answered(ask->house)) {
            return REQUEST_WAITING;
        }
        if (*budget == 0) {
            return REQUEST_MORE;
        }
        take_answer(ask, budget);
        if (!ask->has_all) {
            get_next(ask);
        }
    }
    while (has_to_settle(ask)) {
        if (*budget == 0) {
            return REQUEST_MORE;
        }
        if (ask->settled == 0) {
            tell_audit(ask);
        }
        (*budget)--;
        settle_next(ask);
    }
    house_free(&ask->house);
    return REQUEST_DONE;
}

static void
abandon(struct request *request, struct core *core)
{
    struct get_ask *ask = CONTAINER_OF(request, struct get_ask, ask.desk.request);
    (void)core;
    house_free(&ask->house);
}

/* The answer --------------------------------------------------------------------------------- */

static struct bytes
shown_part(const struct get_ask *ask, struct bytes body)
{
    bool is_cut = ask->truncate >= 0 && (uint64_t)ask->truncate < body.size;
    return is_cut ? bytes_make(body.data, (size_t)ask->truncate) : body;
}

static void
write_payload(struct json_writer *json, const struct get_ask *ask, struct bytes body)
{
    struct bytes part = shown_part(ask, body);
    struct buffer encoded;
    if (!ask->always_base64 && bytes_is_utf8(part)) {
        json_put_text(json, "payload", part);
        json_put_string(json, "payload_encoding", "string");
        return;
    }
    buffer_init(&encoded);
    base64_put(&encoded, part);
    json_put_text(json, "payload", buffer_bytes(&encoded));
    json_put_string(json, "payload_encoding", "base64");
    json->out.failed |= encoded.failed;
    buffer_fini(&encoded);
}

static void
write_message(struct json_writer *json, const struct get_ask *ask,
              const struct got_message *message)
{
    json_begin_object(json);
    json_put_unsigned(json, "payload_bytes", message->body.size);
    json_put_bool(json, "redelivered", message->redelivered);
    json_put_text(json, "exchange", message->exchange);
    json_put_text(json, "routing_key", message->routing_key);
    json_put_unsigned(json, "message_count", message->left);
    json_key(json, "properties");
    properties_write(json, message->properties);
    write_payload(json, ask, message->body);
    json_end_object(json);
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct get_ask *ask = CONTAINER_OF(call_ask, struct get_ask, ask);
    struct json_writer json;
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    if (ask->has_no_memory) {
        call_fail(call, 503, "there is no memory for the messages: all are where they were");
        return;
    }
    json_init(&json);
    json_begin_array(&json);
    for (uint32_t i = 0; i < ask->count; i++) {
        write_message(&json, ask, &ask->messages[i]);
    }
    json_end_array(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct get_ask *ask = CONTAINER_OF(call_ask, struct get_ask, ask);
    free(ask->messages);
    arena_fini(&ask->arena);
    free(ask);
}

/* What is asked for -------------------------------------------------------------------------- */

/* "ackmode", or "requeue" of older clients. */
static bool
read_mode(struct call *call, const json_t *body, struct get_ask *ask)
{
    static const char *const modes[] = {
        [GET_AND_RETURN] = "ack_requeue_true",
        [GET_AND_TAKE] = "ack_requeue_false",
        [GET_AND_REQUEUE] = "reject_requeue_true",
        [GET_AND_REJECT] = "reject_requeue_false",
    };
    char why[JSON_WHY_SIZE];
    struct bytes mode = bytes_make(NULL, 0);
    bool requeue = true;
    if (!json_read_text(body, "ackmode", &mode, why) ||
        !json_read_bool(body, "requeue", &requeue, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    ask->mode = requeue ? GET_AND_RETURN : GET_AND_TAKE;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (bytes_equal_text(mode, modes[i])) {
            ask->mode = (enum get_mode)i;
            return true;
        }
    }
    if (mode.data != NULL || json_object_get(body, "requeue") == NULL) {
        call_fail(call, 400,
                  "\"ackmode\" is one of ack_requeue_true, ack_requeue_false, "
                  "reject_requeue_true, reject_requeue_false");
        return false;
    }
    return true;
}

static bool
read_encoding(struct call *call, const json_t *body, struct get_ask *ask)
{
    char why[JSON_WHY_SIZE];
    struct bytes encoding = bytes_of("auto");
    int64_t count = -1;
    ask->truncate = -1;
    if (!json_read_text(body, "encoding", &encoding, why) ||
        !json_read_integer(body, "count", 1, GET_COUNT_MAX, &count, why) ||
        !json_read_integer(body, "truncate", 0, INT64_MAX, &ask->truncate, why)) {
        call_fail(call, 400, "%s", why);
        return false;
    }
    ask->always_base64 = bytes_equal_text(encoding, "base64");
    ask->count_max = (uint32_t)count;
    if (count < 0 || (!ask->always_base64 && !bytes_equal_text(encoding, "auto"))) {
        call_fail(call, 400,
                  count < 0 ? "\"count\" is missing" : "\"encoding\" is \"auto\" or \"base64\"");
        return false;
    }
    return true;
}

void
handle_queue_get(struct call *call)
{
    const json_t *body = call_json(call);
    if (body == NULL) {
        return;
    }
    if (call_name(call, 1).size > UINT8_MAX) {
        call_fail(call, 404, "Not Found");
        return;
    }
    struct get_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.desk.request.abandon = abandon;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    if (!read_mode(call, body, ask) || !read_encoding(call, body, ask)) {
        free_ask(&ask->ask);
        return;
    }
    call_ask(call, &ask->ask);
}
