/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do anything with a queue that counts, on a clock that is stepped, against a model
 * that keeps of each message how often it failed and until when it has to wait. What must hold: no
 * retry is early, no message is tried more often than its queue allows, each says of itself what
 * the model knows, and every message that was published is somewhere. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/random.h"
#include "queues/waiting.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/messaging.h"

enum { CLIENTS = 3, MESSAGES_MAX = 400, HELD_MAX = 512, STEPS = 1500, RUNS = 12 };

/* One message, by the number in its body. */
struct message {
    uint32_t failures;
    uint32_t acquired;
    uint64_t not_before_ms; /* in the clock of the rig */
    bool is_held;           /* by a client */
    bool is_over;           /* acknowledged, or has died */
};

struct held {
    uint64_t tag;
    uint32_t number;
    bool is_consumers;
};

struct client {
    uint64_t link;
    struct held held[HELD_MAX]; /* by rising tag */
    uint32_t held_count;
    bool consumes;
};

static struct rig *rig;
static uint64_t operator_link;
static struct client clients[CLIENTS];
static struct message messages[MESSAGES_MAX];
static uint32_t message_count;
static struct queue *queue;
static struct random_source source;
static uint64_t seed;
static bool has_dead_letters;

static uint64_t
below(uint64_t bound)
{
    return random_u64(&source) % bound;
}

/* The queue ------------------------------------------------------------------------------------ */

static void
put_random_settings(struct buffer *arguments)
{
    table_put_integer(arguments, "x-delivery-limit", (int64_t)below(6) - 1);
    if (below(4) > 0) {
        table_put_integer(arguments, "x-delayed-retry-min", 1 + (int64_t)below(300));
        table_put_integer(arguments, "x-delayed-retry-max", 300 + (int64_t)below(2000));
    }
    if (below(2) == 0) {
        table_put_integer(arguments, "x-delayed-retry-multiplier", 1 + (int64_t)below(3));
    }
    if (below(2) == 0) {
        table_put_integer(arguments, "x-delayed-retry-jitter", (int64_t)below(101));
    } else if (below(3) == 0) {
        table_put_text(arguments, "x-delayed-retry-jitter", bytes_of("full"));
    }
    if (below(3) == 0) {
        table_put_text(arguments, "x-delayed-retry-order", bytes_of("hold"));
    }
    if (below(3) == 0) {
        table_put_text(arguments, "x-delayed-retry-counts", bytes_of("reject,lost"));
    }
    if (below(3) == 0) {
        table_put_text(arguments, "x-queue-type", bytes_of("quorum"));
    }
    has_dead_letters = below(2) == 0;
    if (has_dead_letters) {
        table_put_text(arguments, "x-dead-letter-exchange", bytes_of(""));
        table_put_text(arguments, "x-dead-letter-routing-key", bytes_of("dlq"));
    }
}

static void
declare(void)
{
    struct buffer arguments;
    buffer_init(&arguments);
    put_random_settings(&arguments);
    struct queue_declare declare = {
        .queue = bytes_of("q"), .arguments = buffer_bytes(&arguments), .durable = true};
    declare_queue_as(rig, operator_link, &declare);
    declare_queue(rig, operator_link, "dlq");
    queue = find_queue(rig, "q");
    buffer_fini(&arguments);
}

/* What is allowed ------------------------------------------------------------------------------ */

/* The least that the queue's settings make of it. */
static uint64_t
least_delay_ms(uint32_t failures)
{
    const struct retry_settings *settings = &queue->settings->retry;
    if (settings->type == RETRY_DISABLED || settings->jitter.is_full) {
        return 0;
    }
    double delay = (double)settings->min_ms;
    for (uint32_t i = 1; i < failures && settings->multiplier >= 1; i++) {
        delay = delay * settings->multiplier > 1e9 ? 1e9 : delay * settings->multiplier;
    }
    delay = settings->multiplier >= 1 ? delay : delay * failures;
    delay = delay > (double)settings->max_ms ? (double)settings->max_ms : delay;
    return (uint64_t)(delay * (100 - settings->jitter.percent) / 100);
}

static bool
is_spent(const struct message *message)
{
    int64_t limit = queue->settings->delivery_limit;
    return limit >= 0 && message->failures > limit;
}

static void
come_back(uint32_t number, uint8_t verdict)
{
    struct message *message = &messages[number];
    message->is_held = false;
    message->acquired++;
    if ((queue->settings->retry.counts & verdict) == 0) {
        return;
    }
    message->failures++;
    message->not_before_ms = rig->now.monotonic_ms + least_delay_ms(message->failures);
    message->is_over = is_spent(message);
}

static int64_t
number_in(const struct posted *posted, const char *name)
{
    struct properties properties;
    struct fault fault;
    struct table_value value;
    enum status status = properties_decode(&properties, posted->properties, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    return table_find(properties.headers, name, &value) ? table_value_integer(&value) : 0;
}

static void
note_delivery(struct client *client, const struct posted *posted)
{
    bool is_consumers = posted->type == NET_ACTION_DELIVER;
    uint32_t number = (uint32_t)strtoul((const char *)posted->body.data, NULL, 10);
    struct message *message = &messages[number];
    cr_assert(lt(u32, number, message_count));
    cr_assert(not(message->is_held), "message %u is handed out twice", number);
    cr_assert(not(message->is_over), "message %u is tried beyond its limit", number);
    cr_assert(ge(u64, rig->now.monotonic_ms, message->not_before_ms), "message %u is early",
              number);
    cr_assert(eq(i64, number_in(posted, "x-delivery-count"), message->failures));
    cr_assert(eq(i64, number_in(posted, "x-acquired-count"), message->acquired));
    cr_assert(lt(u32, client->held_count, HELD_MAX));
    message->is_held = true;
    client->held[client->held_count++] = (struct held){
        .tag = is_consumers ? posted->method.basic_deliver.delivery_tag
                            : posted->method.basic_get_ok.delivery_tag,
        .number = number,
        .is_consumers = is_consumers,
    };
}

static void
read_all(struct client *client)
{
    const struct posted *posted;
    while ((posted = rig_next(rig, client->link)) != NULL) {
        if (posted->type == NET_ACTION_DELIVER ||
            (posted->type == NET_ACTION_CONTENT && posted->method.id == METHOD_BASIC_GET_OK)) {
            note_delivery(client, posted);
        }
    }
}

/* What clients do ------------------------------------------------------------------------------ */

static void
connect_client(struct client *client)
{
    *client = (struct client){.link = messaging_client(rig)};
    set_prefetch(rig, client->link, 1, (uint16_t)(1 + below(6)), false);
}

static void
publish(void)
{
    char text[16];
    if (message_count == MESSAGES_MAX) {
        return;
    }
    (void)snprintf(text, sizeof(text), "%u", message_count);
    messages[message_count++] = (struct message){0};
    struct rig_publish one = {
        .exchange = "", .routing_key = "q", .body = bytes_make(text, strlen(text) + 1)};
    rig_publish_as(rig, operator_link, 1, &one);
}

static void
take(struct client *client)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    if (client->held_count < HELD_MAX - 8) {
        rig_send(rig, client->link, 1, &get);
    }
}

/* One of those that are held, by any verdict. */
static void
settle(struct client *client)
{
    if (client->held_count == 0) {
        return;
    }
    uint32_t at = (uint32_t)below(client->held_count);
    struct held held = client->held[at];
    client->held_count--;
    memmove(client->held + at, client->held + at + 1,
            (client->held_count - at) * sizeof(client->held[0]));
    uint64_t verdict = below(8);
    struct method reject = {.id = METHOD_BASIC_REJECT,
                            .basic_reject = {.delivery_tag = held.tag, .requeue = verdict != 1}};
    if (verdict == 0 || verdict == 1) {
        messages[held.number].is_held = false;
        messages[held.number].is_over = true;
    } else {
        come_back(held.number, verdict < 5 ? RETRY_NACK : RETRY_REJECT);
    }
    if (verdict == 0) {
        send_ack(rig, client->link, 1, held.tag, false);
    } else if (verdict >= 2 && verdict < 5) {
        send_nack(rig, client->link, 1, held.tag, false, true);
    } else {
        rig_send(rig, client->link, 1, &reject);
    }
}

/* The oldest that its consumer holds has failed, and what it got by itself. */
static void
hang_up(struct client *client)
{
    bool has_blamed = false;
    for (uint32_t i = 0; i < client->held_count; i++) {
        bool is_blamed = !client->held[i].is_consumers || !has_blamed;
        has_blamed = has_blamed || client->held[i].is_consumers;
        come_back(client->held[i].number, is_blamed ? RETRY_LOST : RETRY_NO_VERDICT);
    }
    rig_hang_up(rig, client->link);
    connect_client(client);
}

static void
recover(struct client *client)
{
    struct method method = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    for (uint32_t i = 0; i < client->held_count; i++) {
        come_back(client->held[i].number, RETRY_NO_VERDICT);
    }
    client->held_count = 0;
    rig_send(rig, client->link, 1, &method);
}

static void
toggle_consumer(struct client *client)
{
    struct method consume = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of("q"), .consumer_tag = bytes_of("c"), .nowait = true}};
    struct method cancel = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of("c"), .nowait = true}};
    bool holds_any = client->held_count > 0;
    if (!client->consumes || !holds_any) {
        rig_send(rig, client->link, 1, client->consumes ? &cancel : &consume);
        client->consumes = !client->consumes;
    }
}

static void
act(struct client *client)
{
    switch (below(12)) {
    case 0:
    case 1:
    case 2:
        publish();
        break;
    case 3:
        take(client);
        break;
    case 4:
    case 5:
    case 6:
        settle(client);
        break;
    case 7:
        if (below(6) == 0) {
            hang_up(client);
        }
        break;
    case 8:
        if (below(6) == 0) {
            recover(client);
        }
        break;
    case 9:
        toggle_consumer(client);
        break;
    default:
        rig_step(rig, below(120));
        break;
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        read_all(&clients[i]);
    }
}

/* The end -------------------------------------------------------------------------------------- */

/* Every message is somewhere, and in one place. Where memory was short, up to `late_max` of those
 * that are over may still stand there, which nobody gets. */
static void
check_conservation(uint64_t late_max)
{
    uint64_t living_count = 0;
    for (uint32_t i = 0; i < message_count; i++) {
        living_count += messages[i].is_over ? 0 : 1;
    }
    const struct queue_waiting *waiting = queue->waiting;
    uint64_t retry_count = waiting == NULL ? 0 : waiting->counts[WAITING_RETRY];
    uint64_t parked_count = waiting == NULL ? 0 : waiting->counts[WAITING_PARKED];
    uint64_t standing_count = queue->ready_count + queue->unacked_count + retry_count;
    cr_assert(ge(u64, standing_count, living_count));
    cr_assert(le(u64, standing_count, living_count + late_max));
    uint64_t spent_count = rig->core->counters.died[DEATH_DELIVERY_LIMIT];
    uint64_t moved_count = rig->core->counters.dead_lettered[DEATH_DELIVERY_LIMIT];
    uint64_t dying_count = queue->dying == NULL ? 0 : queue->dying->count;
    cr_assert(le(u64, spent_count - parked_count - moved_count, dying_count));
    cr_assert(eq(u64, has_dead_letters ? parked_count : moved_count, 0));
    queue_check(queue);
}

static void
run(uint64_t number)
{
    seed = number;
    source = random_seeded(&seed);
    message_count = 0;
    rig = messaging_rig(NULL);
    operator_link = messaging_client(rig);
    declare();
    for (uint32_t i = 0; i < CLIENTS; i++) {
        connect_client(&clients[i]);
    }
    for (int i = 0; i < STEPS; i++) {
        act(&clients[below(CLIENTS)]);
        if (i % 50 == 0) {
            rig_turn(rig);
            for (uint32_t j = 0; j < CLIENTS; j++) {
                read_all(&clients[j]);
            }
            check_conservation(0);
        }
    }
    rig_turn(rig);
    check_conservation(0);
    rig_free(&rig);
}

Test(retry_random, no_retry_is_early_none_too_many_and_no_message_is_lost)
{
    for (uint64_t number = 1; number <= RUNS; number++) {
        run(number);
    }
}

/* Any allocation may fail: a failure may then hold its queue, and who is to die does so later. */
Test(retry_random, the_same_while_memory_is_short)
{
    seed = 77;
    source = random_seeded(&seed);
    rig = messaging_rig(NULL);
    operator_link = messaging_client(rig);
    declare();
    connect_client(&clients[0]);
    for (int i = 0; i < STEPS; i++) {
        publish();
        take(&clients[0]);
        read_all(&clients[0]);
        alloc_faults_plan((uint32_t)below(3));
        if (below(2) == 0) {
            settle(&clients[0]);
        } else {
            rig_step(rig, below(120));
        }
        alloc_faults_plan(0);
        read_all(&clients[0]);
        if (i % 50 == 0) {
            rig_step(rig, 200);
            rig_turn(rig);
            check_conservation(MESSAGES_MAX);
        }
    }
    /* Whoever comes to them has them die. */
    while (ready_count(rig, "q") > 0) {
        take(&clients[0]);
        read_all(&clients[0]);
    }
    check_conservation(0);
    rig_free(&rig);
}
