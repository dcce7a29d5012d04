/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out and in. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "amqp/table.h"
#include "management/json/base64.h"
#include "management/json/json_reader.h"
#include "management/json/json_writer.h"
#include "management/views/list_page.h"
#include "management/views/properties_json.h"
#include "tests/support/alloc_faults.h"

static struct json_writer json;

static const char *
written(void)
{
    buffer_put_u8(&json.out, 0);
    cr_assert(not(json.out.failed));
    return (const char *)buffer_bytes(&json.out).data;
}

static void
set_up(void)
{
    json_init(&json);
}

static void
tear_down(void)
{
    json_fini(&json);
}

TestSuite(json, .init = set_up, .fini = tear_down);

Test(json, commas_stand_where_they_belong)
{
    json_begin_object(&json);
    json_put_number(&json, "a", -1);
    json_key(&json, "b");
    json_begin_array(&json);
    json_bool(&json, true);
    json_begin_object(&json);
    json_end_object(&json);
    json_fraction(&json, 0.5);
    json_end_array(&json);
    json_put_null(&json, "c");
    json_end_object(&json);
    cr_expect(eq(str, (char *)written(), "{\"a\":-1,\"b\":[true,{},0.50],\"c\":null}"));
}

Test(json, words_of_a_text_become_a_list)
{
    json_begin_object(&json);
    json_put_words(&json, "some", bytes_of("a, b,,c"));
    json_put_words(&json, "none", bytes_of(""));
    json_end_object(&json);
    cr_expect(eq(str, (char *)written(), "{\"some\":[\"a\",\"b\",\"c\"],\"none\":[]}"));
}

/* Whatever a peer put into a name: what goes out is JSON, and UTF-8. */
Test(json, text_is_escaped_and_made_valid)
{
    static const char text[] = "a\"\\\n\x01\x7f<\xc3\xa9\xff\xc3";
    json_text(&json, bytes_make(text, sizeof(text) - 1));
    cr_expect(eq(str, (char *)written(),
                 "\"a\\\"\\\\\\u000a\\u0001\\u007f<\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\""));
}

/* U+009B begins a command to a terminal, and JSON lets it stand. */
Test(json, what_steers_a_terminal_is_escaped)
{
    json_text(&json, bytes_of("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"));
    cr_expect(eq(str, (char *)written(), "\"\\u0080\\u009b\\u009f\xc2\xa0\""));
}

static void
put_true(struct buffer *table, struct bytes name)
{
    buffer_put_shortstr(table, name);
    buffer_put_u8(table, 't');
    buffer_put_u8(table, 1);
}

/* Any octets are the name of a field in AMQP; readers of JSON take no octet 0 in that of a member,
 * and would take nothing of the whole answer for it. */
Test(json, a_name_of_a_field_with_an_octet_0_can_be_read)
{
    char why[JSON_WHY_SIZE] = "";
    struct buffer table;
    buffer_init(&table);
    put_true(&table, bytes_make("\0a\0b", 4));
    json_table(&json, buffer_bytes(&table));
    buffer_fini(&table);
    json_t *object = json_read(buffer_bytes(&json.out), why);
    cr_assert(ne(ptr, object, NULL), "%s", why);
    cr_expect(eq(ptr, json_object_get(object, "\\x00a\\x00b"), json_true()));
    json_decref(object);
}

Test(json, of_fields_of_one_name_the_first_is_written)
{
    struct buffer table;
    buffer_init(&table);
    put_true(&table, bytes_of("a"));
    buffer_put_shortstr(&table, bytes_of("a"));
    buffer_put_u8(&table, 'V');
    put_true(&table, bytes_of("\\xff"));
    put_true(&table, bytes_of("\xff"));
    put_true(&table, bytes_of(""));
    put_true(&table, bytes_of(""));
    json_table(&json, buffer_bytes(&table));
    buffer_fini(&table);
    cr_expect(eq(str, (char *)written(), "{\"a\":true,\"\\\\xff\":true,\"\":true}"));
}

/* A peer chooses how many there are, and what they are called. */
Test(json, of_very_many_fields_each_name_is_written_once)
{
    enum { FIELDS = 4000, NAMES = 1500 };
    char why[JSON_WHY_SIZE] = "";
    struct buffer inner;
    struct buffer table;
    buffer_init(&inner);
    buffer_init(&table);
    for (uint32_t i = 0; i < FIELDS; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "n%u", i * 7 % NAMES);
        put_true(&inner, bytes_of(name));
    }
    for (uint32_t i = 0; i < 2; i++) {
        buffer_put_shortstr(&table, bytes_of(i == 0 ? "n0" : "other"));
        buffer_put_u8(&table, 'F');
        buffer_put_longstr(&table, buffer_bytes(&inner));
    }
    json_table(&json, buffer_bytes(&table));
    buffer_fini(&inner);
    buffer_fini(&table);
    json_t *object = json_read(buffer_bytes(&json.out), why);
    cr_assert(ne(ptr, object, NULL), "%s", why);
    cr_expect(eq(sz, json_object_size(json_object_get(object, "n0")), NAMES));
    cr_expect(eq(sz, json_object_size(json_object_get(object, "other")), NAMES));
    json_decref(object);
}

Test(json, without_memory_to_compare_names_there_is_no_answer)
{
    struct buffer table;
    buffer_init(&table);
    put_true(&table, bytes_of("a"));
    put_true(&table, bytes_of("a"));
    for (uint32_t nth = 1; nth <= 5; nth++) { /* of texts, names, marks and what is written */
        alloc_faults_plan(nth);
        json_table(&json, buffer_bytes(&table));
        bool has_failed = alloc_faults_left() == 0;
        alloc_faults_plan(0);
        cr_expect(eq(int, json.out.failed, has_failed), "%u", nth);
        cr_expect(eq(int, has_failed, nth <= 4), "%u", nth);
        json_fini(&json);
        json_init(&json);
    }
    buffer_fini(&table);
}

/* A file in which a name stands twice cannot be imported. */
Test(json, names_of_fields_that_differ_stay_different)
{
    char why[JSON_WHY_SIZE] = "";
    struct buffer table;
    buffer_init(&table);
    for (const char *name = "\xff\xfe"; *name != '\0'; name++) {
        put_true(&table, bytes_make(name, 1));
    }
    json_table(&json, buffer_bytes(&table));
    buffer_fini(&table);
    json_t *object = json_read(buffer_bytes(&json.out), why);
    cr_assert(ne(ptr, object, NULL), "%s", why);
    cr_expect(eq(ptr, json_object_get(object, "\\xff"), json_true()));
    cr_expect(eq(ptr, json_object_get(object, "\\xfe"), json_true()));
    json_decref(object);
}

Test(json, what_is_no_number_is_zero)
{
    json_begin_array(&json);
    json_fraction(&json, NAN);
    json_fraction(&json, INFINITY);
    json_end_array(&json);
    cr_expect(eq(str, (char *)written(), "[0.00,0.00]"));
}

Test(json, a_fraction_has_two_digits_rounded)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0.00"},
        {0.25, "0.25"},
        {1.006, "1.01"},
        {0.004, "0.00"},
        {-0.004, "0.00"},
        {-12.5, "-12.50"},
        {99.999, "100.00"},
        {123456789.1, "123456789.10"},
        {1e15, "1000000000000000.00"},
        {-1e18, "-1000000000000000000.00"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_fini(&json);
        json_init(&json);
        json_fraction(&json, rows[i].value);
        cr_expect(eq(str, (char *)written(), (char *)rows[i].text));
    }
}

Test(json, numbers_reach_from_end_to_end)
{
    json_begin_array(&json);
    json_number(&json, INT64_MIN);
    json_number(&json, -1);
    json_number(&json, INT64_MAX);
    json_unsigned(&json, UINT64_MAX);
    json_end_array(&json);
    cr_expect(eq(str, (char *)written(),
                 "[-9223372036854775808,-1,9223372036854775807,18446744073709551615]"));
}

/* A name from outside stands for a member as well. */
Test(json, keys_are_escaped)
{
    json_begin_object(&json);
    json_put_number(&json, "a\"b", 1);
    json_put_string(&json, "c", "");
    json_put_string(&json, "\n", "x\ty");
    json_end_object(&json);
    cr_expect(eq(str, (char *)written(), "{\"a\\\"b\":1,\"c\":\"\",\"\\u000a\":\"x\\u0009y\"}"));
}

/* What is read as a table and written again is the same. */
Test(json, a_table_goes_both_ways)
{
    static const char *const rows[] = {
        "{}",
        "{\"a\":1}",
        "{\"a\":\"text\",\"b\":true,\"c\":null,\"d\":[1,[\"x\",{\"y\":false}],{}]}",
        "{\"a\":-9223372036854775808,\"b\":{\"c\":{\"d\":[]}}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[JSON_WHY_SIZE] = "";
        struct buffer table;
        struct fault fault;
        buffer_init(&table);
        json_t *object = json_read(bytes_of(rows[i]), why);
        cr_assert(ne(ptr, object, NULL), "%s", why);
        cr_assert(json_read_table(object, &table, why), "%s", why);
        cr_assert(
            eq(int, table_validate(buffer_bytes(&table), TABLE_FIELDS_MAX, &fault), STATUS_OK));
        json_table(&json, buffer_bytes(&table));
        cr_expect(eq(str, (char *)written(), (char *)rows[i]));
        json_fini(&json);
        json_init(&json);
        json_decref(object);
        buffer_fini(&table);
    }
}

Test(json, what_is_wrong_is_told_with_its_place)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"{", "line 1, column 1"},
        {"{\"a\":1,\n\"a\":2}", "line 2, column 3: duplicate object key"},
        {"\"\xff\"", "unable to decode byte 0xff"},
        {"{\"a\":1} x", "end of file expected"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "octet 33"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[JSON_WHY_SIZE] = "";
        cr_expect(eq(ptr, json_read(bytes_of(rows[i].text), why), NULL), "%s", rows[i].text);
        cr_expect(ne(ptr, strstr(why, rows[i].why), NULL), "%s: %s", rows[i].text, why);
    }
}

Test(json, brackets_in_texts_are_no_depth)
{
    char why[JSON_WHY_SIZE];
    json_t *array = json_read(bytes_of("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]"), why);
    cr_expect(ne(ptr, array, NULL));
    json_decref(array);
}

Test(json, members_are_read_by_type)
{
    char why[JSON_WHY_SIZE] = "";
    json_t *object = json_read(bytes_of("{\"n\":\"12\",\"t\":\"true\",\"x\":[],\"big\":9}"), why);
    int64_t number = 0;
    bool flag = false;
    struct bytes text = bytes_of("kept");
    cr_expect(json_read_integer(object, "n", 0, 20, &number, why));
    cr_expect(eq(i64, number, 12));
    cr_expect(json_read_bool(object, "t", &flag, why));
    cr_expect(flag);
    cr_expect(json_read_text(object, "absent", &text, why));
    cr_expect(bytes_equal_text(text, "kept"));
    cr_expect(not(json_read_text(object, "x", &text, why)));
    cr_expect(eq(str, why, "\"x\" takes a text, not an array"));
    cr_expect(not(json_read_integer(object, "big", 0, 8, &number, why)));
    cr_expect(eq(str, why, "\"big\" takes 0 to 8, not 9"));
    json_decref(object);
}

Test(json, columns_choose_members_at_any_depth)
{
    static const char object[] =
        "{\"a\":1,\"b\":{\"c\":\"x,}\\\"\",\"d\":{\"e\":2,\"f\":[1,{\"g\":3}]}},\"ab\":4}";
    static const struct {
        const char *columns, *part;
    } rows[] = {
        {"a", "{\"a\":1}"},
        {"b.d.e,ab", "{\"b\":{\"d\":{\"e\":2}},\"ab\":4}"},
        {"b.c", "{\"b\":{\"c\":\"x,}\\\"\"}}"},
        {"b", "{\"b\":{\"c\":\"x,}\\\"\",\"d\":{\"e\":2,\"f\":[1,{\"g\":3}]}}}"},
        {"nothing", "{}"},
        {"", "{}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_writer whole;
        json_init(&whole);
        buffer_put_bytes(&whole.out, bytes_of(object));
        columns_copy(&json, &whole, rows[i].columns);
        json_fini(&whole);
        cr_expect(eq(str, (char *)written(), (char *)rows[i].part));
        json_fini(&json);
        json_init(&json);
    }
}

/* A part of what could only be written in part is no answer. */
Test(json, columns_of_an_object_that_found_no_memory_fail)
{
    struct json_writer whole;
    json_init(&whole);
    json_begin_object(&whole);
    json_put_string(&whole, "name", "a");
    whole.out.failed = true;
    columns_copy(&json, &whole, "name");
    cr_expect(json.out.failed);
    json_fini(&whole);
}

/* The same where there was no memory for a single octet. */
Test(json, columns_of_nothing_fail)
{
    struct json_writer whole;
    json_init(&whole);
    alloc_faults_plan(1);
    json_begin_object(&whole);
    columns_copy(&json, &whole, "name");
    cr_expect(json.out.failed);
    json_fini(&whole);
}

/* RFC 4648, 10 */
Test(json, base64_goes_both_ways)
{
    static const struct {
        const char *plain, *text;
    } rows[] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer out;
        buffer_init(&out);
        base64_put(&out, bytes_of(rows[i].plain));
        cr_expect(bytes_equal_text(buffer_bytes(&out), rows[i].text), "%s", rows[i].plain);
        buffer_clear(&out);
        cr_expect(base64_read(&out, bytes_of(rows[i].text)));
        cr_expect(bytes_equal_text(buffer_bytes(&out), rows[i].plain), "%s", rows[i].text);
        buffer_fini(&out);
    }
    struct buffer out;
    buffer_init(&out);
    cr_expect(not(base64_read(&out, bytes_of("Z"))));
    cr_expect(not(base64_read(&out, bytes_of("Zg=g"))));
    cr_expect(not(base64_read(&out, bytes_of("Z g="))));
    buffer_fini(&out);
}

Test(json, properties_go_both_ways)
{
    static const char text[] = "{\"content_type\":\"text/plain\",\"message_id\":\"7\","
                               "\"delivery_mode\":2,\"priority\":9,\"timestamp\":1700000000,"
                               "\"headers\":{\"a\":[1]}}";
    char why[JSON_WHY_SIZE] = "";
    struct buffer block;
    buffer_init(&block);
    json_t *object = json_read(bytes_of(text), why);
    cr_assert(properties_read(object, &block, why), "%s", why);
    properties_write(&json, buffer_bytes(&block));
    cr_expect(eq(str, (char *)written(), (char *)text));
    json_decref(object);
    buffer_fini(&block);
}

Test(json, properties_that_cannot_be_are_refused)
{
    static const char *const rows[] = {
        "{\"delivery_mode\":3}", "{\"priority\":256}", "{\"headers\":5}",
        "{\"message_id\":5}",    "{\"timestamp\":-1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char why[JSON_WHY_SIZE] = "";
        struct buffer block;
        buffer_init(&block);
        json_t *object = json_read(bytes_of(rows[i]), why);
        cr_expect(not(properties_read(object, &block, why)), "%s", rows[i]);
        cr_expect(ne(sz, strlen(why), 0));
        json_decref(object);
        buffer_fini(&block);
    }
}
