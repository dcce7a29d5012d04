/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/metric_text.h"

#include <inttypes.h>
#include <string.h>

static void
put_text(struct buffer *out, const char *text)
{
    buffer_put(out, text, strlen(text));
}

void
metric_begin(struct buffer *out, const char *prefix, const char *name, enum metric_kind kind,
             const char *help)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buffer_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name,
                  kinds[kind]);
}

static uint8_t *
copy_text(uint8_t *at, const char *text, size_t size)
{
    memcpy(at, text, size);
    return at + size;
}

/* "name{labels} ", in one go: there is one for each line. */
static void
put_name(struct buffer *out, const char *prefix, const char *name, const char *labels)
{
    enum { AROUND = 3 };
    size_t prefix_size = strlen(prefix);
    size_t name_size = strlen(name);
    size_t labels_size = labels == NULL ? 0 : strlen(labels);
    uint8_t *start = buffer_reserve(out, prefix_size + name_size + labels_size + AROUND);
    if (start == NULL) {
        return;
    }
    uint8_t *at = copy_text(copy_text(start, prefix, prefix_size), name, name_size);
    if (labels_size > 0) {
        *at++ = '{';
        at = copy_text(at, labels, labels_size);
        *at++ = '}';
    }
    *at++ = ' ';
    buffer_commit(out, (size_t)(at - start));
}

static void
put_line_end(struct buffer *out, uint64_t value)
{
    buffer_put_decimal(out, value);
    buffer_put_u8(out, '\n');
}

void
metric_put(struct buffer *out, const char *prefix, const char *name, const char *labels,
           uint64_t value)
{
    put_name(out, prefix, name, labels);
    put_line_end(out, value);
}

static void
put_scaled(struct buffer *out, uint64_t value, uint64_t per_unit)
{
    buffer_put_decimal(out, value / per_unit);
    if (per_unit > 1) {
        buffer_put_u8(out, '.');
    }
    uint64_t rest = value % per_unit;
    for (uint64_t unit = per_unit / 10; unit > 0; unit /= 10) {
        buffer_put_u8(out, (uint8_t)('0' + rest / unit % 10));
    }
    buffer_put_u8(out, '\n');
}

void
metric_put_scaled(struct buffer *out, const char *prefix, const char *name, const char *labels,
                  uint64_t value, uint64_t per_unit)
{
    put_name(out, prefix, name, labels);
    put_scaled(out, value, per_unit);
}

void
metric_put_label(struct buffer *out, const char *name, struct bytes value)
{
    if (buffer_size(out) > 0) {
        buffer_put_u8(out, ',');
    }
    put_text(out, name);
    put_text(out, "=\"");
    for (size_t i = 0; i < value.size; i++) {
        uint8_t octet = value.data[i];
        if (octet == '\n') {
            put_text(out, "\\n");
        } else if (octet == 0) {
            put_text(out, "\xef\xbf\xbd"); /* U+FFFD: readers take an octet 0 for the end */
        } else {
            if (octet == '"' || octet == '\\') {
                buffer_put_u8(out, '\\');
            }
            buffer_put_u8(out, octet);
        }
    }
    buffer_put_u8(out, '"');
}

void
metric_put_histogram(struct buffer *out, const char *prefix, const char *name, const char *labels,
                     const struct metric_histogram *histogram)
{
    bool has_labels = labels != NULL && labels[0] != '\0';
    const char *before = has_labels ? labels : "";
    const char *comma = has_labels ? "," : "";
    uint64_t total = 0;
    for (size_t i = 0; i < histogram->count; i++) {
        total += histogram->counts[i];
        buffer_printf(out, "%s%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", prefix, name, before, comma,
                      histogram->bounds[i], total);
    }
    put_text(out, prefix);
    put_name(out, name, "_sum", labels);
    put_scaled(out, histogram->sum, histogram->per_unit);
    put_text(out, prefix);
    put_name(out, name, "_count", labels);
    put_line_end(out, total);
}
