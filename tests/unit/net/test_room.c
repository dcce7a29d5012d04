/* SPDX-License-Identifier: Apache-2.0 */
/* Room for contents: when the core allows no more message memory, whoever brings a further content
 * waits in front of it, unread, and nobody else does. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "net/network_state.h"
#include "tests/unit/net/harness.h"

enum { FRAME_MAX = 131072 };

static struct harness *harness;
static struct buffer out;
static int fd;

static void
set_up(void)
{
    harness = malloc(sizeof(*harness));
    harness_start(harness, NULL, transport_factory_tcp(), false);
    fd = harness_establish(harness, FRAME_MAX);
    out = (struct buffer){0};
}

static void
tear_down(void)
{
    buffer_fini(&out);
    close(fd);
    harness_stop(harness);
    free(harness);
}

TestSuite(room, .init = set_up, .fini = tear_down);

static void
allow(uint64_t octets)
{
    network_group_allow(harness->network->group, octets);
}

static size_t
publish_count(void)
{
    return harness_count(harness, NET_EVENT_PUBLISH);
}

static void
put_ping(void)
{
    put_method(&out, 1, &(struct method){.id = METHOD_TX_SELECT});
}

static void
put_large(size_t size)
{
    uint8_t *body = calloc(1, size);
    put_publish(&out, 1, "x", "k", bytes_make(body, size), FRAME_MAX);
    free(body);
}

Test(room, a_content_waits_and_what_came_before_it_does_not)
{
    allow(0);
    put_ping();
    put_publish(&out, 1, "x", "k", bytes_of("first"), FRAME_MAX);
    put_publish(&out, 1, "x", "k", bytes_of("second"), FRAME_MAX);
    put_ping();
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
    cr_expect(eq(sz, publish_count(), 0));
    cr_expect(not(network_has_work(harness->network)), "it sleeps until it is called");

    allow(UINT64_MAX);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 2));
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 2));
}

Test(room, nobody_else_waits)
{
    int other = harness_establish(harness, FRAME_MAX);
    allow(0);
    put_publish(&out, 1, "x", "k", bytes_of("waits"), FRAME_MAX);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    put_ping();
    harness_send_buffer(other, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
    cr_expect(eq(sz, publish_count(), 0));
    close(other);
}

Test(room, a_content_that_has_begun_goes_on)
{
    put_large(300000);
    struct bytes all = buffer_bytes(&out);
    harness_send(fd, all.data, 100000);
    harness_settle(harness);
    allow(0);
    harness_send(fd, all.data + 100000, all.size - 100000);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 1));
    buffer_clear(&out);
    put_publish(&out, 1, "x", "k", bytes_of("next"), FRAME_MAX);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 1), "the next one waits");
}

/* I11: the sum over all links is bounded, with the whole size of what has only begun. */
Test(room, contents_begin_as_long_as_what_was_opened_is_below_what_is_allowed)
{
    enum { SIZE = 1000000 };
    size_t before = harness->mapped_bytes;
    allow(5 * SIZE / 2);
    for (uint16_t channel = 1; channel <= 10; channel++) {
        put_publish_method(&out, channel, "x", "k");
        put_header(&out, channel, CLASS_BASIC, SIZE, bytes_make("\0\0", 2));
    }
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(lt(sz, 3 * SIZE, harness->mapped_bytes - before));
    cr_expect(lt(sz, harness->mapped_bytes - before, 4 * SIZE));
    allow(7 * SIZE / 2);
    harness_settle(harness);
    cr_expect(lt(sz, 4 * SIZE, harness->mapped_bytes - before));
    cr_expect(lt(sz, harness->mapped_bytes - before, 5 * SIZE));
}

Test(room, a_link_that_was_paused_meanwhile_asks_again)
{
    allow(0);
    put_publish(&out, 1, "x", "k", bytes_of("b"), FRAME_MAX);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    harness_post(harness, harness->links[0], NET_ACTION_PAUSE);
    allow(UINT64_MAX);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 0));
    allow(0);
    harness_post(harness, harness->links[0], NET_ACTION_RESUME);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 0));
    allow(UINT64_MAX);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 1));
}

/* connection.close says that contents are of no interest any more, so its answer is heard. */
Test(room, a_connection_that_is_closed_waits_no_longer)
{
    allow(0);
    put_publish(&out, 1, "x", "k", bytes_of("b"), FRAME_MAX);
    put_method(&out, 0, &(struct method){.id = METHOD_CONNECTION_CLOSE_OK});
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 0));
    harness_post_method(harness, harness->links[0], 0,
                        &(struct method){.id = METHOD_CONNECTION_CLOSE});
    harness_settle(harness);
    cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), 1));
    cr_expect(eq(sz, publish_count(), 0));
}

Test(room, a_link_that_ends_while_it_waits_is_freed)
{
    allow(0);
    put_publish(&out, 1, "x", "k", bytes_of("b"), FRAME_MAX);
    harness_send_buffer(fd, &out);
    harness_settle(harness);
    harness_post_close(harness, harness->links[0], 0);
    harness_settle(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    allow(UINT64_MAX);
    harness_settle(harness);
    cr_expect(eq(sz, publish_count(), 0));
}
