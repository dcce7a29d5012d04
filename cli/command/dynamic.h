/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries that only some commands need: opened when they do, so that the broker neither loads nor
 * requires them. */
#ifndef BOURSE_CLI_COMMAND_DYNAMIC_H
#define BOURSE_CLI_COMMAND_DYNAMIC_H

#include <stdbool.h>
#include <stddef.h>

/* A function of the library, and where in the caller's struct its address goes. */
struct dynamic_function {
    const char *symbol; /* NULL ends a table */
    size_t offset;
};

/* Opens the library of this soname and fills the struct. False: it is not there, or lacks one. It
 * stays open until the process ends. */
bool dynamic_open(const char *soname, const struct dynamic_function *functions, void *out);

#endif
