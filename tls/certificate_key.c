/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/certificate_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* Nobody is asked for a passphrase. */
static int
give_no_passphrase(char *out, int size, int is_writing, void *context)
{
    (void)out;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static X509 *
read_certificate(const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *certificate = NULL;
    if (file != NULL) {
        certificate = PEM_read_X509(file, NULL, NULL, NULL);
        (void)fclose(file);
    }
    return certificate;
}

static EVP_PKEY *
read_key(const char *path)
{
    FILE *file = fopen(path, "re");
    EVP_PKEY *key = NULL;
    if (file != NULL) {
        key = PEM_read_PrivateKey(file, NULL, give_no_passphrase, NULL);
        (void)fclose(file);
    }
    return key;
}

enum certificate_key_verdict
certificate_key_check(const char *certificate_path, const char *key_path)
{
    enum certificate_key_verdict verdict = CERTIFICATE_KEY_UNREADABLE;
    X509 *certificate = read_certificate(certificate_path);
    EVP_PKEY *key = read_key(key_path);
    if (certificate != NULL && key != NULL) {
        verdict = X509_check_private_key(certificate, key) == 1 ? CERTIFICATE_KEY_FITS
                                                                : CERTIFICATE_KEY_OF_ANOTHER;
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    ERR_clear_error();
    return verdict;
}
