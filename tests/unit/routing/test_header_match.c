/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/header_match.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

TestSuite(header_match);

/* A table in one line: names and values, a value being a letter and a number or text. */
struct field {
    const char *name;
    char type;
    const char *text;
    int64_t number;
};

static void
put(struct buffer *table, const struct field *field)
{
    uint8_t octets[8];
    struct table_value value = {.type = (uint8_t)field->type, .raw = bytes_make(octets, 0)};
    switch (field->type) {
    case 'S':
        value.raw = bytes_of(field->text);
        break;
    case 'I':
        put_u32(octets, (uint32_t)field->number);
        value.raw.size = 4;
        break;
    case 'l':
        put_u64(octets, (uint64_t)field->number);
        value.raw.size = 8;
        break;
    case 'd': {
        double number = (double)field->number;
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        put_u64(octets, bits);
        value.raw.size = 8;
        break;
    }
    case 't':
        octets[0] = field->number != 0;
        value.raw.size = 1;
        break;
    default:
        cr_assert(field->type == 'V');
        break;
    }
    table_put_value(table, bytes_of(field->name), &value);
}

static struct buffer
table_of(const struct field *fields, size_t count)
{
    struct buffer table;
    buffer_init(&table);
    for (size_t i = 0; i < count && fields[i].name != NULL; i++) {
        put(&table, &fields[i]);
    }
    return table;
}

static bool
matches(const struct field *arguments, const struct field *headers)
{
    struct buffer argument_table = table_of(arguments, 6);
    struct buffer header_table = table_of(headers, 6);
    struct header_match match;
    struct header_index index;
    struct fault fault;
    cr_assert(eq(int, header_match_check(buffer_bytes(&argument_table), &fault), STATUS_OK));
    header_match_init(&match, buffer_bytes(&argument_table), 3);
    header_index_init(&index, 3);
    header_index_read(&index, buffer_bytes(&header_table));
    bool matched = header_match_matches(&match, &index);
    header_index_fini(&index);
    header_match_fini(&match);
    buffer_fini(&argument_table);
    buffer_fini(&header_table);
    return matched;
}

/* The rules of the headers exchange as RabbitMQ has them. */
Test(header_match, arguments_match_headers_by_the_rules)
{
    static const struct {
        struct field arguments[6];
        struct field headers[6];
        bool matches;
    } rows[] = {
        /* all: the default, and with nothing to ask for */
        {{{0}}, {{0}}, true},
        {{{0}}, {{"a", 'S', "1", 0}}, true},
        {{{"a", 'S', "1", 0}}, {{"a", 'S', "1", 0}}, true},
        {{{"a", 'S', "1", 0}}, {{"a", 'S', "2", 0}}, false},
        {{{"a", 'S', "1", 0}}, {{0}}, false},
        {{{"a", 'S', "1", 0}, {"b", 'S', "2", 0}}, {{"b", 'S', "2", 0}, {"a", 'S', "1", 0}}, true},
        {{{"a", 'S', "1", 0}, {"b", 'S', "2", 0}}, {{"a", 'S', "1", 0}}, false},
        {{{"x-match", 'S', "all", 0}, {"a", 'S', "1", 0}}, {{"a", 'S', "1", 0}}, true},
        /* any */
        {{{"x-match", 'S', "any", 0}}, {{"a", 'S', "1", 0}}, false},
        {{{"x-match", 'S', "any", 0}}, {{0}}, false},
        {{{"x-match", 'S', "any", 0}, {"a", 'S', "1", 0}, {"b", 'S', "2", 0}},
         {{"b", 'S', "2", 0}},
         true},
        {{{"x-match", 'S', "any", 0}, {"a", 'S', "1", 0}}, {{"a", 'S', "2", 0}}, false},
        /* names that start with x- */
        {{{"x-a", 'S', "1", 0}}, {{0}}, true},
        {{{"x-match", 'S', "any", 0}, {"x-a", 'S', "1", 0}}, {{"x-a", 'S', "1", 0}}, false},
        {{{"x-match", 'S', "all-with-x", 0}, {"x-a", 'S', "1", 0}}, {{0}}, false},
        {{{"x-match", 'S', "all-with-x", 0}, {"x-a", 'S', "1", 0}}, {{"x-a", 'S', "1", 0}}, true},
        {{{"x-match", 'S', "any-with-x", 0}, {"x-a", 'S', "1", 0}}, {{"x-a", 'S', "1", 0}}, true},
        {{{"x-match", 'S', "any-with-x", 0}}, {{"x-match", 'S', "any-with-x", 0}}, false},
        /* a void asks for presence */
        {{{"a", 'V', NULL, 0}}, {{"a", 'I', NULL, 7}}, true},
        {{{"a", 'V', NULL, 0}}, {{"a", 'V', NULL, 0}}, true},
        {{{"a", 'V', NULL, 0}}, {{"b", 'I', NULL, 7}}, false},
        {{{"a", 'I', NULL, 7}}, {{"a", 'V', NULL, 0}}, false},
        /* integers by value, whatever their width; not floats */
        {{{"a", 'I', NULL, -5}}, {{"a", 'l', NULL, -5}}, true},
        {{{"a", 'I', NULL, 5}}, {{"a", 'd', NULL, 5}}, false},
        {{{"a", 'I', NULL, 5}}, {{"a", 'S', "5", 0}}, false},
        {{{"a", 't', NULL, 1}}, {{"a", 't', NULL, 1}}, true},
        {{{"a", 't', NULL, 1}}, {{"a", 't', NULL, 0}}, false},
        /* of two headers with one name the first counts */
        {{{"a", 'S', "1", 0}}, {{"a", 'S', "1", 0}, {"a", 'S', "2", 0}}, true},
        {{{"a", 'S', "2", 0}}, {{"a", 'S', "1", 0}, {"a", 'S', "2", 0}}, false},
        /* names are compared as they are */
        {{{"a", 'S', "1", 0}}, {{"A", 'S', "1", 0}}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, matches(rows[i].arguments, rows[i].headers), rows[i].matches), "row %zu",
                  i);
    }
}

Test(header_match, an_x_match_that_means_nothing_is_refused)
{
    static const struct {
        struct field argument;
        const char *text;
    } rows[] = {
        {{"x-match", 'S', "some", 0},
         "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"},
        {{"x-match", 'S', "", 0},
         "Invalid x-match field value <<\"\">>; expected all, any, all-with-x, or any-with-x"},
        {{"x-match", 'I', NULL, 3},
         "Invalid x-match field type signedint (value 3); expected longstr"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer table = table_of(&rows[i].argument, 1);
        struct fault fault;
        cr_assert(eq(int, header_match_check(buffer_bytes(&table), &fault), STATUS_FAULT));
        cr_expect(eq(u16, fault.reply_code, 406));
        cr_expect(eq(int, fault.scope, FAULT_CHANNEL));
        cr_expect(eq(str, fault.text, (char *)rows[i].text));
        buffer_fini(&table);
    }
}

/* Many headers, then few: the index is used again from message to message. */
Test(header_match, an_index_forgets_the_message_before)
{
    struct header_index index;
    header_index_init(&index, 1);
    struct buffer many;
    buffer_init(&many);
    char name[16];
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "name%u", i);
        table_put_integer(&many, name, i);
    }
    struct buffer one;
    buffer_init(&one);
    table_put_integer(&one, "name77", 77);
    struct header_match match;
    header_match_init(&match, buffer_bytes(&one), 1);

    header_index_read(&index, buffer_bytes(&many));
    cr_expect(header_match_matches(&match, &index));
    header_index_read(&index, bytes_make(NULL, 0));
    cr_expect(not(header_match_matches(&match, &index)));
    header_index_read(&index, buffer_bytes(&one));
    cr_expect(header_match_matches(&match, &index));

    header_match_fini(&match);
    header_index_fini(&index);
    buffer_fini(&many);
    buffer_fini(&one);
}
