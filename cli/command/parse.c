/* SPDX-License-Identifier: Apache-2.0 */
/* Options by getopt_long, from the table. */
#include "cli/command/parse.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "cli/command/help.h"
#include "cli/command/words.h"
#include "config/report.h"

/* Own, shared, and --help. */
enum { ALL_OPTIONS_MAX = COMMAND_OPTIONS_MAX + SHARED_OPTION_COUNT + 1, OPTION_FIRST = 256 };

struct parse {
    const struct command *command;
    const struct command_io *io;
    struct option long_options[ALL_OPTIONS_MAX + 1];
    char letters[2 * ALL_OPTIONS_MAX + 2];
    struct command_given *given; /* as many as there are words; owned */
    struct command_line line;
    bool wants_help;
};

static void
add_letter(struct parse *parse, const struct command_option *option)
{
    char letter = command_letter(option);
    size_t at = strlen(parse->letters);
    if (letter != '\0') {
        parse->letters[at++] = letter;
        parse->letters[at++] = option->argument != NULL ? ':' : '\0';
    }
}

static void
parse_init(struct parse *parse, const struct command *command, int argc,
           const struct command_io *io)
{
    memset(parse, 0, sizeof(*parse));
    assert(command->option_count <= COMMAND_OPTIONS_MAX);
    parse->command = command;
    parse->line.command = command;
    parse->io = io;
    parse->given = xalloc((size_t)argc * sizeof(*parse->given));
    parse->letters[0] = ':';
    const struct command_option *option;
    for (size_t i = 0; (option = command_option_at(command, i)) != NULL; i++) {
        parse->long_options[i].name = option->name;
        parse->long_options[i].has_arg = option->argument != NULL ? required_argument : no_argument;
        parse->long_options[i].val = OPTION_FIRST + (int)i;
        add_letter(parse, option);
    }
}

/* What is wrong ------------------------------------------------------------------------------ */

static bool
has_option(const struct command *command, const char *name)
{
    const struct command_option *option;
    for (size_t i = 0; (option = command_option_at(command, i)) != NULL; i++) {
        if (strcmp(option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int
report_unknown_option(const struct parse *parse, const char *given)
{
    char guess[SUGGESTION_TEXT_SIZE];
    const char *name = given + strspn(given, "-");
    struct suggestion suggestion = suggestion_for(bytes_make(name, strcspn(name, "=")));
    const struct command_option *option;
    for (size_t i = 0; (option = command_option_at(parse->command, i)) != NULL; i++) {
        suggestion_offer(&suggestion, bytes_of(option->name));
    }
    bool means_form = strcmp(given, "-o") == 0 || bytes_equal_text(suggestion.word, "output");
    if (means_form && has_option(parse->command, "format")) {
        suggestion.best = bytes_of("format");
    }
    struct word first;
    bool may_be_name = suggestion.best.size == 0 && word_at(parse->command->operands, 0, &first) &&
                       first.kind == WORD_NAME;
    return command_misused(parse->io,
                           "\"bourse %s\" has no option \"%s\"%s; \"bourse help %s\" "
                           "lists them%s",
                           parse->command->name, given, suggestion_text(&suggestion, guess),
                           parse->command->name,
                           may_be_name ? ", and a name that begins so stands behind --" : "");
}

/* The word that getopt refuses is that of an unknown option, or of a flag with a value. */
static int
report_bad_option(const struct parse *parse, const char *given)
{
    const char *name = given + strspn(given, "-");
    size_t size = strcspn(name, "=");
    const struct command_option *option;
    for (size_t i = 0; (option = command_option_at(parse->command, i)) != NULL; i++) {
        if (name[size] == '=' && bytes_equal_text(bytes_make(name, size), option->name)) {
            return command_misused(parse->io, "\"--%s\" takes no value", option->name);
        }
    }
    return report_unknown_option(parse, given);
}

/* The choice that a word was meant to be: one that is like it, or that it is the beginning of. */
static const char *
guess_choice(struct bytes choices, const char *value, char guess[static SUGGESTION_TEXT_SIZE])
{
    struct suggestion suggestion = suggestion_for(bytes_of(value));
    struct bytes choice;
    for (size_t i = 0; (choice = word_choice(choices, i)).size > 0; i++) {
        size_t size = strlen(value);
        if (size > 2 && size < choice.size && memcmp(choice.data, value, size) == 0) {
            suggestion.best = choice;
            break;
        }
        suggestion_offer(&suggestion, choice);
    }
    return suggestion_text(&suggestion, guess);
}

static int
report_bad_choice(const struct parse *parse, const struct command_option *option, const char *value)
{
    char guess[SUGGESTION_TEXT_SIZE];
    return command_misused(parse->io, "--%s takes %s, not \"%s\"%s", option->name, option->argument,
                           value, guess_choice(bytes_of(option->argument), value, guess));
}

static int
report_bad_operand(const struct parse *parse, struct bytes choices, const char *value)
{
    char guess[SUGGESTION_TEXT_SIZE];
    return command_misused(parse->io, "\"bourse %s\" takes %.*s, not \"%s\"%s",
                           parse->command->name, BYTES_FORMAT(choices), value,
                           guess_choice(choices, value, guess));
}

/* Reading ------------------------------------------------------------------------------------ */

/* The index of the option that getopt has found. */
static size_t
found_index(const struct parse *parse, int found)
{
    if (found >= OPTION_FIRST) {
        return (size_t)(found - OPTION_FIRST);
    }
    size_t index = 0;
    while (command_letter(command_option_at(parse->command, index)) != found) {
        index++;
    }
    return index;
}

static int
take_option(struct parse *parse, size_t index, const char *value)
{
    const struct command_option *option = command_option_at(parse->command, index);
    enum shared_option shared = command_shared_option(option);
    struct word word;
    if (option->argument != NULL && word_at(option->argument, 0, &word) &&
        word.kind == WORD_CHOICE && !word_is_choice(word.text, value)) {
        return report_bad_choice(parse, option, value);
    }
    const char *text = option->argument != NULL ? value : option->name;
    if (shared != SHARED_OPTION_COUNT) {
        parse->line.shared[shared] = text;
    } else if (index < parse->command->option_count) {
        parse->line.options[index] = text;
        parse->given[parse->line.given_count++] = (struct command_given){index, text};
    } else {
        parse->wants_help = true;
    }
    return COMMAND_OK;
}

/* The word of an option that getopt has refused: it stands behind it, but within letters. */
static const char *
refused_word(char **argv)
{
    const char *before = argv[optind - 1];
    size_t size = strlen(before);
    bool is_long = optopt == 0 || optopt >= OPTION_FIRST;
    bool is_last_letter = size > 1 && before[0] == '-' && before[size - 1] == optopt;
    return is_long || is_last_letter ? before : argv[optind];
}

static int
read_options(struct parse *parse, int argc, char **argv)
{
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int found = getopt_long(argc, argv, parse->letters, parse->long_options, NULL);
        if (found == -1) {
            break;
        }
        if (found == ':') {
            return command_misused(parse->io, "\"%s\" needs a value", argv[optind - 1]);
        }
        if (found == '?') {
            return report_bad_option(parse, refused_word(argv));
        }
        int result = take_option(parse, found_index(parse, found), optarg);
        if (result != COMMAND_OK) {
            return result;
        }
    }
    parse->line.operands = argv + optind;
    parse->line.operand_count = (size_t)(argc - optind);
    parse->line.given = parse->given;
    return COMMAND_OK;
}

/* An empty name names nothing, but for the default exchange. */
static bool
is_empty_name(const struct word *word, const char *given)
{
    return word->kind == WORD_NAME && given[0] == '\0' && !bytes_equal_text(word->text, "EXCHANGE");
}

static int
check_words(const struct parse *parse)
{
    const struct command *command = parse->command;
    for (size_t i = 0; i < parse->line.operand_count; i++) {
        const char *given = parse->line.operands[i];
        struct word word;
        if (!word_at(command->operands, i, &word)) {
            break;
        }
        if (word.kind == WORD_CHOICE && !word_is_choice(word.text, given)) {
            return report_bad_operand(parse, word.text, given);
        }
        if (is_empty_name(&word, given)) {
            return command_misused(parse->io, "\"bourse %s\": %.*s is empty", command->name,
                                   BYTES_FORMAT(word.text));
        }
    }
    return COMMAND_OK;
}

static int
check_operands(const struct parse *parse)
{
    const struct command *command = parse->command;
    const struct command_line *line = &parse->line;
    if (line->operand_count < command->operand_min) {
        return command_misused(parse->io, "\"bourse %s\" needs %s", command->name,
                               command->operands);
    }
    if (line->operand_count > command->operand_max) {
        return command_misused(parse->io, "\"bourse %s\" does not take \"%s\"", command->name,
                               line->operands[command->operand_max]);
    }
    return check_words(parse);
}

static int
run_parsed(struct parse *parse, int argc, char **argv)
{
    int result = read_options(parse, argc, argv);
    if (result != COMMAND_OK) {
        return result;
    }
    if (parse->wants_help) {
        help_print_command(parse->command, parse->io->out);
        return COMMAND_OK;
    }
    result = check_operands(parse);
    return result == COMMAND_OK ? parse->command->run(&parse->line, parse->io) : result;
}

int
parse_and_run(const struct command *command, int argc, char **argv, const struct command_io *io)
{
    struct parse parse;
    parse_init(&parse, command, argc, io);
    int result = run_parsed(&parse, argc, argv);
    free(parse.given);
    return result;
}
