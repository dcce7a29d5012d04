/* SPDX-License-Identifier: Apache-2.0 */
/* What a YAML file may not contain, and how little is done before it is refused. */
#include "config/yaml_tree.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>

#include "base/assert.h"
#include "base/buffer.h"

static struct config *
new_config(void)
{
    struct config *config = xalloc(sizeof(*config));
    arena_init(&config->arena);
    return config;
}

static const char *
first_text(const struct config *config, char out[static 512])
{
    if (config->report.count == 0) {
        return "";
    }
    return config_diagnostic_text(&config->report.items[0], out, 512);
}

Test(yaml_tree, keys_values_and_places_are_kept)
{
    struct config *config = new_config();
    const struct node *root =
        yaml_tree_parse(config, "f", bytes_of("a: 1\n\"b\": [x, 'y']\n"), NULL);
    cr_assert(ne(ptr, (void *)root, NULL));
    const struct node *b = node_find(root, bytes_of("b"));
    cr_assert(ne(ptr, (void *)b, NULL));
    cr_expect(eq(int, b->kind, NODE_SEQUENCE));
    cr_expect(eq(sz, b->count, 2));
    cr_expect(eq(u32, b->key_mark.line, 2));
    cr_expect(eq(u32, b->last->mark.column, 10));
    cr_expect(b->first->is_plain);
    cr_expect(not(b->last->is_plain));
    config_free(&config);
}

Test(yaml_tree, what_is_dangerous_or_surprising_is_an_error_with_its_place)
{
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        {"a: &x 1\n", "f:1:4: error: anchors (&name) are not supported"},
        {"a: *x\n", "f:1:4: error: aliases (*name) are not supported; write the value out"},
        {"a: [*x]\n", "f:1:5: error: aliases (*name) are not supported; write the value out"},
        {"*x : 1\n", "f:1:1: error: aliases (*name) are not supported"},
        {"a: !!str 1\n", "f:1:4: error: tags (!name) are not supported"},
        {"a: ! 1\n", "f:1:4: error: tags (!name) are not supported"},
        {"a: !x {}\n", "f:1:4: error: tags (!name) are not supported"},
        {"a: !x []\n", "f:1:4: error: tags (!name) are not supported"},
        {"b: {<<: {c: 1}}\n",
         "f:1:5: error: merge keys (<<) are not supported; write the keys out"},
        {"a: 1\nb: 2\na: 3\n", "f:3:1: error: \"a\" is given twice; the first is in line 1"},
        {"a: {b: 1, \"b\": 2}\n", "f:1:11: error: \"b\" is given twice; the first is in line 1"},
        {"[a]: 1\n", "f:1:1: error: a key must be text, not a list or a map"},
        {"? {a: 1}\n: 1\n", "f:1:3: error: a key must be text, not a list or a map"},
        {"a: 1\n---\nb: 2\n", "f:2:1: error: a second document; a file holds one"},
        {"%TAG ! tag:x,2000:\n---\na: 1\n",
         "f:1:1: error: YAML directives (lines that start with %) are not supported"},
        {"a: \"x\\0y\"\n", "f:1:4: error: a text may not contain a NUL character"},
        {"\"\\0\": 1\n", "f:1:1: error: a text may not contain a NUL character"},
        {"", "f:1:1: error: the file is empty; it starts with \"bourse: 1\""},
        {"# only a comment\n", "f:1:1: error: the file is empty; it starts with \"bourse: 1\""},
        {"a: \xff\n", "f:1:4: error: not UTF-8; the file must be text"},
        {"\xc3\xa4: \xc3\n", "f:1:4: error: not UTF-8; the file must be text"},
        {"a: \x01\n", "f:1:4: error: not valid YAML: control characters are not allowed"},
        {"a: [1\nb: 2\n", "f:2:2: error: not valid YAML: did not find expected ',' or ']' (while "
                          "parsing a flow sequence, line 1)"},
        {"a: \"b\n",
         "f:2:1: error: not valid YAML: found unexpected end of stream (while scanning a quoted "
         "scalar, line 1)"},
        {"a:\n\t- b\n",
         "f:2:1: error: not valid YAML: found character that cannot start any token (while "
         "scanning for the next token, line 2); YAML is indented with blanks, not with tabs"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = new_config();
        char line[512];
        yaml_tree_parse(config, "f", bytes_of(rows[i].text), NULL);
        cr_expect(eq(str, (char *)first_text(config, line), (char *)rows[i].error));
        config_free(&config);
    }
}

Test(yaml_tree, a_nul_octet_in_the_file_is_an_error)
{
    static const char text[] = "a: 1\nb: \0\n";
    struct config *config = new_config();
    char line[512];
    yaml_tree_parse(config, "f", bytes_make(text, sizeof(text) - 1), NULL);
    cr_expect(eq(str, (char *)first_text(config, line),
                 "f:2:4: error: a NUL octet; the file must be text in UTF-8"));
    config_free(&config);
}

/* A document that errs in a key or value is read on, so that one run shows every error. */
Test(yaml_tree, refused_values_do_not_end_the_reading)
{
    struct config *config = new_config();
    const struct node *root =
        yaml_tree_parse(config, "f", bytes_of("a: *x\nb: &y 1\nb: 2\nc: !!int 3\nd: 4\n"), NULL);
    cr_assert(ne(ptr, (void *)root, NULL));
    cr_expect(eq(sz, config->report.error_count, 4));
    cr_expect(eq(int, node_find(root, bytes_of("a"))->kind, NODE_BROKEN));
    cr_expect(ne(ptr, (void *)node_find(root, bytes_of("d")), NULL));
    config_free(&config);
}

static struct bytes
repeated(struct buffer *out, const char *head, const char *text, size_t count)
{
    buffer_init(out);
    buffer_put(out, head, strlen(head));
    for (size_t i = 0; i < count; i++) {
        buffer_put(out, text, strlen(text));
    }
    return buffer_bytes(out);
}

/* libyaml's work per token grows with the open brackets: without an end at 33 events, 100,000 of
 * them took 20 seconds. Counted in events, since time is not to be trusted in a test. */
Test(yaml_tree, bombs_end_after_few_events)
{
    static const struct {
        const char *head;
        const char *text;
        size_t count;
        size_t events_max;
        const char *error;
    } rows[] = {
        {"", "[", 100000, 40, "f:1:33: error: nested more than 32 levels deep"},
        {"", "{a: ", 100000, 80, "f:1:129: error: nested more than 32 levels deep"},
        {"", "- ", 100000, 40, "f:1:65: error: nested more than 32 levels deep"},
        {"", "? ", 100000, 40, "f:1:3: error: a key must be text, not a list or a map"},
        {"", "%TAG !a! tag:b\n", 60000, 0,
         "f:1:1: error: YAML directives (lines that start with %) are not supported"},
        {"#\r", "%TAG !a! tag:b\r", 1000, 0,
         "f:2:1: error: YAML directives (lines that start with %) are not supported"},
        {"#\xc2\x85", "%TAG !a! tag:b\xc2\x85", 1000, 0,
         "f:2:1: error: YAML directives (lines that start with %) are not supported"},
        {"#\xe2\x80\xa8", "%TAG !a! tag:b\xe2\x80\xa8", 1000, 0,
         "f:2:1: error: YAML directives (lines that start with %) are not supported"},
        {"#\xe2\x80\xa9", "%TAG !a! tag:b\xe2\x80\xa9", 1000, 0,
         "f:2:1: error: YAML directives (lines that start with %) are not supported"},
        {"a: [", "1,", 300000, 263000, "f:1:524289: error: more than 262,144 values in one file"},
        {"a: ", "x", 70000, 10, "f:1:4: error: a text may have at most 64 KiB"},
        {"", "# 1 MiB and more\n", 80000, 0,
         "f:1:1: error: a configuration file may have at most 1 MiB"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *config = new_config();
        struct buffer text;
        char line[512];
        size_t events = 0;
        struct bytes bomb = repeated(&text, rows[i].head, rows[i].text, rows[i].count);
        yaml_tree_parse(config, "f", bomb, &events);
        cr_expect(le(sz, events, rows[i].events_max), "%s", rows[i].error);
        cr_expect(eq(str, (char *)first_text(config, line), (char *)rows[i].error));
        buffer_fini(&text);
        config_free(&config);
    }
}

/* Nine levels of nine aliases each: a reader that expands them builds 387 million values. */
Test(yaml_tree, a_billion_laughs_are_nodes_as_written_and_no_more)
{
    struct config *config = new_config();
    struct buffer text;
    size_t events = 0;
    buffer_init(&text);
    buffer_printf(&text, "a0: &a0 [lol]\n");
    for (int i = 1; i < 10; i++) {
        buffer_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++) {
            buffer_printf(&text, "*a%d%s", i - 1, k < 8 ? "," : "]\n");
        }
    }
    yaml_tree_parse(config, "f", buffer_bytes(&text), &events);
    cr_expect(le(sz, events, 130));
    cr_expect(eq(sz, config->report.error_count, 10 + 81));
    buffer_fini(&text);
    config_free(&config);
}
