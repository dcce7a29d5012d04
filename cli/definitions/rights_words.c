/* SPDX-License-Identifier: Apache-2.0 */
/* What is between the anchors is cut at "|" and read piece by piece; that the result is right shows
 * when it is compiled again. */
#include "cli/definitions/rights_words.h"

#include "base/buffer.h"
#include "config/expression.h"

/* A part of an expression and what it stands for. */
struct piece {
    const char *expression;
    const char *stands_for;
};

/* The longest first, where one begins like another. */
static const struct piece name_pieces[] = {{".*", "*"}};
static const struct piece topic_pieces[] = {
    {"(?!\\z)", ""},    {"(?:\\.[^.]*)*", ".#"}, {"(?:[^.]*\\.)*", "#."},
    {"[\\s\\S]*", "#"}, {"[^.]*", "*"},
};

struct grammar {
    const char *open, *open_list;
    const char *close, *close_list;
    const struct piece *pieces;
    size_t piece_count;
};

static const struct grammar name_grammar = {"^", "^(", "$", ")$", name_pieces, 1};
static const struct grammar topic_grammar = {"^", "^(?:", "\\z", ")\\z", topic_pieces, 5};

static bool
ends_with(struct bytes text, const char *end)
{
    size_t size = strlen(end);
    return text.size >= size && memcmp(text.data + text.size - size, end, size) == 0;
}

/* What stands between the anchors. A list of alternatives has brackets. */
static bool
strip(const struct grammar *grammar, struct bytes *text, bool *is_list_out)
{
    const char *open = grammar->open;
    const char *close = grammar->close;
    *is_list_out = bytes_starts_with(*text, grammar->open_list) &&
                   ends_with(*text, grammar->close_list) &&
                   text->size >= strlen(grammar->open_list) + strlen(grammar->close_list);
    if (*is_list_out) {
        open = grammar->open_list;
        close = grammar->close_list;
    }
    size_t around = strlen(open) + strlen(close);
    if (text->size < around || !bytes_starts_with(*text, open) || !ends_with(*text, close)) {
        return false;
    }
    *text = bytes_make(text->data + strlen(open), text->size - around);
    return true;
}

/* Takes one piece off the front of `text` and appends what it stands for; false: it is none. */
static bool
take_piece(const struct grammar *grammar, struct bytes *text, struct buffer *out)
{
    for (size_t i = 0; i < grammar->piece_count; i++) {
        const struct piece *piece = &grammar->pieces[i];
        if (bytes_starts_with(*text, piece->expression)) {
            size_t size = strlen(piece->expression);
            buffer_put(out, piece->stands_for, strlen(piece->stands_for));
            *text = bytes_make(text->data + size, text->size - size);
            return true;
        }
    }
    if (text->data[0] == '\\' && text->size > 1) {
        buffer_put_u8(out, text->data[1]);
        *text = bytes_make(text->data + 2, text->size - 2);
        return true;
    }
    if (strchr("^$.[]()|*+?{}\\", text->data[0]) != NULL) {
        return false;
    }
    buffer_put_u8(out, text->data[0]);
    *text = bytes_make(text->data + 1, text->size - 1);
    return true;
}

/* One alternative, up to "|" or the end. */
static bool
take_alternative(const struct grammar *grammar, struct bytes *text, struct arena *arena,
                 struct bytes *out)
{
    struct buffer word;
    bool is_good = true;
    buffer_init(&word);
    while (is_good && text->size > 0 && text->data[0] != '|') {
        is_good = take_piece(grammar, text, &word);
    }
    *out = arena_copy(arena, buffer_bytes(&word));
    buffer_fini(&word);
    return is_good;
}

static bool
find_words(const struct grammar *grammar, const char *expression, struct arena *arena,
           struct bytes **words_out, size_t *count_out)
{
    struct bytes text = bytes_of(expression);
    bool is_list;
    *count_out = 0;
    *words_out = arena_alloc(arena, (text.size + 1) * sizeof(**words_out));
    if (!strip(grammar, &text, &is_list)) {
        return false;
    }
    for (;;) {
        if (!take_alternative(grammar, &text, arena, &(*words_out)[(*count_out)++])) {
            return false;
        }
        if (text.size == 0) {
            return true;
        }
        if (!is_list) {
            return false;
        }
        text = bytes_make(text.data + 1, text.size - 1);
    }
}

bool
rights_find_names(const char *expression, struct arena *arena, struct bytes **names_out,
                  size_t *count_out)
{
    *count_out = 0;
    if (expression[0] == '\0') {
        return true;
    }
    return find_words(&name_grammar, expression, arena, names_out, count_out) &&
           strcmp(expression_from_names(arena, *names_out, *count_out), expression) == 0;
}

bool
rights_find_patterns(const char *expression, struct arena *arena, struct bytes **patterns_out,
                     size_t *count_out)
{
    return find_words(&topic_grammar, expression, arena, patterns_out, count_out) &&
           strcmp(expression_from_patterns(arena, *patterns_out, *count_out), expression) == 0;
}
