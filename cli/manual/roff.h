/* SPDX-License-Identifier: Apache-2.0 */
/* Text for manual pages. */
#ifndef BOURSE_CLI_MANUAL_ROFF_H
#define BOURSE_CLI_MANUAL_ROFF_H

#include <stdio.h>

#include "cli/command/command.h"

/* Text as roff takes it: no line begins with a request, backslashes and hyphens are themselves. */
void roff_text(FILE *out, const char *text);

/* The same with a newline behind it. */
void roff_line(FILE *out, const char *text);

/* An option with what it is for, as an item of a list. */
void roff_option(FILE *out, const struct command_option *option);

/* ".TH" of a page such as "BOURSE" 1 in "User commands", and its NAME. */
void roff_head(FILE *out, const char *title, int section, const char *part, const char *name,
               const char *summary);

#endif
