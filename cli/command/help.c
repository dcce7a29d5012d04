/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/help.h"

#include <string.h>

#include "base/bytes.h"
#include "cli/command/exits.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

enum { USAGE_SIZE = 192, NAME_WIDTH = 30, OPTION_WIDTH = 26, TEXT_WIDTH = 68 };

int
version_run(const struct command_line *line, const struct command_io *io)
{
    (void)line;
    fprintf(io->out, "bourse %s\n", BOURSE_VERSION);
    return COMMAND_OK;
}

/* `left` in a column of `width`, then `right`, which begins a line of its own when there is no room
 * beside `left`. */
static void
print_pair(FILE *out, int width, const char *left, const char *right)
{
    if (strlen(left) > (size_t)width) {
        fprintf(out, "  %s\n  %-*s %s\n", left, width, "", right);
    } else {
        fprintf(out, "  %-*s %s\n", width, left, right);
    }
}

static void
print_usage(const struct command *command, FILE *out)
{
    char usage[USAGE_SIZE];
    snprintf(usage, sizeof(usage), "%s%s%s", command->name, command->operands[0] == '\0' ? "" : " ",
             command->operands);
    print_pair(out, NAME_WIDTH, usage, command->summary);
}

void
help_print_list(FILE *out)
{
    fprintf(out, "Bourse %s, a message broker for AMQP 0-9-1.\n\nusage: bourse COMMAND ...\n",
            BOURSE_VERSION);
    for (size_t i = 0; i < command_count(); i++) {
        if (command_at(i)->heading != NULL) {
            fprintf(out, "\n%s\n", command_at(i)->heading);
        }
        print_usage(command_at(i), out);
    }
    fputs("\n\"bourse help COMMAND\" tells more, \"bourse man\" all of it.\n", out);
}

/* Prints `text` in lines of at most TEXT_WIDTH octets, the second and later ones behind
 * `indent` blanks. */
static void
print_wrapped(FILE *out, int indent, const char *text)
{
    struct bytes left = bytes_of(text);
    for (;;) {
        size_t size = left.size;
        if (size > TEXT_WIDTH) {
            const char *blank = memrchr(left.data, ' ', TEXT_WIDTH);
            size = blank == NULL ? size : (size_t)(blank - (const char *)left.data);
        }
        fprintf(out, "%.*s\n", (int)size, (const char *)left.data);
        if (size == left.size) {
            return;
        }
        left = bytes_make(left.data + size + 1, left.size - size - 1);
        fprintf(out, "%*s", indent, "");
    }
}

static void
print_option(const struct command_option *option, FILE *out)
{
    char usage[USAGE_SIZE];
    char letter = command_letter(option);
    char short_form[] = {'-', letter, ',', ' ', '\0'};
    snprintf(usage, sizeof(usage), "%s--%s%s%s", letter == '\0' ? "    " : short_form, option->name,
             option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
    if (strlen(usage) > OPTION_WIDTH) {
        fprintf(out, "  %s\n  %-*s ", usage, OPTION_WIDTH, "");
    } else {
        fprintf(out, "  %-*s ", OPTION_WIDTH, usage);
    }
    print_wrapped(out, OPTION_WIDTH + 3, option->help);
}

static void
print_exits(const struct command *command, FILE *out)
{
    const struct exit_meaning *meaning;
    fputs("\nexit status:\n", out);
    for (size_t i = 0; (meaning = exit_meaning_at(i)) != NULL; i++) {
        if (exit_is_of_command(meaning, command)) {
            fprintf(out, "  %2d  %s\n", meaning->status, meaning->meaning);
        }
    }
    const char *text = command->exits != NULL ? command->exits : "";
    for (size_t size; *text != '\0'; text += size + 1) {
        size = strcspn(text, "\n");
        fprintf(out, "  %.*s\n", (int)size, text);
    }
}

void
help_print_command(const struct command *command, FILE *out)
{
    const struct command_option *option;
    fprintf(out, "usage: bourse %s%s%s%s\n\n%s\n", command->name,
            command->option_count > 0 || command->shared != 0 ? " [OPTION...]" : "",
            command->operands[0] == '\0' ? "" : " ", command->operands, command->summary);
    if (command->details != NULL) {
        fprintf(out, "\n%s", command->details);
    }
    fputs("\noptions:\n", out);
    for (size_t i = 0; (option = command_option_at(command, i)) != NULL; i++) {
        print_option(option, out);
    }
    print_exits(command, out);
}

static void
print_group(const char *word, FILE *out)
{
    fprintf(out, "usage: bourse %s COMMAND ...\n\n", word);
    for (size_t i = 0; i < command_count(); i++) {
        if (command_is_of_group(command_at(i), word)) {
            print_usage(command_at(i), out);
        }
    }
    fprintf(out, "\n\"bourse help %s COMMAND\" tells more.\n", word);
}

static int
print_names(FILE *out)
{
    for (size_t i = 0; i < command_count(); i++) {
        fprintf(out, "%s\n", command_at(i)->name);
    }
    return COMMAND_OK;
}

int
help_run(const struct command_line *line, const struct command_io *io)
{
    const char *const *words = (const char *const *)line->operands;
    size_t count = 1;
    if (line->operand_count == 0 && line->shared[SHARED_QUIET] != NULL) {
        return print_names(io->out);
    }
    if (line->operand_count == 0) {
        help_print_list(io->out);
        return COMMAND_OK;
    }
    const struct command *command = command_find(words, line->operand_count, &count);
    if (command == NULL && line->operand_count == 1 && command_is_group(words[0])) {
        print_group(words[0], io->out);
        return COMMAND_OK;
    }
    if (command == NULL) {
        return command_report_unknown(io, words, line->operand_count);
    }
    if (line->operand_count > count) {
        return command_misused(io, "\"bourse help\" does not take \"%s\"", words[count]);
    }
    help_print_command(command, io->out);
    return COMMAND_OK;
}
