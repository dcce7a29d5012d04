/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor/doctor_finding.h"

#include <stdarg.h>
#include <stdio.h>

enum { FOUND_SIZE = 512 };

void
doctor_add(json_t *findings, enum doctor_verdict verdict, const char *check, const char *next,
           const char *format, ...)
{
    static const char *const words[] = {[DOCTOR_OK] = "ok",
                                        [DOCTOR_WARNING] = "warning",
                                        [DOCTOR_BAD] = "bad",
                                        [DOCTOR_UNKNOWN] = "unknown"};
    char found[FOUND_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof(found), format, arguments);
    va_end(arguments);
    /* A name that was cut in the middle of a character is no JSON: '?' stands for what is not. */
    json_t *text = json_string(found);
    json_array_append_new(findings,
                          json_pack("{s:s, s:s, s:o, s:s}", "check", check, "verdict",
                                    words[verdict], "found", text != NULL ? text : json_string("?"),
                                    "next", verdict == DOCTOR_OK ? "" : next));
}
