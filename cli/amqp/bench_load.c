/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/bench_load.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"

enum {
    NS_PER_MS = 1000 * 1000,
    OUTPUT_BYTES_MAX = 128 * 1024,
    PUBLISHES_PER_TURN = 64,
    QUEUE_EXPIRES_MS = 60000, /* should nobody delete it */
    LAST_WAIT_MS = 5000,      /* for what has not come when publishing is over */
};

static const uint64_t NS_PER_S = UINT64_C(1000000000);

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Opening ------------------------------------------------------------------------------------ */

static int
make_queue(struct bench_load *load, struct amqp_client *client)
{
    char name[RANDOM_NAME_SIZE];
    struct random_source source = random_system();
    struct buffer arguments;
    random_name(&source, name);
    snprintf(load->queue, sizeof(load->queue), "bourse-bench-%s", name);
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-expires", QUEUE_EXPIRES_MS);
    struct method declare = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(load->queue),
                          .durable = load->wish.is_persistent,
                          .arguments = buffer_bytes(&arguments)},
    };
    int result = amqp_client_call(client, &declare, METHOD_QUEUE_DECLARE_OK, NULL);
    load->has_queue = result == COMMAND_OK;
    buffer_fini(&arguments);
    return result;
}

static int
open_producer(struct bench_load *load, struct bench_producer *producer)
{
    struct method confirm = {.id = METHOD_CONFIRM_SELECT};
    int result = amqp_client_open(&producer->client, load->address, "broker", load->io);
    if (result == COMMAND_OK && !load->has_queue) {
        result = make_queue(load, producer->client);
    }
    if (result == COMMAND_OK && load->wish.window > 0) {
        producer->sent_ns = xalloc(load->wish.window * sizeof(*producer->sent_ns));
        result = amqp_client_call(producer->client, &confirm, METHOD_CONFIRM_SELECT_OK, NULL);
    }
    return result;
}

static int
open_consumer(struct bench_load *load, struct amqp_client **consumer)
{
    struct method qos = {
        .id = METHOD_BASIC_QOS,
        .basic_qos = {.prefetch_count = (uint16_t)load->wish.prefetch},
    };
    struct method consume = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(load->queue)},
    };
    int result = amqp_client_open(consumer, load->address, "broker", load->io);
    if (result == COMMAND_OK) {
        result = amqp_client_call(*consumer, &qos, METHOD_BASIC_QOS_OK, NULL);
    }
    return result == COMMAND_OK
               ? amqp_client_call(*consumer, &consume, METHOD_BASIC_CONSUME_OK, NULL)
               : result;
}

int
bench_load_open(struct bench_load *load, const struct bench_wish *wish,
                const struct amqp_address *address, const struct command_io *io)
{
    *load = (struct bench_load){.wish = *wish, .address = address, .io = io};
    struct properties properties = {
        .flags = PROPERTY_DELIVERY_MODE,
        .delivery_mode = wish->is_persistent ? DELIVERY_MODE_PERSISTENT : DELIVERY_MODE_TRANSIENT,
    };
    assert(wish->body_bytes >= sizeof(uint64_t));
    load->body = xalloc(wish->body_bytes);
    properties_encode(&load->properties, &properties);
    int result = COMMAND_OK;
    for (size_t i = 0; i < wish->producers && result == COMMAND_OK; i++) {
        result = open_producer(load, &load->producers[i]);
    }
    for (size_t i = 0; i < wish->consumers && result == COMMAND_OK; i++) {
        result = open_consumer(load, &load->consumers[i]);
    }
    load->begun_ns = load->filled_ns = now_ns();
    load->begun_ms = amqp_client_now_ms();
    return result;
}

void
bench_load_close(struct bench_load *load)
{
    struct method remove = {
        .id = METHOD_QUEUE_DELETE,
        .queue_delete = {.queue = bytes_of(load->queue), .nowait = true},
    };
    for (size_t i = 0; i < load->wish.consumers; i++) {
        amqp_client_close(&load->consumers[i]);
    }
    if (load->has_queue) {
        amqp_client_send(load->producers[0].client, &remove);
    }
    for (size_t i = 0; i < load->wish.producers; i++) {
        amqp_client_close(&load->producers[i].client);
        free(load->producers[i].sent_ns);
    }
    free(load->body);
    buffer_fini(&load->properties);
}

/* Producing ---------------------------------------------------------------------------------- */

static uint64_t *
sent_at(const struct bench_load *load, const struct bench_producer *producer, uint64_t number)
{
    return &producer->sent_ns[number % load->wish.window];
}

/* The message is answered, if it was not yet: a broker need not keep their order. */
static void
take_answer(struct bench_load *load, struct bench_producer *producer, uint64_t number,
            bool is_confirm)
{
    uint64_t *sent_ns = sent_at(load, producer, number);
    if (*sent_ns != 0 && is_confirm) {
        latencies_note(&load->confirming, now_ns() - *sent_ns);
    }
    load->confirmed += *sent_ns != 0 && is_confirm ? 1 : 0;
    load->refused += *sent_ns != 0 && !is_confirm ? 1 : 0;
    *sent_ns = 0;
}

static void
take_answers(struct bench_load *load, struct bench_producer *producer, uint64_t number,
             bool multiple, bool is_confirm)
{
    if (number <= producer->settled || number > producer->published) {
        return;
    }
    for (uint64_t i = multiple ? producer->settled + 1 : number; i <= number; i++) {
        take_answer(load, producer, i, is_confirm);
    }
    while (producer->settled < producer->published &&
           *sent_at(load, producer, producer->settled + 1) == 0) {
        producer->settled++;
    }
}

static int
take_confirms(struct bench_load *load, struct bench_producer *producer)
{
    for (;;) {
        struct amqp_event event;
        bool has_event;
        int result = amqp_client_next(producer->client, &event, &has_event);
        if (result != COMMAND_OK || !has_event) {
            return result;
        }
        if (event.method.id == METHOD_BASIC_ACK) {
            take_answers(load, producer, event.method.basic_ack.delivery_tag,
                         event.method.basic_ack.multiple, true);
        } else if (event.method.id == METHOD_BASIC_NACK) {
            take_answers(load, producer, event.method.basic_nack.delivery_tag,
                         event.method.basic_nack.multiple, false);
        }
    }
}

static void
fill_allowance(struct bench_load *load)
{
    uint64_t now = now_ns();
    double rate = (double)load->wish.rate;
    double most = rate / 100 < 1 ? 1 : rate / 100;
    load->allowance += rate * (double)(now - load->filled_ns) / (double)NS_PER_S;
    load->allowance = load->allowance > most ? most : load->allowance;
    load->filled_ns = now;
}

static bool
may_publish(struct bench_load *load, const struct bench_producer *producer)
{
    uint64_t open = producer->published - producer->settled;
    load->was_blocked |= amqp_client_is_blocked(producer->client);
    return load->ended_ns == 0 && (load->wish.window == 0 || open < load->wish.window) &&
           (load->wish.rate == 0 || load->allowance >= 1) &&
           amqp_client_output_size(producer->client) < OUTPUT_BYTES_MAX &&
           !amqp_client_is_blocked(producer->client);
}

/* The body begins with the time at which it is published. */
static void
publish(struct bench_load *load, struct bench_producer *producer)
{
    struct basic_publish method = {.routing_key = bytes_of(load->queue)};
    uint64_t now = now_ns();
    memcpy(load->body, &now, sizeof(now));
    amqp_client_publish(producer->client, &method, buffer_bytes(&load->properties),
                        bytes_make(load->body, load->wish.body_bytes));
    producer->published++;
    load->published++;
    load->allowance -= 1;
    if (load->wish.window > 0) {
        producer->sent_ns[producer->published % load->wish.window] = now;
    }
}

static int
turn_producer(struct bench_load *load, struct bench_producer *producer)
{
    int result = take_confirms(load, producer);
    for (int i = 0; i < PUBLISHES_PER_TURN && result == COMMAND_OK && may_publish(load, producer);
         i++) {
        publish(load, producer);
    }
    return result;
}

/* Consuming ---------------------------------------------------------------------------------- */

static void
note_delivery(struct bench_load *load, struct bytes body)
{
    uint64_t sent_ns;
    uint64_t now = now_ns();
    if (body.size == load->wish.body_bytes) {
        memcpy(&sent_ns, body.data, sizeof(sent_ns));
        latencies_note(&load->arriving, sent_ns < now ? now - sent_ns : 0);
    }
    load->received++;
    load->received_ns = now;
}

/* What a turn brings is acknowledged at once. */
static int
turn_consumer(struct bench_load *load, struct amqp_client *consumer)
{
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.multiple = true}};
    int result = COMMAND_OK;
    bool has_event = true;
    while (result == COMMAND_OK && has_event) {
        struct amqp_event event;
        result = amqp_client_next(consumer, &event, &has_event);
        if (result == COMMAND_OK && has_event && event.method.id == METHOD_BASIC_DELIVER) {
            ack.basic_ack.delivery_tag = event.method.basic_deliver.delivery_tag;
            note_delivery(load, event.body);
        }
    }
    if (ack.basic_ack.delivery_tag != 0) {
        amqp_client_send(consumer, &ack);
    }
    return result;
}

/* All together ------------------------------------------------------------------------------- */

static int
wait_for_all(struct bench_load *load)
{
    struct amqp_client *clients[2 * BENCH_CLIENTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < load->wish.producers; i++) {
        clients[count++] = load->producers[i].client;
    }
    for (size_t i = 0; i < load->wish.consumers; i++) {
        clients[count++] = load->consumers[i];
    }
    return amqp_clients_wait(clients, count, 1);
}

static bool
is_over(struct bench_load *load)
{
    if (load->ended_ns == 0 && now_ns() - load->begun_ns >= load->wish.seconds * NS_PER_S) {
        bench_load_end(load);
    }
    if (load->ended_ns == 0) {
        return false;
    }
    bool has_come = (load->wish.consumers == 0 || load->received >= load->published) &&
                    (load->wish.window == 0 || load->confirmed + load->refused >= load->published);
    return has_come || now_ns() - load->ended_ns > (uint64_t)LAST_WAIT_MS * NS_PER_MS;
}

int
bench_load_turn(struct bench_load *load, bool *goes_on_out)
{
    int result = COMMAND_OK;
    fill_allowance(load);
    for (size_t i = 0; i < load->wish.producers && result == COMMAND_OK; i++) {
        result = turn_producer(load, &load->producers[i]);
    }
    for (size_t i = 0; i < load->wish.consumers && result == COMMAND_OK; i++) {
        result = turn_consumer(load, load->consumers[i]);
    }
    *goes_on_out = result == COMMAND_OK && !is_over(load);
    return *goes_on_out ? wait_for_all(load) : result;
}

void
bench_load_end(struct bench_load *load)
{
    load->ended_ns = load->ended_ns == 0 ? now_ns() : load->ended_ns;
}
