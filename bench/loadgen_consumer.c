/* SPDX-License-Identifier: Apache-2.0 */

/* The consumer tag is the queue's number in four hexadecimal digits, so that a delivery names its
 * queue without a search. */

#include "bench/loadgen_consumer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/loadgen_clock.h"
#include "bench/loadgen_die.h"

enum {
    CONSUMER_REQUEST_BYTES = 2048,
    CONSUMER_ACK_BYTES = 21, /* one basic.ack frame */
    CONSUMER_ACKS_BYTES = 1024 * CONSUMER_ACK_BYTES,
    CONSUMER_TAG_BYTES = 4,
};

static void
consumer_set_prefetch(struct consumer *consumer)
{
    uint8_t bytes[CONSUMER_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_BASIC_QOS);
    wire_put_long(&writer, 0);
    wire_put_short(&writer, consumer->topology->options->prefetch_count);
    wire_put_octet(&writer, 0); /* for each consumer of its own */
    wire_end_frame(&writer);
    link_request(&consumer->link, &writer, WIRE_BASIC_QOS_OK);
}

static void
consumer_consume(struct consumer *consumer, uint32_t queue)
{
    enum { NO_ACK = 2, NO_WAIT = 8 };
    const struct options *options = consumer->topology->options;
    /* In a drain deliveries come between the answers, so it asks for none. */
    bool waits = options->drain_count == 0;
    uint8_t bytes[CONSUMER_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    char name[WIRE_SHORTSTR_MAX + 1];
    char tag[16];
    topology_queue_name(consumer->topology, queue, name);
    snprintf(tag, sizeof tag, "%04x", queue);
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_BASIC_CONSUME);
    wire_put_short(&writer, 0);
    wire_put_shortstr(&writer, name);
    wire_put_shortstr(&writer, tag);
    wire_put_octet(&writer,
                   (uint8_t)((options->ack_every == 0 ? NO_ACK : 0) | (waits ? 0 : NO_WAIT)));
    wire_put_empty_table(&writer);
    wire_end_frame(&writer);
    if (waits) {
        link_request(&consumer->link, &writer, WIRE_BASIC_CONSUME_OK);
    } else {
        link_send(&consumer->link, writer.bytes, writer.length);
    }
}

static void
consumer_consume_share(struct consumer *consumer)
{
    const struct options *options = consumer->topology->options;
    if (options->consumers >= options->drain_queues) {
        consumer_consume(consumer, options->drain_from + consumer->index % options->drain_queues);
        return;
    }
    for (uint32_t i = consumer->index; i < options->drain_queues; i += options->consumers) {
        consumer_consume(consumer, options->drain_from + i);
    }
}

void
consumer_open(struct consumer *consumer, uint32_t index, const struct topology *topology,
              struct ledger *ledger, SSL_CTX *tls)
{
    const struct options *options = topology->options;
    *consumer = (struct consumer){
        .index = index,
        .topology = topology,
        .ledger = ledger,
        .alone = options->consumers <= options->drain_queues,
        .writable = true,
        .next = die_calloc((size_t)ledger->producers * ledger->queues, sizeof(uint64_t)),
        .acks = die_calloc(CONSUMER_ACKS_BYTES, 1),
    };
    link_open(&consumer->link, options, tls, "consumer");
    if (options->prefetch_count > 0) {
        consumer_set_prefetch(consumer);
    }
    consumer_consume_share(consumer);
    link_set_nonblocking(&consumer->link);
}

void
consumer_close(struct consumer *consumer)
{
    link_close(&consumer->link);
    free(consumer->next);
    free(consumer->acks);
    consumer->next = NULL;
    consumer->acks = NULL;
}

void
consumer_flush(struct consumer *consumer)
{
    if (consumer->acks_bytes == 0 || !consumer->writable) {
        return;
    }
    size_t written = link_write(&consumer->link, consumer->acks, consumer->acks_bytes);
    consumer->writable = written > 0;
    consumer->acks_bytes -= written;
    memmove(consumer->acks, consumer->acks + written, consumer->acks_bytes);
}

/* Acknowledges everything up to the last delivery. If the socket has been full for so long that
 * there is no room, the next acknowledgement will cover this one. */
static void
consumer_ack(struct consumer *consumer)
{
    struct wire_writer writer = {
        .bytes = consumer->acks, .length = consumer->acks_bytes, .capacity = CONSUMER_ACKS_BYTES};
    if (writer.capacity - writer.length < CONSUMER_ACK_BYTES) {
        return;
    }
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_BASIC_ACK);
    wire_put_longlong(&writer, consumer->delivery_tag);
    wire_put_octet(&writer, 1); /* multiple */
    wire_end_frame(&writer);
    consumer->acks_bytes = writer.length;
    consumer->acked_tag = consumer->delivery_tag;
}

void
consumer_ack_rest(struct consumer *consumer)
{
    bool acks = consumer->topology->options->ack_every > 0;
    if (acks && consumer->delivery_tag > consumer->acked_tag) {
        consumer_ack(consumer);
    }
    consumer_flush(consumer);
}

static uint32_t
consumer_queue_of_tag(const uint8_t *tag)
{
    uint32_t queue = 0;
    for (size_t i = 0; i < CONSUMER_TAG_BYTES; i++) {
        uint32_t digit = tag[i] <= '9' ? (uint32_t)tag[i] - '0' : (uint32_t)tag[i] - 'a' + 10;
        queue = queue << 4 | (digit & 15);
    }
    return queue;
}

static void
consumer_begin_delivery(struct consumer *consumer, const struct wire_frame *frame)
{
    struct wire_reader reader = wire_reader_of(frame);
    if (wire_get_long(&reader) != WIRE_BASIC_DELIVER) {
        link_refuse_frame(&consumer->link, frame);
    }
    uint8_t tag_bytes = wire_get_octet(&reader);
    const uint8_t *tag = wire_get_bytes(&reader, tag_bytes);
    uint64_t delivery_tag = wire_get_longlong(&reader);
    /* What waited while a broker was killed may have been handed out for all it knows. */
    bool redelivered = wire_get_octet(&reader) && consumer->topology->options->drain_count == 0;
    if (reader.failed || tag_bytes != CONSUMER_TAG_BYTES || redelivered) {
        die("consumer: a basic.deliver that is %s", redelivered ? "redelivered" : "malformed");
    }
    if (delivery_tag != consumer->delivery_tag + 1) {
        die("consumer: delivery tag %" PRIu64 " after %" PRIu64, delivery_tag,
            consumer->delivery_tag);
    }
    consumer->queue = consumer_queue_of_tag(tag);
    if (consumer->queue >= consumer->ledger->queues) {
        die("consumer: a delivery for a consumer tag that is not ours");
    }
    consumer->header_due = true;
}

static void
consumer_end_delivery(struct consumer *consumer)
{
    uint32_t ack_every = consumer->topology->options->ack_every;
    consumer->delivery_tag++;
    if (ack_every > 0 && consumer->delivery_tag - consumer->acked_tag >= ack_every) {
        consumer_ack(consumer);
    }
}

/* Enters the delivery into the books; `body` starts with the stamp. */
static void
consumer_check(struct consumer *consumer, const uint8_t *body, uint64_t now_ns,
               struct histogram *latency)
{
    struct stamp stamp = stamp_load(body, consumer->ledger->body_bytes);
    ledger_deliver(consumer->ledger, &stamp, consumer->queue, consumer->next, consumer->alone);
    if (latency != NULL && now_ns > stamp.intended_ns) {
        histogram_record(latency, now_ns - stamp.intended_ns);
    }
}

static void
consumer_take_header(struct consumer *consumer, const struct wire_frame *frame, uint64_t now_ns,
                     struct histogram *latency)
{
    struct wire_reader reader = wire_reader_of(frame);
    wire_get_long(&reader); /* class and weight */
    uint64_t body_bytes = wire_get_longlong(&reader);
    if (reader.failed || !consumer->header_due || body_bytes != consumer->ledger->body_bytes) {
        die("consumer: a body of %" PRIu64 " bytes, published were %" PRIu32, body_bytes,
            consumer->ledger->body_bytes);
    }
    consumer->header_due = false;
    consumer->body_left_bytes = body_bytes;
    if (body_bytes == 0) {
        static const uint8_t no_body[1] = {0};
        consumer_check(consumer, no_body, now_ns, latency);
        consumer_end_delivery(consumer);
    }
}

static void
consumer_take_body(struct consumer *consumer, const struct wire_frame *frame, uint64_t now_ns,
                   struct histogram *latency)
{
    uint32_t body_bytes = consumer->ledger->body_bytes;
    bool first = consumer->body_left_bytes == body_bytes;
    if (frame->payload_bytes == 0 || frame->payload_bytes > consumer->body_left_bytes) {
        die("consumer: a body frame of %" PRIu32 " bytes where %" PRIu64 " are left",
            frame->payload_bytes, consumer->body_left_bytes);
    }
    if (first && frame->payload_bytes < STAMP_TIMED_BYTES && frame->payload_bytes < body_bytes) {
        die("consumer: a body cut after %" PRIu32 " bytes", frame->payload_bytes);
    }
    if (first) {
        consumer_check(consumer, frame->payload, now_ns, latency);
    }
    consumer->body_left_bytes -= frame->payload_bytes;
    if (consumer->body_left_bytes == 0) {
        consumer_end_delivery(consumer);
    }
}

static void
consumer_handle_frame(struct consumer *consumer, const struct wire_frame *frame, uint64_t now_ns,
                      struct histogram *latency)
{
    bool inside = consumer->header_due || consumer->body_left_bytes > 0;
    if (frame->type == WIRE_FRAME_METHOD && !inside) {
        consumer_begin_delivery(consumer, frame);
    } else if (frame->type == WIRE_FRAME_HEADER && consumer->header_due) {
        consumer_take_header(consumer, frame, now_ns, latency);
    } else if (frame->type == WIRE_FRAME_BODY && consumer->body_left_bytes > 0) {
        consumer_take_body(consumer, frame, now_ns, latency);
    } else {
        link_refuse_frame(&consumer->link, frame);
    }
}

void
consumer_read(struct consumer *consumer, struct histogram *latency)
{
    struct wire_frame frame;
    if (link_read(&consumer->link) == 0) {
        consumer->readable = false;
    }
    uint64_t now_ns = clock_now_ns();
    while (link_next_frame(&consumer->link, &frame)) {
        consumer_handle_frame(consumer, &frame, now_ns, latency);
    }
    consumer_flush(consumer);
}
