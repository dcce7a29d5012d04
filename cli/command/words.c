/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/words.h"

#include "base/assert.h"

static const struct {
    const char *text;
    enum word_kind kind;
    const char *lister;
} known[] = {
    {"FILE", WORD_FILE, NULL},
    {"DIR", WORD_DIRECTORY, NULL},
    {"QUEUE", WORD_NAME, "ls queues -q -o name"},
    {"EXCHANGE", WORD_NAME, "ls exchanges -q -o name"},
    {"CONNECTION", WORD_NAME, "ls connections -q -o name"},
    {"USER", WORD_NAME, "ls users -q -o name"},
    {"VHOST", WORD_NAME, "ls vhosts -q -o name"},
    {"POLICY", WORD_NAME, "ls policies -q -o name"},
    {"CONTEXT", WORD_NAME, "context ls -q -o name"},
    {"COMMAND", WORD_NAME, "help -q"},
};

static struct bytes
without_ends(struct bytes text)
{
    while (text.size > 0 && (text.data[0] == '[' || text.data[0] == ' ')) {
        text = bytes_make(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && strchr("].", text.data[text.size - 1]) != NULL) {
        text.size--;
    }
    return text;
}

/* Capitals stand for something, as in "CODE|KEY". */
static bool
is_choice(struct bytes text)
{
    bool is_capital = text.size > 0 && text.data[0] >= 'A' && text.data[0] <= 'Z';
    return !is_capital && memchr(text.data, '|', text.size) != NULL;
}

static void
set_kind(struct word *word)
{
    word->kind = is_choice(word->text) ? WORD_CHOICE : WORD_FREE;
    word->lister = NULL;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (bytes_equal_text(word->text, known[i].text)) {
            word->kind = known[i].kind;
            word->lister = known[i].lister;
        }
    }
}

bool
word_at(const char *text, size_t index, struct word *out)
{
    for (size_t at = 0;; at++) {
        text += strspn(text, " ");
        size_t size = strcspn(text, " ");
        if (size == 0) {
            return false;
        }
        struct bytes raw = bytes_make(text, size);
        out->is_repeated = memmem(text, size, "...", 3) != NULL;
        if (at == index || out->is_repeated) {
            out->text = without_ends(raw);
            set_kind(out);
            return true;
        }
        text += size;
    }
}

struct bytes
word_choice(struct bytes choices, size_t index)
{
    struct byte_reader reader = byte_reader_make(choices);
    for (size_t at = 0; byte_reader_left(&reader) > 0; at++) {
        const uint8_t *bar = memchr(reader.next, '|', byte_reader_left(&reader));
        size_t size = bar == NULL ? byte_reader_left(&reader) : (size_t)(bar - reader.next);
        struct bytes word = byte_reader_take(&reader, size);
        if (at == index) {
            return word;
        }
        (void)byte_reader_take(&reader, bar == NULL ? 0 : 1);
    }
    return bytes_make(NULL, 0);
}

bool
word_is_choice(struct bytes choices, const char *text)
{
    for (size_t i = 0;; i++) {
        struct bytes word = word_choice(choices, i);
        if (word.size == 0 || bytes_equal_text(word, text)) {
            return word.size > 0;
        }
    }
}
