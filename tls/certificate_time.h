/* SPDX-License-Identifier: Apache-2.0 */
/* When a certificate is valid. */
#ifndef BOURSE_TLS_CERTIFICATE_TIME_H
#define BOURSE_TLS_CERTIFICATE_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* In milliseconds since 1970. */
struct certificate_time {
    int64_t begin_ms, end_ms;
};

/* When all certificates of a PEM file are valid, which hold together or not at all: a chain ends
 * with the first of its links. False: the file cannot be read, or has none. */
bool certificate_file_time(const char *path, struct certificate_time *time_out);

/* The end of that. */
bool certificate_file_end(const char *path, int64_t *end_ms_out);

#endif
