/* SPDX-License-Identifier: Apache-2.0 */
/* Reading x-match, and a small hash table over the headers of a message. */
#include "routing/header_match.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/assert.h"

enum { FIELDS_CAPACITY_MIN = 16 };

static const char x_match[] = "x-match";

struct x_match_value {
    const char *text;
    enum header_match_kind kind;
    bool with_x; /* names that start with x- count too */
};

/* The first is the default. */
static const struct x_match_value x_match_values[] = {
    {"all", HEADER_MATCH_ALL, false},
    {"any", HEADER_MATCH_ANY, false},
    {"all-with-x", HEADER_MATCH_ALL, true},
    {"any-with-x", HEADER_MATCH_ANY, true},
};

static const struct x_match_value *
find_x_match(struct bytes text)
{
    for (size_t i = 0; i < ARRAY_LEN(x_match_values); i++) {
        if (bytes_equal_text(text, x_match_values[i].text)) {
            return &x_match_values[i];
        }
    }
    return NULL;
}

/* Values are printed as RabbitMQ does: clients' tests compare the texts. */
enum status
header_match_check(struct bytes arguments, struct fault *fault)
{
    struct table_value value;
    char text[128];
    if (!table_find(arguments, x_match, &value)) {
        return STATUS_OK;
    }
    if (table_value_class(&value) != TABLE_CLASS_STRING) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "Invalid x-match field type %s (value %s); expected longstr",
                             table_type_name(value.type),
                             table_value_text(&value, text, sizeof(text)));
    }
    if (find_x_match(value.raw) == NULL) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "Invalid x-match field value <<\"%s\">>; expected all, any, "
                             "all-with-x, or any-with-x",
                             table_value_text(&value, text, sizeof(text)));
    }
    return STATUS_OK;
}

static bool
counts(struct bytes name, bool with_x)
{
    return with_x ? !bytes_equal_text(name, x_match) : !bytes_starts_with(name, "x-");
}

void
header_match_init(struct header_match *match, struct bytes arguments, uint64_t seed)
{
    struct table_value value;
    const struct x_match_value *mode = &x_match_values[0];
    if (table_find(arguments, x_match, &value)) {
        assert(table_value_class(&value) == TABLE_CLASS_STRING);
        mode = find_x_match(value.raw);
        assert(mode != NULL);
    }
    *match = (struct header_match){.kind = mode->kind};
    struct byte_reader reader = byte_reader_make(arguments);
    struct bytes name;
    uint32_t capacity = 0;
    while (table_next(&reader, &name, &value)) {
        if (!counts(name, mode->with_x)) {
            continue;
        }
        if (match->field_count == capacity) {
            capacity = capacity == 0 ? 2 : 2 * capacity;
            match->fields = xrealloc(match->fields, capacity * sizeof(*match->fields));
        }
        match->fields[match->field_count++] = (struct header_field){
            .name = name, .value = value, .hash = (uint32_t)bytes_hash(name, seed)};
    }
}

void
header_match_fini(struct header_match *match)
{
    free(match->fields);
    *match = (struct header_match){.fields = NULL};
}

void
header_index_init(struct header_index *index, uint64_t seed)
{
    *index = (struct header_index){.seed = seed};
}

void
header_index_fini(struct header_index *index)
{
    free(index->fields);
    free(index->slots);
    header_index_init(index, index->seed);
}

/* The slot of `name`, or the empty one where the search for it ends. */
static uint32_t
find_slot(const struct header_index *index, struct bytes name, uint32_t hash)
{
    uint32_t mask = index->slot_count - 1;
    uint32_t slot = hash & mask;
    for (; index->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct header_field *field = &index->fields[index->slots[slot] - 1];
        if (field->hash == hash && bytes_equal(field->name, name)) {
            break;
        }
    }
    return slot;
}

/* Lists the fields in their order; `slots` follow when their number is known. */
static void
list_fields(struct header_index *index, struct bytes headers)
{
    struct byte_reader reader = byte_reader_make(headers);
    struct bytes name;
    struct table_value value;
    index->field_count = 0;
    while (table_next(&reader, &name, &value)) {
        if (index->field_count == index->field_capacity) {
            index->field_capacity =
                index->field_capacity == 0 ? FIELDS_CAPACITY_MIN : 2 * index->field_capacity;
            index->fields = xrealloc(index->fields, index->field_capacity * sizeof(*index->fields));
        }
        index->fields[index->field_count++] = (struct header_field){
            .name = name, .value = value, .hash = (uint32_t)bytes_hash(name, index->seed)};
    }
}

void
header_index_read(struct header_index *index, struct bytes headers)
{
    list_fields(index, headers);
    if (index->slot_count < 2 * index->field_capacity || index->slot_count == 0) {
        index->slot_count = 2 * FIELDS_CAPACITY_MIN;
        while (index->slot_count < 2 * index->field_capacity) {
            index->slot_count *= 2;
        }
        index->slots = xrealloc(index->slots, index->slot_count * sizeof(*index->slots));
    }
    memset(index->slots, 0, index->slot_count * sizeof(*index->slots));
    for (uint32_t i = 0; i < index->field_count; i++) {
        uint32_t slot = find_slot(index, index->fields[i].name, index->fields[i].hash);
        if (index->slots[slot] == 0) {
            index->slots[slot] = i + 1;
        }
    }
}

/* NULL: there is no header of that name. */
static const struct table_value *
find_header(const struct header_index *index, const struct header_field *wanted)
{
    uint32_t number = index->slots[find_slot(index, wanted->name, wanted->hash)];
    return number == 0 ? NULL : &index->fields[number - 1].value;
}

static bool
satisfies(const struct table_value *found, const struct header_field *wanted)
{
    return found != NULL && (table_value_class(&wanted->value) == TABLE_CLASS_VOID ||
                             table_value_equal(&wanted->value, found));
}

static bool
has_header(const struct header_index *index, const struct header_field *wanted)
{
    return satisfies(find_header(index, wanted), wanted);
}

bool
header_match_matches(const struct header_match *match, const struct header_index *index)
{
    bool decisive = match->kind == HEADER_MATCH_ANY; /* the finding that ends the search */
    for (uint32_t i = 0; i < match->field_count; i++) {
        if (has_header(index, &match->fields[i]) == decisive) {
            return decisive;
        }
    }
    return !decisive;
}

void
header_match_explain(const struct header_match *match, const struct header_index *index,
                     struct header_finding *finding_out)
{
    bool decisive = match->kind == HEADER_MATCH_ANY;
    bool is_decided = false;
    *finding_out = (struct header_finding){.matches = !decisive};
    for (uint32_t i = 0; i < match->field_count; i++) {
        const struct header_field *wanted = &match->fields[i];
        const struct table_value *found = find_header(index, wanted);
        bool is_equal = satisfies(found, wanted);
        finding_out->unmatched += is_equal ? 0 : 1;
        if (!is_decided && (is_equal == decisive || i == 0)) {
            finding_out->wanted = wanted;
            finding_out->found = found;
            is_decided = is_equal == decisive;
        }
    }
    finding_out->matches = is_decided == decisive;
}
