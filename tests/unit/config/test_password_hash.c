/* SPDX-License-Identifier: Apache-2.0 */
/* Which password hashes a file may contain. */
#include "config/password_hash.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

#define SALT "by0cmnvgTVOIofDD0rTmlw"
/* 68 octets of zero. */
#define TWENTY_TWO "AAAAAAAAAAAAAAAAAAAAAA"
#define SHA512_FORM TWENTY_TWO TWENTY_TWO TWENTY_TWO TWENTY_TWO "AAA="
#define HASH "W3XcNLnYycFc7mvTDAfEeTIQg3cEkjCBXBTn2vJ61Lw"

Test(password_hash, scrypt_and_the_two_forms_of_rabbitmq_are_accepted)
{
    static const char *const rows[] = {
        "$scrypt$ln=14,r=8,p=5$" SALT "$" HASH,
        "$scrypt$ln=16,r=8,p=1$" SALT "$" HASH,
        "$scrypt$ln=1,r=1,p=1$" SALT "$" HASH HASH,
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
        SHA512_FORM,
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *problem = password_hash_problem(bytes_of(rows[i]));
        cr_expect(eq(ptr, (void *)problem, NULL), "%s: %s", rows[i], problem);
    }
}

/* A hash names its own cost; a hostile file must not make the broker pay it. */
Test(password_hash, what_is_malformed_or_too_costly_is_refused)
{
    static const char *const rows[] = {
        "",
        "guest",
        "$argon2id$v=19$m=65536,t=2,p=1$" SALT "$" HASH,
        "$scrypt$",
        "$scrypt$ln=14,r=8,p=5$...",
        "$scrypt$ln=14,r=8,p=5$" SALT,
        "$scrypt$ln=14,r=8,p=5$" SALT "$",
        "$scrypt$ln=14,r=8,p=5$$" HASH,
        "$scrypt$ln=14,r=8,p=5$" SALT "=$" HASH,
        "$scrypt$ln=14,r=8,p=5$" SALT "$" HASH "$",
        "$scrypt$ln=14,r=8,p=5,x=1$" SALT "$" HASH,
        "$scrypt$r=8,ln=14,p=5$" SALT "$" HASH,
        "$scrypt$ln=014,r=8,p=5$" SALT "$" HASH,
        "$scrypt$ln=-1,r=8,p=5$" SALT "$" HASH,
        "$scrypt$ln=0,r=8,p=5$" SALT "$" HASH,
        "$scrypt$ln=17,r=8,p=1$" SALT "$" HASH,
        "$scrypt$ln=16,r=16,p=1$" SALT "$" HASH,
        "$scrypt$ln=16,r=8,p=16$" SALT "$" HASH,
        "$scrypt$ln=14,r=8,p=99999999999999999999$" SALT "$" HASH,
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO",
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO*",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(ne(ptr, (void *)password_hash_problem(bytes_of(rows[i])), NULL), "%s", rows[i]);
    }
}
