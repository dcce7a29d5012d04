/* SPDX-License-Identifier: Apache-2.0 */
#include "config/describe.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "config/document.h"

/* Tables in one another. */
enum { DEPTH_MAX = 8 };

/* A table that is gone through, and what stands before the keys of it. */
struct level {
    const struct record_spec *spec;
    size_t at;
    char prefix[KEY_PATH_SIZE];
};

/* What stands between a field's name and the keys of its records. */
static const char *
inner_of(enum field_kind kind)
{
    switch (kind) {
    case FIELD_NAMED:
        return ".NAME.";
    case FIELD_RECORDS:
        return "[].";
    case FIELD_RECORD:
    case FIELD_CHOICE:
    case FIELD_LITERAL:
    case FIELD_LITERALS:
    case FIELD_NAMED_LITERALS:
    case FIELD_RAW:
        break;
    }
    return ".";
}

static void
join(char out[static KEY_PATH_SIZE], const char *first, const char *second)
{
    int size = snprintf(out, KEY_PATH_SIZE, "%s%s", first, second);
    assert(size < KEY_PATH_SIZE);
}

void
describe_keys(void (*each)(void *context, const char *path, const struct field_spec *field),
              void *context)
{
    struct level levels[DEPTH_MAX] = {{.spec = document_schema()}};
    size_t depth = 1;
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        if (level->at == level->spec->count) {
            depth--;
            continue;
        }
        const struct field_spec *field = &level->spec->fields[level->at++];
        char path[KEY_PATH_SIZE];
        join(path, level->prefix, field->name);
        each(context, path, field);
        if (field->record != NULL) {
            assert(depth < DEPTH_MAX);
            struct level *inner = &levels[depth++];
            *inner = (struct level){.spec = field->record};
            join(inner->prefix, path, inner_of(field->kind));
        }
    }
}

/* Paths -------------------------------------------------------------------------------------- */

/* "listeners.amqps.tls.key" is "listeners.LISTENER.tls.key"; the listener itself stays. */
static bool
shorten_listener(const char *path, char out[static KEY_PATH_SIZE])
{
    static const char prefix[] = "listeners.";
    const char *inner = strncmp(path, prefix, sizeof(prefix) - 1) == 0
                            ? strchr(path + sizeof(prefix) - 1, '.')
                            : NULL;
    if (inner == NULL) {
        return false;
    }
    snprintf(out, KEY_PATH_SIZE, "listeners.LISTENER%s", inner);
    return true;
}

void
key_canonical(const char *path, char out[static KEY_PATH_SIZE])
{
    static const char *const same[][2] = {
        {"operator-policies.NAME.", "policies.NAME."},
        {"defaults.exchange.", "exchanges.NAME."},
        {"defaults.queue.", "queues.NAME."},
    };
    char whole[KEY_PATH_SIZE];
    snprintf(whole, sizeof(whole), "%s", path);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        size_t size = strlen(same[i][0]);
        if (strncmp(path, same[i][0], size) == 0) {
            snprintf(whole, sizeof(whole), "%s%s", same[i][1], path + size);
        }
    }
    const char *binding = strstr(whole, "from[].");
    const char *retry = strncmp(whole, "queues.NAME.retry.", 18) == 0 ? whole + 18 : NULL;
    if (retry != NULL) {
        snprintf(out, KEY_PATH_SIZE, "retry.NAME.%s", retry);
    } else if (!shorten_listener(whole, out)) {
        snprintf(out, KEY_PATH_SIZE, "%s", binding != NULL ? binding : whole);
    }
}

/* Values ------------------------------------------------------------------------------------- */

static void
put_words(struct buffer *out, const struct literal_word *words)
{
    for (const struct literal_word *word = words; word->text != NULL; word++) {
        const char *between = word == words ? "" : word[1].text == NULL ? " or " : ", ";
        buffer_printf(out, "%s%s", between, word->text);
    }
}

static void
put_bounds(struct buffer *out, const struct literal_rule *rule, const char *unit)
{
    if (rule->max > 0) {
        buffer_printf(out, ", %" PRId64 " to %" PRId64 "%s", rule->min, rule->max, unit);
    }
}

static void
put_literal(struct buffer *out, const struct literal_rule *rule)
{
    static const char *const kinds[] = {
        [LITERAL_BOOLEAN] = "true or false",
        [LITERAL_INTEGER] = "a whole number",
        [LITERAL_NUMBER] = "a number",
        [LITERAL_DURATION] = "a duration such as 500ms, 30s or 24h",
        [LITERAL_SIZE] = "a size such as 500KB or 2GiB",
        [LITERAL_SIZE_OR_PERCENT] = "a size such as 2GiB, or a percentage such as 40%",
        [LITERAL_PERCENT] = "a percentage such as 20%",
        [LITERAL_TEXT] = "text",
        [LITERAL_ANY_TEXT] = "text, which may be empty",
        [LITERAL_NAME] = "a name of 1 to 255 octets",
        [LITERAL_KEY] = "text of at most 255 octets",
        [LITERAL_WORD] = "",
    };
    buffer_printf(out, "%s", kinds[rule->type]);
    if (rule->words != NULL) {
        buffer_printf(out, "%s", rule->type == LITERAL_WORD ? "" : ", or ");
        put_words(out, rule->words);
    }
    if (rule->type == LITERAL_INTEGER || rule->type == LITERAL_NUMBER) {
        put_bounds(out, rule, "");
    }
}

static void
put_value(struct buffer *out, const struct field_spec *field)
{
    switch (field->kind) {
    case FIELD_LITERAL:
        put_literal(out, &field->rule);
        break;
    case FIELD_LITERALS:
        buffer_printf(out, "a list of: ");
        put_literal(out, &field->rule);
        break;
    case FIELD_RECORD:
        buffer_printf(out, "a map of keys");
        break;
    case FIELD_RECORDS:
        buffer_printf(out, "a list of maps of keys");
        break;
    case FIELD_NAMED:
        buffer_printf(out, "a map from names to maps of keys");
        break;
    case FIELD_NAMED_LITERALS:
        buffer_printf(out, "a map from names to lists");
        break;
    case FIELD_CHOICE:
        buffer_printf(out, "a name, or a map of keys");
        break;
    case FIELD_RAW:
        buffer_printf(out, "a map of any content");
        break;
    }
}

void
describe_value(const struct field_spec *field, char out[static KEY_VALUE_SIZE])
{
    struct buffer text;
    buffer_init(&text);
    put_value(&text, field);
    if ((field->flags & FIELD_REQUIRED) != 0) {
        buffer_printf(&text, "; required");
    }
    snprintf(out, KEY_VALUE_SIZE, "%.*s", BYTES_FORMAT(buffer_bytes(&text)));
    buffer_fini(&text);
}
