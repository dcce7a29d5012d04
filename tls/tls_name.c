/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_name.h"

#include "base/bytes.h"

#include <openssl/bio.h>
#include <openssl/x509v3.h>

/* Takes `name` if it can be a user name: UTF-8 without control characters that fits. */
static void
tls_name_take(struct bytes name, char *out, size_t out_size)
{
    out[0] = '\0';
    if (name.size == 0 || name.size >= out_size || !bytes_is_utf8(name)) {
        return;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7F) {
            return;
        }
    }
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
}

static void
tls_name_from_cn(const X509_NAME *subject, char *out, size_t out_size)
{
    int first = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (first < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, first) >= 0) {
        return;
    }
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, first));
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, value);
    if (size > 0) {
        tls_name_take(bytes_make(text, (size_t)size), out, out_size);
    }
    OPENSSL_free(text);
}

static void
tls_name_from_dn(const X509_NAME *subject, char *out, size_t out_size)
{
    BIO *text = BIO_new(BIO_s_mem());
    if (text == NULL) {
        return;
    }
    if (X509_NAME_print_ex(text, subject, 0,
                           XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        char *data = NULL;
        long size = BIO_get_mem_data(text, &data);
        tls_name_take(bytes_make(data, size > 0 ? (size_t)size : 0), out, out_size);
    }
    BIO_free(text);
}

/* What follows the last slash of a URI such as spiffe://shop/billing. */
static struct bytes
uri_last_segment(struct bytes uri)
{
    size_t start = uri.size;
    while (start > 0 && uri.data[start - 1] != '/') {
        start--;
    }
    return bytes_make(uri.data + start, uri.size - start);
}

static void
tls_name_from_san(const X509 *certificate, int type, char *out, size_t out_size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != type) {
            continue;
        }
        const ASN1_IA5STRING *text = name->d.ia5; /* the same member for DNS, e-mail and URI */
        struct bytes value =
            bytes_make(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
        tls_name_take(type == GEN_URI ? uri_last_segment(value) : value, out, out_size);
        break;
    }
    GENERAL_NAMES_free(names);
}

void
tls_name_of(const X509 *certificate, enum tls_user_from from, char *out, size_t out_size)
{
    out[0] = '\0';
    const X509_NAME *subject = X509_get_subject_name(certificate);
    switch (from) {
    case TLS_USER_FROM_CN:
        tls_name_from_cn(subject, out, out_size);
        break;
    case TLS_USER_FROM_DN:
        tls_name_from_dn(subject, out, out_size);
        break;
    case TLS_USER_FROM_SAN_DNS:
        tls_name_from_san(certificate, GEN_DNS, out, out_size);
        break;
    case TLS_USER_FROM_SAN_EMAIL:
        tls_name_from_san(certificate, GEN_EMAIL, out, out_size);
        break;
    case TLS_USER_FROM_SAN_URI:
        tls_name_from_san(certificate, GEN_URI, out, out_size);
        break;
    }
}
