/* SPDX-License-Identifier: Apache-2.0 */
/* Durations and sizes as configuration files write them: the largest unit that leaves no rest. What
 * is printed can be read again (config/literal.h). */
#ifndef BOURSE_BROKER_EXPLAIN_UNITS_TEXT_H
#define BOURSE_BROKER_EXPLAIN_UNITS_TEXT_H

#include <stdint.h>

enum { UNITS_TEXT_SIZE = 32 };

struct duration_text {
    char text[UNITS_TEXT_SIZE];
};

struct size_text {
    char text[UNITS_TEXT_SIZE];
};

/* "1500ms", "5m", "2w"; `ms` is not negative. Returns out->text. */
const char *duration_text(int64_t ms, struct duration_text *out);

/* "100B", "64KiB", "2GiB"; `octets` is not negative. Returns out->text. */
const char *size_text(int64_t octets, struct size_text *out);

#endif
