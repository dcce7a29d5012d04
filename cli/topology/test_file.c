/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topology/test_file.h"

#include <errno.h>
#include <stdlib.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "cli/text/message_headers.h"
#include "config/arguments.h"
#include "config/file.h"
#include "config/report.h"

struct test_document {
    const struct node *node;
    struct setting version;
    struct record_list tests; /* struct test_case */
};

#define MEMBER(owner, member) offsetof(struct owner, member)
#define KEY_RULE                                                                                   \
    {                                                                                              \
        .type = LITERAL_KEY                                                                        \
    }
#define NAMES(key, member_name, more)                                                              \
    {                                                                                              \
        .name = (key), .kind = FIELD_LITERALS, .flags = (more),                                    \
        .offset = MEMBER(test_case, member_name), .rule = {.type = LITERAL_NAME},                  \
    }

static const struct field_spec publish_fields[] = {
    {.name = "exchange",
     .kind = FIELD_LITERAL,
     .flags = FIELD_REQUIRED,
     .offset = MEMBER(test_publish, exchange),
     .rule = KEY_RULE},
    {.name = "key", .kind = FIELD_LITERAL, .offset = MEMBER(test_publish, key), .rule = KEY_RULE},
    {.name = "headers", .kind = FIELD_RAW, .offset = MEMBER(test_publish, headers)},
    {.name = "user",
     .kind = FIELD_LITERAL,
     .offset = MEMBER(test_publish, user),
     .rule = {.type = LITERAL_NAME}},
    {.name = "size",
     .kind = FIELD_LITERAL,
     .offset = MEMBER(test_publish, size),
     .rule = {.type = LITERAL_SIZE, .max = INT64_C(512) * 1024 * 1024}},
};
static const struct record_spec publish_spec = {"publish", sizeof(struct test_publish),
                                                publish_fields, ARRAY_LEN(publish_fields)};

static const struct field_spec case_fields[] = {
    {.name = "name",
     .kind = FIELD_LITERAL,
     .offset = MEMBER(test_case, name),
     .rule = {.type = LITERAL_TEXT}},
    {.name = "publish",
     .kind = FIELD_RECORD,
     .flags = FIELD_REQUIRED,
     .offset = MEMBER(test_case, publish),
     .record = &publish_spec},
    NAMES("expect", expect, FIELD_ONE_OR_MANY),
    NAMES("includes", includes, FIELD_ONE_OR_MANY),
    NAMES("not", without, FIELD_ONE_OR_MANY),
};
static const struct record_spec case_spec = {"test", sizeof(struct test_case), case_fields,
                                             ARRAY_LEN(case_fields)};

static const struct field_spec document_fields[] = {
    {.name = "bourse-tests",
     .kind = FIELD_LITERAL,
     .flags = FIELD_REQUIRED,
     .offset = MEMBER(test_document, version),
     .rule = {.type = LITERAL_INTEGER, .min = 1, .max = 1}},
    {.name = "tests",
     .kind = FIELD_RECORDS,
     .flags = FIELD_REQUIRED,
     .offset = MEMBER(test_document, tests),
     .record = &case_spec},
};
static const struct record_spec document_spec = {"the file", sizeof(struct test_document),
                                                 document_fields, ARRAY_LEN(document_fields)};

/* Names ---------------------------------------------------------------------------------------- */

struct reader {
    struct config *report;
    const struct config *config;
    struct map queues; /* struct config_queue by name; never written through */
};

static void
check_queue(struct reader *reader, const struct setting *setting, const char *key, bool may_be_word)
{
    enum { NAMES_MAX = 10000 };
    if (map_get(&reader->queues, setting->value.text) != NULL) {
        return;
    }
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(setting->value.text);
    for (size_t i = 0; i < reader->config->queue_count && i < NAMES_MAX; i++) {
        suggestion_offer(&suggestion, reader->config->queues[i].name);
    }
    if (may_be_word) {
        suggestion_offer(&suggestion, bytes_of("unroutable"));
        suggestion_offer(&suggestion, bytes_of("refused"));
    }
    report_error(reader->report, setting->node->mark,
                 "\"%s\" names the queue \"%.*s\", which the topology does not declare%s", key,
                 BYTES_FORMAT(setting->value.text), suggestion_text(&suggestion, guess));
}

static void
check_queues(struct reader *reader, const struct setting_list *list, const char *key)
{
    bool may_be_word = list->node != NULL && list->node->kind == NODE_SCALAR;
    for (size_t i = 0; i < list->count; i++) {
        check_queue(reader, &list->items[i], key, may_be_word);
    }
}

/* Tests ---------------------------------------------------------------------------------------- */

/* One word instead of a list of queues. */
static bool
read_outcome(struct test_case *test)
{
    const struct setting_list *expect = &test->expect;
    if (expect->node == NULL || expect->node->kind != NODE_SCALAR || expect->count != 1) {
        return false;
    }
    struct bytes word = expect->items[0].value.text;
    if (bytes_equal_text(word, "unroutable")) {
        test->outcome = TEST_IS_UNROUTABLE;
    } else if (bytes_equal_text(word, "refused")) {
        test->outcome = TEST_IS_REFUSED;
    }
    return test->outcome != TEST_REACHES_QUEUES;
}

static void
check_expectation(struct reader *reader, struct test_case *test)
{
    bool is_word = read_outcome(test);
    bool has_lists = test->includes.node != NULL || test->without.node != NULL;
    if (test->expect.node == NULL && !has_lists) {
        report_error(
            reader->report, test->node->mark,
            "the test expects nothing: add \"expect\" (a list of queues, or unroutable, or "
            "refused), \"includes\" or \"not\"");
    } else if (test->expect.node != NULL && is_word && has_lists) {
        report_error(reader->report, test->expect.node->mark,
                     "\"expect: %.*s\" goes without \"includes\" and \"not\"",
                     BYTES_FORMAT(test->expect.items[0].value.text));
    } else if (test->expect.node != NULL && test->expect.node->kind == NODE_SEQUENCE &&
               test->expect.node->count == 0) {
        report_error(reader->report, test->expect.node->mark,
                     "\"expect\" is an empty list; if no queue is to get it, say \"unroutable\"");
    }
    if (!is_word) {
        check_queues(reader, &test->expect, "expect");
    }
    check_queues(reader, &test->includes, "includes");
    check_queues(reader, &test->without, "not");
}

static void
make_properties(struct reader *reader, struct test_publish *publish)
{
    struct buffer headers;
    struct buffer block;
    struct fault fault;
    if (publish->headers == NULL) {
        return;
    }
    buffer_init(&headers);
    buffer_init(&block);
    arguments_put_map(reader->report, &headers, publish->headers);
    if (table_validate(buffer_bytes(&headers), TABLE_HEADER_FIELDS_MAX, &fault) != STATUS_OK) {
        report_error(reader->report, publish->headers->mark, "%s", fault.text);
    } else {
        message_properties_put(&block, buffer_bytes(&headers));
        publish->properties = arena_copy(&reader->report->arena, buffer_bytes(&block));
    }
    buffer_fini(&headers);
    buffer_fini(&block);
}

static void
check_cases(struct reader *reader, struct test_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        struct test_case *test = file->cases[i];
        if (test->node != NULL) {
            check_expectation(reader, test);
            make_properties(reader, &test->publish);
        }
    }
}

static void
read_text(struct reader *reader, struct test_file *file, const char *path, struct bytes text)
{
    struct test_document document = {0};
    const struct node *root = yaml_tree_parse(reader->report, path, yaml_without_mark(text), NULL);
    if (root == NULL) {
        return;
    }
    schema_read(reader->report, &document_spec, root, &document);
    file->cases = (struct test_case **)document.tests.items;
    file->count = document.tests.count;
    if (document.tests.node != NULL && file->count == 0) {
        report_error(reader->report, document.tests.node->key_mark, "\"tests\" has no test");
    }
    check_cases(reader, file);
}

static void
read_file(struct reader *reader, struct test_file *file, const char *path)
{
    uint8_t *text = try_alloc(YAML_FILE_SIZE_MAX + 1);
    size_t size = 0;
    enum status status = text == NULL ? STATUS_NO_MEMORY
                                      : file_read(path, text, YAML_FILE_SIZE_MAX + 1, &size, NULL);
    struct config_mark mark = {.file = path};
    if (status == STATUS_OK) {
        read_text(reader, file, path, bytes_make(text, size));
    } else if (status == STATUS_FULL) {
        report_error(reader->report, mark, "a file of tests may have at most 1 MiB");
    } else {
        report_error(reader->report, mark, "cannot be read: %s",
                     status == STATUS_IO ? strerrordesc_np(errno) : status_name(status));
    }
    free(text);
}

void
test_file_read(struct test_file *file, const char *path, const struct config *config)
{
    *file = (struct test_file){.report = config_new_development()};
    struct reader reader = {.report = file->report, .config = config};
    const char *name = arena_strdup(&file->report->arena, path);
    map_init(&reader.queues, (uint64_t)(uintptr_t)config);
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&reader.queues, config->queues[i].name, &config->queues[i]);
    }
    read_file(&reader, file, name);
    map_fini(&reader.queues);
    report_sort(file->report, &name, 1);
}

void
test_file_fini(struct test_file *file)
{
    config_free(&file->report);
}
