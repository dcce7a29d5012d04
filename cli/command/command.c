/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the command that is meant, and questions about the table. */
#include "cli/command/command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "cli/command/foreign_words.h"
#include "cli/command/help.h"
#include "cli/command/parse.h"
#include "cli/text/cell.h"
#include "config/report.h"

static const struct command_option shared_options[SHARED_OPTION_COUNT] = {
    [SHARED_CONTEXT] = {"context", "CONTEXT",
                        "which broker: a name of \"context ls\", the path of a control socket, or "
                        "a configuration file that says where it is"},
    [SHARED_TIMEOUT] = {"timeout", "SECONDS", "give up when no answer has come by then (10)"},
    [SHARED_VHOST] = {"vhost", "VHOST", "the virtual host (the context's, or /)"},
    [SHARED_OUTPUT] = {"output", "table|wide|json|csv|name",
                       "table, with more columns, the broker's JSON, CSV, or names only"},
    [SHARED_NO_COLOR] = {"no-color", NULL, "no colours, as with NO_COLOR in the environment"},
    [SHARED_WATCH] = {"watch", NULL, "show it anew every second, until interrupted"},
    [SHARED_QUIET] = {"quiet", NULL, "no headings, and no word when all went well"},
};

static const struct command_option help_option = {"help", NULL, "explain the command"};

/* A letter means the same option in every command that has it. */
static const struct {
    char letter;
    const char *name;
} letters[] = {
    {'p', "vhost"}, {'o', "output"}, {'q', "quiet"}, {'h', "help"},
    {'n', "count"}, {'H', "header"}, {'u', "user"},
};

static void print_line(const struct command_io *io, const char *front, const char *format,
                       va_list arguments) __attribute__((format(printf, 3, 0)));

/* What is told may have names and reasons of others in it: none of them may steer a terminal. */
static void
print_line(const struct command_io *io, const char *front, const char *format, va_list arguments)
{
    char *text = NULL;
    struct buffer line;
    buffer_init(&line);
    if (vasprintf(&text, format, arguments) >= 0) {
        cell_put_escaped(&line, bytes_of(text));
        free(text);
    }
    fprintf(io->err, "%s%.*s\n", front, BYTES_FORMAT(buffer_bytes(&line)));
    buffer_fini(&line);
}

static const char COMMAND_FRONT[] = "bourse: ";

int
command_misused(const struct command_io *io, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(io, COMMAND_FRONT, format, arguments);
    va_end(arguments);
    return COMMAND_MISUSED;
}

int
command_error(const struct command_io *io, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(io, COMMAND_FRONT, format, arguments);
    va_end(arguments);
    return status;
}

void
command_note(const struct command_io *io, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(io, "", format, arguments);
    va_end(arguments);
}

const char *
command_line_next(const struct command_line *line, size_t option, size_t *at)
{
    while (*at < line->given_count) {
        const struct command_given *given = &line->given[(*at)++];
        if (given->option == option) {
            return given->text;
        }
    }
    return NULL;
}

/* Names -------------------------------------------------------------------------------------- */

/* True when the words begin with the command's name. `*words_out` is how many words that has. */
static bool
is_named(const struct command *command, const char *const *words, size_t count, size_t *words_out)
{
    if (strchr(command->name, ' ') == NULL) {
        *words_out = 1;
        return strcmp(words[0], command->name) == 0;
    }
    *words_out = 2;
    return count > 1 && command_is_of_group(command, words[0]) &&
           strcmp(words[1], strchr(command->name, ' ') + 1) == 0;
}

const struct command *
command_find(const char *const *words, size_t count, size_t *words_out)
{
    for (size_t i = 0; i < command_count(); i++) {
        if (is_named(command_at(i), words, count, words_out)) {
            return command_at(i);
        }
    }
    return NULL;
}

bool
command_is_of_group(const struct command *command, const char *word)
{
    size_t size = strlen(word);
    return strncmp(command->name, word, size) == 0 && command->name[size] == ' ';
}

bool
command_is_group(const char *word)
{
    for (size_t i = 0; i < command_count(); i++) {
        if (command_is_of_group(command_at(i), word)) {
            return true;
        }
    }
    return false;
}

static int
report_unknown_of_group(const struct command_io *io, const char *group, const char *word)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(bytes_of(word == NULL ? "" : word));
    for (size_t i = 0; i < command_count(); i++) {
        if (command_is_of_group(command_at(i), group)) {
            suggestion_offer(&suggestion, bytes_of(command_at(i)->name + strlen(group) + 1));
        }
    }
    if (word == NULL) {
        return command_misused(io, "\"bourse %s\" needs a word; \"bourse help %s\" lists them",
                               group, group);
    }
    return command_misused(io, "unknown command \"%s %s\"%s; \"bourse help %s\" lists them", group,
                           word, suggestion_text(&suggestion, guess), group);
}

/* The name of a group that the word begins with or is like: "connections" means "conn". */
static void
offer_groups(struct suggestion *suggestion, const char *word)
{
    for (size_t i = 0; i < command_count(); i++) {
        const char *blank = strchr(command_at(i)->name, ' ');
        size_t size = blank == NULL ? 0 : (size_t)(blank - command_at(i)->name);
        bool begins_so = size > 0 && strncmp(word, command_at(i)->name, size) == 0;
        struct bytes group = bytes_make(command_at(i)->name, size);
        if (begins_so) {
            *suggestion = suggestion_for(group);
        }
        if (size > 0) {
            suggestion_offer(suggestion, group);
        }
    }
}

int
command_report_unknown(const struct command_io *io, const char *const *words, size_t count)
{
    char guess[SUGGESTION_TEXT_SIZE];
    if (command_is_group(words[0])) {
        return report_unknown_of_group(io, words[0], count > 1 ? words[1] : NULL);
    }
    if (words[0][0] == '-') {
        return command_misused(io, "options stand behind the command: bourse COMMAND %s ...",
                               words[0]);
    }
    const char *ours = foreign_word_ours(words[0]);
    if (ours != NULL) {
        return command_misused(io,
                               "unknown command \"%s\"; what RabbitMQ calls so is \"bourse %s\" "
                               "here",
                               words[0], ours);
    }
    struct suggestion suggestion = suggestion_for(bytes_of(words[0]));
    for (size_t i = 0; i < command_count(); i++) {
        suggestion_offer(&suggestion, bytes_of(command_at(i)->name));
    }
    offer_groups(&suggestion, words[0]);
    return command_misused(io, "unknown command \"%s\"%s; \"bourse help\" lists them", words[0],
                           suggestion_text(&suggestion, guess));
}

/* Options ------------------------------------------------------------------------------------ */

const struct command_option *
command_option_at(const struct command *command, size_t index)
{
    if (index < command->option_count) {
        return &command->options[index];
    }
    size_t at = command->option_count;
    for (size_t i = 0; i < SHARED_OPTION_COUNT; i++) {
        if ((command->shared & 1U << i) != 0 && at++ == index) {
            return &shared_options[i];
        }
    }
    return at == index ? &help_option : NULL;
}

enum shared_option
command_shared_option(const struct command_option *option)
{
    for (size_t i = 0; i < SHARED_OPTION_COUNT; i++) {
        if (option == &shared_options[i]) {
            return (enum shared_option)i;
        }
    }
    return SHARED_OPTION_COUNT;
}

char
command_letter(const struct command_option *option)
{
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        if (strcmp(letters[i].name, option->name) == 0) {
            return letters[i].letter;
        }
    }
    return '\0';
}

/* Running ------------------------------------------------------------------------------------ */

int
command_main(int argc, char **argv, const struct command_io *io)
{
    if (argc < 2) {
        help_print_list(io->err);
        return COMMAND_MISUSED;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        name = "version";
    }
    const char *words[] = {name, argc > 2 ? argv[2] : NULL};
    size_t count = 1;
    const struct command *command = command_find(words, argc > 2 ? 2 : 1, &count);
    if (command == NULL) {
        return command_report_unknown(io, words, argc > 2 ? 2 : 1);
    }
    return parse_and_run(command, argc - (int)count, argv + count, io);
}
