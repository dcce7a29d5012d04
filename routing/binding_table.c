/* SPDX-License-Identifier: Apache-2.0 */
/* A slot is the address of a binding. Hashes are not kept but made again from what identifies the
 * binding, whenever slots move. The hash of arguments does not depend on the order of fields or the
 * width of integers, as their comparison does not; on everything else it does, so that peers cannot
 * prepare arguments that all have one hash. */
#include "routing/binding_table.h"

#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"

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
        break;
    case TABLE_CLASS_BOOLEAN:
        number = table_value_boolean(value);
        break;
    case TABLE_CLASS_FLOAT:
        number = float_bits(table_value_float(value));
        break;
    default:
        return bytes_hash(value->raw, mix(seed, class));
    }
    return bytes_hash(bytes_make(&number, sizeof(number)), mix(seed, class));
}

/* How often each name was met in its table: a hash table, at most half full. A slot is the upper
 * part of the name's hash and the count; 0: empty. */
enum { NAME_COUNT_BITS = 16, NAME_SLOTS_MIN = 16, NAME_SLOTS_MAX = 2 * TABLE_FIELDS_MAX };

struct name_counts {
    uint64_t slots[NAME_SLOTS_MAX];
    uint32_t capacity; /* a power of two */
    uint32_t used;
};

/* A field has two octets at least. */
static void
name_counts_init(struct name_counts *counts, size_t arguments_size)
{
    counts->used = 0;
    counts->capacity = NAME_SLOTS_MIN;
    while (counts->capacity < arguments_size && counts->capacity < NAME_SLOTS_MAX) {
        counts->capacity *= 2;
    }
    memset(counts->slots, 0, counts->capacity * sizeof(counts->slots[0]));
}

/* How often that name was met before; of more fields than peers may send nothing is known. */
static uint64_t
name_counts_next(struct name_counts *counts, uint64_t name_hash)
{
    uint64_t mask = (UINT64_C(1) << NAME_COUNT_BITS) - 1;
    uint32_t at = (uint32_t)name_hash & (counts->capacity - 1);
    for (; counts->slots[at] != 0; at = (at + 1) & (counts->capacity - 1)) {
        if ((counts->slots[at] & ~mask) == (name_hash & ~mask)) {
            return counts->slots[at]++ & mask;
        }
    }
    if (counts->used < counts->capacity / 2) {
        counts->slots[at] = (name_hash & ~mask) | 1;
        counts->used++;
    }
    return 0;
}

struct nested {
    struct byte_reader reader;
    uint64_t seed;  /* of the place where it stands */
    uint64_t index; /* of the next item of an array */
    bool is_table;
};

static struct nested
nested_make(struct bytes octets, bool is_table, uint64_t seed)
{
    return (struct nested){.reader = byte_reader_make(octets), .seed = seed, .is_table = is_table};
}

/* The next value, and a hash of where it stands: the name and which of several of that name it is,
 * or the place in an array, and where that stands in turn. */
static bool
nested_next(struct nested *nested, struct name_counts *counts, struct table_value *value_out,
            uint64_t *place_out)
{
    struct bytes name;
    if (!nested->is_table) {
        *place_out = mix(nested->seed, nested->index++);
        return table_array_next(&nested->reader, value_out);
    }
    if (!table_next(&nested->reader, &name, value_out)) {
        return false;
    }
    uint64_t name_hash = bytes_hash(name, nested->seed);
    *place_out = mix(name_hash, name_counts_next(counts, name_hash));
    return true;
}

/* The sum over everything inside, at whatever depth, each value hashed with its place: equal for
 * equal tables, and without the seed nobody can tell for which others. Depth is bounded by
 * validation. */
static uint64_t
arguments_hash(struct bytes arguments, uint64_t seed)
{
    struct nested stack[TABLE_DEPTH_MAX];
    UNINITIALIZED struct name_counts counts;
    size_t depth = 1;
    uint64_t sum = 0;
    name_counts_init(&counts, arguments.size);
    stack[0] = nested_make(arguments, true, seed);
    while (depth > 0) {
        struct table_value value;
        uint64_t place;
        if (!nested_next(&stack[depth - 1], &counts, &value, &place)) {
            depth--;
            continue;
        }
        if (value.type == 'A' || value.type == 'F') {
            assert(depth < TABLE_DEPTH_MAX);
            place = mix(place, value.type);
            stack[depth++] = nested_make(value.raw, value.type == 'F', place);
            sum += place;
        } else {
            sum += scalar_hash(&value, place);
        }
    }
    return sum;
}

static uint32_t
identity_hash(uint64_t seed, const struct route_target *target, struct bytes routing_key,
              struct bytes arguments)
{
    uint64_t hash = bytes_hash(routing_key, seed ^ target->id);
    hash = arguments.size == 0 ? hash : mix(hash, arguments_hash(arguments, seed));
    return (uint32_t)(hash >> 32);
}

uint64_t
binding_texts_hash(uint64_t seed, struct bytes routing_key, struct bytes arguments)
{
    uint64_t hash = bytes_hash(routing_key, seed);
    return arguments.size == 0 ? hash : mix(hash, arguments_hash(arguments, seed));
}

/* Slots -------------------------------------------------------------------------------------- */

static uint64_t
slot_of(const struct binding *binding)
{
    return (uint64_t)(uintptr_t)binding;
}

static struct binding *
binding_of(uint64_t slot)
{
    return (struct binding *)(uintptr_t)slot;
}

static uint32_t
hash_of(const void *context, uint64_t slot)
{
    const struct binding_table *table = context;
    const struct binding *binding = binding_of(slot);
    return identity_hash(table->seed, binding->target, binding_routing_key(binding),
                         binding_arguments(binding));
}

static struct slot_hasher
hasher_of(const struct binding_table *table)
{
    return (struct slot_hasher){.hash = hash_of, .context = table};
}

/* The table ---------------------------------------------------------------------------------- */

void
binding_table_init(struct binding_table *table, uint64_t seed)
{
    *table = (struct binding_table){.seed = seed};
}

static void
binding_free(struct binding *binding)
{
    list_remove(&binding->target_link);
    free(binding);
}

void
binding_table_fini(struct binding_table *table)
{
    uint64_t position = 0;
    for (struct binding *binding; (binding = binding_table_next(table, &position)) != NULL;) {
        binding_free(binding);
    }
    slot_directory_fini(&table->slots);
    binding_table_init(table, table->seed);
}

static bool
is_binding(const struct binding *binding, const struct route_target *target,
           struct bytes routing_key, struct bytes arguments)
{
    return binding->target == target && bytes_equal(binding_routing_key(binding), routing_key) &&
           table_equal(binding_arguments(binding), arguments);
}

struct binding *
binding_table_find(const struct binding_table *table, const struct route_target *target,
                   struct bytes routing_key, struct bytes arguments)
{
    if (table->count == 0) {
        return NULL;
    }
    uint32_t hash = identity_hash(table->seed, target, routing_key, arguments);
    const struct slot_table *slots = slot_directory_table(&table->slots, hash);
    uint32_t mask = slots->capacity - 1;
    for (uint32_t at = hash & mask; slots->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        struct binding *binding = binding_of(slots->slots[at]);
        if (is_binding(binding, target, routing_key, arguments)) {
            return binding;
        }
    }
    return NULL;
}

static void
copy_to(uint8_t *at, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
}

enum status
binding_table_add(struct binding_table *table, void *source, struct route_target *target,
                  struct bytes routing_key, struct bytes arguments, bool durable,
                  struct binding **binding_out)
{
    assert(routing_key.size <= BINDING_KEY_SIZE_MAX);
    assert(arguments.size <= UINT32_MAX);
    struct binding *binding = try_alloc(BINDING_FIXED_OCTETS + routing_key.size + arguments.size);
    if (binding == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(binding, 0, BINDING_FIXED_OCTETS);
    binding->target = target;
    binding->source = source;
    binding->arguments_size = (uint32_t)arguments.size;
    binding->key_size = (uint8_t)routing_key.size;
    binding->durable = durable;
    copy_to(binding->texts, routing_key);
    copy_to(binding->texts + routing_key.size, arguments);
    list_append(&target->bindings, &binding->target_link);
    struct slot_hasher hasher = hasher_of(table);
    uint64_t slot = slot_of(binding);
    slot_directory_insert(&table->slots, &hasher, hash_of(table, slot), slot);
    table->count++;
    *binding_out = binding;
    return STATUS_OK;
}

void
binding_table_remove(struct binding_table *table, struct binding *binding)
{
    struct slot_hasher hasher = hasher_of(table);
    uint64_t slot = slot_of(binding);
    slot_directory_remove(&table->slots, &hasher, hash_of(table, slot), slot);
    table->count--;
    binding_free(binding);
}

struct binding *
binding_table_next(const struct binding_table *table, uint64_t *position)
{
    struct binding *binding = binding_of(slot_directory_next(&table->slots, position));
    (*position)++;
    return binding;
}

bool
binding_walk_resume(struct binding_walk *walk, const struct binding_table *table,
                    uint64_t generation)
{
    bool is_same = walk->generation == generation || !walk->has_begun;
    if (!is_same) {
        walk->position = slot_directory_position(&table->slots, walk->first_hash);
    }
    walk->generation = generation;
    walk->has_begun = true;
    return is_same;
}

struct binding *
binding_walk_next(struct binding_walk *walk, const struct binding_table *table,
                  bool *is_new_part_out)
{
    uint64_t slot = slot_directory_next(&table->slots, &walk->position);
    uint32_t first_hash =
        slot == SLOT_EMPTY ? 0 : slot_directory_first_hash(&table->slots, walk->position);
    *is_new_part_out = slot != SLOT_EMPTY && first_hash != walk->first_hash;
    if (*is_new_part_out) {
        walk->first_hash = first_hash;
    }
    walk->position++;
    return binding_of(slot);
}

struct binding *
binding_table_any(struct binding_table *table)
{
    uint64_t slot = slot_directory_next(&table->slots, &table->emptied_to);
    if (slot == SLOT_EMPTY) {
        table->emptied_to = 0;
        slot = slot_directory_next(&table->slots, &table->emptied_to);
    }
    return binding_of(slot);
}
