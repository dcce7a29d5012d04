/* SPDX-License-Identifier: Apache-2.0 */
/* A client that asks for more than it reads is not read any more: what waits for it is bounded. */
#include "tests/unit/broker/messaging.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODY_SIZE = 1024 * 1024 };

static struct rig *rig;
static uint64_t client;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
    declare_queue(rig, client, "q");
    uint64_t publisher = messaging_client(rig);
    uint8_t *body = xalloc(BODY_SIZE);
    for (int i = 0; i < 40; i++) {
        struct rig_publish publish = {
            .exchange = "", .routing_key = "q", .body = bytes_make(body, BODY_SIZE)};
        rig_publish_as(rig, publisher, 1, &publish);
    }
    free(body);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(backpressure, .init = set_up, .fini = tear_down);

static void
send_get(void)
{
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, client, 1, &get);
}

/* basic.get knows no prefetch, so only the socket bounds its answers. */
Test(backpressure, pipelined_gets_of_a_client_that_does_not_read_stop_being_read)
{
    rig_link(rig, client)->is_stuck = true;
    int sent = 0;
    while (!rig_link(rig, client)->is_paused && sent < 40) {
        send_get();
        sent++;
    }
    cr_expect(rig_link(rig, client)->is_paused);
    cr_expect(le(u64, rig_link(rig, client)->owed, CORE_OUTPUT_OCTETS + 2 * BODY_SIZE));
    cr_expect(lt(int, 20, sent), "a usual burst is not hindered");

    rig_link(rig, client)->is_stuck = false;
    rig_turn(rig);
    cr_expect(not(rig_link(rig, client)->is_paused), "it reads, so it is read");
}

Test(backpressure, one_message_larger_than_the_window_does_not_stop_reading)
{
    rig_link(rig, client)->is_stuck = true;
    send_get();
    cr_expect(lt(u64, CORE_WINDOW_OCTETS, rig_link(rig, client)->owed));
    cr_expect(not(rig_link(rig, client)->is_paused));
}

/* Publishes `count` messages of `size` octets to the queue. */
static void
fill_queue(const char *name, int count, size_t size)
{
    uint64_t publisher = messaging_client(rig);
    declare_queue(rig, publisher, name);
    uint8_t *body = xalloc(size);
    for (int i = 0; i < count; i++) {
        struct rig_publish publish = {
            .exchange = "", .routing_key = name, .body = bytes_make(body, size)};
        rig_publish_as(rig, publisher, 1, &publish);
    }
    free(body);
}

/* Deliveries of that consumer tag among those the client has not looked at. */
static int
count_deliveries_of(uint64_t link, const char *tag, int *others_out)
{
    int count = 0;
    *others_out = 0;
    const struct posted *posted;
    while ((posted = rig_next(rig, link)) != NULL) {
        if (bytes_equal_text(posted->method.basic_deliver.consumer_tag, tag)) {
            count++;
        } else {
            ++*others_out;
        }
    }
    return count;
}

/* Two queues on one connection: the window is a small part of what either holds, and the first must
 * not take all of it whenever it opens. Large and small messages alike. */
Test(backpressure, queues_that_share_a_connection_share_its_window)
{
    static const size_t sizes[] = {512, 64 * 1024};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char first[8];
        char second[8];
        (void)snprintf(first, sizeof(first), "a%zu", i);
        (void)snprintf(second, sizeof(second), "b%zu", i);
        int count = (int)(4 * CORE_WINDOW_OCTETS / sizes[i]);
        fill_queue(first, count, sizes[i]);
        fill_queue(second, count, sizes[i]);
        uint64_t consumer = messaging_client(rig);
        rig_link(rig, consumer)->is_stuck = true;
        rig->holds_turn = true; /* both consumers are there before the first message leaves */
        consume(rig, consumer, 1, first, "a", true);
        consume(rig, consumer, 1, second, "b", true);
        rig->holds_turn = false;
        for (int window = 0; window < 4; window++) {
            rig_turn(rig);
            int others;
            int mine = count_deliveries_of(consumer, "a", &others);
            cr_expect(ge(int, mine, 1), "%zu octets, window %d", sizes[i], window);
            cr_expect(ge(int, others, 1), "%zu octets, window %d", sizes[i], window);
            rig_link(rig, consumer)->is_stuck = false;
            rig_turn(rig); /* reports all as written: the window opens */
            rig_link(rig, consumer)->is_stuck = true;
        }
    }
}
