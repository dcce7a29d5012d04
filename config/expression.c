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

/* In Perl's syntax a backslash before anything that is no ASCII letter or digit makes it literal.
 */
static void
put_quoted(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        bool is_word = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
                       (octet >= '0' && octet <= '9') || octet == '_' || octet == '-' ||
                       octet >= 0x80;
        if (!is_word) {
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
