/* SPDX-License-Identifier: Apache-2.0 */
/* Faults and the words for statuses. */
#include "base/status.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "base/bytes.h"

Test(status, every_status_has_a_word)
{
    cr_expect(eq(str, (char *)status_name(STATUS_OK), "ok"));
    for (int status = STATUS_OK; status <= STATUS_CLOSED; status++) {
        cr_expect(ne(ptr, (void *)status_name((enum status)status), NULL), "status %d", status);
    }
}

Test(fault, says_scope_code_and_text)
{
    struct fault fault;
    enum status status = fault_set(&fault, FAULT_CONNECTION, 504, "channel %d", 7);
    cr_expect(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault.scope, FAULT_CONNECTION));
    cr_expect(eq(u16, fault.reply_code, 504));
    cr_expect(eq(str, fault.text, "channel 7"));
}

/* Texts quote names that peers chose; a cut must not make them invalid. */
Test(fault, a_long_text_is_cut_between_characters)
{
    char name[401];
    for (int i = 0; i < 400; i += 2) {
        memcpy(name + i, "\xC3\xA4", 2);
    }
    name[400] = '\0';
    struct fault fault;
    (void)fault_set(&fault, FAULT_CHANNEL, 404, "no queue '%s'", name);
    cr_expect(eq(sz, strlen(fault.text), 254), "10 octets, then 122 characters of 2");
    cr_expect(bytes_is_utf8(bytes_of(fault.text)));
}
