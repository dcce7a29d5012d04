/* SPDX-License-Identifier: Apache-2.0 */
/* Reply codes of AMQP 0-9-1 and the reply-text that goes with them: `NAME - explanation`. */
#ifndef BOURSE_AMQP_REPLY_H
#define BOURSE_AMQP_REPLY_H

#include "base/bytes.h"
#include "base/status.h"

enum reply_code {
    REPLY_SUCCESS = 200,
    REPLY_CONTENT_TOO_LARGE = 311,
    REPLY_NO_ROUTE = 312,
    REPLY_NO_CONSUMERS = 313,
    REPLY_CONNECTION_FORCED = 320,
    REPLY_INVALID_PATH = 402,
    REPLY_ACCESS_REFUSED = 403,
    REPLY_NOT_FOUND = 404,
    REPLY_RESOURCE_LOCKED = 405,
    REPLY_PRECONDITION_FAILED = 406,
    REPLY_FRAME_ERROR = 501,
    REPLY_SYNTAX_ERROR = 502,
    REPLY_COMMAND_INVALID = 503,
    REPLY_CHANNEL_ERROR = 504,
    REPLY_UNEXPECTED_FRAME = 505,
    REPLY_RESOURCE_ERROR = 506,
    REPLY_NOT_ALLOWED = 530,
    REPLY_NOT_IMPLEMENTED = 540,
    REPLY_INTERNAL_ERROR = 541,
};

/* Such as "NOT_FOUND"; "UNKNOWN" for a number that is no reply code. Static memory. */
const char *reply_code_name(uint16_t code);

/* Whether the specification gives the code channel scope (311, 312, 313, 403 to 406). */
enum fault_scope reply_code_scope(uint16_t code);

enum { REPLY_TEXT_SIZE = 256 };

/* Writes `NAME - explanation` of `fault` and returns the written octets (a view of `out`). A text
 * over 255 octets is cut to 252, never inside a UTF-8 character, and ends in "...", as RabbitMQ's
 * does. */
struct bytes reply_text(const struct fault *fault, char out[static REPLY_TEXT_SIZE]);

/* The two kinds of fault_set with a reply code that says its scope itself. */
enum status fault_channel(struct fault *fault, enum reply_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);
enum status fault_connection(struct fault *fault, enum reply_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
