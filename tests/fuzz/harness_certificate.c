/* SPDX-License-Identifier: Apache-2.0 */
/* From a client certificate to a user name. The input is a certificate in DER, as OpenSSL would
 * have verified it; whatever its fields hold, a name is UTF-8 without control characters that fits.
 */
#include "tls/tls_name.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tests/fuzz/target.h"

enum { INPUT_MAX = 4096, NAME_SIZE = 256 };

static void
check_name(const X509 *certificate, enum tls_user_from from)
{
    char name[NAME_SIZE];
    char small[8];
    memset(name, 'x', sizeof(name));
    memset(small, 'x', sizeof(small));
    tls_name_of(certificate, from, name, sizeof(name));
    tls_name_of(certificate, from, small, sizeof(small));
    assert(memchr(name, 0, sizeof(name)) != NULL);
    assert(memchr(small, 0, sizeof(small)) != NULL);
    struct bytes text = bytes_of(name);
    assert(bytes_is_utf8(text));
    for (size_t i = 0; i < text.size; i++) {
        assert(text.data[i] >= 0x20);
        assert(text.data[i] != 0x7F);
    }
    /* A name is never cut: it would be somebody else's. */
    assert(small[0] == '\0' || strcmp(small, name) == 0);
}

static void
run(struct bytes input)
{
    const unsigned char *at = input.data;
    X509 *certificate = d2i_X509(NULL, &at, (long)input.size);
    if (certificate != NULL) {
        for (int from = TLS_USER_FROM_CN; from <= TLS_USER_FROM_SAN_URI; from++) {
            check_name(certificate, (enum tls_user_from)from);
        }
    }
    X509_free(certificate);
    ERR_clear_error();
}

static void
draw_octets(struct draw *draw, unsigned char *out, size_t size)
{
    static const char usual[] = "ab/.@-\0\n\x7F\xC3\xA9\xFF:";
    for (size_t i = 0; i < size; i++) {
        uint32_t at = draw_below(draw, sizeof(usual));
        out[i] = draw_chance(draw, 60) ? (unsigned char)('a' + draw_below(draw, 26))
                                       : (unsigned char)usual[at];
    }
}

static void
change_subject(X509 *certificate, struct draw *draw)
{
    static const int types[] = {V_ASN1_UTF8STRING,      V_ASN1_PRINTABLESTRING, V_ASN1_IA5STRING,
                                V_ASN1_UNIVERSALSTRING, V_ASN1_BMPSTRING,       V_ASN1_T61STRING,
                                V_ASN1_OCTET_STRING};
    static const int fields[] = {NID_commonName, NID_organizationName, NID_countryName};
    X509_NAME *name = X509_NAME_new();
    unsigned char text[300];
    assert(name != NULL);
    for (uint32_t count = draw_below(draw, 4); count > 0; count--) {
        size_t size = draw_chance(draw, 10) ? sizeof(text) : draw_below(draw, 20);
        draw_octets(draw, text, size);
        (void)X509_NAME_add_entry_by_NID(name, fields[draw_below(draw, ARRAY_LEN(fields))],
                                         types[draw_below(draw, ARRAY_LEN(types))], text, (int)size,
                                         -1, 0);
    }
    (void)X509_set_subject_name(certificate, name);
    X509_NAME_free(name);
}

static GENERAL_NAME *
draw_general_name(struct draw *draw)
{
    static const int types[] = {GEN_DNS, GEN_EMAIL, GEN_URI};
    unsigned char text[300];
    size_t size = draw_chance(draw, 10) ? sizeof(text) : draw_below(draw, 20);
    draw_octets(draw, text, size);
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    assert(value != NULL);
    assert(name != NULL);
    (void)ASN1_STRING_set(value, text, (int)size);
    GENERAL_NAME_set0_value(name, types[draw_below(draw, ARRAY_LEN(types))], value);
    return name;
}

static void
change_alternative_names(X509 *certificate, struct draw *draw)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    assert(names != NULL);
    for (uint32_t count = draw_below(draw, 4); count > 0; count--) {
        GENERAL_NAME *name = draw_general_name(draw);
        if (sk_GENERAL_NAME_push(names, name) <= 0) {
            GENERAL_NAME_free(name);
        }
    }
    (void)X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0,
                            draw_chance(draw, 80) ? X509V3_ADD_REPLACE : X509V3_ADD_APPEND);
    GENERAL_NAMES_free(names);
}

/* Gives a certificate another subject or other alternative names; its signature no longer matters
 * here. */
static size_t
mutate(uint8_t *data, size_t size, size_t size_max, struct draw *draw)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate != NULL) {
        if (draw_chance(draw, 60)) {
            change_subject(certificate, draw);
        }
        if (draw_chance(draw, 60)) {
            change_alternative_names(certificate, draw);
        }
        unsigned char *encoded = NULL;
        int encoded_size = i2d_X509(certificate, &encoded);
        if (encoded_size > 0 && (size_t)encoded_size <= size_max) {
            memcpy(data, encoded, (size_t)encoded_size);
            size = (size_t)encoded_size;
        }
        OPENSSL_free(encoded);
    }
    X509_free(certificate);
    ERR_clear_error();
    if (size > 0 && draw_chance(draw, 50)) {
        data[draw_below(draw, (uint32_t)size)] ^= (uint8_t)(1U << draw_below(draw, 8));
    }
    return size;
}

const struct fuzz_target fuzz_certificate = {
    .name = "certificate", .size_max = INPUT_MAX, .run = run, .mutate = mutate};
