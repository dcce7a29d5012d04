/* SPDX-License-Identifier: Apache-2.0 */
#include "management/json/field_repeats.h"

#include <stdlib.h>

#include "amqp/table.h"
#include "base/alloc.h"

/* So few are compared with each other. */
enum { FEW_FIELDS = 16 };

/* Where a name lies among all that are shown. */
struct shown_name {
    size_t offset;
    size_t size;
    uint32_t position; /* of its field in the table */
};

/* How far a name stands for itself: to an octet 0, or one that is no part of a character. */
static size_t
plain_prefix(struct bytes name)
{
    size_t size = 0;
    while (size < name.size && name.data[size] != 0) {
        size_t character = bytes_utf8_char(bytes_make(name.data + size, name.size - size));
        if (character == 0) {
            break;
        }
        size += character;
    }
    return size;
}

void
field_name_put(struct buffer *out, struct bytes name)
{
    for (size_t size; (size = plain_prefix(name)) < name.size;) {
        buffer_put(out, name.data, size);
        buffer_printf(out, "\\x%02x", (unsigned)name.data[size]);
        name = bytes_make(name.data + size + 1, name.size - size - 1);
    }
    buffer_put_bytes(out, name);
}

/* Whether the name is shown as itself, and no other name is shown like it. */
static bool
is_simple(struct bytes name)
{
    return memchr(name.data, '\\', name.size) == NULL && plain_prefix(name) == name.size;
}

/* True when all fields are few and simple and none is called like another. */
static bool
is_plainly_without(struct bytes table)
{
    struct byte_reader reader = byte_reader_make(table);
    struct table_value value;
    struct bytes names[FEW_FIELDS];
    for (size_t count = 0; table_next(&reader, &names[count], &value); count++) {
        for (size_t i = 0; i < count; i++) {
            if (bytes_equal(names[i], names[count])) {
                return false;
            }
        }
        if (count + 1 == FEW_FIELDS || !is_simple(names[count])) {
            return false;
        }
    }
    return true;
}

/* Appends each field's name to `texts`, and where it lies to `names` (struct shown_name). */
static void
show_names(struct bytes table, struct buffer *texts, struct buffer *names)
{
    struct byte_reader reader = byte_reader_make(table);
    struct table_value value;
    struct bytes name;
    for (uint32_t position = 0; table_next(&reader, &name, &value); position++) {
        struct shown_name shown = {.offset = buffer_size(texts), .position = position};
        field_name_put(texts, name);
        shown.size = buffer_size(texts) - shown.offset;
        buffer_put(names, &shown, sizeof(shown));
    }
}

static int
compare_texts(const struct shown_name *left, const struct shown_name *right, const uint8_t *texts)
{
    if (left->size != right->size) {
        return left->size < right->size ? -1 : 1;
    }
    return left->size == 0 ? 0 : memcmp(texts + left->offset, texts + right->offset, left->size);
}

static int
compare_names(const void *left, const void *right, void *texts)
{
    const struct shown_name *one = left;
    const struct shown_name *other = right;
    int order = compare_texts(one, other, texts);
    return order != 0 ? order : one->position < other->position ? -1 : 1;
}

/* Marks those that are called like the one before them in order. */
static enum status
mark_repeats(struct field_repeats *repeats, const struct shown_name *names, size_t count,
             const uint8_t *texts)
{
    for (size_t i = 1; i < count; i++) {
        if (compare_texts(&names[i - 1], &names[i], texts) != 0) {
            continue;
        }
        if (repeats->marks == NULL) {
            if ((repeats->marks = try_alloc(count)) == NULL) {
                return STATUS_NO_MEMORY;
            }
            memset(repeats->marks, 0, count);
        }
        repeats->marks[names[i].position] = 1;
    }
    return STATUS_OK;
}

enum status
field_repeats_init(struct field_repeats *repeats, struct bytes table)
{
    struct buffer texts;
    struct buffer names;
    enum status status = STATUS_NO_MEMORY;
    *repeats = (struct field_repeats){.position = 0};
    if (is_plainly_without(table)) {
        return STATUS_OK;
    }
    buffer_init(&texts);
    buffer_init(&names);
    show_names(table, &texts, &names);
    if (!texts.failed && !names.failed) {
        struct shown_name *sorted = (struct shown_name *)(void *)names.data;
        size_t count = buffer_size(&names) / sizeof(*sorted);
        qsort_r(sorted, count, sizeof(*sorted), compare_names, texts.data);
        status = mark_repeats(repeats, sorted, count, texts.data);
    }
    buffer_fini(&texts);
    buffer_fini(&names);
    return status;
}

void
field_repeats_fini(struct field_repeats *repeats)
{
    free(repeats->marks);
    repeats->marks = NULL;
}

bool
field_repeats_next(struct field_repeats *repeats)
{
    return repeats->marks != NULL && repeats->marks[repeats->position++] != 0;
}
