/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: which command runs, what it prints where, and how it exits. */
#include "cli/command/command.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

enum { WORDS_MAX = 8 };

struct result {
    int status;
    char *out; /* owned */
    char *err; /* owned */
};

static struct result
run(const char *const *words)
{
    struct result result = {0};
    size_t out_size = 0;
    size_t err_size = 0;
    char *argv[WORDS_MAX + 2] = {(char *)"bourse"};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    }
    struct command_io io = {
        .out = open_memstream(&result.out, &out_size),
        .err = open_memstream(&result.err, &err_size),
    };
    result.status = command_main(argc, argv, &io);
    fclose(io.out);
    fclose(io.err);
    return result;
}

static void
result_fini(struct result *result)
{
    free(result->out);
    free(result->err);
}

/* A wrong command line is 64 and one line that says what was meant. */
Test(command, a_wrong_command_line_is_one_line_and_status_64)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *line;
    } rows[] = {
        {{"sevre"},
         "bourse: unknown command \"sevre\" (did you mean \"serve\"?); \"bourse help\" lists "
         "them\n"},
        {{"frobnicate"}, "bourse: unknown command \"frobnicate\"; \"bourse help\" lists them\n"},
        {{"help", "chek"},
         "bourse: unknown command \"chek\" (did you mean \"check\"?); \"bourse help\" lists "
         "them\n"},
        {{"serve", "--ampqs", "x"},
         "bourse: \"bourse serve\" has no option \"--ampqs\" (did you mean \"amqps\"?); \"bourse "
         "help serve\" lists them\n"},
        {{"serve", "-z"},
         "bourse: \"bourse serve\" has no option \"-z\"; \"bourse help serve\" lists them\n"},
        {{"serve", "-zh"},
         "bourse: \"bourse serve\" has no option \"-zh\"; \"bourse help serve\" lists them\n"},
        {{"serve", "--amqp"}, "bourse: \"--amqp\" needs a value\n"},
        {{"serve", "--amqp", "5672"},
         "bourse: --amqp \"5672\" is not ADDR:PORT, such as 127.0.0.1:5672 or [::1]:5672\n"},
        {{"serve", "--amqps", "127.0.0.1:0"},
         "bourse: --amqps \"127.0.0.1:0\" needs a certificate: listeners.amqps.tls in the "
         "file\n"},
        {{"serve", "--ephemeral=yes"}, "bourse: \"--ephemeral\" takes no value\n"},
        {{"serve", "--ephemeral", "--data-dir", "d"},
         "bourse: --ephemeral writes nothing: it goes without --data-dir\n"},
        {{"serve", "--data-dir", ""}, "bourse: --data-dir is empty\n"},
        {{"serve", "--ephemereal"},
         "bourse: \"bourse serve\" has no option \"--ephemereal\" (did you mean "
         "\"ephemeral\"?); \"bourse help serve\" lists them\n"},
        {{"check"}, "bourse: \"bourse check\" needs FILE...\n"},
        {{"ls", "queues", "-o", "tabel"},
         "bourse: --output takes table|wide|json|csv|name, not \"tabel\" (did you mean "
         "\"table\"?)\n"},
        {{"ls", "queues", "-p"}, "bourse: \"-p\" needs a value\n"},
        {{"completion", "csh"},
         "bourse: \"bourse completion\" takes bash|zsh|fish, not \"csh\" (did you mean "
         "\"zsh\"?)\n"},
        {{"ping", "--timeout", "0"},
         "bourse: --timeout \"0\" is not a number of seconds, 1 to 86400\n"},
        {{"peek", "q", "-n", "0"}, "bourse: --count \"0\" is not a number, 1 to 1000\n"},
        {{"queue", "declare", "q", "--argument", "x"},
         "bourse: --argument \"x\" is not NAME=VALUE\n"},
        {{"version", "now"}, "bourse: \"bourse version\" does not take \"now\"\n"},
        {{"help", "serve", "check"}, "bourse: \"bourse help\" does not take \"check\"\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct result result = run(rows[i].words);
        cr_expect(eq(int, result.status, 64), "%s", rows[i].line);
        cr_expect(eq(str, result.err, (char *)rows[i].line));
        cr_expect(eq(str, result.out, ""));
        result_fini(&result);
    }
}

Test(command, no_command_prints_the_help_as_an_error)
{
    static const char *const nothing[] = {NULL};
    static const char *const help[] = {"help", NULL};
    struct result wrong = run(nothing);
    struct result right = run(help);
    cr_expect(eq(int, wrong.status, 64));
    cr_expect(eq(int, right.status, 0));
    cr_expect(eq(str, wrong.err, right.out));
    cr_expect(eq(str, right.err, ""));
    result_fini(&wrong);
    result_fini(&right);
}

/* Help is made from the table, so it cannot forget a command or an option. */
Test(command, help_names_every_command_and_option)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *contains;
    } rows[] = {
        {{"help"}, "  serve [FILE...]                run the broker\n"},
        {{"--help"}, "  check FILE...                  say what is wrong"},
        {{"-h"}, "  version "},
        {{"help", "serve"}, "usage: bourse serve [OPTION...] [FILE...]\n"},
        {{"help", "serve"}, "--amqp ADDR:PORT "},
        {{"serve", "--help"}, "--amqps ADDR:PORT "},
        {{"serve", "x.yaml", "-h"}, "--data-dir DIR "},
        {{"help", "serve"}, "--ephemeral            keep"},
        {{"help", "check"}, "usage: bourse check [OPTION...] FILE...\n"},
        {{"help", "help"}, "usage: bourse help [OPTION...] [COMMAND]\n"},
        {{"help"}, "  store dump DIR                 print what"},
        {{"help", "store"}, "usage: bourse store COMMAND ...\n"},
        {{"help", "store"}, "  store repair DIR               make damaged data"},
        {{"help", "store", "dump"}, "--queue NAME "},
        {{"store", "dump", "--help"}, "usage: bourse store dump [OPTION...] DIR\n"},
        {{"version"}, "bourse "},
        {{"--version"}, "bourse "},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct result result = run(rows[i].words);
        cr_expect(eq(int, result.status, 0));
        cr_expect(ne(ptr, strstr(result.out, rows[i].contains), NULL), "%s", result.out);
        cr_expect(eq(str, result.err, ""));
        result_fini(&result);
    }
}

/* Files -------------------------------------------------------------------------------------- */

/* Writes `text` to a file whose name goes to `path`; the caller removes it. */
static void
write_file(const char *text, char path[static 64])
{
    snprintf(path, 64, "/tmp/bourse-command-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(i64, write(fd, text, strlen(text)), (ssize_t)strlen(text)));
    close(fd);
}

#define HEAD "bourse: 1\nusers: {root: {auth: password, password-env: HOME, role: admin}}\n"

Test(command, check_summarises_a_good_file_and_exits_with_0)
{
    char path[64];
    write_file(HEAD
               "vhost: shop\nexchanges: {e: {type: topic}}\n"
               "queues: {q: {from: [{exchange: e, key: '#'}], alert: {ready-above: 5}}, r: {}}\n"
               "listeners: {amqp: {bind: \"127.0.0.1:0\"}}\n",
               path);
    const char *const words[] = {"check", path, NULL};
    struct result result = run(words);
    cr_expect(eq(int, result.status, 0));
    cr_expect(eq(str, result.out,
                 "ok: vhost shop with 1 exchange, 2 queues, 1 binding, 1 user; 1 address to "
                 "listen on; 0 warnings\n"));
    cr_expect(eq(str, result.err, ""));
    result_fini(&result);
    unlink(path);
}

/* ESC, and CSI as one character: a file of others may say what it likes of a terminal. */
Test(command, no_file_steers_the_terminal)
{
    static const struct {
        const char *command, *text, *told;
    } rows[] = {
        {"import", "{\"vhosts\": [\x1B[31m]}", "invalid token near '\\x1b'"},
        {"import",
         "{\"vhosts\": [{\"name\": \"a\xC2\x9B"
         "31m\"}, {\"name\": \"b\"}]}",
         "\n  a\\u{9b}31m\n"},
        {"check", HEAD "vhost: \"shop\\x9B31m\"\nlisteners: {amqp: {bind: \"127.0.0.1:0\"}}\n",
         "ok: vhost shop\\u{9b}31m with"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[64];
        write_file(rows[i].text, path);
        const char *const words[] = {rows[i].command, path, NULL};
        struct result result = run(words);
        bool is_told =
            strstr(result.err, rows[i].told) != NULL || strstr(result.out, rows[i].told) != NULL;
        cr_expect(is_told, "%s%s", result.err, result.out);
        cr_expect(eq(ptr, strpbrk(result.err, "\x1B\x9B"), NULL));
        cr_expect(eq(ptr, strpbrk(result.out, "\x1B\x9B"), NULL));
        result_fini(&result);
        unlink(path);
    }
}

Test(command, a_refused_message_does_not_steer_the_terminal_by_where_it_goes)
{
    char topology[64];
    char tests[64];
    write_file(HEAD "listeners: {amqp: {bind: \"127.0.0.1:0\"}}\n", topology);
    write_file(
        "bourse-tests: 1\ntests: [{publish: {exchange: \"x\\e[31m\"}, expect: unroutable}]\n",
        tests);
    const char *const rows[][WORDS_MAX] = {
        {"route", "--file", topology, "x\x1B[31m", "k", NULL},
        {"test", topology, tests, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct result result = run(rows[i]);
        cr_expect(eq(int, result.status, 1));
        cr_expect(ne(ptr, strstr(result.out, "404 "), NULL), "%s%s", result.out, result.err);
        cr_expect(eq(ptr, strchr(result.out, '\x1B'), NULL));
        result_fini(&result);
    }
    unlink(topology);
    unlink(tests);
}

/* What only the broker's parts can judge is found before a socket is opened as well. */
Test(command, check_refuses_what_the_broker_would_refuse)
{
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        {"queues: {q: {arguments: {x-max-length: -1}}}\n",
         ":3:40: error: invalid arg 'x-max-length' for queue 'q' in vhost '/'"},
        {"queues: {q: {durable: false, arguments: {x-queue-type: quorum}}}\n", ":3:10: error: "},
        {"queues: {q: {durable: false, type: quorum}}\n", ":3:10: error: "},
        {"exchanges: {e: {arguments: {alternate-exchange: 5}}}\n",
         ":3:28: error: \"alternate-exchange\" of exchange \"e\" is no text"},
        {"queues: {q: {arguments: {x-message-ttl: soon}}}\n",
         ":3:41: error: invalid arg 'x-message-ttl' for queue 'q' in vhost '/'"},
        {"exchanges: {h: {type: headers}}\n"
         "queues: {q: {from: [{exchange: h, arguments: {x-match: some}}]}}\n",
         ":4:56: error: Invalid x-match field value"},
        {"queues: {q: {from: [{exchange: amq.match, arguments: {x-match: 5}}]}}\n",
         ":3:64: error: Invalid x-match field type"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[64];
        char text[512];
        snprintf(text, sizeof(text), HEAD "%s", rows[i].text);
        write_file(text, path);
        const char *const words[] = {"check", path, NULL};
        struct result result = run(words);
        cr_expect(eq(int, result.status, 1));
        cr_expect(ne(ptr, strstr(result.err, rows[i].error), NULL), "%s", result.err);
        cr_expect(ne(ptr, strstr(result.err, "bourse: 1 error\n"), NULL), "%s", result.err);
        cr_expect(eq(str, result.out, ""));
        result_fini(&result);
        unlink(path);
    }
}

Test(command, check_compiles_every_expression)
{
    static const struct {
        const char *rights;
        const char *which;
    } rows[] = {
        {"configure: '('", "\"configure\""},
        {"write: 'a{2,1}'", "\"write\""},
        {"read: '[a'", "\"read\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[64];
        char text[512];
        snprintf(text, sizeof(text),
                 "bourse: 1\nusers: {u: {auth: password, password-env: HOME, rights: {%s}}}\n",
                 rows[i].rights);
        write_file(text, path);
        const char *const words[] = {"check", path, NULL};
        struct result result = run(words);
        cr_expect(eq(int, result.status, 1));
        cr_expect(ne(ptr, strstr(result.err, ":2:49: error: the expression for "), NULL), "%s",
                  result.err);
        cr_expect(ne(ptr, strstr(result.err, rows[i].which), NULL), "%s", result.err);
        result_fini(&result);
        unlink(path);
    }
}

Test(command, serve_does_not_start_with_a_bad_file)
{
    char bad[64];
    char silent[64];
    write_file(HEAD "listener: {}\n", bad);
    write_file(HEAD, silent);
    const char *const bad_words[] = {"serve", bad, NULL};
    const char *const silent_words[] = {"serve", silent, NULL};
    const char *const flag_words[] = {"serve", "--ephemeral", bad, NULL};
    const char *const no_words[] = {"serve", "/nowhere/x.yaml", NULL};
    struct result of_bad = run(bad_words);
    struct result of_silent = run(silent_words);
    struct result of_flag = run(flag_words);
    struct result of_none = run(no_words);

    cr_expect(eq(int, of_bad.status, 1));
    cr_expect(ne(ptr,
                 strstr(of_bad.err, ":3:1: error: unknown key \"listener\" in the file (did "
                                    "you mean \"listeners\"?)\n"),
                 NULL),
              "%s", of_bad.err);
    cr_expect(
        ne(ptr, strstr(of_bad.err, "bourse: not started: 1 error in the configuration\n"), NULL));
    cr_expect(eq(str, of_flag.err, of_bad.err), "a flag takes no word away");
    cr_expect(eq(int, of_silent.status, 1));
    cr_expect(ne(ptr, strstr(of_silent.err, "no amqp or amqps listener"), NULL));
    cr_expect(eq(int, of_none.status, 1));
    cr_expect(
        ne(ptr, strstr(of_none.err, "/nowhere/x.yaml: error: cannot be read: No such file"), NULL));
    result_fini(&of_bad);
    result_fini(&of_flag);
    result_fini(&of_silent);
    result_fini(&of_none);
    unlink(bad);
    unlink(silent);
}
