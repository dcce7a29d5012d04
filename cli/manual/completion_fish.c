/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for fish: a line for each word that may stand somewhere. */
#include "cli/manual/completion.h"

#include <string.h>

/* Text within single quotes. */
static void
put_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        fputs(*text == '\'' || *text == '\\' ? "\\" : "", out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

/* What may stand for a word, as arguments of `complete`. */
static void
put_candidates(FILE *out, const struct word *word)
{
    switch (word->kind) {
    case WORD_FREE:
        break;
    case WORD_FILE:
        fputs(" -F", out);
        break;
    case WORD_DIRECTORY:
        fputs(" -a '(__fish_complete_directories)'", out);
        break;
    case WORD_NAME:
        fprintf(out, " -a '(__bourse_names %s)'", word->lister);
        break;
    case WORD_CHOICE:
        fputs(" -a '", out);
        for (size_t i = 0; word_choice(word->text, i).size > 0; i++) {
            fprintf(out, "%s%.*s", i == 0 ? "" : " ", BYTES_FORMAT(word_choice(word->text, i)));
        }
        fputc('\'', out);
        break;
    }
}

static void
put_option(FILE *out, const struct command *command, const struct command_option *option)
{
    char letter = command_letter(option);
    struct word word;
    fprintf(out, "complete -c bourse -n '__bourse_is \"%s\"' -l %s", command->name, option->name);
    if (letter != '\0') {
        fprintf(out, " -s %c", letter);
    }
    if (option->argument != NULL && word_at(option->argument, 0, &word)) {
        /* fish offers files as well, but behind an option that says that it takes nothing else. */
        fputs(word.kind == WORD_FILE ? " -r" : " -x", out);
        put_candidates(out, &word);
    }
    fputs(" -d ", out);
    put_quoted(out, option->help);
    fputc('\n', out);
}

static void
put_operands(FILE *out, const struct command *command)
{
    struct word word = {.is_repeated = false};
    for (size_t i = 0; !word.is_repeated && word_at(command->operands, i, &word); i++) {
        if (word.kind != WORD_FREE) {
            fprintf(out, "complete -c bourse -n '__bourse_operand_is \"%s\" %s %zu'", command->name,
                    word.is_repeated ? "-ge" : "-eq", i);
            put_candidates(out, &word);
            fputc('\n', out);
        }
    }
}

/* The command's words: the first one when there is none yet, the second one behind its group. */
static void
put_name(FILE *out, size_t index)
{
    const struct command *command = command_at(index);
    struct bytes first = completion_first_word(command);
    bool is_group = command->name[first.size] == ' ';
    if (completion_is_first_of_word(index)) {
        fprintf(out, "complete -c bourse -n '__bourse_is \"\"' -a %.*s", BYTES_FORMAT(first));
        if (!is_group) {
            fputs(" -d ", out);
            put_quoted(out, command->summary);
        }
        fputc('\n', out);
    }
    if (is_group) {
        fprintf(out, "complete -c bourse -n '__bourse_is \"%.*s \"' -a %s -d ", BYTES_FORMAT(first),
                command->name + first.size + 1);
        put_quoted(out, command->summary);
        fputc('\n', out);
    }
}

static bool
takes_value(const struct command *command, const char *name)
{
    const struct command_option *option;
    for (size_t at = 0; (option = command_option_at(command, at)) != NULL; at++) {
        if (option->argument != NULL && strcmp(option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* True when no command before the one at `index` has such an option. */
static bool
is_first_with(size_t index, const char *name)
{
    size_t at = 0;
    while (at < index && !takes_value(command_at(at), name)) {
        at++;
    }
    return at == index;
}

/* The spellings of options behind which a value stands, whatever the command; each once. */
static void
put_valued(FILE *out)
{
    const struct command_option *option;
    for (size_t i = 0; i < command_count(); i++) {
        for (size_t at = 0; (option = command_option_at(command_at(i), at)) != NULL; at++) {
            char letter = command_letter(option);
            bool is_told = option->argument == NULL || !is_first_with(i, option->name);
            if (!is_told) {
                fprintf(out, " --%s", option->name);
            }
            if (!is_told && letter != '\0') {
                fprintf(out, " -%c", letter);
            }
        }
    }
}

static const char functions[] =
    "# The words in front of the cursor without options and their values: command, operands.\n"
    "function __bourse_words\n"
    "    set -l skip 0\n"
    "    for word in (commandline -opc)[2..-1]\n"
    "        if test $skip = 1\n"
    "            set skip 0\n"
    "        else if contains -- $word $__bourse_valued\n"
    "            set skip 1\n"
    "        else if not string match -q -- '-*' $word\n"
    "            printf %s\\\\n $word\n"
    "        end\n"
    "    end\n"
    "end\n\n"
    "# The command's name; with a blank at the end where the second word is still to come.\n"
    "function __bourse_command\n"
    "    set -l words (__bourse_words)\n"
    "    if contains -- \"$words[1]\" $__bourse_groups\n"
    "        echo \"$words[1] $words[2]\"\n"
    "    else\n"
    "        echo \"$words[1]\"\n"
    "    end\n"
    "end\n\n"
    "function __bourse_is\n"
    "    set -l name (__bourse_command)\n"
    "    test \"$name\" = \"$argv[1]\"\n"
    "end\n\n"
    "# __bourse_operand_is COMMAND -eq|-ge NUMBER: true when that operand is at the cursor.\n"
    "function __bourse_operand_is\n"
    "    __bourse_is $argv[1]; or return 1\n"
    "    set -l before (count (string split ' ' -- $argv[1]))\n"
    "    test (math (count (__bourse_words)) - $before) $argv[2] $argv[3]\n"
    "end\n\n"
    "function __bourse_names\n"
    "    set -l program (commandline -opc)[1]\n"
    "    $program $argv 2> /dev/null\n"
    "end\n\n"
    "complete -c bourse -f\n";

void
completion_print_fish(FILE *out)
{
    fputs("# fish completion for bourse, made by \"bourse completion fish\".\n\n"
          "set -g __bourse_groups",
          out);
    completion_print_groups(out);
    fputs("\nset -g __bourse_valued", out);
    put_valued(out);
    fputs("\n\n", out);
    fputs(functions, out);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command_option *option;
        put_name(out, i);
        for (size_t at = 0; (option = command_option_at(command_at(i), at)) != NULL; at++) {
            put_option(out, command_at(i), option);
        }
        put_operands(out, command_at(i));
    }
}
