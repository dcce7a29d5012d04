/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message/failure.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/table.h"
#include "base/alloc.h"

static const char HEADER_PREFIX[] = "x-failure-";
static const char CLASS[] = "x-failure-class";
static const char TEXT[] = "x-failure-text";
static const char ADVICE[] = "x-failure-advice";

/* Life ----------------------------------------------------------------------------------------- */

struct failure *
failure_new(struct failure_note *note, const struct failure_attempt *attempt)
{
    struct failure *failure = try_alloc(sizeof(*failure));
    if (failure == NULL) {
        return NULL;
    }
    *failure = (struct failure){.note = note, .first_ms = attempt->time_ms};
    failure_add(failure, attempt);
    return failure;
}

void
failure_add(struct failure *failure, const struct failure_attempt *attempt)
{
    if (failure->attempt_count == FAILURE_ATTEMPTS_MAX) {
        failure->attempt_count--;
        memmove(failure->attempts, failure->attempts + 1,
                failure->attempt_count * sizeof(*attempt));
    }
    failure->attempts[failure->attempt_count++] = *attempt;
    failure->last_ms = attempt->time_ms;
    failure->count++;
}

void
failure_free(struct failure **failure)
{
    if (*failure != NULL) {
        free((*failure)->note);
        free(*failure);
        *failure = NULL;
    }
}

/* Headers -------------------------------------------------------------------------------------- */

bool
failure_header_is_ours(struct bytes name)
{
    return bytes_starts_with(name, HEADER_PREFIX);
}

bool
failure_header_is_of_note(struct bytes name)
{
    return bytes_equal_text(name, CLASS) || bytes_equal_text(name, TEXT) ||
           bytes_equal_text(name, ADVICE);
}

/* Nothing where nobody knows it. */
static void
put_time(struct buffer *out, const char *name, uint64_t time_ms)
{
    if (time_ms != 0) {
        buffer_put_shortstr(out, bytes_of(name));
        buffer_put_u8(out, 'T');
        buffer_put_u64(out, time_ms / 1000);
    }
}

static void
put_text(struct buffer *out, const char *name, struct bytes text)
{
    if (text.data != NULL) {
        table_put_text(out, name, text);
    }
}

static void
put_attempts(struct buffer *out, const struct failure *failure)
{
    buffer_put_shortstr(out, bytes_of("x-failure-attempts"));
    buffer_put_u8(out, 'A');
    size_t array_at = table_begin_counted(out);
    for (uint32_t i = 0; i < failure->attempt_count; i++) {
        const struct failure_attempt *attempt = &failure->attempts[i];
        buffer_put_u8(out, 'F');
        size_t table_at = table_begin_counted(out);
        put_time(out, "time", attempt->time_ms);
        if (attempt->verdict != ROW_VERDICT_NONE) {
            table_put_text(out, "verdict", bytes_of(row_verdict_name(attempt->verdict)));
        }
        put_text(out, "class", attempt->class);
        table_end_counted(out, table_at);
    }
    table_end_counted(out, array_at);
}

/* The trace id of a W3C traceparent header ("00-" trace "-" span "-" flags), or no text. */
static struct bytes
trace_of(struct bytes headers)
{
    enum { TRACE_AT = 3, TRACE_SIZE = 32, PARENT_SIZE = 55 };
    struct table_value value;
    if (!table_find(headers, "traceparent", &value) || value.type != 'S' ||
        value.raw.size < PARENT_SIZE || value.raw.data[TRACE_AT - 1] != '-' ||
        value.raw.data[TRACE_AT + TRACE_SIZE] != '-') {
        return bytes_make(NULL, 0);
    }
    return bytes_make(value.raw.data + TRACE_AT, TRACE_SIZE);
}

static void
put_facts(struct buffer *out, const struct failure *failure, const struct failure_source *source)
{
    table_put_text(out, "x-failure-queue", source->queue);
    table_put_integer(out, "x-failure-count", failure->count);
    put_time(out, "x-failure-first-time", failure->first_ms);
    put_time(out, "x-failure-last-time", failure->last_ms);
    put_text(out, "x-failure-message-id", source->message_id);
    put_text(out, "x-failure-trace-id", trace_of(source->headers));
}

static void
put_note(struct buffer *out, const struct failure_note *note)
{
    if (note != NULL) {
        put_text(out, CLASS, note->class);
        put_text(out, TEXT, note->text);
        put_text(out, ADVICE, note->advice);
    }
}

/* Gives up what was appended behind `size`, if it is too much. */
static bool
fits(struct buffer *out, size_t size, size_t octets_max)
{
    bool does_fit = !out->failed && buffer_size(out) - size <= octets_max;
    if (!does_fit && !out->failed) {
        out->end = out->start + size;
    }
    return does_fit;
}

void
failure_headers_put(struct buffer *out, const struct failure *failure,
                    const struct failure_source *source, size_t octets_max)
{
    size_t size = buffer_size(out);
    put_facts(out, failure, source);
    if (!fits(out, size, octets_max)) {
        return;
    }
    size_t facts_size = buffer_size(out);
    put_note(out, failure->note);
    if (!fits(out, facts_size, octets_max - (facts_size - size))) {
        return;
    }
    size_t note_size = buffer_size(out);
    put_attempts(out, failure);
    (void)fits(out, note_size, octets_max - (note_size - size));
}
