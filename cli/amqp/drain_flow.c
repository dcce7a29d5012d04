/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/drain_flow.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cli/text/cell.h"

enum { MS_PER_S = 1000, OUTPUT_BYTES_MAX = 4 * 1024 * 1024 };

void
drain_flow_init(struct drain_flow *flow, uint32_t flight_max)
{
    *flow = (struct drain_flow){.flight_max = flight_max, .settled = 1, .published = 1};
    flow->flights = xalloc(flight_max * sizeof(*flow->flights));
    flow->filled_ms = amqp_client_now_ms();
}

void
drain_flow_fini(struct drain_flow *flow)
{
    free(flow->flights);
    flow->flights = NULL;
}

static struct flight *
flight_at(const struct drain_flow *flow, uint64_t number)
{
    return &flow->flights[number % flow->flight_max];
}

/* It ends, with what was reported; what is under way is waited for. */
static void
fail(struct drain_flow *flow, int result)
{
    flow->result = flow->result == COMMAND_OK ? result : flow->result;
    flow->is_ending = true;
}

/* Settling ----------------------------------------------------------------------------------- */

static void
acknowledge(const struct drain_flow *flow, uint64_t tag, bool multiple)
{
    struct method ack = {
        .id = METHOD_BASIC_ACK,
        .basic_ack = {.delivery_tag = tag, .multiple = multiple},
    };
    amqp_client_send(flow->source, &ack);
}

/* The front of what was confirmed goes from the source. Once a message was returned nobody knows
 * which one: what was not acknowledged by then stays. */
static void
acknowledge_front(struct drain_flow *flow)
{
    uint64_t tag = 0;
    while (!flow->was_returned && flow->settled < flow->published &&
           flight_at(flow, flow->settled)->state == FLIGHT_CONFIRMED) {
        tag = flight_at(flow, flow->settled)->tag;
        flow->settled++;
        flow->done_count++;
    }
    if (tag != 0) {
        acknowledge(flow, tag, true);
    }
}

static void
settle(struct drain_flow *flow, uint64_t number, bool multiple, enum flight_state state)
{
    if (number >= flow->published) {
        return; /* a broker that confirms what it was not sent */
    }
    uint64_t first = multiple ? flow->settled : number;
    for (uint64_t i = first < flow->settled ? flow->settled : first; i <= number; i++) {
        flight_at(flow, i)->state = state;
    }
    acknowledge_front(flow);
}

static void
take_nack(struct drain_flow *flow, const struct basic_nack *nack)
{
    settle(flow, nack->delivery_tag, nack->multiple, FLIGHT_REFUSED);
    if (flow->result == COMMAND_OK) {
        fail(flow,
             amqp_client_error(flow->target, COMMAND_FAILED,
                               "a message was refused: the queue is full, or cannot write it down; "
                               "make room there and run this again, for it stays in the source"));
    }
}

static void
take_return(struct drain_flow *flow)
{
    flow->was_returned = true;
    if (flow->result == COMMAND_OK) {
        fail(flow, amqp_client_error(flow->target, COMMAND_FAILED,
                                     "no queue takes the messages: is it deleted, or nothing bound "
                                     "for their keys? they stay in the source"));
    }
}

static int
take_from_target(struct drain_flow *flow)
{
    for (;;) {
        struct amqp_event event;
        bool has_event;
        int result = amqp_client_next(flow->target, &event, &has_event);
        if (result != COMMAND_OK || !has_event) {
            return result;
        }
        if (event.method.id == METHOD_BASIC_ACK) {
            settle(flow, event.method.basic_ack.delivery_tag, event.method.basic_ack.multiple,
                   FLIGHT_CONFIRMED);
        } else if (event.method.id == METHOD_BASIC_NACK) {
            take_nack(flow, &event.method.basic_nack);
        } else if (event.method.id == METHOD_BASIC_RETURN) {
            take_return(flow);
        }
    }
}

/* Publishing --------------------------------------------------------------------------------- */

/* The default exchange would send a message with CC to the queues that it names, too: it goes by an
 * exchange of our own, which heeds no keys. */
static void
make_bypass(struct drain_flow *flow)
{
    char name[RANDOM_NAME_SIZE];
    struct random_source source = random_system();
    random_name(&source, name);
    snprintf(flow->bypass, sizeof(flow->bypass), "bourse-drain-%s", name);
    struct method declare = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(flow->bypass),
                             .type = bytes_of("fanout"),
                             .auto_delete = true,
                             .nowait = true},
    };
    struct method bind = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = bytes_of(flow->target_queue),
                       .exchange = bytes_of(flow->bypass),
                       .nowait = true},
    };
    amqp_client_send(flow->target, &declare);
    amqp_client_send(flow->target, &bind);
}

static bool
names_further_keys(const struct properties *properties)
{
    struct table_value value;
    return (properties->flags & PROPERTY_HEADERS) != 0 &&
           (table_find(properties->headers, "CC", &value) ||
            table_find(properties->headers, "BCC", &value));
}

/* Where it goes, and under which key. */
static struct basic_publish
address_message(struct drain_flow *flow, const struct basic_deliver *delivery, bool has_keys)
{
    if (flow->target_queue == NULL) {
        return (struct basic_publish){.exchange = bytes_of(flow->target_exchange),
                                      .routing_key = delivery->routing_key,
                                      .mandatory = true};
    }
    if (has_keys && flow->bypass[0] == '\0') {
        make_bypass(flow);
    }
    return (struct basic_publish){.exchange = bytes_of(has_keys ? flow->bypass : ""),
                                  .routing_key = bytes_of(flow->target_queue),
                                  .mandatory = true};
}

/* A broker lets nobody publish in another's name. False: it ends here. */
static bool
heed_user_id(struct drain_flow *flow, struct properties *properties)
{
    struct buffer name;
    if ((properties->flags & PROPERTY_USER_ID) == 0 ||
        bytes_equal_text(properties->user_id, flow->target_user)) {
        return true;
    }
    if (flow->drops_user_id) {
        properties->flags &= (uint16_t)~PROPERTY_USER_ID;
        return true;
    }
    buffer_init(&name);
    cell_put_escaped(&name, properties->user_id);
    fail(flow, amqp_client_error(flow->source, COMMAND_FAILED,
                                 "a message says that user \"%.*s\" has sent it, and the target "
                                 "takes that from nobody else; log in as that user there, or leave "
                                 "it away with --drop-user-id; the message stays",
                                 BYTES_FORMAT(buffer_bytes(&name))));
    buffer_fini(&name);
    return false;
}

/* The property block as it came, or without its user-id. */
static void
send_message(struct drain_flow *flow, const struct amqp_event *event,
             const struct basic_publish *publish, const struct properties *properties,
             uint16_t flags_before)
{
    struct buffer block;
    if (properties->flags == flags_before) {
        amqp_client_publish(flow->target, publish, event->properties, event->body);
        return;
    }
    buffer_init(&block);
    properties_encode(&block, properties);
    amqp_client_publish(flow->target, publish, buffer_bytes(&block), event->body);
    buffer_fini(&block);
}

static void
pass_on(struct drain_flow *flow, const struct amqp_event *event)
{
    const struct basic_deliver *delivery = &event->method.basic_deliver;
    struct properties properties = {.flags = 0};
    struct fault fault;
    if (properties_decode_kept(&properties, event->properties, &fault) != STATUS_OK) {
        properties = (struct properties){.flags = 0}; /* the target will say what is wrong */
    }
    uint16_t flags = properties.flags;
    if (!heed_user_id(flow, &properties)) {
        return;
    }
    struct basic_publish publish = address_message(flow, delivery, names_further_keys(&properties));
    send_message(flow, event, &publish, &properties, flags);
    *flight_at(flow, flow->published) = (struct flight){.tag = delivery->delivery_tag};
    flow->published++;
    flow->allowance -= 1;
    flow->again_count += delivery->redelivered ? 1 : 0;
    flow->is_ending |= flow->limit != 0 && flow->published - 1 == flow->limit;
}

/* The source --------------------------------------------------------------------------------- */

/* A tenth of a second's worth may be saved up. */
static void
fill_allowance(struct drain_flow *flow)
{
    uint64_t now_ms = amqp_client_now_ms();
    double most = flow->rate / 10 < 1 ? 1 : flow->rate / 10;
    flow->allowance += flow->rate * (double)(now_ms - flow->filled_ms) / MS_PER_S;
    flow->allowance = flow->allowance > most ? most : flow->allowance;
    flow->filled_ms = now_ms;
}

static bool
may_publish(const struct drain_flow *flow)
{
    return !flow->is_ending && flow->published - flow->settled < flow->flight_max &&
           (flow->rate == 0 || flow->allowance >= 1) && !amqp_client_is_blocked(flow->target) &&
           amqp_client_output_size(flow->target) < OUTPUT_BYTES_MAX;
}

static void
take_source_method(struct drain_flow *flow, const struct amqp_event *event, int64_t *count_out)
{
    if (event->method.id == METHOD_BASIC_DELIVER) {
        pass_on(flow, event);
    } else if (event->method.id == METHOD_QUEUE_DECLARE_OK) {
        *count_out = event->method.queue_declare_ok.message_count;
    } else if (event->method.id == METHOD_BASIC_CANCEL) {
        fail(flow, amqp_client_error(flow->source, COMMAND_FAILED,
                                     "the broker has ended the consumer: is the queue deleted?"));
    }
}

static int
take_from_source(struct drain_flow *flow, bool *was_idle_out, int64_t *count_out)
{
    fill_allowance(flow);
    while (may_publish(flow)) {
        struct amqp_event event;
        bool has_event;
        int result = amqp_client_next(flow->source, &event, &has_event);
        if (result != COMMAND_OK) {
            return result;
        }
        if (!has_event) {
            *was_idle_out = true;
            return COMMAND_OK;
        }
        take_source_method(flow, &event, count_out);
    }
    return COMMAND_OK;
}

bool
drain_flow_turn(struct drain_flow *flow, bool *was_idle_out, int64_t *count_out)
{
    *was_idle_out = false;
    *count_out = -1;
    int result = take_from_target(flow);
    if (result == COMMAND_OK) {
        result = take_from_source(flow, was_idle_out, count_out);
    }
    if (result != COMMAND_OK) {
        fail(flow, result);
        return false;
    }
    bool is_settled = drain_flow_is_empty(flow) || flow->was_returned;
    bool is_open = false;
    for (uint64_t i = flow->settled; i < flow->published && !is_settled; i++) {
        is_open |= flight_at(flow, i)->state == FLIGHT_OPEN;
    }
    return !flow->is_ending || (!is_settled && is_open);
}

void
drain_flow_settle(struct drain_flow *flow)
{
    for (uint64_t i = flow->settled; i < flow->published && !flow->was_returned; i++) {
        if (flight_at(flow, i)->state == FLIGHT_CONFIRMED) {
            acknowledge(flow, flight_at(flow, i)->tag, false);
            flow->done_count++;
        }
    }
    if (flow->bypass[0] != '\0') {
        struct method remove = {
            .id = METHOD_EXCHANGE_DELETE,
            .exchange_delete = {.exchange = bytes_of(flow->bypass), .nowait = true},
        };
        amqp_client_send(flow->target, &remove);
    }
}
