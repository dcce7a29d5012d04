/* SPDX-License-Identifier: Apache-2.0 */
/* A network on a thread of its own; the test is the core, on another one. Nothing here depends on
 * which of them is faster. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/bell.h"
#include "base/buffer.h"
#include "net/network_group.h"
#include "net/network_thread.h"
#include "tests/unit/net/harness.h"

enum { RING_OCTETS = 4096, PATIENCE_MS = 20000, TAKE_ALL = 1 << 20 };

static struct network_group *group;
static struct network_thread *thread;
static struct bell bell;
static uint16_t port;
static uint64_t tick;

/* What was heard. */
static uint64_t link_id;
static size_t opened_count, method_count, publish_count, closed_count;
static uint64_t written_octets;
static uint32_t next_number; /* that the next method must have */

static void
unmap_chunk(const struct chunk_notice *chunk)
{
    struct chunk_memory memory = chunk_memory_anonymous();
    memory.unmap(memory.context, chunk->memory, chunk->capacity);
}

static void
hear(void *context, const struct net_event *event)
{
    (void)context;
    switch (event->type) {
    case NET_EVENT_OPENED:
        link_id = event->link;
        opened_count++;
        free(event->opened.peer);
        break;
    case NET_EVENT_METHOD:
        if (event->method.payload.size == 8) {
            cr_assert(eq(u32, get_u32(event->method.payload.data + 4), next_number));
            next_number++;
        }
        method_count++;
        break;
    case NET_EVENT_PUBLISH:
        cr_assert(eq(u32, get_u32(content_body(event->publish.place.content).data), publish_count));
        publish_count++;
        break;
    case NET_EVENT_CHUNK_CLOSED:
        unmap_chunk(&event->chunk);
        break;
    case NET_EVENT_WRITTEN:
        written_octets += event->written.octets;
        break;
    case NET_EVENT_CLOSED:
        closed_count++;
        break;
    default:
        break;
    }
}

static const struct net_events events = {.handle = hear};

static struct network_thread_settings
make_settings(void)
{
    return (struct network_thread_settings){
        .group = group,
        .memory = chunk_memory_anonymous(),
        .clock = clock_system(),
        .core = &bell,
        .ring_octets_max = RING_OCTETS,
    };
}

static void
set_up(void)
{
    struct network_settings none = {0};
    char why[128] = "";
    group = network_group_new(&none);
    cr_assert(eq(int, bell_open(&bell), STATUS_OK));
    struct network_thread_settings settings = make_settings();
    thread = network_thread_new(&settings);
    cr_assert(ne(ptr, thread, NULL));
    cr_assert(eq(int,
                 network_listen(network_thread_network(thread),
                                &(struct listener_settings){.host = "127.0.0.1",
                                                            .factory = transport_factory_tcp()},
                                &port, why, sizeof(why)),
                 STATUS_OK));
    cr_assert(eq(int, network_thread_start(thread, 1), STATUS_OK));
}

static void
tear_down(void)
{
    network_thread_stop(thread);
    network_thread_drain(thread, &events);
    network_thread_free(&thread);
    network_group_free(&group);
    bell_close(&bell);
}

TestSuite(network_thread, .init = set_up, .fini = tear_down, .timeout = 60);

/* What the core's loop does between ticks. */
static void
take_when_rung(void)
{
    bell_announce_sleep(&bell);
    if (!network_thread_has_work(thread)) {
        struct pollfd request = {.fd = bell.fd, .events = POLLIN};
        cr_assert(eq(int, poll(&request, 1, PATIENCE_MS), 1), "nobody rings");
    }
    bell_end_sleep(&bell);
    (void)network_thread_take(thread, TAKE_ALL, &events);
}

static void
wait_for(const size_t *count, size_t wanted)
{
    while (*count < wanted) {
        take_when_rung();
    }
}

static int
connect_client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert(zero(int, connect(fd, (const struct sockaddr *)&address, sizeof(address))));
    cr_assert(eq(sz, (size_t)send(fd, protocol_header_supported, PROTOCOL_HEADER_SIZE, 0),
                 PROTOCOL_HEADER_SIZE));
    wait_for(&opened_count, 1);
    return fd;
}

static void
post(enum net_action_type type)
{
    struct net_action action = {.type = type, .link = link_id};
    network_thread_post(thread, &action);
}

static void
flush(void)
{
    network_thread_flush(thread, ++tick);
}

Test(network_thread, events_and_actions_cross_and_wake_who_sleeps)
{
    int fd = connect_client();
    struct method method = {.id = METHOD_CONFIRM_SELECT_OK};
    struct buffer payload = {0};
    method_encode(&payload, &method);
    struct net_action action = {
        .type = NET_ACTION_METHOD, .link = link_id, .method = {.payload = buffer_bytes(&payload)}};
    network_thread_post(thread, &action);
    flush();
    uint8_t octets[64];
    size_t size = buffer_size(&payload) + FRAME_OVERHEAD;
    cr_expect(eq(sz, (size_t)recv(fd, octets, size, MSG_WAITALL), size));
    while (written_octets < size) {
        take_when_rung();
    }
    cr_expect(eq(u64, written_octets, size));
    buffer_fini(&payload);
    close(fd);
    wait_for(&closed_count, 1);
}

static void
put_numbered(struct buffer *out, uint32_t number)
{
    uint8_t payload[8];
    put_u16(payload, CLASS_CHANNEL);
    put_u16(payload + 2, 10);
    put_u32(payload + 4, number);
    frame_encode(out, FRAME_TYPE_METHOD, 1, bytes_make(payload, sizeof(payload)));
}

/* Sends what the system takes until it has taken nothing for a while: what lies in the socket's
 * buffers, and on its way to the core, who takes nothing. */
static void
send_what_goes(int fd, struct buffer *out)
{
    cr_assert(zero(int, fcntl(fd, F_SETFL, O_NONBLOCK)));
    struct pollfd request = {.fd = fd, .events = POLLOUT};
    while (buffer_size(out) > 0 && poll(&request, 1, 500) == 1) {
        struct bytes octets = buffer_bytes(out);
        ssize_t sent = send(fd, octets.data, octets.size, 0);
        buffer_consume(out, sent > 0 ? (size_t)sent : 0);
    }
    cr_expect(ge(sz, buffer_size(out), 1), "it reads although nobody takes");
}

/* The core takes again, until so much has come, in order. */
static void
send_and_take(int fd, struct buffer *out, const size_t *count, size_t wanted)
{
    while (*count < wanted) {
        struct bytes octets = buffer_bytes(out);
        ssize_t sent = octets.size > 0 ? send(fd, octets.data, octets.size, 0) : 0;
        buffer_consume(out, sent > 0 ? (size_t)sent : 0);
        take_when_rung();
        flush();
    }
    cr_expect(eq(sz, *count, wanted));
}

/* A core that has no time must not make the network side grow: it leaves octets in the sockets. */
Test(network_thread, input_rests_while_the_core_takes_nothing_and_goes_on_in_order)
{
    enum { METHODS = 400000 };
    int fd = connect_client();
    post(NET_ACTION_ESTABLISHED);
    flush();
    struct buffer out = {0};
    for (uint32_t i = 0; i < METHODS; i++) {
        put_numbered(&out, i);
    }
    send_what_goes(fd, &out);
    cr_expect(eq(sz, method_count, 0));
    send_and_take(fd, &out, &method_count, METHODS);
    buffer_fini(&out);
    close(fd);
}

/* A large body is a small item: without a bound of its own, a ring of them is gigabytes. */
Test(network_thread, input_rests_while_bodies_wait_for_the_core_however_few_they_are)
{
    enum { BODY = 4 * 1024 * 1024, BODIES = 12, FRAME_MAX = 128 * 1024 };
    int fd = connect_client();
    post(NET_ACTION_ESTABLISHED);
    struct net_action tune = {
        .type = NET_ACTION_TUNE, .link = link_id, .tune = {.frame_max = FRAME_MAX}};
    network_thread_post(thread, &tune);
    flush();
    uint8_t *body = xalloc(BODY);
    struct buffer out = {0};
    for (uint32_t i = 0; i < BODIES; i++) {
        put_u32(body, i);
        put_publish(&out, 1, "", "q", bytes_make(body, BODY), FRAME_MAX);
    }
    free(body);
    send_what_goes(fd, &out);
    send_and_take(fd, &out, &publish_count, BODIES);
    buffer_fini(&out);
    close(fd);
}

/* A content of the test's own, as an action names it. */
static struct content *
make_content(uint32_t body_size)
{
    struct content *content = xalloc(sizeof(*content) + body_size);
    content->body_size = body_size;
    return content;
}

Test(network_thread, tick_is_passed_when_the_contents_it_named_are_written_or_copied)
{
    enum { BODY = 32 * 1024 * 1024 };
    int fd = connect_client();
    struct content *content = make_content(BODY);
    struct net_action action = {
        .type = NET_ACTION_CONTENT, .link = link_id, .content = {.content = content}};
    static const uint8_t method[4] = {0};
    action.content.payload = bytes_make(method, sizeof(method));
    uint64_t before = network_thread_passed(thread, tick);
    network_thread_post(thread, &action);
    flush();
    cr_expect(eq(u64, before, tick - 1));
    cr_expect(lt(u64, network_thread_passed(thread, tick), tick));
    /* The client reads nothing, so most of the body has to be copied. */
    while (network_thread_passed(thread, tick) < tick) {
        take_when_rung();
    }
    free(content);
    cr_expect(lt(u64, written_octets, BODY));
    close(fd);
    wait_for(&closed_count, 1);
}

Test(network_thread, listening_stops_when_another_thread_asks)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    network_ask_to_stop_listening(network_thread_network(thread));
    /* Whoever waits to be accepted at that moment is reset; only then is nobody there. */
    int error = 0;
    while (error == 0 || error == ECONNRESET) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int result = connect(fd, (const struct sockaddr *)&address, sizeof(address));
        error = result == 0 ? 0 : errno;
        close(fd);
    }
    cr_expect(eq(int, error, ECONNREFUSED));
}

/* Whoever connected meanwhile is neither lost nor leaked. */
Test(network_thread, what_is_in_the_rings_at_the_end_is_handed_over)
{
    enum { CLIENTS = 20 };
    int fds[CLIENTS];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert(zero(int, connect(fds[i], (const struct sockaddr *)&address, sizeof(address))));
        (void)send(fds[i], protocol_header_supported, PROTOCOL_HEADER_SIZE, 0);
    }
    struct pollfd request = {.fd = bell.fd, .events = POLLIN};
    bell_announce_sleep(&bell);
    if (!network_thread_has_work(thread)) {
        cr_assert(eq(int, poll(&request, 1, PATIENCE_MS), 1));
    }
    bell_end_sleep(&bell);
    network_thread_stop(thread);
    network_thread_drain(thread, &events);
    cr_expect(ge(sz, opened_count, 1));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        close(fds[i]);
    }
}

Test(network_thread, without_descriptors_there_is_no_network)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    struct rlimit lower = limit;
    for (int more = 0; more < 2; more++) { /* for the bell; for the bell and the loop */
        int next = fcntl(0, F_DUPFD_CLOEXEC, 0);
        close(next);
        lower.rlim_cur = (rlim_t)(next + more);
        setrlimit(RLIMIT_NOFILE, &lower);
        struct network_thread_settings settings = make_settings();
        cr_expect(eq(ptr, network_thread_new(&settings), NULL));
        cr_expect(eq(int, errno, EMFILE));
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
