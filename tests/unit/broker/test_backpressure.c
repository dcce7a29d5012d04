/* SPDX-License-Identifier: Apache-2.0 */
/* A client that asks for more than it reads is not read any more: what waits for it is bounded. */
#include "tests/unit/broker/messaging.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
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
    cr_expect(gt(int, sent, 20), "a usual burst is not hindered");

    rig_link(rig, client)->is_stuck = false;
    rig_turn(rig);
    cr_expect(not(rig_link(rig, client)->is_paused), "it reads, so it is read");
}

Test(backpressure, one_message_larger_than_the_window_does_not_stop_reading)
{
    rig_link(rig, client)->is_stuck = true;
    send_get();
    cr_expect(gt(u64, rig_link(rig, client)->owed, CORE_WINDOW_OCTETS));
    cr_expect(not(rig_link(rig, client)->is_paused));
}
