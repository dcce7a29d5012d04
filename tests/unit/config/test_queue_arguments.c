/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a queue as the x-arguments that the declared queue carries, and raw arguments. */
#include "config/queue_arguments.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "tests/unit/config/reading.h"

/* "x-message-ttl=l:5 x-overflow=S:drop-head": letters as well, since clients see them. */
static const char *
table_text(struct bytes table, char out[static 1024])
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    size_t used = 0;
    out[0] = '\0';
    while (table_next(&reader, &name, &value)) {
        char text[256];
        used += (size_t)snprintf(out + used, 1024 - used, "%s%.*s=%c:%s", used == 0 ? "" : " ",
                                 BYTES_FORMAT(name), value.type,
                                 table_value_text(&value, text, sizeof(text)));
    }
    return out;
}

static void
expect_arguments(const char *queue, const char *expected)
{
    struct buffer text;
    char out[1024];
    buffer_init(&text);
    buffer_printf(&text,
                  READING_HEAD "exchanges: {dead: {}, other: {}}\n"
                               "retry: {soft: {first: 1s, then: dead}}\nqueues: {q: %s}\n",
                  queue);
    buffer_put_u8(&text, 0);
    struct config *config = reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
    cr_assert(eq(sz, config->report.error_count, 0), "%s: %s", queue, config->report.items[0].text);
    struct fault fault;
    struct bytes table = config->queues[0].arguments;
    cr_expect(eq(int, table_validate(table, TABLE_FIELDS_MAX, &fault), STATUS_OK));
    cr_expect(eq(str, (char *)table_text(table, out), (char *)expected), "%s", queue);
    buffer_fini(&text);
    config_free(&config);
}

Test(queue_arguments, every_word_has_its_argument)
{
    static const struct {
        const char *queue;
        const char *arguments;
    } rows[] = {
        {"{}", ""},
        {"{type: classic}", "x-queue-type=S:classic"},
        {"{ttl: 24h}", "x-message-ttl=l:86400000"},
        {"{expires: 30m}", "x-expires=l:1800000"},
        {"{priorities: 10}", "x-max-priority=l:10"},
        {"{ack-timeout: 5m}", "x-consumer-timeout=l:300000"},
        {"{release-rate: 50}", "x-release-rate=l:50"},
        {"{consumers: {single-active: true}}", "x-single-active-consumer=t:true"},
        {"{consumers: {single-active: false}}", ""},
        {"{limits: {max-length: 7}}", "x-max-length=l:7 x-overflow=S:reject-publish"},
        {"{limits: {max-bytes: 1KiB, on-full: drop-oldest}}",
         "x-max-length-bytes=l:1024 x-overflow=S:drop-head"},
        {"{limits: {on-full: dead-letter}, dead-letter: {exchange: dead, key: k}}",
         "x-overflow=S:reject-publish-dlx x-dead-letter-exchange=S:dead "
         "x-dead-letter-routing-key=S:k"},
        {"{retry: soft}",
         "x-delayed-retry-type=S:all x-delayed-retry-min=l:1000 x-delayed-retry-multiplier=l:2 "
         "x-delayed-retry-jitter=l:20 x-delivery-limit=l:5 x-dead-letter-exchange=S:dead"},
        {"{retry: {first: 500ms, max: 30s, factor: 1.5, jitter: full, attempts: 3, max-age: 1d, "
         "counts: [nack, lost], order: hold, then: dead}, dead-letter: {exchange: other}}",
         "x-delayed-retry-type=S:all x-delayed-retry-min=l:500 x-delayed-retry-max=l:30000 "
         "x-delayed-retry-multiplier=d:1.5 x-delayed-retry-jitter=S:full x-delivery-limit=l:2 "
         "x-delayed-retry-max-age=l:86400000 x-delayed-retry-counts=S:nack,lost "
         "x-delayed-retry-order=S:hold x-dead-letter-exchange=S:other"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_arguments(rows[i].queue, rows[i].arguments);
    }
}

/* Core schema of YAML: what is quoted is text. */
Test(queue_arguments, raw_arguments_keep_their_types)
{
    expect_arguments("{arguments: {a: 5, b: -5, c: '5', d: 1.5, e: true, f: \"true\", g: ~, h: x}}",
                     "a=l:5 b=l:-5 c=S:5 d=d:1.5 e=t:true f=S:true g=V:undefined h=S:x");
}

Test(queue_arguments, lists_and_maps_nest)
{
    static const char table[] = "\1aF\0\0\0\x13\1bA\0\0\0\x09t\1S\0\0\0\1xV\1cV\1dt\0";
    struct config *config = reading_of(
        READING_HEAD "queues: {q: {arguments: {a: {b: [true, x, ~], c: ~}, d: false}}}\n",
        CONFIG_FOR_CHECK);
    cr_assert(eq(sz, config->report.error_count, 0));
    struct bytes body = config->queues[0].arguments;
    cr_expect(bytes_equal(body, bytes_make(table, sizeof(table) - 1)));
    config_free(&config);
}

Test(queue_arguments, nesting_and_names_are_bounded)
{
    static const struct {
        const char *open;
        const char *close;
        size_t depth;
        size_t errors;
    } rows[] = {{"[", "]", 15, 0}, {"[", "]", 16, 1}, {"{a: ", "}", 15, 0}, {"{a: ", "}", 16, 1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer text;
        buffer_init(&text);
        buffer_printf(&text, READING_HEAD "queues: {q: {arguments: {a: ");
        for (size_t k = 0; k < rows[i].depth; k++) {
            buffer_printf(&text, "%s", rows[i].open);
        }
        for (size_t k = 0; k < rows[i].depth; k++) {
            buffer_printf(&text, "%s", rows[i].close);
        }
        buffer_printf(&text, "}}}\n");
        buffer_put_u8(&text, 0);
        struct config *config =
            reading_of((const char *)buffer_bytes(&text).data, CONFIG_FOR_CHECK);
        struct fault fault;
        cr_expect(eq(sz, config->report.error_count, rows[i].errors), "%zu", rows[i].depth);
        cr_expect(eq(int, table_validate(config->queues[0].arguments, TABLE_FIELDS_MAX, &fault),
                     STATUS_OK));
        buffer_fini(&text);
        config_free(&config);
    }
}

Test(queue_arguments, exchanges_and_bindings_carry_theirs)
{
    char out[1024];
    struct config *config =
        reading_of(READING_HEAD
                   "exchanges: {lost: {}, h: {type: headers, unrouted: lost, arguments: {a: 1}}}\n"
                   "queues: {q: {from: [{exchange: h, arguments: {x-match: any, n: 5}}]}}\n",
                   CONFIG_FOR_CHECK);
    cr_assert(eq(sz, config->report.error_count, 0));
    cr_expect(eq(str, (char *)table_text(config->exchanges[1].arguments, out),
                 "alternate-exchange=S:lost a=l:1"));
    cr_expect(
        eq(str, (char *)table_text(config->bindings[0].arguments, out), "x-match=S:any n=l:5"));
    config_free(&config);
}
