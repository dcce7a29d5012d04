/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of pointers with linear probing; a removal moves up what stands behind it. The hash
 * of arguments does not depend on the order of fields or the width of integers, as their comparison
 * does not. */
#include "routing/binding_table.h"

#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"

enum { SLOT_COUNT_MIN = 8 };

void
binding_table_init(struct binding_table *table, uint64_t seed)
{
    *table = (struct binding_table){.seed = seed};
    list_init(&table->bindings);
}

static void
binding_free(struct binding *binding)
{
    list_remove(&binding->source_link);
    list_remove(&binding->target_link);
    free(binding);
}

void
binding_table_fini(struct binding_table *table)
{
    LIST_FOR_EACH(&table->bindings, link)
    {
        binding_free(CONTAINER_OF(link, struct binding, source_link));
    }
    free(table->slots);
    binding_table_init(table, table->seed);
}

/* Hashes ------------------------------------------------------------------------------------- */

static uint64_t
mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0x9fb21c651e98df25);
    return a ^ a >> 32;
}

/* Both zeros give the same: they are equal where they differ in width. */
static uint64_t
float_bits(double number)
{
    uint64_t bits = 0;
    if (number < 0 || number > 0) {
        memcpy(&bits, &number, sizeof(bits));
    }
    return bits;
}

/* Equal for values that are equal and do not nest. */
static uint64_t
scalar_hash(const struct table_value *value, uint64_t seed)
{
    enum table_class class = table_value_class(value);
    uint64_t number;
    switch (class) {
    case TABLE_CLASS_INTEGER:
        number = (uint64_t)table_value_integer(value);
        return bytes_hash(bytes_make(&number, sizeof(number)), mix(seed, class));
    case TABLE_CLASS_BOOLEAN:
        return mix(mix(seed, class), table_value_boolean(value));
    case TABLE_CLASS_FLOAT:
        return mix(mix(seed, class), float_bits(table_value_float(value)));
    default:
        return bytes_hash(value->raw, mix(seed, class));
    }
}

struct nested {
    struct byte_reader reader;
    bool is_table;
};

static bool
nested_next(struct nested *nested, struct bytes *name_out, struct table_value *value_out)
{
    *name_out = bytes_make(NULL, 0);
    return nested->is_table ? table_next(&nested->reader, name_out, value_out)
                            : table_array_next(&nested->reader, value_out);
}

/* The sum over everything inside, at whatever depth: equal for equal tables. Depth is bounded by
 * validation. */
static uint64_t
arguments_hash(struct bytes arguments, uint64_t seed)
{
    struct nested stack[TABLE_DEPTH_MAX];
    size_t depth = 1;
    uint64_t sum = 0;
    stack[0] = (struct nested){.reader = byte_reader_make(arguments), .is_table = true};
    while (depth > 0) {
        struct bytes name;
        struct table_value value;
        if (!nested_next(&stack[depth - 1], &name, &value)) {
            depth--;
            continue;
        }
        uint64_t name_hash = bytes_hash(name, seed);
        if (value.type == 'A' || value.type == 'F') {
            assert(depth < TABLE_DEPTH_MAX);
            stack[depth++] = (struct nested){.reader = byte_reader_make(value.raw),
                                             .is_table = value.type == 'F'};
            sum += mix(name_hash, value.type);
        } else {
            sum += scalar_hash(&value, name_hash);
        }
    }
    return sum;
}

static uint64_t
identity_hash(const struct binding_table *table, const struct route_target *target,
              struct bytes routing_key, struct bytes arguments)
{
    uint64_t hash = bytes_hash(routing_key, table->seed ^ target->id);
    return arguments.size == 0 ? hash : mix(hash, arguments_hash(arguments, table->seed));
}

/* The table ---------------------------------------------------------------------------------- */

struct binding *
binding_table_find(const struct binding_table *table, const struct route_target *target,
                   struct bytes routing_key, struct bytes arguments)
{
    if (table->count == 0) {
        return NULL;
    }
    uint64_t hash = identity_hash(table, target, routing_key, arguments);
    uint32_t mask = table->slot_count - 1;
    for (uint32_t slot = (uint32_t)hash & mask; table->slots[slot] != NULL;
         slot = (slot + 1) & mask) {
        struct binding *binding = table->slots[slot];
        if (binding->hash == hash && binding->target == target &&
            bytes_equal(binding->routing_key, routing_key) &&
            table_equal(binding->arguments, arguments)) {
            return binding;
        }
    }
    return NULL;
}

static void
place(struct binding_table *table, struct binding *binding)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t slot = (uint32_t)binding->hash & mask;
    while (table->slots[slot] != NULL) {
        slot = (slot + 1) & mask;
    }
    table->slots[slot] = binding;
}

static void
resize(struct binding_table *table, uint32_t slot_count)
{
    free(table->slots);
    table->slots = xalloc(slot_count * sizeof(struct binding *));
    table->slot_count = slot_count;
    LIST_FOR_EACH(&table->bindings, link)
    {
        place(table, CONTAINER_OF(link, struct binding, source_link));
    }
}

/* A copy of `bytes` at `*at`, which moves behind it. */
static struct bytes
store(uint8_t **at, struct bytes bytes)
{
    struct bytes copy = bytes_make(*at, bytes.size);
    if (bytes.size > 0) {
        memcpy(*at, bytes.data, bytes.size);
    }
    *at += bytes.size;
    return copy;
}

enum status
binding_table_add(struct binding_table *table, void *source, struct route_target *target,
                  struct bytes routing_key, struct bytes arguments, bool durable,
                  struct binding **binding_out)
{
    struct binding *binding = try_alloc(sizeof(*binding) + routing_key.size + arguments.size);
    if (binding == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *at = (uint8_t *)(binding + 1);
    *binding = (struct binding){.target = target, .source = source, .durable = durable};
    binding->hash = identity_hash(table, target, routing_key, arguments);
    binding->routing_key = store(&at, routing_key);
    binding->arguments = store(&at, arguments);
    if (2 * (table->count + 1) > table->slot_count) {
        assert(table->slot_count < UINT32_C(1) << 31);
        resize(table, table->slot_count == 0 ? SLOT_COUNT_MIN : 2 * table->slot_count);
    }
    list_append(&table->bindings, &binding->source_link);
    list_append(&target->bindings, &binding->target_link);
    place(table, binding);
    table->count++;
    *binding_out = binding;
    return STATUS_OK;
}

static uint32_t
slot_of(const struct binding_table *table, const struct binding *binding)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t slot = (uint32_t)binding->hash & mask;
    while (table->slots[slot] != binding) {
        assert(table->slots[slot] != NULL);
        slot = (slot + 1) & mask;
    }
    return slot;
}

void
binding_table_remove(struct binding_table *table, struct binding *binding)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t hole = slot_of(table, binding);
    /* Whatever follows and would be found through the hole moves into it. */
    for (uint32_t slot = (hole + 1) & mask; table->slots[slot] != NULL; slot = (slot + 1) & mask) {
        uint32_t home = (uint32_t)table->slots[slot]->hash & mask;
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            table->slots[hole] = table->slots[slot];
            hole = slot;
        }
    }
    table->slots[hole] = NULL;
    table->count--;
    binding_free(binding);
    if (table->slot_count > SLOT_COUNT_MIN && 16 * table->count < table->slot_count) {
        resize(table, table->slot_count / 4);
    }
}
