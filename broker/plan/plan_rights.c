/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/plan/plan_rights.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "broker/plan/plan_words.h"
#include "config/expression.h"

void
plan_lines_add(struct arena *arena, struct plan_line **lines, struct plan_line line)
{
    while (*lines != NULL &&
           (line.key == NULL || ((*lines)->key != NULL && strcmp((*lines)->key, line.key) <= 0))) {
        lines = &(*lines)->next;
    }
    struct plan_line *made = arena_alloc(arena, sizeof(*made));
    *made = line;
    made->next = *lines;
    *lines = made;
}

/* Where sentences go. */
struct narrator {
    struct arena *arena;
    struct plan_line **lines;
};

static void say(struct narrator *narrator, const char *format, ...) PRINTF_LIKE(2, 3);

static void
say(struct narrator *narrator, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    char *sentence = arena_alloc(narrator->arena, (size_t)size + 1);
    va_start(arguments, format);
    (void)vsnprintf(sentence, (size_t)size + 1, format, arguments);
    va_end(arguments);
    plan_lines_add(narrator->arena, narrator->lines, (struct plan_line){.sentence = sentence});
}

/* Names as a set ------------------------------------------------------------------------------ */

struct names {
    struct bytes *items;
    size_t count;
};

static bool
names_have(const struct names *names, struct bytes name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (bytes_equal(names->items[i], name)) {
            return true;
        }
    }
    return false;
}

/* Those of `names` that `others` have not, as "a, b"; NULL: none. */
static const char *
names_beyond(struct arena *arena, const struct names *names, const struct names *others)
{
    struct buffer text;
    buffer_init(&text);
    for (size_t i = 0; i < names->count; i++) {
        if (!names_have(others, names->items[i])) {
            buffer_printf(&text, "%s%s", buffer_size(&text) > 0 ? ", " : "",
                          plan_quoted(arena, names->items[i]));
        }
    }
    assert(!text.failed);
    const char *found =
        buffer_size(&text) == 0 ? NULL : (const char *)arena_copy(arena, buffer_bytes(&text)).data;
    buffer_fini(&text);
    return found;
}

/* The three rights ---------------------------------------------------------------------------- */

static const char *const rights_keys[ACCESS_RIGHT_COUNT] = {
    [ACCESS_CONFIGURE] = "rights.configure",
    [ACCESS_WRITE] = "rights.write",
    [ACCESS_READ] = "rights.read",
};

static const char *
expression_or_none(struct arena *arena, const char *expression)
{
    return expression[0] == '\0' ? NULL : plan_quoted(arena, bytes_of(expression));
}

/* One right by its expressions, where they are no names. */
static void
compare_expressions(struct narrator *narrator, enum access_right right, const char *from,
                    const char *to)
{
    plan_lines_add(narrator->arena, narrator->lines,
                   (struct plan_line){.key = rights_keys[right],
                                      .from = expression_or_none(narrator->arena, from),
                                      .to = expression_or_none(narrator->arena, to)});
}

/* `doing` is "consume from". Whether both sides are names, and so have been told. */
static void
compare_right(struct narrator *narrator, enum access_right right, const char *doing,
              const char *from, const char *to, bool is_new)
{
    struct names before, after;
    if (strcmp(from, to) == 0) {
        return;
    }
    if (right == ACCESS_CONFIGURE ||
        !expression_to_names(narrator->arena, from, &before.items, &before.count) ||
        !expression_to_names(narrator->arena, to, &after.items, &after.count)) {
        compare_expressions(narrator, right, from, to);
        return;
    }
    const char *added = names_beyond(narrator->arena, &after, &before);
    const char *gone = names_beyond(narrator->arena, &before, &after);
    if (added != NULL) {
        say(narrator, "may %s%s %s", is_new ? "" : "additionally ", doing, added);
    }
    if (gone != NULL) {
        say(narrator, "may no longer %s %s", doing, gone);
    }
}

/* Topics --------------------------------------------------------------------------------------- */

static const struct config_topic_right *
find_topic(const struct user_grant *grant, struct bytes exchange)
{
    for (size_t i = 0; grant != NULL && i < grant->topic_count; i++) {
        if (bytes_equal(grant->topics[i].exchange, exchange)) {
            return &grant->topics[i];
        }
    }
    return NULL;
}

/* The keys that an expression stands for, else the expression itself. */
static struct names
patterns_of(struct arena *arena, const char *expression)
{
    struct names names;
    if (!expression_to_patterns(arena, expression, &names.items, &names.count)) {
        names.items = arena_alloc(arena, sizeof(*names.items));
        names.items[0] = arena_copy(arena, bytes_of(expression));
        names.count = 1;
    }
    return names;
}

static void
compare_keys(struct narrator *narrator, struct bytes exchange, const char *from, const char *to)
{
    struct names before = patterns_of(narrator->arena, from);
    struct names after = patterns_of(narrator->arena, to);
    const char *name = plan_quoted(narrator->arena, exchange);
    const char *added = names_beyond(narrator->arena, &after, &before);
    const char *gone = names_beyond(narrator->arena, &before, &after);
    if (added != NULL) {
        say(narrator, "may additionally publish to %s with keys %s", name, added);
    }
    if (gone != NULL) {
        say(narrator, "may no longer publish to %s with keys %s", name, gone);
    }
}

static void
compare_topics(struct narrator *narrator, const struct user_grant *from,
               const struct user_grant *to)
{
    struct names none = {0};
    for (size_t i = 0; i < to->topic_count; i++) {
        const struct config_topic_right *topic = &to->topics[i];
        const struct config_topic_right *before = find_topic(from, topic->exchange);
        if (before == NULL) {
            struct names keys = patterns_of(narrator->arena, topic->write);
            say(narrator, "publishes to %s only with keys %s",
                plan_quoted(narrator->arena, topic->exchange),
                names_beyond(narrator->arena, &keys, &none));
        } else {
            compare_keys(narrator, topic->exchange, before->write, topic->write);
            if (strcmp(before->read, topic->read) != 0) {
                say(narrator, "binds to %s with keys that match %s, no longer %s",
                    plan_quoted(narrator->arena, topic->exchange), topic->read, before->read);
            }
        }
    }
    for (size_t i = 0; from != NULL && i < from->topic_count; i++) {
        if (find_topic(to, from->topics[i].exchange) == NULL) {
            say(narrator, "is no longer held to keys when publishing to %s",
                plan_quoted(narrator->arena, from->topics[i].exchange));
        }
    }
}

void
plan_rights_compare(struct arena *arena, struct plan_line **lines, const struct user_grant *from,
                    const struct user_grant *to)
{
    static const char *const doings[ACCESS_RIGHT_COUNT] = {
        [ACCESS_CONFIGURE] = "",
        [ACCESS_WRITE] = "publish to",
        [ACCESS_READ] = "consume from",
    };
    struct narrator narrator = {.arena = arena, .lines = lines};
    for (enum access_right right = 0; right < ACCESS_RIGHT_COUNT; right++) {
        compare_right(&narrator, right, doings[right], from == NULL ? "" : from->rights[right],
                      to->rights[right], from == NULL);
    }
    compare_topics(&narrator, from, to);
}
