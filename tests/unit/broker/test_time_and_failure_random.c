/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that a queue does by time and by failure at once: priorities, delays, times to live,
 * limits, retries, quarantine and dead letters in few small queues whose settings change and which
 * are purged and deleted, while clients settle by any verdict and memory is short now and then.
 * What must hold: log, account of space and queues agree all the time, and when everybody has taken
 * everything nothing is left in any of them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/random.h"
#include "broker/death/dead_letter.h"
#include "broker/desk/pending.h"
#include "broker/topology/policies.h"
#include "queues/waiting.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

enum { CLIENTS = 3, QUEUES = 2, HELD_MAX = 256, STEPS = 1200, RUNS = 20, MESSAGES_MAX = 600 };

/* A client; the last one commits. */
struct client {
    uint64_t link;
    uint64_t held[HELD_MAX]; /* tags */
    uint32_t held_count;
    bool consumes[QUEUES];
    bool is_committing;
    bool may_hold_deleted; /* it may hold messages of a queue that was deleted meanwhile */
};

/* What cannot be changed about a queue. */
struct shape {
    bool is_quorum, has_one_active;
    int64_t priority_max; /* below 0: none */
};

static struct log_rig *disk;
static struct rig *rig;
static uint64_t operator_link;
static uint64_t taker_link; /* takes messages for good by basic.get */
static struct client clients[CLIENTS];
static struct shape shapes[QUEUES];
static const char *const queue_names[QUEUES] = {"q0", "q1"};
static struct random_source source;
static uint64_t seed;
static uint32_t message_count;
static bool is_short_of_memory;

static uint64_t
below(uint64_t bound)
{
    return random_u64(&source) % bound;
}

static bool
one_in(uint64_t many)
{
    return below(many) == 0;
}

/* Queues --------------------------------------------------------------------------------------- */

static void
put_retries(struct buffer *arguments)
{
    if (one_in(3)) {
        return;
    }
    table_put_integer(arguments, "x-delivery-limit", (int64_t)below(4) - 1);
    if (!one_in(3)) {
        table_put_integer(arguments, "x-delayed-retry-min", 1 + (int64_t)below(200));
        table_put_integer(arguments, "x-delayed-retry-max", 200 + (int64_t)below(500));
    }
    if (one_in(3)) {
        table_put_text(arguments, "x-delayed-retry-order", bytes_of("hold"));
    }
    if (one_in(4)) {
        table_put_text(arguments, "x-delayed-retry-type", bytes_of("returned"));
    }
    if (one_in(4)) {
        table_put_integer(arguments, "x-delayed-retry-max-age", 100 + (int64_t)below(500));
    }
}

static void
put_limits(struct buffer *arguments, bool is_quorum)
{
    static const char *const overflows[] = {"drop-head", "reject-publish", "reject-publish-dlx"};
    if (one_in(2)) {
        table_put_integer(arguments, "x-max-length", (int64_t)below(8));
        table_put_text(arguments, "x-overflow", bytes_of(overflows[below(is_quorum ? 2 : 3)]));
    }
}

static void
put_dead_letters(struct buffer *arguments)
{
    static const char *const exchanges[] = {"", "later", "missing"};
    if (one_in(2)) {
        table_put_text(arguments, "x-dead-letter-exchange", bytes_of(exchanges[below(3)]));
        table_put_text(arguments, "x-dead-letter-routing-key",
                       bytes_of(queue_names[below(QUEUES)]));
    }
}

static void
put_arguments(struct buffer *arguments, const struct shape *shape)
{
    if (shape->is_quorum) {
        table_put_text(arguments, "x-queue-type", bytes_of("quorum"));
    }
    if (shape->priority_max >= 0) {
        table_put_integer(arguments, "x-max-priority", shape->priority_max);
    }
    if (shape->has_one_active) {
        table_put_boolean(arguments, "x-single-active-consumer", true);
    }
    if (one_in(3)) {
        table_put_integer(arguments, "x-message-ttl", (int64_t)below(400));
    }
    put_retries(arguments);
    put_limits(arguments, shape->is_quorum);
    put_dead_letters(arguments);
}

static void
declare(uint32_t number)
{
    struct shape *shape = &shapes[number];
    shape->is_quorum = one_in(3);
    shape->has_one_active = !shape->is_quorum && one_in(5);
    shape->priority_max = !shape->is_quorum && one_in(2) ? (int64_t)below(4) : -1;
    struct buffer arguments;
    buffer_init(&arguments);
    put_arguments(&arguments, shape);
    struct method method = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of(queue_names[number]),
                                              .arguments = buffer_bytes(&arguments),
                                              .durable = true}};
    rig_send(rig, operator_link, 1, &method);
    log_settle(disk);
    (void)rig_expect(rig, operator_link, 1, METHOD_QUEUE_DECLARE_OK);
    buffer_fini(&arguments);
    bind_queue(rig, operator_link, queue_names[number], "later", queue_names[number]);
}

static void
change_settings(uint32_t number)
{
    struct queue *queue = find_queue(rig, queue_names[number]);
    struct buffer arguments;
    buffer_init(&arguments);
    put_arguments(&arguments, &shapes[number]);
    uint32_t changed = 0;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    if (changed != 0) {
        core_settings_changed(rig->core, queue, changed);
    }
    buffer_fini(&arguments);
}

static void connect_client(struct client *client);

/* Whether somebody holds messages of a deleted queue, which the log knows nothing of any more. */
static bool
any_may_hold_deleted(void)
{
    bool any = false;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        any |= clients[i].may_hold_deleted;
    }
    return any;
}

static void
hang_up(struct client *client)
{
    rig_hang_up(rig, client->link);
    connect_client(client);
}

static void
delete_queue(uint32_t number)
{
    struct method method = {
        .id = METHOD_QUEUE_DELETE,
        .queue_delete = {.queue = bytes_of(queue_names[number]), .nowait = true}};
    rig_send(rig, operator_link, 1, &method);
    bool is_left_open = one_in(3);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i].consumes[number] = false;
        clients[i].may_hold_deleted = true;
        if (!is_left_open) {
            hang_up(&clients[i]);
        }
    }
    declare(number);
}

static void
purge(uint32_t number)
{
    struct method method = {
        .id = METHOD_QUEUE_PURGE,
        .queue_purge = {.queue = bytes_of(queue_names[number]), .nowait = true}};
    rig_send(rig, operator_link, 1, &method);
}

/* The first, or a later one, of what waits. */
static void
operate(uint32_t number)
{
    struct queue *queue = find_queue(rig, queue_names[number]);
    struct pending_message pending[8];
    uint32_t count = core_list_pending(rig->core, queue, NULL, pending, 8);
    if (count == 0) {
        return;
    }
    struct due_key key = pending[below(count)].key;
    if (one_in(3)) {
        cr_expect(core_cancel_pending(rig->core, queue, &key));
    } else {
        enum status status = core_release_pending(rig->core, queue, &key);
        cr_assert(ne(int, status, STATUS_REJECTED));
    }
    rig_turn(rig);
}

/* Messages ------------------------------------------------------------------------------------- */

static void
put_properties(struct buffer *block, struct buffer *headers, bool is_delayed)
{
    char expiration[24];
    struct properties properties = {.flags = PROPERTY_DELIVERY_MODE, .delivery_mode = 2};
    if (is_delayed) {
        table_put_integer(headers, "x-delay", (int64_t)below(300));
        properties.flags |= PROPERTY_HEADERS;
        properties.headers = buffer_bytes(headers);
    }
    if (one_in(2)) {
        properties.flags |= PROPERTY_PRIORITY;
        properties.priority = (uint8_t)below(6);
    }
    if (one_in(3)) {
        bool is_far = one_in(4);
        (void)snprintf(expiration, sizeof(expiration), "%llu",
                       is_far ? 50000000000ULL : (unsigned long long)below(300));
        properties.flags |= PROPERTY_EXPIRATION;
        properties.expiration = bytes_of(expiration);
    }
    properties_encode(block, &properties);
}

static void
publish(uint64_t link)
{
    char text[16];
    if (message_count == MESSAGES_MAX) {
        return;
    }
    (void)snprintf(text, sizeof(text), "%u", message_count++);
    bool is_delayed = one_in(3);
    struct buffer block;
    struct buffer headers;
    buffer_init(&block);
    buffer_init(&headers);
    put_properties(&block, &headers, is_delayed);
    struct rig_publish one = {
        .exchange = is_delayed ? "later" : "",
        .routing_key = queue_names[below(QUEUES)],
        .properties = buffer_bytes(&block),
        .body = bytes_of(text),
        .is_persistent = true,
        .has_headers = is_delayed,
    };
    rig_publish_as(rig, link, 1, &one);
    buffer_fini(&headers);
    buffer_fini(&block);
}

/* Clients -------------------------------------------------------------------------------------- */

static void
connect_client(struct client *client)
{
    bool is_committing = client->is_committing;
    *client = (struct client){.link = messaging_client(rig), .is_committing = is_committing};
    set_prefetch(rig, client->link, 1, (uint16_t)(1 + below(5)), false);
    if (is_committing) {
        rig_send_id(rig, client->link, 1, METHOD_TX_SELECT);
        (void)rig_expect(rig, client->link, 1, METHOD_TX_SELECT_OK);
    }
}

static void
note(struct client *client, uint64_t tag)
{
    cr_assert(lt(u32, client->held_count, HELD_MAX));
    client->held[client->held_count++] = tag;
}

/* A basic.get that waited may find its queue deleted, or no memory. */
static bool
closes(const struct posted *posted)
{
    return posted->type == NET_ACTION_METHOD && (posted->method.id == METHOD_CHANNEL_CLOSE ||
                                                 posted->method.id == METHOD_CONNECTION_CLOSE);
}

/* Consumers whose tag begins with "n" do not acknowledge; nor does a basic.get without a tag. */
static void
read_all(struct client *client)
{
    const struct posted *posted;
    bool is_closed = false;
    while ((posted = rig_next(rig, client->link)) != NULL) {
        is_closed |= closes(posted);
        if (posted->type == NET_ACTION_DELIVER &&
            posted->method.basic_deliver.consumer_tag.data[0] != 'n') {
            note(client, posted->method.basic_deliver.delivery_tag);
        } else if (posted->type == NET_ACTION_CONTENT && posted->method.id == METHOD_BASIC_GET_OK) {
            note(client, posted->method.basic_get_ok.delivery_tag);
        }
    }
    if (is_closed || rig_is_closed(rig, client->link)) {
        hang_up(client);
    }
}

static void
get(struct client *client, uint32_t number)
{
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = bytes_of(queue_names[number])}};
    if (client->held_count < HELD_MAX - 16) {
        rig_send(rig, client->link, 1, &method);
    }
}

/* By an operator, for good. */
static void
get_for_good(uint32_t number)
{
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = bytes_of(queue_names[number]), .no_ack = true}};
    rig_send(rig, taker_link, 1, &method);
}

static void
toggle_consumer(struct client *client, uint32_t number)
{
    char tag[4];
    bool no_ack = client != &clients[0];
    (void)snprintf(tag, sizeof(tag), "%c%u", no_ack && number == 0 ? 'n' : 'c', number);
    struct method consume = {.id = METHOD_BASIC_CONSUME,
                             .basic_consume = {.queue = bytes_of(queue_names[number]),
                                               .consumer_tag = bytes_of(tag),
                                               .no_ack = no_ack && number == 0,
                                               .nowait = true}};
    struct method cancel = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of(tag), .nowait = true}};
    rig_send(rig, client->link, 1, client->consumes[number] ? &cancel : &consume);
    client->consumes[number] = !client->consumes[number];
}

static void
settle(struct client *client)
{
    if (client->held_count == 0) {
        return;
    }
    uint32_t at = (uint32_t)below(client->held_count);
    uint64_t tag = client->held[at];
    client->held[at] = client->held[--client->held_count];
    struct method reject = {.id = METHOD_BASIC_REJECT,
                            .basic_reject = {.delivery_tag = tag, .requeue = !one_in(3)}};
    switch (below(4)) {
    case 0:
        send_ack(rig, client->link, 1, tag, false);
        break;
    case 1:
        rig_send(rig, client->link, 1, &reject);
        break;
    default:
        send_nack(rig, client->link, 1, tag, false, true);
        break;
    }
}

/* What is rolled back is given up with the channel: nobody settles it again. */
static void
end_transaction(struct client *client)
{
    if (one_in(4)) {
        rig_send_id(rig, client->link, 1, METHOD_TX_ROLLBACK);
        hang_up(client);
    } else {
        rig_send_id(rig, client->link, 1, METHOD_TX_COMMIT);
    }
}

static void
act(struct client *client)
{
    uint32_t number = (uint32_t)below(QUEUES);
    bool may_get = !(shapes[number].is_quorum && shapes[number].has_one_active);
    switch (below(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
        publish(client->is_committing ? client->link : operator_link);
        break;
    case 4:
    case 5:
    case 6:
        if (may_get) {
            get(client, number);
        }
        break;
    case 7:
        if (one_in(4) && may_get) {
            get_for_good(number);
        }
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        settle(client);
        break;
    case 12:
        if (one_in(5)) {
            hang_up(client);
        }
        break;
    case 13:
        toggle_consumer(client, number);
        break;
    case 14:
        if (client->is_committing) {
            end_transaction(client);
        }
        break;
    case 15:
        operate(number);
        break;
    default:
        rig_step(rig, below(100));
        break;
    }
}

static void
change_something(void)
{
    uint32_t number = (uint32_t)below(QUEUES);
    switch (below(8)) {
    case 0:
        delete_queue(number);
        break;
    case 1:
    case 2:
        purge(number);
        break;
    case 3:
    case 4:
    case 5:
        change_settings(number);
        break;
    default:
        break;
    }
}

/* The whole ------------------------------------------------------------------------------------ */

static void
read_everybody(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        read_all(&clients[i]);
    }
    const struct posted *posted;
    bool is_closed = false;
    while ((posted = rig_next(rig, taker_link)) != NULL) {
        is_closed |= closes(posted);
    }
    if (is_closed || rig_is_closed(rig, taker_link)) {
        rig_hang_up(rig, taker_link);
        taker_link = messaging_client(rig);
    }
    while (rig_next(rig, operator_link) != NULL) {
    }
}

static void
check(void)
{
    log_settle(disk);
    rig_step(rig, CORE_DEATH_RETRY_MS); /* what dies in a queue that was deleted may wait */
    log_settle(disk);
    read_everybody();
    for (uint32_t i = 0; i < QUEUES; i++) {
        queue_check(find_queue(rig, queue_names[i]));
    }
    struct death_range all = {.last = UINT64_MAX};
    if (!any_may_hold_deleted() && core_deaths_are_over(rig->core, all)) {
        log_check(disk);
    }
}

static void
do_a_step(void)
{
    bool is_short = is_short_of_memory && one_in(3);
    struct client *client = &clients[below(CLIENTS)];
    if (!is_short) {
        act(client);
    } else {
        alloc_faults_plan((uint32_t)(1 + below(6)));
        if (one_in(2)) {
            settle(client);
        } else {
            rig_step(rig, below(100));
        }
        alloc_faults_plan(0);
    }
    read_everybody();
}

/* What is left, whoever has it. */
static uint64_t
count_left(void)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < QUEUES; i++) {
        const struct queue *queue = find_queue(rig, queue_names[i]);
        count += queue->ready_count + queue->unacked_count + queue_waiting_count(queue) +
                 (queue->dying == NULL ? 0 : queue->dying->count);
    }
    return count;
}

static void
drain(void)
{

    for (uint32_t i = 0; i < CLIENTS; i++) {
        rig_hang_up(rig, clients[i].link);
    }
    rig_hang_up(rig, taker_link);
    taker_link = messaging_client(rig);
    for (int round = 0; round < 300 && count_left() > 0; round++) {
        for (uint32_t i = 0; i < QUEUES; i++) {
            operate(i);
            get_for_good(i);
            log_settle(disk);
            while (rig_next(rig, taker_link) != NULL) {
            }
        }
        rig_step(rig, 1000);
    }
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, count_left(), 0), "seed %llu", (unsigned long long)seed);
    cr_expect(eq(u64, space_live_octets(disk->space), 0), "seed %llu", (unsigned long long)seed);
    for (uint32_t i = 0; i < QUEUES; i++) {
        const struct queue *queue = find_queue(rig, queue_names[i]);
        cr_expect(queue->failures == NULL || queue->failures->count == 0);
        cr_expect(queue->times == NULL || queue->times->dead_returned.count == 0);
    }
}

static void
run(uint64_t number, bool is_short)
{
    seed = number;
    uint64_t state = number;
    source = random_seeded(&state);
    message_count = 0;
    is_short_of_memory = is_short;
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    operator_link = messaging_client(rig);
    taker_link = messaging_client(rig);
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-delayed-type", bytes_of("direct"));
    struct method later = {.id = METHOD_EXCHANGE_DECLARE,
                           .exchange_declare = {.exchange = bytes_of("later"),
                                                .type = bytes_of("x-delayed-message"),
                                                .arguments = buffer_bytes(&arguments)}};
    rig_send(rig, operator_link, 1, &later);
    buffer_fini(&arguments);
    (void)rig_expect(rig, operator_link, 1, METHOD_EXCHANGE_DECLARE_OK);
    for (uint32_t i = 0; i < QUEUES; i++) {
        declare(i);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i].is_committing = i == CLIENTS - 1;
        connect_client(&clients[i]);
    }
    for (int i = 0; i < STEPS; i++) {
        do_a_step();
        if (i % 20 == 0) {
            change_something();
            check();
        }
    }
    drain();
    log_rig_free(&disk);
}

Test(time_and_failure_random, log_and_queues_agree_and_nothing_is_left)
{
    for (uint64_t number = 1; number <= RUNS; number++) {
        run(number, false);
    }
}

Test(time_and_failure_random, the_same_while_memory_is_short)
{
    for (uint64_t number = 1001; number <= 1000 + RUNS; number++) {
        run(number, true);
    }
}
