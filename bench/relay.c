/* SPDX-License-Identifier: Apache-2.0 */

/* bench/relay PORT [CERTIFICATE KEY]: the physical limit that a broker is compared with, over plain
 * TCP or with TLS. One thread takes each publish apart and sends it on as a delivery to whoever
 * consumes. It has no queue, no rights and no routing: where a message goes it reads from the names
 * that bench/loadgen gives to queues and keys. It confirms what it has read and ignores
 * acknowledgements.
 *
 * It speaks to bench/loadgen only, on loopback: whatever it does not understand ends it. A producer
 * is read only while nothing waits to be written to a consumer, which bounds all memory. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/relay_stream.h"
#include "bench/wire.h"

enum {
    RELAY_PEERS_MAX = 64,
    RELAY_QUEUES_MAX = 1000,
    RELAY_EVENTS = 16,
    RELAY_INPUT_BYTES = 2 * WIRE_FRAME_BYTES_MAX,
    /* A delivery is longer than its publish by the tag and a few octets, never twice as long. */
    RELAY_OUTPUT_BYTES = 2 * RELAY_INPUT_BYTES + 1024,
};

struct peer {
    struct stream stream; /* fd -1: this place is free */
    bool greeted;
    bool confirms;
    bool closing;       /* close once the output is through */
    bool writing;       /* the socket is watched for room */
    uint64_t published; /* on its channel, for confirms */
    uint64_t delivered; /* on its channel, for delivery tags */
    uint8_t *input;     /* owned */
    size_t input_bytes;
    uint8_t *output; /* owned */
    size_t output_start;
    size_t output_end;
};

/* Who consumes a queue. */
struct subscription {
    struct peer *peer; /* NULL: nobody; points into relay.peers */
    char tag[WIRE_SHORTSTR_MAX + 1];
};

enum relay_route {
    RELAY_ROUTE_DIRECT, /* the key ends in the queue's number */
    RELAY_ROUTE_TOPIC,  /* the second word is the binding's number, the queue follows from it */
    RELAY_ROUTE_FANOUT,
};

struct relay {
    int epoll_fd;
    int listen_fd;
    SSL_CTX *tls; /* NULL: plain TCP */
    struct peer peers[RELAY_PEERS_MAX];
    enum relay_route route; /* of what is not published to the default exchange */
    struct subscription subscriptions[RELAY_QUEUES_MAX]; /* by the queue's number */
    uint32_t queue_count;                                /* the highest number consumed, + 1 */
    uint32_t writing_count;                              /* peers with a backlog */
};

static _Noreturn void
relay_die(const char *what)
{
    fprintf(stderr, "relay: %s%s%s\n", what, errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

/* The other side did what loadgen does not. */
static _Noreturn void
relay_refuse(const char *what)
{
    errno = 0;
    relay_die(what);
}

/* Bytes waiting to be written to `peer`. */
static size_t
peer_backlog(const struct peer *peer)
{
    return peer->output_end - peer->output_start;
}

/* Whether anybody may be read now: what is published needs room at every consumer. */
static bool
relay_may_read(const struct relay *relay)
{
    return relay->writing_count == 0;
}

static void
relay_watch(const struct relay *relay, struct peer *peer, int operation)
{
    struct epoll_event event = {.data.ptr = peer};
    event.events = relay_may_read(relay) ? EPOLLIN : 0;
    if (peer->writing) {
        event.events |= EPOLLOUT;
    }
    if (epoll_ctl(relay->epoll_fd, operation, peer->stream.fd, &event) != 0) {
        relay_die("epoll_ctl");
    }
}

/* Called when a backlog began or ended: that changes who may be read. */
static void
relay_watch_all(struct relay *relay)
{
    for (size_t i = 0; i < RELAY_PEERS_MAX; i++) {
        if (relay->peers[i].stream.fd >= 0) {
            relay_watch(relay, &relay->peers[i], EPOLL_CTL_MOD);
        }
    }
}

static void
relay_set_writing(struct relay *relay, struct peer *peer, bool writing)
{
    if (writing != peer->writing) {
        peer->writing = writing;
        relay->writing_count += writing ? 1U : -1U;
        relay_watch_all(relay);
    }
}

static void
relay_forget_consumer(struct relay *relay, const struct peer *peer)
{
    uint32_t queue_count = 0;
    for (uint32_t queue = 0; queue < relay->queue_count; queue++) {
        if (relay->subscriptions[queue].peer == peer) {
            relay->subscriptions[queue].peer = NULL;
        } else if (relay->subscriptions[queue].peer != NULL) {
            queue_count = queue + 1;
        }
    }
    relay->queue_count = queue_count;
}

static void
relay_drop(struct relay *relay, struct peer *peer)
{
    relay_set_writing(relay, peer, false);
    relay_forget_consumer(relay, peer);
    stream_close(&peer->stream);
    free(peer->input);
    free(peer->output);
    *peer = (struct peer){.stream.fd = -1};
}

static void
relay_flush(struct relay *relay, struct peer *peer)
{
    while (peer_backlog(peer) > 0) {
        size_t written =
            stream_write(&peer->stream, peer->output + peer->output_start, peer_backlog(peer));
        if (written == 0) {
            break;
        }
        peer->output_start += written;
    }
    if (peer_backlog(peer) == 0) {
        peer->output_start = 0;
        peer->output_end = 0;
    }
    relay_set_writing(relay, peer, peer_backlog(peer) > 0);
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
    {WIRE_EXCHANGE_DECLARE, WIRE_EXCHANGE_DECLARE_OK, 0},
    {WIRE_EXCHANGE_DELETE, WIRE_EXCHANGE_DELETE_OK, 0},
    {WIRE_QUEUE_BIND, WIRE_QUEUE_BIND_OK, 0},
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

/* The number in `count` digits at `digits`. */
static uint32_t
relay_number(const char *digits, size_t count)
{
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        number = number * 10 + ((uint32_t)digits[i] - '0');
    }
    return number;
}

/* The queue that a name of loadgen stands for: its last five octets are digits. */
static uint32_t
relay_queue_of(const char *name, size_t length)
{
    static const size_t digits = 5;
    return length < digits ? RELAY_QUEUES_MAX : relay_number(name + length - digits, digits);
}

static void
relay_consume(struct relay *relay, struct peer *peer, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    struct wire_writer writer = peer_writer(peer);
    char name[WIRE_SHORTSTR_MAX + 1];
    wire_get_long(&reader);
    wire_get_short(&reader);
    wire_get_text(&reader, name);
    uint32_t queue = relay_queue_of(name, strlen(name));
    if (queue >= RELAY_QUEUES_MAX) {
        relay_refuse("a queue that loadgen would not name so");
    }
    struct subscription *subscription = &relay->subscriptions[queue];
    wire_get_text(&reader, subscription->tag);
    subscription->peer = peer;
    relay->queue_count = queue < relay->queue_count ? relay->queue_count : queue + 1;
    wire_begin_method(&writer, frame->channel, WIRE_BASIC_CONSUME_OK);
    wire_put_shortstr(&writer, subscription->tag);
    wire_end_frame(&writer);
    peer->output_end = writer.length;
}

/* Remembers the type of the exchange; there is one at a time. */
static void
relay_declare_exchange(struct relay *relay, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    char text[WIRE_SHORTSTR_MAX + 1];
    wire_get_long(&reader);
    wire_get_short(&reader);
    wire_get_text(&reader, text);
    wire_get_text(&reader, text);
    relay->route = RELAY_ROUTE_DIRECT;
    if (strcmp(text, "topic") == 0) {
        relay->route = RELAY_ROUTE_TOPIC;
    } else if (strcmp(text, "fanout") == 0) {
        relay->route = RELAY_ROUTE_FANOUT;
    }
}

/* Whether a queue.bind asks for no answer. */
static bool
relay_is_nowait_bind(const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    wire_get_bytes(&reader, 6); /* class, method, ticket */
    for (int name = 0; name < 3; name++) {
        wire_get_bytes(&reader, wire_get_octet(&reader));
    }
    return wire_get_octet(&reader) != 0;
}

/* One basic.publish, all frames of which are there. */
struct publish {
    const uint8_t *names; /* exchange and routing key as they stand in the method */
    size_t names_bytes;
    const char *key;
    size_t key_bytes;
    bool to_default;        /* exchange */
    const uint8_t *content; /* header and body frames, whole */
    size_t content_bytes;
};

/* Returns how many octets header frame and body frame at `at` are, 0 when they are not there yet.
 */
static size_t
publish_find_content(const uint8_t *at, size_t length)
{
    struct wire_frame header;
    struct wire_frame body;
    if (wire_find_frame(at, length, &header) != WIRE_FOUND_FRAME) {
        return 0;
    }
    size_t header_bytes = header.payload_bytes + (size_t)WIRE_FRAME_EXTRA_BYTES;
    if (header.type != WIRE_FRAME_HEADER || header.payload_bytes < 14) {
        relay_refuse("a basic.publish without a content");
    }
    uint64_t body_bytes = wire_load_longlong(header.payload + 4);
    if (body_bytes == 0) {
        return header_bytes;
    }
    if (wire_find_frame(at + header_bytes, length - header_bytes, &body) != WIRE_FOUND_FRAME) {
        return 0;
    }
    if (body.payload_bytes != body_bytes) {
        relay_refuse("a body in more than one frame");
    }
    return header_bytes + body.payload_bytes + WIRE_FRAME_EXTRA_BYTES;
}

static void
publish_read_names(struct publish *publish, const struct wire_frame *method)
{
    struct wire_reader reader = wire_reader_of(method);
    wire_get_bytes(&reader, 6); /* class, method, ticket */
    publish->names = reader.at;
    uint8_t exchange_bytes = wire_get_octet(&reader);
    wire_get_bytes(&reader, exchange_bytes);
    publish->key_bytes = wire_get_octet(&reader);
    publish->key = (const char *)wire_get_bytes(&reader, publish->key_bytes);
    if (reader.failed) {
        relay_refuse("a malformed basic.publish");
    }
    publish->names_bytes = (size_t)(reader.at - publish->names);
    publish->to_default = exchange_bytes == 0;
}

static void
relay_deliver(const struct subscription *subscription, const struct publish *publish)
{
    struct peer *consumer = subscription->peer;
    if (consumer == NULL) {
        return;
    }
    struct wire_writer writer = peer_writer(consumer);
    wire_begin_method(&writer, 1, WIRE_BASIC_DELIVER);
    wire_put_shortstr(&writer, subscription->tag);
    wire_put_longlong(&writer, ++consumer->delivered);
    wire_put_octet(&writer, 0);
    wire_put_bytes(&writer, publish->names, publish->names_bytes);
    wire_end_frame(&writer);
    wire_put_bytes(&writer, publish->content, publish->content_bytes);
    consumer->output_end = writer.length;
}

/* Where a message goes that does not go everywhere. */
static uint32_t
relay_route_one(const struct relay *relay, const struct publish *publish)
{
    static const size_t number_at = 4; /* dev.NNNNNN. */
    static const size_t number_digits = 6;
    if (publish->to_default || relay->route == RELAY_ROUTE_DIRECT) {
        return relay_queue_of(publish->key, publish->key_bytes);
    }
    if (publish->key_bytes < number_at + number_digits || relay->queue_count == 0) {
        return RELAY_QUEUES_MAX;
    }
    return relay_number(publish->key + number_at, number_digits) % relay->queue_count;
}

static void
relay_route(struct relay *relay, const struct publish *publish)
{
    if (!publish->to_default && relay->route == RELAY_ROUTE_FANOUT) {
        for (uint32_t queue = 0; queue < relay->queue_count; queue++) {
            relay_deliver(&relay->subscriptions[queue], publish);
        }
        return;
    }
    uint32_t queue = relay_route_one(relay, publish);
    if (queue < relay->queue_count) {
        relay_deliver(&relay->subscriptions[queue], publish);
    }
}

/* Handles the publish whose method frame was found at the front of `length` octets; returns how
 * many octets its frames were, 0 when some are not there yet. */
static size_t
relay_take_publish(struct relay *relay, struct peer *producer, const struct wire_frame *method,
                   size_t length)
{
    struct publish publish;
    size_t method_bytes = method->payload_bytes + (size_t)WIRE_FRAME_EXTRA_BYTES;
    publish.content = method->payload - WIRE_FRAME_HEAD_BYTES + method_bytes;
    publish.content_bytes = publish_find_content(publish.content, length - method_bytes);
    if (publish.content_bytes == 0) {
        return 0;
    }
    publish_read_names(&publish, method);
    producer->published++;
    relay_route(relay, &publish);
    return method_bytes + publish.content_bytes;
}

static void
relay_handle_method(struct relay *relay, struct peer *peer, const struct wire_frame *frame,
                    uint32_t method)
{
    struct wire_writer writer = peer_writer(peer);
    bool is_silent = method == WIRE_QUEUE_BIND && relay_is_nowait_bind(frame);
    if (method == WIRE_BASIC_ACK || method == WIRE_CONNECTION_TUNE_OK || is_silent) {
        return;
    }
    if (method == WIRE_BASIC_CONSUME) {
        relay_consume(relay, peer, frame);
        return;
    }
    if (method == WIRE_EXCHANGE_DECLARE) {
        relay_declare_exchange(relay, frame);
    }
    if (method == WIRE_CONNECTION_START_OK) {
        peer_put_tune(&writer);
    } else if (!peer_answer(&writer, frame, method)) {
        relay_refuse("a method that only a broker understands");
    }
    peer->confirms |= method == WIRE_CONFIRM_SELECT;
    peer->closing |= method == WIRE_CONNECTION_CLOSE;
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

/* Handles the frame at the front of `length` octets; returns how many octets it and its content
 * were, 0 when there is more to come first. */
static size_t
relay_take_frame(struct relay *relay, struct peer *peer, const struct wire_frame *frame,
                 size_t length)
{
    struct wire_reader reader = wire_reader_of(frame);
    uint32_t method = wire_get_long(&reader);
    if (frame->type != WIRE_FRAME_METHOD) {
        relay_refuse("a frame where a method belongs");
    }
    if (method == WIRE_BASIC_PUBLISH) {
        return relay_take_publish(relay, peer, frame, length);
    }
    relay_handle_method(relay, peer, frame, method);
    return (size_t)frame->payload_bytes + WIRE_FRAME_EXTRA_BYTES;
}

/* Handles all that is whole in the input and returns how many octets that were. */
static size_t
relay_take_frames(struct relay *relay, struct peer *peer, size_t taken)
{
    struct wire_frame frame;
    enum wire_found found;
    while ((found = wire_find_frame(peer->input + taken, peer->input_bytes - taken, &frame)) ==
           WIRE_FOUND_FRAME) {
        size_t size = relay_take_frame(relay, peer, &frame, peer->input_bytes - taken);
        if (size == 0) {
            break;
        }
        taken += size;
    }
    if (found == WIRE_FOUND_GARBAGE) {
        relay_refuse("not an AMQP frame");
    }
    return taken;
}

static void
relay_flush_consumers(struct relay *relay)
{
    for (uint32_t queue = 0; queue < relay->queue_count; queue++) {
        struct peer *consumer = relay->subscriptions[queue].peer;
        if (consumer != NULL && peer_backlog(consumer) > 0) {
            relay_flush(relay, consumer);
        }
    }
}

static void
relay_handle_input(struct relay *relay, struct peer *peer)
{
    uint64_t published_before = peer->published;
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
    relay_flush_consumers(relay);
    if (peer->closing) {
        relay_drop(relay, peer);
    }
}

static void
relay_read(struct relay *relay, struct peer *peer)
{
    size_t length = 0;
    switch (stream_read(&peer->stream, peer->input + peer->input_bytes,
                        RELAY_INPUT_BYTES - peer->input_bytes, &length)) {
    case STREAM_GOT_NOTHING:
        return;
    case STREAM_GOT_END:
        relay_drop(relay, peer);
        return;
    case STREAM_GOT_OCTETS:
        peer->input_bytes += length;
        relay_handle_input(relay, peer);
        return;
    }
}

static struct peer *
relay_free_place(struct relay *relay)
{
    for (size_t i = 0; i < RELAY_PEERS_MAX; i++) {
        if (relay->peers[i].stream.fd < 0) {
            return &relay->peers[i];
        }
    }
    return NULL;
}

static void
relay_accept(struct relay *relay)
{
    int on = 1;
    int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        relay_die("accept");
    }
    struct peer *peer = relay_free_place(relay);
    if (peer == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *peer = (struct peer){.input = malloc(RELAY_INPUT_BYTES), .output = malloc(RELAY_OUTPUT_BYTES)};
    if (peer->input == NULL || peer->output == NULL ||
        !stream_open(&peer->stream, fd, relay->tls)) {
        relay_die("out of memory");
    }
    relay_watch(relay, peer, EPOLL_CTL_ADD);
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
        relay->peers[i].stream.fd = -1;
    }
}

static void
relay_handle_event(struct relay *relay, struct peer *peer, uint32_t events)
{
    if (peer == NULL) {
        relay_accept(relay);
        return;
    }
    if (peer->stream.fd >= 0 && events & EPOLLOUT) {
        relay_flush(relay, peer);
    }
    bool readable = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    if (peer->stream.fd >= 0 && readable && relay_may_read(relay)) {
        relay_read(relay, peer);
    }
}

/* Reads what TLS holds and no event tells of. True while there is more that may be read. */
static bool
relay_read_held(struct relay *relay)
{
    bool more = false;
    for (size_t i = 0; relay->tls != NULL && i < RELAY_PEERS_MAX; i++) {
        struct peer *peer = &relay->peers[i];
        if (peer->stream.has_more && relay_may_read(relay)) {
            relay_read(relay, peer);
            more = true;
        }
    }
    return more && relay_may_read(relay);
}

static void
relay_run(struct relay *relay)
{
    struct epoll_event events[RELAY_EVENTS];
    bool more = false;
    for (;;) {
        int count = epoll_wait(relay->epoll_fd, events, RELAY_EVENTS, more ? 0 : -1);
        for (int i = 0; i < count; i++) {
            relay_handle_event(relay, events[i].data.ptr, events[i].events);
        }
        more = relay_read_held(relay);
    }
}

int
main(int argc, char **argv)
{
    char *end = NULL;
    unsigned long port = argc == 2 || argc == 4 ? strtoul(argv[1], &end, 10) : 0;
    if (port == 0 || port > UINT16_MAX || *end != '\0') {
        fprintf(stderr, "usage: relay PORT [CERTIFICATE KEY]\n");
        return 2;
    }
    struct relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL) {
        relay_die("out of memory");
    }
    if (argc == 4 && (relay->tls = stream_tls_new(argv[2], argv[3])) == NULL) {
        relay_refuse("certificate or key cannot be used");
    }
    signal(SIGPIPE, SIG_IGN);
    relay_open(relay, (uint16_t)port);
    relay_run(relay);
}
