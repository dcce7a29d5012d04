/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message/delay.h"

#include <inttypes.h>

#include "amqp/reply.h"
#include "amqp/table.h"

/* Beyond what any clock says, and far from where arithmetic ends. */
static const int64_t FAR_MS = INT64_C(1) << 60;

static int64_t
limit(int64_t value)
{
    if (value > FAR_MS) {
        return FAR_MS;
    }
    return value < -FAR_MS ? -FAR_MS : value;
}

/* False: it is no decimal number. */
static bool
read_digits(struct bytes text, int64_t *value_out)
{
    size_t first = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    int64_t value = 0;
    for (size_t i = first; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value < FAR_MS / 10 ? value * 10 + (text.data[i] - '0') : FAR_MS;
    }
    *value_out = first == 1 && text.data[0] == '-' ? -value : value;
    return text.size > first;
}

static bool
read_float(const struct table_value *value, int64_t *value_out)
{
    double number = table_value_float(value);
    if (number >= (double)FAR_MS || number <= (double)-FAR_MS) {
        *value_out = number > 0 ? FAR_MS : -FAR_MS;
    } else if (number == number) {
        *value_out = (int64_t)number;
    } else {
        return false;
    }
    return true;
}

/* False: it is no number. */
static bool
read_number(const struct table_value *value, int64_t *value_out)
{
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
        *value_out = limit(table_value_integer(value));
        return true;
    case TABLE_CLASS_FLOAT:
        return read_float(value, value_out);
    case TABLE_CLASS_STRING:
        return read_digits(value->raw, value_out);
    default:
        return false;
    }
}

/* One of the two headers. `from_ms` is where it counts from. */
static enum status
read_header(struct bytes headers, const char *name, int64_t from_ms, uint64_t *delay_ms,
            struct fault *fault)
{
    struct table_value value;
    int64_t number;
    if (!table_find(headers, name, &value) || table_value_class(&value) == TABLE_CLASS_VOID) {
        return STATUS_OK;
    }
    char text[64];
    if (!read_number(&value, &number)) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid header '%s': '%s' of type '%s' is no number of milliseconds",
                             name, table_value_text(&value, text, sizeof(text)),
                             table_type_name(value.type));
    }
    int64_t delay = number - from_ms;
    if (delay <= 0 || (uint64_t)delay <= *delay_ms) {
        return STATUS_OK;
    }
    if ((uint64_t)delay > DELAY_MS_MAX) {
        *delay_ms = DELAY_MS_MAX;
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid header '%s': '%s' is more than ten years (%" PRIu64
                             " ms) from now",
                             name, table_value_text(&value, text, sizeof(text)), DELAY_MS_MAX);
    }
    *delay_ms = (uint64_t)delay;
    return STATUS_OK;
}

enum status
delay_read(struct bytes headers, int64_t wall_ms, uint64_t *delay_ms_out, struct fault *fault)
{
    *delay_ms_out = 0;
    enum status by_delay = read_header(headers, "x-delay", 0, delay_ms_out, fault);
    enum status by_time = read_header(headers, "x-deliver-at", wall_ms, delay_ms_out, fault);
    return by_delay == STATUS_OK && by_time == STATUS_OK ? STATUS_OK : STATUS_FAULT;
}
