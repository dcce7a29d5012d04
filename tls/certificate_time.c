/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/certificate_time.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

enum { MS_PER_S = 1000 };

static bool
read_end(FILE *file, int64_t *end_ms_out)
{
    struct tm parts;
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    if (certificate == NULL) {
        return false;
    }
    bool is_read = ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) == 1;
    X509_free(certificate);
    if (is_read) {
        *end_ms_out = (int64_t)timegm(&parts) * MS_PER_S;
    }
    return is_read;
}

bool
certificate_file_end(const char *path, int64_t *end_ms_out)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool is_read = read_end(file, end_ms_out);
    fclose(file);
    return is_read;
}
