/* SPDX-License-Identifier: Apache-2.0 */
/* Names and scopes of the reply codes (specification, 1.2), and reply-texts. */
#include "amqp/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

const char *
reply_code_name(uint16_t code)
{
    static const struct {
        enum reply_code code;
        const char *name;
    } names[] = {
        {REPLY_SUCCESS, "REPLY_SUCCESS"},
        {REPLY_CONTENT_TOO_LARGE, "CONTENT_TOO_LARGE"},
        {REPLY_NO_ROUTE, "NO_ROUTE"},
        {REPLY_NO_CONSUMERS, "NO_CONSUMERS"},
        {REPLY_CONNECTION_FORCED, "CONNECTION_FORCED"},
        {REPLY_INVALID_PATH, "INVALID_PATH"},
        {REPLY_ACCESS_REFUSED, "ACCESS_REFUSED"},
        {REPLY_NOT_FOUND, "NOT_FOUND"},
        {REPLY_RESOURCE_LOCKED, "RESOURCE_LOCKED"},
        {REPLY_PRECONDITION_FAILED, "PRECONDITION_FAILED"},
        {REPLY_FRAME_ERROR, "FRAME_ERROR"},
        {REPLY_SYNTAX_ERROR, "SYNTAX_ERROR"},
        {REPLY_COMMAND_INVALID, "COMMAND_INVALID"},
        {REPLY_CHANNEL_ERROR, "CHANNEL_ERROR"},
        {REPLY_UNEXPECTED_FRAME, "UNEXPECTED_FRAME"},
        {REPLY_RESOURCE_ERROR, "RESOURCE_ERROR"},
        {REPLY_NOT_ALLOWED, "NOT_ALLOWED"},
        {REPLY_NOT_IMPLEMENTED, "NOT_IMPLEMENTED"},
        {REPLY_INTERNAL_ERROR, "INTERNAL_ERROR"},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    return "UNKNOWN";
}

enum fault_scope
reply_code_scope(uint16_t code)
{
    switch (code) {
    case REPLY_CONTENT_TOO_LARGE:
    case REPLY_NO_ROUTE:
    case REPLY_NO_CONSUMERS:
    case REPLY_ACCESS_REFUSED:
    case REPLY_NOT_FOUND:
    case REPLY_RESOURCE_LOCKED:
    case REPLY_PRECONDITION_FAILED:
        return FAULT_CHANNEL;
    default:
        return FAULT_CONNECTION;
    }
}

struct bytes
reply_text(const struct fault *fault, char out[static REPLY_TEXT_SIZE])
{
    int length =
        snprintf(out, REPLY_TEXT_SIZE, "%s - %s", reply_code_name(fault->reply_code), fault->text);
    assert(length >= 0);
    size_t size = (size_t)length;
    if (size >= REPLY_TEXT_SIZE) {
        static const char ellipsis[] = "...";
        size = bytes_utf8_prefix(bytes_of(out), REPLY_TEXT_SIZE - sizeof(ellipsis));
        memcpy(out + size, ellipsis, sizeof(ellipsis));
        size += sizeof(ellipsis) - 1;
    }
    return bytes_make(out, size);
}

enum status
fault_channel(struct fault *fault, enum reply_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum status status = fault_set_va(fault, FAULT_CHANNEL, (uint16_t)code, format, arguments);
    va_end(arguments);
    return status;
}

enum status
fault_connection(struct fault *fault, enum reply_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum status status = fault_set_va(fault, FAULT_CONNECTION, (uint16_t)code, format, arguments);
    va_end(arguments);
    return status;
}
