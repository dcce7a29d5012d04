/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: their shape, what they escape, and what they leave out. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buffer.h"

/* An initializer of a struct bytes. */
#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static struct buffer lines;
static struct clock_reading now;
static struct log logger;

static struct clock_reading
read_now(void *context)
{
    (void)context;
    return now;
}

static void
collect(void *context, struct bytes line)
{
    buffer_put_bytes(context, line);
}

static void
set_up(void)
{
    buffer_init(&lines);
    now = (struct clock_reading){.monotonic_ms = 5000, .wall_ms = INT64_C(1767323045678)};
    logger = (struct log){
        .level = LOG_LEVEL_DEBUG,
        .format = LOG_FORMAT_LOGFMT,
        .write = collect,
        .context = &lines,
        .clock = {.read = read_now},
    };
}

static void
tear_down(void)
{
    buffer_fini(&lines);
}

TestSuite(log, .init = set_up, .fini = tear_down);

/* All lines since the last call, as a string. */
static const char *
logged(void)
{
    static char text[20000];
    struct bytes bytes = buffer_bytes(&lines);
    cr_assert(lt(sz, bytes.size, sizeof(text)));
    snprintf(text, sizeof(text), "%.*s", BYTES_FORMAT(bytes));
    buffer_clear(&lines);
    return text;
}

#define FRONT "time=2026-01-02T03:04:05.678Z level=info event=broker.ready"
#define JSON_FRONT                                                                                 \
    "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\",\"event\":\"broker.ready\""

Test(log, a_line_is_time_level_event_and_fields)
{
    log_info(&logger, "broker.ready", "amqp=%s queues=%d", "127.0.0.1:5672", 3);
    cr_expect(eq(str, (char *)logged(), FRONT " amqp=127.0.0.1:5672 queues=3\n"));
    log_info(&logger, "broker.ready", "%s", "");
    cr_expect(eq(str, (char *)logged(), FRONT "\n"));
}

Test(log, json_has_the_same_fields)
{
    static const struct {
        const char *fields;
        const char *json;
    } rows[] = {
        {"", ""},
        {"queue=orders", ",\"queue\":\"orders\""},
        {"count=3 delta=-17 zero=0", ",\"count\":3,\"delta\":-17,\"zero\":0"},
        {"code=007 minus=- float=1.5 big=9007199254740993",
         ",\"code\":\"007\",\"minus\":\"-\",\"float\":\"1.5\",\"big\":\"9007199254740993\""},
        {"name=\"a b\" next=1", ",\"name\":\"a b\",\"next\":1"},
        {"number=\"12\"", ",\"number\":\"12\""},
        {"name=\"say \\\"hi\\\" \\\\ \\n\"", ",\"name\":\"say \\\"hi\\\" \\\\ \\n\""},
        {"name=\"bad \\xff octet\"", ",\"name\":\"bad \\\\xff octet\""},
        {"name=\"esc \\u001b[0m\"", ",\"name\":\"esc \\u001b[0m\""},
        {"name=\"no \\u00 escape\"", ",\"name\":\"no \\\\u00 escape\""},
        {"path=C:\\new", ",\"path\":\"C:\\\\new\""},
        {"a=x\"y", ",\"a\":\"x\\\"y\""},
        {"flag empty= last=1", ",\"flag\":true,\"empty\":\"\",\"last\":1"},
        {"  a=1   b=2  ", ",\"a\":1,\"b\":2"},
    };
    logger.format = LOG_FORMAT_JSON;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char expected[500];
        snprintf(expected, sizeof(expected), "%s%s}\n", JSON_FRONT, rows[i].json);
        log_info(&logger, "broker.ready", "%s", rows[i].fields);
        cr_expect(eq(str, (char *)logged(), expected), "row %zu", i);
    }
}

Test(log, times_are_utc_with_milliseconds)
{
    static const struct {
        int64_t wall_ms;
        const char *text;
    } rows[] = {
        {0, "time=1970-01-01T00:00:00.000Z"},
        {-1, "time=1969-12-31T23:59:59.999Z"},
        {INT64_C(951782400001), "time=2000-02-29T00:00:00.001Z"},
        {INT64_C(4107542399999), "time=2100-02-28T23:59:59.999Z"},
        {INT64_C(4107542400000), "time=2100-03-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        now.wall_ms = rows[i].wall_ms;
        log_info(&logger, "x", "%s", "");
        cr_expect(bytes_starts_with(bytes_of(logged()), rows[i].text), "row %zu", i);
    }
}

Test(log, lines_above_the_level_are_dropped)
{
    logger.level = LOG_LEVEL_WARN;
    log_info(&logger, "a", "%s", "");
    log_debug(&logger, "b", "%s", "");
    log_limited(&logger, LOG_LEVEL_INFO, "c", "%s", "");
    cr_expect(eq(str, (char *)logged(), ""));
    log_warn(&logger, "d", "%s", "");
    log_error(&logger, "e", "%s", "");
    struct bytes both = bytes_of(logged());
    cr_expect(ne(ptr, memmem(both.data, both.size, "level=warn event=d", 18), NULL));
    cr_expect(ne(ptr, memmem(both.data, both.size, "level=error event=e", 19), NULL));
    log_error(NULL, "nobody", "%s", "listens");
}

/* CWE-117: whoever forgets log_escape must not let a peer write lines of its own. */
Test(log, control_characters_in_fields_never_reach_the_log)
{
    log_info(&logger, "broker.ready", "name=%s", "a\ntime=1970 \x1b[2J\x7f");
    cr_expect(eq(str, (char *)logged(), FRONT " name=a?time=1970 ?[2J?\n"));
    log_info(&logger, "broker.ready", "name=%s", "\xC3\xA4\xFF");
    cr_expect(eq(str, (char *)logged(), FRONT " name=???\n"));
    log_info(&logger, "broker.ready", "name=%s", "\xC3\xA4");
    cr_expect(eq(str, (char *)logged(), FRONT " name=\xC3\xA4\n"));
}

/* Whatever its length, the line fits, ends in a newline, and holds whole fields only. */
Test(log, a_long_line_loses_whole_fields_and_says_so)
{
    static char text[9000];
    memset(text, 'x', sizeof(text));
    for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
        logger.format = (enum log_format)format;
        bool is_json = format == LOG_FORMAT_JSON;
        for (int length = 3900; length < 4200; length++) {
            bool is_quoted = length % 2 == 0;
            const char *quote = is_quoted ? "\"" : "";
            log_info(&logger, "broker.ready", "short=1 long=%s%.*s%s last=2", quote, length, text,
                     quote);
            struct bytes line = bytes_of(logged());
            cr_assert(le(sz, line.size, 4096));
            cr_assert(eq(u8, line.data[line.size - 1], '\n'));
            bool is_cut = memmem(line.data, line.size, is_json ? "\"cut\":true}" : " cut=true",
                                 is_json ? 11 : 9) != NULL;
            bool is_complete = memmem(line.data, line.size, is_json ? "\"last\":2}" : " last=2",
                                      is_json ? 9 : 7) != NULL;
            cr_assert(ne(int, is_cut, is_complete), "length %d", length);
            bool has_long = memmem(line.data, line.size, "xxx", 3) != NULL;
            cr_assert(not(has_long && line.size <= (size_t)length), "length %d", length);
        }
    }
}

Test(log, an_unfinished_quote_is_left_out)
{
    log_info(&logger, "broker.ready", "%s", "a=1 b=\"never ends");
    cr_expect(eq(str, (char *)logged(), FRONT " a=1 cut=true\n"));
}

static size_t
count_lines(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == '\n';
    }
    return count;
}

Test(log, repeated_events_are_limited_by_the_second)
{
    for (int i = 0; i < 100; i++) {
        log_limited(&logger, LOG_LEVEL_WARN, "peer.bad", "n=%d", i);
    }
    cr_expect(eq(sz, count_lines(logged()), LOG_REPEAT_MAX));
    log_limited(&logger, LOG_LEVEL_WARN, "peer.other", "n=%d", 1);
    cr_expect(eq(sz, count_lines(logged()), 1), "other events are not concerned");

    now.monotonic_ms += 1000;
    log_limited(&logger, LOG_LEVEL_INFO, "peer.bad", "n=%d", 100);
    struct bytes line = bytes_of(logged());
    cr_expect(ne(ptr, memmem(line.data, line.size, " suppressed=80 n=100\n", 21), NULL));
    log_limited(&logger, LOG_LEVEL_INFO, "peer.bad", "n=%d", 101);
    line = bytes_of(logged());
    cr_expect(eq(ptr, memmem(line.data, line.size, "suppressed", 10), NULL), "told once");
}

Test(log, more_events_than_limits_push_out_the_oldest)
{
    static char names[40][8];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof(names[i]), "event%zu", i);
        now.monotonic_ms += 1000;
        for (int repeat = 0; repeat < 2 * LOG_REPEAT_MAX; repeat++) {
            log_limited(&logger, LOG_LEVEL_WARN, names[i], "n=%d", repeat);
        }
        cr_expect(eq(sz, count_lines(logged()), LOG_REPEAT_MAX), "event %zu", i);
    }
}

Test(log, escaping_leaves_nothing_that_could_be_mistaken)
{
    static const struct {
        struct bytes text;
        const char *escaped;
    } rows[] = {
        {LITERAL(""), "\"\""},
        {LITERAL("orders"), "\"orders\""},
        {LITERAL("a b=c"), "\"a b=c\""},
        {LITERAL("\""), "\"\\\"\""},
        {LITERAL("\\"), "\"\\\\\""},
        {LITERAL("a\nb\r\t"), "\"a\\nb\\r\\t\""},
        {LITERAL("\0\x01\x1b\x7f"), "\"\\u0000\\u0001\\u001b\\u007f\""},
        {LITERAL("\xC3\xA4"), "\"\xC3\xA4\""},
        {LITERAL("\xC2\x9B"
                 "31m"),
         "\"\\u009b31m\""}, /* the one-octet CSI of terminals */
        {LITERAL("\xC2\xA0"), "\"\xC2\xA0\""},
        {LITERAL("\xE2\x80\xAE\xE2\x81\xA6\xE2\x80\x8F"), "\"\\u202e\\u2066\\u200f\""},
        {LITERAL("\xE2\x80\x8D\xE2\x81\xAA\xE2\x82\xAC"),
         "\"\xE2\x80\x8D\xE2\x81\xAA\xE2\x82\xAC\""},
        {LITERAL("\xFF\xC3"), "\"\\xff\\xc3\""},
        {LITERAL("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[64];
        cr_expect(
            eq(str, (char *)log_escape(out, sizeof(out), rows[i].text), (char *)rows[i].escaped),
            "row %zu", i);
    }
}

Test(log, escaping_cuts_with_an_ellipsis_where_it_must)
{
    static const struct {
        const char *text;
        size_t out_size;
        const char *escaped;
    } rows[] = {
        {"abc", 6, "\"abc\""},
        {"abcd", 6, "\"...\""},
        {"abcd", 7, "\"abcd\""},
        {"abcdef", 8, "\"ab...\""},
        {"ab\n\n\n", 10, "\"ab\\n...\""},
        {"ab\n\n\n", 11, "\"ab\\n\\n\\n\""},
        {"\xC3\xA4\xC3\xA4\xC3\xA4", 8, "\"\xC3\xA4...\""},
        {"\x01\x01\x01", 13, "\"\\u0001...\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *out = malloc(rows[i].out_size);
        log_escape(out, rows[i].out_size, bytes_of(rows[i].text));
        cr_expect(eq(str, out, (char *)rows[i].escaped), "row %zu", i);
        free(out);
    }
}

/* Whatever a peer sends, its escaped form is printable, fits, and survives the JSON form. */
Test(log, escaped_text_of_random_octets_is_always_well_formed)
{
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        uint8_t text[24];
        for (size_t i = 0; i < sizeof(text); i++) {
            random = random * 1664525 + 1013904223;
            text[i] = (uint8_t)(random >> 24);
        }
        size_t out_size = 6 + random % 60;
        char *out = malloc(out_size);
        log_escape(out, out_size, bytes_make(text, random >> 8 & 15));
        struct bytes escaped = bytes_of(out);
        cr_assert(lt(sz, escaped.size, out_size));
        cr_assert(bytes_is_utf8(escaped));
        cr_assert(eq(u8, escaped.data[0], '"'));
        cr_assert(eq(u8, escaped.data[escaped.size - 1], '"'));
        for (size_t i = 0; i < escaped.size; i++) {
            cr_assert(ge(u8, escaped.data[i], 0x20));
        }
        free(out);
    }
}

/* A reader of our standard error that hangs must not hang the broker. */
Test(log, a_full_pipe_drops_lines_instead_of_waiting, .timeout = 20)
{
    int ends[2];
    cr_assert(eq(int, pipe(ends), 0));
    cr_assert(eq(int, dup2(ends[1], STDERR_FILENO), STDERR_FILENO));
    struct log to_stderr;
    log_init_stderr(&to_stderr, LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    to_stderr.clock = logger.clock;
    log_info(&to_stderr, "broker.ready", "n=%d", 1);
    char line[200];
    ssize_t size = read(ends[0], line, sizeof(line) - 1);
    cr_assert(ge(i64, size, 1));
    line[size] = '\0';
    cr_expect(eq(str, line, FRONT " n=1\n"));
    cr_expect(eq(u64, to_stderr.dropped, 0));

    for (int i = 0; i < 5000; i++) {
        log_info(&to_stderr, "broker.ready", "%0100d", i);
    }
    cr_expect(ge(u64, to_stderr.dropped, 1));
    cr_expect(eq(int, fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0), "the pipe is as it was");
}

Test(log, a_closed_standard_error_drops_lines)
{
    struct log to_stderr;
    log_init_stderr(&to_stderr, LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    int ends[2];
    cr_assert(eq(int, pipe(ends), 0));
    cr_assert(eq(int, dup2(ends[1], STDERR_FILENO), STDERR_FILENO));
    close(ends[0]);
    log_info(&to_stderr, "x", "n=%d", 1);
    cr_expect(eq(u64, to_stderr.dropped, 1), "no reader: and no SIGPIPE");
    close(STDERR_FILENO);
    log_info(&to_stderr, "x", "n=%d", 2);
    cr_expect(eq(u64, to_stderr.dropped, 2));
}

enum { WRITERS = 3, LINES_EACH = 200 };

static void *
write_many_lines(void *context)
{
    (void)context;
    for (int i = 0; i < LINES_EACH; i++) {
        log_line(&logger, LOG_LEVEL_INFO, "test.whole", "number=%d", i);
        log_limited(&logger, LOG_LEVEL_INFO, "test.limited", "number=%d", i);
    }
    return NULL;
}

static size_t
count_of(const char *text)
{
    size_t count = 0;
    buffer_put_bytes(&lines, bytes_make("", 1));
    for (const char *at = (const char *)buffer_bytes(&lines).data; (at = strstr(at, text)) != NULL;
         at++) {
        count++;
    }
    return count;
}

/* Core, network, log and password threads share one log. */
Test(log, lines_of_several_threads_stay_whole_and_their_limit_is_one)
{
    pthread_t threads[WRITERS];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        cr_assert(zero(int, pthread_create(&threads[i], NULL, write_many_lines, NULL)));
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect(eq(sz, count_of("event=test.whole number="), WRITERS * LINES_EACH));
    cr_expect(eq(sz, count_of("event=test.limited number="), LOG_REPEAT_MAX));
    cr_expect(eq(sz, count_of("Z level=info "), WRITERS * LINES_EACH + LOG_REPEAT_MAX));
}
