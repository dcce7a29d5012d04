/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the command, reading its options with getopt_long, and printing help. */
#include "cli/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "cli/check.h"
#include "cli/dump.h"
#include "cli/export.h"
#include "cli/import.h"
#include "cli/route.h"
#include "cli/serve.h"
#include "cli/store.h"
#include "cli/test.h"
#include "config/report.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

static int version_run(const struct command_line *line, const struct command_io *io);
static int help_run(const struct command_line *line, const struct command_io *io);

static const struct command commands[] = {
    {
        .name = "serve",
        .operands = "[FILE...]",
        .operand_max = SIZE_MAX,
        .summary = "run the broker",
        .details =
            "Without FILE: development mode, 127.0.0.1:5672, user guest, password guest,\n"
            "management on 127.0.0.1:15672, metrics on 127.0.0.1:15692, and the data directory\n"
            "./bourse-data; with one, the file's, or /var/lib/bourse.\n"
            "An option replaces what the file says under the same name; port 0 lets the\n"
            "system choose. On a directory that holds data, the file's objects are made\n"
            "where they are missing and changed where they may; nothing is deleted.\n"
            "SIGHUP reads the files again, SIGTERM stops.\n",
        .options = serve_options,
        .option_count = SERVE_OPTION_COUNT,
        .run = serve_run,
    },
    {
        .name = "check",
        .operands = "FILE...",
        .operand_min = 1,
        .operand_max = SIZE_MAX,
        .summary = "say what is wrong with configuration files, and start nothing",
        .details = "Several files make one configuration. Prints every error and warning as\n"
                   "FILE:LINE:COL; exits with 1 when there is an error.\n",
        .options = check_options,
        .option_count = CHECK_OPTION_COUNT,
        .run = check_run,
    },
    {
        .name = "route",
        .operands = "EXCHANGE KEY",
        .operand_min = 2,
        .operand_max = 2,
        .summary = "explain where a message would go, and why not elsewhere",
        .details =
            "Looks at every binding on the way; \"\" is the default exchange. Exits with 1 when\n"
            "no queue gets the message.\n",
        .options = route_options,
        .option_count = ROUTE_OPTION_COUNT,
        .run = route_run,
    },
    {
        .name = "test",
        .operands = "FILE... TESTS",
        .operand_min = 2,
        .operand_max = SIZE_MAX,
        .summary = "check that messages go where a file of tests says, without a server",
        .details =
            "The last file holds the tests, those before it the topology. Exits with 1 when a\n"
            "test fails.\n",
        .options = test_options,
        .option_count = TEST_OPTION_COUNT,
        .run = test_run,
    },
    {
        .name = "import",
        .operands = "DEFINITIONS",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make configuration files of RabbitMQ's or LavinMQ's definitions.json",
        .details = "Says what cannot be taken over; files that are there are not overwritten.\n",
        .options = import_options,
        .option_count = IMPORT_OPTION_COUNT,
        .run = import_run,
    },
    {
        .name = "export",
        .operands = "",
        .summary = "write a topology as YAML, definitions.json, a graph or AsyncAPI",
        .options = export_options,
        .option_count = EXPORT_OPTION_COUNT,
        .run = export_run,
    },
    {
        .name = "store verify",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "read a stopped broker's data and say what is wrong with it",
        .details = "Reads every file, messages included, and changes nothing. Prints a line for\n"
                   "each damaged place; exits with 1 when there is one.\n",
        .run = store_verify_run,
    },
    {
        .name = "store dump",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "print what a stopped broker's data holds",
        .details = "Virtual hosts, users, exchanges, queues and bindings, then the messages of\n"
                   "each queue. Changes nothing. Contents of users are not printed.\n",
        .options = dump_options,
        .option_count = DUMP_OPTION_COUNT,
        .run = dump_run,
    },
    {
        .name = "store repair",
        .operands = "DIR",
        .operand_min = 1,
        .operand_max = 1,
        .summary = "make damaged data of a stopped broker usable again",
        .details = "Says what is lost, file by file. A file that is changed is kept as\n"
                   "NAME.damaged; keep a copy of the whole directory all the same.\n",
        .options = store_repair_options,
        .option_count = STORE_REPAIR_OPTION_COUNT,
        .run = store_repair_run,
    },
    {
        .name = "version",
        .operands = "",
        .summary = "print the version",
        .run = version_run,
    },
    {
        .name = "help",
        .operands = "[COMMAND]",
        .operand_max = 2,
        .summary = "explain a command, or list them all",
        .run = help_run,
    },
};

int
command_misused(const struct command_io *io, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bourse: ", io->err);
    vfprintf(io->err, format, arguments);
    fputc('\n', io->err);
    va_end(arguments);
    return COMMAND_MISUSED;
}

/* Commands ----------------------------------------------------------------------------------- */

/* True when `name` is that of a command, which may have two words. `*words_out` is how many. */
static bool
is_named(const struct command *command, const char *const *words, size_t count, size_t *words_out)
{
    const char *blank = strchr(command->name, ' ');
    if (blank == NULL) {
        *words_out = 1;
        return strcmp(words[0], command->name) == 0;
    }
    size_t size = (size_t)(blank - command->name);
    *words_out = 2;
    return count > 1 && strlen(words[0]) == size && memcmp(words[0], command->name, size) == 0 &&
           strcmp(words[1], blank + 1) == 0;
}

/* The command that the words begin with; NULL: none. */
static const struct command *
find_command(const char *const *words, size_t count, size_t *words_out)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (is_named(&commands[i], words, count, words_out)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* True for the first word of commands that have two. */
static bool
is_group(const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strncmp(commands[i].name, word, size) == 0 && commands[i].name[size] == ' ') {
            return true;
        }
    }
    return false;
}

static int
report_unknown_word(const struct command_io *io, const char *group, const char *word)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(bytes_of(word == NULL ? "" : word));
    size_t size = strlen(group);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strncmp(commands[i].name, group, size) == 0 && commands[i].name[size] == ' ') {
            suggestion_offer(&suggestion, bytes_of(commands[i].name + size + 1));
        }
    }
    if (word == NULL) {
        return command_misused(io, "\"bourse %s\" needs a word; \"bourse help %s\" lists them",
                               group, group);
    }
    return command_misused(io, "unknown command \"%s %s\"%s; \"bourse help %s\" lists them", group,
                           word, suggestion_text(&suggestion, guess), group);
}

static int
report_unknown_command(const struct command_io *io, const char *name)
{
    char guess[SUGGESTION_TEXT_SIZE];
    struct suggestion suggestion = suggestion_for(bytes_of(name));
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        suggestion_offer(&suggestion, bytes_of(commands[i].name));
    }
    return command_misused(io, "unknown command \"%s\"%s; \"bourse help\" lists them", name,
                           suggestion_text(&suggestion, guess));
}

static int
version_run(const struct command_line *line, const struct command_io *io)
{
    (void)line;
    fprintf(io->out, "bourse %s\n", BOURSE_VERSION);
    return COMMAND_OK;
}

/* Help --------------------------------------------------------------------------------------- */

static void
print_commands(FILE *out)
{
    fprintf(out, "Bourse %s, a message broker for AMQP 0-9-1.\n\nusage: bourse COMMAND ...\n\n",
            BOURSE_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        fprintf(out, "  %-12s %-10s %s\n", commands[i].name, commands[i].operands,
                commands[i].summary);
    }
    fputs("\n\"bourse help COMMAND\" tells more.\n", out);
}

static void
print_command(const struct command *command, FILE *out)
{
    fprintf(out, "usage: bourse %s%s%s%s\n\n%s\n", command->name,
            command->option_count > 0 ? " [OPTION...]" : "",
            command->operands[0] == '\0' ? "" : " ", command->operands, command->summary);
    if (command->details != NULL) {
        fprintf(out, "\n%s", command->details);
    }
    for (size_t i = 0; i < command->option_count; i++) {
        const struct command_option *option = &command->options[i];
        char usage[48];
        snprintf(usage, sizeof(usage), "--%s%s%s", option->name,
                 option->argument != NULL ? " " : "",
                 option->argument != NULL ? option->argument : "");
        fprintf(out, "%s  %-20s %s\n", i == 0 ? "\n" : "", usage, option->help);
    }
}

static void
print_group(const char *word, FILE *out)
{
    size_t size = strlen(word);
    bool is_first = true;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strncmp(commands[i].name, word, size) == 0 && commands[i].name[size] == ' ') {
            fputs(is_first ? "" : "\n", out);
            print_command(&commands[i], out);
            is_first = false;
        }
    }
}

static int
help_run(const struct command_line *line, const struct command_io *io)
{
    if (line->operand_count == 0) {
        print_commands(io->out);
        return COMMAND_OK;
    }
    const char *const *words = (const char *const *)line->operands;
    size_t count = 1;
    const struct command *command = find_command(words, line->operand_count, &count);
    if (command == NULL && is_group(words[0])) {
        if (line->operand_count > 1) {
            return report_unknown_word(io, words[0], words[1]);
        }
        print_group(words[0], io->out);
        return COMMAND_OK;
    }
    if (command == NULL) {
        return report_unknown_command(io, words[0]);
    }
    if (line->operand_count > count) {
        return command_misused(io, "\"bourse help\" does not take \"%s\"", words[count]);
    }
    print_command(command, io->out);
    return COMMAND_OK;
}

/* Options ------------------------------------------------------------------------------------ */

enum { OPTION_HELP = 'h', OPTION_FIRST = 256 };

static void
make_long_options(const struct command *command, struct option out[COMMAND_OPTIONS_MAX + 2])
{
    assert(command->option_count <= COMMAND_OPTIONS_MAX);
    memset(out, 0, (COMMAND_OPTIONS_MAX + 2) * sizeof(*out));
    for (size_t i = 0; i < command->option_count; i++) {
        out[i].name = command->options[i].name;
        out[i].has_arg = command->options[i].argument != NULL ? required_argument : no_argument;
        out[i].val = OPTION_FIRST + (int)i;
    }
    out[command->option_count].name = "help";
    out[command->option_count].val = OPTION_HELP;
}

static int
report_unknown_option(const struct command_io *io, const struct command *command, const char *given)
{
    char guess[SUGGESTION_TEXT_SIZE];
    const char *name = given + strspn(given, "-");
    struct suggestion suggestion = suggestion_for(bytes_make(name, strcspn(name, "=")));
    for (size_t i = 0; i < command->option_count; i++) {
        suggestion_offer(&suggestion, bytes_of(command->options[i].name));
    }
    return command_misused(io, "\"bourse %s\" has no option \"%s\"%s", command->name, given,
                           suggestion_text(&suggestion, guess));
}

/* The word that getopt refuses is that of an unknown option, or of a flag with a value. */
static int
report_bad_option(const struct command_io *io, const struct command *command, const char *given)
{
    const char *name = given + strspn(given, "-");
    size_t size = strcspn(name, "=");
    for (size_t i = 0; i < command->option_count && name[size] == '='; i++) {
        if (bytes_equal_text(bytes_make(name, size), command->options[i].name)) {
            return command_misused(io, "\"--%s\" takes no value", command->options[i].name);
        }
    }
    return report_unknown_option(io, command, given);
}

/* Reads the options behind the command's name into `line`. Returns COMMAND_OK, or COMMAND_MISUSED
 * when that has been reported; `*wants_help_out` tells of --help. */
static int
read_options(const struct command *command, int argc, char **argv, const struct command_io *io,
             struct command_line *line, int *wants_help_out)
{
    struct option options[COMMAND_OPTIONS_MAX + 2];
    make_long_options(command, options);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        /* Where the word is that getopt looks at next: it names an unknown option whole. */
        int at = optind == 0 ? 1 : optind;
        int found = getopt_long(argc, argv, ":h", options, NULL);
        if (found == -1) {
            break;
        }
        if (found == OPTION_HELP) {
            *wants_help_out = 1;
        } else if (found == ':') {
            return command_misused(io, "\"%s\" needs a value", argv[optind - 1]);
        } else if (found == '?') {
            const char *word = optind > at ? argv[optind - 1] : argv[optind];
            return report_bad_option(io, command, word);
        } else {
            const struct command_option *option = &command->options[found - OPTION_FIRST];
            line->options[found - OPTION_FIRST] = option->argument != NULL ? optarg : option->name;
        }
    }
    line->operands = argv + optind;
    line->operand_count = (size_t)(argc - optind);
    return COMMAND_OK;
}

static int
check_operands(const struct command *command, const struct command_line *line,
               const struct command_io *io)
{
    if (line->operand_count < command->operand_min) {
        return command_misused(io, "\"bourse %s\" needs %s", command->name, command->operands);
    }
    if (line->operand_count > command->operand_max) {
        return command_misused(io, "\"bourse %s\" does not take \"%s\"", command->name,
                               line->operands[command->operand_max]);
    }
    return COMMAND_OK;
}

/* `argv[0]` is the command's name. */
static int
run_command(const struct command *command, int argc, char **argv, const struct command_io *io)
{
    struct command_line line = {0};
    int wants_help = 0;
    int result = read_options(command, argc, argv, io, &line, &wants_help);
    if (result == COMMAND_OK && wants_help) {
        print_command(command, io->out);
        return COMMAND_OK;
    }
    if (result == COMMAND_OK) {
        result = check_operands(command, &line, io);
    }
    return result == COMMAND_OK ? command->run(&line, io) : result;
}

int
command_main(int argc, char **argv, const struct command_io *io)
{
    if (argc < 2) {
        print_commands(io->err);
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
    const struct command *command = find_command(words, argc > 2 ? 2 : 1, &count);
    if (command == NULL && is_group(name)) {
        return report_unknown_word(io, name, words[1]);
    }
    if (command == NULL) {
        return report_unknown_command(io, name);
    }
    return run_command(command, argc - (int)count, argv + count, io);
}
