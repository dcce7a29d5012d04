/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that pass an exchange or enter a queue, as lines, as long as the client wants them: what
 * a tap (broker/watch/tap.h) has copied. Each line is an object with an "event": "begun" once,
 * "message", "missed" with a count where the reader was too slow, "idle" when nothing has passed
 * for a while.
 *
 * The right to read is asked for again in every tick, so that who loses it sees no more. */
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/core/core_clock.h"
#include "broker/topology/vhost.h"
#include "broker/watch/tap.h"
#include "management/ask/queue_right.h"
#include "management/json/base64.h"
#include "management/routes/handlers.h"
#include "management/views/desk_filter_json.h"
#include "management/views/properties_json.h"

enum { TRAFFIC_BODY = 4096, TRAFFIC_IDLE_MS = 20000 };

/* The state of a call. */
struct traffic {
    struct tap_wish wish; /* texts of the call */
    struct tap *tap;      /* a reference; NULL: not opened yet */
    bool always_base64;
};

struct traffic_ask {
    struct call_ask ask;
    uint64_t begun_ms; /* to wait; 0: not yet */
    bool is_first;     /* it opens the tap, and finds nothing in it */
    struct buffer copied;
    uint64_t missed;
    struct refusal refusal;
};

static void ask_for_more(struct call *call);

/* In the core ---------------------------------------------------------------------------------- */

/* What binding a queue there would take: to read the exchange, and of a topic exchange the key. */
static bool
may_see_exchange(struct traffic_ask *ask, struct core *core, const struct vhost *vhost,
                 const struct tap_wish *wish)
{
    const struct call *call = ask->ask.call;
    const struct exchange *exchange = vhost_find_exchange(vhost, wish->name);
    struct bytes user_name = call_user_name(call);
    struct fault fault;
    if (!caller_has_right(core, call, vhost, ACCESS_READ, ACCESS_EXCHANGE, wish->name,
                          &ask->refusal)) {
        return false;
    }
    if (exchange == NULL) {
        (void)fault_no_exchange(&fault, vhost, wish->name);
        refusal_set(&ask->refusal, &fault);
        return false;
    }
    if (user_name.data != NULL && exchange->type->is_topic &&
        access_require_topic_of(core_find_user(core, user_name), vhost, ACCESS_READ, wish->name,
                                wish->pattern, &fault) != STATUS_OK) {
        refusal_set(&ask->refusal, &fault);
        return false;
    }
    return true;
}

static bool
may_see(struct traffic_ask *ask, struct core *core, const struct tap_wish *wish)
{
    if (wish->is_queue) {
        return find_queue_with_right(core, ask->ask.call, ACCESS_READ, &ask->refusal) != NULL;
    }
    const struct vhost *vhost = find_vhost_of(core, ask->ask.call, &ask->refusal);
    return vhost != NULL && may_see_exchange(ask, core, vhost, wish);
}

/* False: there is no room for one more. */
static bool
open_tap(struct traffic_ask *ask, struct core *core, struct traffic *traffic)
{
    struct fault fault;
    traffic->tap = core_open_tap(core, &traffic->wish);
    if (traffic->tap == NULL) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED,
                               "%u others are looking on, which is as many as may", TAPS_MAX);
        refusal_set(&ask->refusal, &fault);
    }
    return traffic->tap != NULL;
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    enum { OCTETS_PER_ROW = 4096 };
    struct traffic_ask *ask = CONTAINER_OF(request, struct traffic_ask, ask.desk.request);
    struct traffic *traffic = ask->ask.call->state;
    if (!may_see(ask, core, &traffic->wish)) {
        return REQUEST_DONE;
    }
    if (traffic->tap == NULL) {
        ask->is_first = open_tap(ask, core, traffic);
        return REQUEST_DONE;
    }
    ask->begun_ms = ask->begun_ms == 0 ? core_now_ms(core) : ask->begun_ms;
    bool is_idle = core_now_ms(core) - ask->begun_ms >= TRAFFIC_IDLE_MS;
    if (!tap_take(traffic->tap, &ask->copied, &ask->missed) && !is_idle) {
        return REQUEST_WAITING;
    }
    uint32_t rows = (uint32_t)(buffer_size(&ask->copied) / OCTETS_PER_ROW) + 1;
    *budget -= rows < *budget ? rows : *budget;
    return REQUEST_DONE;
}

/* The answer ----------------------------------------------------------------------------------- */

static void
end_line(struct json_writer *json)
{
    json_end_object(json);
    buffer_put_u8(&json->out, '\n');
    json->needs_comma = false;
}

static void
begin_line(struct json_writer *json, const char *event)
{
    json_begin_object(json);
    json_put_string(json, "event", event);
}

static void
write_payload(struct json_writer *json, const struct tapped *message, bool always_base64)
{
    bool is_cut = message->body.size < message->body_size;
    size_t size =
        is_cut ? bytes_utf8_prefix(message->body, message->body.size) : message->body.size;
    struct bytes body = bytes_make(message->body.data, size);
    struct buffer encoded;
    json_put_unsigned(json, "payload_bytes", message->body_size);
    if (!always_base64 && bytes_is_utf8(body)) {
        json_put_text(json, "payload", body);
        json_put_string(json, "payload_encoding", "string");
    } else {
        buffer_init(&encoded);
        base64_put(&encoded, message->body);
        json_put_text(json, "payload", buffer_bytes(&encoded));
        json_put_string(json, "payload_encoding", "base64");
        json->out.failed |= encoded.failed;
        buffer_fini(&encoded);
    }
    json_put_bool(json, "payload_truncated", is_cut);
}

static void
write_message(struct json_writer *json, const struct tapped *message, bool always_base64)
{
    begin_line(json, "message");
    json_put_number(json, "time_ms", message->wall_ms);
    json_put_text(json, "exchange", message->exchange);
    json_put_text(json, "routing_key", message->routing_key);
    json_key(json, "properties");
    properties_write(json, message->properties);
    write_payload(json, message, always_base64);
    end_line(json);
}

static void
write_lines(struct json_writer *json, const struct traffic_ask *ask, bool always_base64)
{
    struct byte_reader reader = byte_reader_make(buffer_bytes(&ask->copied));
    struct tapped message;
    while (tapped_next(&reader, &message)) {
        write_message(json, &message, always_base64);
    }
    if (ask->missed > 0) {
        begin_line(json, "missed");
        json_put_unsigned(json, "count", ask->missed);
        end_line(json);
    }
    if (buffer_size(&json->out) == 0) {
        begin_line(json, ask->is_first ? "begun" : "idle");
        end_line(json);
    }
}

static void
then(struct call *call, struct call_ask *call_ask)
{
    const struct traffic_ask *ask = CONTAINER_OF(call_ask, struct traffic_ask, ask);
    const struct traffic *traffic = call->state;
    struct json_writer json;
    if (ask->refusal.reply_code != 0 && call->is_streaming) {
        call_stream_fail(call, ask->refusal.reply_text);
        return;
    }
    if (ask->refusal.reply_code != 0) {
        call_fail_reply(call, ask->refusal.reply_code, ask->refusal.reply_text);
        return;
    }
    if (!call->is_streaming) {
        call_stream_begin(call, "application/x-ndjson");
    }
    json_init(&json);
    write_lines(&json, ask, traffic->always_base64);
    call_stream_send(call, &json.out, ask_for_more);
    json_fini(&json);
}

static void
free_ask(struct call_ask *call_ask)
{
    struct traffic_ask *ask = CONTAINER_OF(call_ask, struct traffic_ask, ask);
    buffer_fini(&ask->copied);
    free(ask);
}

static void
ask_for_more(struct call *call)
{
    struct traffic_ask *ask = xalloc(sizeof(*ask));
    ask->ask.desk.request.step = step;
    ask->ask.then = then;
    ask->ask.free = free_ask;
    call_ask(call, &ask->ask);
}

static void
free_traffic(void *state)
{
    struct traffic *traffic = state;
    tap_leave(&traffic->tap);
    free(traffic);
}

/* The request ---------------------------------------------------------------------------------- */

static bool
read_wish(struct call *call, struct traffic *traffic)
{
    const char *encoding = call_parameter(call, "encoding");
    const char *key = call_parameter(call, "key");
    int64_t body_max = TRAFFIC_BODY;
    traffic->always_base64 = encoding != NULL && strcmp(encoding, "base64") == 0;
    traffic->wish.pattern = bytes_of(key != NULL ? key : "#");
    if (encoding != NULL && !traffic->always_base64 && strcmp(encoding, "auto") != 0) {
        call_fail(call, 400, "\"encoding\" is \"auto\" or \"base64\"");
        return false;
    }
    if (traffic->wish.pattern.size > UINT8_MAX) {
        call_fail(call, 400, "\"key\" has at most 255 octets");
        return false;
    }
    bool is_read = call_read_number(call, "truncate", 0, TAP_BODY_MAX, &body_max);
    traffic->wish.body_max = (uint32_t)body_max;
    return is_read;
}

static void
look_on(struct call *call, bool is_queue)
{
    struct traffic *traffic = xalloc(sizeof(*traffic));
    struct bytes name = call_name(call, 1);
    bool is_default = !is_queue && bytes_equal_text(name, "amq.default");
    call->state = traffic;
    call->free_state = free_traffic;
    traffic->wish.vhost = call_name(call, 0);
    traffic->wish.name = is_default ? bytes_make("", 0) : name;
    traffic->wish.is_queue = is_queue;
    if (name.size > UINT8_MAX) {
        call_fail(call, 404, "Not Found");
    } else if (read_wish(call, traffic)) {
        ask_for_more(call);
    }
}

void
handle_exchange_traffic(struct call *call)
{
    look_on(call, false);
}

void
handle_queue_traffic(struct call *call)
{
    look_on(call, true);
}
