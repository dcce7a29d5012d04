/* SPDX-License-Identifier: Apache-2.0 */
/* What clients do. Each operation goes to the core first and into the history right behind it: what
 * the core sends while it handles the method is older than the method's effect. */
#include <stdlib.h>

#include "base/assert.h"
#include "broker/channel.h"
#include "broker/connection.h"
#include "broker/vhost.h"
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

/* What is sent now may be handled later, so that the history would hear of it too early. */
static bool
is_held(const struct doing *doing)
{
    return is_waiting(doing) && doing->channel->request.holds_channel;
}

static struct actor_request *
ask(const struct doing *doing, const struct method *method, enum method_id answer)
{
    return actor_ask(doing->world, doing->actor, doing->number, method, answer);
}

/* A method that would wait behind an answer is not sent: nobody could tell when it is handled. */
static bool
would_wait(const struct doing *doing)
{
    const struct connection *connection =
        core_find_connection(doing->world->server.core, doing->actor->link);
    const struct channel *channel = connection_find_channel(connection, doing->number);
    return channel != NULL && channel_has_waiting_answer(channel);
}

static uint32_t
choose_queue_name(const struct doing *doing)
{
    return below(doing, doing->world->habits.queue_names);
}

/* A queue that is there, or HISTORY_NONE. */
static uint32_t
choose_queue(const struct doing *doing)
{
    return history_find_queue(history_of(doing), choose_queue_name(doing));
}

/* One to take messages from. */
static uint32_t
choose_source(const struct doing *doing)
{
    uint32_t name = choose_queue_name(doing);
    if (name == 0 && doing->world->habits.hoards && below(doing, 50) != 0) {
        return HISTORY_NONE;
    }
    return history_find_queue(history_of(doing), name);
}

static uint32_t
choose_exchange(const struct doing *doing)
{
    return history_find_exchange(history_of(doing),
                                 below(doing, doing->world->habits.exchange_names));
}

static struct bytes
queue_name(const struct doing *doing, uint32_t queue)
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

/* The message that is to be published: into a queue by its name, or through an exchange. */
static uint32_t
attempt(const struct doing *doing)
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

static bool
is_too_much(const struct doing *doing)
{
    const struct history *history = history_of(doing);
    for (uint32_t name = 0; name < doing->world->habits.queue_names; name++) {
        uint32_t queue = history->queue_by_name[name];
        if (queue != HISTORY_NONE &&
            history->queues[queue].ready_count > doing->world->habits.ready_max) {
            return true;
        }
    }
    uint32_t published_max =
        doing->channel->mode == ACTOR_TX ? TX_PUBLISHES_MAX : doing->world->habits.ready_max;
    return doing->channel->published_count >= published_max;
}

static struct history_span
send_message(const struct doing *doing, uint32_t number)
{
    const struct history_message *message = &history_of(doing)->messages[number];
    struct server_publish publish = {
        .exchange = sim_exchange_name(message->exchange),
        .routing_key = sim_key_name(message->exchange, message->key),
        .number = number,
        .size = message->size,
        .is_persistent = message->is_persistent,
        .is_mandatory = below(doing, 4) == 0,
    };
    doing->world->publishing = number;
    struct history_span span =
        server_publish(&doing->world->server, doing->actor->link, doing->number, &publish);
    doing->world->publishing = HISTORY_NONE;
    return span;
}

static bool
do_publish(const struct doing *doing)
{
    bool is_blocked = doing->world->server.core->alarms != 0;
    if (is_held(doing) || is_blocked || is_too_much(doing)) {
        return false;
    }
    uint32_t number = attempt(doing);
    note(doing, "publish", number, history_of(doing)->messages[number].target_count);
    struct actor_channel *channel = doing->channel;
    struct history_span span = send_message(doing, number);
    if (channel->mode != ACTOR_TX) {
        history_enqueue(history_of(doing), number,
                        (struct history_span){.first = span.last, .last = span.last});
    }
    if (channel->mode != ACTOR_PLAIN) {
        *HISTORY_PUSH(channel->published, channel->published_count, channel->published_capacity) =
            number;
    }
    return true;
}

/* Settling ------------------------------------------------------------------------------------- */

enum verdict { VERDICT_ACK, VERDICT_REJECT, VERDICT_REQUEUE };

static void
send_verdict(const struct doing *doing, uint64_t tag, bool multiple, enum verdict verdict,
             struct history_span *span_out)
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
    actor_send(doing->world, doing->actor, doing->number, &method, span_out);
}

static void
settle(const struct doing *doing, const struct actor_held *held, struct history_span span)
{
    if (held->is_returned) {
        history_give_back(history_of(doing), held->queue, held->copy);
    } else {
        history_settle(history_of(doing), held->queue, held->copy, span);
    }
}

/* Takes the deliveries `first` to `last` out of what is held, settling them now or later. */
static void
take_held(const struct doing *doing, uint32_t first, uint32_t last, enum verdict verdict,
          struct history_span span)
{
    struct actor_channel *channel = doing->channel;
    for (uint32_t i = first; i <= last; i++) {
        struct actor_held held = channel->held[i];
        held.is_rejected = verdict == VERDICT_REJECT;
        held.is_returned = verdict == VERDICT_REQUEUE;
        if (channel->mode == ACTOR_TX) {
            *HISTORY_PUSH(channel->settled, channel->settled_count, channel->settled_capacity) =
                held;
        } else {
            settle(doing, &held, span);
        }
    }
    memmove(channel->held + first, channel->held + last + 1,
            (channel->held_count - last - 1) * sizeof(*channel->held));
    channel->held_count -= last - first + 1;
}

static bool
do_settle(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    uint32_t read_count = 0;
    while (read_count < channel->held_count && channel->held[read_count].tag <= channel->read_tag) {
        read_count++;
    }
    bool is_tx = doing->channel->mode == ACTOR_TX;
    if (read_count == 0 || (is_tx && is_held(doing))) {
        return false;
    }
    if (is_tx && channel->settled_count + read_count > TX_SETTLED_MAX) {
        return false;
    }
    uint32_t last = below(doing, read_count);
    bool multiple = below(doing, 4) == 0;
    uint32_t at = below(doing, 10);
    enum verdict verdict = at < 7 ? VERDICT_ACK : at < 8 ? VERDICT_REJECT : VERDICT_REQUEUE;
    note(doing, "settle", channel->held[last].tag, (uint64_t)verdict * 2 + multiple);
    struct history_span span;
    send_verdict(doing, channel->held[last].tag, multiple, verdict, &span);
    take_held(doing, multiple ? 0 : last, last, verdict, span);
    return true;
}

static bool
do_recover(const struct doing *doing)
{
    if (is_waiting(doing) || would_wait(doing)) {
        return false;
    }
    note(doing, "recover", 0, 0);
    struct method method = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    (void)ask(doing, &method, METHOD_BASIC_RECOVER_OK);
    for (uint32_t i = 0; i < doing->channel->held_count; i++) {
        history_give_back(history_of(doing), doing->channel->held[i].queue,
                          doing->channel->held[i].copy);
    }
    doing->channel->held_count = 0;
    return true;
}

/* Getting and consuming ------------------------------------------------------------------------ */

static bool
do_get(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (is_waiting(doing) || queue == HISTORY_NONE || would_wait(doing)) {
        return false;
    }
    bool no_ack = below(doing, 3) == 0;
    note(doing, "get", queue, no_ack);
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = queue_name(doing, queue), .no_ack = no_ack}};
    struct actor_request *request = &doing->channel->request;
    *request = (struct actor_request){
        .answer = no_ack ? METHOD_BASIC_GET_EMPTY : METHOD_BASIC_GET_OK,
        .is_waiting = true,
        .holds_channel = true,
        .queue = queue,
    };
    actor_send(doing->world, doing->actor, doing->number, &method, NULL);
    return true;
}

static bool
do_consume(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    uint32_t at = below(doing, ACTOR_CONSUMERS);
    struct actor_consumer *consumer = &doing->channel->consumers[at];
    if (is_waiting(doing) || queue == HISTORY_NONE || consumer->is_on || consumer->awaits_cancel ||
        would_wait(doing)) {
        return false;
    }
    *consumer =
        (struct actor_consumer){.queue = queue, .is_on = true, .no_ack = below(doing, 4) == 0};
    note(doing, "consume", queue, consumer->no_ack);
    char tag[] = {'c', (char)('0' + at)};
    struct method method = {.id = METHOD_BASIC_CONSUME,
                            .basic_consume = {.queue = queue_name(doing, queue),
                                              .consumer_tag = bytes_make(tag, sizeof(tag)),
                                              .no_ack = consumer->no_ack}};
    (void)ask(doing, &method, METHOD_BASIC_CONSUME_OK);
    return true;
}

static bool
do_cancel(const struct doing *doing)
{
    uint32_t at = below(doing, ACTOR_CONSUMERS);
    struct actor_consumer *consumer = &doing->channel->consumers[at];
    if (is_waiting(doing) || !consumer->is_on) {
        return false;
    }
    note(doing, "cancel", consumer->queue, at);
    char tag[] = {'c', (char)('0' + at)};
    struct method method = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_make(tag, sizeof(tag))}};
    (void)ask(doing, &method, METHOD_BASIC_CANCEL_OK);
    consumer->is_on = false;
    return true;
}

static bool
do_qos(const struct doing *doing)
{
    if (is_waiting(doing)) {
        return false;
    }
    uint16_t prefetch_count = (uint16_t)below(doing, 20);
    bool is_global = below(doing, 4) == 0;
    note(doing, "qos", prefetch_count, is_global);
    struct method method = {.id = METHOD_BASIC_QOS,
                            .basic_qos = {.prefetch_count = prefetch_count, .global = is_global}};
    (void)ask(doing, &method, METHOD_BASIC_QOS_OK);
    return true;
}

/* Topology ------------------------------------------------------------------------------------- */

static uint64_t
broker_queue_id(const struct doing *doing, struct bytes name)
{
    const struct vhost *vhost = core_find_vhost(doing->world->server.core, bytes_of("/"));
    const struct queue *queue = vhost_find_queue(vhost, name);
    return queue == NULL ? 0 : queue->target.id;
}

/* The answer gives the number of ready messages. */
static void
expect_count(const struct doing *doing, struct actor_request *request, uint32_t queue)
{
    request->queue = queue;
    request->ready_count = history_of(doing)->queues[queue].ready_count;
    request->maybe_count = history_of(doing)->queues[queue].maybe_count;
    request->is_durable = history_of(doing)->queues[queue].is_durable;
}

static bool
do_declare_queue(const struct doing *doing)
{
    if (is_waiting(doing)) {
        return false;
    }
    struct history *history = history_of(doing);
    uint32_t name = choose_queue_name(doing);
    uint32_t queue = history_find_queue(history, name);
    bool is_durable = dice_chance(&doing->world->dice, doing->world->habits.durable_permille);
    bool is_new = queue == HISTORY_NONE;
    if (!is_new) {
        is_durable = history->queues[queue].is_durable;
    }
    note(doing, "declare queue", name, is_durable);
    struct bytes text = bytes_of(sim_queue_name(name));
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = text, .durable = is_durable}};
    struct actor_request *request = ask(doing, &method, METHOD_QUEUE_DECLARE_OK);
    if (is_new) {
        queue = history_make_queue(history, name, broker_queue_id(doing, text), is_durable,
                                   request->span);
    }
    expect_count(doing, request, queue);
    request->span = history->queues[queue].made;
    return true;
}

/* The broker cancels the consumers of a queue that goes; some were told of it on the way, others
 * will be. */
static void
end_consumers(const struct doing *doing, uint32_t queue)
{
    for (uint32_t i = 0; i < ACTORS_MAX; i++) {
        for (uint32_t j = 0; j < ACTOR_CHANNELS; j++) {
            for (uint32_t k = 0; k < ACTOR_CONSUMERS; k++) {
                struct actor_consumer *consumer = &doing->world->actors[i].channels[j].consumers[k];
                consumer->awaits_cancel |= consumer->is_on && consumer->queue == queue;
                consumer->is_on = consumer->is_on && consumer->queue != queue;
            }
        }
    }
}

static bool
do_delete_queue(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (is_waiting(doing) || queue == HISTORY_NONE) {
        return false;
    }
    note(doing, "delete queue", queue, 0);
    struct method method = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = queue_name(doing, queue)}};
    doing->world->deleting_queue = queue;
    struct actor_request *request = ask(doing, &method, METHOD_QUEUE_DELETE_OK);
    doing->world->deleting_queue = HISTORY_NONE;
    expect_count(doing, request, queue);
    history_drop_queue(history_of(doing), queue, request->span);
    end_consumers(doing, queue);
    return true;
}

static bool
do_purge(const struct doing *doing)
{
    uint32_t queue = choose_source(doing);
    if (is_waiting(doing) || queue == HISTORY_NONE) {
        return false;
    }
    note(doing, "purge", queue, 0);
    struct method method = {.id = METHOD_QUEUE_PURGE,
                            .queue_purge = {.queue = queue_name(doing, queue)}};
    struct actor_request *request = ask(doing, &method, METHOD_QUEUE_PURGE_OK);
    expect_count(doing, request, queue);
    request->holds_channel = true;
    request->is_unfinished = !queue_discards_is_empty(&doing->world->server.core->discards);
    request->is_durable = history_purge(history_of(doing), queue, request->span.first);
    doing->world->purge_count++;
    return true;
}

static bool
do_declare_exchange(const struct doing *doing)
{
    if (is_waiting(doing)) {
        return false;
    }
    struct history *history = history_of(doing);
    uint32_t name = below(doing, doing->world->habits.exchange_names);
    uint32_t exchange = history_find_exchange(history, name);
    bool is_durable = dice_chance(&doing->world->dice, doing->world->habits.durable_permille);
    bool is_fanout = below(doing, 2) == 0;
    if (exchange != HISTORY_NONE) {
        is_durable = history->exchanges[exchange].is_durable;
        is_fanout = history->exchanges[exchange].is_fanout;
    }
    note(doing, "declare exchange", name, (uint64_t)is_durable * 2 + is_fanout);
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(sim_exchange_name(name)),
                             .type = bytes_of(is_fanout ? "fanout" : "direct"),
                             .durable = is_durable},
    };
    struct actor_request *request = ask(doing, &method, METHOD_EXCHANGE_DECLARE_OK);
    if (exchange == HISTORY_NONE) {
        exchange = history_make_exchange(history, name, is_fanout, is_durable, request->span);
    }
    request->is_durable = is_durable;
    request->span = history->exchanges[exchange].made;
    return true;
}

static bool
do_delete_exchange(const struct doing *doing)
{
    uint32_t exchange = choose_exchange(doing);
    if (is_waiting(doing) || exchange == HISTORY_NONE) {
        return false;
    }
    note(doing, "delete exchange", exchange, 0);
    struct method method = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = exchange_name(doing, exchange)}};
    struct actor_request *request = ask(doing, &method, METHOD_EXCHANGE_DELETE_OK);
    request->is_durable = history_of(doing)->exchanges[exchange].is_durable;
    history_drop_exchange(history_of(doing), exchange, request->span);
    return true;
}

static bool
do_bind(const struct doing *doing)
{
    struct history *history = history_of(doing);
    uint32_t queue = choose_queue(doing);
    uint32_t exchange = choose_exchange(doing);
    if (is_waiting(doing) || queue == HISTORY_NONE || exchange == HISTORY_NONE) {
        return false;
    }
    uint32_t key = below(doing, doing->world->habits.key_names);
    note(doing, "bind", exchange, queue);
    struct method method = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = queue_name(doing, queue),
                       .exchange = exchange_name(doing, exchange),
                       .routing_key = bytes_of(sim_key_name(0, key))},
    };
    struct actor_request *request = ask(doing, &method, METHOD_QUEUE_BIND_OK);
    request->span = history_bind(history, exchange, queue, key, request->span);
    request->is_durable =
        history->queues[queue].is_durable && history->exchanges[exchange].is_durable;
    return true;
}

static bool
do_unbind(const struct doing *doing)
{
    struct history *history = history_of(doing);
    if (is_waiting(doing) || history->binding_count == 0) {
        return false;
    }
    const struct history_binding binding = history->bindings[below(doing, history->binding_count)];
    if (binding.presence != HISTORY_PRESENT) {
        return false;
    }
    note(doing, "unbind", binding.exchange, binding.queue);
    struct method method = {
        .id = METHOD_QUEUE_UNBIND,
        .queue_unbind = {.queue = queue_name(doing, binding.queue),
                         .exchange = exchange_name(doing, binding.exchange),
                         .routing_key = bytes_of(sim_key_name(0, binding.key))},
    };
    struct actor_request *request = ask(doing, &method, METHOD_QUEUE_UNBIND_OK);
    request->is_durable = binding.is_durable;
    history_unbind(history, binding.exchange, binding.queue, binding.key, request->span);
    return true;
}

/* Transactions --------------------------------------------------------------------------------- */

static bool
do_commit(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    if (is_waiting(doing) || channel->mode != ACTOR_TX) {
        return false;
    }
    note(doing, "commit", channel->published_count, channel->settled_count);
    struct method method = {.id = METHOD_TX_COMMIT};
    struct actor_request *request = ask(doing, &method, METHOD_TX_COMMIT_OK);
    request->span.first = request->span.last; /* whole or nothing */
    for (uint32_t i = 0; i < channel->published_count; i++) {
        history_enqueue(history_of(doing), channel->published[i], request->span);
        request->is_durable |= history_of(doing)->messages[channel->published[i]].is_logged;
    }
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        const struct actor_held *held = &channel->settled[i];
        request->is_durable |= !held->is_returned &&
                               history_copy_is_logged(history_of(doing), held->queue, held->copy);
        settle(doing, held, request->span);
    }
    channel->published_count = 0;
    channel->settled_count = 0;
    return true;
}

static int
compare_tags(const void *a, const void *b)
{
    uint64_t first = ((const struct actor_held *)a)->tag;
    uint64_t second = ((const struct actor_held *)b)->tag;
    return (first > second) - (first < second);
}

static bool
do_rollback(const struct doing *doing)
{
    struct actor_channel *channel = doing->channel;
    if (is_waiting(doing) || channel->mode != ACTOR_TX) {
        return false;
    }
    note(doing, "rollback", channel->published_count, channel->settled_count);
    struct method method = {.id = METHOD_TX_ROLLBACK};
    (void)ask(doing, &method, METHOD_TX_ROLLBACK_OK);
    for (uint32_t i = 0; i < channel->settled_count; i++) {
        *HISTORY_PUSH(channel->held, channel->held_count, channel->held_capacity) =
            channel->settled[i];
    }
    if (channel->held_count > 0) {
        qsort(channel->held, channel->held_count, sizeof(*channel->held), compare_tags);
    }
    channel->published_count = 0;
    channel->settled_count = 0;
    return true;
}

/* Ends ----------------------------------------------------------------------------------------- */

static bool
do_close_channel(const struct doing *doing)
{
    if (is_waiting(doing)) {
        return false;
    }
    note(doing, "close channel", 0, 0);
    struct method method = {.id = METHOD_CHANNEL_CLOSE, .channel_close = {.reply_code = 200}};
    doing->channel->state = CHANNEL_SHUTTING;
    (void)ask(doing, &method, METHOD_CHANNEL_CLOSE_OK);
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
    };
    struct doing doing = {
        .world = world,
        .actor = actor,
        .channel = actor_channel(actor, number),
        .number = number,
    };
    return functions[op](&doing);
}
