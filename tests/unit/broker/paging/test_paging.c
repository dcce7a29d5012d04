/* SPDX-License-Identifier: Apache-2.0 */
/* Backlogs larger than memory: a core with a real data directory and a small memory mark. */
#include "broker/paging/paging.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/topology/policies.h"
#include "store/space.h"
#include "tests/unit/broker/directory_rig.h"

enum {
    BODY_SIZE = 4096,
    BACKLOG = 6000, /* three times the mark */
};

static char path[DIRECTORY_PATH_SIZE];
static struct rig *rig;
static struct data_directory *data;

static void
start(void)
{
    data = directory_rig_open(&rig, path);
}

static void
stop(void)
{
    directory_rig_close(&rig, &data);
}

static void
set_up(void)
{
    directory_make(path, "paging");
    start();
    (void)rig_add_vhost(rig, "/");
    rig_add_user(rig, "u", "p");
}

static void
tear_down(void)
{
    stop();
    directory_remove(path);
}

TestSuite(paging, .init = set_up, .fini = tear_down);

static void
pump(void)
{
    directory_rig_turn(rig, data);
}

static void
declare_durable_with(uint64_t link, const char *name, struct bytes arguments)
{
    struct queue_declare declare = {
        .queue = bytes_of(name), .durable = true, .arguments = arguments};
    struct method method = {.id = METHOD_QUEUE_DECLARE, .queue_declare = declare};
    rig_send(rig, link, 1, &method);
    directory_rig_expect(rig, data, link, METHOD_QUEUE_DECLARE_OK);
}

static void
declare_durable(uint64_t link, const char *name)
{
    declare_durable_with(link, name, bytes_make(NULL, 0));
}

/* The number, and octets that follow from it. */
static void
fill_body(uint8_t *body, size_t size, uint32_t number)
{
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t word = number + (uint32_t)i * 2654435761U;
        memcpy(body + i, &word, 4);
    }
}

/* `expiration` NULL: none; `priority` 0: none. */
static void
publish_at(uint64_t link, const char *queue, uint32_t number, size_t size, bool is_persistent,
           const char *expiration, uint8_t priority)
{
    while (rig_link(rig, link)->is_paused) {
        pump(); /* the log has to catch up */
    }
    uint8_t *body = malloc(size);
    fill_body(body, size, number);
    struct properties properties = {0};
    if (expiration != NULL) {
        properties.flags = PROPERTY_EXPIRATION;
        properties.expiration = bytes_of(expiration);
    }
    if (priority != 0) {
        properties.flags |= PROPERTY_PRIORITY;
        properties.priority = priority;
    }
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = "",
        .routing_key = queue,
        .properties = properties.flags == 0 ? (struct bytes){0} : buffer_bytes(&block),
        .body = bytes_make(body, size),
        .is_persistent = is_persistent,
    };
    rig_publish_as(rig, link, 1, &publish);
    buffer_fini(&block);
    free(body);
}

static void
publish_until(uint64_t link, const char *queue, uint32_t number, size_t size, bool is_persistent,
              const char *expiration)
{
    publish_at(link, queue, number, size, is_persistent, expiration, 0);
}

static void
publish_sized(uint64_t link, const char *queue, uint32_t number, size_t size, bool is_persistent)
{
    publish_until(link, queue, number, size, is_persistent, NULL);
}

static uint64_t
used_bytes(void)
{
    return chunk_pool_bytes(rig->pool) + rig->core->queue_memory.bytes;
}

/* A disk that is slower than the test must not raise the alarm; memory is relieved without any
 * consumer. */
static void
pump_until_relieved(void)
{
    pump();
    for (int i = 0; i < DIRECTORY_TURNS_MAX && used_bytes() >= DIRECTORY_MARK / 10 * 9; i++) {
        pump();
    }
    cr_assert(lt(u64, used_bytes(), DIRECTORY_MARK / 10 * 9));
    cr_assert(eq(int, rig->core->alarms, 0), "publishing goes on");
}

static void
publish_backlog(uint64_t link, const char *queue, uint32_t count, bool is_persistent)
{
    for (uint32_t i = 0; i < count; i++) {
        publish_sized(link, queue, i, BODY_SIZE, is_persistent);
        if (i % 64 == 63) {
            pump_until_relieved();
        }
    }
    for (int i = 0; i < 50; i++) {
        pump();
    }
    pump_until_relieved();
}

static void
expect_body(const struct posted *posted, uint32_t number, size_t size)
{
    uint8_t *expected = malloc(size);
    fill_body(expected, size, number);
    cr_assert(eq(sz, posted->body.size, size));
    cr_assert(bytes_equal(posted->body, bytes_make(expected, size & ~(size_t)3)), "message %u",
              number);
    free(expected);
}

/* The next delivery or message of basic.get, after as many turns as it takes. */
static const struct posted *
next_content(uint64_t link)
{
    for (int i = 0; i < DIRECTORY_TURNS_MAX; i++) {
        const struct posted *posted;
        while ((posted = rig_next(rig, link)) != NULL) {
            if (posted->type == NET_ACTION_DELIVER || posted->type == NET_ACTION_CONTENT) {
                return posted;
            }
        }
        pump();
    }
    return NULL;
}

static void
expect_contents(uint64_t link, uint32_t first, uint32_t end)
{
    for (uint32_t number = first; number < end; number++) {
        const struct posted *posted = next_content(link);
        cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", number);
        expect_body(posted, number, BODY_SIZE);
    }
}

/* Issue and design, part 4: publishing goes on, memory stays bounded, nothing is lost or changed.
 */
static void
fill_and_drain(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, is_persistent);
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK / 10 * 9));
    cr_expect(eq(u64, ready_count(rig, "q"), BACKLOG));
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, 0, BACKLOG);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK));
}

Test(paging, backlog_of_persistent_messages_is_dropped_and_comes_back)
{
    fill_and_drain(true);
    cr_expect(ge(u64, core_paging_counters(rig->core)->fetched_contents, BACKLOG / 2));
}

Test(paging, backlog_of_transient_messages_is_spilled_and_comes_back)
{
    fill_and_drain(false);
    cr_expect(eq(u64, core_paging_counters(rig->core)->lost, 0));
}

/* What is pinned, kept or only in memory goes by other ways than its neighbours, in order. */
Test(paging, transient_and_persistent_messages_of_one_queue_keep_their_order)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    for (uint32_t i = 0; i < BACKLOG; i++) {
        publish_sized(link, "q", i, BODY_SIZE, i % 7 != 0);
        if (i % 64 == 63) {
            pump_until_relieved();
        }
    }
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK));
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, 0, BACKLOG);
}

/* AMQP methods of a channel are answered in order: what follows a get that waits, waits too. */
Test(paging, get_waits_for_a_message_that_is_on_disk)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, true);
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    while (rig_next(rig, link) != NULL) {
    }
    rig_send(rig, link, 1, &get);
    rig_send(rig, link, 1, &get);
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .passive = true}};
    rig_send(rig, link, 1, &declare);
    expect_contents(link, 0, 2);
    const struct posted *answer = NULL;
    for (int i = 0; i < DIRECTORY_TURNS_MAX && answer == NULL; i++) {
        pump();
        answer = rig_next(rig, link);
    }
    cr_assert(eq(int, (int)answer->method.id, METHOD_QUEUE_DECLARE_OK));
    cr_expect(eq(u32, answer->method.queue_declare_ok.message_count, BACKLOG - 2));
}

/* A message that comes back may have lost its content meanwhile. */
Test(paging, requeued_messages_are_fetched_again_in_order)
{
    enum { TAKEN = 3000 };
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, true);
    uint64_t other = messaging_client(rig);
    consume(rig, other, 1, "q", "c", false);
    expect_contents(other, 0, TAKEN);
    rig_hang_up(rig, other);
    publish_backlog(link, "elsewhere", 1, true);
    cr_expect(eq(u64, ready_count(rig, "q"), BACKLOG));
    uint64_t third = messaging_client(rig);
    consume(rig, third, 1, "q", "c", true);
    expect_contents(third, 0, BACKLOG);
}

/* Everybody waits for room that somebody holds: nobody may wait for ever. */
Test(paging, more_queues_than_windows_fit_are_drained_side_by_side)
{
    enum { QUEUES = 40, EACH = 150 };
    uint64_t link = messaging_client(rig);
    for (uint32_t i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%u", i);
        struct queue_declare declare = {.queue = bytes_of(name), .durable = true};
        struct method method = {.id = METHOD_QUEUE_DECLARE, .queue_declare = declare};
        rig_send(rig, link, 1, &method);
        pump();
    }
    for (uint32_t i = 0; i < QUEUES * EACH; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%u", i % QUEUES);
        publish_sized(link, name, i / QUEUES, BODY_SIZE, true);
        if (i % 64 == 63) {
            pump_until_relieved();
        }
    }
    for (int i = 0; i < 50; i++) {
        pump();
    }
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK));
    uint64_t links[QUEUES];
    for (uint32_t i = 0; i < QUEUES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%u", i);
        links[i] = messaging_client(rig);
        consume(rig, links[i], 1, name, "c", true);
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        expect_contents(links[i], 0, EACH);
    }
}

/* A content may be larger than the usual window, and than all windows may take together. */
Test(paging, large_messages_come_back_one_by_one)
{
    enum { LARGE = 3000000, COUNT = 8 };
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    for (uint32_t i = 0; i < COUNT; i++) {
        publish_sized(link, "q", i, LARGE, true);
        for (int turn = 0; turn < 30; turn++) {
            pump_until_relieved();
        }
    }
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK));
    consume(rig, link, 1, "q", "c", true);
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct posted *posted = next_content(link);
        cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", i);
        expect_body(posted, i, LARGE);
    }
}

static void
pump_until_empty(void)
{
    for (int i = 0; i < DIRECTORY_TURNS_MAX && !queue_discards_is_empty(&rig->core->discards);
         i++) {
        pump();
    }
    cr_assert(queue_discards_is_empty(&rig->core->discards));
}

/* A purge names each message to the log, on disk or not. */
Test(paging, purged_backlog_leaves_nothing_behind)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, true);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, link, 1, &purge);
    pump_until_empty();
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    publish_backlog(link, "q", 10, true);
    stop();
    start();
    cr_expect(eq(u64, ready_count(rig, "q"), 10));
}

/* Every `every`th message lives for ever, the others for ten minutes. */
static void
publish_mortal_backlog(uint64_t link, uint32_t every, bool is_persistent)
{
    for (uint32_t i = 0; i < BACKLOG; i++) {
        bool is_mortal = every == 0 || i % every != 0;
        publish_until(link, "q", i, BODY_SIZE, is_persistent, is_mortal ? "600000" : NULL);
        if (i % 64 == 63) {
            pump_until_relieved();
        }
    }
    for (int i = 0; i < 50; i++) {
        pump();
    }
}

static void
pump_until_left(uint64_t count)
{
    rig_step(rig, 700000);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && ready_count(rig, "q") > count; i++) {
        pump();
    }
    cr_assert(eq(u64, ready_count(rig, "q"), count));
    queue_check(find_queue(rig, "q"));
}

/* Nobody takes messages, so nothing else has their entries read back. */
static void
expire_in_order(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_mortal_backlog(link, 0, is_persistent);
    cr_assert(is_persistent || find_queue(rig, "q")->deque.has_runs);
    pump_until_left(0);
    for (int i = 0; i < 50; i++) {
        pump();
    }
    cr_expect(eq(u64, find_queue(rig, "q")->deque.dead_count, 0));
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK / 2));
}

Test(paging, persistent_backlog_expires_without_a_consumer)
{
    expire_in_order(true);
}

Test(paging, transient_backlog_expires_without_a_consumer)
{
    expire_in_order(false);
}

/* Those that die between others are known to be dead when they come back. */
static void
expire_between_others(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_mortal_backlog(link, 3, is_persistent);
    cr_assert(is_persistent || find_queue(rig, "q")->deque.has_runs);
    pump_until_left(BACKLOG / 3);
    consume(rig, link, 1, "q", "c", true);
    for (uint32_t number = 0; number < BACKLOG; number += 3) {
        const struct posted *posted = next_content(link);
        cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", number);
        expect_body(posted, number, BODY_SIZE);
    }
    cr_expect(eq(u64, core_paging_counters(rig->core)->lost, 0));
    cr_expect(eq(u64, core_unreadable_count(find_queue(rig, "q")), 0));
}

Test(paging, persistent_messages_that_died_between_others_do_not_come_back)
{
    expire_between_others(true);
}

Test(paging, transient_messages_that_died_between_others_do_not_come_back)
{
    expire_between_others(false);
}

Test(paging, deleted_queue_leaves_nothing_behind)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, false);
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, 0, 10);
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, link, 1, &delete);
    pump_until_empty();
    for (int i = 0; i < 20; i++) {
        pump();
    }
    cr_expect(le(u64, used_bytes(), 4 * CHUNK_SIZE));
}

/* After a restart every message is on disk only. */
Test(paging, backlog_survives_a_restart_in_order)
{
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, true);
    stop();
    start();
    cr_expect(eq(u64, ready_count(rig, "q"), BACKLOG));
    link = messaging_client(rig);
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, 0, BACKLOG);
}

/* Flips one octet of the body of message `number`, wherever in the segments it lies. */
static void
damage(uint32_t number)
{
    uint8_t body[64];
    fill_body(body, sizeof(body), number);
    for (uint32_t segment = 0; segment < 64; segment++) {
        char name[128];
        snprintf(name, sizeof(name), "%s/seg.%016x", path, segment);
        int file = open(name, O_RDWR | O_CLOEXEC);
        if (file < 0) {
            continue;
        }
        uint8_t *octets = malloc(DIRECTORY_SEGMENT);
        ssize_t size = pread(file, octets, DIRECTORY_SEGMENT, 0);
        const uint8_t *at = memmem(octets, size < 0 ? 0 : (size_t)size, body, sizeof(body));
        if (at != NULL) {
            uint8_t wrong = (uint8_t)~at[20];
            cr_assert(eq(sz, (size_t)pwrite(file, &wrong, 1, at + 20 - octets), 1));
        }
        free(octets);
        close(file);
        if (at != NULL) {
            return;
        }
    }
    cr_assert(false, "message %u is in no segment", number);
}

/* Never a wrong body; what cannot be read is set aside, and the next start tries it again. */
Test(paging, message_that_is_damaged_on_disk_is_set_aside)
{
    enum { DAMAGED = 700 };
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    publish_backlog(link, "q", BACKLOG, true);
    damage(DAMAGED);
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, 0, DAMAGED);
    expect_contents(link, DAMAGED + 1, BACKLOG);
    cr_expect(eq(u64, core_paging_counters(rig->core)->unreadable, 1));
    cr_expect(eq(u64, core_unreadable_count(find_queue(rig, "q")), 1));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(rig_logged(rig, "message.unreadable"));
    stop();
    start();
    cr_expect(eq(u64, ready_count(rig, "q"), 1), "it is still in the log");
}

/* A queue that counts, with one message that has failed, is on disk only, and is damaged there. */
static struct queue *
damage_failed(void)
{
    enum { DAMAGED = 1 };
    struct buffer arguments;
    uint64_t link = messaging_client(rig);
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-delivery-limit", 5);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("dead"));
    declare_durable(link, "dead");
    declare_durable_with(link, "q", buffer_bytes(&arguments));
    buffer_fini(&arguments);
    publish_sized(link, "q", DAMAGED, BODY_SIZE, true);
    consume(rig, link, 1, "q", "c", false);
    const struct posted *posted = next_content(link);
    cr_assert(ne(ptr, (void *)posted, NULL));
    cancel(rig, link, "c");
    send_nack(rig, link, 1, posted->method.basic_deliver.delivery_tag, false, true);
    for (int i = 0; i < 50; i++) {
        pump();
    }
    stop();
    start();
    damage(DAMAGED);
    struct queue *queue = find_queue(rig, "q");
    cr_assert(eq(u64, queue->ready_count, 1));
    cr_assert(eq(u32, queue->failures->count, 1));
    return queue;
}

Test(paging, nothing_is_known_any_more_of_the_failures_of_what_was_set_aside)
{
    const struct queue *queue = damage_failed();
    uint64_t live_octets = space_live_octets(rig->core->space);
    uint64_t link = messaging_client(rig);
    consume(rig, link, 1, "q", "c", true);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && queue->ready_count > 0; i++) {
        pump();
    }
    cr_expect(eq(u64, core_unreadable_count(queue), 1));
    cr_expect(eq(u32, queue->failures->count, 0));
    cr_expect(eq(u64, space_live_octets(rig->core->space), live_octets), "the log keeps it all");
}

Test(paging, nothing_is_known_any_more_of_the_failures_of_a_dead_letter_that_was_set_aside)
{
    struct queue *queue = damage_failed();
    uint64_t live_octets = space_live_octets(rig->core->space);
    struct queue_entry entry;
    uint64_t position;
    cr_assert(queue_pop(queue, &entry, &position));
    cr_assert(eq(int, core_reserve_deaths(queue, DEATH_MAXLEN, 1), STATUS_OK));
    core_let_die(rig->core, queue, &entry, position, DEATH_MAXLEN);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && queue_first_dying(queue) != NULL; i++) {
        pump();
    }
    cr_expect(eq(u64, core_unreadable_count(queue), 1));
    cr_expect(eq(u32, queue->failures->count, 0));
    cr_expect(eq(u64, space_live_octets(rig->core->space), live_octets), "the log keeps it all");
    queue_check(queue);
}

/* What is dropped needs no contents: entries suffice, wherever they are. */
Test(paging, a_limit_drops_what_is_not_in_memory_without_reading_it)
{
    enum { COUNT_MAX = 480000, KEPT = 1000 };
    uint64_t link = messaging_client(rig);
    declare_durable(link, "q");
    struct queue *queue = find_queue(rig, "q");
    /* When entries go to the disk depends on how far the log's thread is: about at 100,000. */
    uint32_t count = 0;
    while (count < COUNT_MAX && (!queue->deque.has_runs || count % 1024 != 0)) {
        publish_sized(link, "q", count++, 64, true);
        if (count % 1024 == 0) {
            pump_until_relieved();
        }
    }
    cr_assert(queue->deque.has_runs, "some of its entries are on disk");
    uint64_t fetches = core_paging_counters(rig->core)->fetches;
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", KEPT);
    uint32_t changed;
    cr_assert(eq(int, queue_set_arguments(queue, buffer_bytes(&arguments), &changed), STATUS_OK));
    buffer_fini(&arguments);
    core_settings_changed(rig->core, queue, changed);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && queue->ready_count > KEPT; i++) {
        pump();
    }
    cr_expect(eq(u64, queue->ready_count, KEPT));
    cr_expect(eq(u64, core_paging_counters(rig->core)->fetches, fetches));
    queue_check(queue);
    publish_sized(link, "q", count, 64, true);
    consume(rig, link, 1, "q", "c", true);
    for (uint32_t number = count - KEPT; number < count; number++) {
        const struct posted *posted = next_content(link);
        cr_assert(not(zero(ptr, (void *)posted)));
        expect_body(posted, number + 1, 64);
    }
}

/* Priorities -----------------------------------------------------------------------------------
 */

enum { LEVELS = 3 };

static void
declare_with_levels(uint64_t link)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-priority", 9);
    declare_durable_with(link, "q", buffer_bytes(&arguments));
    buffer_fini(&arguments);
}

/* The levels take turns. */
static void
publish_levels(uint64_t link, const char *expiration, bool is_persistent)
{
    for (uint32_t i = 0; i < BACKLOG; i++) {
        publish_at(link, "q", i, BODY_SIZE, is_persistent, expiration, (uint8_t)(i % LEVELS));
        if (i % 64 == 63) {
            pump_until_relieved();
        }
    }
    for (int i = 0; i < 50; i++) {
        pump();
    }
}

static void
expect_levels(uint64_t link)
{
    for (uint32_t level = LEVELS; level > 0; level--) {
        for (uint32_t number = level - 1; number < BACKLOG; number += LEVELS) {
            const struct posted *posted = next_content(link);
            cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", number);
            expect_body(posted, number, BODY_SIZE);
        }
    }
}

static void
fill_and_drain_levels(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_with_levels(link);
    publish_levels(link, NULL, is_persistent);
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK / 10 * 9));
    queue_check(find_queue(rig, "q"));
    consume(rig, link, 1, "q", "c", true);
    expect_levels(link);
    queue_check(find_queue(rig, "q"));
    cr_expect(le(u64, used_bytes(), DIRECTORY_MARK));
    cr_expect(eq(u64, core_paging_counters(rig->core)->lost, 0));
}

Test(paging, persistent_backlog_of_several_levels_comes_back_in_order)
{
    fill_and_drain_levels(true);
}

Test(paging, transient_backlog_of_several_levels_comes_back_in_order)
{
    fill_and_drain_levels(false);
}

Test(paging, backlog_of_several_levels_survives_a_restart)
{
    uint64_t link = messaging_client(rig);
    declare_with_levels(link);
    publish_levels(link, NULL, true);
    stop();
    start();
    queue_check(find_queue(rig, "q"));
    link = messaging_client(rig);
    consume(rig, link, 1, "q", "c", true);
    expect_levels(link);
}

static void
expire_levels(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_with_levels(link);
    publish_levels(link, "600000", is_persistent);
    publish_at(link, "q", BACKLOG, BODY_SIZE, is_persistent, NULL, 9);
    pump_until_left(1);
    consume(rig, link, 1, "q", "c", true);
    expect_contents(link, BACKLOG, BACKLOG + 1);
}

/* Levels that nobody takes messages from are read back for their deadlines alone. */
Test(paging, persistent_backlog_of_levels_that_are_not_served_expires)
{
    expire_levels(true);
}

Test(paging, transient_backlog_of_levels_that_are_not_served_expires)
{
    expire_levels(false);
}

/* An urgent message comes to the front whatever is under way for those behind it, and what was
 * fetched for them is not lost. */
static void
drain_with_urgent_messages(bool is_persistent)
{
    uint64_t link = messaging_client(rig);
    declare_with_levels(link);
    publish_backlog(link, "q", BACKLOG, is_persistent);
    uint64_t other = messaging_client(rig);
    set_prefetch(rig, other, 1, 1, false);
    consume(rig, other, 1, "q", "c", false);
    uint32_t urgent = BACKLOG;
    uint64_t tag = 0;
    for (uint32_t number = 0; number < BACKLOG; number++) {
        const struct posted *posted = next_content(other);
        cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", number);
        expect_body(posted, number, BODY_SIZE);
        if (number % 7 == 0) {
            publish_at(link, "q", urgent, BODY_SIZE, is_persistent, NULL, 9);
            send_ack(rig, other, 1, ++tag, false);
            posted = next_content(other);
            cr_assert(not(zero(ptr, (void *)posted)));
            expect_body(posted, urgent++, BODY_SIZE);
        }
        send_ack(rig, other, 1, ++tag, false);
    }
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(le(u64, core_paging_counters(rig->core)->fetched_contents, urgent + urgent / 4));
    queue_check(find_queue(rig, "q"));
}

Test(paging, urgent_messages_overtake_a_persistent_backlog_that_is_fetched)
{
    drain_with_urgent_messages(true);
}

Test(paging, urgent_messages_overtake_a_transient_backlog_that_is_read_back)
{
    drain_with_urgent_messages(false);
}

/* Dead letters ----------------------------------------------------------------------------------
 */

static void
declare_with_dead_letters(uint64_t link, const char *name, const char *dead)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of(dead));
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name),
                          .arguments = buffer_bytes(&arguments),
                          .durable = true,
                          .nowait = true},
    };
    rig_send(rig, link, 1, &method);
    buffer_fini(&arguments);
}

/* Design, part 6: a dying message whose content is not in memory waits until it is fetched, and
 * those behind it wait with it, for deaths keep their order. Large ones come in blocks of their
 * own.
 */
static void
reject_what_is_on_disk(bool is_persistent)
{
    enum { TAKEN = 700, LARGE = 400 * 1024 };
    uint64_t link = messaging_client(rig);
    declare_durable(link, "dead");
    declare_with_dead_letters(link, "q", "dead");
    uint64_t other = messaging_client(rig);
    consume(rig, other, 1, "q", "c", false);
    for (uint32_t i = 0; i < TAKEN; i++) {
        publish_sized(link, "q", i, i % 100 == 99 ? LARGE : BODY_SIZE, is_persistent);
        const struct posted *posted = next_content(other);
        cr_assert(not(zero(ptr, (void *)posted)));
    }
    publish_backlog(link, "elsewhere", 1, is_persistent);
    declare_durable(link, "more");
    publish_backlog(link, "more", BACKLOG, is_persistent); /* takes the place of the first */
    uint64_t fetches = core_paging_counters(rig->core)->fetches;
    send_nack(rig, other, 1, 0, true, false);
    for (int i = 0; i < DIRECTORY_TURNS_MAX && ready_count(rig, "dead") < TAKEN; i++) {
        pump();
    }
    cr_assert(eq(u64, ready_count(rig, "dead"), TAKEN));
    if (is_persistent) {
        cr_expect(ge(u64, core_paging_counters(rig->core)->fetches, fetches + 1));
    }
    cr_expect(eq(u64, core_paging_counters(rig->core)->lost, 0));
    cr_expect(eq(u64, core_paging_counters(rig->core)->unreadable, 0));
    rig_hang_up(rig, other);
    uint64_t third = messaging_client(rig);
    consume(rig, third, 1, "dead", "d", true);
    for (uint32_t i = 0; i < TAKEN; i++) {
        const struct posted *posted = next_content(third);
        cr_assert(not(zero(ptr, (void *)posted)), "message %u did not come", i);
        expect_body(posted, i, i % 100 == 99 ? LARGE : BODY_SIZE);
    }
    cr_expect(eq(u64, find_queue(rig, "q")->dying->count, 0));
    cr_expect(eq(u64, find_queue(rig, "q")->dying->window_octets, 0));
}

Test(paging, persistent_messages_that_die_while_they_are_on_disk_are_fetched)
{
    reject_what_is_on_disk(true);
}

Test(paging, transient_messages_that_die_while_they_are_spilled_are_read_back)
{
    reject_what_is_on_disk(false);
}
