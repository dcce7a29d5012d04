/* SPDX-License-Identifier: Apache-2.0 */
/* Reply codes: names and scopes as in the specification's table of constants. */
#include "amqp/reply.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "base/assert.h"

static const struct {
    uint16_t code;
    const char *name;
    enum fault_scope scope;
} codes[] = {
    {200, "REPLY_SUCCESS", FAULT_CONNECTION},
    {311, "CONTENT_TOO_LARGE", FAULT_CHANNEL},
    {312, "NO_ROUTE", FAULT_CHANNEL},
    {313, "NO_CONSUMERS", FAULT_CHANNEL},
    {320, "CONNECTION_FORCED", FAULT_CONNECTION},
    {402, "INVALID_PATH", FAULT_CONNECTION},
    {403, "ACCESS_REFUSED", FAULT_CHANNEL},
    {404, "NOT_FOUND", FAULT_CHANNEL},
    {405, "RESOURCE_LOCKED", FAULT_CHANNEL},
    {406, "PRECONDITION_FAILED", FAULT_CHANNEL},
    {501, "FRAME_ERROR", FAULT_CONNECTION},
    {502, "SYNTAX_ERROR", FAULT_CONNECTION},
    {503, "COMMAND_INVALID", FAULT_CONNECTION},
    {504, "CHANNEL_ERROR", FAULT_CONNECTION},
    {505, "UNEXPECTED_FRAME", FAULT_CONNECTION},
    {506, "RESOURCE_ERROR", FAULT_CONNECTION},
    {530, "NOT_ALLOWED", FAULT_CONNECTION},
    {540, "NOT_IMPLEMENTED", FAULT_CONNECTION},
    {541, "INTERNAL_ERROR", FAULT_CONNECTION},
    {0, "UNKNOWN", FAULT_CONNECTION},
    {999, "UNKNOWN", FAULT_CONNECTION},
};

Test(reply, codes_have_the_names_and_scopes_of_the_specification)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        cr_expect(eq(str, (char *)reply_code_name(codes[i].code), (char *)codes[i].name));
        cr_expect(eq(int, reply_code_scope(codes[i].code), codes[i].scope), "%u", codes[i].code);
    }
}

Test(reply, a_text_is_name_and_explanation)
{
    struct fault fault;
    char out[REPLY_TEXT_SIZE];
    enum status status = fault_channel(&fault, REPLY_NOT_FOUND, "no queue '%s'", "q");
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.scope, FAULT_CHANNEL));
    struct bytes text = reply_text(&fault, out);
    cr_expect(bytes_equal_text(text, "NOT_FOUND - no queue 'q'"));
    cr_expect(eq(ptr, (void *)text.data, out));

    status = fault_connection(&fault, REPLY_NOT_FOUND, "x");
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.scope, FAULT_CONNECTION), "on channel 0 everything is hard");
}

/* The wire has one octet for the length; clients decode the text as UTF-8 and fail on half a
 * character. */
Test(reply, a_long_text_is_cut_between_characters_and_ends_in_dots)
{
    for (size_t shift = 0; shift < 4; shift++) {
        struct fault fault;
        char out[REPLY_TEXT_SIZE];
        char name[512];
        memset(name, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof(name); i += 4) {
            memcpy(name + i, "\xF0\x9F\x98\x80", 5);
        }
        (void)fault_channel(&fault, REPLY_NOT_FOUND, "%s", name);
        struct bytes text = reply_text(&fault, out);
        cr_expect(lt(sz, 251, text.size));
        cr_expect(le(sz, text.size, 255));
        cr_expect(bytes_is_utf8(text));
        cr_expect(eq(int, memcmp(text.data + text.size - 3, "...", 3), 0));
    }
    struct fault fault;
    char out[REPLY_TEXT_SIZE];
    (void)fault_channel(&fault, REPLY_NOT_FOUND, "%0300d", 1);
    cr_expect(eq(sz, reply_text(&fault, out).size, 255));
}
