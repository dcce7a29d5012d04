/* SPDX-License-Identifier: Apache-2.0 */

/* A publish is a method frame, a header frame and, unless the body is empty, body frames of at most
 * frame_max - 8 octets each (AMQP 0-9-1, 4.2.6). Only key and stamp differ between two of them. */

#include "bench/loadgen_producer.h"

#include <stdlib.h>

#include "bench/loadgen_die.h"

enum {
    PRODUCER_BLOCK_BYTES = 128 * 1024, /* about what one write to a loopback socket takes */
    PRODUCER_METHOD_BYTES_MAX = 1024,  /* method and header frame together */
    HEADER_FLAG_DELIVERY_MODE = 1 << 12,
};

static void
producer_put_method(struct producer *producer, struct wire_writer *writer)
{
    wire_begin_method(writer, LINK_CHANNEL, WIRE_BASIC_PUBLISH);
    wire_put_short(writer, 0);
    wire_put_shortstr(writer, producer->topology->exchange);
    wire_put_octet(writer, producer->topology->key_bytes);
    producer->key_offset = writer->length;
    wire_put_bytes(writer, producer->topology->keys, producer->topology->key_bytes);
    wire_put_octet(writer, 0); /* neither mandatory nor immediate */
    wire_end_frame(writer);
}

static void
producer_put_header(const struct producer *producer, struct wire_writer *writer)
{
    const struct options *options = producer->topology->options;
    wire_begin_frame(writer, WIRE_FRAME_HEADER, LINK_CHANNEL);
    wire_put_short(writer, 60);
    wire_put_short(writer, 0);
    wire_put_longlong(writer, options->body_bytes);
    wire_put_short(writer, HEADER_FLAG_DELIVERY_MODE);
    wire_put_octet(writer, options->persistent ? 2 : 1);
    wire_end_frame(writer);
}

static void
producer_put_body(struct producer *producer, struct wire_writer *writer)
{
    uint32_t piece_max = producer->link.frame_max - WIRE_FRAME_EXTRA_BYTES;
    uint32_t left = producer->topology->options->body_bytes;
    producer->body_offset = writer->length + WIRE_FRAME_HEAD_BYTES;
    while (left > 0) {
        uint32_t piece = left < piece_max ? left : piece_max;
        wire_begin_frame(writer, WIRE_FRAME_BODY, LINK_CHANNEL);
        memset(writer->bytes + writer->length, 'b', piece);
        writer->length += piece;
        wire_end_frame(writer);
        left -= piece;
    }
}

/* Builds one publish and lays copies of it side by side. */
static void
producer_build_block(struct producer *producer)
{
    size_t body_bytes = producer->topology->options->body_bytes;
    size_t pieces = body_bytes / (producer->link.frame_max - WIRE_FRAME_EXTRA_BYTES) + 1;
    size_t capacity = PRODUCER_METHOD_BYTES_MAX + body_bytes + pieces * WIRE_FRAME_EXTRA_BYTES;
    uint8_t *message = die_calloc(capacity, 1);
    struct wire_writer writer = {.bytes = message, .capacity = capacity};
    producer_put_method(producer, &writer);
    producer_put_header(producer, &writer);
    producer_put_body(producer, &writer);

    producer->message_bytes = writer.length;
    producer->places = PRODUCER_BLOCK_BYTES / writer.length + 1;
    producer->block = die_calloc(producer->places, writer.length);
    for (size_t i = 0; i < producer->places; i++) {
        memcpy(producer->block + i * writer.length, message, writer.length);
    }
    free(message);
}

static void
producer_select_confirms(struct producer *producer)
{
    uint8_t bytes[64];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_CONFIRM_SELECT);
    wire_put_octet(&writer, 0);
    wire_end_frame(&writer);
    link_request(&producer->link, &writer, WIRE_CONFIRM_SELECT_OK);
}

void
producer_open(struct producer *producer, uint32_t index, const struct topology *topology,
              struct ledger *ledger, SSL_CTX *tls)
{
    const struct options *options = topology->options;
    *producer =
        (struct producer){.index = index, .topology = topology, .ledger = ledger, .writable = true};
    link_open(&producer->link, options, tls, "producer");
    confirms_init(&producer->confirms, options->confirm_window);
    if (options->confirm_window > 0) {
        producer_select_confirms(producer);
    }
    producer_build_block(producer);
    /* Producers start at different keys, or they would visit each queue at the same time. */
    producer->key = (uint32_t)((uint64_t)index * options->keys / options->producers);
    link_set_nonblocking(&producer->link);
}

void
producer_close(struct producer *producer)
{
    link_close(&producer->link);
    confirms_fini(&producer->confirms);
    free(producer->block);
    producer->block = NULL;
}

void
producer_start_rate(struct producer *producer, uint64_t start_ns)
{
    const struct options *options = producer->topology->options;
    double interval_ns = 1e9 / options->rate_per_s;
    producer->interval_ns = (uint64_t)(interval_ns * options->producers);
    producer->due_ns = start_ns + (uint64_t)(interval_ns * producer->index);
}

/* How many messages may go out now, by everything that limits them but the socket. */
static uint64_t
producer_allowance(const struct producer *producer, uint64_t room, uint64_t now_ns)
{
    uint64_t window = confirms_room(&producer->confirms);
    uint64_t allowance = window < room ? window : room;
    if (producer->interval_ns > 0) {
        uint64_t due =
            now_ns < producer->due_ns ? 0 : (now_ns - producer->due_ns) / producer->interval_ns + 1;
        allowance = due < allowance ? due : allowance;
    }
    return allowance < producer->places ? allowance : producer->places;
}

/* Makes the message at `place` the next one of its lane. */
static void
producer_fill(struct producer *producer, size_t place, uint64_t now_ns, struct histogram *lag)
{
    const struct topology *topology = producer->topology;
    uint8_t *message = producer->block + place * producer->message_bytes;
    uint32_t queue = topology_queue_of_key(topology, producer->key);
    uint64_t due_ns = producer->interval_ns > 0 ? producer->due_ns : now_ns;
    struct stamp stamp = {
        .producer = producer->index,
        .queue = queue,
        .sequence = ledger_publish(producer->ledger, producer->index, queue),
        .intended_ns = due_ns,
    };
    memcpy(message + producer->key_offset,
           topology->keys + (size_t)producer->key * topology->key_bytes, topology->key_bytes);
    stamp_store(message + producer->body_offset, topology->options->body_bytes, &stamp);
    confirms_publish(&producer->confirms, due_ns);
    if (lag != NULL) {
        histogram_record(lag, now_ns - due_ns);
    }
    producer->due_ns += producer->interval_ns;
    producer->key = producer->key + 1 < topology->options->keys ? producer->key + 1 : 0;
}

void
producer_flush(struct producer *producer)
{
    size_t left = producer->filled_bytes - producer->written_bytes;
    if (left == 0 || !producer->writable) {
        return;
    }
    size_t written = link_write(&producer->link, producer->block + producer->written_bytes, left);
    producer->written_bytes += written;
    /* TLS writes one record at a time: only a write of nothing says that the socket is full. */
    producer->writable = producer->link.ssl == NULL ? written == left : written > 0;
}

void
producer_publish(struct producer *producer, uint64_t room, uint64_t now_ns, struct histogram *lag)
{
    if (producer->filled_bytes == producer->written_bytes) {
        uint64_t count = producer_allowance(producer, room, now_ns);
        for (size_t place = 0; place < count; place++) {
            producer_fill(producer, place, now_ns, lag);
        }
        producer->filled_bytes = (size_t)count * producer->message_bytes;
        producer->written_bytes = 0;
    }
    do {
        producer_flush(producer);
    } while (producer->writable && producer->written_bytes < producer->filled_bytes);
}

static void
producer_handle_frame(struct producer *producer, const struct wire_frame *frame, uint64_t now_ns,
                      struct histogram *latency)
{
    struct wire_reader reader = wire_reader_of(frame);
    uint32_t method = wire_get_long(&reader);
    if (frame->type != WIRE_FRAME_METHOD || producer->confirms.window == 0) {
        link_refuse_frame(&producer->link, frame);
    }
    if (method == WIRE_BASIC_NACK) {
        die("producer: the broker refused a message (basic.nack)");
    }
    uint64_t number = wire_get_longlong(&reader);
    bool multiple = wire_get_octet(&reader) & 1;
    if (method != WIRE_BASIC_ACK || reader.failed) {
        link_refuse_frame(&producer->link, frame);
    }
    producer->ledger->confirmed +=
        confirms_ack(&producer->confirms, number, multiple, now_ns, latency);
}

void
producer_read(struct producer *producer, uint64_t now_ns, struct histogram *latency)
{
    struct wire_frame frame;
    if (link_read(&producer->link) == 0) {
        producer->readable = false;
        return;
    }
    while (link_next_frame(&producer->link, &frame)) {
        producer_handle_frame(producer, &frame, now_ns, latency);
    }
}

bool
producer_is_settled(const struct producer *producer)
{
    const struct confirms *confirms = &producer->confirms;
    bool confirmed = confirms->window == 0 || confirms->lowest_open > confirms->published;
    return confirmed && producer->written_bytes == producer->filled_bytes;
}
