/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/man.h"

#include <string.h>

#include "base/assert.h"
#include "cli/command/exits.h"
#include "cli/manual/man_pages.h"
#include "cli/manual/roff.h"

/* A line that says which of the shared options, which stand below, the command has. */
static void
put_shared(FILE *out, const struct command *command)
{
    const struct command_option *option;
    const char *between = ".PP\nAlso ";
    for (size_t i = command->option_count; (option = command_option_at(command, i)) != NULL; i++) {
        if (command_shared_option(option) != SHARED_OPTION_COUNT) {
            fprintf(out, "%s\\fB\\-\\-", between);
            roff_text(out, option->name);
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
        roff_text(out, command->exits);
        fputs(".fi\n", out);
    }
}

static void
put_command(FILE *out, const struct command *command)
{
    fputs(".SS \"bourse ", out);
    roff_text(out, command->name);
    fputs("\"\n.B bourse ", out);
    roff_text(out, command->name);
    fputs(command->option_count > 0 || command->shared != 0 ? "\n.RI [ OPTION... \"] \" \""
                                                            : "\n.I \"",
          out);
    roff_text(out, command->operands);
    fputs("\"\n.PP\n", out);
    roff_text(out, command->summary);
    fputs(".\n", out);
    if (command->details != NULL) {
        fputs(".PP\n", out);
        roff_text(out, command->details);
    }
    for (size_t i = 0; i < command->option_count; i++) {
        roff_option(out, &command->options[i]);
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
                roff_option(out, option);
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
        roff_text(out, meaning->meaning);
        fputs(".\n", out);
        roff_line(out, meaning->next);
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
    ".SH SEE ALSO\n.BR bourse.yaml (5),\n.BR bourse\\-topology (5),\n.BR bourse (8)\n";

static void
put_commands_page(FILE *out)
{
    roff_head(out, "BOURSE", 1, "User commands", "bourse", "a message broker for AMQP 0-9-1");
    fputs(".SH SYNOPSIS\n.B bourse\n.I COMMAND\n.RI [ OPTION... \"] \" [ OPERAND... ]\n"
          ".SH COMMANDS\n",
          out);
    for (size_t i = 0; i < command_count(); i++) {
        put_command(out, command_at(i));
    }
    put_shared_options(out);
    put_exit_statuses(out);
    fputs(tail, out);
}

/* Pages ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*put)(FILE *out);
} pages[] = {
    {"bourse", put_commands_page},
    {"bourse.8", man_put_server},
    {"bourse.yaml", man_put_file},
    {"bourse-topology", man_put_topology},
};

int
man_run(const struct command_line *line, const struct command_io *io)
{
    const char *name = line->operand_count == 0 ? pages[0].name : line->operands[0];
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(name, pages[i].name) == 0) {
            pages[i].put(io->out);
        }
    }
    return COMMAND_OK;
}
