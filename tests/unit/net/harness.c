/* SPDX-License-Identifier: Apache-2.0 */
/* The network under test and its two ends. */
#include "tests/unit/net/harness.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

enum { PATIENCE = 500 }; /* turns of up to 10 ms before a test gives up */

/* Memory of chunks from the heap, so that the sanitizer sees whoever reads it too late. */
static void *
heap_map(void *context, size_t size)
{
    struct harness *harness = context;
    if (harness->refuses_memory) {
        return NULL;
    }
    harness->mapped_bytes += size;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
heap_unmap(void *context, void *memory, size_t size)
{
    struct harness *harness = context;
    harness->mapped_bytes -= size;
    free(memory);
}

static struct clock_reading
stepped_clock(void *context)
{
    struct harness *harness = context;
    return (struct clock_reading){.monotonic_ms = harness->now_ms, .wall_ms = 0};
}

static void
collect_log(void *context, struct bytes line)
{
    buffer_put_bytes(context, line);
}

/* The core ---------------------------------------------------------------------------------------
 */

static void
hear_publish(struct harness *harness, const struct net_event *event, struct heard *heard)
{
    heard->number = event->publish.body_size;
    heard->has_content = event->publish.place.content != NULL;
    buffer_put_bytes(&heard->octets, event->publish.exchange);
    buffer_put_u8(&heard->octets, '/');
    buffer_put_bytes(&heard->octets, event->publish.routing_key);
    buffer_put_u8(&heard->octets, '/');
    if (!heard->has_content) {
        return;
    }
    const struct content *content = event->publish.place.content;
    struct content_ref ref =
        chunk_pool_receive(harness->pool, net_link_network(event->link), event->publish.place);
    cr_assert(content_ref_is_set(ref));
    cr_assert(eq(ptr, (void *)chunk_pool_content(harness->pool, ref), (void *)content));
    buffer_put_bytes(&heard->octets, content_body(content));
    heard->flags = content->flags;
    if (harness->keeps_contents) {
        harness->kept[harness->kept_count++] = ref;
    } else {
        chunk_pool_release(harness->pool, ref);
    }
}

static void
note_event(struct harness *harness, const struct net_event *event)
{
    cr_assert(lt(sz, harness->heard_count, HEARD_MAX));
    struct heard *heard = &harness->heard[harness->heard_count++];
    heard->type = event->type;
    heard->channel = event->channel;
    heard->link = event->link;
    switch (event->type) {
    case NET_EVENT_OPENED:
        heard->peer = *event->opened.peer;
        free(event->opened.peer);
        cr_assert(lt(sz, harness->link_count, HARNESS_LINK_COUNT));
        harness->links[harness->link_count++] = event->link;
        break;
    case NET_EVENT_METHOD:
        buffer_put_bytes(&heard->octets, event->method.payload);
        break;
    case NET_EVENT_PUBLISH:
        hear_publish(harness, event, heard);
        break;
    case NET_EVENT_FAULT:
        heard->fault = *event->fault.fault;
        heard->class_id = event->fault.class_id;
        heard->method_id = event->fault.method_id;
        break;
    case NET_EVENT_WRITTEN:
        heard->number = event->written.octets;
        break;
    case NET_EVENT_CLOSED:
        heard->number = event->closed.reason;
        break;
    case NET_EVENT_LOAN_RETURNED:
        heard->number = event->returned.loan;
        break;
    case NET_EVENT_CHUNK_OPENED:
    case NET_EVENT_CHUNK_CLOSED:
        break;
    }
    if (harness->respond != NULL) {
        harness->respond(harness, event);
    }
}

static void
hear(void *context, const struct net_event *event)
{
    struct harness *harness = context;
    cr_assert(not(harness->is_in_core), "events do not nest");
    harness->is_in_core = true;
    if (event->type == NET_EVENT_CHUNK_OPENED) {
        chunk_pool_open(harness->pool, net_link_network(event->link), &event->chunk);
    } else if (event->type == NET_EVENT_CHUNK_CLOSED) {
        chunk_pool_close(harness->pool, net_link_network(event->link), &event->chunk);
    } else {
        note_event(harness, event);
    }
    harness->is_in_core = false;
}

size_t
harness_count(const struct harness *harness, enum net_event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < harness->heard_count; i++) {
        count += harness->heard[i].type == type ? 1 : 0;
    }
    return count;
}

struct heard *
harness_nth(struct harness *harness, enum net_event_type type, size_t nth)
{
    for (size_t i = 0; i < harness->heard_count; i++) {
        if (harness->heard[i].type == type && nth-- == 0) {
            return &harness->heard[i];
        }
    }
    cr_fatal("event %zu of type %d was not heard", nth, type);
    return NULL;
}

uint64_t
harness_written(const struct harness *harness)
{
    uint64_t octets = 0;
    for (size_t i = 0; i < harness->heard_count; i++) {
        octets += harness->heard[i].type == NET_EVENT_WRITTEN ? harness->heard[i].number : 0;
    }
    return octets;
}

bool
harness_logged(struct harness *harness, const char *text)
{
    struct bytes log = buffer_bytes(&harness->log_text);
    return log.data != NULL && memmem(log.data, log.size, text, strlen(text)) != NULL;
}

/* Life -------------------------------------------------------------------------------------------
 */

void
harness_start(struct harness *harness, const struct network_settings *settings,
              struct transport_factory factory, bool is_tls)
{
    static const struct network_settings none;
    *harness = (struct harness){.now_ms = 1000000};
    struct chunk_memory memory = {.map = heap_map, .unmap = heap_unmap, .context = harness};
    harness->pool = chunk_pool_new_with(memory);
    struct clock_source clock = {.read = stepped_clock, .context = harness};
    harness->log = (struct log){
        .level = LOG_LEVEL_DEBUG,
        .write = collect_log,
        .context = &harness->log_text,
        .clock = clock,
    };
    struct net_events events = {.handle = hear, .context = harness};
    harness->network = network_new(settings != NULL ? settings : &none, NULL, memory, &clock,
                                   &harness->log, &events);
    cr_assert(harness->network != NULL);
    harness->port = network_port(harness->network);
    chunk_pool_share_thread(harness->pool, settings != NULL ? settings->number : 0,
                            network_chunk_writer(harness->network));
    char why[128];
    enum status status = network_listen(
        harness->network,
        &(struct listener_settings){.host = "127.0.0.1", .is_tls = is_tls, .factory = factory},
        &harness->tcp_port, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK));
}

void
harness_stop(struct harness *harness)
{
    network_free(&harness->network);
    chunk_pool_forget_writers(harness->pool);
    for (size_t i = 0; i < harness->kept_count; i++) {
        chunk_pool_release(harness->pool, harness->kept[i]);
    }
    chunk_pool_end_tick(harness->pool, chunk_pool_tick(harness->pool));
    cr_expect(eq(u64, chunk_pool_bytes(harness->pool), 0), "no content is left behind");
    chunk_pool_free(&harness->pool);
    for (size_t i = 0; i < harness->heard_count; i++) {
        buffer_fini(&harness->heard[i].octets);
    }
    buffer_fini(&harness->log_text);
}

static void
harness_turn_waiting(struct harness *harness, uint64_t wait_ms)
{
    network_poll(harness->network, wait_ms);
    network_flush(harness->network);
    chunk_pool_end_tick(harness->pool, chunk_pool_tick(harness->pool));
}

void
harness_turn(struct harness *harness)
{
    harness_turn_waiting(harness, 0);
}

void
harness_wait(struct harness *harness, size_t count)
{
    for (int i = 0; i < PATIENCE && harness->heard_count < count; i++) {
        harness_turn_waiting(harness, 10);
    }
    cr_assert(ge(sz, harness->heard_count, count));
}

void
harness_settle(struct harness *harness)
{
    for (int i = 0; i < 5 || network_has_work(harness->network); i++) {
        harness_turn(harness);
    }
}

void
harness_step(struct harness *harness, uint64_t ms)
{
    harness->now_ms += ms;
    harness_settle(harness);
}

/* The client
 * --------------------------------------------------------------------------------------- */

int
harness_connect(struct harness *harness)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(ge(int, fd, 0));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(harness->tcp_port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int result = connect(fd, (struct sockaddr *)&address, sizeof(address));
    cr_assert(eq(int, result, 0));
    return fd;
}

int
harness_open(struct harness *harness)
{
    int fd = harness_connect(harness);
    size_t count = harness->link_count;
    harness_send(fd, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    for (int i = 0; i < PATIENCE && harness->link_count == count; i++) {
        harness_turn_waiting(harness, 10);
    }
    cr_assert(eq(sz, harness->link_count, count + 1));
    return fd;
}

int
harness_establish(struct harness *harness, uint32_t frame_max)
{
    int fd = harness_open(harness);
    uint64_t link = harness->links[harness->link_count - 1];
    harness_post_tune(harness, link, frame_max, 0);
    harness_post(harness, link, NET_ACTION_ESTABLISHED);
    harness->heard_count--; /* OPENED is what everybody expects */
    return fd;
}

void
harness_send(int fd, const void *octets, size_t size)
{
    ssize_t sent = send(fd, octets, size, MSG_NOSIGNAL);
    cr_assert(eq(i64, sent, (ssize_t)size));
}

void
harness_send_buffer(int fd, struct buffer *buffer)
{
    struct bytes octets = buffer_bytes(buffer);
    harness_send(fd, octets.data, octets.size);
    buffer_fini(buffer);
}

/* Octets that were sent and have not arrived at the other socket: it may have to be read first. */
static int
octets_on_their_way(int fd)
{
    int count = 0;
    int result = ioctl(fd, SIOCOUTQ, &count);
    cr_assert(eq(int, result, 0));
    return count;
}

void
harness_pump(struct harness *harness, int fd, struct buffer *buffer)
{
    while (buffer_size(buffer) > 0) {
        struct bytes octets = buffer_bytes(buffer);
        ssize_t sent = send(fd, octets.data, octets.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        cr_assert(sent > 0 || errno == EAGAIN);
        buffer_consume(buffer, sent > 0 ? (size_t)sent : 0);
        harness_turn(harness);
    }
    buffer_fini(buffer);
    for (int i = 0; i < PATIENCE && octets_on_their_way(fd) > 0; i++) {
        harness_turn_waiting(harness, 10);
    }
    harness_settle(harness);
}

void
harness_read(struct harness *harness, int fd, uint8_t *out, size_t size)
{
    size_t done = 0;
    for (int patience = PATIENCE; done < size && patience > 0;) {
        ssize_t count = recv(fd, out + done, size - done, MSG_DONTWAIT);
        if (count > 0) {
            done += (size_t)count;
        } else {
            cr_assert(count < 0 && errno == EAGAIN, "the stream ended after %zu octets", done);
            patience--;
            harness_turn_waiting(harness, 10);
        }
    }
    cr_assert(eq(sz, done, size));
}

bool
harness_reads_end(struct harness *harness, int fd)
{
    for (int patience = PATIENCE; patience > 0; patience--) {
        uint8_t octet;
        ssize_t count = recv(fd, &octet, 1, MSG_DONTWAIT);
        if (count >= 0 || errno != EAGAIN) {
            return count == 0;
        }
        harness_turn_waiting(harness, 10);
    }
    return false;
}

/* Actions ----------------------------------------------------------------------------------------
 */

static void
post(struct harness *harness, struct net_action action)
{
    harness->port.post(harness->port.context, &action);
}

void
harness_post(struct harness *harness, uint64_t link, enum net_action_type type)
{
    post(harness, (struct net_action){.type = type, .link = link});
}

void
harness_post_method(struct harness *harness, uint64_t link, uint16_t channel,
                    const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, method);
    struct net_action action = {.type = NET_ACTION_METHOD, .link = link, .channel = channel};
    action.method.payload = buffer_bytes(&payload);
    post(harness, action);
    buffer_fini(&payload);
}

void
harness_post_close(struct harness *harness, uint64_t link, uint32_t linger_ms)
{
    struct net_action action = {.type = NET_ACTION_CLOSE, .link = link};
    action.close.linger_ms = linger_ms;
    post(harness, action);
}

void
harness_post_tune(struct harness *harness, uint64_t link, uint32_t frame_max, uint16_t heartbeat_s)
{
    struct net_action action = {.type = NET_ACTION_TUNE, .link = link};
    action.tune.frame_max = frame_max;
    action.tune.heartbeat_s = heartbeat_s;
    post(harness, action);
}

/* Frames -----------------------------------------------------------------------------------------
 */

void
put_method(struct buffer *out, uint16_t channel, const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, method);
    frame_encode(out, FRAME_TYPE_METHOD, channel, buffer_bytes(&payload));
    buffer_fini(&payload);
}

void
put_publish_method(struct buffer *out, uint16_t channel, const char *exchange,
                   const char *routing_key)
{
    struct method method = {.id = METHOD_BASIC_PUBLISH};
    method.basic_publish = (struct basic_publish){
        .exchange = bytes_of(exchange),
        .routing_key = bytes_of(routing_key),
        .mandatory = true,
    };
    put_method(out, channel, &method);
}

void
put_header(struct buffer *out, uint16_t channel, uint16_t class_id, uint64_t body_size,
           struct bytes properties)
{
    struct buffer payload;
    buffer_init(&payload);
    buffer_put_u16(&payload, class_id);
    buffer_put_u16(&payload, 0);
    buffer_put_u64(&payload, body_size);
    if (properties.size == 0) {
        buffer_put_u16(&payload, 0);
    }
    buffer_put_bytes(&payload, properties);
    frame_encode(out, FRAME_TYPE_HEADER, channel, buffer_bytes(&payload));
    buffer_fini(&payload);
}

void
put_body(struct buffer *out, uint16_t channel, struct bytes body, uint32_t frame_max)
{
    while (body.size > 0) {
        size_t size = frame_max - FRAME_OVERHEAD;
        size = body.size < size ? body.size : size;
        frame_encode(out, FRAME_TYPE_BODY, channel, bytes_make(body.data, size));
        body = bytes_make(body.data + size, body.size - size);
    }
}

void
put_publish(struct buffer *out, uint16_t channel, const char *exchange, const char *routing_key,
            struct bytes body, uint32_t frame_max)
{
    put_publish_method(out, channel, exchange, routing_key);
    put_header(out, channel, CLASS_BASIC, body.size, bytes_make(NULL, 0));
    put_body(out, channel, body, frame_max);
}

bool
octets_equal(struct bytes a, struct bytes b)
{
    return bytes_equal(a, b);
}

/* Transports -------------------------------------------------------------------------------------
 */

struct trickle {
    struct transport base;
    size_t octets_max;
};

static enum status
trickle_handshake(struct transport *transport)
{
    (void)transport;
    return STATUS_OK;
}

static enum status
endless_handshake(struct transport *transport)
{
    transport->wants = TRANSPORT_WANTS_READ;
    return STATUS_AGAIN;
}

static size_t
trickle_size(const struct transport *transport, size_t size)
{
    size_t octets_max = ((const struct trickle *)(const void *)transport)->octets_max;
    return size < octets_max ? size : octets_max;
}

static enum status
trickle_result(struct transport *transport, ssize_t count, enum transport_wants wants,
               size_t *size_out)
{
    if (count > 0) {
        *size_out = (size_t)count;
        return STATUS_OK;
    }
    transport->wants = wants;
    return count == 0 ? STATUS_CLOSED : errno == EAGAIN ? STATUS_AGAIN : STATUS_IO;
}

static enum status
trickle_read(struct transport *transport, uint8_t *out, size_t size, size_t *size_out)
{
    ssize_t count = recv(transport->fd, out, trickle_size(transport, size), 0);
    return trickle_result(transport, count, TRANSPORT_WANTS_READ, size_out);
}

static enum status
trickle_write(struct transport *transport, const struct iovec *parts, int part_count,
              size_t *size_out)
{
    (void)part_count;
    size_t size = trickle_size(transport, parts[0].iov_len);
    ssize_t count = send(transport->fd, parts[0].iov_base, size, MSG_NOSIGNAL);
    return trickle_result(transport, count, TRANSPORT_WANTS_WRITE, size_out);
}

static void
trickle_shutdown(struct transport *transport)
{
    (void)transport;
}

static bool
trickle_has_pending(const struct transport *transport)
{
    (void)transport;
    return false;
}

static void
trickle_describe(const struct transport *transport, struct net_peer *peer)
{
    (void)transport;
    peer->has_certificate = true;
}

static const char *
trickle_error(const struct transport *transport)
{
    (void)transport;
    return "trickled away";
}

static void
trickle_free(struct transport *transport)
{
    free(transport);
}

static struct transport *
trickle_new(const struct transport_operations *operations, int fd, size_t octets_max)
{
    struct trickle *trickle = calloc(1, sizeof(*trickle));
    assert(trickle != NULL);
    trickle->base.operations = operations;
    trickle->base.fd = fd;
    trickle->octets_max = octets_max;
    return &trickle->base;
}

static struct transport *
trickle_make(void *context, int fd)
{
    static const struct transport_operations operations = {
        trickle_handshake,   trickle_read,     trickle_write, trickle_shutdown,
        trickle_has_pending, trickle_describe, trickle_error, trickle_free,
    };
    return trickle_new(&operations, fd, *(const size_t *)context);
}

static struct transport *
silent_make(void *context, int fd)
{
    (void)context;
    static const struct transport_operations operations = {
        endless_handshake,   trickle_read,     trickle_write, trickle_shutdown,
        trickle_has_pending, trickle_describe, trickle_error, trickle_free,
    };
    return trickle_new(&operations, fd, 1);
}

struct transport_factory
transport_factory_trickle(const size_t *octets_max)
{
    return (struct transport_factory){
        .make = trickle_make,
        .context = (void *)(uintptr_t)octets_max,
    };
}

struct transport_factory
transport_factory_silent(void)
{
    return (struct transport_factory){.make = silent_make, .context = NULL};
}
