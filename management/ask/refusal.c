/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/refusal.h"

#include <stdio.h>

#include "amqp/reply.h"

void
refusal_set(struct refusal *refusal, const struct fault *fault)
{
    char text[REPLY_TEXT_SIZE];
    struct bytes whole = reply_text(fault, text);
    refusal->reply_code = fault->reply_code;
    (void)snprintf(refusal->reply_text, sizeof(refusal->reply_text), "%.*s", BYTES_FORMAT(whole));
}

void
refusal_set_text(struct refusal *refusal, uint16_t reply_code, const char *text)
{
    refusal->reply_code = reply_code;
    (void)snprintf(refusal->reply_text, sizeof(refusal->reply_text), "%s", text);
}
