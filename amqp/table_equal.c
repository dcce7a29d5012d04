/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two values are equal. What nests is walked with a stack, as in table.c. Fields of a table
 * are searched by name; where there are many, both sides are sorted first, so that nobody who
 * chooses them has us search a square of their number. */
#include "amqp/table.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { SORTED_FROM = 16 }; /* fields; fewer are searched at no more cost */

/* A pair of tables or arrays that is being compared. */
struct pair {
    struct bytes left;
    struct bytes right;
    struct byte_reader left_reader;
    struct byte_reader right_reader; /* of arrays only: a table is searched */
    const uint8_t **fields; /* of tables: those of the left side and behind them those of the right,
                               each sorted; owned. NULL: few, or there is no memory */
    uint32_t field_count;   /* of each side, if they are sorted */
    uint32_t field_next;
    bool is_array;
};

static bool
nests(const struct table_value *value)
{
    return value->type == 'A' || value->type == 'F';
}

/* Two values that do not nest. */
static bool
scalars_equal(const struct table_value *a, const struct table_value *b)
{
    enum table_class class = table_value_class(a);
    if (class != table_value_class(b)) {
        return false;
    }
    switch (class) {
    case TABLE_CLASS_INTEGER:
        return table_value_integer(a) == table_value_integer(b);
    case TABLE_CLASS_BOOLEAN:
        return table_value_boolean(a) == table_value_boolean(b);
    case TABLE_CLASS_FLOAT:
        if (a->type != b->type) {
            return table_value_float(a) == table_value_float(b);
        }
        return bytes_equal(a->raw, b->raw); /* a NaN equals itself here */
    default:
        return bytes_equal(a->raw, b->raw);
    }
}

static uint32_t
count_fields(struct bytes table)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    uint32_t count = 0;
    while (table_next(&reader, &name, &value)) {
        count++;
    }
    return count;
}

/* Sorted --------------------------------------------------------------------------------------- */

/* By name, and those of one name in the order in which they stand. A name is an octet of length and
 * so many others. */
static int
compare_fields(const void *left, const void *right)
{
    const uint8_t *a = *(const uint8_t *const *)left;
    const uint8_t *b = *(const uint8_t *const *)right;
    int order = a[0] != b[0] ? a[0] - b[0] : memcmp(a + 1, b + 1, a[0]);
    return order != 0 ? order : (a > b) - (a < b);
}

static void
sort_fields(struct bytes table, const uint8_t **fields, uint32_t count)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    for (uint32_t i = 0; i < count; i++) {
        fields[i] = reader.next;
        bool is_there = table_next(&reader, &name, &value);
        assert(is_there);
    }
    qsort(fields, count, sizeof(fields[0]), compare_fields);
}

static struct table_value
field_at(struct bytes table, const uint8_t *field, struct bytes *name_out)
{
    struct byte_reader reader = {.next = field, .end = table.data + table.size};
    struct table_value value;
    bool is_there = table_next(&reader, name_out, &value);
    assert(is_there);
    return value;
}

/* Pairs ---------------------------------------------------------------------------------------- */

/* Both have as many fields, if they are tables. */
static struct pair
pair_make(struct bytes left, struct bytes right, bool is_array)
{
    struct pair pair = {
        .left = left,
        .right = right,
        .left_reader = byte_reader_make(left),
        .right_reader = byte_reader_make(right),
        .is_array = is_array,
    };
    uint32_t count = is_array ? 0 : count_fields(left);
    if (count >= SORTED_FROM) {
        pair.fields = try_alloc(2 * (size_t)count * sizeof(pair.fields[0]));
    }
    if (pair.fields != NULL) {
        pair.field_count = count;
        sort_fields(left, pair.fields, count);
        sort_fields(right, pair.fields + count, count);
    }
    return pair;
}

/* How many fields before `end` have that name. */
static uint32_t
count_earlier(struct bytes table, const uint8_t *end, struct bytes name)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes other;
    struct table_value value;
    uint32_t count = 0;
    while (reader.next < end && table_next(&reader, &other, &value)) {
        count += bytes_equal(other, name);
    }
    return count;
}

/* The `occurrence`th field of that name, counted from 0. */
static bool
find_occurrence(struct bytes table, struct bytes name, uint32_t occurrence,
                struct table_value *value_out)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes other;
    struct table_value value;
    while (table_next(&reader, &other, &value)) {
        if (bytes_equal(other, name) && occurrence-- == 0) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

enum pair_step {
    PAIR_VALUES,  /* here are two values to compare */
    PAIR_END,     /* all were compared */
    PAIR_DIFFERS, /* one side has a value that the other lacks */
};

static enum pair_step
array_pair_next(struct pair *pair, struct table_value *left_out, struct table_value *right_out)
{
    bool left = table_array_next(&pair->left_reader, left_out);
    bool right = table_array_next(&pair->right_reader, right_out);
    if (left != right) {
        return PAIR_DIFFERS;
    }
    return left ? PAIR_VALUES : PAIR_END;
}

static enum pair_step
sorted_pair_next(struct pair *pair, struct table_value *left_out, struct table_value *right_out)
{
    uint32_t at = pair->field_next++;
    struct bytes left_name;
    struct bytes right_name;
    if (at == pair->field_count) {
        return PAIR_END;
    }
    *left_out = field_at(pair->left, pair->fields[at], &left_name);
    *right_out = field_at(pair->right, pair->fields[pair->field_count + at], &right_name);
    return bytes_equal(left_name, right_name) ? PAIR_VALUES : PAIR_DIFFERS;
}

/* That both tables have as many fields was seen when the walk began, so one direction is enough. */
static enum pair_step
table_pair_next(struct pair *pair, struct table_value *left_out, struct table_value *right_out)
{
    const uint8_t *field = pair->left_reader.next;
    struct bytes name;
    if (!table_next(&pair->left_reader, &name, left_out)) {
        return PAIR_END;
    }
    uint32_t occurrence = count_earlier(pair->left, field, name);
    return find_occurrence(pair->right, name, occurrence, right_out) ? PAIR_VALUES : PAIR_DIFFERS;
}

static enum pair_step
pair_next(struct pair *pair, struct table_value *left_out, struct table_value *right_out)
{
    if (pair->is_array) {
        return array_pair_next(pair, left_out, right_out);
    }
    return pair->fields != NULL ? sorted_pair_next(pair, left_out, right_out)
                                : table_pair_next(pair, left_out, right_out);
}

/* Whether two values that both nest are worth a walk. */
static bool
may_be_equal(const struct table_value *a, const struct table_value *b)
{
    return a->type == b->type && (a->type == 'A' || count_fields(a->raw) == count_fields(b->raw));
}

/* The walk ------------------------------------------------------------------------------------- */

/* Pairs inside one another, the outermost first. */
struct walk {
    struct pair pairs[TABLE_DEPTH_MAX];
    size_t depth;
};

/* Compares two values as far as that goes without looking inside: on true, a pair that is still to
 * be looked into is the innermost one now. */
static bool
begin_equal(struct walk *walk, const struct table_value *a, const struct table_value *b)
{
    if (!nests(a) || !nests(b)) {
        return scalars_equal(a, b);
    }
    if (a->type == b->type && bytes_equal(a->raw, b->raw)) {
        return true;
    }
    if (!may_be_equal(a, b)) {
        return false;
    }
    assert(walk->depth < TABLE_DEPTH_MAX);
    walk->pairs[walk->depth++] = pair_make(a->raw, b->raw, a->type == 'A');
    return true;
}

static void
end_pair(struct walk *walk)
{
    free(walk->pairs[--walk->depth].fields);
}

/* Goes through all pairs; false at the first difference. */
static bool
walk_through(struct walk *walk)
{
    while (walk->depth > 0) {
        struct table_value left;
        struct table_value right;
        enum pair_step step = pair_next(&walk->pairs[walk->depth - 1], &left, &right);
        if (step == PAIR_DIFFERS || (step == PAIR_VALUES && !begin_equal(walk, &left, &right))) {
            return false;
        }
        if (step == PAIR_END) {
            end_pair(walk);
        }
    }
    return true;
}

bool
table_value_equal(const struct table_value *a, const struct table_value *b)
{
    UNINITIALIZED struct walk walk;
    walk.depth = 0;
    bool are_equal = begin_equal(&walk, a, b) && walk_through(&walk);
    while (walk.depth > 0) {
        end_pair(&walk);
    }
    return are_equal;
}

bool
table_equal(struct bytes a, struct bytes b)
{
    struct table_value left = {.type = 'F', .raw = a};
    struct table_value right = {.type = 'F', .raw = b};
    return table_value_equal(&left, &right);
}
