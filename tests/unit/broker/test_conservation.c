/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do anything at any time: every message stays in exactly one place, is settled once,
 * and what is left at the end comes in the order in which it was published. With a log whose disk
 * is slow at times, the log and the account of its space agree with the queues, and what was handed
 * out comes back marked. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "base/random.h"
#include "tests/unit/broker/log_harness.h"

enum { CLIENTS = 3, QUEUES = 2, STEPS = 6000, TAGS_MAX = 60000, NUMBERS_MAX = STEPS + 1 };

enum place { PLACE_QUEUE, PLACE_OPEN, PLACE_SETTLED };

static const char *const queue_names[QUEUES] = {"even", "odd"};

static struct log_rig *disk; /* NULL: all is in memory */
static struct rig *rig;
static struct random_source random_source;
static uint64_t random_state;
static uint64_t clients[CLIENTS];
static uint32_t open_numbers[CLIENTS][TAGS_MAX]; /* by delivery tag; 0: not open */
static uint64_t tags_seen[CLIENTS];
static bool acknowledges[CLIENTS]; /* how its consumers consume */
static enum place places[NUMBERS_MAX];
static uint32_t published_count;

static uint64_t
choose(uint64_t limit)
{
    return random_u64(&random_source) % limit;
}

static void
connect_clients(void)
{
    random_source = random_seeded(&random_state);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = messaging_client(rig);
        acknowledges[i] = i != 0;
    }
}

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    connect_clients();
    for (int i = 0; i < QUEUES; i++) {
        declare_queue(rig, clients[0], queue_names[i]);
    }
}

static void
tear_down(void)
{
    rig_free(&rig);
}

static void
set_up_log(void)
{
    disk = log_rig_new(NULL, 256 * 1024); /* several segments */
    rig = disk->rig;
    connect_clients();
    for (int i = 0; i < QUEUES; i++) {
        log_declare(disk, clients[0], queue_names[i]);
    }
}

static void
tear_down_log(void)
{
    log_rig_free(&disk);
}

TestSuite(conservation, .init = set_up, .fini = tear_down);
TestSuite(conservation_with_log, .init = set_up_log, .fini = tear_down_log);

static uint32_t
number_in(struct bytes body)
{
    uint32_t number = 0;
    for (size_t i = 0; i < body.size; i++) {
        number = number * 10 + (uint32_t)(body.data[i] - '0');
    }
    return number;
}

static void
note_message(int client, const struct posted *posted, uint64_t tag, bool is_open)
{
    uint32_t number = number_in(posted->body);
    cr_assert(eq(int, places[number], PLACE_QUEUE), "message %u is handed out twice", number);
    cr_assert(lt(u64, tags_seen[client], tag), "tags rise");
    cr_assert(lt(u64, tag, TAGS_MAX));
    tags_seen[client] = tag;
    places[number] = is_open ? PLACE_OPEN : PLACE_SETTLED;
    open_numbers[client][tag] = is_open ? number : 0;
    if (disk != NULL) {
        const struct queue *queue = find_queue(rig, queue_names[number % QUEUES]);
        cr_assert(log_tells_of_handout(disk, queue->target.id, number), "message %u", number);
    }
}

/* Takes in what the broker sent. */
static void
look(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        for (const struct posted *posted; (posted = rig_next(rig, clients[i])) != NULL;) {
            enum method_id id = posted->method.id;
            cr_assert(ne(int, id, METHOD_CHANNEL_CLOSE));
            cr_assert(ne(int, id, METHOD_CONNECTION_CLOSE));
            if (id == METHOD_BASIC_DELIVER) {
                note_message(i, posted, posted->method.basic_deliver.delivery_tag, acknowledges[i]);
            } else if (id == METHOD_BASIC_GET_OK) {
                note_message(i, posted, posted->method.basic_get_ok.delivery_tag, true);
            }
        }
    }
}

/* Nothing waits for the disk any more. */
static void
catch_up(void)
{
    if (disk != NULL) {
        log_settle(disk);
        look();
    }
}

static void
end_open(int client, uint64_t first, uint64_t last, enum place place)
{
    for (uint64_t tag = first; tag <= last; tag++) {
        uint32_t number = open_numbers[client][tag];
        if (number != 0) {
            cr_assert(eq(int, places[number], PLACE_OPEN));
            places[number] = place;
            open_numbers[client][tag] = 0;
        }
    }
}

static void
end_all_open(int client, enum place place)
{
    end_open(client, 0, tags_seen[client], place);
}

/* An open tag of the client, or 0. */
static uint64_t
choose_open(int client)
{
    uint64_t start = choose(tags_seen[client] + 1);
    for (uint64_t tag = start; tag <= tags_seen[client]; tag++) {
        if (open_numbers[client][tag] != 0) {
            return tag;
        }
    }
    return 0;
}

static void
settle_something(int client, bool is_ack, bool requeue)
{
    uint64_t tag = choose_open(client);
    bool multiple = choose(4) == 0;
    if (tag == 0) {
        return;
    }
    end_open(client, multiple ? 0 : tag, tag, requeue ? PLACE_QUEUE : PLACE_SETTLED);
    if (is_ack) {
        send_ack(rig, clients[client], 1, tag, multiple);
    } else {
        send_nack(rig, clients[client], 1, tag, multiple, requeue);
    }
}

static void
publish_next(int client)
{
    char text[16];
    uint32_t number = ++published_count;
    snprintf(text, sizeof(text), "%u", number);
    places[number] = PLACE_QUEUE;
    if (disk != NULL) {
        log_publish(disk, clients[client], "", queue_names[number % QUEUES], text);
    } else {
        publish_text(rig, clients[client], queue_names[number % QUEUES], text);
    }
}

static void
consume_or_cancel(int client)
{
    static const char *const tags[] = {"t0", "t1", "t2"};
    const char *tag = tags[choose(3)];
    const struct connection *connection = core_find_connection(rig->core, clients[client]);
    const struct channel *channel = connection_find_channel(connection, 1);
    struct method method = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of(tag)}};
    if (map_get(&channel->consumers, bytes_of(tag)) == NULL) {
        method.id = METHOD_BASIC_CONSUME;
        method.basic_consume =
            (struct basic_consume){.queue = bytes_of(queue_names[choose(QUEUES)]),
                                   .consumer_tag = bytes_of(tag),
                                   .no_ack = !acknowledges[client]};
    }
    rig_send(rig, clients[client], 1, &method);
}

static void
limit_prefetch(int client)
{
    struct method method = {
        .id = METHOD_BASIC_QOS,
        .basic_qos = {.prefetch_count = (uint16_t)choose(6), .global = choose(2) == 0}};
    rig_send(rig, clients[client], 1, &method);
}

static void
recover(int client)
{
    struct method method = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    end_all_open(client, PLACE_QUEUE);
    rig_send(rig, clients[client], 1, &method);
}

static void
get(int client)
{
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = bytes_of(queue_names[choose(QUEUES)])}};
    rig_send(rig, clients[client], 1, &method);
}

/* The client's channel ends, or its connection with it, and a new one takes its place. */
static void
lose(int client, bool connection)
{
    end_all_open(client, PLACE_QUEUE);
    tags_seen[client] = 0;
    if (connection) {
        rig_hang_up(rig, clients[client]);
        look();
        clients[client] = messaging_client(rig);
        return;
    }
    rig_send_id(rig, clients[client], 1, METHOD_CHANNEL_CLOSE);
    (void)rig_expect(rig, clients[client], 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, clients[client], 1);
}

/* Consumers that wait for a message get it first. */
static void
purge(int client)
{
    int at = (int)choose(QUEUES);
    struct method method = {.id = METHOD_QUEUE_PURGE,
                            .queue_purge = {.queue = bytes_of(queue_names[at])}};
    rig_send(rig, clients[client], 1, &method);
    look();
    for (uint32_t number = 1; number <= published_count; number++) {
        if (number % QUEUES == (uint32_t)at && places[number] == PLACE_QUEUE) {
            places[number] = PLACE_SETTLED;
        }
    }
}

/* What changes the channel's consumers, or all that is open, must not wait behind a basic.get that
 * waits for the disk: this test would not know when it happens. */
static void
act_in_order(int client, uint64_t action)
{
    catch_up();
    if (action < 160) {
        consume_or_cancel(client);
    } else if (action < 175) {
        limit_prefetch(client);
    } else if (action < 193) {
        get(client);
    } else if (action < 194) {
        purge(client);
    } else if (action < 196) {
        recover(client);
    } else {
        lose(client, action == 199);
    }
}

static void
step(void)
{
    int client = (int)choose(CLIENTS);
    uint64_t action = choose(200);
    if (action < 70) {
        publish_next(client);
    } else if (action < 110) {
        settle_something(client, true, false);
    } else if (action < 130) {
        settle_something(client, false, true);
    } else if (action < 135) {
        settle_something(client, false, false);
    } else {
        act_in_order(client, action);
    }
}

/* The disk does something, or nothing. */
static void
step_disk(void)
{
    switch (choose(6)) {
    case 0:
        log_write(disk, (uint32_t)choose(4));
        break;
    case 1:
        log_flush(disk);
        break;
    case 2:
        log_commit(disk);
        break;
    case 3:
        rig_step(rig, choose(60));
        break;
    default:
        break;
    }
}

static uint64_t
count_places(enum place place)
{
    uint64_t count = 0;
    for (uint32_t number = 1; number <= published_count; number++) {
        count += places[number] == place;
    }
    return count;
}

static void
compare_counts(void)
{
    catch_up();
    uint64_t ready = 0;
    uint64_t unacked = 0;
    for (int i = 0; i < QUEUES; i++) {
        ready += ready_count(rig, queue_names[i]);
        unacked += find_queue(rig, queue_names[i])->unacked_count;
    }
    cr_assert(eq(u64, ready, count_places(PLACE_QUEUE)));
    cr_assert(eq(u64, unacked, count_places(PLACE_OPEN)));
    if (disk != NULL) {
        log_check(disk);
    }
}

/* What is left comes once, in order. */
static void
drain(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        end_all_open(i, PLACE_QUEUE);
        rig_hang_up(rig, clients[i]);
    }
    for (int i = 0; i < QUEUES; i++) {
        uint64_t link = messaging_client(rig);
        uint32_t last = 0;
        consume(rig, link, 1, queue_names[i], "", true);
        if (disk != NULL) {
            log_settle(disk);
        }
        for (const struct posted *posted; (posted = rig_next(rig, link)) != NULL;) {
            uint32_t number = number_in(posted->body);
            cr_assert(eq(int, places[number], PLACE_QUEUE));
            cr_assert(lt(u32, last, number));
            places[number] = PLACE_SETTLED;
            last = number;
        }
    }
    cr_expect(eq(u64, count_places(PLACE_SETTLED), published_count));
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
    cr_expect(eq(u64, rig->core->counters.internal_errors, 0));
}

static void
run(uint64_t seed)
{
    random_state = seed;
    for (int i = 0; i < STEPS; i++) {
        step();
        look();
        if (disk != NULL) {
            step_disk();
            look();
        }
        if (i % 100 == 0) {
            compare_counts();
        }
    }
    compare_counts();
    drain();
}

Test(conservation, nothing_is_lost_and_nothing_is_settled_twice)
{
    run(1);
}

Test(conservation, nothing_is_lost_with_another_seed)
{
    run(20261123);
}

static void
run_with_log(uint64_t seed)
{
    run(seed);
    log_check(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), 0));
    cr_expect(lt(u32, 10, disk->records[RECORD_HANDOUT]));
    cr_expect(lt(u64, 1, journal_segment_number(disk->journal)));
}

Test(conservation_with_log, log_and_queues_agree)
{
    run_with_log(1);
}

Test(conservation_with_log, log_and_queues_agree_with_another_seed)
{
    run_with_log(20261123);
}
