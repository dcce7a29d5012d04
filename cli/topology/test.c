/* SPDX-License-Identifier: Apache-2.0 */
/* Each test is a question to the route explainer; what failed is told with its reason. */
#include "cli/topology/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/explain/explain_route.h"
#include "cli/files/load.h"
#include "cli/files/offline.h"
#include "cli/text/cell.h"
#include "cli/topology/test_file.h"

enum { TEST_FORMAT, TEXT_SIZE = 320 };

const struct command_option test_options[TEST_OPTION_COUNT] = {
    {"format", "text|junit", "a line for each test (text), or XML"},
};

struct run {
    struct core *core;
    struct bytes vhost;
    FILE *out;
    bool is_junit;
    size_t failure_count;
};

/* What is wrong ------------------------------------------------------------------------------- */

static bool
has_queue(const struct explained_route *route, struct bytes name)
{
    for (uint32_t i = 0; i < route->queue_count; i++) {
        if (bytes_equal(route->queues[i]->name, name)) {
            return true;
        }
    }
    return false;
}

static bool
is_listed(const struct setting_list *list, struct bytes name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (bytes_equal(list->items[i].value.text, name)) {
            return true;
        }
    }
    return false;
}

/* The nearest miss of a binding that would have led there. */
static const struct explained_binding *
find_miss(const struct explained_route *route, struct bytes queue)
{
    const struct explained_binding *nearest = NULL;
    for (uint32_t i = 0; i < route->exchange_count; i++) {
        const struct explained_bindings *misses = &route->exchanges[i]->misses;
        for (uint32_t j = 0; j < misses->count; j++) {
            const struct explained_binding *miss = &misses->items[j];
            bool is_nearer = nearest == NULL || miss->distance < nearest->distance;
            if (!miss->to_exchange && is_nearer &&
                bytes_equal(bytes_make(miss->destination, miss->destination_size), queue)) {
                nearest = miss;
            }
        }
    }
    return nearest;
}

static void
tell_missing(const struct explained_route *route, const struct setting_list *list,
             struct buffer *why)
{
    char text[TEXT_SIZE];
    for (size_t i = 0; i < list->count; i++) {
        struct bytes name = list->items[i].value.text;
        if (has_queue(route, name)) {
            continue;
        }
        const struct explained_binding *miss = find_miss(route, name);
        buffer_printf(why, "; queue %s does not get it", log_escape(text, sizeof(text), name));
        if (miss != NULL) {
            buffer_printf(why, " (%s)", miss->why);
        }
    }
}

static void
tell_unwanted(const struct explained_route *route, const struct test_case *test, struct buffer *why)
{
    char text[TEXT_SIZE];
    for (uint32_t i = 0; i < route->queue_count; i++) {
        struct bytes name = route->queues[i]->name;
        bool is_unexpected = test->expect.node != NULL && !is_listed(&test->expect, name);
        if (is_unexpected || is_listed(&test->without, name)) {
            const struct explained_exchange *from = route->exchanges[route->queues[i]->from];
            buffer_printf(why, "; queue %s gets it", log_escape(text, sizeof(text), name));
            buffer_printf(why, ", by %s",
                          from->name.size == 0 ? "the default exchange"
                                               : log_escape(text, sizeof(text), from->name));
        }
    }
    if (route->queue_total > route->queue_count) {
        buffer_printf(why, "; it reaches more than %d queues, too many to test",
                      EXPLAIN_QUEUES_MAX);
    }
}

/* Appends what is not as expected, each behind "; ". */
static void
judge(const struct explained_route *route, const struct test_case *test, struct buffer *why)
{
    if (test->outcome == TEST_IS_REFUSED) {
        if (!route->is_refused) {
            buffer_printf(why, "; it is not refused");
        }
        return;
    }
    if (route->is_refused) {
        buffer_printf(why, "; it is refused: %u ", route->refusal.reply_code);
        cell_put_escaped(why, bytes_of(route->refusal.text));
        return;
    }
    if (test->outcome == TEST_IS_UNROUTABLE) {
        const struct test_case none = {.expect = {.node = test->node}};
        tell_unwanted(route, &none, why);
        return;
    }
    tell_missing(route, &test->expect, why);
    tell_missing(route, &test->includes, why);
    tell_unwanted(route, test, why);
}

/* Telling ------------------------------------------------------------------------------------- */

static const char *
test_name(const struct test_case *test, char out[static TEXT_SIZE])
{
    if (test->name.node != NULL) {
        char escaped[TEXT_SIZE];
        log_escape(escaped, sizeof(escaped), test->name.value.text);
        size_t size = strlen(escaped);
        (void)snprintf(out, TEXT_SIZE, "%.*s", (int)size - 2, escaped + 1);
        return out;
    }
    char exchange[TEXT_SIZE / 3];
    char key[TEXT_SIZE / 3];
    (void)snprintf(out, TEXT_SIZE, "%s %s",
                   log_escape(exchange, sizeof(exchange), test->publish.exchange.value.text),
                   log_escape(key, sizeof(key), test->publish.key.value.text));
    return out;
}

/* Text in XML; control characters may not stand there at all. */
static void
print_xml(FILE *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        switch (octet) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(octet < 0x20 || octet == 0x7F ? '?' : octet, out);
        }
    }
}

static void
print_junit_case(const struct run *run, const struct test_case *test, const char *name,
                 struct bytes why)
{
    fputs("  <testcase classname=\"", run->out);
    print_xml(run->out, bytes_of(test->node->mark.file));
    fputs("\" name=\"", run->out);
    print_xml(run->out, bytes_of(name));
    fprintf(run->out, "\" line=\"%u\"", test->node->mark.line);
    if (why.size == 0) {
        fputs("/>\n", run->out);
        return;
    }
    fputs(">\n    <failure message=\"", run->out);
    print_xml(run->out, why);
    fputs("\"/>\n  </testcase>\n", run->out);
}

static void
print_case(const struct run *run, const struct test_case *test, struct bytes why)
{
    char name[TEXT_SIZE];
    const struct config_mark *mark = &test->node->mark;
    test_name(test, name);
    if (run->is_junit) {
        print_junit_case(run, test, name, why);
    } else {
        fprintf(run->out, "%s  %s:%u:%u: %s%s%.*s\n", why.size == 0 ? "ok  " : "FAIL", mark->file,
                mark->line, mark->column, name, why.size == 0 ? "" : ": ", BYTES_FORMAT(why));
    }
}

/* Running ------------------------------------------------------------------------------------- */

static void
run_case(struct run *run, const struct test_case *test)
{
    enum { SEPARATOR = 2, MISSES = 1000 };
    struct route_question question = {
        .vhost = run->vhost,
        .exchange = test->publish.exchange.value.text,
        .routing_key = test->publish.key.value.text,
        .properties = test->publish.properties,
        .user = test->publish.user.value.text,
        .body_size = (uint32_t)test->publish.size.value.integer,
        .misses = MISSES,
    };
    struct buffer why;
    struct route_explanation *explanation = route_explain(run->core, &question);
    buffer_init(&why);
    judge(route_explanation_result(explanation), test, &why);
    struct bytes told = buffer_bytes(&why);
    if (told.size > 0) {
        told = bytes_make(told.data + SEPARATOR, told.size - SEPARATOR);
        run->failure_count++;
    }
    print_case(run, test, told);
    buffer_fini(&why);
    route_explanation_free(&explanation);
}

static void
run_cases(struct run *run, const struct test_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        run_case(run, file->cases[i]);
    }
}

static void
run_file(struct run *run, const struct test_file *file)
{
    FILE *out = run->out;
    char *cases = NULL;
    size_t size = 0;
    if (!run->is_junit) {
        run_cases(run, file);
        fprintf(out, "%zu test%s, %zu failed\n", file->count, file->count == 1 ? "" : "s",
                run->failure_count);
        return;
    }
    /* The head counts what follows it. */
    run->out = open_memstream(&cases, &size);
    run_cases(run, file);
    (void)fclose(run->out);
    run->out = out;
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"bourse\" "
            "tests=\"%zu\" failures=\"%zu\">\n%s</testsuite>\n",
            file->count, run->failure_count, cases);
    free(cases);
}

static int
run_against(const struct offline *offline, const char *path, bool is_junit,
            const struct command_io *io)
{
    struct test_file file;
    struct run run = {
        .core = offline->core,
        .vhost = offline->config->vhost,
        .out = io->out,
        .is_junit = is_junit,
    };
    test_file_read(&file, path, offline->config);
    load_print_report(file.report, io->err);
    bool is_good = file.report->report.error_count == 0;
    if (is_good) {
        run_file(&run, &file);
    }
    test_file_fini(&file);
    return is_good && run.failure_count == 0 ? COMMAND_OK : COMMAND_FAILED;
}

int
test_run(const struct command_line *line, const struct command_io *io)
{
    const char *format = line->options[TEST_FORMAT];
    bool is_junit = format != NULL && strcmp(format, "junit") == 0;
    struct offline offline;
    if (format != NULL && !is_junit && strcmp(format, "text") != 0) {
        return command_misused(io, "--format takes text or junit, not \"%s\"", format);
    }
    size_t topology_count = line->operand_count - 1;
    if (!offline_open(&offline, line->operands, topology_count, false, io)) {
        return COMMAND_FAILED;
    }
    int result = run_against(&offline, line->operands[topology_count], is_junit, io);
    offline_close(&offline);
    return result;
}
