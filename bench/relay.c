/* SPDX-License-Identifier: Apache-2.0 */

/* bench/relay PORT: the physical limit that a broker is compared with. One thread takes each
 * publish apart and sends it on as a delivery to the connection that consumed last. It has no
 * queue, no routing and no rights; it confirms what it has read and ignores acknowledgements.
 *
 * It speaks to bench/loadgen only, on loopback: whatever it does not understand ends it. A producer
 * is read only while nothing waits to be written to the consumer, which bounds all memory. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/wire.h"

enum {
    RELAY_PEERS_MAX = 64,
    RELAY_EVENTS = 16,
    RELAY_INPUT_BYTES = 2 * WIRE_FRAME_BYTES_MAX,
    /* A delivery is longer than its publish by the tag and a few octets, never twice as long. */
    RELAY_OUTPUT_BYTES = 2 * RELAY_INPUT_BYTES + 1024,
};

struct peer {
    int fd; /* -1: this place is free */
    bool greeted;
    bool confirms;
    bool closing;       /* close once the output is through */
    bool writing;       /* the socket is watched for room */
    uint64_t published; /* on its channel, for confirms */
    uint64_t delivered; /* on its channel, for delivery tags */
    char consumer_tag[WIRE_SHORTSTR_MAX + 1];
    uint8_t *input; /* owned */
    size_t input_bytes;
    uint8_t *output; /* owned */
    size_t output_start;
    size_t output_end;
};

struct relay {
    int epoll_fd;
    int listen_fd;
    struct peer peers[RELAY_PEERS_MAX];
    struct peer *consumer; /* NULL until someone consumes; points into peers */
};

static _Noreturn void
relay_die(const char *what)
{
    fprintf(stderr, "relay: %s%s%s\n", what, errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

/* Bytes waiting to be written to `peer`. */
static size_t
peer_backlog(const struct peer *peer)
{
    return peer->output_end - peer->output_start;
}

/* Whether `peer` may be read from now: what it publishes needs room at the consumer. */
static bool
relay_may_read(const struct relay *relay, const struct peer *peer)
{
    bool consumer_is_full = relay->consumer != NULL && peer_backlog(relay->consumer) > 0;
    return !consumer_is_full && peer_backlog(peer) == 0;
}

static void
relay_watch(const struct relay *relay, struct peer *peer, int operation)
{
    struct epoll_event event = {.data.ptr = peer};
    event.events = relay_may_read(relay, peer) ? EPOLLIN : 0;
    if (peer->writing) {
        event.events |= EPOLLOUT;
    }
    if (epoll_ctl(relay->epoll_fd, operation, peer->fd, &event) != 0) {
        relay_die("epoll_ctl");
    }
}

/* Called when the consumer's backlog began or ended: that changes who may be read. */
static void
relay_watch_all(struct relay *relay)
{
    for (size_t i = 0; i < RELAY_PEERS_MAX; i++) {
        if (relay->peers[i].fd >= 0) {
            relay_watch(relay, &relay->peers[i], EPOLL_CTL_MOD);
        }
    }
}

static void
relay_drop(struct relay *relay, struct peer *peer)
{
    bool was_consumer = relay->consumer == peer;
    close(peer->fd);
    free(peer->input);
    free(peer->output);
    *peer = (struct peer){.fd = -1};
    if (was_consumer) {
        relay->consumer = NULL;
        relay_watch_all(relay);
    }
}

static void
relay_flush(struct relay *relay, struct peer *peer)
{
    while (peer_backlog(peer) > 0) {
        ssize_t written = send(peer->fd, peer->output + peer->output_start, peer_backlog(peer),
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written <= 0) {
            break;
        }
        peer->output_start += (size_t)written;
    }
    if (peer_backlog(peer) == 0) {
        peer->output_start = 0;
        peer->output_end = 0;
    }
    bool writing = peer_backlog(peer) > 0;
    if (writing != peer->writing) {
        peer->writing = writing;
        relay_watch_all(relay);
    }
}

static struct wire_writer
peer_writer(struct peer *peer)
{
    return (struct wire_writer){
        .bytes = peer->output, .length = peer->output_end, .capacity = RELAY_OUTPUT_BYTES};
}

static void
peer_put_start(struct wire_writer *writer)
{
    wire_begin_method(writer, 0, WIRE_CONNECTION_START);
    wire_put_octet(writer, 0);
    wire_put_octet(writer, 9);
    wire_put_empty_table(writer);
    size_t mechanisms = wire_begin_length(writer);
    wire_put_bytes(writer, "PLAIN", 5);
    wire_end_length(writer, mechanisms);
    size_t locales = wire_begin_length(writer);
    wire_put_bytes(writer, "en_US", 5);
    wire_end_length(writer, locales);
    wire_end_frame(writer);
}

static void
peer_put_tune(struct wire_writer *writer)
{
    wire_begin_method(writer, 0, WIRE_CONNECTION_TUNE);
    wire_put_short(writer, 2047);
    wire_put_long(writer, WIRE_FRAME_BYTES_MAX);
    wire_put_short(writer, 0);
    wire_end_frame(writer);
}

/* Answers whose arguments are nothing but zeros, and how many octets of them there are. */
static const struct {
    enum wire_method request;
    enum wire_method answer;
    size_t zeros;
} relay_answers[] = {
    {WIRE_CONNECTION_OPEN, WIRE_CONNECTION_OPEN_OK, 1},
    {WIRE_CONNECTION_CLOSE, WIRE_CONNECTION_CLOSE_OK, 0},
    {WIRE_CHANNEL_OPEN, WIRE_CHANNEL_OPEN_OK, 4},
    {WIRE_QUEUE_DECLARE, WIRE_QUEUE_DECLARE_OK, 9},
    {WIRE_QUEUE_DELETE, WIRE_QUEUE_DELETE_OK, 4},
    {WIRE_BASIC_QOS, WIRE_BASIC_QOS_OK, 0},
    {WIRE_CONFIRM_SELECT, WIRE_CONFIRM_SELECT_OK, 0},
};

/* Answers a request with what the table has for it; false if it is not there. */
static bool
peer_answer(struct wire_writer *writer, const struct wire_frame *frame, uint32_t method)
{
    for (size_t i = 0; i < sizeof relay_answers / sizeof relay_answers[0]; i++) {
        if ((uint32_t)relay_answers[i].request == method) {
            wire_begin_method(writer, frame->channel, relay_answers[i].answer);
            for (size_t zero = 0; zero < relay_answers[i].zeros; zero++) {
                wire_put_octet(writer, 0);
            }
            wire_end_frame(writer);
            return true;
        }
    }
    return false;
}

static void
relay_consume(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    struct wire_writer writer = peer_writer(peer);
    char queue[WIRE_SHORTSTR_MAX + 1];
    wire_get_long(&reader);
    wire_get_short(&reader);
    wire_get_text(&reader, queue);
    wire_get_text(&reader, peer->consumer_tag);
    wire_begin_method(&writer, frame->channel, WIRE_BASIC_CONSUME_OK);
    wire_put_shortstr(&writer, peer->consumer_tag);
    wire_end_frame(&writer);
    peer->output_end = writer.length;
    relay->consumer = peer;
}

/* Sends the method frame of a publish on as that of a delivery; content frames follow as they are.
 */
static void
relay_publish(struct relay *relay, struct peer *producer, const struct wire_frame *frame)
{
    struct peer *consumer = relay->consumer;
    producer->published++;
    if (consumer == NULL) {
        return;
    }
    struct wire_reader reader = wire_reader_of(frame);
    wire_get_bytes(&reader, 6); /* class, method, ticket */
    const uint8_t *names = reader.at;
    wire_get_bytes(&reader, wire_get_octet(&reader));
    wire_get_bytes(&reader, wire_get_octet(&reader));
    if (reader.failed) {
        errno = 0;
        relay_die("a malformed basic.publish");
    }
    struct wire_writer writer = peer_writer(consumer);
    wire_begin_method(&writer, 1, WIRE_BASIC_DELIVER);
    wire_put_shortstr(&writer, consumer->consumer_tag);
    wire_put_longlong(&writer, ++consumer->delivered);
    wire_put_octet(&writer, 0);
    wire_put_bytes(&writer, names, (size_t)(reader.at - names));
    wire_end_frame(&writer);
    consumer->output_end = writer.length;
}

static void
relay_forward_content(struct relay *relay, const struct wire_frame *frame)
{
    if (relay->consumer != NULL) {
        struct wire_writer writer = peer_writer(relay->consumer);
        wire_put_bytes(&writer, frame->payload - WIRE_FRAME_HEAD_BYTES,
                       frame->payload_bytes + (size_t)WIRE_FRAME_EXTRA_BYTES);
        relay->consumer->output_end = writer.length;
    }
}

static void
relay_handle_method(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    uint32_t method = wire_get_long(&reader);
    struct wire_writer writer = peer_writer(peer);
    switch (method) {
    case WIRE_BASIC_PUBLISH:
        relay_publish(relay, peer, frame);
        return;
    case WIRE_BASIC_CONSUME:
        relay_consume(relay, peer, frame);
        return;
    case WIRE_BASIC_ACK:
    case WIRE_CONNECTION_TUNE_OK:
        return;
    case WIRE_CONNECTION_START_OK:
        peer_put_tune(&writer);
        break;
    default:
        if (!peer_answer(&writer, frame, method)) {
            errno = 0;
            relay_die("a method that only a broker understands (use the default exchange)");
        }
        peer->confirms |= method == WIRE_CONFIRM_SELECT;
        peer->closing |= method == WIRE_CONNECTION_CLOSE;
    }
    peer->output_end = writer.length;
}

/* Takes the protocol header off the input and answers it. */
static size_t
relay_greet(struct peer *peer)
{
    static const size_t header_bytes = 8;
    if (peer->input_bytes < header_bytes) {
        return 0;
    }
    struct wire_writer writer = peer_writer(peer);
    peer_put_start(&writer);
    peer->output_end = writer.length;
    peer->greeted = true;
    return header_bytes;
}

static void
relay_confirm(struct peer *peer)
{
    struct wire_writer writer = peer_writer(peer);
    wire_begin_method(&writer, 1, WIRE_BASIC_ACK);
    wire_put_longlong(&writer, peer->published);
    wire_put_octet(&writer, 1);
    wire_end_frame(&writer);
    peer->output_end = writer.length;
}

/* Handles every whole frame of the input and returns how many bytes they were. */
static size_t
relay_take_frames(struct relay *relay, struct peer *peer, size_t taken)
{
    struct wire_frame frame;
    enum wire_found found;
    while ((found = wire_find_frame(peer->input + taken, peer->input_bytes - taken, &frame)) ==
           WIRE_FOUND_FRAME) {
        if (frame.type == WIRE_FRAME_METHOD) {
            relay_handle_method(relay, peer, &frame);
        } else {
            relay_forward_content(relay, &frame);
        }
        taken += (size_t)frame.payload_bytes + WIRE_FRAME_EXTRA_BYTES;
    }
    if (found == WIRE_FOUND_GARBAGE) {
        errno = 0;
        relay_die("not an AMQP frame");
    }
    return taken;
}

static void
relay_read(struct relay *relay, struct peer *peer)
{
    ssize_t length = recv(peer->fd, peer->input + peer->input_bytes,
                          RELAY_INPUT_BYTES - peer->input_bytes, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN) {
        return;
    }
    if (length <= 0) {
        relay_drop(relay, peer);
        return;
    }
    uint64_t published_before = peer->published;
    peer->input_bytes += (size_t)length;
    size_t taken = peer->greeted ? 0 : relay_greet(peer);
    if (peer->greeted) {
        taken = relay_take_frames(relay, peer, taken);
    }
    memmove(peer->input, peer->input + taken, peer->input_bytes - taken);
    peer->input_bytes -= taken;
    if (peer->confirms && peer->published > published_before) {
        relay_confirm(peer);
    }
    relay_flush(relay, peer);
    if (relay->consumer != NULL && relay->consumer != peer) {
        relay_flush(relay, relay->consumer);
    }
    if (peer->closing) {
        relay_drop(relay, peer);
    }
}

static void
relay_accept(struct relay *relay)
{
    int on = 1;
    int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        relay_die("accept");
    }
    for (size_t i = 0; i < RELAY_PEERS_MAX; i++) {
        struct peer *peer = &relay->peers[i];
        if (peer->fd < 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            *peer = (struct peer){
                .fd = fd, .input = malloc(RELAY_INPUT_BYTES), .output = malloc(RELAY_OUTPUT_BYTES)};
            if (peer->input == NULL || peer->output == NULL) {
                relay_die("out of memory");
            }
            relay_watch(relay, peer, EPOLL_CTL_ADD);
            return;
        }
    }
    close(fd);
}

static void
relay_open(struct relay *relay, uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(relay->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(relay->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(relay->listen_fd, 64) != 0) {
        relay_die("cannot listen");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->listen_fd, &event) != 0) {
        relay_die("epoll_ctl");
    }
    for (size_t i = 0; i < RELAY_PEERS_MAX; i++) {
        relay->peers[i].fd = -1;
    }
}

static void
relay_turn(struct relay *relay)
{
    struct epoll_event events[RELAY_EVENTS];
    int count = epoll_wait(relay->epoll_fd, events, RELAY_EVENTS, -1);
    for (int i = 0; i < count; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer == NULL) {
            relay_accept(relay);
            continue;
        }
        if (peer->fd >= 0 && events[i].events & EPOLLOUT) {
            relay_flush(relay, peer);
        }
        bool readable = events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR);
        if (peer->fd >= 0 && readable && relay_may_read(relay, peer)) {
            relay_read(relay, peer);
        }
    }
}

int
main(int argc, char **argv)
{
    char *end = NULL;
    unsigned long port = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    if (port == 0 || port > UINT16_MAX || *end != '\0') {
        fprintf(stderr, "usage: relay PORT\n");
        return 2;
    }
    struct relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        relay_die("out of memory");
    }
    relay_open(relay, (uint16_t)port);
    for (;;) {
        relay_turn(relay);
    }
}
