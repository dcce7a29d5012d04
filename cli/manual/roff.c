/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/roff.h"

#include <string.h>

void
roff_text(FILE *out, const char *text)
{
    bool begins_line = true;
    for (; *text != '\0'; text++) {
        if (begins_line && (*text == '.' || *text == '\'')) {
            fputs("\\&", out);
        }
        begins_line = *text == '\n';
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else if (*text == '|') {
            fputs("|\\:", out); /* where a long choice may be broken */
        } else {
            fputc(*text, out);
        }
    }
}

void
roff_line(FILE *out, const char *text)
{
    roff_text(out, text);
    fputc('\n', out);
}

void
roff_option(FILE *out, const struct command_option *option)
{
    char letter = command_letter(option);
    fputs(".TP\n\\fB", out);
    if (letter != '\0') {
        fprintf(out, "\\-%c\\fR, \\fB", letter);
    }
    fputs("\\-\\-", out);
    roff_text(out, option->name);
    fputs("\\fR", out);
    if (option->argument != NULL) {
        fputs(" \\fI", out);
        roff_text(out, option->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    roff_line(out, option->help);
}

void
roff_head(FILE *out, const char *title, int section, const char *part, const char *name,
          const char *summary)
{
    fprintf(out, ".TH %s %d \"\" \"Bourse %s\" \"%s\"\n.SH NAME\n", title, section, BOURSE_VERSION,
            part);
    roff_text(out, name);
    fputs(" \\- ", out);
    roff_line(out, summary);
}
