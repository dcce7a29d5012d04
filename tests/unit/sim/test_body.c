/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of the simulator's messages tell when anything in them is not as it was. */
#include "tests/sim/body.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(sim_body);

/* Any octet of any size counts. */
Test(sim_body, every_octet_is_looked_at)
{
    uint8_t octets[40];
    for (uint32_t size = BODY_SIZE_MIN; size <= sizeof(octets); size++) {
        body_fill(octets, 12345, size);
        struct bytes body = bytes_make(octets, size);
        cr_assert(eq(u32, body_number(body), 12345));
        cr_assert(body_is_right(body, 12345, size));
        for (uint32_t i = 0; i < size; i++) {
            octets[i] ^= 1;
            cr_assert(not(body_is_right(body, 12345, size)), "octet %u of %u", i, size);
            octets[i] ^= 1;
        }
    }
}

Test(sim_body, a_shorter_body_or_that_of_another_message_is_wrong)
{
    uint8_t octets[16];
    body_fill(octets, 1, sizeof(octets));
    cr_expect(not(body_is_right(bytes_make(octets, 15), 1, 16)));
    cr_expect(not(body_is_right(bytes_make(octets, 16), 2, 16)));
    memset(octets, 0, sizeof(octets));
    cr_expect(eq(u32, body_number(bytes_make(octets, 16)), UINT32_MAX));
    cr_expect(eq(u32, body_number(bytes_make(octets, 7)), UINT32_MAX));
}
