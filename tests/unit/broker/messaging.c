/* SPDX-License-Identifier: Apache-2.0 */
/* One-line clients. */
#include "tests/unit/broker/messaging.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "queues/clocks.h"

struct rig *
messaging_rig(const struct core_settings *settings)
{
    struct rig *rig = rig_new(settings);
    rig_add_user(rig, "u", "p");
    return rig;
}

uint64_t
messaging_client(struct rig *rig)
{
    uint64_t link = rig_connect(rig, "u", "p");
    rig_open_channel(rig, link, 1);
    return link;
}

void
declare_queue_as(struct rig *rig, uint64_t link, const struct queue_declare *declare)
{
    struct method method = {.id = METHOD_QUEUE_DECLARE, .queue_declare = *declare};
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
}

void
declare_queue(struct rig *rig, uint64_t link, const char *name)
{
    struct queue_declare declare = {.queue = bytes_of(name)};
    declare_queue_as(rig, link, &declare);
}

void
declare_exchange(struct rig *rig, uint64_t link, const char *name, const char *type,
                 const char *alternate)
{
    struct buffer arguments;
    buffer_init(&arguments);
    if (alternate != NULL) {
        table_put_text(&arguments, "alternate-exchange", bytes_of(alternate));
    }
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(name),
                             .type = bytes_of(type),
                             .arguments = buffer_bytes(&arguments)},
    };
    rig_send(rig, link, 1, &method);
    buffer_fini(&arguments);
    (void)rig_expect(rig, link, 1, METHOD_EXCHANGE_DECLARE_OK);
}

void
bind_queue(struct rig *rig, uint64_t link, const char *queue, const char *exchange, const char *key)
{
    struct method method = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = bytes_of(queue),
                       .exchange = bytes_of(exchange),
                       .routing_key = bytes_of(key)},
    };
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_BIND_OK);
}

void
bind_exchange(struct rig *rig, uint64_t link, const char *destination, const char *source,
              const char *key)
{
    struct method method = {
        .id = METHOD_EXCHANGE_BIND,
        .exchange_bind = {.destination = bytes_of(destination),
                          .source = bytes_of(source),
                          .routing_key = bytes_of(key)},
    };
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_EXCHANGE_BIND_OK);
}

void
publish_text(struct rig *rig, uint64_t link, const char *queue, const char *text)
{
    rig_publish(rig, link, 1, "", queue, text);
}

void
publish_numbers(struct rig *rig, uint64_t link, const char *queue, int first, int last)
{
    for (int i = first; i <= last; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        publish_text(rig, link, queue, text);
    }
}

static void
send_consume(struct rig *rig, uint64_t link, uint16_t channel, const struct basic_consume *consume)
{
    struct method method = {.id = METHOD_BASIC_CONSUME, .basic_consume = *consume};
    rig_send(rig, link, channel, &method);
    (void)rig_expect(rig, link, channel, METHOD_BASIC_CONSUME_OK);
}

void
consume(struct rig *rig, uint64_t link, uint16_t channel, const char *queue, const char *tag,
        bool no_ack)
{
    struct basic_consume args = {
        .queue = bytes_of(queue), .consumer_tag = bytes_of(tag), .no_ack = no_ack};
    send_consume(rig, link, channel, &args);
}

void
consume_with_priority(struct rig *rig, uint64_t link, const char *queue, const char *tag,
                      int64_t priority)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-priority", priority);
    struct basic_consume args = {.queue = bytes_of(queue),
                                 .consumer_tag = bytes_of(tag),
                                 .arguments = buffer_bytes(&arguments)};
    send_consume(rig, link, 1, &args);
    buffer_fini(&arguments);
}

void
set_prefetch(struct rig *rig, uint64_t link, uint16_t channel, uint16_t count, bool global)
{
    struct method method = {.id = METHOD_BASIC_QOS,
                            .basic_qos = {.prefetch_count = count, .global = global}};
    rig_send(rig, link, channel, &method);
    (void)rig_expect(rig, link, channel, METHOD_BASIC_QOS_OK);
}

void
cancel(struct rig *rig, uint64_t link, const char *tag)
{
    struct method method = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of(tag)}};
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_BASIC_CANCEL_OK);
}

void
send_ack(struct rig *rig, uint64_t link, uint16_t channel, uint64_t tag, bool multiple)
{
    struct method method = {.id = METHOD_BASIC_ACK,
                            .basic_ack = {.delivery_tag = tag, .multiple = multiple}};
    rig_send(rig, link, channel, &method);
}

void
send_nack(struct rig *rig, uint64_t link, uint16_t channel, uint64_t tag, bool multiple,
          bool requeue)
{
    struct method method = {
        .id = METHOD_BASIC_NACK,
        .basic_nack = {.delivery_tag = tag, .multiple = multiple, .requeue = requeue}};
    rig_send(rig, link, channel, &method);
}

const struct posted *
get_message(struct rig *rig, uint64_t link, const char *queue, bool no_ack)
{
    struct method method = {.id = METHOD_BASIC_GET,
                            .basic_get = {.queue = bytes_of(queue), .no_ack = no_ack}};
    rig_send(rig, link, 1, &method);
    const struct posted *posted = rig_next(rig, link);
    cr_assert(ne(ptr, (void *)posted, NULL));
    if (posted->method.id == METHOD_BASIC_GET_EMPTY) {
        return NULL;
    }
    cr_assert(eq(int, posted->method.id, METHOD_BASIC_GET_OK));
    return posted;
}

const struct posted *
expect_delivery(struct rig *rig, uint64_t link, const char *text)
{
    const struct posted *posted = rig_next(rig, link);
    cr_assert(ne(ptr, (void *)posted, NULL), "\"%s\" was expected, nothing came", text);
    cr_assert(eq(int, posted->method.id, METHOD_BASIC_DELIVER));
    cr_assert(bytes_equal_text(posted->body, text), "\"%s\" was expected, \"%.*s\" came", text,
              BYTES_FORMAT(posted->body));
    return posted;
}

const char *
deliveries(struct rig *rig, uint64_t link)
{
    static char texts[4096];
    size_t used = 0;
    texts[0] = '\0';
    for (const struct posted *posted; (posted = rig_next(rig, link)) != NULL;) {
        cr_assert(eq(int, posted->method.id, METHOD_BASIC_DELIVER));
        int length = snprintf(texts + used, sizeof(texts) - used, "%s%.*s", used == 0 ? "" : " ",
                              BYTES_FORMAT(posted->body));
        cr_assert(lt(sz, used + (size_t)length, sizeof(texts)));
        used += (size_t)length;
    }
    return texts;
}

struct queue *
find_queue(struct rig *rig, const char *name)
{
    return vhost_find_queue(rig_vhost(rig), bytes_of(name));
}

void
have_rates(struct rig *rig, const char *name)
{
    struct queue *queue = find_queue(rig, name);
    cr_assert(eq(int, queue_make_clocks(queue), STATUS_OK));
    queue_clocks_touch(queue);
}

uint64_t
ready_count(struct rig *rig, const char *queue)
{
    const struct queue *found = find_queue(rig, queue);
    cr_assert(ne(ptr, (void *)found, NULL));
    queue_check(found);
    return found->ready_count;
}
