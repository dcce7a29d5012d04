/* SPDX-License-Identifier: Apache-2.0 */
/* Every reply code and every key of the file has its explanation, and none has one too many. */
#include "cli/manual/explain.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "cli/text/reply_texts.h"
#include "config/describe.h"
#include "config/key_texts.h"

static char *
explain(const char *word, int *status_out)
{
    char *out = NULL;
    size_t size = 0;
    char *argv[] = {(char *)"bourse", (char *)"explain", (char *)(uintptr_t)word, NULL};
    struct command_io io = {.out = open_memstream(&out, &size)};
    io.err = io.out;
    *status_out = command_main(3, argv, &io);
    fclose(io.out);
    return out;
}

Test(explain, every_reply_code_has_meaning_cause_and_next_step)
{
    for (unsigned code = 0; code < 1000; code++) {
        const char *name = reply_code_name((uint16_t)code);
        char number[16];
        int by_number;
        int by_name;
        if (strcmp(name, "UNKNOWN") == 0) {
            continue;
        }
        snprintf(number, sizeof(number), "%u", code);
        char *first = explain(number, &by_number);
        char *second = explain(name, &by_name);
        cr_expect(eq(int, by_number, 0), "%u %s", code, name);
        cr_expect(eq(int, by_name, 0), "%u %s", code, name);
        cr_expect(eq(str, first, second));
        cr_expect(ne(ptr, strstr(first, "\n  next     "), NULL));
        free(first);
        free(second);
    }
}

static void
expect_text(void *context, const char *path, const struct field_spec *field)
{
    char canonical[KEY_PATH_SIZE];
    char value[KEY_VALUE_SIZE];
    size_t *count = context;
    key_canonical(path, canonical);
    describe_value(field, value);
    cr_expect(ne(ptr, (void *)(uintptr_t)key_text_find(canonical), NULL), "no text for %s (%s)",
              canonical, path);
    cr_expect(lt(sz, 0, strlen(value)), "%s", path);
    (*count)++;
}

Test(explain, every_key_of_the_schema_has_a_text)
{
    size_t count = 0;
    describe_keys(expect_text, &count);
    cr_expect(lt(sz, 150, count));
}

struct wanted {
    const char *path;
    bool is_found;
};

static void
look_for(void *context, const char *path, const struct field_spec *field)
{
    struct wanted *wanted = context;
    char canonical[KEY_PATH_SIZE];
    (void)field;
    key_canonical(path, canonical);
    wanted->is_found = wanted->is_found || strcmp(canonical, wanted->path) == 0;
}

Test(explain, every_text_is_that_of_a_key)
{
    const struct key_text *text;
    for (size_t i = 0; (text = key_text_at(i)) != NULL; i++) {
        struct wanted wanted = {text->path, false};
        describe_keys(look_for, &wanted);
        cr_expect(wanted.is_found, "%s", text->path);
    }
}

Test(explain, a_key_is_found_by_the_end_of_its_path_and_in_the_singular)
{
    static const char *const same[] = {"queues.NAME.retry", "queues.retry", "queue.retry"};
    for (size_t i = 0; i < 3; i++) {
        int status;
        char *text = explain(same[i], &status);
        cr_expect(eq(int, status, 0));
        cr_expect(eq(int, strncmp(text, "queues.NAME.retry: key", 22), 0), "%s", text);
        cr_expect(eq(ptr, strstr(text, "\n\n"), NULL), "one key only: %s", text);
        free(text);
    }
}

Test(explain, what_is_no_code_and_no_key_is_status_66_with_a_guess)
{
    int status;
    static const char *const words[] = {"retyr", "queues.retyr"};
    for (size_t i = 0; i < 2; i++) {
        char *text = explain(words[i], &status);
        cr_expect(eq(int, status, COMMAND_NOT_FOUND));
        cr_expect(ne(ptr, strstr(text, "did you mean \"retry\"?"), NULL), "%s", text);
        free(text);
    }
}

/* Whoever reads a client's code or a policy knows an argument by its own name, and whoever reads a
 * file has names where the schema has NAME. */
Test(explain, a_key_is_found_by_its_argument_and_with_a_name_of_the_file)
{
    static const struct {
        const char *word, *key;
    } rows[] = {
        {"x-message-ttl", "queues.NAME.ttl: key"},
        {"message-ttl", "queues.NAME.ttl: key"},
        {"x-delivery-limit", "retry.NAME.attempts: key"},
        {"alternate-exchange", "exchanges.NAME.unrouted: key"},
        {"queues.orders.ttl", "queues.NAME.ttl: key"},
        {"policies.p.definition", "policies.NAME.definition: key"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status;
        char *text = explain(rows[i].word, &status);
        cr_expect(eq(int, status, 0), "%s", rows[i].word);
        cr_expect(ne(ptr, strstr(text, rows[i].key), NULL), "%s: %s", rows[i].word, text);
        free(text);
    }
}
