/* SPDX-License-Identifier: Apache-2.0 */
/* The x-consistent-hash exchange: one target for each message, chosen by a hash of its routing key,
 * of a header or of a property. The key of a binding is its weight: how much of what is hashed it
 * gets, beside the other bindings. A target lies on a ring at places that follow from its name and
 * nothing else; so the same topology sends a message the same way in every process,
 * and what a target that comes or goes does not touch stays where it was. */
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/number_index.h"
#include "exchanges/exchange.h"
#include "routing/hash_ring.h"

enum {
    ROWS_CAPACITY_MIN = 4,
    WEIGHT_MAX = 1000,
    POINTS_PER_WEIGHT = 128, /* shares come out within some 9 % at weight 1, 1 % at 100 */
    POINTS_PER_BINDING_WORK = 8,
};

/* Where everything lies on the ring follows from these: to change one moves every message. */
static const uint64_t QUEUE_SEED = UINT64_C(0x71756575652d6869);
static const uint64_t EXCHANGE_SEED = UINT64_C(0x65786368616e6765);
static const uint64_t MESSAGE_SEED = UINT64_C(0x6d6573736167652d);

enum hash_source { HASH_ROUTING_KEY, HASH_HEADER, HASH_MESSAGE_ID, HASH_CORRELATION_ID, HASH_TIME };

/* A target, whatever the number of its bindings. */
struct ring_row {
    struct route_target *target; /* borrowed */
    uint64_t name_hash;
    uint64_t weight;      /* of all its bindings; 0: the row is free */
    uint32_t point_count; /* on the ring; of a free row, the next free one */
};

struct ring_matcher {
    struct matcher_tools tools;
    struct ring_row *rows; /* owned; the owners of points */
    uint32_t used_count;   /* free ones included */
    uint32_t capacity;
    uint32_t first_free;        /* NUMBER_NONE: none */
    struct number_index places; /* of rows by the target's id */
    struct hash_ring ring;
    enum hash_source source;
    struct bytes header; /* its name; a view into the exchange's arguments */
};

static void *
ring_new(const struct matcher_tools *tools)
{
    struct ring_matcher *matcher = xalloc(sizeof(*matcher));
    matcher->tools = *tools;
    matcher->first_free = NUMBER_NONE;
    return matcher;
}

static void
ring_free(void *context)
{
    struct ring_matcher *matcher = context;
    hash_ring_fini(&matcher->ring);
    number_index_fini(&matcher->places);
    free(matcher->rows);
    free(matcher);
}

/* Arguments of the exchange ------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum hash_source source;
} hash_properties[] = {
    {"message_id", HASH_MESSAGE_ID},
    {"correlation_id", HASH_CORRELATION_ID},
    {"timestamp", HASH_TIME},
};

/* False when the name is of no property that can be hashed. */
static bool
find_property(struct bytes name, enum hash_source *source_out)
{
    for (size_t i = 0; i < ARRAY_LEN(hash_properties); i++) {
        if (bytes_equal_text(name, hash_properties[i].name)) {
            *source_out = hash_properties[i].source;
            return true;
        }
    }
    return false;
}

static enum status
check_text(const struct table_value *value, const char *name, const char *subject,
           struct fault *fault)
{
    if (table_value_class(value) == TABLE_CLASS_STRING) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "invalid type '%s' for arg '%s' in %s",
                         table_type_name(value->type), name, subject);
}

static enum status
check_property(const struct table_value *value, const char *subject, struct fault *fault)
{
    enum hash_source source;
    char text[128];
    if (check_text(value, "hash-property", subject, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (find_property(value->raw, &source)) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "Unsupported property: %s",
                         table_value_text(value, text, sizeof(text)));
}

static enum status
ring_check_arguments(struct bytes arguments, const char *subject, struct fault *fault)
{
    struct table_value header;
    struct table_value property;
    bool has_header = table_find(arguments, "hash-header", &header);
    bool has_property = table_find(arguments, "hash-property", &property);
    if (has_header && has_property) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "hash-header and hash-property are mutually exclusive");
    }
    if (has_header) {
        return check_text(&header, "hash-header", subject, fault);
    }
    return has_property ? check_property(&property, subject, fault) : STATUS_OK;
}

static void
ring_configure(void *context, struct bytes arguments)
{
    struct ring_matcher *matcher = context;
    struct table_value value;
    matcher->source = HASH_ROUTING_KEY;
    matcher->header = bytes_make(NULL, 0);
    if (table_find(arguments, "hash-header", &value)) {
        matcher->source = HASH_HEADER;
        matcher->header = value.raw;
    } else if (table_find(arguments, "hash-property", &value)) {
        bool is_known = find_property(value.raw, &matcher->source);
        assert(is_known);
    }
}

/* Weights ------------------------------------------------------------------------------------- */

/* Decimal digits, with or without a sign; false when it is no integer. A number that is too large
 * either way comes out as WEIGHT_MAX + 1 or 0. */
static bool
read_weight(struct bytes key, uint32_t *weight_out)
{
    bool is_signed = key.size > 0 && (key.data[0] == '-' || key.data[0] == '+');
    bool is_negative = is_signed && key.data[0] == '-';
    uint32_t value = 0;
    if (key.size == (is_signed ? 1 : 0)) {
        return false;
    }
    for (size_t i = is_signed ? 1 : 0; i < key.size; i++) {
        if (key.data[i] < '0' || key.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(key.data[i] - '0');
        value = value > WEIGHT_MAX ? WEIGHT_MAX + 1 : value;
    }
    *weight_out = is_negative ? 0 : value;
    return true;
}

static enum status
fault_no_integer(struct fault *fault, struct bytes key)
{
    struct table_value value = {.type = 'S', .raw = key};
    char text[160];
    const char *quote = key.size == 0 ? "" : "\"";
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "The binding key must be an integer: <<%s%s%s>>", quote,
                         table_value_text(&value, text, sizeof(text)), quote);
}

static enum status
ring_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)arguments;
    uint32_t weight;
    if (!read_weight(routing_key, &weight)) {
        return fault_no_integer(fault, routing_key);
    }
    if (weight < 1) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "The binding key must be greater than 0");
    }
    if (weight > WEIGHT_MAX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "The binding key must not be greater than %d", WEIGHT_MAX);
    }
    return STATUS_OK;
}

static uint32_t
binding_weight(const struct binding *binding)
{
    uint32_t weight = 0;
    bool is_weight = read_weight(binding_routing_key(binding), &weight);
    assert(is_weight);
    assert(weight >= 1);
    assert(weight <= WEIGHT_MAX);
    return weight;
}

static uint32_t
ring_work(const void *matcher, const struct binding *binding)
{
    (void)matcher;
    return 1 + binding_weight(binding) * POINTS_PER_WEIGHT / POINTS_PER_BINDING_WORK;
}

/* Bindings ------------------------------------------------------------------------------------- */

/* The place of one of a target's points on the ring: splitmix64, which is the same on every
 * machine. */
static uint64_t
place_of(uint64_t name_hash, uint32_t point)
{
    uint64_t bits = name_hash + (point + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

/* Puts as many points of the row on the ring as its weight wants, or takes them away again. */
static void
fit_points(struct ring_matcher *matcher, uint32_t number)
{
    struct ring_row *row = &matcher->rows[number];
    uint32_t weight = row->weight < WEIGHT_MAX ? (uint32_t)row->weight : WEIGHT_MAX;
    while (row->point_count < weight * POINTS_PER_WEIGHT) {
        hash_ring_add(&matcher->ring, place_of(row->name_hash, row->point_count++), number);
    }
    while (row->point_count > weight * POINTS_PER_WEIGHT) {
        hash_ring_remove(&matcher->ring, place_of(row->name_hash, --row->point_count), number);
    }
}

static uint32_t
target_hash(const struct route_target *target)
{
    return (uint32_t)((target->id * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static uint32_t
find_row(const struct ring_matcher *matcher, const struct route_target *target)
{
    uint32_t slot;
    uint32_t hash = target_hash(target);
    uint32_t number = number_index_first(&matcher->places, hash, &slot);
    while (number != NUMBER_NONE && matcher->rows[number].target != target) {
        number = number_index_next(&matcher->places, hash, &slot);
    }
    return number;
}

static uint32_t
take_row(struct ring_matcher *matcher)
{
    uint32_t number = matcher->first_free;
    if (number != NUMBER_NONE) {
        matcher->first_free = matcher->rows[number].point_count;
        return number;
    }
    if (matcher->used_count == matcher->capacity) {
        matcher->capacity = matcher->capacity == 0 ? ROWS_CAPACITY_MIN : 2 * matcher->capacity;
        matcher->rows = xrealloc(matcher->rows, matcher->capacity * sizeof(*matcher->rows));
    }
    return matcher->used_count++;
}

static uint32_t
make_row(struct ring_matcher *matcher, struct route_target *target)
{
    bool is_queue = target->kind == ROUTE_TARGET_QUEUE;
    uint32_t number = take_row(matcher);
    matcher->rows[number] = (struct ring_row){
        .target = target,
        .name_hash =
            bytes_hash(matcher->tools.target_name(target), is_queue ? QUEUE_SEED : EXCHANGE_SEED),
    };
    number_index_insert(&matcher->places, target_hash(target), number);
    return number;
}

/* Several bindings of one target add up. */
static void
ring_bind(void *context, struct binding *binding)
{
    struct ring_matcher *matcher = context;
    uint32_t number = find_row(matcher, binding->target);
    if (number == NUMBER_NONE) {
        number = make_row(matcher, binding->target);
    }
    matcher->rows[number].weight += binding_weight(binding);
    fit_points(matcher, number);
}

static void
ring_unbind(void *context, struct binding *binding)
{
    struct ring_matcher *matcher = context;
    uint32_t number = find_row(matcher, binding->target);
    assert(number != NUMBER_NONE);
    struct ring_row *row = &matcher->rows[number];
    row->weight -= binding_weight(binding);
    fit_points(matcher, number);
    if (row->weight == 0) {
        number_index_remove(&matcher->places, target_hash(binding->target), number);
        row->point_count = matcher->first_free;
        matcher->first_free = number;
    }
}

/* Messages ------------------------------------------------------------------------------------- */

static uint64_t
hash_integer(int64_t value, enum table_class class)
{
    uint8_t octets[8];
    put_u64(octets, (uint64_t)value);
    return bytes_hash(bytes_make(octets, sizeof(octets)), MESSAGE_SEED + class);
}

/* What has no such header is hashed as nothing, which is the same for all that have none. Integers
 * of any width count by their value. */
static uint64_t
hash_header(const struct ring_matcher *matcher, struct bytes headers)
{
    struct byte_reader reader = byte_reader_make(headers);
    struct bytes name;
    struct table_value value;
    while (table_next(&reader, &name, &value)) {
        if (!bytes_equal(name, matcher->header)) {
            continue;
        }
        enum table_class class = table_value_class(&value);
        return class == TABLE_CLASS_INTEGER ? hash_integer(table_value_integer(&value), class)
                                            : bytes_hash(value.raw, MESSAGE_SEED + class);
    }
    return 0;
}

static uint64_t
hash_property(const struct ring_matcher *matcher, struct bytes block)
{
    struct properties properties = {0};
    struct fault fault;
    if (block.size == 0 || properties_decode_kept(&properties, block, &fault) != STATUS_OK) {
        return 0; /* the network side has validated it; a death has only added to its headers */
    }
    if (matcher->source == HASH_TIME) {
        return (properties.flags & PROPERTY_TIMESTAMP) == 0
                   ? 0
                   : hash_integer((int64_t)properties.timestamp, TABLE_CLASS_TIMESTAMP);
    }
    bool is_message_id = matcher->source == HASH_MESSAGE_ID;
    uint16_t flag = is_message_id ? PROPERTY_MESSAGE_ID : PROPERTY_CORRELATION_ID;
    struct bytes text = is_message_id ? properties.message_id : properties.correlation_id;
    return (properties.flags & flag) == 0 ? 0 : bytes_hash(text, MESSAGE_SEED);
}

static uint64_t
hash_message(const struct ring_matcher *matcher, const struct exchange_message *message)
{
    switch (matcher->source) {
    case HASH_ROUTING_KEY:
        return bytes_hash(message->routing_key, MESSAGE_SEED);
    case HASH_HEADER:
        return hash_header(matcher, message->headers);
    default:
        return hash_property(matcher, message->properties);
    }
}

/* Whom the hash belongs to. What is being deleted counts as gone, though its points are still
 * there. NULL: nobody is there. */
static struct route_target *
find_target(const struct ring_matcher *matcher, uint64_t hash, uint32_t *visit_count)
{
    struct ring_walk walk;
    uint32_t owner;
    hash_ring_walk(&matcher->ring, hash, &walk);
    while (hash_ring_next(&matcher->ring, &walk, &owner)) {
        struct route_target *target = matcher->rows[owner].target;
        (*visit_count)++;
        if (target->kind != ROUTE_TARGET_GONE) {
            return target;
        }
    }
    return NULL;
}

static void
ring_route(void *context, const struct exchange_message *message, struct route_set *set)
{
    const struct ring_matcher *matcher = context;
    struct route_target *target =
        find_target(matcher, hash_message(matcher, message), &set->visit_count);
    if (target != NULL) {
        route_set_add(set, target);
    }
}

static const char *const hash_source_names[] = {
    [HASH_ROUTING_KEY] = "the routing key",
    [HASH_HEADER] = "the header in hash-header",
    [HASH_MESSAGE_ID] = "message_id",
    [HASH_CORRELATION_ID] = "correlation_id",
    [HASH_TIME] = "timestamp",
};

static void
ring_explain(void *context, const struct binding *binding, const struct exchange_message *message,
             struct binding_verdict *verdict_out)
{
    const struct ring_matcher *matcher = context;
    uint32_t visit_count = 0;
    uint64_t hash = hash_message(matcher, message);
    uint32_t number = find_row(matcher, binding->target);
    *verdict_out = (struct binding_verdict){
        .matches = find_target(matcher, hash, &visit_count) == binding->target,
        .reason = VERDICT_HASH,
        .hashed = hash_source_names[matcher->source],
        .hash = hash,
        .share = matcher->rows[number].point_count,
        .shares = matcher->ring.count,
    };
}

const struct exchange_type exchange_type_consistent_hash = {
    .name = "x-consistent-hash",
    .routes_once = true,
    .matcher_new = ring_new,
    .matcher_free = ring_free,
    .check = ring_check,
    .check_arguments = ring_check_arguments,
    .configure = ring_configure,
    .bind = ring_bind,
    .unbind = ring_unbind,
    .work = ring_work,
    .route = ring_route,
    .explain = ring_explain,
};
