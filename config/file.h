/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a configuration consists of or names. */
#ifndef BOURSE_CONFIG_FILE_H
#define BOURSE_CONFIG_FILE_H

#include "config/config.h"

#include <sys/types.h>

/* Reads the file at `path` into `out`. STATUS_FULL: it is longer than `capacity`. STATUS_IO: errno
 * holds the cause (EISDIR for a folder). A pipe is read to its end, if somebody writes to it and
 * pauses for 5 s at most. Uses one descriptor, which is closed again. `*mode_out`, if wanted, is
 * the file's type and permissions. */
MUST_CHECK enum status file_read(const char *path, uint8_t *out, size_t capacity, size_t *size_out,
                                 mode_t *mode_out);

/* The same of standard input, which may take as long as it will. */
MUST_CHECK enum status file_read_input(uint8_t *out, size_t capacity, size_t *size_out);

/* True when the file can be opened for reading; else errno says why not. */
bool file_is_readable(const char *path);

/* `path` as seen from the folder in which the file `from` lies. In `arena`. */
const char *file_resolve(struct arena *arena, const char *from, const char *path);

#endif
