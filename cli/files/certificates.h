/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the certificates of a configuration are good, and until when. */
#ifndef BOURSE_CLI_FILES_CERTIFICATES_H
#define BOURSE_CLI_FILES_CERTIFICATES_H

#include "config/config.h"

/* Fewer than that are worth a warning. */
enum { CERTIFICATE_DAYS_WARNED = 30 };

/* Adds warnings about those that have expired, or soon will, and errors about those whose key is
 * another's, unsorted. */
void certificates_examine(struct config *config, int64_t wall_ms);

#endif
