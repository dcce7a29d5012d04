/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/man.h"

#include <string.h>

#include "cli/exits.h"
#include "config/key_texts.h"

/* Text as roff takes it: no line begins with a request, backslashes and hyphens are themselves. */
static void
put_text(FILE *out, const char *text)
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

static void
put_line(FILE *out, const char *text)
{
    put_text(out, text);
    fputc('\n', out);
}

static void
put_option(FILE *out, const struct command_option *option)
{
    char letter = command_letter(option);
    fputs(".TP\n\\fB", out);
    if (letter != '\0') {
        fprintf(out, "\\-%c\\fR, \\fB", letter);
    }
    fputs("\\-\\-", out);
    put_text(out, option->name);
    fputs("\\fR", out);
    if (option->argument != NULL) {
        fputs(" \\fI", out);
        put_text(out, option->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put_line(out, option->help);
}

/* A line that says which of the shared options, which stand below, the command has. */
static void
put_shared(FILE *out, const struct command *command)
{
    const struct command_option *option;
    const char *between = ".PP\nAlso ";
    for (size_t i = command->option_count; (option = command_option_at(command, i)) != NULL; i++) {
        if (command_shared_option(option) != SHARED_OPTION_COUNT) {
            fprintf(out, "%s\\fB\\-\\-", between);
            put_text(out, option->name);
            fputs("\\fR", out);
            between = ", ";
        }
    }
    fputs(between[0] == ',' ? ": see SHARED OPTIONS.\n" : "", out);
}

static void
put_exits(FILE *out, const struct command *command)
{
    if (command->exits != NULL) {
        fputs(".PP\nExit status besides the usual ones:\n.nf\n", out);
        put_text(out, command->exits);
        fputs(".fi\n", out);
    }
}

static void
put_command(FILE *out, const struct command *command)
{
    fputs(".SS \"bourse ", out);
    put_text(out, command->name);
    fputs("\"\n.B bourse ", out);
    put_text(out, command->name);
    fputs(command->option_count > 0 || command->shared != 0 ? "\n.RI [ OPTION... \"] \" \""
                                                            : "\n.I \"",
          out);
    put_text(out, command->operands);
    fputs("\"\n.PP\n", out);
    put_text(out, command->summary);
    fputs(".\n", out);
    if (command->details != NULL) {
        fputs(".PP\n", out);
        put_text(out, command->details);
    }
    for (size_t i = 0; i < command->option_count; i++) {
        put_option(out, &command->options[i]);
    }
    put_shared(out, command);
    put_exits(out, command);
}

/* Every shared option once, found at the first command that has it. */
static void
put_shared_options(FILE *out)
{
    bool seen[SHARED_OPTION_COUNT] = {false};
    fputs(".SH SHARED OPTIONS\n", out);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command_option *option;
        for (size_t at = 0; (option = command_option_at(command_at(i), at)) != NULL; at++) {
            enum shared_option shared = command_shared_option(option);
            if (shared != SHARED_OPTION_COUNT && !seen[shared]) {
                put_option(out, option);
                seen[shared] = true;
            }
        }
    }
    fputs(".PP\nEvery command explains itself with \\fB\\-h\\fR, \\fB\\-\\-help\\fR.\n", out);
}

static void
put_exit_statuses(FILE *out)
{
    const struct exit_meaning *meaning;
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; (meaning = exit_meaning_at(i)) != NULL; i++) {
        fprintf(out, ".TP\n%d\n", meaning->status);
        put_text(out, meaning->meaning);
        fputs(".\n", out);
        put_line(out, meaning->next);
    }
}

static const char tail[] =
    ".SH ENVIRONMENT\n"
    ".TP\n.B BOURSE_CONTEXT\nWhich broker, as \\fB\\-\\-context\\fR says it.\n"
    ".TP\n.B NO_COLOR\nWhen it is set and not empty, nothing is coloured.\n"
    ".TP\n.B XDG_CONFIG_HOME\nWhere \\fIbourse/contexts.json\\fR lies; else \\fI~/.config\\fR.\n"
    ".SH FILES\n"
    ".TP\n.I /run/bourse/bourse.sock\nThe control socket of the packaged service.\n"
    ".TP\n.I ./bourse\\-data/bourse.sock\nThat of a broker in development mode.\n"
    ".TP\n.I ~/.config/bourse/contexts.json\nContexts: where brokers are, and who one is there.\n"
    ".SH SEE ALSO\n.BR bourse.yaml (5)\n";

static void
put_commands_page(FILE *out)
{
    fprintf(out, ".TH BOURSE 1 \"\" \"Bourse %s\" \"User commands\"\n", BOURSE_VERSION);
    fputs(".SH NAME\nbourse \\- a message broker for AMQP 0\\-9\\-1\n"
          ".SH SYNOPSIS\n.B bourse\n.I COMMAND\n.RI [ OPTION... \"] \" [ OPERAND... ]\n"
          ".SH COMMANDS\n",
          out);
    for (size_t i = 0; i < command_count(); i++) {
        put_command(out, command_at(i));
    }
    put_shared_options(out);
    put_exit_statuses(out);
    fputs(tail, out);
}

/* The file --------------------------------------------------------------------------------- */

static const char file_head[] =
    ".SH NAME\nbourse.yaml \\- settings, users and topology of the broker\n"
    ".SH DESCRIPTION\n"
    "YAML, read by \\fBbourse serve\\fR at the start and again on SIGHUP. Several files, or a\n"
    "directory of them, are one configuration. \\fBbourse check\\fR says what is wrong, with line\n"
    "and column; \\fBbourse plan\\fR what would change in a broker that runs;\n"
    "\\fBbourse explain\\fR \\fIKEY\\fR what is said here, of one key.\n"
    ".PP\nDurations are written as 1500ms, 30s, 5m, 1h30m or 7d, sizes as 64KiB or 4GiB. A word "
    "in\n"
    "capitals stands for a name that you choose.\n"
    ".SH EXAMPLE\n.nf\n"
    "bourse: 1\n"
    "listeners:\n  amqp: {bind: \"127.0.0.1:5672\"}\n"
    "users:\n  admin:\n    auth: password\n    password\\-file: admin.password\n    role: admin\n"
    "    rights: {configure: \"\", write: \"\", read: \"\"}\n"
    "  app:\n    auth: password\n    password\\-file: app.password\n"
    "    rights: {configure: \"\", write: \"orders\", read: \"billing\"}\n"
    "exchanges:\n  orders: {type: topic}\n"
    "queues:\n  billing: {from: [{exchange: orders, key: \"order.#\"}]}\n"
    ".fi\n"
    ".SH KEYS\n";

static void
put_file_page(FILE *out)
{
    const struct key_text *key;
    fprintf(out, ".TH BOURSE.YAML 5 \"\" \"Bourse %s\" \"File formats\"\n", BOURSE_VERSION);
    fputs(file_head, out);
    for (size_t i = 0; (key = key_text_at(i)) != NULL; i++) {
        fputs(".TP\n.B ", out);
        put_line(out, key->path);
        put_line(out, key->meaning);
        put_line(out, key->cause);
        put_line(out, key->next);
    }
    fputs(".SH FILES\n.TP\n.I /etc/bourse/bourse.yaml\nWhat the packaged service reads.\n"
          ".SH SEE ALSO\n.BR bourse (1)\n",
          out);
}

int
man_run(const struct command_line *line, const struct command_io *io)
{
    const char *page = line->operand_count == 0 ? "bourse" : line->operands[0];
    if (strcmp(page, "bourse") == 0) {
        put_commands_page(io->out);
    } else if (strcmp(page, "bourse.yaml") == 0) {
        put_file_page(io->out);
    } else {
        return command_misused(io, "there is no page \"%s\": it is bourse or bourse.yaml", page);
    }
    return COMMAND_OK;
}
