/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead letter says of its failure, in as much room as there is. */
#include "broker/message/failure.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "amqp/table.h"
#include "base/assert.h"

static struct buffer out;
static struct failure *failure;
static struct failure_source source;

static void
set_up(void)
{
    struct failure_attempt attempt = {.time_ms = 5000, .verdict = ROW_VERDICT_NACK};
    struct failure_note *note =
        failure_note_new(1, bytes_of("class"), bytes_of("text"), bytes_make(NULL, 0));
    failure = failure_new(note, &attempt);
    source = (struct failure_source){.queue = bytes_of("q")};
    buffer_init(&out);
    table_put_text(&out, "own", bytes_of("header"));
}

static void
tear_down(void)
{
    failure_free(&failure);
    buffer_fini(&out);
}

TestSuite(failure, .init = set_up, .fini = tear_down);

static bool
has(const char *name)
{
    struct fault fault;
    struct table_value value;
    cr_assert(eq(int, (int)table_validate(buffer_bytes(&out), 4096, &fault), STATUS_OK));
    return table_find(buffer_bytes(&out), name, &value);
}

static void
put(size_t octets_max)
{
    failure_headers_put(&out, failure, &source, octets_max);
}

/* First the list goes, then the note, then everything; what was there stays. */
Test(failure, says_as_much_as_there_is_room_for)
{
    size_t own_size = buffer_size(&out);
    put(SIZE_MAX);
    size_t size = buffer_size(&out) - own_size;
    cr_expect(has("x-failure-attempts"));
    for (size_t room = 0; room <= size; room++) {
        out.end = out.start + own_size;
        put(room);
        cr_expect(le(sz, buffer_size(&out) - own_size, room));
        cr_expect(has("own"));
        cr_expect(le(int, has("x-failure-attempts"), has("x-failure-text")));
        cr_expect(eq(int, has("x-failure-text"), has("x-failure-class")));
        cr_expect(le(int, has("x-failure-class"), has("x-failure-queue")));
        cr_expect(eq(int, has("x-failure-queue"), has("x-failure-last-time")));
        cr_expect(not(has("x-failure-advice")));
    }
    cr_expect(has("x-failure-attempts"));
}

/* All are counted, the last ones are listed. */
Test(failure, lists_the_last_attempts)
{
    enum { MORE = FAILURE_ATTEMPTS_MAX + 3 };
    for (uint64_t i = 0; i < MORE; i++) {
        struct failure_attempt attempt = {.time_ms = 10000 + i * 1000, .verdict = ROW_VERDICT_LOST};
        failure_add(failure, &attempt);
    }
    put(SIZE_MAX);
    struct table_value value;
    cr_assert(table_find(buffer_bytes(&out), "x-failure-count", &value));
    cr_expect(eq(i64, table_value_integer(&value), MORE + 1));
    cr_assert(table_find(buffer_bytes(&out), "x-failure-first-time", &value));
    cr_expect(eq(i64, table_value_integer(&value), 5));
    cr_assert(table_find(buffer_bytes(&out), "x-failure-last-time", &value));
    cr_expect(eq(i64, table_value_integer(&value), 10 + MORE - 1));
    cr_assert(table_find(buffer_bytes(&out), "x-failure-attempts", &value));
    struct byte_reader reader = byte_reader_make(value.raw);
    struct table_value attempt;
    int64_t expected = 10 + MORE - FAILURE_ATTEMPTS_MAX;
    for (; table_array_next(&reader, &attempt); expected++) {
        cr_assert(table_find(attempt.raw, "time", &value));
        cr_expect(eq(i64, table_value_integer(&value), expected));
        cr_assert(table_find(attempt.raw, "verdict", &value));
        cr_expect(bytes_equal_text(value.raw, "lost"));
    }
    cr_expect(eq(i64, expected, 10 + MORE));
}

/* W3C Trace Context: version, trace id, parent id, flags. Anything else is no trace. */
Test(failure, finds_the_trace_of_traceparent)
{
    static const struct {
        const char *value;
        bool is_trace;
    } rows[] = {
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
        {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false},
        {"00+4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e473600-f067aa0ba902b7-01", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer headers;
        buffer_init(&headers);
        table_put_text(&headers, "traceparent", bytes_of(rows[i].value));
        source.headers = buffer_bytes(&headers);
        buffer_clear(&out);
        put(SIZE_MAX);
        struct table_value value;
        bool found = table_find(buffer_bytes(&out), "x-failure-trace-id", &value);
        cr_expect(eq(int, found, rows[i].is_trace), "%s", rows[i].value);
        if (found) {
            cr_expect(bytes_equal_text(value.raw, "4bf92f3577b34da6a3ce929d0e0e4736"));
        }
        buffer_fini(&headers);
    }
}
