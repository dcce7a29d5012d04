/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables. Whatever table_validate accepts, no reader steps outside of; two tables are equal
 * when the reference says so; builders and copies keep what they are given. The input is one table
 * body, or two of which the first is announced by its length: `0xFF size size body body`. */
#include "amqp/table.h"

#include "tests/fuzz/make.h"
#include "tests/fuzz/reference.h"
#include "tests/fuzz/target.h"
#include "tests/support/exact_copy.h"

enum { INPUT_MAX = 4096, PAIR_MARK = 0xFF };

static void
check_text(const struct table_value *value)
{
    char whole[300];
    char cut[7];
    struct bytes text = bytes_of(table_value_text(value, whole, sizeof(whole)));
    assert(bytes_is_utf8(text));
    assert(bytes_is_utf8(bytes_of(table_value_text(value, cut, sizeof(cut)))));
}

static void
check_value(const struct table_value *value)
{
    assert(table_type_name(value->type)[0] != '\0');
    check_text(value);
    assert(table_value_equal(value, value));
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
    case TABLE_CLASS_TIMESTAMP:
        (void)table_value_integer(value);
        break;
    case TABLE_CLASS_FLOAT:
        (void)table_value_float(value);
        break;
    case TABLE_CLASS_BOOLEAN:
        (void)table_value_boolean(value);
        break;
    default:
        break;
    }
}

/* Returns how many fields and items there are, and so that no more than that are walked. */
static uint32_t
walk(struct bytes body, bool is_array)
{
    struct byte_reader reader = byte_reader_make(body);
    struct bytes name = bytes_make(NULL, 0);
    struct table_value value;
    uint32_t count = 0;
    while (is_array ? table_array_next(&reader, &value) : table_next(&reader, &name, &value)) {
        check_value(&value);
        count++;
        if (value.type == 'A' || value.type == 'F') {
            count += walk(value.raw, value.type == 'A'); /* at most TABLE_DEPTH_MAX deep */
        }
    }
    assert(byte_reader_left(&reader) == 0);
    return count;
}

/* A table built from the fields is the table; without a name, that name is gone and no other. */
static void
check_copies(struct bytes table)
{
    struct buffer copy;
    struct buffer without;
    buffer_init(&copy);
    buffer_init(&without);
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    while (table_next(&reader, &name, &value)) {
        table_put_value(&copy, name, &value);
        if (!bytes_equal_text(name, "a")) {
            table_put_value(&without, name, &value);
        }
    }
    assert(bytes_equal(buffer_bytes(&copy), table));
    buffer_clear(&copy);
    table_copy_without(&copy, table, "a");
    assert(bytes_equal(buffer_bytes(&copy), buffer_bytes(&without)));
    assert(!table_find(buffer_bytes(&copy), "a", &value));
    buffer_fini(&copy);
    buffer_fini(&without);
}

static bool
check_table(struct bytes table)
{
    struct fault fault;
    if (table_validate(table, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        assert(fault.reply_code == 501);
        assert(fault.scope == FAULT_CONNECTION);
        return false;
    }
    uint32_t count = walk(table, false);
    assert(count <= TABLE_FIELDS_MAX);
    assert(table_validate(table, count, &fault) == STATUS_OK);
    assert(count == 0 || table_validate(table, count - 1, &fault) == STATUS_FAULT);
    assert(table_equal(table, table));
    check_copies(table);
    return true;
}

static void
check_equality(struct bytes a, struct bytes b)
{
    struct table_value left = {.type = 'F', .raw = a};
    struct table_value right = {.type = 'F', .raw = b};
    bool is_equal = reference_value_equal(&left, &right);
    assert(table_equal(a, b) == is_equal);
    assert(table_equal(b, a) == is_equal);
}

static void
run(struct bytes input)
{
    struct bytes first = input;
    struct bytes second = bytes_make(NULL, 0);
    if (input.size >= 3 && input.data[0] == PAIR_MARK) {
        size_t rest = input.size - 3;
        size_t size = get_u16(input.data + 1);
        size = size < rest ? size : rest;
        first = bytes_make(input.data + 3, size);
        second = bytes_make(input.data + 3 + size, rest - size);
    }
    first = exact_copy(first);
    second = exact_copy(second);
    bool is_valid = check_table(first);
    if (check_table(second) && is_valid) {
        check_equality(first, second);
    }
    exact_copy_free(first);
    exact_copy_free(second);
}

/* Makes a pair of a table and a change of it. */
static size_t
make_pair(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    if (3 + 2 * size > size_max || size > UINT16_MAX) {
        return size;
    }
    memmove(data + 3, data, size);
    data[0] = PAIR_MARK;
    put_u16(data + 1, (uint16_t)size);
    memcpy(data + 3 + size, data + 3, size);
    size_t changed = mutate_table(data + 3 + size, size, size_max - 3 - size, draw);
    return 3 + size + changed;
}

static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    if (size >= 3 && data[0] == PAIR_MARK) {
        size_t first = get_u16(data + 1);
        first = first < size - 3 ? first : size - 3;
        size_t changed =
            mutate_table(data + 3 + first, size - 3 - first, size_max - 3 - first, draw);
        return 3 + first + changed;
    }
    return draw_chance(draw, 30) ? make_pair(data, size, size_max, draw)
                                 : mutate_table(data, size, size_max, draw);
}

const struct fuzz_target fuzz_table = {
    .name = "table", .size_max = INPUT_MAX, .run = run, .mutate = mutate};
