/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manual/explain.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "broker/plan/plan_words.h"
#include "cli/command/exits.h"
#include "cli/text/reply_texts.h"
#include "config/describe.h"
#include "config/key_texts.h"
#include "config/report.h"

enum { KEYS_MAX = 256 };

static void
print_text(FILE *out, const char *meaning, const char *cause, const char *next)
{
    fprintf(out, "  meaning  %s\n  cause    %s\n  next     %s\n", meaning, cause, next);
}

/* Codes -------------------------------------------------------------------------------------- */

static bool
is_reply(const struct reply_explanation *text, const char *word)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", (int)text->code);
    return strcmp(number, word) == 0 ||
           strcasecmp(reply_code_name((uint16_t)text->code), word) == 0;
}

static bool
explain_reply(const char *word, FILE *out)
{
    const struct reply_explanation *text;
    for (size_t i = 0; (text = reply_explanation_at(i)) != NULL; i++) {
        if (is_reply(text, word)) {
            bool is_soft = reply_code_scope((uint16_t)text->code) == FAULT_CHANNEL;
            fprintf(out, "%d %s: AMQP's reply code, for a %s\n", (int)text->code,
                    reply_code_name((uint16_t)text->code), is_soft ? "channel" : "connection");
            print_text(out, text->meaning, text->cause, text->next);
            return true;
        }
    }
    return false;
}

static bool
explain_exit(const char *word, FILE *out)
{
    const struct exit_meaning *meaning;
    for (size_t i = 0; (meaning = exit_meaning_at(i)) != NULL; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", meaning->status);
        if (strcmp(number, word) == 0) {
            fprintf(out, "%d: exit status of a command of bourse\n", meaning->status);
            print_text(out, meaning->meaning, "See standard error of the command.", meaning->next);
            return true;
        }
    }
    return false;
}

/* Keys --------------------------------------------------------------------------------------- */

/* The next segment of a path, without NAME, LISTENER and brackets; size 0 behind the last. */
static struct bytes
next_segment(const char **path)
{
    for (;;) {
        *path += strspn(*path, ".");
        size_t size = strcspn(*path, ".");
        struct bytes segment = bytes_make(*path, size);
        *path += size;
        if (size > 2 && memcmp(segment.data + size - 2, "[]", 2) == 0) {
            segment.size -= 2;
        }
        if (segment.size == 0 ||
            (!bytes_equal_text(segment, "NAME") && !bytes_equal_text(segment, "LISTENER"))) {
            return segment;
        }
    }
}

/* A word for one thing stands for the key of many: "queue" is "queues", "policy" "policies". */
static bool
is_same_segment(struct bytes key, struct bytes word)
{
    if (bytes_equal(key, word)) {
        return true;
    }
    if (word.size > 1 && word.data[word.size - 1] == 'y') {
        return key.size == word.size + 2 && memcmp(key.data, word.data, word.size - 1) == 0 &&
               memcmp(key.data + word.size - 1, "ies", 3) == 0;
    }
    return key.size == word.size + 1 && memcmp(key.data, word.data, word.size) == 0 &&
           key.data[word.size] == 's';
}

/* True when the path from here on is what was asked for. */
static bool
is_asked(const char *path, const char *word)
{
    for (;;) {
        struct bytes segment = next_segment(&path);
        struct bytes asked = next_segment(&word);
        if (segment.size == 0 || asked.size == 0) {
            return segment.size == asked.size;
        }
        if (!is_same_segment(segment, asked)) {
            return false;
        }
    }
}

/* "retry", "queue.retry" and "queues.NAME.retry" all end like the path "queues.NAME.retry". */
static bool
ends_as_asked(const char *path, const char *word)
{
    while (*path != '\0') {
        if (is_asked(path, word)) {
            return true;
        }
        (void)next_segment(&path);
    }
    return false;
}

struct search {
    const char *word;
    FILE *out;
    const char *seen[KEYS_MAX]; /* texts that were printed; one stands for several paths */
    size_t seen_count;
    struct suggestion suggestion;
};

static bool
is_new(struct search *search, const struct key_text *text)
{
    for (size_t i = 0; i < search->seen_count; i++) {
        if (search->seen[i] == text->path) {
            return false;
        }
    }
    assert(search->seen_count < KEYS_MAX);
    search->seen[search->seen_count++] = text->path;
    return true;
}

static void
explain_key(void *context, const char *path, const struct field_spec *field)
{
    struct search *search = context;
    char canonical[KEY_PATH_SIZE];
    char value[KEY_VALUE_SIZE];
    key_canonical(path, canonical);
    suggestion_offer(&search->suggestion, bytes_of(field->name));
    if (!ends_as_asked(path, search->word) && !ends_as_asked(canonical, search->word)) {
        return;
    }
    const struct key_text *text = key_text_find(canonical);
    if (text == NULL || !is_new(search, text)) {
        return;
    }
    describe_value(field, value);
    fprintf(search->out, "%s%s: key of the configuration file\n  value    %s\n",
            search->seen_count > 1 ? "\n" : "", canonical, value);
    print_text(search->out, text->meaning, text->cause, text->next);
}

/* Prints what is known of a key; false: there is none like that. */
static bool
explain_keys(struct search *search, const char *word)
{
    search->word = word;
    describe_keys(explain_key, search);
    return search->seen_count > 0;
}

/* "queues.orders.ttl", with a name that a file has chosen, is "queues.ttl". */
static bool
explain_without_name(struct search *search, const char *word)
{
    char key[KEY_PATH_SIZE];
    const char *name = strchr(word, '.');
    const char *behind = name == NULL ? NULL : strchr(name + 1, '.');
    if (behind == NULL || strlen(word) >= sizeof(key)) {
        return false;
    }
    (void)snprintf(key, sizeof(key), "%.*s%s", (int)(name - word), word, behind);
    return explain_keys(search, key);
}

/* "x-message-ttl", as clients call it, or "message-ttl", as policies do. */
static bool
explain_argument(struct search *search, const char *word)
{
    char argument[KEY_PATH_SIZE];
    char key[KEY_PATH_SIZE];
    (void)snprintf(argument, sizeof(argument), "x-%s", word);
    const char *own = plan_word_own(bytes_of(word));
    own = own == NULL ? plan_word_own(bytes_of(argument)) : own;
    if (own == NULL) {
        return false;
    }
    bool is_of_exchange = strcmp(own, "unrouted") == 0;
    (void)snprintf(key, sizeof(key), "%s.%s", is_of_exchange ? "exchanges" : "queues", own);
    fprintf(search->out, "%s: an argument or a key of policies; in a file its word is\n\n", word);
    return explain_keys(search, key);
}

/* The last segment of a path: what a misspelt word is compared with. */
static struct bytes
last_segment(const char *word)
{
    const char *dot = strrchr(word, '.');
    return bytes_of(dot == NULL ? word : dot + 1);
}

int
explain_run(const struct command_line *line, const struct command_io *io)
{
    char guess[SUGGESTION_TEXT_SIZE];
    const char *word = line->operands[0];
    struct search search = {.out = io->out, .suggestion = suggestion_for(last_segment(word))};
    if (explain_reply(word, io->out) || explain_exit(word, io->out)) {
        return COMMAND_OK;
    }
    if (explain_keys(&search, word) || explain_without_name(&search, word) ||
        explain_argument(&search, word)) {
        return COMMAND_OK;
    }
    return command_error(io, COMMAND_NOT_FOUND,
                         "\"%s\" is no reply code, exit status or key of a file%s; codes are such "
                         "as 404 or NOT_FOUND, keys such as queues.ttl",
                         word, suggestion_text(&search.suggestion, guess));
}
