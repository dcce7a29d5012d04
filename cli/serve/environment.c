/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve/environment.h"

#include <stdlib.h>
#include <string.h>

const char *
environment_text(const struct config_environment *environment, const char *name)
{
    return environment->get_variable(environment->context, name);
}

bool
environment_number(const char *value, uint64_t *number_out)
{
    enum { DIGITS_MAX = 18, DECIMAL = 10 };
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || value[digits] != '\0') {
        return false;
    }
    *number_out = strtoull(value, NULL, DECIMAL);
    return true;
}
