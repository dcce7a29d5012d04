/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the core: the history hears of it at once, the client when it reads. */
#include <inttypes.h>
#include <stdio.h>

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "tests/sim/body.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* One action as it is posted. */
struct incoming {
    struct world *world;
    struct actor *actor;
    const struct net_action *action;
    struct actor_channel *channel; /* NULL: 0 */
};

static void
arrive(struct actor *actor, const struct actor_arrival *arrival)
{
    if (actor->arrival_first == actor->arrival_visible) {
        uint32_t count = actor->arrival_end - actor->arrival_first;
        if (count > 0 && actor->arrival_first > 0) {
            memmove(actor->arrivals, actor->arrivals + actor->arrival_first,
                    count * sizeof(*actor->arrivals));
        }
        actor->arrival_first = 0;
        actor->arrival_visible = 0;
        actor->arrival_end = count;
    }
    *HISTORY_PUSH(actor->arrivals, actor->arrival_end, actor->arrival_capacity) = *arrival;
    actor->arrived_count++;
}

static void
arrive_method(const struct incoming *incoming, enum method_id id)
{
    struct actor_arrival arrival = {
        .id = id, .channel = incoming->action->channel, .queue = HISTORY_NONE};
    arrive(incoming->actor, &arrival);
}

/* Messages ------------------------------------------------------------------------------------- */

/* The message that a content is, or HISTORY_NONE when it is none that was published so. */
static uint32_t
recognise(struct world *world, const struct content *content, struct bytes exchange,
          struct bytes routing_key)
{
    uint32_t number = body_number(content_body(content));
    if (number >= world->history.message_count) {
        history_wrong(&world->history, HISTORY_BODY, "a body that nobody published");
        return HISTORY_NONE;
    }
    const struct history_message *message = &world->history.messages[number];
    /* What is made for one delivery does not say that it was sent on. */
    bool is_letter =
        (content->flags & (CONTENT_HAS_DEATHS | CONTENT_IS_REPLAYED)) != 0 || message->is_sent_on;
    bool has_names = (content->flags & CONTENT_HAS_DEATHS) == 0 &&
                     bytes_equal_text(exchange, sim_exchange_name(message->exchange)) &&
                     bytes_equal_text(routing_key, sim_key_name(message->exchange, message->key));
    has_names |= is_letter && exchange.size == 0 && bytes_starts_with(routing_key, "q");
    if (!body_is_right(content_body(content), number, message->size) || !has_names ||
        ((content->flags & CONTENT_PERSISTENT) != 0) != message->is_persistent) {
        history_wrong(&world->history, HISTORY_BODY,
                      "message %" PRIu32 " is not as it was published", number);
        return HISTORY_NONE;
    }
    world->recognised = number;
    return number;
}

static const struct content *
content_of(const struct net_action *action)
{
    if (action->type == NET_ACTION_DELIVER) {
        return action->deliver.content;
    }
    return action->type == NET_ACTION_CONTENT ? action->content.content : NULL;
}

/* 0: it is not there. */
static uint64_t
number_of(struct bytes headers, const char *name)
{
    struct table_value value;
    return table_find(headers, name, &value) ? (uint64_t)table_value_integer(&value) : 0;
}

static uint8_t
verdict_of(struct bytes headers)
{
    static const struct {
        const char *name;
        enum history_verdict verdict;
    } names[] = {
        {"nack", HISTORY_NACKED},
        {"reject", HISTORY_GIVEN_BACK},
        {"lost", HISTORY_BROKEN_OFF},
        {"timeout", HISTORY_TIMED_OUT},
    };
    struct table_value value;
    if (!table_find(headers, "x-last-verdict", &value)) {
        return HISTORY_NO_VERDICT;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_equal_text(value.raw, names[i].name)) {
            return (uint8_t)names[i].verdict;
        }
    }
    return HISTORY_ANY_VERDICT; /* which is none */
}

/* The text of a note is a number. */
static uint32_t
note_of(struct bytes headers)
{
    struct table_value value;
    uint32_t number = 0;
    if (!table_find(headers, "x-failure-text", &value)) {
        return 0;
    }
    for (size_t i = 0; i < value.raw.size; i++) {
        number = number * 10 + (uint32_t)(value.raw.data[i] - '0');
    }
    return number;
}

/* What they say of failures. */
static struct history_headers
headers_of(const struct content *content)
{
    struct properties properties;
    struct fault fault;
    enum status status = properties_decode_kept(&properties, content_properties(content), &fault);
    assert(status == STATUS_OK);
    if ((properties.flags & PROPERTY_HEADERS) == 0) {
        return (struct history_headers){0};
    }
    return (struct history_headers){
        .delivery_count = number_of(properties.headers, "x-delivery-count"),
        .acquired_count = number_of(properties.headers, "x-acquired-count"),
        .verdict = verdict_of(properties.headers),
        .note = note_of(properties.headers),
    };
}

/* A message for this channel: what the client then holds. */
static void
take_delivery(const struct incoming *incoming, uint32_t queue, uint32_t number,
              const struct actor_consumer *consumer, bool no_ack, uint64_t tag, bool is_redelivered)
{
    struct world *world = incoming->world;
    struct actor_channel *channel = incoming->channel;
    world_note(world, "delivery", number, queue,
               ((uint64_t)incoming->actor->number * 10 + incoming->action->channel) * 100000 + tag);
    if (tag != channel->next_tag++) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "delivery tag %" PRIu64 " after %" PRIu64 " on channel %u", tag,
                      channel->next_tag - 2, (unsigned)incoming->action->channel);
    }
    struct history_handing handing = {.message = number,
                                      .identity = world->taken,
                                      .is_redelivered = is_redelivered,
                                      .is_final = no_ack,
                                      .span = {.first = server_log_first(&world->server),
                                               .last = server_log_last(&world->server)}};
    uint32_t copy = history_hand_out(&world->history, queue, &handing);
    if (copy == HISTORY_NONE) {
        return;
    }
    history_check_identity(&world->history, queue, copy, world->taken);
    struct history_headers headers = headers_of(content_of(incoming->action));
    history_check_headers(&world->history, queue, copy, &headers);
    struct actor_arrival arrival = {.id = METHOD_BASIC_DELIVER,
                                    .channel = incoming->action->channel,
                                    .tag = tag,
                                    .queue = queue,
                                    .copy = copy};
    arrive(incoming->actor, &arrival);
    if (!no_ack) {
        *HISTORY_PUSH(channel->held, channel->held_count, channel->held_capacity) =
            (struct actor_held){.tag = tag,
                                .queue = queue,
                                .copy = copy,
                                .consumer = consumer == NULL ? 0 : consumer->number,
                                .delivered_ms = world->history.now_ms,
                                .timeout_ms = consumer == NULL ? -1 : consumer->timeout_ms};
    }
}

static void
on_deliver(const struct incoming *incoming)
{
    struct history *history = &incoming->world->history;
    const struct net_action *action = incoming->action;
    struct bytes tag = action->deliver.consumer_tag;
    uint32_t at = tag.size == 2 ? (uint32_t)(tag.data[1] - '0') : ACTOR_CONSUMERS;
    if (at >= ACTOR_CONSUMERS || !incoming->channel->consumers[at].is_on) {
        history_wrong(history, HISTORY_ANSWER, "a delivery for a consumer that is not there");
        return;
    }
    const struct actor_consumer *consumer = &incoming->channel->consumers[at];
    world_check_turn(incoming->world, incoming->actor, incoming->action->channel, consumer);
    uint32_t number = recognise(incoming->world, action->deliver.content, action->deliver.exchange,
                                action->deliver.routing_key);
    if (number != HISTORY_NONE) {
        history_serve(history, consumer->queue, consumer->number, consumer->no_ack);
        take_delivery(incoming, consumer->queue, number, consumer, consumer->no_ack,
                      action->deliver.delivery_tag, action->deliver.redelivered);
    }
}

/* Answers -------------------------------------------------------------------------------------- */

static bool
answers(const struct actor_request *request, enum method_id id)
{
    bool is_of_get = id == METHOD_BASIC_GET_OK || id == METHOD_BASIC_GET_EMPTY;
    return request->answer == id || (actor_request_is_get(request) && is_of_get);
}

static void
on_answer(const struct incoming *incoming, enum method_id id, uint64_t count)
{
    struct actor_request *request = &incoming->channel->request;
    if (!request->is_waiting || request->is_answered || !answers(request, id)) {
        history_wrong(&incoming->world->history, HISTORY_ANSWER, "%s comes unasked",
                      method_info(id)->name);
        return;
    }
    request->is_answered = true;
    request->count = count;
    request->flushed = server_flushed(&incoming->world->server);
    arrive_method(incoming, id);
}

/* A method that was held back looks the name up when it is handled. */
static uint32_t
queue_of_today(const struct incoming *incoming)
{
    const struct actor_request *request = &incoming->channel->request;
    const struct history *history = &incoming->world->history;
    if (!request->is_waiting || request->queue == HISTORY_NONE) {
        return HISTORY_NONE;
    }
    return history_find_queue(history, history->queues[request->queue].name);
}

static void
on_get_ok(const struct incoming *incoming, const struct basic_get_ok *answer)
{
    const struct actor_request *request = &incoming->channel->request;
    uint32_t queue = queue_of_today(incoming);
    if (queue == HISTORY_NONE) {
        on_answer(incoming, METHOD_BASIC_GET_OK, 0);
        return;
    }
    uint32_t number = recognise(incoming->world, incoming->action->content.content,
                                answer->exchange, answer->routing_key);
    if (number != HISTORY_NONE) {
        take_delivery(incoming, queue, number, NULL, request->answer == METHOD_BASIC_GET_EMPTY,
                      answer->delivery_tag, answer->redelivered);
        history_expect_ready(&incoming->world->history, queue, answer->message_count, "get-ok");
    }
    on_answer(incoming, METHOD_BASIC_GET_OK, 0);
}

static void
on_get_empty(const struct incoming *incoming)
{
    uint32_t queue = queue_of_today(incoming);
    if (queue != HISTORY_NONE) {
        history_expect_empty(&incoming->world->history, queue);
    }
    on_answer(incoming, METHOD_BASIC_GET_EMPTY, 0);
}

static void
confirm(const struct incoming *incoming, uint32_t number, bool is_refusal)
{
    struct history *history = &incoming->world->history;
    if (history->messages[number].is_refused != is_refusal) {
        history_wrong(history, HISTORY_ANSWER, "message %" PRIu32 " is %s, but was %s", number,
                      is_refusal ? "refused" : "confirmed", is_refusal ? "taken" : "refused");
    } else if (!is_refusal) {
        history_confirm(history, number, server_flushed(&incoming->world->server));
    }
}

static void
on_confirm(const struct incoming *incoming, uint64_t tag, bool multiple, bool is_refusal)
{
    struct actor_channel *channel = incoming->channel;
    struct history *history = &incoming->world->history;
    world_note(incoming->world, "confirm", incoming->actor->number, tag, multiple);
    uint64_t first = channel->confirmed_number + 1;
    if (channel->mode != ACTOR_CONFIRM || tag < first || (!multiple && tag != first) ||
        tag - channel->confirmed_number > channel->published_count) {
        history_wrong(history, HISTORY_ANSWER, "a confirm of %" PRIu64 " after %" PRIu64, tag,
                      channel->confirmed_number);
        return;
    }
    uint32_t count = (uint32_t)(tag - channel->confirmed_number);
    for (uint32_t i = 0; i < count; i++) {
        confirm(incoming, channel->published[i], is_refusal);
    }
    channel->confirmed_number = tag;
    channel->published_count -= count;
    memmove(channel->published, channel->published + count,
            channel->published_count * sizeof(*channel->published));
}

static void
on_cancel(const struct incoming *incoming, struct bytes tag)
{
    uint32_t at = tag.size == 2 ? (uint32_t)(tag.data[1] - '0') : ACTOR_CONSUMERS;
    struct actor_consumer *consumer =
        at < ACTOR_CONSUMERS ? &incoming->channel->consumers[at] : NULL;
    struct history *history = &incoming->world->history;
    bool is_going =
        consumer != NULL && consumer->is_on && consumer->queue == incoming->world->deleting_queue;
    if (!is_going && (consumer == NULL || !consumer->awaits_cancel)) {
        history_wrong(history, HISTORY_ANSWER, "a consumer is cancelled whose queue is there");
        return;
    }
    if (consumer->is_on && consumer->is_there) {
        history_use_queue(history, consumer->queue, false);
        history_end_consumer(history, consumer->queue, consumer->number);
    }
    consumer->is_on = false;
    consumer->awaits_cancel = false;
}

/* The message comes back to its publisher, who is told that nobody took it. */
static void
on_return(const struct incoming *incoming, const struct basic_return *method)
{
    struct world *world = incoming->world;
    uint32_t number =
        recognise(world, incoming->action->content.content, method->exchange, method->routing_key);
    bool is_own = incoming->channel->mode == ACTOR_TX || number == world->publishing;
    if (number == HISTORY_NONE || !is_own) {
        history_wrong(&world->history, HISTORY_ANSWER, "a return of a message that was not sent");
    } else if (incoming->channel->mode != ACTOR_TX &&
               world->history.messages[number].target_count > 0) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "message %" PRIu32 " is returned though it has a queue", number);
    }
}

static void
on_close(const struct incoming *incoming, uint16_t code, struct bytes text)
{
    history_wrong(&incoming->world->history, HISTORY_ANSWER, "closed by the broker: %u %.*s",
                  (unsigned)code, BYTES_FORMAT(text));
}

/* A get that waited while its queue was deleted is answered so, and who settles what is not open.
 */
static void
on_channel_close(const struct incoming *incoming, const struct channel_close *close)
{
    if (incoming->channel->state == CHANNEL_BROKEN &&
        close->reply_code == incoming->channel->close_code) {
        arrive_method(incoming, METHOD_CHANNEL_CLOSE);
    } else {
        on_close(incoming, close->reply_code, close->reply_text);
    }
}

/* The end of a channel has been handled; it may have waited for commits. */
static void
on_close_ok(const struct incoming *incoming)
{
    struct actor_channel *channel = incoming->channel;
    on_answer(incoming, METHOD_CHANNEL_CLOSE_OK, 0);
    const struct actor_request request = channel->request;
    bool closes_twice = channel->closes_twice;
    actor_end_channel(incoming->world, channel);
    channel->request = request;
    channel->closes_twice = closes_twice;
    channel->state = CHANNEL_SHUTTING;
}

static void
on_channel_method(const struct incoming *incoming, const struct method *method)
{
    switch (method->id) {
    case METHOD_BASIC_ACK:
        on_confirm(incoming, method->basic_ack.delivery_tag, method->basic_ack.multiple, false);
        break;
    case METHOD_BASIC_NACK:
        on_confirm(incoming, method->basic_nack.delivery_tag, method->basic_nack.multiple, true);
        break;
    case METHOD_BASIC_CANCEL:
        on_cancel(incoming, method->basic_cancel.consumer_tag);
        break;
    case METHOD_BASIC_GET_EMPTY:
        on_get_empty(incoming);
        break;
    case METHOD_CHANNEL_CLOSE:
        on_channel_close(incoming, &method->channel_close);
        break;
    case METHOD_CHANNEL_CLOSE_OK:
        on_close_ok(incoming);
        break;
    case METHOD_QUEUE_DECLARE_OK:
        on_answer(incoming, method->id, method->queue_declare_ok.message_count);
        break;
    case METHOD_QUEUE_DELETE_OK:
        on_answer(incoming, method->id, method->queue_delete_ok.message_count);
        break;
    case METHOD_QUEUE_PURGE_OK:
        on_answer(incoming, method->id, method->queue_purge_ok.message_count);
        break;
    case METHOD_CHANNEL_OPEN_OK:
        world_check_channels(incoming->world);
        on_answer(incoming, method->id, 0);
        break;
    default:
        on_answer(incoming, method->id, 0);
        break;
    }
}

static void
on_connection_close(const struct incoming *incoming, const struct connection_close *close)
{
    if (close->reply_code != 530 || !world_may_refuse(incoming->world, incoming->actor)) {
        on_close(incoming, close->reply_code, close->reply_text);
        return;
    }
    world_note(incoming->world, "refused", incoming->actor->number, incoming->actor->is_let_in, 0);
    incoming->world->history.sums.turned_away++;
    actor_end_connection(incoming->world, incoming->actor);
    arrive_method(incoming, METHOD_CONNECTION_CLOSE);
}

static void
on_connection_method(const struct incoming *incoming, const struct method *method)
{
    if (method->id == METHOD_CONNECTION_CLOSE) {
        on_connection_close(incoming, &method->connection_close);
        return;
    }
    if (method->id == METHOD_CONNECTION_OPEN_OK) {
        incoming->actor->is_let_in = true;
        world_check_connections(incoming->world);
    }
    arrive_method(incoming, method->id);
}

static void
on_method(const struct incoming *incoming, struct bytes payload)
{
    struct method method;
    struct fault fault;
    enum status status = method_decode(&method, payload, &fault);
    assert(status == STATUS_OK);
    if (incoming->action->type == NET_ACTION_CONTENT) {
        if (method.id == METHOD_BASIC_GET_OK) {
            on_get_ok(incoming, &method.basic_get_ok);
        } else {
            on_return(incoming, &method.basic_return);
        }
    } else if (incoming->channel == NULL) {
        on_connection_method(incoming, &method);
    } else {
        on_channel_method(incoming, &method);
    }
}

/* Who was told to leave, and does not for long, is left. */
static void
on_socket_close(const struct incoming *incoming)
{
    if (!incoming->actor->is_refused) {
        history_wrong(&incoming->world->history, HISTORY_ANSWER, "the broker closes the socket");
    }
}

static void
on_action(const struct incoming *incoming)
{
    switch (incoming->action->type) {
    case NET_ACTION_METHOD:
        on_method(incoming, incoming->action->method.payload);
        break;
    case NET_ACTION_CONTENT:
        on_method(incoming, incoming->action->content.payload);
        break;
    case NET_ACTION_DELIVER:
        on_deliver(incoming);
        break;
    case NET_ACTION_CLOSE:
        on_socket_close(incoming);
        break;
    case NET_ACTION_PAUSE:
    case NET_ACTION_RESUME:
    case NET_ACTION_TUNE:
    case NET_ACTION_ESTABLISHED:
    case NET_ACTION_CHUNK_RETURNED:
        break;
    }
}

static struct actor *
find_actor(struct world *world, uint64_t link)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        if (world->actors[i].link == link) {
            return &world->actors[i];
        }
    }
    return NULL;
}

/* The history hears of it; `posted` gets what the client will notice. */
static void
hear(struct world *world, struct actor *actor, const struct net_action *action,
     struct posted *posted)
{
    struct incoming incoming = {
        .world = world,
        .actor = actor,
        .action = action,
        .channel = action->channel == 0 ? NULL : actor_channel(actor, action->channel),
    };
    uint32_t frame_max = actor->is_up ? 131072 : FRAME_MAX_BEFORE_TUNE;
    posted->octets = net_action_octets(action, posted->content, frame_max);
    uint64_t arrived_count = actor->arrived_count;
    world->recognised = HISTORY_NONE;
    on_action(&incoming);
    posted->message = world->recognised;
    posted->arrival_count = (uint32_t)(actor->arrived_count - arrived_count);
}

void
world_on_action(void *context, const struct net_action *action)
{
    struct world *world = context;
    world_see_ends(world);
    if (action->type == NET_ACTION_DELIVER) {
        world_see_deaths(world); /* the tick has moved them before it handed anything out */
    }
    struct posted posted = {
        .type = action->type,
        .channel = action->channel,
        .link = action->link,
        .content = content_of(action),
        .loan = action->loan,
        .message = HISTORY_NONE,
    };
    struct actor *actor = find_actor(world, action->link);
    if (actor != NULL) {
        hear(world, actor, action, &posted);
    } else if (action->type != NET_ACTION_CHUNK_RETURNED) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "something is sent to a client that is gone");
    }
    if (wire_is_direct(&world->server.wire) && actor != NULL) {
        posted.arrival_count = 0; /* they come with the end of the tick */
        actor_take(actor, &posted);
    }
    wire_post_action(&world->server.wire, action, &posted);
}

void
world_on_taken(void *context, const struct posted *posted)
{
    struct world *world = context;
    struct actor *actor = find_actor(world, posted->link);
    world_note(world, "taken", posted->link, (uint64_t)posted->type, posted->channel);
    if (actor != NULL && !actor->is_leaving) {
        actor_take(actor, posted);
    }
}

void
world_on_written(void *context, const struct posted *posted)
{
    struct world *world = context;
    if (posted->message != HISTORY_NONE && world->history.wrong_count == 0 &&
        !body_is_right(content_body(posted->content), posted->message,
                       world->history.messages[posted->message].size)) {
        history_wrong(&world->history, HISTORY_BODY,
                      "message %" PRIu32 " was gone before it was written to its socket",
                      posted->message);
    }
}

/* Reading -------------------------------------------------------------------------------------- */

static void
send_start_ok(struct world *world, struct actor *actor)
{
    static const char response[] = "\0" SERVER_USER "\0" SERVER_USER;
    char properties[] = "\x0c"
                        "capabilitiesF\0\0\0\x19\x16"
                        "consumer_cancel_notifyt\1";
    properties[sizeof(properties) - 2] = actor->is_deaf ? 0 : 1;
    struct method method = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = bytes_make(properties, sizeof(properties) - 1),
                                .mechanism = bytes_of("PLAIN"),
                                .response = bytes_make(response, sizeof(response) - 1),
                                .locale = bytes_of("en_US")},
    };
    struct sent sent = actor_sent(actor, 0);
    actor_send(world, &method, &sent);
}

static void
send_open(struct world *world, struct actor *actor)
{
    struct method tune_ok = {
        .id = METHOD_CONNECTION_TUNE_OK,
        .connection_tune_ok = {.channel_max = 2047, .frame_max = 131072, .heartbeat = 60}};
    struct sent sent = actor_sent(actor, 0);
    actor_send(world, &tune_ok, &sent);
    struct method open = {.id = METHOD_CONNECTION_OPEN,
                          .connection_open = {.virtual_host = bytes_of("/")}};
    struct sent next = actor_sent(actor, 0);
    actor_send(world, &open, &next);
}

/* Steps of one client in which it does not come back when it was turned away. */
enum { TIRED_STEPS_MAX = 1000 };

static void
read_handshake(struct world *world, struct actor *actor, enum method_id id)
{
    if (id == METHOD_CONNECTION_START) {
        send_start_ok(world, actor);
    } else if (id == METHOD_CONNECTION_TUNE) {
        send_open(world, actor);
    } else if (id == METHOD_CONNECTION_OPEN_OK) {
        actor->is_up = true;
    } else if (id == METHOD_CONNECTION_CLOSE) {
        actor->tired = dice_below(&world->service, TIRED_STEPS_MAX);
        actor_hang_up(world, actor);
    }
}

static void
check_count(struct world *world, const struct actor_request *request)
{
    if (request->answer != METHOD_QUEUE_DECLARE_OK && request->answer != METHOD_QUEUE_PURGE_OK &&
        request->answer != METHOD_QUEUE_DELETE_OK) {
        return;
    }
    if (request->count > request->ready_count ||
        request->count + request->maybe_count < request->ready_count) {
        history_wrong(&world->history, HISTORY_ANSWER,
                      "%s gives %" PRIu64 " messages, there are %" PRIu64,
                      method_info(request->answer)->name, request->count, request->ready_count);
    }
}

/* Only what a client has read is a promise: a crash before that leaves it in the dark. */
static void
read_answer(struct world *world, struct actor_channel *channel, enum method_id id)
{
    struct actor_request *request = &channel->request;
    if (request->is_durable) {
        history_promise(&world->history, request->span, request->flushed, method_info(id)->name);
    }
    check_count(world, request);
    request->is_waiting = false;
    if (id == METHOD_CHANNEL_OPEN_OK) {
        channel->state = CHANNEL_OPEN;
    } else if (id == METHOD_CHANNEL_CLOSE_OK) {
        channel->state = CHANNEL_SHUT;
    }
}

/* Who has sent channel.close himself waits for its answer all the same. */
static void
read_close(struct world *world, struct actor *actor, uint16_t number)
{
    struct method method = {.id = METHOD_CHANNEL_CLOSE_OK};
    struct sent sent = actor_sent(actor, number);
    actor_send(world, &method, &sent);
    if (!actor_channel(actor, number)->closes_twice) {
        actor_end_channel(world, actor_channel(actor, number));
    }
}

static void
read_arrival(struct world *world, struct actor *actor, const struct actor_arrival *arrival)
{
    if (arrival->channel == 0) {
        read_handshake(world, actor, arrival->id);
    } else if (arrival->id == METHOD_BASIC_DELIVER) {
        history_see(&world->history, arrival->queue, arrival->copy);
        actor_channel(actor, arrival->channel)->read_tag = arrival->tag;
    } else if (arrival->id == METHOD_CHANNEL_CLOSE) {
        read_close(world, actor, arrival->channel);
    } else {
        read_answer(world, actor_channel(actor, arrival->channel), arrival->id);
    }
}

void
actor_read(struct world *world, struct actor *actor, uint32_t arrival_max)
{
    for (uint32_t i = 0; i < arrival_max && actor->arrival_first < actor->arrival_visible; i++) {
        struct actor_arrival arrival = actor->arrivals[actor->arrival_first++];
        world_note(world, "read", actor->number, arrival.channel, arrival.id);
        read_arrival(world, actor, &arrival);
    }
}

void
actor_end_tick(struct actor *actor, uint64_t purged_last)
{
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        struct actor_request *request = &actor->channels[i].request;
        if (request->is_unfinished && purged_last != UINT64_MAX) {
            request->is_unfinished = false;
            request->span.last = purged_last == 0 ? request->span.first : purged_last;
        }
    }
}
