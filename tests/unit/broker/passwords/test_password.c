/* SPDX-License-Identifier: Apache-2.0 */
/* Which stored forms of a password are understood, and that hostile ones cost nothing. */
#include "broker/passwords/password.h"

#include "base/assert.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

/* base64("salt" + SHA-256("salt" + "secret")), made with another program. */
static const char RABBITMQ_SHA256_SECRET[] = "c2FsdL7ekDhtRQzqi3e4IviIcGXk5avxMsL53M/Mf71Mul41";

Test(password, a_hash_we_made_matches_its_password_and_no_other)
{
    struct random_source random = random_system();
    char hash[PASSWORD_HASH_SIZE];
    cr_assert(eq(int, password_hash(bytes_of("s3cret"), &random, hash), STATUS_OK));
    cr_expect(eq(int, password_verify(bytes_of("s3cret"), hash), STATUS_OK));
    cr_expect(eq(int, password_verify(bytes_of("s3creT"), hash), STATUS_REJECTED));
    cr_expect(eq(int, password_verify(bytes_of(""), hash), STATUS_REJECTED));
}

/* What a file says again is no difference: who has the password asks for the salt. */
Test(password, the_same_password_with_the_same_salt_gives_the_same_hash)
{
    static const char *const bad[] = {
        "",
        "$scrypt$",
        "$scrypt$ln=14,r=8,p=5$",
        "$scrypt$ln=30,r=8,p=5$AAAAAAAAAAAAAAAAAAAAAA",
        /* A salt that leaves no room for the key. */
        ("$scrypt$ln=14,r=8,p=5$"
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    };
    struct random_source random = random_system();
    char hash[PASSWORD_HASH_SIZE];
    char salt[PASSWORD_HASH_SIZE];
    char again[PASSWORD_HASH_SIZE];
    cr_assert(eq(int, password_hash(bytes_of("x"), &random, hash), STATUS_OK));
    (void)snprintf(salt, sizeof(salt), "%.*s", (int)(strrchr(hash, '$') - hash), hash);
    cr_assert(eq(int, password_hash_again(bytes_of("x"), salt, again), STATUS_OK));
    cr_expect(eq(str, again, hash));
    cr_assert(eq(int, password_hash_again(bytes_of("y"), salt, again), STATUS_OK));
    cr_expect(ne(str, again, hash));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect(eq(int, password_hash_again(bytes_of("x"), bad[i], again), STATUS_REJECTED), "%s",
                  bad[i]);
    }
}

Test(password, the_same_password_never_gives_the_same_hash_twice)
{
    struct random_source random = random_system();
    char first[PASSWORD_HASH_SIZE];
    char second[PASSWORD_HASH_SIZE];
    cr_assert(eq(int, password_hash(bytes_of("x"), &random, first), STATUS_OK));
    cr_assert(eq(int, password_hash(bytes_of("x"), &random, second), STATUS_OK));
    cr_expect(ne(str, first, second));
}

/* RFC 7914, part 12: N=16384, r=8, p=1, the whole 64-octet key. */
Test(password, scrypt_agrees_with_the_test_vector_of_its_specification)
{
    static const char hash[] = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
                               "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr5"
                               "5h6F3A1lHkDfzwF7RVdYhw";
    cr_expect(eq(int, password_verify(bytes_of("pleaseletmein"), hash), STATUS_OK));
    cr_expect(eq(int, password_verify(bytes_of("pleaseletmeout"), hash), STATUS_REJECTED));
}

Test(password, rabbitmqs_salted_sha256_is_understood)
{
    cr_expect(eq(int, password_verify(bytes_of("secret"), RABBITMQ_SHA256_SECRET), STATUS_OK));
    cr_expect(
        eq(int, password_verify(bytes_of("Secret"), RABBITMQ_SHA256_SECRET), STATUS_REJECTED));
    cr_expect(not(password_hash_is_slow(RABBITMQ_SHA256_SECRET)));
}

/* A file may be hostile: a hash that asks for gigabytes is refused before any memory is reserved.
 */
Test(password, what_is_no_hash_or_too_costly_a_one_matches_nothing)
{
    static const char *const hashes[] = {
        "",
        "secret",
        "$scrypt$",
        "$scrypt$ln=30,r=8,p=5$AAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=99,p=5$AAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=0$AAAA$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=8,p=5$AAAA",
        "$scrypt$ln=14,r=8,p=5$AAAA$AA",
        "$scrypt$ln=14,r=8,p=5$!!!!$AAAAAAAAAAAAAAAAAAAAAA",
        "AAAA",
        "====",
    };
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        cr_expect(eq(int, password_verify(bytes_of("secret"), hashes[i]), STATUS_REJECTED),
                  "hash \"%s\"", hashes[i]);
    }
}

/* What an unknown user's password is checked against must take the slow way and never match. */
Test(password, the_hash_of_nobody_is_slow_and_matches_nothing)
{
    cr_expect(password_hash_is_slow(password_hash_nobody));
    cr_expect(eq(int, password_verify(bytes_of(""), password_hash_nobody), STATUS_REJECTED));
    cr_expect(eq(int, password_verify(bytes_of("guest"), password_hash_nobody), STATUS_REJECTED));
}

/* Lengths are part of what is digested: otherwise user "ab" with secret "c" would be user "a" with
 * secret "bc". */
Test(password, digests_keep_user_hash_and_secret_apart)
{
    uint8_t key[PASSWORD_MAC_SIZE] = {1};
    uint8_t first[PASSWORD_MAC_SIZE];
    uint8_t second[PASSWORD_MAC_SIZE];
    password_mac(key, bytes_of("ab"), bytes_of(""), bytes_of("c"), first);
    password_mac(key, bytes_of("a"), bytes_of(""), bytes_of("bc"), second);
    cr_expect(not(password_mac_equal(first, second)));
    password_mac(key, bytes_of("ab"), bytes_of(""), bytes_of("c"), second);
    cr_expect(password_mac_equal(first, second));
}

/* What RabbitMQ made before 3.6, as imports still have it. */
Test(password, rabbitmqs_salted_md5_is_understood_and_named)
{
    static const char hash[] = "AQIDBJR91gt1SAWTmvD+VzA7MFU="; /* of "pw" */
    cr_expect(eq(str, (char *)password_hash_algorithm(hash), "rabbit_password_hashing_md5"));
    cr_expect(eq(int, password_verify(bytes_of("no"), hash), STATUS_REJECTED));
    cr_expect(eq(int, password_verify(bytes_of("pw"), hash), STATUS_OK));
    cr_expect(eq(str, (char *)password_hash_algorithm(password_hash_nobody),
                 "bourse_password_hashing_scrypt"));
    cr_expect(eq(ptr, (void *)password_hash_algorithm("AAAA"), NULL));
    cr_expect(eq(ptr, (void *)password_hash_algorithm(""), NULL));
    cr_expect(eq(ptr, (void *)password_hash_algorithm("$scrypt$nonsense"), NULL));
}
