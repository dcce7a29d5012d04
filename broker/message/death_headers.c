/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message/death_headers.h"

#include "amqp/table.h"
#include "broker/message/failure.h"

/* Those that tell of the first death and of the last. */
enum { WITNESS_COUNT = 3 };
static const char *const first_names[WITNESS_COUNT] = {
    "x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"};
static const char *const last_names[WITNESS_COUNT] = {"x-last-death-queue", "x-last-death-reason",
                                                      "x-last-death-exchange"};

static bool
is_any_of(struct bytes name, const char *const names[static WITNESS_COUNT])
{
    for (size_t i = 0; i < WITNESS_COUNT; i++) {
        if (bytes_equal_text(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* Everything but what is about deaths. */
static bool
is_copied(const void *context, struct bytes name)
{
    const struct death_source *source = context;
    if (source->drops_cc && bytes_equal_text(name, "CC")) {
        return false;
    }
    if (failure_header_is_ours(name) &&
        (failure_header_is_of_note(name) ? source->drops_note : source->drops_failure)) {
        return false;
    }
    return !bytes_equal_text(name, "x-death") && !is_any_of(name, first_names) &&
           !is_any_of(name, last_names);
}

static struct bytes
text_of(struct bytes table, const char *name)
{
    struct table_value value;
    bool is_text = table_find(table, name, &value) && value.type == 'S';
    return is_text ? value.raw : bytes_of("");
}

static bool
is_death_of(struct bytes entry, const struct death *death)
{
    return bytes_equal_text(text_of(entry, "reason"), death_reason_name(death->reason)) &&
           bytes_equal(text_of(entry, "queue"), death->queue);
}

/* The array x-death of headers that the broker wrote; empty: none. */
static struct bytes
deaths_of(struct bytes headers)
{
    struct table_value value;
    bool is_there = table_find(headers, "x-death", &value) && value.type == 'A';
    return is_there ? value.raw : bytes_of("");
}

/* Steps to the next death of an array; items that are no tables are stepped over. */
static bool
next_death(struct byte_reader *reader, struct bytes *entry_out)
{
    struct table_value item;
    while (table_array_next(reader, &item)) {
        if (item.type == 'F') {
            *entry_out = item.raw;
            return true;
        }
    }
    return false;
}

static void
put_keys(struct buffer *out, const struct death *death)
{
    buffer_put_shortstr(out, bytes_of("routing-keys"));
    buffer_put_u8(out, 'A');
    size_t size_at = table_begin_counted(out);
    for (uint32_t i = 0; i < death->key_count; i++) {
        buffer_put_u8(out, 'S');
        buffer_put_longstr(out, death->keys[i]);
    }
    table_end_counted(out, size_at);
}

static void
put_first_of_kind(struct buffer *out, const struct death *death)
{
    table_put_integer(out, "count", 1);
    table_put_text(out, "reason", bytes_of(death_reason_name(death->reason)));
    table_put_text(out, "queue", death->queue);
    buffer_put_shortstr(out, bytes_of("time"));
    buffer_put_u8(out, 'T');
    buffer_put_u64(out, death->time_s);
    table_put_text(out, "exchange", death->exchange);
    put_keys(out, death);
    if (death->expiration.data != NULL) {
        table_put_text(out, "original-expiration", death->expiration);
    }
}

/* What was said of the first of them stays; the count is in front, as in every entry. */
static void
put_again(struct buffer *out, struct bytes entry)
{
    struct table_value count = {.type = 'l'};
    int64_t so_far = table_find(entry, "count", &count) ? table_value_integer(&count) : 0;
    table_put_integer(out, "count", so_far + 1);
    table_copy_without(out, entry, "count");
}

/* The entry of the new death. */
static void
put_newest(struct buffer *out, struct bytes deaths, const struct death *death)
{
    struct byte_reader reader = byte_reader_make(deaths);
    struct bytes entry;
    buffer_put_u8(out, 'F');
    size_t size_at = table_begin_counted(out);
    while (next_death(&reader, &entry)) {
        if (is_death_of(entry, death)) {
            put_again(out, entry);
            table_end_counted(out, size_at);
            return;
        }
    }
    put_first_of_kind(out, death);
    table_end_counted(out, size_at);
}

/* The others, as long as the buffer stays within `size_max`. */
static void
put_older(struct buffer *out, struct bytes deaths, const struct death *death, size_t size_max)
{
    enum { ITEM_OVERHEAD = 1 + sizeof(uint32_t) };
    struct byte_reader reader = byte_reader_make(deaths);
    struct bytes entry;
    while (next_death(&reader, &entry)) {
        if (is_death_of(entry, death)) {
            continue;
        }
        if (buffer_size(out) + ITEM_OVERHEAD + entry.size > size_max) {
            return;
        }
        buffer_put_u8(out, 'F');
        buffer_put_longstr(out, entry);
    }
}

static void
put_witnesses(struct buffer *out, const char *const names[static WITNESS_COUNT],
              const struct bytes texts[static WITNESS_COUNT])
{
    for (size_t i = 0; i < WITNESS_COUNT; i++) {
        table_put_text(out, names[i], texts[i]);
    }
}

/* Of the first death and of the last, in front of x-death, whose length is known last. */
static void
put_first_and_last(struct buffer *out, const struct death_source *source, const struct death *death)
{
    const struct bytes last[WITNESS_COUNT] = {
        death->queue, bytes_of(death_reason_name(death->reason)), death->exchange};
    struct bytes first[WITNESS_COUNT] = {last[0], last[1], last[2]};
    struct table_value value;
    for (size_t i = 0; i < WITNESS_COUNT && source->has_deaths; i++) {
        if (table_find(source->headers, first_names[i], &value) && value.type == 'S') {
            first[i] = value.raw;
        }
    }
    put_witnesses(out, first_names, first);
    put_witnesses(out, last_names, last);
}

bool
death_headers_put(struct buffer *out, const struct death_source *source, const struct death *death,
                  size_t octets_max)
{
    struct bytes deaths = source->has_deaths ? deaths_of(source->headers) : bytes_of("");
    size_t start = buffer_size(out);
    table_copy_if(out, source->headers, is_copied, source);
    size_t others_size = buffer_size(out);
    put_first_and_last(out, source, death);
    buffer_put_shortstr(out, bytes_of("x-death"));
    buffer_put_u8(out, 'A');
    size_t size_at = table_begin_counted(out);
    put_newest(out, deaths, death);
    if (out->failed || buffer_size(out) - start > octets_max) {
        out->end = out->failed ? out->end : out->start + others_size;
        return false;
    }
    size_t size_max = size_at + sizeof(uint32_t) + DEATH_OCTETS_MAX;
    if (size_max > start + octets_max) {
        size_max = start + octets_max;
    }
    put_older(out, deaths, death, size_max);
    table_end_counted(out, size_at);
    return true;
}

bool
death_headers_have_cycle(struct bytes headers, struct bytes queue)
{
    struct byte_reader reader = byte_reader_make(deaths_of(headers));
    struct bytes entry;
    while (next_death(&reader, &entry)) {
        if (bytes_equal_text(text_of(entry, "reason"), death_reason_name(DEATH_REJECTED))) {
            return false;
        }
        if (bytes_equal(text_of(entry, "queue"), queue)) {
            return true;
        }
    }
    return false;
}
