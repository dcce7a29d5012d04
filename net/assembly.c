/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted index finds the assembly of a channel, however many a peer leaves unfinished; entering
 * and leaving moves index entries of four octets and never an assembly. */
#include "net/assembly.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "net/copy.h"

enum assembly_state {
    ASSEMBLY_HEADER_DUE,
    ASSEMBLY_BODY_DUE,
    ASSEMBLY_BODY_SKIPPED, /* due as well, but there is no content */
    ASSEMBLY_DISCARDING,
};

struct assembly {
    struct chunk_place place; /* names one in ASSEMBLY_BODY_DUE only; a reservation */
    uint8_t *body_at;         /* in the content */
    uint64_t body_size;
    uint64_t body_left;
    uint64_t bytes;        /* what it adds to the table's */
    struct bytes exchange; /* in the read buffer or in `names`; after the header in the content */
    struct bytes routing_key;
    uint8_t *names; /* owned; NULL while the names are borrowed */
    enum assembly_state state;
    bool mandatory;
    bool immediate;
};

struct assembly_index {
    uint16_t channel;
    uint16_t slot;
};

enum { ASSEMBLY_CAPACITY_FIRST = 4, ASSEMBLY_CAPACITY_MAX = UINT16_MAX + 1 };

void
assembled_fini(struct assembled *assembled)
{
    free(assembled->names);
    assembled->names = NULL;
}

void
assembly_table_init(struct assembly_table *table)
{
    *table = (struct assembly_table){0};
}

/* The first place in the index whose channel is not below `channel`. */
static uint32_t
table_position(const struct assembly_table *table, uint16_t channel)
{
    uint32_t low = 0;
    uint32_t high = table->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (table->index[middle].channel < channel) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct assembly *
table_find(const struct assembly_table *table, uint16_t channel)
{
    if (table->count == 0) {
        return NULL;
    }
    uint32_t position = table_position(table, channel);
    if (position == table->count || table->index[position].channel != channel) {
        return NULL;
    }
    return &table->slots[table->index[position].slot];
}

/* Doubles the memory; the new slots are free. */
static enum status
table_grow(struct assembly_table *table)
{
    uint32_t capacity = table->capacity == 0 ? ASSEMBLY_CAPACITY_FIRST : table->capacity * 2;
    assert(capacity <= ASSEMBLY_CAPACITY_MAX);
    struct assembly_index *index = try_realloc(table->index, capacity * sizeof(*index));
    if (index == NULL) {
        return STATUS_NO_MEMORY;
    }
    table->index = index;
    struct assembly *slots = try_realloc(table->slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    table->slots = slots;
    for (uint32_t i = table->capacity; i < capacity; i++) {
        index[i].slot = (uint16_t)i;
    }
    table->capacity = capacity;
    return STATUS_OK;
}

/* A new, zeroed assembly for a channel that has none; NULL when there is no memory. */
static struct assembly *
table_insert(struct assembly_table *table, uint16_t channel)
{
    if (table->count == table->capacity && table_grow(table) != STATUS_OK) {
        return NULL;
    }
    assert(table->slots != NULL);
    uint32_t position = table_position(table, channel);
    struct assembly_index *at = &table->index[position];
    uint16_t slot = table->index[table->count].slot;
    memmove(at + 1, at, (table->count - position) * sizeof(*at));
    *at = (struct assembly_index){.channel = channel, .slot = slot};
    table->count++;

    struct assembly *assembly = &table->slots[slot];
    *assembly = (struct assembly){.bytes = sizeof(*assembly)};
    table->bytes += assembly->bytes;
    return assembly;
}

static bool
assembly_is_borrowing(const struct assembly *assembly)
{
    return assembly->state == ASSEMBLY_HEADER_DUE && assembly->names == NULL;
}

/* Takes the assembly of `channel` out of the table; what it owns must have found another owner. */
static void
table_remove(struct assembly_table *table, uint16_t channel)
{
    uint32_t position = table_position(table, channel);
    assert(position < table->count);
    struct assembly_index *at = &table->index[position];
    assert(at->channel == channel);
    uint16_t slot = at->slot;
    table->bytes -= table->slots[slot].bytes;
    table->count--;
    memmove(at, at + 1, (table->count - position) * sizeof(*at));
    table->index[table->count].slot = slot;
}

/* Charges `size` more octets to `assembly`. */
static void
table_charge(struct assembly_table *table, struct assembly *assembly, uint64_t size)
{
    assembly->bytes += size;
    table->bytes += size;
}

/* Gives back what an assembly owns. */
static void
assembly_drop(struct assembly_table *table, struct chunk_writer *writer, struct assembly *assembly)
{
    if (assembly_is_borrowing(assembly)) {
        table->borrowed_count--;
    }
    if (assembly->place.content != NULL) {
        chunk_writer_release(writer, assembly->place);
        assembly->place = (struct chunk_place){0};
    }
    free(assembly->names);
    assembly->names = NULL;
}

void
assembly_table_fini(struct assembly_table *table, struct chunk_writer *writer)
{
    for (uint32_t i = 0; i < table->count; i++) {
        assembly_drop(table, writer, &table->slots[table->index[i].slot]);
    }
    free(table->index);
    free(table->slots);
    assembly_table_init(table);
}

bool
assembly_is_due(const struct assembly_table *table, uint16_t channel)
{
    const struct assembly *assembly = table_find(table, channel);
    return assembly != NULL && assembly->state != ASSEMBLY_DISCARDING;
}

bool
assembly_has_header(const struct assembly_table *table, uint16_t channel)
{
    return assembly_is_due(table, channel) &&
           table_find(table, channel)->state != ASSEMBLY_HEADER_DUE;
}

bool
assembly_is_discarding(const struct assembly_table *table, uint16_t channel)
{
    const struct assembly *assembly = table_find(table, channel);
    return assembly != NULL && assembly->state == ASSEMBLY_DISCARDING;
}

static enum status
fault_no_memory(struct fault *fault)
{
    return fault_connection(fault, REPLY_RESOURCE_ERROR, "no memory for an unfinished message");
}

static enum status
fault_over_budget(struct fault *fault, const struct assembly_limits *limits)
{
    return fault_connection(fault, REPLY_RESOURCE_ERROR,
                            "unfinished messages of this connection take more than %" PRIu64
                            " octets",
                            limits->bytes_max);
}

enum status
assembly_begin(struct assembly_table *table, uint16_t channel, const struct basic_publish *publish,
               struct fault *fault)
{
    struct assembly *assembly = table_insert(table, channel);
    if (assembly == NULL) {
        return fault_no_memory(fault);
    }
    assembly->state = ASSEMBLY_HEADER_DUE;
    assembly->exchange = publish->exchange;
    assembly->routing_key = publish->routing_key;
    assembly->mandatory = publish->mandatory;
    assembly->immediate = publish->immediate;
    table->borrowed_count++;
    return STATUS_OK;
}

/* Moves the names of one publish into memory of its own. */
static enum status
assembly_own_names(struct assembly_table *table, struct assembly *assembly)
{
    size_t size = assembly->exchange.size + assembly->routing_key.size;
    uint8_t *names = try_alloc(size + 1); /* both may be empty */
    if (names == NULL) {
        return STATUS_NO_MEMORY;
    }
    copy_octets(names, assembly->exchange.data, assembly->exchange.size);
    copy_octets(names + assembly->exchange.size, assembly->routing_key.data,
                assembly->routing_key.size);
    assembly->exchange.data = names;
    assembly->routing_key.data = names + assembly->exchange.size;
    assembly->names = names;
    table->borrowed_count--;
    table_charge(table, assembly, size + 1);
    return STATUS_OK;
}

enum status
assembly_keep_names(struct assembly_table *table, const struct assembly_limits *limits,
                    struct fault *fault)
{
    for (uint32_t i = 0; i < table->count && table->borrowed_count > 0; i++) {
        struct assembly *assembly = &table->slots[table->index[i].slot];
        if (assembly_is_borrowing(assembly) && assembly_own_names(table, assembly) != STATUS_OK) {
            return fault_no_memory(fault);
        }
    }
    return table->bytes > limits->bytes_max ? fault_over_budget(fault, limits) : STATUS_OK;
}

/* Fills `out` and hands it the memory of the names. */
static void
assembly_report(struct assembly_table *table, struct assembly *assembly, struct assembled *out)
{
    if (assembly_is_borrowing(assembly)) {
        table->borrowed_count--;
    }
    *out = (struct assembled){
        .place = assembly->place,
        .body_size = assembly->body_size,
        .exchange = assembly->exchange,
        .routing_key = assembly->routing_key,
        .mandatory = assembly->mandatory,
        .immediate = assembly->immediate,
        .names = assembly->names,
    };
    assembly->place = (struct chunk_place){0};
    assembly->names = NULL;
}

static enum status
check_header(const struct assembly *assembly, const struct content_header *header,
             struct fault *fault)
{
    if (assembly == NULL) {
        return fault_connection(fault, REPLY_UNEXPECTED_FRAME,
                                "expected method frame, got non method frame instead");
    }
    if (assembly->state != ASSEMBLY_HEADER_DUE) {
        return fault_connection(fault, REPLY_UNEXPECTED_FRAME,
                                "expected content body, got non content body frame instead");
    }
    if (header->class_id != CLASS_BASIC) {
        return fault_connection(
            fault, REPLY_UNEXPECTED_FRAME,
            "expected content header for class %d, got one for class %u instead", CLASS_BASIC,
            header->class_id);
    }
    if (header->body_size > ASSEMBLY_BODY_MAX) {
        return fault_connection(fault, REPLY_FRAME_ERROR,
                                "content body of %" PRIu64 " octets is larger than the limit of %d",
                                header->body_size, ASSEMBLY_BODY_MAX);
    }
    return STATUS_OK;
}

static struct content_shape
shape_of(const struct assembly *assembly, const struct content_header *header,
         const struct properties *properties)
{
    bool is_persistent = properties->delivery_mode == DELIVERY_MODE_PERSISTENT;
    bool has_headers = (properties->flags & PROPERTY_HEADERS) != 0;
    return (struct content_shape){
        .exchange = assembly->exchange,
        .routing_key = assembly->routing_key,
        .properties = header->properties,
        .body_size = (uint32_t)header->body_size,
        .kind = is_persistent ? CHUNK_KIND_PERSISTENT : CHUNK_KIND_TRANSIENT,
        .flags = (uint16_t)((is_persistent ? CONTENT_PERSISTENT : 0) |
                            (has_headers ? CONTENT_HAS_HEADERS : 0)),
    };
}

/* Makes the content of a publish whose header frame is right and within the limits. */
static enum status
assembly_reserve(struct assembly_table *table, struct chunk_writer *writer,
                 const struct assembly_limits *limits, struct assembly *assembly,
                 const struct content_shape *shape, struct fault *fault)
{
    uint64_t size = sizeof(struct content) + shape->exchange.size + shape->routing_key.size +
                    shape->properties.size + shape->body_size;
    if (table->bytes + size > limits->bytes_max) {
        return fault_over_budget(fault, limits);
    }
    struct chunk_place place;
    enum status status = chunk_writer_reserve(writer, shape, &place, &assembly->body_at);
    if (status != STATUS_OK) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR,
                                "no memory for a message of %" PRIu32 " octets", shape->body_size);
    }
    /* From here on the names lie in the content. */
    assembly_drop(table, writer, assembly);
    assembly->place = place;
    assembly->exchange = content_exchange(place.content);
    assembly->routing_key = content_routing_key(place.content);
    assembly->state = ASSEMBLY_BODY_DUE;
    table_charge(table, assembly, size);
    return STATUS_OK;
}

enum status
assembly_header(struct assembly_table *table, struct chunk_writer *writer,
                const struct assembly_limits *limits, uint16_t channel, struct bytes payload,
                struct assembled *out, struct fault *fault)
{
    struct assembly *assembly = table_find(table, channel);
    if (assembly != NULL && assembly->state == ASSEMBLY_DISCARDING) {
        return STATUS_AGAIN;
    }
    struct content_header header;
    if (content_header_decode(&header, payload, fault) != STATUS_OK ||
        check_header(assembly, &header, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    UNINITIALIZED struct properties properties;
    if (properties_decode(&properties, header.properties, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    assert(assembly != NULL); /* it was checked with the header */
    assembly->body_size = header.body_size;
    assembly->body_left = header.body_size;
    if (header.body_size > limits->message_bytes_max) {
        assembly_report(table, assembly, out);
        assembly->state = ASSEMBLY_BODY_SKIPPED;
        return STATUS_OK;
    }
    struct content_shape shape = shape_of(assembly, &header, &properties);
    enum status status = assembly_reserve(table, writer, limits, assembly, &shape, fault);
    if (status != STATUS_OK) {
        return status;
    }
    if (header.body_size > 0) {
        return STATUS_AGAIN;
    }
    assembly_report(table, assembly, out);
    table_remove(table, channel);
    return STATUS_OK;
}

enum status
assembly_check_body(const struct assembly_table *table, uint16_t channel, uint32_t size,
                    struct fault *fault)
{
    const struct assembly *assembly = table_find(table, channel);
    if (assembly == NULL) {
        return fault_connection(fault, REPLY_UNEXPECTED_FRAME,
                                "expected method frame, got non method frame instead");
    }
    switch (assembly->state) {
    case ASSEMBLY_DISCARDING:
        return STATUS_OK;
    case ASSEMBLY_HEADER_DUE:
        return fault_connection(
            fault, REPLY_UNEXPECTED_FRAME,
            "expected content header for class %d, got non content header frame instead",
            CLASS_BASIC);
    case ASSEMBLY_BODY_DUE:
    case ASSEMBLY_BODY_SKIPPED:
        break;
    }
    if (size > assembly->body_left) {
        return fault_connection(fault, REPLY_FRAME_ERROR,
                                "body frame of %" PRIu32 " octets is longer than the %" PRIu64
                                " that are left of the content",
                                size, assembly->body_left);
    }
    return STATUS_OK;
}

uint8_t *
assembly_body_at(const struct assembly_table *table, uint16_t channel)
{
    const struct assembly *assembly = table_find(table, channel);
    bool is_wanted = assembly != NULL && assembly->state == ASSEMBLY_BODY_DUE;
    return is_wanted ? assembly->body_at : NULL;
}

void
assembly_body(struct assembly_table *table, uint16_t channel, struct bytes octets)
{
    struct assembly *assembly = table_find(table, channel);
    if (assembly == NULL || assembly->state == ASSEMBLY_DISCARDING) {
        return;
    }
    assert(octets.size <= assembly->body_left);
    assembly->body_left -= octets.size;
    if (assembly->state == ASSEMBLY_BODY_DUE) {
        if (octets.data != assembly->body_at) {
            copy_octets(assembly->body_at, octets.data, octets.size);
        }
        assembly->body_at += octets.size;
    }
}

enum status
assembly_end_body(struct assembly_table *table, struct chunk_writer *writer, uint16_t channel,
                  struct assembled *out)
{
    struct assembly *assembly = table_find(table, channel);
    if (assembly == NULL || assembly->state == ASSEMBLY_DISCARDING || assembly->body_left > 0) {
        return STATUS_AGAIN;
    }
    enum assembly_state state = assembly->state;
    if (state == ASSEMBLY_BODY_DUE) {
        assembly_report(table, assembly, out);
    } else {
        assembly_drop(table, writer, assembly);
    }
    table_remove(table, channel);
    return state == ASSEMBLY_BODY_DUE ? STATUS_OK : STATUS_AGAIN;
}

enum status
assembly_discard(struct assembly_table *table, struct chunk_writer *writer, uint16_t channel)
{
    struct assembly *assembly = table_find(table, channel);
    if (assembly != NULL) {
        assembly_drop(table, writer, assembly);
        table->bytes -= assembly->bytes;
        *assembly = (struct assembly){.bytes = sizeof(*assembly)};
        table->bytes += assembly->bytes;
    } else {
        assembly = table_insert(table, channel);
    }
    if (assembly == NULL) {
        return STATUS_NO_MEMORY;
    }
    assembly->state = ASSEMBLY_DISCARDING;
    return STATUS_OK;
}

void
assembly_forget(struct assembly_table *table, uint16_t channel)
{
    if (assembly_is_discarding(table, channel)) {
        table_remove(table, channel);
    }
}

void
assembly_trim(struct assembly_table *table)
{
    if (table->count > 0 || table->capacity == 0) {
        return;
    }
    assert(table->bytes == 0);
    assert(table->borrowed_count == 0);
    free(table->index);
    free(table->slots);
    assembly_table_init(table);
}
