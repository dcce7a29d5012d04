/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables: every letter, every limit, and every way to cut one. */
#include "amqp/table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "base/assert.h"
#include "base/random.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/exact_copy.h"

static struct buffer table;
static struct buffer other;
static struct fault fault;

static void
tear_down(void)
{
    buffer_fini(&table);
    buffer_fini(&other);
}

TestSuite(table, .fini = tear_down);

/* One value of every letter, with the octets behind the letter. */
static const struct {
    uint8_t type;
    uint8_t octets[12];
    size_t size;
    enum table_class class;
    const char *name;
    const char *text;
} letters[] = {
    {'t', {1}, 1, TABLE_CLASS_BOOLEAN, "bool", "true"},
    {'b', {0xFF}, 1, TABLE_CLASS_INTEGER, "byte", "-1"},
    {'B', {0xFF}, 1, TABLE_CLASS_INTEGER, "unsignedbyte", "255"},
    {'s', {0x80, 0x00}, 2, TABLE_CLASS_INTEGER, "short", "-32768"},
    {'u', {0x80, 0x00}, 2, TABLE_CLASS_INTEGER, "unsignedshort", "32768"},
    {'I', {0x80, 0, 0, 0}, 4, TABLE_CLASS_INTEGER, "signedint", "-2147483648"},
    {'i', {0xFF, 0xFF, 0xFF, 0xFF}, 4, TABLE_CLASS_INTEGER, "unsignedint", "4294967295"},
    {'l', {0x80}, 8, TABLE_CLASS_INTEGER, "long", "-9223372036854775808"},
    {'L', {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 8, TABLE_CLASS_INTEGER, "long", "-1"},
    {'f', {0x3F, 0xC0, 0, 0}, 4, TABLE_CLASS_FLOAT, "float", "1.5"},
    {'d', {0xC0, 0x04, 0, 0, 0, 0, 0, 0}, 8, TABLE_CLASS_FLOAT, "double", "-2.5"},
    {'D', {2, 0, 0, 0, 123}, 5, TABLE_CLASS_DECIMAL, "decimal", "123e-2"},
    {'S', {0, 0, 0, 3, 'a', 'b', 'c'}, 7, TABLE_CLASS_STRING, "longstr", "abc"},
    {'x', {0, 0, 0, 2, 0xFF, 'y'}, 6, TABLE_CLASS_BINARY, "binary", "?y"},
    {'A', {0, 0, 0, 3, 't', 0, 'V'}, 7, TABLE_CLASS_ARRAY, "array", "[...]"},
    {'T', {0, 0, 0, 0, 0, 0, 1, 0}, 8, TABLE_CLASS_TIMESTAMP, "timestamp", "256"},
    {'F', {0, 0, 0, 4, 1, 'k', 't', 1}, 8, TABLE_CLASS_TABLE, "table", "{...}"},
    {'V', {0}, 0, TABLE_CLASS_VOID, "void", "undefined"},
};

static enum status
validate(struct bytes body, uint32_t fields_max)
{
    struct bytes copy = exact_copy(body);
    enum status status = table_validate(copy, fields_max, &fault);
    exact_copy_free(copy);
    return status;
}

static void
put_field(struct buffer *out, const char *name, uint8_t type, const void *octets, size_t size)
{
    buffer_put_shortstr(out, bytes_of(name));
    buffer_put_u8(out, type);
    buffer_put(out, octets, size);
}

/* A table with a field of every letter; names are the letters. */
static struct bytes
rich_table(void)
{
    buffer_clear(&table);
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        char name[2] = {(char)letters[i].type, '\0'};
        put_field(&table, name, letters[i].type, letters[i].octets, letters[i].size);
    }
    return buffer_bytes(&table);
}

Test(table, every_letter_is_read_with_its_value)
{
    struct bytes body = rich_table();
    cr_assert(eq(int, validate(body, TABLE_FIELDS_MAX), STATUS_OK), "%s", fault.text);
    struct byte_reader reader = byte_reader_make(body);
    struct bytes name;
    struct table_value value;
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        char text[40];
        cr_assert(table_next(&reader, &name, &value));
        cr_expect(eq(sz, name.size, 1));
        cr_expect(eq(u8, name.data[0], letters[i].type));
        cr_expect(eq(u8, value.type, letters[i].type));
        cr_expect(eq(int, table_value_class(&value), letters[i].class), "%c", value.type);
        cr_expect(eq(str, (char *)table_type_name(value.type), (char *)letters[i].name));
        cr_expect(
            eq(str, (char *)table_value_text(&value, text, sizeof(text)), (char *)letters[i].text));
    }
    cr_expect(not(table_next(&reader, &name, &value)));
}

Test(table, integers_keep_their_sign_and_range)
{
    static const struct {
        uint8_t type;
        uint8_t octets[8];
        size_t size;
        int64_t number;
    } rows[] = {
        {'b', {0x7F}, 1, 127},
        {'b', {0x80}, 1, -128},
        {'B', {0x80}, 1, 128},
        {'s', {0xFF, 0xFE}, 2, -2}, /* errata: int16, not a short string */
        {'u', {0xFF, 0xFE}, 2, 65534},
        {'I', {0xFF, 0xFF, 0xFF, 0xFF}, 4, -1},
        {'I', {0x7F, 0xFF, 0xFF, 0xFF}, 4, INT32_MAX},
        {'i', {0x80, 0, 0, 0}, 4, INT64_C(1) << 31},
        {'l', {0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 8, INT64_MAX},
        {'l', {0x80}, 8, INT64_MIN}, /* 2^63 */
        {'L', {0x80}, 8, INT64_MIN},
        {'T', {0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 8, UINT32_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct table_value value = {.type = rows[i].type,
                                    .raw = bytes_make(rows[i].octets, rows[i].size)};
        cr_expect(eq(i64, table_value_integer(&value), rows[i].number), "row %zu", i);
    }
}

Test(table, any_octet_but_zero_is_true)
{
    for (int octet = 0; octet < 256; octet++) {
        uint8_t raw = (uint8_t)octet;
        struct table_value value = {.type = 't', .raw = bytes_make(&raw, 1)};
        cr_expect(eq(int, table_value_boolean(&value), octet != 0));
    }
}

Test(table, letters_that_nobody_uses_are_refused)
{
    for (int type = 0; type < 256; type++) {
        bool is_known = false;
        for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
            is_known = is_known || letters[i].type == type;
        }
        /* Zeros enough for every letter: numbers of 8 octets, or a length of 0. */
        uint8_t body[] = {1, 'k', (uint8_t)type, 0, 0, 0, 0, 0, 0, 0, 0};
        enum status status = validate(bytes_make(body, 3), TABLE_FIELDS_MAX);
        if (!is_known) {
            cr_expect(eq(int, status, STATUS_FAULT), "letter 0x%02x", type);
            status = validate(bytes_make(body, sizeof(body)), TABLE_FIELDS_MAX);
            cr_expect(eq(int, status, STATUS_FAULT), "letter 0x%02x", type);
            cr_expect(eq(u16, fault.reply_code, 501));
            cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
        }
    }
}

/* A table cut between two fields is a table; cut anywhere else it is none. */
Test(table, one_cut_within_a_field_is_refused)
{
    struct bytes body = rich_table();
    struct byte_reader reader = byte_reader_make(body);
    struct bytes name;
    struct table_value value;
    size_t field_start = 0;
    while (table_next(&reader, &name, &value)) {
        size_t field_end = (size_t)(reader.next - body.data);
        cr_expect(eq(int, validate(bytes_make(body.data, field_start), 99), STATUS_OK));
        for (size_t size = field_start + 1; size < field_end; size++) {
            cr_expect(eq(int, validate(bytes_make(body.data, size), 99), STATUS_FAULT),
                      "letter %c, %zu octets", value.type, size - field_start);
            cr_expect(eq(u16, fault.reply_code, 501));
        }
        field_start = field_end;
    }
}

/* A nested value may not reach out of the one around it, even where octets follow. */
Test(table, a_length_over_the_end_of_its_container_is_refused)
{
    static const uint8_t rows[][20] = {
        {1, 'k', 'F', 0, 0, 0, 3, 1, 'a', 'S', 0, 0, 0, 1, 'x'},
        {1, 'k', 'A', 0, 0, 0, 2, 'I', 0, 0, 0, 1, 1, 'k', 'V'},
        {1, 'k', 'F', 0, 0, 0, 1, 5, 'a', 'b', 'c', 'd', 'e', 'V'},
        {1, 'k', 'S', 0xFF, 0xFF, 0xFF, 0xFF, 'x'},
        {1, 'k', 'A', 0x80, 0, 0, 0, 'V'},
        {255, 'k', 'V'},
    };
    static const size_t sizes[] = {15, 15, 14, 8, 8, 3};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, validate(bytes_make(rows[i], sizes[i]), 99), STATUS_FAULT), "row %zu", i);
        cr_expect(eq(u16, fault.reply_code, 501));
    }
}

/* Wraps a void field into tables or arrays until the whole is `depth` deep, the outermost table
 * included. */
static struct bytes
nested_table(size_t depth, bool as_arrays)
{
    buffer_clear(&table);
    buffer_clear(&other);
    bool inside_array = as_arrays && depth > 1;
    buffer_put(&table, inside_array ? "V" : "\x01kV", inside_array ? 1 : 3);
    for (size_t level = depth; level > 1; level--) {
        bool is_named = level == 2 || !as_arrays;
        buffer_clear(&other);
        buffer_put(&other, is_named ? "\x01k" : "", is_named ? 2 : 0);
        buffer_put_u8(&other, as_arrays ? 'A' : 'F');
        buffer_put_longstr(&other, buffer_bytes(&table));
        buffer_clear(&table);
        buffer_put_bytes(&table, buffer_bytes(&other));
    }
    return buffer_bytes(&table);
}

Test(table, nesting_ends_at_sixteen)
{
    for (int as_arrays = 0; as_arrays < 2; as_arrays++) {
        for (size_t depth = 1; depth <= 40; depth++) {
            enum status status = validate(nested_table(depth, as_arrays), TABLE_FIELDS_MAX);
            cr_expect(eq(int, status, depth <= 16 ? STATUS_OK : STATUS_FAULT), "depth %zu: %s",
                      depth, fault.text);
        }
        cr_expect(eq(u16, fault.reply_code, 501));
    }
}

/* The cheapest attack on a recursive reader: five octets a level, 26,000 levels in one frame. */
Test(table, a_frame_full_of_nesting_is_refused)
{
    buffer_put(&table, "\x01k", 2);
    for (uint32_t left = 131000; left >= 5; left -= 5) {
        buffer_put_u8(&table, 'A');
        buffer_put_u32(&table, left - 5);
    }
    cr_expect(eq(int, validate(buffer_bytes(&table), TABLE_FIELDS_MAX), STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 501));
}

Test(table, the_number_of_fields_is_limited_wherever_they_are)
{
    for (uint32_t count = 1023; count <= 1025; count++) {
        buffer_clear(&table);
        for (uint32_t i = 0; i < count; i++) {
            buffer_put(&table, "\0V", 2);
        }
        enum status expected = count <= 1024 ? STATUS_OK : STATUS_FAULT;
        cr_expect(eq(int, validate(buffer_bytes(&table), TABLE_FIELDS_MAX), expected), "%u", count);

        /* The same as items of an array, which is a field itself. */
        static uint8_t voids[1025];
        memset(voids, 'V', sizeof(voids));
        buffer_clear(&table);
        struct table_value array = {.type = 'A', .raw = bytes_make(voids, count - 1)};
        table_put_value(&table, bytes_of("array"), &array);
        cr_expect(eq(int, validate(buffer_bytes(&table), TABLE_FIELDS_MAX), expected), "%u", count);
    }
    cr_expect(eq(u16, fault.reply_code, 501));
}

Test(table, the_empty_table_is_a_table)
{
    struct bytes name;
    struct table_value value;
    struct byte_reader reader = byte_reader_make(bytes_make(NULL, 0));
    cr_expect(eq(int, table_validate(bytes_make(NULL, 0), 0, &fault), STATUS_OK));
    cr_expect(not(table_next(&reader, &name, &value)));
    cr_expect(not(table_find(bytes_make(NULL, 0), "x", &value)));
    cr_expect(table_equal(bytes_make(NULL, 0), bytes_of("")));
}

/* What is taken once can be walked, compared, printed and copied without a second look. */
Test(table, random_changes_never_break_a_reader)
{
    struct bytes rich = rich_table();
    struct bytes whole = exact_copy(rich);
    uint64_t seed = 41;
    struct random_source random = random_seeded(&seed);
    int accepted = 0;
    for (int round = 0; round < 100000; round++) {
        struct bytes copy = exact_copy(whole);
        for (uint64_t change = random_u64(&random) % 3; change < 3; change++) {
            ((uint8_t *)copy.data)[random_u64(&random) % copy.size] = (uint8_t)random_u64(&random);
        }
        enum status status = table_validate(copy, TABLE_FIELDS_MAX, &fault);
        if (status == STATUS_OK) {
            accepted++;
            struct byte_reader reader = byte_reader_make(copy);
            struct bytes name;
            struct table_value value;
            while (table_next(&reader, &name, &value)) {
                char text[16];
                (void)table_value_text(&value, text, sizeof(text));
                cr_assert(bytes_is_utf8(bytes_of(text)));
            }
            cr_assert(eq(sz, byte_reader_left(&reader), 0));
            cr_assert(table_equal(copy, copy));
            (void)table_equal(copy, whole);
            buffer_clear(&other);
            table_copy_without(&other, copy, "I");
            cr_assert(eq(int, validate(buffer_bytes(&other), TABLE_FIELDS_MAX), STATUS_OK));
        }
        exact_copy_free(copy);
    }
    exact_copy_free(whole);
    cr_expect(lt(int, 1000, accepted));
}

Test(table, find_gives_the_first_field_of_a_name)
{
    struct table_value value;
    table_put_integer(&table, "a", 1);
    table_put_integer(&table, "b", 2);
    table_put_integer(&table, "b", 3);
    cr_assert(table_find(buffer_bytes(&table), "b", &value));
    cr_expect(eq(i64, table_value_integer(&value), 2));
    cr_expect(not(table_find(buffer_bytes(&table), "c", &value)));
    cr_expect(not(table_find(buffer_bytes(&table), "", &value)));
}

Test(table, builders_write_what_brokers_write)
{
    static const uint8_t expected[] = {1,   's', 'S',  0,    0,    0,    2,    'o',  'k',  1,
                                       'n', 'l', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE,
                                       1,   'y', 't',  1,    1,    'z',  't',  0,    1,    'f',
                                       'F', 0,   0,    0,    3,    1,    'a',  'V'};
    table_put_text(&table, "s", bytes_of("ok"));
    table_put_integer(&table, "n", -2);
    table_put_boolean(&table, "y", true);
    table_put_boolean(&table, "z", false);
    table_put_table(&table, "f",
                    bytes_make("\x01"
                               "aV",
                               3));
    cr_expect(bytes_equal(buffer_bytes(&table), bytes_make(expected, sizeof(expected))));
    cr_expect(eq(int, validate(buffer_bytes(&table), TABLE_FIELDS_MAX), STATUS_OK));
}

/* Clients in typed languages fail when an `I` comes back as an `l`. */
Test(table, a_copied_value_keeps_its_letter_and_its_octets)
{
    struct bytes body = rich_table();
    struct byte_reader reader = byte_reader_make(body);
    struct bytes name;
    struct table_value value;
    while (table_next(&reader, &name, &value)) {
        table_put_value(&other, name, &value);
    }
    cr_expect(bytes_equal(buffer_bytes(&other), body));
}

Test(table, a_copy_without_a_name_lacks_all_fields_of_it_and_no_other)
{
    table_put_integer(&table, "BCC", 1);
    table_put_integer(&table, "a", 2);
    table_put_integer(&table, "BCC", 3);
    table_put_integer(&table, "bcc", 4);
    table_copy_without(&other, buffer_bytes(&table), "BCC");
    struct table_value value;
    cr_expect(not(table_find(buffer_bytes(&other), "BCC", &value)));
    cr_expect(table_find(buffer_bytes(&other), "a", &value));
    cr_expect(table_find(buffer_bytes(&other), "bcc", &value));
    cr_expect(eq(sz, buffer_size(&other), 24));
}

Test(table, arrays_are_walked_item_by_item)
{
    struct byte_reader reader = byte_reader_make(bytes_make("VI\0\0\0\x07S\0\0\0\x01x", 12));
    struct table_value value;
    cr_assert(table_array_next(&reader, &value));
    cr_expect(eq(u8, value.type, 'V'));
    cr_assert(table_array_next(&reader, &value));
    cr_expect(eq(i64, table_value_integer(&value), 7));
    cr_assert(table_array_next(&reader, &value));
    cr_expect(bytes_equal_text(value.raw, "x"));
    cr_expect(not(table_array_next(&reader, &value)));
}

#define VALUE(letter, octets)                                                                      \
    {                                                                                              \
        (letter),                                                                                  \
        {                                                                                          \
            (const uint8_t *)(octets), sizeof(octets) - 1                                          \
        }                                                                                          \
    }

static const struct {
    struct table_value a;
    struct table_value b;
    bool are_equal;
} equal_rows[] = {
    {VALUE('B', "\x05"), VALUE('l', "\0\0\0\0\0\0\0\x05"), true},
    {VALUE('b', "\xFF"), VALUE('l', "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), true},
    {VALUE('b', "\xFF"), VALUE('B', "\xFF"), false},
    {VALUE('I', "\0\0\0\x05"), VALUE('i', "\0\0\0\x06"), false},
    {VALUE('B', "\x01"), VALUE('t', "\x01"), false},
    {VALUE('t', "\x01"), VALUE('t', "\x02"), true},
    {VALUE('t', "\x01"), VALUE('t', "\0"), false},
    {VALUE('B', "\x05"), VALUE('d', "\x40\x14\0\0\0\0\0\0"), false},
    {VALUE('f', "\x3F\xC0\0\0"), VALUE('d', "\x3F\xF8\0\0\0\0\0\0"), true},
    {VALUE('f', "\x7F\xC0\0\0"), VALUE('f', "\x7F\xC0\0\0"), true}, /* a NaN sent twice */
    {VALUE('T', "\0\0\0\0\0\0\0\x05"), VALUE('l', "\0\0\0\0\0\0\0\x05"), false},
    {VALUE('S', "abc"), VALUE('S', "abc"), true},
    {VALUE('S', "abc"), VALUE('S', "abd"), false},
    {VALUE('S', "abc"), VALUE('x', "abc"), false},
    {VALUE('V', ""), VALUE('V', ""), true},
    {VALUE('D', "\x01\0\0\0\x05"), VALUE('D', "\x01\0\0\0\x05"), true},
    {VALUE('A', "VB\x05"), VALUE('A', "Vb\x05"), true},
    {VALUE('A', "VB\x05"), VALUE('A', "B\x05V"), false}, /* arrays have an order */
    {VALUE('A', "V"), VALUE('A', "VV"), false},
    {VALUE('A', ""), VALUE('F', ""), false},
    {VALUE('A', "V"), VALUE('V', ""), false},
    {VALUE('F', "\1aV\1bB\5"), VALUE('F', "\1bb\5\1aV"), true},
    {VALUE('F', "\1aV\1bB\5"), VALUE('F', "\1bb\6\1aV"), false},
    {VALUE('F', "\1aV"), VALUE('F', "\1aV\1bV"), false},
    {VALUE('F', "\1aV\1aV"), VALUE('F', "\1aV\1bV"), false},
    {VALUE('F', "\1aB\1\1aB\2"), VALUE('F', "\1ab\1\1ab\2"), true},
    {VALUE('F', "\1aB\1\1aB\2"), VALUE('F', "\1aB\2\1aB\1"), false},
    {VALUE('F', "\1aF\0\0\0\6\1bV\1cV"), VALUE('F', "\1aF\0\0\0\6\1cV\1bV"), true},
    {VALUE('F', "\1aA\0\0\0\2B\1\1bV"), VALUE('F', "\1bV\1aA\0\0\0\2b\1"), true},
    {VALUE('F', "\1aA\0\0\0\2B\1\1bV"), VALUE('F', "\1bV\1aA\0\0\0\2b\2"), false},
};

/* RabbitMQ's rule for redeclaring: 5 as a byte and 5 as a long are the same argument. */
Test(table, values_are_equal_by_class_and_value)
{
    for (size_t i = 0; i < ARRAY_LEN(equal_rows); i++) {
        cr_expect(
            eq(int, table_value_equal(&equal_rows[i].a, &equal_rows[i].b), equal_rows[i].are_equal),
            "row %zu", i);
        cr_expect(
            eq(int, table_value_equal(&equal_rows[i].b, &equal_rows[i].a), equal_rows[i].are_equal),
            "row %zu, the other way round", i);
    }
}

enum { OTHERS = 20, MANY = 4000 };

static void
put_all(struct buffer *out, const struct table_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        table_put_value(out, bytes_of("k"), &values[i]);
    }
}

/* Fields named k behind others, or before the same others in another order. */
static struct bytes
among_others(struct buffer *out, const struct table_value *values, size_t count, bool is_behind)
{
    char name[8];
    buffer_clear(out);
    if (!is_behind) {
        put_all(out, values, count);
    }
    for (int i = 0; i < OTHERS; i++) {
        int number = is_behind ? i : OTHERS - 1 - i;
        (void)snprintf(name, sizeof(name), "k%d", number);
        table_put_integer(out, name, number);
    }
    if (is_behind) {
        put_all(out, values, count);
    }
    return buffer_bytes(out);
}

/* Large tables are compared in another way, and as small ones where there is no memory for it. */
Test(table, tables_of_many_fields_are_equal_as_their_values_are)
{
    for (size_t row = 0; row < ARRAY_LEN(equal_rows); row++) {
        struct bytes behind = among_others(&table, &equal_rows[row].a, 1, true);
        struct bytes before = among_others(&other, &equal_rows[row].b, 1, false);
        for (uint32_t fault_at = 0; fault_at <= 1; fault_at++) {
            alloc_faults_plan(fault_at);
            cr_expect(eq(int, table_equal(behind, before), equal_rows[row].are_equal),
                      "row %zu, fault %u", row, fault_at);
        }
    }
}

/* Where the two stand among the others does not matter. */
Test(table, of_two_fields_of_one_name_the_first_answers_to_the_first)
{
    static const struct table_value rising[] = {VALUE('B', "\1"), VALUE('B', "\2")};
    static const struct table_value falling[] = {VALUE('B', "\2"), VALUE('B', "\1")};
    struct bytes behind = among_others(&table, rising, 2, true);
    for (uint32_t fault_at = 0; fault_at <= 1; fault_at++) {
        alloc_faults_plan(fault_at);
        cr_expect(table_equal(behind, among_others(&other, rising, 2, false)));
        alloc_faults_plan(fault_at);
        cr_expect(not(table_equal(behind, among_others(&other, falling, 2, false))));
    }
}

static struct bytes
many_fields(struct buffer *out, uint32_t step)
{
    char name[8];
    buffer_clear(out);
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "k%u", i * step % MANY);
        table_put_boolean(out, name, true);
    }
    return buffer_bytes(out);
}

/* Both sides may come from a peer, the one in a message and the other in each of many bindings.
 * Only a square of the fields' number misses the time limit. */
Test(table, order_of_many_fields_costs_little, .timeout = 20)
{
    struct bytes in_order = many_fields(&table, 1);
    struct bytes in_none = many_fields(&other, 2777);
    for (int i = 0; i < 300; i++) {
        cr_assert(table_equal(in_order, in_none));
    }
}

/* The deepest that validation lets in. A field more, in another place, keeps the two from being
 * equal as octets at every level, so that the whole way down is walked. */
static struct bytes
deep_table(struct buffer *out, uint8_t innermost, bool extra_first)
{
    struct buffer body = {0};
    buffer_clear(out);
    put_field(out, "k", 'B', &innermost, 1);
    for (size_t level = TABLE_DEPTH_MAX; level > 1; level--) {
        buffer_clear(&body);
        if (extra_first) {
            put_field(&body, "extra", 'V', NULL, 0);
        }
        table_put_table(&body, "k", buffer_bytes(out));
        if (!extra_first) {
            put_field(&body, "extra", 'V', NULL, 0);
        }
        buffer_clear(out);
        buffer_put_bytes(out, buffer_bytes(&body));
    }
    buffer_fini(&body);
    return buffer_bytes(out);
}

Test(table, comparison_reaches_as_deep_as_validation)
{
    struct bytes deep = deep_table(&table, 5, true);
    cr_assert(eq(int, validate(deep, TABLE_FIELDS_MAX), STATUS_OK));
    cr_expect(table_equal(deep, deep_table(&other, 5, false)));
    cr_expect(not(table_equal(deep, deep_table(&other, 6, false))));
}

Test(table, texts_are_cut_to_fit_and_stay_utf8)
{
    static const struct {
        struct table_value value;
        size_t out_size;
        const char *text;
    } rows[] = {
        {VALUE('S', "orders"), 7, "orders"},
        {VALUE('S', "orders"), 4, "ord"},
        {VALUE('S', "orders"), 1, ""},
        {VALUE('S', "\xC3\xA4\xC3\xA4"), 4, "\xC3\xA4"},
        {VALUE('S', "a\xFF\xC3"), 9, "a??"},
        {VALUE('S', ""), 9, ""},
        {VALUE('I', "\0\0\x30\x39"), 4, "123"},
        {VALUE('D', "\0\0\0\0\x05"), 9, "5"},
        {VALUE('D', "\x03\xFF\xFF\xFF\xFB"), 9, "-5e-3"},
        {VALUE('t', "\0"), 9, "false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *out = malloc(rows[i].out_size);
        cr_expect(eq(str, (char *)table_value_text(&rows[i].value, out, rows[i].out_size),
                     (char *)rows[i].text),
                  "row %zu", i);
        free(out);
    }
}
