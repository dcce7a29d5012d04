/* SPDX-License-Identifier: Apache-2.0 */
/* What is made from the one table of commands, and that nothing of it is forgotten. */
#include "cli/command/command.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/command/exits.h"
#include "cli/command/foreign_words.h"
#include "cli/command/words.h"

/* What `bourse WORDS...` prints; owned. */
static char *
output_of_command(const char *first, const char *second)
{
    char *out = NULL;
    char *err = NULL;
    size_t out_size = 0;
    size_t err_size = 0;
    char *argv[] = {(char *)"bourse", (char *)(uintptr_t)first, (char *)(uintptr_t)second, NULL};
    struct command_io io = {.out = open_memstream(&out, &out_size),
                            .err = open_memstream(&err, &err_size)};
    int status = command_main(second == NULL ? 2 : 3, argv, &io);
    fclose(io.out);
    fclose(io.err);
    cr_expect(eq(int, status, 0), "%s", err);
    free(err);
    return out;
}

/* `text` with every hyphen as roff wants it; owned. */
static char *
in_roff(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&out, &size);
    for (; *text != '\0'; text++) {
        fputs(*text == '-' ? "\\" : "", file);
        fputc(*text, file);
    }
    fclose(file);
    return out;
}

static void
expect_within(const char *text, const char *part, const char *where)
{
    cr_expect(ne(ptr, strstr(text, part), NULL), "\"%s\" is not in %s", part, where);
}

/* Every verb and every option stands in the manual page and in the completion of every shell. */
Test(table, every_verb_and_option_is_in_manual_page_and_completions)
{
    char *man = output_of_command("man", NULL);
    char *bash = output_of_command("completion", "bash");
    char *zsh = output_of_command("completion", "zsh");
    char *fish = output_of_command("completion", "fish");
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *command = command_at(i);
        const struct command_option *option;
        char row[128];
        char *name = in_roff(command->name);
        expect_within(man, name, "the manual page");
        snprintf(row, sizeof(row), "(\"%s\")\n        options=\"", command->name);
        expect_within(bash, row, "bash");
        expect_within(zsh, row, "zsh");
        free(name);
        const char *at = strstr(bash, row);
        size_t size = at == NULL ? 0 : strcspn(at + strlen(row), "\"");
        for (size_t o = 0; (option = command_option_at(command, o)) != NULL; o++) {
            char word[96];
            char *in_man = in_roff(option->name);
            expect_within(man, in_man, "the manual page");
            free(in_man);
            snprintf(word, sizeof(word), "--%s", option->name);
            cr_expect(ne(ptr, memmem(at + strlen(row), size, word, strlen(word)), NULL), "%s of %s",
                      word, command->name);
            snprintf(word, sizeof(word), "'__bourse_is \"%s\"' -l %s", command->name, option->name);
            expect_within(fish, word, "fish");
        }
    }
    free(man);
    free(bash);
    free(zsh);
    free(fish);
}

/* getopt would take the first of two with one name; and fish knows which options have a value by
 * their name alone. */
Test(table, an_option_of_one_name_is_one_thing)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command_option *a;
        for (size_t o = 0; (a = command_option_at(command_at(i), o)) != NULL; o++) {
            const struct command_option *b;
            for (size_t p = 0; p < o && (b = command_option_at(command_at(i), p)) != NULL; p++) {
                cr_expect(ne(str, (char *)a->name, (char *)b->name), "%s", command_at(i)->name);
            }
            for (size_t j = 0; j < i; j++) {
                for (size_t p = 0; (b = command_option_at(command_at(j), p)) != NULL; p++) {
                    cr_expect(strcmp(a->name, b->name) != 0 ||
                                  (a->argument == NULL) == (b->argument == NULL),
                              "--%s of %s and %s", a->name, command_at(i)->name,
                              command_at(j)->name);
                }
            }
        }
    }
}

Test(table, every_command_says_what_it_takes)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *command = command_at(i);
        struct word word;
        cr_expect(ne(ptr, (void *)(uintptr_t)command->run, NULL));
        cr_expect(ne(ptr, (void *)(uintptr_t)command->summary, NULL));
        cr_expect(eq(int, word_at(command->operands, 0, &word), command->operand_max > 0), "%s",
                  command->name);
        cr_expect(le(sz, command->operand_min, command->operand_max));
    }
}

/* A client's statuses are explained where a client is, and only there. */
Test(table, exit_statuses_are_those_that_a_command_may_have)
{
    size_t words = 0;
    const struct command *ls = command_find((const char *const[]){"ls"}, 1, &words);
    const struct command *check = command_find((const char *const[]){"check"}, 1, &words);
    const struct exit_meaning *meaning;
    for (size_t i = 0; (meaning = exit_meaning_at(i)) != NULL; i++) {
        bool is_common = meaning->status <= 1 || meaning->status == COMMAND_MISUSED;
        bool is_of_client = meaning->status >= COMMAND_NOT_FOUND;
        cr_expect(eq(int, exit_is_of_command(meaning, check), is_common));
        cr_expect(eq(int, exit_is_of_command(meaning, ls), is_common || is_of_client));
    }
}

Test(table, words_say_what_may_stand_for_them)
{
    struct word word;
    cr_assert(word_at("EXCHANGE KEY [FILE...]", 0, &word));
    cr_expect(eq(int, (int)word.kind, (int)WORD_NAME));
    cr_assert(word_at("EXCHANGE KEY [FILE...]", 1, &word));
    cr_expect(eq(int, (int)word.kind, (int)WORD_FREE));
    cr_assert(word_at("EXCHANGE KEY [FILE...]", 7, &word));
    cr_expect(eq(int, (int)word.kind, (int)WORD_FILE));
    cr_expect(word.is_repeated);
    cr_expect(not(word_at("EXCHANGE KEY", 2, &word)));
    cr_assert(word_at("CODE|KEY", 0, &word));
    cr_expect(eq(int, (int)word.kind, (int)WORD_FREE));
    cr_assert(word_at("bash|zsh|fish", 0, &word));
    cr_expect(eq(int, (int)word.kind, (int)WORD_CHOICE));
    cr_expect(word_is_choice(word.text, "zsh"));
    cr_expect(not(word_is_choice(word.text, "bash|zsh")));
    cr_expect(not(word_is_choice(word.text, "")));
}

/* What somebody from RabbitMQ is told to type is there. */
Test(table, every_word_of_rabbitmq_leads_to_a_command)
{
    const struct foreign_word *word;
    for (size_t i = 0; (word = foreign_word_at(i)) != NULL; i++) {
        char text[128];
        char *rest = NULL;
        size_t count = 0;
        snprintf(text, sizeof(text), "%s", word->ours);
        const char *first = strtok_r(text, " ", &rest);
        const char *words[] = {first, strtok_r(NULL, " ", &rest)};
        cr_expect(
            ne(ptr, (void *)(uintptr_t)command_find(words, words[1] == NULL ? 1 : 2, &count), NULL),
            "%s", word->ours);
        const char *theirs[] = {word->theirs};
        cr_expect(eq(ptr, (void *)(uintptr_t)command_find(theirs, 1, &count), NULL), "%s is ours",
                  word->theirs);
    }
}
