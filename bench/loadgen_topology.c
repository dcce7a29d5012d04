/* SPDX-License-Identifier: Apache-2.0 */

/* Binding i leads to queue i modulo the number of queues; key k is made to match binding k modulo
 * the number of bindings and no other. */

#include "bench/loadgen_topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/loadgen_clock.h"
#include "bench/loadgen_die.h"

enum {
    TOPOLOGY_REQUEST_BYTES = 2048,
    TOPOLOGY_BATCH_BYTES = 65536, /* of bindings sent without waiting */
};

static void
topology_key(const struct topology *topology, uint32_t key, char text_out[WIRE_SHORTSTR_MAX + 1])
{
    const struct options *options = topology->options;
    uint32_t binding = key % options->bindings;
    uint32_t variant = key / options->bindings;
    switch (options->route) {
    case ROUTE_DEFAULT:
        topology_queue_name(topology, key, text_out);
        break;
    case ROUTE_DIRECT:
    case ROUTE_FANOUT:
        snprintf(text_out, WIRE_SHORTSTR_MAX + 1, "key.%06u", key % 1000000);
        break;
    case ROUTE_TOPIC_STAR:
    case ROUTE_TOPIC_HASH:
        snprintf(text_out, WIRE_SHORTSTR_MAX + 1, "dev.%06u.s%03u.temp", binding, variant % 1000);
        break;
    }
}

static void
topology_pattern(const struct topology *topology, uint32_t binding,
                 char text_out[WIRE_SHORTSTR_MAX + 1])
{
    switch (topology->options->route) {
    case ROUTE_TOPIC_STAR:
        snprintf(text_out, WIRE_SHORTSTR_MAX + 1, "dev.%06u.*.temp", binding);
        break;
    case ROUTE_TOPIC_HASH:
        snprintf(text_out, WIRE_SHORTSTR_MAX + 1, "dev.%06u.#", binding);
        break;
    case ROUTE_DEFAULT:
    case ROUTE_DIRECT:
    case ROUTE_FANOUT:
        topology_key(topology, binding, text_out);
        break;
    }
}

void
topology_init(struct topology *topology, const struct options *options)
{
    char text[WIRE_SHORTSTR_MAX + 1];
    *topology = (struct topology){.options = options};
    topology->copies = options->route == ROUTE_FANOUT ? options->queues : 1;
    if (options->route != ROUTE_DEFAULT) {
        snprintf(topology->exchange, sizeof topology->exchange, "%s.exchange", options->name);
    }
    topology_key(topology, 0, text);
    topology->key_bytes = (uint8_t)strlen(text);
    topology->keys = die_calloc(options->keys, topology->key_bytes);
    for (uint32_t key = 0; key < options->keys; key++) {
        topology_key(topology, key, text);
        assert(strlen(text) == topology->key_bytes);
        memcpy(topology->keys + (size_t)key * topology->key_bytes, text, topology->key_bytes);
    }
}

void
topology_fini(struct topology *topology)
{
    free(topology->keys);
    topology->keys = NULL;
}

void
topology_queue_name(const struct topology *topology, uint32_t queue,
                    char name_out[WIRE_SHORTSTR_MAX + 1])
{
    snprintf(name_out, WIRE_SHORTSTR_MAX + 1, "%s.q%05u", topology->options->name, queue);
}

uint32_t
topology_queue_of_key(const struct topology *topology, uint32_t key)
{
    const struct options *options = topology->options;
    if (options->route == ROUTE_FANOUT) {
        return 0;
    }
    return key % options->bindings % options->queues;
}

static void
topology_delete_queue(const struct topology *topology, struct link *link, uint32_t queue)
{
    uint8_t bytes[TOPOLOGY_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    char name[WIRE_SHORTSTR_MAX + 1];
    topology_queue_name(topology, queue, name);
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_QUEUE_DELETE);
    wire_put_short(&writer, 0);
    wire_put_shortstr(&writer, name);
    wire_put_octet(&writer, 0); /* neither if-unused nor if-empty nor nowait */
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_QUEUE_DELETE_OK);
}

static void
topology_delete_exchange(const struct topology *topology, struct link *link)
{
    uint8_t bytes[TOPOLOGY_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    if (topology->exchange[0] == '\0') {
        return;
    }
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_EXCHANGE_DELETE);
    wire_put_short(&writer, 0);
    wire_put_shortstr(&writer, topology->exchange);
    wire_put_octet(&writer, 0);
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_EXCHANGE_DELETE_OK);
}

void
topology_delete(const struct topology *topology, struct link *link)
{
    topology_delete_exchange(topology, link);
    for (uint32_t queue = 0; queue < topology->options->queues; queue++) {
        topology_delete_queue(topology, link, queue);
    }
}

static void
topology_put_queue_arguments(const struct topology *topology, struct wire_writer *writer)
{
    const char *type = topology->options->queue_type;
    size_t begin = wire_begin_length(writer);
    if (type != NULL) {
        wire_put_shortstr(writer, "x-queue-type");
        wire_put_octet(writer, 'S');
        wire_put_long(writer, (uint32_t)strlen(type));
        wire_put_bytes(writer, type, strlen(type));
    }
    wire_end_length(writer, begin);
}

static void
topology_declare_queue(const struct topology *topology, struct link *link, uint32_t queue)
{
    uint8_t bytes[TOPOLOGY_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    char name[WIRE_SHORTSTR_MAX + 1];
    topology_queue_name(topology, queue, name);
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_QUEUE_DECLARE);
    wire_put_short(&writer, 0);
    wire_put_shortstr(&writer, name);
    wire_put_octet(&writer, topology->options->persistent ? 2 : 0); /* durable */
    topology_put_queue_arguments(topology, &writer);
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_QUEUE_DECLARE_OK);
}

static void
topology_declare_exchange(const struct topology *topology, struct link *link)
{
    static const char *const types[] = {
        [ROUTE_DEFAULT] = "",         [ROUTE_DIRECT] = "direct",    [ROUTE_FANOUT] = "fanout",
        [ROUTE_TOPIC_STAR] = "topic", [ROUTE_TOPIC_HASH] = "topic",
    };
    uint8_t bytes[TOPOLOGY_REQUEST_BYTES];
    struct wire_writer writer = {.bytes = bytes, .capacity = sizeof bytes};
    wire_begin_method(&writer, LINK_CHANNEL, WIRE_EXCHANGE_DECLARE);
    wire_put_short(&writer, 0);
    wire_put_shortstr(&writer, topology->exchange);
    wire_put_shortstr(&writer, types[topology->options->route]);
    wire_put_octet(&writer, topology->options->persistent ? 2 : 0); /* durable */
    wire_put_empty_table(&writer);
    wire_end_frame(&writer);
    link_request(link, &writer, WIRE_EXCHANGE_DECLARE_OK);
}

static void
topology_put_bind(const struct topology *topology, struct wire_writer *writer, uint32_t binding,
                  bool nowait)
{
    char queue[WIRE_SHORTSTR_MAX + 1];
    char pattern[WIRE_SHORTSTR_MAX + 1];
    topology_queue_name(topology, binding % topology->options->queues, queue);
    topology_pattern(topology, binding, pattern);
    wire_begin_method(writer, LINK_CHANNEL, WIRE_QUEUE_BIND);
    wire_put_short(writer, 0);
    wire_put_shortstr(writer, queue);
    wire_put_shortstr(writer, topology->exchange);
    wire_put_shortstr(writer, pattern);
    wire_put_octet(writer, nowait);
    wire_put_empty_table(writer);
    wire_end_frame(writer);
}

/* All bindings but the last go out without waiting; the answer to the last one covers them. */
static void
topology_bind_all(const struct topology *topology, struct link *link)
{
    static const size_t room_for_one = 1024;
    uint8_t *bytes = die_calloc(TOPOLOGY_BATCH_BYTES, 1);
    struct wire_writer writer = {.bytes = bytes, .capacity = TOPOLOGY_BATCH_BYTES};
    assert(topology->options->queues > 0);
    assert(topology->options->bindings > 0);
    uint32_t last = topology->options->bindings - 1;
    for (uint32_t binding = 0; binding < last; binding++) {
        if (writer.capacity - writer.length < 2 * room_for_one) {
            link_send(link, writer.bytes, writer.length);
            writer.length = 0;
        }
        topology_put_bind(topology, &writer, binding, true);
    }
    topology_put_bind(topology, &writer, last, false);
    link_request(link, &writer, WIRE_QUEUE_BIND_OK);
    free(bytes);
}

void
topology_declare(struct topology *topology, struct link *link)
{
    topology_delete(topology, link);
    for (uint32_t queue = 0; queue < topology->options->queues; queue++) {
        topology_declare_queue(topology, link, queue);
    }
    if (topology->exchange[0] == '\0') {
        return;
    }
    topology_declare_exchange(topology, link);
    uint64_t start_ns = clock_now_ns();
    topology_bind_all(topology, link);
    topology->bind_seconds = (double)(clock_now_ns() - start_ns) / 1e9;
}
