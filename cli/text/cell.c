/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text/cell.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

enum { MS_PER_S = 1000, S_PER_MINUTE = 60, S_PER_HOUR = 3600, S_PER_DAY = 86400, STEP = 1024 };

const json_t *
cell_value(const json_t *object, const char *path)
{
    for (;;) {
        size_t size = strcspn(path, ".");
        object = json_object_getn(object, path, size);
        if (path[size] == '\0') {
            return object;
        }
        path += size + 1;
    }
}

/* Escaping ----------------------------------------------------------------------------------- */

static uint32_t
code_point(const uint8_t *at, size_t size)
{
    static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = at[0] & first_bits[size];
    for (size_t i = 1; i < size; i++) {
        value = value << 6 | (at[i] & 0x3fU);
    }
    return value;
}

/* C0, C1, and what embeds, overrides or isolates a direction of writing. */
static bool
steers_terminal(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
           point == 0x200e || point == 0x200f;
}

static void
put_escape(struct buffer *out, uint32_t point)
{
    if (point == '\n') {
        buffer_printf(out, "\\n");
    } else if (point == '\t') {
        buffer_printf(out, "\\t");
    } else if (point < 0x80) {
        buffer_printf(out, "\\x%02x", point);
    } else {
        buffer_printf(out, "\\u{%x}", point);
    }
}

void
cell_put_escaped(struct buffer *out, struct bytes text)
{
    while (text.size > 0) {
        size_t size = bytes_utf8_char(text);
        if (size == 0) {
            buffer_printf(out, "\\x%02x", text.data[0]);
            size = 1;
        } else if (steers_terminal(code_point(text.data, size))) {
            put_escape(out, code_point(text.data, size));
        } else {
            buffer_put(out, text.data, size);
        }
        text = bytes_make(text.data + size, text.size - size);
    }
}

void
cell_print_lines(FILE *out, const char *text)
{
    struct buffer line;
    buffer_init(&line);
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        buffer_clear(&line);
        cell_put_escaped(&line, bytes_make(text, size));
        text += size;
        bool has_end = *text == '\n';
        fprintf(out, "%.*s%s", BYTES_FORMAT(buffer_bytes(&line)), has_end ? "\n" : "");
        text += has_end ? 1 : 0;
    }
    buffer_fini(&line);
}

static void
put_dumped(struct buffer *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS |
                                       JSON_REAL_PRECISION(15));
    if (text != NULL) {
        cell_put_escaped(out, bytes_of(text));
        free(text);
    }
}

/* Numbers ------------------------------------------------------------------------------------ */

static void
put_size(struct buffer *out, double octets)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (octets >= STEP && unit + 1 < ARRAY_LEN(units)) {
        octets /= STEP;
        unit++;
    }
    buffer_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", octets, units[unit]);
}

static void
put_age(struct buffer *out, uint64_t ms)
{
    uint64_t s = ms / MS_PER_S;
    if (ms < MS_PER_S) {
        buffer_printf(out, "%ums", (unsigned)ms);
    } else if (s < S_PER_MINUTE) {
        buffer_printf(out, "%us", (unsigned)s);
    } else if (s < S_PER_HOUR) {
        buffer_printf(out, "%um %us", (unsigned)(s / S_PER_MINUTE), (unsigned)(s % S_PER_MINUTE));
    } else if (s < S_PER_DAY) {
        buffer_printf(out, "%uh %um", (unsigned)(s / S_PER_HOUR),
                      (unsigned)(s % S_PER_HOUR / S_PER_MINUTE));
    } else {
        buffer_printf(out, "%ud %uh", (unsigned)(s / S_PER_DAY),
                      (unsigned)(s % S_PER_DAY / S_PER_HOUR));
    }
}

static void
put_when(struct buffer *out, int64_t ms)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(ms / MS_PER_S);
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        return;
    }
    buffer_printf(out, "%s", text);
}

static void
put_number(struct buffer *out, double value, enum cell_kind kind)
{
    switch (kind) {
    case CELL_SIZE:
        put_size(out, value);
        break;
    case CELL_RATE:
        buffer_printf(out, "%.1f/s", value);
        break;
    case CELL_AGE:
        put_age(out, value > 0 ? (uint64_t)value : 0);
        break;
    case CELL_WHEN:
        put_when(out, (int64_t)value);
        break;
    case CELL_TEXT:
    case CELL_NUMBER:
    case CELL_JSON:
    case CELL_WORDS:
        buffer_printf(out, "%.15g", value);
        break;
    }
}

/* Values ------------------------------------------------------------------------------------- */

static bool
is_nothing(const json_t *value)
{
    return value == NULL || json_is_null(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static void
put_words(struct buffer *out, const json_t *words)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        buffer_printf(out, "%s", i == 0 ? "" : ", ");
        cell_put_raw(out, json_array_get(words, i));
    }
}

void
cell_put(struct buffer *out, const json_t *value, enum cell_kind kind)
{
    if (is_nothing(value)) {
        buffer_printf(out, "-");
    } else if (kind == CELL_WORDS && json_is_array(value)) {
        put_words(out, value);
    } else if (json_is_number(value)) {
        put_number(out, json_number_value(value), kind);
    } else {
        cell_put_raw(out, value);
    }
}

void
cell_put_raw(struct buffer *out, const json_t *value)
{
    if (is_nothing(value)) {
        return;
    }
    if (json_is_string(value)) {
        cell_put_escaped(out, bytes_make(json_string_value(value), json_string_length(value)));
    } else if (json_is_boolean(value)) {
        buffer_printf(out, "%s", json_is_true(value) ? "yes" : "no");
    } else {
        put_dumped(out, value);
    }
}
