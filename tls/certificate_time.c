/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/certificate_time.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum { MS_PER_S = 1000 };

static bool
time_of(const ASN1_TIME *from, int64_t *ms_out)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(from, &parts) != 1) {
        return false;
    }
    *ms_out = (int64_t)timegm(&parts) * MS_PER_S;
    return true;
}

/* Narrows `time` to when `certificate` is valid as well. */
static bool
narrow(struct certificate_time *time, const X509 *certificate)
{
    int64_t begin_ms;
    int64_t end_ms;
    if (!time_of(X509_get0_notBefore(certificate), &begin_ms) ||
        !time_of(X509_get0_notAfter(certificate), &end_ms)) {
        return false;
    }
    time->begin_ms = begin_ms > time->begin_ms ? begin_ms : time->begin_ms;
    time->end_ms = end_ms < time->end_ms ? end_ms : time->end_ms;
    return true;
}

static bool
read_all(FILE *file, struct certificate_time *time_out)
{
    struct certificate_time time = {INT64_MIN, INT64_MAX};
    bool is_read = true;
    size_t count = 0;
    X509 *certificate;
    while (is_read && (certificate = PEM_read_X509(file, NULL, NULL, NULL)) != NULL) {
        is_read = narrow(&time, certificate);
        X509_free(certificate);
        count++;
    }
    ERR_clear_error(); /* the end of the file is one */
    if (is_read && count > 0) {
        *time_out = time;
    }
    return is_read && count > 0;
}

bool
certificate_file_time(const char *path, struct certificate_time *time_out)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool is_read = read_all(file, time_out);
    fclose(file);
    return is_read;
}

bool
certificate_file_end(const char *path, int64_t *end_ms_out)
{
    struct certificate_time time;
    if (!certificate_file_time(path, &time)) {
        return false;
    }
    *end_ms_out = time.end_ms;
    return true;
}
