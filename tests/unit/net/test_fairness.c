/* SPDX-License-Identifier: Apache-2.0 */
/* What one peer can take of a turn, so that no other waits long: one read, one step of a handshake,
 * and of all newcomers together one use of the private key. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/unit/net/harness.h"

/* What happened to the transports of a test. */
struct footprint {
    size_t step_count;
    size_t read_size_max; /* the largest read that was asked for */
    size_t record_size;   /* not zero: a read brings so many octets at most, as TLS does */
    bool uses_private_key;
};

static struct harness *harness;
static struct footprint footprint;

static void
set_up(void)
{
    footprint = (struct footprint){0};
    harness = malloc(sizeof(*harness));
    harness_start(harness, NULL, transport_factory_tcp(), false);
}

static void
tear_down(void)
{
    harness_stop(harness);
    free(harness);
}

TestSuite(fairness, .init = set_up, .fini = tear_down);

/* A transport that counts ------------------------------------------------------------------------
 */

/* Plain TCP with a handshake: one octet of 'h' is half of it, one of 'g' its end. */
static struct transport_operations footprint_operations;

static enum status
footprint_handshake(struct transport *transport)
{
    uint8_t octet;
    footprint.step_count++;
    if (recv(transport->fd, &octet, 1, 0) == 1) {
        transport->used_private_key = footprint.uses_private_key;
        return octet == 'g' ? STATUS_OK : STATUS_AGAIN;
    }
    transport->wants = TRANSPORT_WANTS_READ;
    return STATUS_AGAIN;
}

static enum status
footprint_read(struct transport *transport, uint8_t *out, size_t size, size_t *size_out)
{
    if (size > footprint.read_size_max) {
        footprint.read_size_max = size;
    }
    bool is_cut = footprint.record_size > 0 && size > footprint.record_size;
    ssize_t count = recv(transport->fd, out, is_cut ? footprint.record_size : size, 0);
    if (count > 0) {
        transport->is_drained = footprint.record_size == 0 && (size_t)count < size;
        *size_out = (size_t)count;
        return STATUS_OK;
    }
    transport->wants = TRANSPORT_WANTS_READ;
    return count == 0 ? STATUS_CLOSED : STATUS_AGAIN;
}

static bool
footprint_has_pending(const struct transport *transport)
{
    int count = 0;
    int result = ioctl(transport->fd, FIONREAD, &count);
    cr_assert(eq(int, result, 0));
    return footprint.record_size > 0 && count > 0;
}

static struct transport *
footprint_make(void *context, int fd)
{
    (void)context;
    struct transport *transport = transport_factory_tcp().make(NULL, fd);
    footprint_operations = *transport->operations;
    footprint_operations.read = footprint_read;
    footprint_operations.handshake = footprint_handshake;
    footprint_operations.has_pending = footprint_has_pending;
    transport->operations = &footprint_operations;
    transport->wants = TRANSPORT_WANTS_READ;
    return transport;
}

static struct transport_factory
transport_factory_footprint(void)
{
    return (struct transport_factory){.make = footprint_make, .context = NULL};
}

/* A network that waits for handshakes on a second listener. */
static uint16_t
listen_for_handshakes(void)
{
    char why[128];
    uint16_t port;
    enum status status = network_listen(harness->network, "127.0.0.1", 0, true,
                                        transport_factory_footprint(), &port, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
    return port;
}

/* A client of that listener that has sent `octets` and was accepted. */
static int
newcomer(uint16_t port, const char *octets)
{
    uint16_t own_port = harness->tcp_port;
    harness->tcp_port = port;
    int fd = harness_connect(harness);
    harness->tcp_port = own_port;
    uint32_t count = network_link_count(harness->network);
    while (network_link_count(harness->network) == count) { /* loopback has no doubt */
        harness_turn(harness);
    }
    harness_send(fd, octets, strlen(octets));
    return fd;
}

/* Reading ----------------------------------------------------------------------------------------
 */

enum { PAYLOAD = 392, FRAME_SIZE = PAYLOAD + FRAME_OVERHEAD };

static void
send_frames_of(int fd, size_t count, size_t payload_size)
{
    static const uint8_t payload[PAYLOAD];
    struct buffer out = {0};
    for (size_t i = 0; i < count; i++) {
        frame_encode(&out, FRAME_TYPE_METHOD, 1, bytes_make(payload, payload_size));
    }
    harness_send_buffer(fd, &out);
}

static void
send_frames(int fd, size_t count)
{
    send_frames_of(fd, count, PAYLOAD);
}

static size_t
count_of_link(uint64_t link)
{
    size_t count = 0;
    for (size_t i = 0; i < harness->heard_count; i++) {
        count += harness->heard[i].link == link ? 1 : 0;
    }
    return count;
}

/* Even when nobody else seems to want anything: who comes meanwhile is to be heard soon. */
Test(fairness, greedy_peer_is_read_once_a_turn)
{
    enum { FRAMES = 900, ONE_READ = 64 * 1024 / FRAME_SIZE };
    int greedy = harness_establish(harness, 4096);
    int polite = harness_establish(harness, 4096);
    send_frames(greedy, FRAMES);
    size_t turns = 0;
    while (count_of_link(harness->links[0]) < FRAMES) {
        size_t greedy_before = count_of_link(harness->links[0]);
        size_t polite_before = count_of_link(harness->links[1]);
        send_frames(polite, 1);
        harness_turn(harness);
        cr_assert(le(sz, count_of_link(harness->links[0]) - greedy_before, ONE_READ + 1));
        cr_expect(eq(sz, count_of_link(harness->links[1]) - polite_before, 1));
        turns++;
    }
    cr_expect(ge(sz, turns, FRAMES / (ONE_READ + 1)));
    /* The kernel brings them in pieces, so that a read may find less than there is room for. */
    cr_expect(le(sz, turns, 2 * (FRAMES / ONE_READ + 2)), "and not much less than that");
    close(greedy);
    close(polite);
}

/* What a turn costs is messages, not octets. */
Test(fairness, peer_of_small_messages_is_read_less_at_a_time)
{
    enum { FRAMES = 1500, SMALL = 60, EVENTS = 256 };
    int greedy = harness_establish(harness, 4096);
    send_frames_of(greedy, FRAMES, SMALL);
    harness_turn(harness); /* how small they are is not known before */
    for (size_t heard = harness->heard_count; heard < FRAMES; heard = harness->heard_count) {
        harness_turn(harness);
        cr_expect(lt(sz, heard, harness->heard_count));
        cr_expect(le(sz, harness->heard_count - heard, EVENTS + 1));
    }
    send_frames(greedy, 10);
    harness_settle(harness);
    size_t heard = harness->heard_count;
    send_frames(greedy, 160);
    harness_turn(harness);
    cr_expect(lt(sz, 150, harness->heard_count - heard), "larger ones make it large again");
    close(greedy);
}

/* TLS has read four records before it hands out the first. */
Test(fairness, records_that_are_at_hand_are_one_read)
{
    enum { RECORD = 16 * 1024, FRAMES = 400, ONE_READ = 64 * 1024 / FRAME_SIZE };
    footprint.record_size = RECORD;
    uint16_t port = listen_for_handshakes();
    int fd = newcomer(port, "g");
    harness_settle(harness);
    harness_send(fd, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    harness_wait(harness, 1);
    harness_post_tune(harness, harness->links[0], 4096, 0);
    harness_post(harness, harness->links[0], NET_ACTION_ESTABLISHED);
    send_frames(fd, FRAMES);
    harness_turn(harness);
    size_t heard = harness_count(harness, NET_EVENT_METHOD);
    cr_expect(ge(sz, heard, ONE_READ - 1));
    cr_expect(le(sz, heard, ONE_READ + 1));
    close(fd);
}

/* Frames may be of 16 MiB, and so much may lie in the socket. */
Test(fairness, one_read_of_a_large_frame_is_bounded)
{
    enum { FRAME_MAX = 4 * 1024 * 1024, BODY = 3 * 1024 * 1024, READ_MAX = 128 * 1024 };
    uint16_t port = listen_for_handshakes();
    int fd = newcomer(port, "g");
    harness_settle(harness);
    harness_send(fd, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    harness_wait(harness, 1);
    harness_post_tune(harness, harness->links[0], FRAME_MAX, 0);
    harness_post(harness, harness->links[0], NET_ACTION_ESTABLISHED);
    uint8_t *body = calloc(1, BODY);
    struct buffer out = {0};
    put_publish(&out, 1, "x", "k", bytes_make(body, BODY), FRAME_MAX);
    frame_encode(&out, FRAME_TYPE_METHOD, 1, bytes_make(body, BODY));
    harness_pump(harness, fd, &out);
    harness_wait(harness, 3);
    cr_expect(eq(u64, harness_nth(harness, NET_EVENT_PUBLISH, 0)->number, BODY));
    cr_expect(eq(sz, buffer_size(&harness_nth(harness, NET_EVENT_METHOD, 0)->octets), BODY));
    cr_expect(eq(sz, footprint.read_size_max, READ_MAX));
    free(body);
    close(fd);
}

/* Handshakes -------------------------------------------------------------------------------------
 */

/* The member's frames are heard in every turn; so the flood costs each of them one handshake. */
Test(fairness, the_private_key_is_used_once_a_turn)
{
    enum { NEWCOMERS = 5 };
    footprint.uses_private_key = true;
    uint16_t port = listen_for_handshakes();
    int member = harness_establish(harness, 4096);
    int fds[NEWCOMERS];
    for (size_t i = 0; i < NEWCOMERS; i++) {
        fds[i] = newcomer(port, "");
    }
    for (size_t i = 0; i < NEWCOMERS; i++) {
        harness_send(fds[i], "g", 1);
    }
    harness_turn(harness);
    cr_assert(eq(sz, footprint.step_count, 0), "they are known to be ready now");
    cr_expect(network_has_work(harness->network));
    for (size_t i = 0; i < NEWCOMERS; i++) {
        send_frames(member, 1);
        harness->now_ms++;
        harness_turn(harness);
        harness_turn(harness); /* the clock is read in the middle of a turn */
        cr_expect(eq(sz, footprint.step_count, i + 1));
        cr_expect(eq(sz, harness_count(harness, NET_EVENT_METHOD), i + 1));
    }
    harness_settle(harness);
    cr_expect(eq(sz, footprint.step_count, NEWCOMERS));
    for (size_t i = 0; i < NEWCOMERS; i++) {
        close(fds[i]);
    }
    close(member);
}

/* Turns are short: with one handshake in each, whatever comes would mostly find one under way. */
Test(fairness, while_members_are_busy_the_private_key_is_used_once_a_millisecond)
{
    enum { NEWCOMERS = 4 };
    footprint.uses_private_key = true;
    uint16_t port = listen_for_handshakes();
    int member = harness_establish(harness, 4096);
    int fds[NEWCOMERS];
    for (size_t i = 0; i < NEWCOMERS; i++) {
        fds[i] = newcomer(port, "");
    }
    for (size_t i = 0; i < NEWCOMERS; i++) {
        harness_send(fds[i], "g", 1);
    }
    send_frames(member, 1);
    harness->now_ms++;
    for (int turn = 0; turn < 10; turn++) {
        harness_turn(harness);
    }
    cr_expect(eq(sz, footprint.step_count, 1));
    cr_expect(not(network_has_work(harness->network)), "it need not turn without rest meanwhile");
    harness->now_ms++;
    for (int turn = 0; turn < 10; turn++) {
        harness_turn(harness);
    }
    cr_expect(eq(sz, footprint.step_count, 2));

    harness->now_ms += 1000; /* the member has been silent since */
    for (int turn = 0; turn < NEWCOMERS; turn++) {
        harness_turn(harness);
    }
    cr_expect(eq(sz, footprint.step_count, NEWCOMERS), "nobody waits for anything else");
    for (size_t i = 0; i < NEWCOMERS; i++) {
        close(fds[i]);
    }
    close(member);
}

/* Newcomers cost their accepting too. */
Test(fairness, newcomers_are_accepted_some_at_a_time)
{
    enum { NEWCOMERS = 40, ACCEPTS = 16 };
    int fds[NEWCOMERS];
    for (size_t i = 0; i < NEWCOMERS; i++) {
        fds[i] = harness_connect(harness);
    }
    static const uint32_t counts[] = {ACCEPTS, 2 * ACCEPTS, NEWCOMERS, NEWCOMERS};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        harness_turn(harness);
        cr_expect(eq(u32, network_link_count(harness->network), counts[i]));
    }
    for (size_t i = 0; i < NEWCOMERS; i++) {
        close(fds[i]);
    }
}

/* Steps that do without the key are cheap, but not for nothing. */
Test(fairness, handshakes_take_a_bounded_number_of_steps_a_turn)
{
    enum { NEWCOMERS = 7, STEPS = 3 };
    struct network_settings settings = {.handshake_steps_per_tick = STEPS};
    harness_stop(harness);
    harness_start(harness, &settings, transport_factory_tcp(), false);
    uint16_t port = listen_for_handshakes();
    int fds[NEWCOMERS];
    for (size_t i = 0; i < NEWCOMERS; i++) {
        fds[i] = newcomer(port, "");
    }
    for (size_t i = 0; i < NEWCOMERS; i++) {
        harness_send(fds[i], "h", 1);
    }
    static const size_t counts[] = {0, 3, 6, 7, 7};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        harness_turn(harness);
        cr_expect(eq(sz, footprint.step_count, counts[i]));
    }
    cr_expect(not(network_has_work(harness->network)));
    for (size_t i = 0; i < NEWCOMERS; i++) {
        close(fds[i]);
    }
}

/* And a step is taken only when the peer has sent something: a socket that can be written is no
 * news to a handshake that waits for the client. */
Test(fairness, handshake_takes_no_step_before_the_peer_has_spoken)
{
    uint16_t port = listen_for_handshakes();
    int fd = newcomer(port, "");
    harness_settle(harness);
    cr_expect(eq(sz, footprint.step_count, 0));
    harness_send(fd, "h", 1);
    harness_settle(harness);
    cr_expect(eq(sz, footprint.step_count, 1));
    close(fd);
    harness_settle(harness);
    cr_expect(eq(sz, footprint.step_count, 2), "the end of the stream is news as well");
}

/* A newcomer that waits for its turn when its time is over, or its peer gone, leaves no trace. */
Test(fairness, newcomer_that_waits_for_its_step_can_be_dropped)
{
    footprint.uses_private_key = true;
    uint16_t port = listen_for_handshakes();
    int first = newcomer(port, "");
    int second = newcomer(port, "");
    harness_send(first, "h", 1);
    harness_send(second, "h", 1);
    harness_turn(harness);
    harness->now_ms += 60000;
    harness_turn(harness);
    cr_expect(eq(u32, network_link_count(harness->network), 0));
    cr_expect(eq(sz, footprint.step_count, 1));
    harness_settle(harness);
    cr_expect(not(network_has_work(harness->network)));
    close(first);
    close(second);
}
