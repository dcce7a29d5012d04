/* SPDX-License-Identifier: Apache-2.0 */

/* One line, then exit(1): see the header for why. */

#include "bench/loadgen_die.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "loadgen: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(EXIT_FAILURE);
}

void
die_errno(const char *what)
{
    die("%s: %s", what, strerror(errno));
}

void *
die_calloc(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);
    if (memory == NULL) {
        die("out of memory");
    }
    return memory;
}
