/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/message/expiration.h"

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "broker/message/delay.h"

/* `text` as it may stand in a reply-text: UTF-8, cut to fit. */
static const char *
printable(struct bytes text, char *out, size_t out_size)
{
    struct table_value value = {.type = 'S', .raw = text};
    return table_value_text(&value, out, out_size);
}

/* Its text is what RabbitMQ's integer parser says. */
static enum status
fault_expiration(struct fault *fault, struct bytes expiration, const char *why, struct bytes detail,
                 bool is_quoted)
{
    char shown[64];
    char shown_detail[64];
    const char *quote = is_quoted ? "\"" : "";
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "invalid expiration '%s': {%s,%s%s%s}",
                         printable(expiration, shown, sizeof(shown)), why, quote,
                         printable(detail, shown_detail, sizeof(shown_detail)), quote);
}

static bool
is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

enum status
expiration_read(struct bytes text, uint64_t *expiration_out, struct fault *fault)
{
    size_t first = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    size_t end = first;
    uint64_t value = 0;
    while (end < text.size && is_digit(text.data[end])) {
        value = value * 10 + (uint64_t)(text.data[end] - '0');
        value = value > DELAY_MS_MAX ? DELAY_MS_MAX + 1 : value;
        end++;
    }
    if (end == first) {
        char shown[64];
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid expiration '%s': no_integer",
                             printable(text, shown, sizeof(shown)));
    }
    if (end < text.size) {
        return fault_expiration(fault, text, "leftover_string",
                                bytes_make(text.data + end, text.size - end), true);
    }
    if (text.data[0] == '-' && value > 0) {
        return fault_expiration(fault, text, "value_negative", text, false);
    }
    if (value > DELAY_MS_MAX) {
        return fault_expiration(fault, text, "value_too_large", text, false);
    }
    *expiration_out = value + 1;
    return STATUS_OK;
}

uint64_t
content_expiration(const struct content *content)
{
    struct bytes block = content_properties(content);
    if ((get_u16(block.data) & PROPERTY_EXPIRATION) == 0) {
        return 0;
    }
    UNINITIALIZED struct properties properties;
    uint64_t expiration = 0;
    struct fault fault;
    enum status status = properties_decode(&properties, block, &fault);
    if (status == STATUS_OK) {
        status = expiration_read(properties.expiration, &expiration, &fault);
    }
    assert(status == STATUS_OK);
    return expiration;
}
