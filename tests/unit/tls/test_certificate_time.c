/* SPDX-License-Identifier: Apache-2.0 */
/* When a file of certificates is valid: as long as all of its chain is. */
#include "tls/certificate_time.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

static char path[64];

static void
set_up(void)
{
    snprintf(path, sizeof(path), "/tmp/bourse-certificate-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    close(fd);
}

static void
tear_down(void)
{
    unlink(path);
}

TestSuite(certificate_time, .init = set_up, .fini = tear_down);

/* Appends a certificate that is valid between two times in seconds since 1970. */
static void
add(long begin_s, long end_s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file = fopen(path, "a");
    ASN1_TIME_set(X509_getm_notBefore(certificate), begin_s);
    ASN1_TIME_set(X509_getm_notAfter(certificate), end_s);
    X509_set_pubkey(certificate, key);
    cr_assert(ne(int, X509_sign(certificate, key, EVP_sha256()), 0));
    cr_assert(eq(int, PEM_write_X509(file, certificate), 1));
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* An authority between, which ends first, ends it for clients too. */
Test(certificate_time, a_chain_is_valid_as_long_as_all_of_it)
{
    struct certificate_time time;
    int64_t end_ms;
    add(1000, 9000);
    cr_assert(certificate_file_time(path, &time));
    cr_expect(eq(i64, time.begin_ms, 1000000));
    cr_expect(eq(i64, time.end_ms, 9000000));
    add(2000, 5000);
    add(500, 99000);
    cr_assert(certificate_file_time(path, &time));
    cr_expect(eq(i64, time.begin_ms, 2000000));
    cr_assert(certificate_file_end(path, &end_ms));
    cr_expect(eq(i64, end_ms, 5000000));
}

Test(certificate_time, a_file_without_one_has_none)
{
    struct certificate_time time = {7, 7};
    cr_expect(not(certificate_file_time(path, &time)));
    cr_expect(not(certificate_file_time("/nowhere/at/all.pem", &time)));
    cr_expect(eq(i64, time.end_ms, 7));
}
