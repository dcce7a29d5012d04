/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a fault, and words for statuses. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"

enum status
fault_set(struct fault *fault, enum fault_scope scope, uint16_t reply_code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fault_set_va(fault, scope, reply_code, format, arguments);
    va_end(arguments);
    return STATUS_FAULT;
}

enum status
fault_set_va(struct fault *fault, enum fault_scope scope, uint16_t reply_code, const char *format,
             va_list arguments)
{
    fault->scope = scope;
    fault->reply_code = reply_code;
    int length = vsnprintf(fault->text, sizeof(fault->text), format, arguments);
    assert(length >= 0);
    if ((size_t)length >= sizeof(fault->text)) {
        /* vsnprintf may have cut a character in two. */
        fault->text[bytes_utf8_prefix(bytes_of(fault->text), sizeof(fault->text) - 1)] = '\0';
    }
    return STATUS_FAULT;
}

const char *
status_name(enum status status)
{
    static const char *const names[] = {
        [STATUS_OK] = "ok",         [STATUS_AGAIN] = "again",
        [STATUS_FAULT] = "fault",   [STATUS_REJECTED] = "rejected",
        [STATUS_FULL] = "full",     [STATUS_NO_MEMORY] = "no-memory",
        [STATUS_IO] = "io",         [STATUS_CORRUPT] = "corrupt",
        [STATUS_CLOSED] = "closed",
    };
    assert((size_t)status < ARRAY_LEN(names));
    return names[status];
}
