/* SPDX-License-Identifier: Apache-2.0 */
/* Names and topic patterns as regular expressions. */
#include "config/expression.h"

#include "base/assert.h"
#include "base/buffer.h"

static void
put_text(struct buffer *out, const char *text)
{
    buffer_put(out, text, strlen(text));
}

static bool
is_word(uint8_t octet)
{
    return (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= '0' && octet <= '9') || octet == '_' || octet == '-' || octet >= 0x80;
}

/* In Perl's syntax a backslash before anything that is no ASCII letter or digit makes it literal.
 */
static void
put_quoted(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (!is_word(octet)) {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, octet);
    }
}

static const char *
finish(struct arena *arena, struct buffer *out)
{
    assert(!out->failed);
    const char *text = (const char *)arena_copy(arena, buffer_bytes(out)).data;
    buffer_fini(out);
    return text;
}

/* Names -------------------------------------------------------------------------------------- */

bool
name_pattern_is_prefix(struct bytes pattern)
{
    return pattern.size > 0 && pattern.data[pattern.size - 1] == '*';
}

bool
name_pattern_matches(struct bytes pattern, struct bytes name)
{
    if (!name_pattern_is_prefix(pattern)) {
        return bytes_equal(pattern, name);
    }
    size_t size = pattern.size - 1;
    return name.size >= size && (size == 0 || memcmp(pattern.data, name.data, size) == 0);
}

static void
put_name(struct buffer *out, struct bytes name)
{
    if (name_pattern_is_prefix(name)) {
        put_quoted(out, bytes_make(name.data, name.size - 1));
        put_text(out, ".*");
    } else {
        put_quoted(out, name);
    }
}

const char *
expression_from_names(struct arena *arena, const struct bytes *names, size_t count)
{
    struct buffer out;
    if (count == 0) {
        return "";
    }
    buffer_init(&out);
    put_text(&out, count == 1 ? "^" : "^(");
    for (size_t i = 0; i < count; i++) {
        put_text(&out, i == 0 ? "" : "|");
        put_name(&out, names[i]);
    }
    put_text(&out, count == 1 ? "$" : ")$");
    return finish(arena, &out);
}

/* Topic patterns ----------------------------------------------------------------------------- */

struct topic_words {
    size_t count;      /* words that are no `#` */
    bool may_be_empty; /* one of them can be the empty word */
    bool has_hash;
};

typedef void topic_word_visit(void *context, struct bytes word);

/* The empty pattern has no words; any other has one more than it has dots. */
static void
topic_for_each_word(struct bytes pattern, topic_word_visit *visit, void *context)
{
    size_t start = 0;
    for (size_t at = 0; pattern.size > 0 && at <= pattern.size; at++) {
        if (at == pattern.size || pattern.data[at] == '.') {
            visit(context, bytes_make(pattern.data + start, at - start));
            start = at + 1;
        }
    }
}

static void
topic_count_word(void *context, struct bytes word)
{
    struct topic_words *words = context;
    if (bytes_equal_text(word, "#")) {
        words->has_hash = true;
        return;
    }
    words->count++;
    words->may_be_empty = words->may_be_empty || word.size == 0 || bytes_equal_text(word, "*");
}

struct topic_writer {
    struct buffer *out;
    bool has_word;
};

/* Between two words stands a dot. A `#` brings the dots of its own words along: behind each before
 * the first other word, in front of each after it. */
static void
topic_put_word(void *context, struct bytes word)
{
    struct topic_writer *writer = context;
    if (bytes_equal_text(word, "#")) {
        put_text(writer->out, writer->has_word ? "(?:\\.[^.]*)*" : "(?:[^.]*\\.)*");
        return;
    }
    put_text(writer->out, writer->has_word ? "\\." : "");
    if (bytes_equal_text(word, "*")) {
        put_text(writer->out, "[^.]*");
    } else {
        put_quoted(writer->out, word);
    }
    writer->has_word = true;
}

static void
put_topic(struct buffer *out, struct bytes pattern)
{
    struct topic_words words = {0};
    struct topic_writer writer = {.out = out};
    topic_for_each_word(pattern, topic_count_word, &words);
    if (words.count == 0) {
        put_text(out, words.has_hash ? "[\\s\\S]*" : "");
        return;
    }
    /* The empty key has no words at all, so it is not one empty word. */
    put_text(out, words.count == 1 && words.may_be_empty ? "(?!\\z)" : "");
    topic_for_each_word(pattern, topic_put_word, &writer);
}

/* `\z` and not `$`, which would let a key end in one more newline. */
const char *
expression_from_patterns(struct arena *arena, const struct bytes *patterns, size_t count)
{
    struct buffer out;
    assert(count > 0);
    buffer_init(&out);
    put_text(&out, count == 1 ? "^" : "^(?:");
    for (size_t i = 0; i < count; i++) {
        put_text(&out, i == 0 ? "" : "|");
        put_topic(&out, patterns[i]);
    }
    put_text(&out, count == 1 ? "\\z" : ")\\z");
    return finish(arena, &out);
}

/* The way back ------------------------------------------------------------------------------- */

/* One alternative of an expression that is being read. */
struct unwriter {
    struct bytes left;
    struct buffer out;
};

static bool
take(struct unwriter *unwriter, const char *text)
{
    size_t size = strlen(text);
    if (!bytes_starts_with(unwriter->left, text)) {
        return false;
    }
    unwriter->left = bytes_make(unwriter->left.data + size, unwriter->left.size - size);
    return true;
}

/* The next octet that stands for itself; false when what comes next does not. `stop`, quoted, is
 * none of them (0: nothing is). */
static bool
take_literal(struct unwriter *unwriter, uint8_t stop)
{
    struct bytes left = unwriter->left;
    static const char special[] = "^$.|?*+()[]{}";
    if (left.size == 0 || memchr(special, left.data[0], sizeof(special) - 1) != NULL) {
        return false;
    }
    size_t at = left.data[0] == '\\' ? 1 : 0;
    if (at >= left.size || (at == 1 && (left.data[1] == stop || is_word(left.data[1])))) {
        return false;
    }
    buffer_put_u8(&unwriter->out, left.data[at]);
    unwriter->left = bytes_make(left.data + at + 1, left.size - at - 1);
    return true;
}

static void
read_name(struct unwriter *unwriter)
{
    while (take_literal(unwriter, 0)) {
    }
    if (take(unwriter, ".*")) {
        buffer_put_u8(&unwriter->out, '*');
    }
}

static void
begin_word(struct unwriter *unwriter, size_t *count)
{
    if ((*count)++ > 0) {
        buffer_put_u8(&unwriter->out, '.');
    }
}

static void
read_word(struct unwriter *unwriter, size_t *count)
{
    begin_word(unwriter, count);
    if (take(unwriter, "[^.]*")) {
        buffer_put_u8(&unwriter->out, '*');
        return;
    }
    while (take_literal(unwriter, '.')) {
    }
}

static void
read_pattern(struct unwriter *unwriter)
{
    size_t count = 0;
    if (take(unwriter, "[\\s\\S]*")) {
        buffer_put_u8(&unwriter->out, '#');
        return;
    }
    (void)take(unwriter, "(?!\\z)");
    while (take(unwriter, "(?:[^.]*\\.)*")) {
        begin_word(unwriter, &count);
        buffer_put_u8(&unwriter->out, '#');
    }
    read_word(unwriter, &count);
    for (;;) {
        if (take(unwriter, "(?:\\.[^.]*)*")) {
            begin_word(unwriter, &count);
            buffer_put_u8(&unwriter->out, '#');
        } else if (take(unwriter, "\\.")) {
            read_word(unwriter, &count);
        } else {
            return;
        }
    }
}

/* How a kind of expression begins and ends, with one alternative or with several. */
struct expression_form {
    const char *open, *close, *open_many, *close_many;
    void (*read)(struct unwriter *unwriter);
};

static bool
read_all(const struct expression_form *form, bool is_many, struct unwriter *unwriter,
         struct arena *arena, struct bytes *out, size_t *count_out)
{
    size_t count = 0;
    if (!take(unwriter, is_many ? form->open_many : form->open)) {
        return false;
    }
    do {
        buffer_clear(&unwriter->out);
        form->read(unwriter);
        out[count++] = arena_copy(arena, buffer_bytes(&unwriter->out));
    } while (is_many && take(unwriter, "|"));
    *count_out = count;
    return take(unwriter, is_many ? form->close_many : form->close) && unwriter->left.size == 0;
}

static bool
read_expression(const struct expression_form *form, struct arena *arena, const char *expression,
                struct bytes **out, size_t *count_out)
{
    size_t bars = 0;
    for (const char *at = expression; *at != '\0'; at++) {
        bars += *at == '|' ? 1 : 0;
    }
    struct unwriter unwriter = {.left = bytes_of(expression)};
    *out = arena_alloc(arena, (bars + 1) * sizeof(**out));
    *count_out = 0;
    bool is_read =
        unwriter.left.size == 0 || read_all(form, true, &unwriter, arena, *out, count_out);
    if (!is_read) { /* one pattern may begin as several do */
        unwriter.left = bytes_of(expression);
        is_read = read_all(form, false, &unwriter, arena, *out, count_out);
    }
    assert(!unwriter.out.failed);
    buffer_fini(&unwriter.out);
    return is_read;
}

bool
expression_to_names(struct arena *arena, const char *expression, struct bytes **names_out,
                    size_t *count_out)
{
    static const struct expression_form form = {"^", "$", "^(", ")$", read_name};
    return read_expression(&form, arena, expression, names_out, count_out);
}

bool
expression_to_patterns(struct arena *arena, const char *expression, struct bytes **patterns_out,
                       size_t *count_out)
{
    static const struct expression_form form = {"^", "\\z", "^(?:", ")\\z", read_pattern};
    return expression[0] != '\0' &&
           read_expression(&form, arena, expression, patterns_out, count_out);
}
