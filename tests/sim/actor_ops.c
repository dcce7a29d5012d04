/* SPDX-License-Identifier: Apache-2.0 */
/* What clients do. Each operation goes to the core, and into the history right behind it when the
 * core has handled it: what the core sends meanwhile is older than the method's effect. So each has
 * two parts, the decision and the effect, and between them time may pass and others may do things;
 * names that the operation needs are locked as long. */
#include <stdlib.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/ack_timeout.h"
#include "queues/clocks.h"
#include "tests/sim/body.h"
#include "tests/sim/history_parts.h"
#include "tests/sim/world.h"

/* One operation under way. */
struct doing {
    struct world *world;
    struct actor *actor;
    struct actor_channel *channel;
    uint16_t number; /* of the channel */
};

static struct history *
history_of(const struct doing *doing)
{
    return &doing->world->history;
}

static uint32_t
below(const struct doing *doing, uint32_t limit)
{
    return dice_below(&doing->world->dice, limit);
}

static void
note(const struct doing *doing, const char *what, uint64_t a, uint64_t b)
{
    world_note(doing->world, what, (uint64_t)doing->actor->number * 10 + doing->number, a, b);
}

static bool
is_waiting(const struct doing *doing)
{
    return doing->channel->request.is_waiting;
}

static uint32_t
in_flight(const struct doing *doing)
{
    return doing->actor->in_flight[doing->number];
}

/* A channel asks one thing at a time. */
static bool
may_ask(const struct doing *doing)
{
    return !is_waiting(doing);
}

static struct sent
sent_of(const struct doing *doing, sent_effect *effect)
{
    struct sent sent = actor_sent(doing->actor, doing->number);
    sent.effect = effect;
    return sent;
}

static struct actor_channel *
channel_of(const struct sent *sent)
{
    return actor_channel(sent->actor, sent->channel);
}

static struct actor_request *
request_of(const struct sent *sent)
{
    return &channel_of(sent)->request;
}

static struct name_lock *
queue_lock(const struct doing *doing, uint32_t queue)
{
    return &doing->world->queue_locks[history_of(doing)->queues[queue].name];
}

static struct name_lock *
exchange_lock(const struct doing *doing, uint32_t exchange)
{
    return &doing->world->exchange_locks[history_of(doing)->exchanges[exchange].name];
}

/* Sends a method that speaks of a queue as it is. */
static void
ask_about_queue(const struct doing *doing, const struct method *method, enum method_id answer,
                struct sent *sent)
{
    sent_lock_queue(sent, queue_lock(doing, sent->queue));
    actor_ask(doing->world, method, answer, sent);
}

static uint32_t
choose_queue_name(const struct doing *doing)
{
    return below(doing, doing->world->habits.queue_names);
}

/* The queue of that name, if it is there and will be, or HISTORY_NONE. */
static uint32_t
find_queue(const struct doing *doing, uint32_t name)
{
    if (!sent_may_use(&doing->world->queue_locks[name])) {
        return HISTORY_NONE;
    }
    uint32_t queue = history_find_queue(history_of(doing), name);
    bool is_going = queue != HISTORY_NONE && history_may_expire(history_of(doing), queue);
    return is_going ? HISTORY_NONE : queue;
}

static uint32_t
choose_queue(const struct doing *doing)
{
    return find_queue(doing, choose_queue_name(doing));
}

/* One to take messages from. */
static uint32_t
choose_source(const struct doing *doing)
{
    uint32_t name = choose_queue_name(doing);
    if (name == 0 && doing->world->habits.hoards && below(doing, 50) != 0) {
        return HISTORY_NONE;
    }
    return find_queue(doing, name);
}

static uint32_t
choose_exchange(const struct doing *doing)
{
    uint32_t name = below(doing, doing->world->habits.exchange_names);
    return sent_may_use(&doing->world->exchange_locks[name])
               ? history_find_exchange(history_of(doing), name)
               : HISTORY_NONE;
}

static struct bytes
named_queue(const struct doing *doing, uint32_t queue)
{
    return bytes_of(sim_queue_name(history_of(doing)->queues[queue].name));
}

static struct bytes
exchange_name(const struct doing *doing, uint32_t exchange)
{
    return bytes_of(sim_exchange_name(history_of(doing)->exchanges[exchange].name));
}

/* Publishing ----------------------------------------------------------------------------------- */

/* A transaction has to fit a segment. */
enum { TX_PUBLISHES_MAX = 30, TX_SETTLED_MAX = 300 };

static uint32_t
choose_size(const struct doing *doing)
{
    if (doing->channel->mode != ACTOR_TX &&
        dice_chance(&doing->world->dice, doing->world->habits.large_permille)) {
        return BODY_SIZE_MIN + below(doing, 16 * 1024);
    }
    return BODY_SIZE_MIN + below(doing, 200);
}

/* A time to live, and 1: none at all, one that is over soon, or one that is not. */
static uint64_t
choose_expiration(const struct doing *doing)
{
    struct dice *dice = &doing->world->lives;
    if (!dice_chance(dice, doing->world->habits.mortal_permille)) {
        return 0;
    }
    static const uint32_t limits[] = {1, 60, 400, 3000};
    static const uint32_t crowded_limits[] = {400, 3000, 20000, 20000};
    const uint32_t *chosen = doing->world->habits.is_crowded ? crowded_limits : limits;
    return 1 + dice_below(dice, chosen[dice_below(dice, 4)]);
}

/* Mostly none; now and then one above the highest level. */
static uint8_t
choose_priority(const struct doing *doing)
{
    struct dice *dice = &doing->world->priorities;
    return dice_below(dice, 3) == 0 ? (uint8_t)dice_below(dice, doing->world->habits.level_max + 2u)
                                    : 0;
}

/* How long it asks to be held back, in one way, the other, or both. */
static void
choose_delay(const struct doing *doing, struct history_message *message)
{
    struct dice *dice = &doing->world->delays;
    static const uint32_t limits[] = {1, 50, 400, 3000};
    uint64_t delay_ms = dice_below(dice, limits[dice_below(dice, 4)]);
    uint64_t other_ms = dice_below(dice, 1000);
    uint64_t now_ms = (uint64_t)doing->world->server.now.wall_ms;
    if (!dice_chance(dice, doing->world->habits.delayed_permille)) {
        return;
    }
    uint32_t which = dice_below(dice, 3);
    message->delay = which != 0 ? 1 + delay_ms : 0;
    message->deliver_at_ms = which != 1 ? now_ms + other_ms - 200 : 0;
}

/* The message that is to be published: into a queue by its name, or through an exchange. */
static uint32_t
choose_message(const struct doing *doing)
{
    const struct habits *habits = &doing->world->habits;
    uint32_t exchange = choose_exchange(doing);
    bool is_persistent = dice_chance(&doing->world->dice, habits->persistent_permille);
    uint32_t size = choose_size(doing);
    if (exchange == HISTORY_NONE || below(doing, 2) == 0) {
        return history_attempt(history_of(doing), HISTORY_DEFAULT_EXCHANGE,
                               choose_queue_name(doing), is_persistent, size);
    }
    return history_attempt(history_of(doing), history_of(doing)->exchanges[exchange].name,
                           below(doing, habits->key_names), is_persistent, size);
}

static uint32_t
attempt(const struct doing *doing)
{
    uint32_t number = choose_message(doing);
    struct history_message *message = &history_of(doing)->messages[number];
    if (doing->world->habits.mortal_permille > 0) {
        message->expiration = choose_expiration(doing);
    }
    if (doing->world->habits.level_max > 0) {
        message->priority = choose_priority(doing);
    }
    if (doing->world->habits.delayed_permille > 0) {
        choose_delay(doing, message);
    }
    return number;
}

static bool
is_too_much(const struct doing *doing)
{
    const struct history *history = history_of(doing);
    for (uint32_t name = 0; name < doing->world->habits.queue_names; name++) {
        uint32_t queue = history->queue_by_name[name];
        if (queue != HISTORY_NONE &&
            history->queues[queue].ready_count + history->queues[queue].waiting_count >
                doing->world->habits.ready_max) {
            return true;
        }
    }
    uint32_t published_max =
        doing->channel->mode == ACTOR_TX ? TX_PUBLISHES_MAX : doing->world->habits.ready_max;
    return doing->channel->published_count + in_flight(doing) >= published_max;
}

static uint64_t
published_count(const struct queue *queue)
{
    return queue->clocks == NULL ? 0 : queue->clocks->published_count;
}

/* Whether each of the message's queues has taken it: all do that do not refuse. */
static void
ask_targets(const struct world *world, uint32_t message, bool takes[static HISTORY_TARGETS_MAX])
{
    const struct history *history = &world->history;
    for (uint32_t i = 0; i < history->messages[message].target_count; i++) {
        uint32_t handle = history_target(history, message, i);
        const struct queue *queue = handle == HISTORY_NONE ? NULL : world_find_queue(world, handle);
        takes[i] = queue == NULL || history->queues[handle].limit.overflow != HISTORY_REFUSES ||
                   published_count(queue) > history->queues[handle].taken_count;
    }
}

/* When it comes in, if its exchange holds it back; 0: at once. */
static uint64_t
due_of(const struct world *world, const struct history_message *message)
{
    uint32_t exchange = message->exchange == HISTORY_DEFAULT_EXCHANGE
                            ? HISTORY_NONE
                            : history_find_exchange(&world->history, message->exchange);
    if (exchange == HISTORY_NONE || !world->history.exchanges[exchange].is_delayed) {
        return 0;
    }
    uint64_t wall_ms = (uint64_t)world->server.now.wall_ms;
    uint64_t delay_ms = message->delay == 0 ? 0 : message->delay - 1;
    uint64_t left_ms = message->deliver_at_ms > wall_ms ? message->deliver_at_ms - wall_ms : 0;
    delay_ms = left_ms > delay_ms ? left_ms : delay_ms;
    return delay_ms == 0 ? 0 : world->history.now_ms + delay_ms;
}

/* The message is with the broker. */
static void
end_publish(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_channel *channel = channel_of(sent);
    struct history_message *message = &world->history.messages[sent->message];
    message->due_ms = due_of(world, message);
    if (message->due_ms != 0) {
        world_note(world, "delay", sent->message, message->due_ms, message->target_count);
    }
    if (channel->mode != ACTOR_TX) {
        bool takes[HISTORY_TARGETS_MAX];
        world_see_deaths(world);
        ask_targets(world, sent->message, takes);
        history_enqueue(&world->history, sent->message, takes,
                        (struct history_span){.first = span.last, .last = span.last});
    }
    if (channel->mode != ACTOR_PLAIN) {
        *HISTORY_PUSH(channel->published, channel->published_count, channel->published_capacity) =
            sent->message;
    }
}

static void
send_message(const struct doing *doing, uint32_t number)
{
    const struct history_message *message = &history_of(doing)->messages[number];
    struct server_publish publish = {
        .exchange = sim_exchange_name(message->exchange),
        .routing_key = sim_key_name(message->exchange, message->key),
        .number = number,
        .size = message->size,
        .expiration = message->expiration,
        .priority = message->priority,
        .delay = message->delay,
        .deliver_at_ms = message->deliver_at_ms,
        .message_id = world_message_id(doing->world, number),
        .is_persistent = message->is_persistent,
        .is_mandatory = below(doing, 4) == 0,
    };
    struct sent sent = sent_of(doing, end_publish);
    sent.message = number;
    if (message->exchange != HISTORY_DEFAULT_EXCHANGE) {
        sent_lock_exchange(&sent, &doing->world->exchange_locks[message->exchange]);
    }
    doing->actor->in_flight[doing->number]++;
    server_publish(&doing->world->server, &publish, &sent);
}

static bool
do_publish(const struct doing *doing)
{
    bool is_blocked = doing->world->server.core->alarms != 0;
    if (is_blocked || is_too_much(doing)) {
        return false;
    }
    uint32_t number = attempt(doing);
    note(doing, "publish", number, history_of(doing)->messages[number].target_count);
    send_message(doing, number);
    return true;
}

/* Settling ------------------------------------------------------------------------------------- */

enum verdict { VERDICT_ACK, VERDICT_REJECT, VERDICT_REQUEUE };

static void
settle(struct world *world, const struct actor_held *held, struct history_span span)
{
    actor_free_place(world, held);
    if (held->is_returned) {
        actor_check_verdict(world, held, held->is_nacked ? HISTORY_NACKED : HISTORY_GIVEN_BACK);
        history_give_back(&world->history, held->queue, held->copy);
    } else if (held->is_rejected) {
        history_die(&world->history, held->queue, held->copy, span);
    } else {
        history_settle(&world->history, held->queue, held->copy, span);
    }
}

/* The core's channel, if it is still busy with that. */
static struct channel *
find_settling(const struct world *world, const struct sent *sent)
{
    const struct connection *connection = core_find_connection(world->server.core, sent->link);
    struct channel *channel =
        connection == NULL ? NULL : connection_find_channel(connection, sent->channel);
    return channel != NULL && channel_is_settling(channel) ? channel : NULL;
}

static void
settle_one(struct world *world, const struct sent *sent, struct actor_held held,
           struct history_span span)
{
    struct actor_channel *channel = channel_of(sent);
    held.is_rejected = sent->verdict == VERDICT_REJECT;
    held.is_returned = sent->verdict == VERDICT_REQUEUE;
    held.is_nacked = sent->is_nacked;
    if (channel->mode == ACTOR_TX) {
        *HISTORY_PUSH(channel->settled, channel->settled_count, channel->settled_capacity) = held;
    } else {
        settle(world, &held, span);
    }
}

/* Takes the deliveries that it speaks of out of what is held, settling them now or later. Those of
 * a channel that has ended meanwhile are not there any more. Of very many the core settles some in
 * later ticks. */
static void
end_settle(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_channel *channel = channel_of(sent);
    struct channel *known = find_settling(world, sent);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < channel->held_count; i++) {
        struct actor_held held = channel->held[i];
        bool is_meant =
            held.is_sent && (sent->is_multiple ? held.tag <= sent->tag : held.tag == sent->tag);
        bool is_open = known != NULL && unacked_table_find(&known->unacked, held.tag) != NULL;
        if (is_meant && !is_open) {
            settle_one(world, sent, held, span);
        } else {
            channel->held[kept++] = held;
        }
    }
    channel->held_count = kept;
    if (known != NULL) {
        channel->settling = *sent;
    }
}

void
actor_go_on_settling(struct world *world, struct actor *actor, struct history_span span)
{
    for (uint32_t i = 0; i < ACTOR_CHANNELS; i++) {
        struct sent sent = actor->channels[i].settling;
        if (sent.effect != NULL) {
            actor->channels[i].settling = (struct sent){0};
            end_settle(world, &sent, span);
        }
    }
}

static void
send_verdict(const struct doing *doing, uint64_t tag, bool multiple, enum verdict verdict)
{
    struct method method = {.id = METHOD_BASIC_ACK,
                            .basic_ack = {.delivery_tag = tag, .multiple = multiple}};
    if (verdict != VERDICT_ACK && !multiple && below(doing, 2) == 0) {
        method = (struct method){
            .id = METHOD_BASIC_REJECT,
            .basic_reject = {.delivery_tag = tag, .requeue = verdict == VERDICT_REQUEUE}};
    } else if (verdict != VERDICT_ACK) {
        method = (struct method){.id = METHOD_BASIC_NACK,
                                 .basic_nack = {.delivery_tag = tag,
                                                .multiple = multiple,
                                                .requeue = verdict == VERDICT_REQUEUE}};
    }
    struct sent sent = sent_of(doing, end_settle);
    sent.tag = tag;
    sent.is_multiple = multiple;
    sent.verdict = verdict;
    sent.is_nacked = method.id == METHOD_BASIC_NACK;
    actor_send(doing->world, &method, &sent);
}

/* It holds while the delivery is open. */
static void
end_note(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    struct actor_channel *channel = channel_of(sent);
    for (uint32_t i = 0; i < channel->held_count; i++) {
        if (channel->held[i].tag == sent->tag) {
            channel->held[i].note = sent->note;
            world->history.sums.noted++;
        }
    }
}

/* Why it is rejected, or given back. What a publish in confirm mode or a transaction is, the
 * history knows; so notes are sent outside of them. */
static void
send_note(const struct doing *doing, uint64_t tag)
{
    struct server_publish publish = {
        .exchange = "bourse.control",
        .routing_key = "failure-note",
        .number = HISTORY_NONE,
        .size = BODY_SIZE_MIN,
        .noted_tag = tag,
        .note = ++doing->world->note_count,
    };
    struct sent sent = sent_of(doing, end_note);
    sent.tag = tag;
    sent.note = publish.note;
    note(doing, "note", tag, publish.note);
    doing->actor->in_flight[doing->number]++;
    server_publish(&doing->world->server, &publish, &sent);
}

/* Deliveries that the client has read: those that it has not settled, and those whose settlement is
 * on its way. */
static uint32_t
count_read(const struct actor_channel *channel, uint32_t *sent_count_out)
{
    uint32_t count = 0;
    *sent_count_out = 0;
    for (uint32_t i = 0; i < channel->held_count && channel->held[i].tag <= channel->read_tag;
         i++) {
        count += !channel->held[i].is_sent;
        *sent_count_out += channel->held[i].is_sent;
    }
    return count;
}

/* The place of one that is not settled, with so many such before it. */
static uint32_t
find_read(const struct actor_channel *channel, uint32_t before)
{
    uint32_t at = 0;
    while (channel->held[at].is_sent || before > 0) {
        before -= !channel->held[at].is_sent;
        at++;
    }
    return at;
}

/* Which tags are to be settled is different once the method under way is handled. */
static bool
is_recovering(const struct doing *doing)
{
    enum method_id answer = doing->channel->request.answer;
    return is_waiting(doing) &&
           (answer == METHOD_BASIC_RECOVER_OK || answer == METHOD_TX_ROLLBACK_OK);
}

/* Whether the broker still knows what was late, though all that is open should be so as well until
 * it hears of that. */
static bool
is_known_late(const struct actor_channel *channel)
{
    return channel->late_count > 0 &&
           channel->late_total + channel->held_count + channel->settled_count <
               ACK_TIMEOUT_TAGS_MAX / 2;
}

/* It does not know, or does not heed, that the broker has taken it back: that is no error, and does
 * nothing. */
static void
settle_late(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    uint32_t at = dice_below(&doing->world->service, channel->late_count);
    uint64_t tag = channel->late[at];
    channel->late[at] = channel->late[--channel->late_count];
    note(doing, "settle late", tag, 0);
    send_verdict(doing, tag, false, (enum verdict)dice_below(&doing->world->service, 3));
}

/* The delivery in that place, or all up to there. */
static void
send_settlement(const struct doing *doing, uint32_t last, bool multiple)
{
    struct actor_channel *channel = doing->channel;
    uint32_t at = below(doing, 10);
    enum verdict verdict = at < 7 ? VERDICT_ACK : at < 8 ? VERDICT_REJECT : VERDICT_REQUEUE;
    note(doing, "settle", channel->held[last].tag, (uint64_t)verdict * 2 + multiple);
    for (uint32_t i = multiple ? 0 : last; i <= last; i++) {
        channel->held[i].is_sent = true;
    }
    if (verdict != VERDICT_ACK && channel->mode == ACTOR_PLAIN &&
        doing->world->habits.noted_permille > 0 &&
        dice_chance(&doing->world->rest, doing->world->habits.noted_permille)) {
        send_note(doing, channel->held[last].tag);
    }
    send_verdict(doing, channel->held[last].tag, multiple, verdict);
}

/* Everything that it has read: most of it at once, and the rest behind that. */
static void
settle_all(const struct doing *doing, uint32_t read_count)
{
    uint32_t single_count = read_count < 4 ? read_count - 1 : 3;
    send_settlement(doing, find_read(doing->channel, read_count - 1 - single_count), true);
    for (uint32_t i = 0; i < single_count; i++) {
        send_settlement(doing, find_read(doing->channel, 0), false);
    }
}

static bool
settles_all(const struct doing *doing)
{
    uint32_t permille = doing->world->habits.settles_all_permille;
    return permille > 0 && dice_chance(&doing->world->service, permille);
}

static bool
do_settle(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    uint32_t sent_count;
    uint32_t read_count = count_read(channel, &sent_count);
    bool is_tx = doing->channel->mode == ACTOR_TX;
    if (read_count == 0 || is_recovering(doing)) {
        return false;
    }
    if (is_tx && channel->settled_count + sent_count + read_count > TX_SETTLED_MAX) {
        return false;
    }
    if (is_known_late(channel) && dice_below(&doing->world->service, 4) == 0) {
        settle_late(doing);
    } else if (settles_all(doing)) {
        settle_all(doing, read_count);
    } else {
        uint32_t last = find_read(channel, below(doing, read_count));
        send_settlement(doing, last, below(doing, 4) == 0);
    }
    return true;
}

/* Everything goes back to its queue. */
static void
end_recover(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    struct actor_channel *channel = channel_of(sent);
    for (uint32_t i = 0; i < channel->held_count; i++) {
        actor_check_verdict(world, &channel->held[i], HISTORY_NO_VERDICT);
        actor_free_place(world, &channel->held[i]);
        history_give_back(&world->history, channel->held[i].queue, channel->held[i].copy);
    }
    channel->held_count = 0;
}

static bool
do_recover(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    note(doing, "recover", 0, 0);
    struct method method = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    struct sent sent = sent_of(doing, end_recover);
    actor_ask(doing->world, &method, METHOD_BASIC_RECOVER_OK, &sent);
    return true;
}

/* Getting and consuming ------------------------------------------------------------------------ */

void
actor_end_get(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    uint32_t name = world->history.queues[sent->queue].name;
    uint32_t queue = history_find_queue(&world->history, name);
    if (queue != HISTORY_NONE) {
        history_use_queue(&world->history, queue, false);
    }
}

static bool
do_get(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (!may_ask(doing) || queue == HISTORY_NONE) {
        return false;
    }
    bool no_ack = below(doing, 3) == 0;
    note(doing, "get", queue, no_ack);
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = named_queue(doing, queue), .no_ack = no_ack}};
    struct actor_request *request = &doing->channel->request;
    *request = (struct actor_request){
        .answer = no_ack ? METHOD_BASIC_GET_EMPTY : METHOD_BASIC_GET_OK,
        .is_waiting = true,
        .queue = queue,
    };
    struct sent sent = sent_of(doing, actor_end_get);
    sent.queue = queue;
    sent.happens_at_once = true;
    sent_lock_queue(&sent, queue_lock(doing, queue));
    actor_send(doing->world, &method, &sent);
    return true;
}

static void
end_consume(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    struct actor_consumer *consumer = &channel_of(sent)->consumers[sent->consumer];
    consumer->is_there = true;
    consumer->prefetch = channel_of(sent)->prefetch;
    history_use_queue(&world->history, sent->queue, false);
    history_add_consumer(&world->history, sent->queue, consumer->number, consumer->priority);
}

static void
put_consume_arguments(const struct actor_consumer_terms *terms, struct buffer *arguments)
{
    if (terms->priority != 0) {
        table_put_integer(arguments, "x-priority", terms->priority);
    }
    if (terms->timeout_ms >= 0) {
        table_put_integer(arguments, "x-consumer-timeout", terms->timeout_ms);
    }
}

void
actor_consume(struct world *world, struct actor *actor, uint16_t number,
              const struct actor_consumer_terms *terms)
{
    struct doing doing = {
        .world = world,
        .actor = actor,
        .channel = actor_channel(actor, number),
        .number = number,
    };
    doing.channel->consumers[terms->at] =
        (struct actor_consumer){.queue = terms->queue,
                                .is_on = true,
                                .no_ack = terms->no_ack,
                                .priority = terms->priority,
                                .timeout_ms = terms->timeout_ms,
                                .number = ++world->consumer_count};
    note(&doing, "consume", terms->queue, terms->no_ack);
    char tag[] = {'c', (char)('0' + terms->at)};
    struct buffer arguments;
    buffer_init(&arguments);
    put_consume_arguments(terms, &arguments);
    struct method method = {.id = METHOD_BASIC_CONSUME,
                            .basic_consume = {.queue = named_queue(&doing, terms->queue),
                                              .consumer_tag = bytes_make(tag, sizeof(tag)),
                                              .no_ack = terms->no_ack,
                                              .arguments = buffer_bytes(&arguments)}};
    struct sent sent = sent_of(&doing, end_consume);
    sent.queue = terms->queue;
    sent.consumer = terms->at;
    ask_about_queue(&doing, &method, METHOD_BASIC_CONSUME_OK, &sent);
    buffer_fini(&arguments);
}

/* Mostly none. */
static int32_t
choose_consumer_priority(const struct doing *doing)
{
    struct dice *dice = &doing->world->service;
    static const int32_t priorities[] = {0, 1, 5, -3};
    return dice_chance(dice, doing->world->habits.ranked_permille)
               ? priorities[dice_below(dice, ARRAY_LEN(priorities))]
               : 0;
}

/* Mostly that of the queue; 0 is for ever. */
static int64_t
choose_timeout_ms(const struct doing *doing)
{
    struct dice *dice = &doing->world->service;
    static const int64_t timeouts_ms[] = {0, 100, 700, 3000};
    return dice_chance(dice, doing->world->habits.timeout_permille / 2)
               ? timeouts_ms[dice_below(dice, ARRAY_LEN(timeouts_ms))]
               : -1;
}

static bool
do_consume(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    uint32_t at = below(doing, ACTOR_CONSUMERS);
    const struct actor_consumer *consumer = &doing->channel->consumers[at];
    if (!may_ask(doing) || queue == HISTORY_NONE || consumer->is_on || consumer->awaits_cancel) {
        return false;
    }
    struct actor_consumer_terms terms = {
        .at = at,
        .queue = queue,
        .no_ack = below(doing, 4) == 0,
        .priority = choose_consumer_priority(doing),
        .timeout_ms = choose_timeout_ms(doing),
    };
    actor_consume(doing->world, doing->actor, doing->number, &terms);
    return true;
}

static void
end_cancel(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    struct actor_consumer *consumer = &channel_of(sent)->consumers[sent->consumer];
    if (consumer->is_on) {
        history_use_queue(&world->history, consumer->queue, false);
        history_end_consumer(&world->history, consumer->queue, consumer->number);
    }
    consumer->is_on = false;
}

static bool
cancel(const struct doing *doing, uint32_t at)
{
    const struct actor_consumer *consumer = &doing->channel->consumers[at];
    if (!may_ask(doing) || !consumer->is_on) {
        return false;
    }
    note(doing, "cancel", consumer->queue, at);
    char tag[] = {'c', (char)('0' + at)};
    struct method method = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_make(tag, sizeof(tag))}};
    struct sent sent = sent_of(doing, end_cancel);
    sent.consumer = at;
    actor_ask(doing->world, &method, METHOD_BASIC_CANCEL_OK, &sent);
    return true;
}

static bool
do_cancel(const struct doing *doing)
{
    return cancel(doing, below(doing, ACTOR_CONSUMERS));
}

bool
actor_cancel_first(struct world *world, struct actor *actor, uint16_t number)
{
    struct doing doing = {
        .world = world,
        .actor = actor,
        .channel = actor_channel(actor, number),
        .number = number,
    };
    return cancel(&doing, 0);
}

static void
end_qos(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)world;
    (void)span;
    struct actor_channel *channel = channel_of(sent);
    if (sent->is_global) {
        channel->prefetch_all = sent->prefetch;
    } else {
        channel->prefetch = sent->prefetch;
    }
}

static bool
do_qos(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    uint16_t prefetch_count = (uint16_t)below(doing, 20);
    bool is_global = below(doing, 4) == 0;
    note(doing, "qos", prefetch_count, is_global);
    struct method method = {.id = METHOD_BASIC_QOS,
                            .basic_qos = {.prefetch_count = prefetch_count, .global = is_global}};
    struct sent sent = sent_of(doing, end_qos);
    sent.prefetch = prefetch_count;
    sent.is_global = is_global;
    actor_ask(doing->world, &method, METHOD_BASIC_QOS_OK, &sent);
    return true;
}

/* Topology ------------------------------------------------------------------------------------- */

static uint64_t
broker_queue_id(const struct world *world, struct bytes name)
{
    const struct vhost *vhost = core_find_vhost(world->server.core, bytes_of("/"));
    const struct queue *queue = vhost_find_queue(vhost, name);
    return queue == NULL ? 0 : queue->target.id;
}

/* The answer gives the number of ready messages. */
static void
expect_count(const struct world *world, struct actor_request *request, uint32_t queue)
{
    const struct history_queue *known = &world->history.queues[queue];
    request->queue = queue;
    request->ready_count = known->ready_count + known->due_count;
    request->maybe_count = known->maybe_count + known->due_count;
    request->is_durable = known->is_durable;
}

static uint32_t
make_queue(struct world *world, const struct sent *sent, uint64_t id, struct history_span span)
{
    struct history_settings settings = world_settings(world, sent->name);
    uint32_t handle =
        history_make_queue(&world->history, sent->name, id, sent->is_durable, settings.limit, span);
    struct history_queue *queue = &world->history.queues[handle];
    history_change_settings(&world->history, handle, &settings);
    queue->level_max = world_level_max(world, sent->name);
    queue->is_quorum = world_is_quorum(world, sent->name);
    queue->is_single_active = world_is_single_active(world, sent->name);
    queue->is_governed = world_is_governed(world, sent->name);
    queue->expires_ms = world_expires_ms(world, sent->name);
    return handle;
}

static void
end_declare_queue(struct world *world, const struct sent *sent, struct history_span span)
{
    uint32_t queue = history_find_queue(&world->history, sent->name);
    if (queue == HISTORY_NONE) {
        uint64_t id = broker_queue_id(world, bytes_of(sim_queue_name(sent->name)));
        queue = make_queue(world, sent, id, span);
    }
    history_use_queue(&world->history, queue, false);
    struct actor_request *request = request_of(sent);
    expect_count(world, request, queue);
    request->span = world->history.queues[queue].made;
}

static bool
do_declare_queue(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    struct history *history = history_of(doing);
    uint32_t name = choose_queue_name(doing);
    struct name_lock *lock = &doing->world->queue_locks[name];
    uint32_t queue = history_find_queue(history, name);
    bool is_durable = dice_chance(&doing->world->dice, doing->world->habits.durable_permille);
    struct sent sent = sent_of(doing, end_declare_queue);
    sent.is_changing = queue == HISTORY_NONE;
    if (sent.is_changing ? !sent_may_change(lock) : find_queue(doing, name) == HISTORY_NONE) {
        return false;
    }
    sent.name = name;
    sent.is_durable = sent.is_changing ? is_durable || world_is_quorum(doing->world, name)
                                       : history->queues[queue].is_durable;
    note(doing, "declare queue", name, sent.is_durable);
    struct buffer arguments;
    buffer_init(&arguments);
    world_put_arguments(doing->world, name, &arguments);
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(sim_queue_name(name)),
                                              .durable = sent.is_durable,
                                              .arguments = buffer_bytes(&arguments)}};
    sent_lock_queue(&sent, lock);
    actor_ask(doing->world, &method, METHOD_QUEUE_DECLARE_OK, &sent);
    buffer_fini(&arguments);
    return true;
}

/* The broker cancels the consumers of a queue that goes; some were told of it on the way, others
 * will be. */
static void
end_consumers(struct world *world, uint32_t queue)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        for (uint32_t j = 0; j < ACTOR_CHANNELS; j++) {
            for (uint32_t k = 0; k < ACTOR_CONSUMERS; k++) {
                struct actor_consumer *consumer = &world->actors[i].channels[j].consumers[k];
                consumer->awaits_cancel |=
                    !world->actors[i].is_deaf && consumer->is_on && consumer->queue == queue;
                consumer->is_on = consumer->is_on && consumer->queue != queue;
            }
        }
    }
}

static void
end_delete_queue(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_request *request = request_of(sent);
    request->span = span;
    expect_count(world, request, sent->queue);
    history_drop_queue(&world->history, sent->queue, span);
    end_consumers(world, sent->queue);
}

static bool
do_delete_queue(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (!may_ask(doing) || queue == HISTORY_NONE || !sent_may_change(queue_lock(doing, queue))) {
        return false;
    }
    note(doing, "delete queue", queue, 0);
    struct method method = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = named_queue(doing, queue)}};
    struct sent sent = sent_of(doing, end_delete_queue);
    sent.queue = queue;
    sent.deleting_queue = queue;
    sent.is_changing = true;
    ask_about_queue(doing, &method, METHOD_QUEUE_DELETE_OK, &sent);
    return true;
}

static void
end_purge(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_request *request = request_of(sent);
    request->span = span;
    expect_count(world, request, sent->queue);
    request->is_unfinished = !queue_discards_is_empty(&world->server.core->discards);
    request->is_durable = history_purge(&world->history, sent->queue, span.first);
    world->purge_count++;
}

static bool
do_purge(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (!may_ask(doing) || queue == HISTORY_NONE) {
        return false;
    }
    note(doing, "purge", queue, 0);
    struct method method = {.id = METHOD_QUEUE_PURGE,
                            .queue_purge = {.queue = named_queue(doing, queue)}};
    struct sent sent = sent_of(doing, end_purge);
    sent.queue = queue;
    sent.happens_at_once = true;
    ask_about_queue(doing, &method, METHOD_QUEUE_PURGE_OK, &sent);
    return true;
}

static void
end_declare_exchange(struct world *world, const struct sent *sent, struct history_span span)
{
    uint32_t exchange = history_find_exchange(&world->history, sent->name);
    if (exchange == HISTORY_NONE) {
        exchange =
            history_make_exchange(&world->history, sent->name, sent->kind, sent->is_durable, span);
        world->history.exchanges[exchange].is_delayed = sent->is_delayed;
    }
    struct actor_request *request = request_of(sent);
    request->is_durable = sent->is_durable;
    request->span = world->history.exchanges[exchange].made;
}

static const char *const exchange_types[HISTORY_KINDS] = {
    [HISTORY_DIRECT] = "direct",
    [HISTORY_FANOUT] = "fanout",
    [HISTORY_CONSISTENT_HASH] = "x-consistent-hash",
    [HISTORY_MODULUS_HASH] = "x-modulus-hash",
    [HISTORY_RANDOM] = "x-random",
};

static enum history_kind
choose_kind(const struct doing *doing)
{
    struct world *world = doing->world;
    enum history_kind kind = below(doing, 2) == 0 ? HISTORY_FANOUT : HISTORY_DIRECT;
    bool is_hashed = world->habits.hashed_permille > 0 &&
                     dice_chance(&world->rest, world->habits.hashed_permille);
    return is_hashed ? (enum history_kind)(HISTORY_CONSISTENT_HASH + dice_below(&world->rest, 3))
                     : kind;
}

static bool
do_declare_exchange(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    struct history *history = history_of(doing);
    uint32_t name = below(doing, doing->world->habits.exchange_names);
    struct name_lock *lock = &doing->world->exchange_locks[name];
    uint32_t exchange = history_find_exchange(history, name);
    struct sent sent = sent_of(doing, end_declare_exchange);
    sent.name = name;
    sent.is_durable = dice_chance(&doing->world->dice, doing->world->habits.durable_permille);
    sent.kind = choose_kind(doing);
    sent.is_delayed = dice_chance(&doing->world->delays, doing->world->habits.delayed_permille);
    sent.is_changing = exchange == HISTORY_NONE;
    if (sent.is_changing ? !sent_may_change(lock) : !sent_may_use(lock)) {
        return false;
    }
    if (exchange != HISTORY_NONE) {
        sent.is_durable = history->exchanges[exchange].is_durable;
        sent.kind = history->exchanges[exchange].kind;
        sent.is_delayed = history->exchanges[exchange].is_delayed;
    }
    note(doing, "declare exchange", name, (uint64_t)sent.is_durable * 2 + sent.kind);
    const char *type = exchange_types[sent.kind];
    struct buffer arguments;
    buffer_init(&arguments);
    if (sent.is_delayed) {
        table_put_text(&arguments, "x-delayed-type", bytes_of(type));
    }
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(sim_exchange_name(name)),
                             .type = bytes_of(sent.is_delayed ? "x-delayed-message" : type),
                             .durable = sent.is_durable,
                             .arguments = buffer_bytes(&arguments)},
    };
    sent_lock_exchange(&sent, lock);
    actor_ask(doing->world, &method, METHOD_EXCHANGE_DECLARE_OK, &sent);
    buffer_fini(&arguments);
    return true;
}

static void
end_delete_exchange(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_request *request = request_of(sent);
    request->span = span;
    request->is_durable = world->history.exchanges[sent->exchange].is_durable;
    history_drop_exchange(&world->history, sent->exchange, span);
}

static bool
do_delete_exchange(const struct doing *doing)
{
    uint32_t exchange = choose_exchange(doing);
    if (!may_ask(doing) || exchange == HISTORY_NONE ||
        !sent_may_change(exchange_lock(doing, exchange))) {
        return false;
    }
    note(doing, "delete exchange", exchange, 0);
    struct method method = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = exchange_name(doing, exchange)}};
    struct sent sent = sent_of(doing, end_delete_exchange);
    sent.exchange = exchange;
    sent.is_changing = true;
    sent_lock_exchange(&sent, exchange_lock(doing, exchange));
    actor_ask(doing->world, &method, METHOD_EXCHANGE_DELETE_OK, &sent);
    return true;
}

static void
end_bind(struct world *world, const struct sent *sent, struct history_span span)
{
    struct history *history = &world->history;
    struct actor_request *request = request_of(sent);
    request->span = history_bind(history, sent->exchange, sent->queue, sent->key, span);
    request->is_durable =
        history->queues[sent->queue].is_durable && history->exchanges[sent->exchange].is_durable;
}

/* Sends a method about a queue and an exchange, both as they are. */
static void
ask_about_binding(const struct doing *doing, const struct method *method, enum method_id answer,
                  struct sent *sent)
{
    sent_lock_exchange(sent, exchange_lock(doing, sent->exchange));
    ask_about_queue(doing, method, answer, sent);
}

static bool
do_bind(const struct doing *doing)
{
    uint32_t queue = choose_queue(doing);
    uint32_t exchange = choose_exchange(doing);
    if (!may_ask(doing) || queue == HISTORY_NONE || exchange == HISTORY_NONE) {
        return false;
    }
    struct sent sent = sent_of(doing, end_bind);
    sent.queue = queue;
    sent.exchange = exchange;
    sent.key = below(doing, doing->world->habits.key_names);
    note(doing, "bind", exchange, queue);
    struct method method = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = named_queue(doing, queue),
                       .exchange = exchange_name(doing, exchange),
                       .routing_key = bytes_of(sim_key_name(0, sent.key))},
    };
    ask_about_binding(doing, &method, METHOD_QUEUE_BIND_OK, &sent);
    return true;
}

/* Somebody else may have been first. */
static const struct history_binding *
find_binding(const struct history *history, const struct sent *sent)
{
    for (uint32_t i = 0; i < history->binding_count; i++) {
        const struct history_binding *binding = &history->bindings[i];
        if (binding->presence == HISTORY_PRESENT && binding->queue == sent->queue &&
            binding->exchange == sent->exchange && binding->key == sent->key) {
            return binding;
        }
    }
    return NULL;
}

static void
end_unbind(struct world *world, const struct sent *sent, struct history_span span)
{
    const struct history_binding *binding = find_binding(&world->history, sent);
    struct actor_request *request = request_of(sent);
    request->span = span;
    request->is_durable = binding != NULL && binding->is_durable;
    history_unbind(&world->history, sent->exchange, sent->queue, sent->key, span);
}

static bool
do_unbind(const struct doing *doing)
{
    struct history *history = history_of(doing);
    if (!may_ask(doing) || history->binding_count == 0) {
        return false;
    }
    const struct history_binding binding = history->bindings[below(doing, history->binding_count)];
    if (binding.presence != HISTORY_PRESENT ||
        find_queue(doing, history->queues[binding.queue].name) == HISTORY_NONE ||
        !sent_may_use(exchange_lock(doing, binding.exchange))) {
        return false;
    }
    note(doing, "unbind", binding.exchange, binding.queue);
    struct sent sent = sent_of(doing, end_unbind);
    sent.queue = binding.queue;
    sent.exchange = binding.exchange;
    sent.key = binding.key;
    struct method method = {
        .id = METHOD_QUEUE_UNBIND,
        .queue_unbind = {.queue = named_queue(doing, binding.queue),
                         .exchange = exchange_name(doing, binding.exchange),
                         .routing_key = bytes_of(sim_key_name(0, binding.key))},
    };
    ask_about_binding(doing, &method, METHOD_QUEUE_UNBIND_OK, &sent);
    return true;
}

/* Transactions --------------------------------------------------------------------------------- */

static void
end_commit(struct world *world, const struct sent *sent, struct history_span span)
{
    struct actor_channel *channel = channel_of(sent);
    struct actor_request *request = &channel->request;
    request->span = (struct history_span){span.last, span.last}; /* whole or nothing */
    for (uint32_t i = 0; i < channel->published_count; i++) {
        struct history_message *message = &world->history.messages[channel->published[i]];
        bool takes[HISTORY_TARGETS_MAX];
        message->due_ms = message->due_ms < world->history.now_ms ? 0 : message->due_ms;
        world_find_takers(world, channel->published[i], takes);
        history_commit(&world->history, channel->published[i], takes, request->span);
        request->is_durable |= world->history.messages[channel->published[i]].is_logged;
    }
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        const struct actor_held *held = &channel->settled[i];
        request->is_durable |=
            !held->is_returned && history_copy_is_logged(&world->history, held->queue, held->copy);
        settle(world, held, request->span);
    }
    channel->published_count = 0;
    channel->settled_count = 0;
}

static bool
do_commit(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    if (!may_ask(doing) || channel->mode != ACTOR_TX) {
        return false;
    }
    note(doing, "commit", channel->published_count, channel->settled_count);
    struct method method = {.id = METHOD_TX_COMMIT};
    struct sent sent = sent_of(doing, end_commit);
    sent.happens_at_once = true; /* though its answer may wait for dead letters */
    actor_ask(doing->world, &method, METHOD_TX_COMMIT_OK, &sent);
    return true;
}

static int
compare_tags(const void *a, const void *b)
{
    uint64_t first = ((const struct actor_held *)a)->tag;
    uint64_t second = ((const struct actor_held *)b)->tag;
    return (first > second) - (first < second);
}

static void
end_rollback(struct world *world, const struct sent *sent, struct history_span span)
{
    (void)span;
    struct actor_channel *channel = channel_of(sent);
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        channel->settled[i].is_sent = false;
        channel->settled[i].reopened_ms = world->history.now_ms;
        *HISTORY_PUSH(channel->held, channel->held_count, channel->held_capacity) =
            channel->settled[i];
    }
    if (channel->held_count > 0) {
        qsort(channel->held, channel->held_count, sizeof(*channel->held), compare_tags);
    }
    channel->published_count = 0;
    channel->settled_count = 0;
}

static bool
do_rollback(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    if (!may_ask(doing) || channel->mode != ACTOR_TX) {
        return false;
    }
    note(doing, "rollback", channel->published_count, channel->settled_count);
    struct method method = {.id = METHOD_TX_ROLLBACK};
    struct sent sent = sent_of(doing, end_rollback);
    actor_ask(doing->world, &method, METHOD_TX_ROLLBACK_OK, &sent);
    return true;
}

/* Ends ----------------------------------------------------------------------------------------- */

static bool
do_close_channel(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    note(doing, "close channel", 0, 0);
    struct method method = {.id = METHOD_CHANNEL_CLOSE, .channel_close = {.reply_code = 200}};
    doing->channel->state = CHANNEL_SHUTTING;
    struct sent sent = sent_of(doing, NULL);
    actor_ask(doing->world, &method, METHOD_CHANNEL_CLOSE_OK, &sent);
    return true;
}

/* The client settles what it has never got, and does not know yet what it has done. */
static bool
do_fault(const struct doing *doing)
{
    if (!may_ask(doing)) {
        return false;
    }
    note(doing, "fault", 0, 0);
    struct method method = {.id = METHOD_BASIC_ACK,
                            .basic_ack = {.delivery_tag = UINT64_C(1) << 40}};
    struct sent sent = sent_of(doing, NULL);
    sent.breaks_channel = true;
    doing->channel->is_faulty = true;
    actor_send(doing->world, &method, &sent);
    return true;
}

static bool
do_hang_up(const struct doing *doing)
{
    actor_hang_up(doing->world, doing->actor);
    return true;
}

bool
actor_do(struct world *world, struct actor *actor, uint16_t number, enum actor_op op)
{
    static bool (*const functions[ACTOR_OP_COUNT])(const struct doing *) = {
        [ACTOR_PUBLISH] = do_publish,
        [ACTOR_SETTLE] = do_settle,
        [ACTOR_GET] = do_get,
        [ACTOR_CONSUME] = do_consume,
        [ACTOR_CANCEL] = do_cancel,
        [ACTOR_RECOVER] = do_recover,
        [ACTOR_QOS] = do_qos,
        [ACTOR_DECLARE_QUEUE] = do_declare_queue,
        [ACTOR_DELETE_QUEUE] = do_delete_queue,
        [ACTOR_PURGE] = do_purge,
        [ACTOR_DECLARE_EXCHANGE] = do_declare_exchange,
        [ACTOR_DELETE_EXCHANGE] = do_delete_exchange,
        [ACTOR_BIND] = do_bind,
        [ACTOR_UNBIND] = do_unbind,
        [ACTOR_COMMIT] = do_commit,
        [ACTOR_ROLLBACK] = do_rollback,
        [ACTOR_CLOSE_CHANNEL] = do_close_channel,
        [ACTOR_HANG_UP] = do_hang_up,
        [ACTOR_FAULT] = do_fault,
    };
    struct doing doing = {
        .world = world,
        .actor = actor,
        .channel = actor_channel(actor, number),
        .number = number,
    };
    bool may_do = !doing.channel->is_faulty || op == ACTOR_PUBLISH || op == ACTOR_HANG_UP;
    return may_do && functions[op](&doing);
}
