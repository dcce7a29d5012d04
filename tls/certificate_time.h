/* SPDX-License-Identifier: Apache-2.0 */
/* Until when a certificate is valid. */
#ifndef BOURSE_TLS_CERTIFICATE_TIME_H
#define BOURSE_TLS_CERTIFICATE_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* The end of the first certificate in a PEM file, in milliseconds since 1970. False: the file
 * cannot be read, or has none. */
bool certificate_file_end(const char *path, int64_t *end_ms_out);

#endif
