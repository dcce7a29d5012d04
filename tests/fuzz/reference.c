/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/reference.h"

#include <stdlib.h>

#include "base/assert.h"

/* Tables -------------------------------------------------------------------------------------- */

enum { ITEMS_MAX = TABLE_HEADER_FIELDS_MAX };

static size_t
items_of(const struct table_value *value, struct bytes *names, struct table_value *items)
{
    struct byte_reader reader = byte_reader_make(value->raw);
    size_t count = 0;
    names[0] = bytes_make(NULL, 0);
    while (value->type == 'A' ? table_array_next(&reader, &items[count])
                              : table_next(&reader, &names[count], &items[count])) {
        count++;
        assert(count < ITEMS_MAX);
        names[count] = bytes_make(NULL, 0);
    }
    return count;
}

/* Which field of `b` field `at` of `a` answers to: as many with its name stand before it. */
static bool
find_partner(const struct bytes *names, size_t at, const struct bytes *other_names, size_t count,
             size_t *partner_out)
{
    size_t before = 0;
    for (size_t i = 0; i < at; i++) {
        before += bytes_equal(names[i], names[at]);
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(other_names[i], names[at]) && before-- == 0) {
            *partner_out = i;
            return true;
        }
    }
    return false;
}

static bool
containers_equal(const struct table_value *a, const struct table_value *b)
{
    struct bytes *names = calloc(2 * ITEMS_MAX, sizeof(*names));
    struct table_value *items = calloc(2 * ITEMS_MAX, sizeof(*items));
    size_t count = items_of(a, names, items);
    bool is_equal = count == items_of(b, names + ITEMS_MAX, items + ITEMS_MAX);
    for (size_t i = 0; i < count && is_equal; i++) {
        size_t partner = i;
        is_equal = (a->type == 'A' || find_partner(names, i, names + ITEMS_MAX, count, &partner)) &&
                   reference_value_equal(&items[i], &items[ITEMS_MAX + partner]);
    }
    free(names);
    free(items);
    return is_equal;
}

static bool
floats_equal(const struct table_value *a, const struct table_value *b)
{
    bool has_same_octets = a->type == b->type && bytes_equal(a->raw, b->raw);
    return has_same_octets || (a->type != b->type && table_value_float(a) == table_value_float(b));
}

bool
reference_value_equal(const struct table_value *a, const struct table_value *b)
{
    enum table_class class = table_value_class(a);
    if (class != table_value_class(b)) {
        return false;
    }
    switch (class) {
    case TABLE_CLASS_INTEGER:
        return table_value_integer(a) == table_value_integer(b);
    case TABLE_CLASS_FLOAT:
        return floats_equal(a, b);
    case TABLE_CLASS_BOOLEAN:
        return table_value_boolean(a) == table_value_boolean(b);
    case TABLE_CLASS_ARRAY:
    case TABLE_CLASS_TABLE:
        return containers_equal(a, b);
    default:
        return bytes_equal(a->raw, b->raw);
    }
}

/* Topics -------------------------------------------------------------------------------------- */

enum { WORDS_MAX = 256 };

static size_t
split(struct bytes key, struct bytes *words)
{
    size_t count = key.size > 0 ? 1 : 0;
    words[0] = bytes_make(key.data, 0);
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] == '.') {
            words[count++] = bytes_make(key.data + i + 1, 0);
        } else {
            words[count - 1].size++;
        }
    }
    return count;
}

size_t
reference_word_count(struct bytes key)
{
    struct bytes words[WORDS_MAX];
    return split(key, words);
}

/* reached[j] says whether the words of the pattern so far match the first j words of the key. */
bool
reference_topic_matches(struct bytes pattern, struct bytes key)
{
    struct bytes pattern_words[WORDS_MAX];
    struct bytes words[WORDS_MAX];
    size_t pattern_count = split(pattern, pattern_words);
    size_t count = split(key, words);
    bool reached[WORDS_MAX + 1] = {true};
    for (size_t i = 0; i < pattern_count; i++) {
        bool is_hash = bytes_equal_text(pattern_words[i], "#");
        bool is_star = bytes_equal_text(pattern_words[i], "*");
        bool previous = false; /* reached[j - 1] before this word */
        for (size_t j = 0; j <= count; j++) {
            bool before = reached[j];
            if (is_hash) {
                reached[j] = before || (j > 0 && reached[j - 1]);
            } else {
                reached[j] =
                    j > 0 && previous && (is_star || bytes_equal(pattern_words[i], words[j - 1]));
            }
            previous = before;
        }
    }
    return reached[count];
}
