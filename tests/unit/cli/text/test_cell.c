/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text: nothing that a peer chose steers a terminal. */
#include "cli/text/cell.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static char *
text_of(const char *json, enum cell_kind kind, bool is_raw)
{
    struct buffer out;
    json_t *value = json == NULL ? NULL : json_loads(json, JSON_DECODE_ANY, NULL);
    buffer_init(&out);
    if (is_raw) {
        cell_put_raw(&out, value);
    } else {
        cell_put(&out, value, kind);
    }
    buffer_put_u8(&out, '\0');
    json_decref(value);
    return (char *)out.data;
}

Test(cell, values_read_as_people_write_them)
{
    static const struct {
        const char *json;
        enum cell_kind kind;
        const char *text;
    } rows[] = {
        {"\"orders\"", CELL_TEXT, "orders"},
        {"12", CELL_NUMBER, "12"},
        {"12408000", CELL_NUMBER, "12408000"},
        {"true", CELL_TEXT, "yes"},
        {"512", CELL_SIZE, "512 B"},
        {"1610612736", CELL_SIZE, "1.5 GiB"},
        {"12.5", CELL_RATE, "12.5/s"},
        {"250", CELL_AGE, "250ms"},
        {"200000", CELL_AGE, "3m 20s"},
        {"90000000", CELL_AGE, "1d 1h"},
        {"1000", CELL_WHEN, "1970-01-01T00:00:01Z"},
        {"{\"b\":1,\"a\":\"x\"}", CELL_JSON, "{\"a\":\"x\",\"b\":1}"},
        {"{}", CELL_JSON, "-"},
        {"\"\"", CELL_TEXT, "-"},
        {NULL, CELL_NUMBER, "-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = text_of(rows[i].json, rows[i].kind, false);
        cr_expect(eq(str, text, (char *)rows[i].text));
        free(text);
    }
}

Test(cell, what_would_steer_a_terminal_is_shown_as_what_it_is)
{
    static const char *const rows[][2] = {
        {"\"a\\u001b[31mred\"", "a\\x1b[31mred"},
        {"\"line\\nline\\t\"", "line\\nline\\t"},
        {"\"\\u009b31m\"", "\\u{9b}31m"},
        {"\"\\u202egnp.exe\"", "\\u{202e}gnp.exe"},
        {"\"\\u007f\"", "\\x7f"},
        {"\"gr\\u00fc\\u00dfe\"", "gr\xc3\xbc\xc3\x9f"
                                  "e"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *shown = text_of(rows[i][0], CELL_TEXT, false);
        char *raw = text_of(rows[i][0], CELL_TEXT, true);
        cr_expect(eq(str, shown, (char *)rows[i][1]));
        cr_expect(eq(str, raw, (char *)rows[i][1]));
        free(shown);
        free(raw);
    }
}

Test(cell, a_path_leads_through_members)
{
    json_t *object = json_loads("{\"a\":{\"b\":{\"c\":7}},\"a.b\":1}", 0, NULL);
    cr_expect(eq(i64, json_integer_value(cell_value(object, "a.b.c")), 7));
    cr_expect(eq(ptr, (void *)(uintptr_t)cell_value(object, "a.x.c"), NULL));
    cr_expect(eq(ptr, (void *)(uintptr_t)cell_value(NULL, "a"), NULL));
    json_decref(object);
}
