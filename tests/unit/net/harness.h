/* SPDX-License-Identifier: Apache-2.0 */
/* A network with a clock that tests step, a core that only writes down what it hears, and a client
 * that is a plain socket. */
#ifndef BOURSE_TESTS_UNIT_NET_HARNESS_H
#define BOURSE_TESTS_UNIT_NET_HARNESS_H

#include "amqp/frame.h"
#include "amqp/method.h"
#include "base/buffer.h"
#include "net/network.h"
#include "store/chunk.h"

enum { HEARD_MAX = 4096, HARNESS_LINK_COUNT = 8 };

/* One event, with copies of what it pointed at. */
struct heard {
    enum net_event_type type;
    uint16_t channel;
    uint64_t link;
    struct buffer octets; /* METHOD: payload. PUBLISH: exchange "/" routing key "/" body */
    bool has_content;
    uint64_t number; /* PUBLISH: body size. WRITTEN: octets. CLOSED: reason. LOAN_RETURNED: it */
    uint16_t flags;  /* of a content */
    struct fault fault;
    uint16_t class_id;
    uint16_t method_id;
    struct net_peer peer;
};

struct harness;
typedef void harness_respond(struct harness *harness, const struct net_event *event);

struct harness {
    struct network *network;
    struct net_port port;
    struct chunk_pool *pool;
    size_t mapped_bytes; /* memory for contents, spare chunks included */
    bool refuses_memory; /* for contents */
    bool is_in_core;     /* an event is being handled: they must not nest */
    uint64_t now_ms;
    uint16_t tcp_port;
    struct log log;
    struct buffer log_text;
    struct heard heard[HEARD_MAX];
    size_t heard_count;
    harness_respond *respond;           /* what the core does on an event; may be NULL */
    uint64_t links[HARNESS_LINK_COUNT]; /* in the order in which they were opened */
    size_t link_count;
    bool keeps_contents; /* PUBLISH does not release what it brings */
    struct content_ref kept[16];
    size_t kept_count;
};

/* A network that listens on loopback; `settings` may be NULL. */
void harness_start(struct harness *harness, const struct network_settings *settings,
                   struct transport_factory factory, bool is_tls);
void harness_stop(struct harness *harness);

/* One turn of the loop. */
void harness_turn(struct harness *harness);

/* Turns until `count` events were heard; asserts that it happens. */
void harness_wait(struct harness *harness, size_t count);

/* Turns long enough for everything that is on its way. */
void harness_settle(struct harness *harness);

void harness_step(struct harness *harness, uint64_t ms);

/* How many events of `type` were heard. */
size_t harness_count(const struct harness *harness, enum net_event_type type);

/* The `nth` (from 0) event of `type`; asserts that there is one. */
struct heard *harness_nth(struct harness *harness, enum net_event_type type, size_t nth);

uint64_t harness_written(const struct harness *harness);
bool harness_logged(struct harness *harness, const char *text);

/* A connected client socket; a client that has sent its protocol header; one whose link is
 * established as well, with `frame_max` and without heartbeats. */
int harness_connect(struct harness *harness);
int harness_open(struct harness *harness);
int harness_establish(struct harness *harness, uint32_t frame_max);

void harness_send(int fd, const void *octets, size_t size);
void harness_send_buffer(int fd, struct buffer *buffer); /* and empties it */

/* Sends `buffer` while the network runs, so that no socket buffer has to hold it. */
void harness_pump(struct harness *harness, int fd, struct buffer *buffer);

/* Reads exactly `size` octets while the network runs. */
void harness_read(struct harness *harness, int fd, uint8_t *out, size_t size);

/* True when the stream ends in an orderly way and without another octet. */
bool harness_reads_end(struct harness *harness, int fd);

/* Actions. */
void harness_post(struct harness *harness, uint64_t link, enum net_action_type type);
void harness_post_method(struct harness *harness, uint64_t link, uint16_t channel,
                         const struct method *method);
void harness_post_close(struct harness *harness, uint64_t link, uint32_t linger_ms);
void harness_post_tune(struct harness *harness, uint64_t link, uint32_t frame_max,
                       uint16_t heartbeat_s);

/* Frames. A property block may be empty: it then says that there are no properties. */
void put_method(struct buffer *out, uint16_t channel, const struct method *method);
void put_publish_method(struct buffer *out, uint16_t channel, const char *exchange,
                        const char *routing_key);
void put_header(struct buffer *out, uint16_t channel, uint16_t class_id, uint64_t body_size,
                struct bytes properties);
void put_body(struct buffer *out, uint16_t channel, struct bytes body, uint32_t frame_max);
void put_publish(struct buffer *out, uint16_t channel, const char *exchange,
                 const char *routing_key, struct bytes body, uint32_t frame_max);

bool octets_equal(struct bytes a, struct bytes b);

/* A transport over the socket that reads and writes at most `octets_max` octets at a time. The
 * factory points at `octets_max`. */
struct transport_factory transport_factory_trickle(const size_t *octets_max);

/* A transport whose handshake never ends. */
struct transport_factory transport_factory_silent(void);

#endif
