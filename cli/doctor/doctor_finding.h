/* SPDX-License-Identifier: Apache-2.0 */
/* What `bourse doctor` has found: what was looked at, how it is, and what to do about it. */
#ifndef BOURSE_CLI_DOCTOR_DOCTOR_FINDING_H
#define BOURSE_CLI_DOCTOR_DOCTOR_FINDING_H

#include <jansson.h>

#include "base/status.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_BAD, DOCTOR_UNKNOWN };

/* Adds {check, verdict, found, next} to the list `findings`. `next` is said only of what is not as
 * it should be. */
void doctor_add(json_t *findings, enum doctor_verdict verdict, const char *check, const char *next,
                const char *format, ...) PRINTF_LIKE(5, 6);

#endif
