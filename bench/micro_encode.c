/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to put a delivery on the wire: frames and body into a link's output, 64 of them to
 * one write, which goes nowhere. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "bench/micro.h"
#include "net/output.h"

enum { FRAME_MAX = 131072, MESSAGES_PER_TICK = 64 };

struct delivery {
    struct output output;
    struct output_pool pool;
    struct transport nowhere;
    struct content *content; /* owned */
    struct net_action action;
};

static enum status
nowhere_write(struct transport *transport, const struct iovec *parts, int part_count,
              size_t *size_out)
{
    (void)transport;
    *size_out = 0;
    for (int i = 0; i < part_count; i++) {
        *size_out += parts[i].iov_len;
    }
    return STATUS_OK;
}

static const struct transport_operations NOWHERE = {.write = nowhere_write};

static void
delivery_init(struct delivery *delivery, uint32_t body_size)
{
    static const char key[] = "bench.q00000";
    enum { KEY_SIZE = sizeof(key) - 1, PROPERTIES_SIZE = 2 };
    *delivery = (struct delivery){.nowhere = {.operations = &NOWHERE}};
    output_init(&delivery->output);
    output_pool_init(&delivery->pool);
    struct content *content = xalloc(sizeof(*content) + KEY_SIZE + PROPERTIES_SIZE + body_size);
    *content = (struct content){
        .body_size = body_size, .properties_size = PROPERTIES_SIZE, .routing_key_size = KEY_SIZE};
    memset(content->octets, 0, (size_t)KEY_SIZE + PROPERTIES_SIZE + body_size);
    memcpy(content->octets, key, KEY_SIZE);
    delivery->content = content;
    delivery->action = (struct net_action){.type = NET_ACTION_DELIVER, .channel = 1};
    delivery->action.deliver.consumer_tag = bytes_of("00000000");
    delivery->action.deliver.routing_key = content_routing_key(content);
}

static void
delivery_fini(struct delivery *delivery)
{
    output_fini(&delivery->output, &delivery->pool);
    output_pool_fini(&delivery->pool);
    free(delivery->content);
}

static void
flush(struct delivery *delivery)
{
    uint64_t octets;
    uint64_t counted;
    enum status status =
        output_write(&delivery->output, &delivery->pool, &delivery->nowhere, &octets, &counted);
    assert(status == STATUS_OK);
}

static void
deliver(void *context, uint64_t count)
{
    struct delivery *delivery = context;
    for (uint64_t i = 1; i <= count; i++) {
        delivery->action.deliver.delivery_tag = i;
        enum status status = output_put(&delivery->output, &delivery->pool, &delivery->action,
                                        delivery->content, FRAME_MAX);
        assert(status == STATUS_OK);
        if (i % MESSAGES_PER_TICK == 0) {
            flush(delivery);
        }
    }
    flush(delivery);
}

static void
measure(const struct micro *micro, const char *name, const char *words, uint32_t body_size)
{
    struct delivery delivery;
    delivery_init(&delivery, body_size);
    micro_run(micro, name, words, deliver, &delivery);
    delivery_fini(&delivery);
}

int
main(int argc, char **argv)
{
    struct micro micro;
    micro_init(&micro, argc, argv);
    measure(&micro, "encode-16", "a delivery of 16 octets", 16);
    measure(&micro, "encode-128", "a delivery of 128 octets", 128);
    measure(&micro, "encode-1k", "a delivery of 1 KiB, copied", 1024);
    measure(&micro, "encode-4k", "a delivery of 4 KiB, body not copied", 4096);
    return EXIT_SUCCESS;
}
