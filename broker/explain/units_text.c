/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/units_text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest first. */
static const struct unit duration_units[] = {
    {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const struct unit size_units[] = {
    {"TiB", INT64_C(1) << 40},
    {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20},
    {"KiB", INT64_C(1) << 10},
    {"B", 1},
};

static void
write_with_unit(int64_t value, const struct unit *units, size_t count, char *out)
{
    size_t at = value == 0 ? count - 1 : 0;
    while (value % units[at].factor != 0) {
        at++;
    }
    (void)snprintf(out, UNITS_TEXT_SIZE, "%" PRId64 "%s", value / units[at].factor, units[at].name);
}

const char *
duration_text(int64_t ms, struct duration_text *out)
{
    write_with_unit(ms, duration_units, ARRAY_LEN(duration_units), out->text);
    return out->text;
}

const char *
size_text(int64_t octets, struct size_text *out)
{
    write_with_unit(octets, size_units, ARRAY_LEN(size_units), out->text);
    return out->text;
}
