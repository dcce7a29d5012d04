/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables, written front to back; lengths of inner ones are filled in when they end. */
#include "config/arguments.h"

#include "base/assert.h"
#include "config/literal.h"
#include "config/report.h"

enum { FIELD_NAME_SIZE_MAX = 255 };

static void
put_name(struct buffer *table, const char *name)
{
    buffer_put_shortstr(table, bytes_of(name));
}

void
arguments_put_text(struct buffer *table, const char *name, struct bytes value)
{
    put_name(table, name);
    buffer_put_u8(table, 'S');
    buffer_put_longstr(table, value);
}

void
arguments_put_integer(struct buffer *table, const char *name, int64_t value)
{
    put_name(table, name);
    buffer_put_u8(table, 'l');
    buffer_put_u64(table, (uint64_t)value);
}

static void
put_double(struct buffer *table, double value)
{
    uint64_t bits;
    static_assert(sizeof(bits) == sizeof(value), "a double has 64 bits");
    memcpy(&bits, &value, sizeof(bits));
    buffer_put_u8(table, 'd');
    buffer_put_u64(table, bits);
}

void
arguments_put_number(struct buffer *table, const char *name, double value)
{
    put_name(table, name);
    put_double(table, value);
}

static void
put_boolean(struct buffer *table, bool value)
{
    buffer_put_u8(table, 't');
    buffer_put_u8(table, value ? 1 : 0);
}

void
arguments_put_boolean(struct buffer *table, const char *name, bool value)
{
    put_name(table, name);
    put_boolean(table, value);
}

/* Maps of the file --------------------------------------------------------------------------- */

/* A list or map that is being written. */
struct level {
    const struct node *next; /* the child to write next */
    bool is_map;
    size_t length_at; /* where its length belongs, counted from the front of the buffer */
};

struct writer {
    struct config *config;
    struct buffer *table;
    struct level levels[ARGUMENTS_DEPTH_MAX];
    size_t depth;
};

static void
put_scalar(struct buffer *table, const struct node *node)
{
    bool boolean = false;
    int64_t integer = 0;
    double number = 0;
    if (node_is_null(node)) {
        buffer_put_u8(table, 'V');
    } else if (literal_is_boolean(node, &boolean)) {
        put_boolean(table, boolean);
    } else if (literal_is_integer(node, &integer)) {
        buffer_put_u8(table, 'l');
        buffer_put_u64(table, (uint64_t)integer);
    } else if (literal_is_number(node, &number)) {
        put_double(table, number);
    } else {
        buffer_put_u8(table, 'S');
        buffer_put_longstr(table, node->text);
    }
}

static void
writer_open(struct writer *writer, const struct node *node)
{
    bool is_map = node->kind == NODE_MAPPING;
    buffer_put_u8(writer->table, is_map ? 'F' : 'A');
    writer->levels[writer->depth++] = (struct level){
        .next = node->first,
        .is_map = is_map,
        .length_at = buffer_size(writer->table),
    };
    buffer_put_u32(writer->table, 0);
}

static void
writer_close(struct writer *writer)
{
    const struct level *level = &writer->levels[--writer->depth];
    if (writer->depth > 0 && !writer->table->failed) {
        size_t size = buffer_size(writer->table) - level->length_at - sizeof(uint32_t);
        put_u32(writer->table->data + writer->table->start + level->length_at, (uint32_t)size);
    }
}

/* False: the entry cannot be written, which is reported unless it was before. */
static bool
may_write(const struct writer *writer, const struct node *node, bool in_map)
{
    if (node->kind == NODE_BROKEN) {
        return false;
    }
    if (in_map && node->key.size > FIELD_NAME_SIZE_MAX) {
        report_error(writer->config, node->key_mark,
                     "the name of an argument is longer than 255 "
                     "octets");
        return false;
    }
    if (node->kind != NODE_SCALAR && writer->depth == ARGUMENTS_DEPTH_MAX) {
        report_error(writer->config, node->mark, "arguments are nested more than %d levels deep",
                     ARGUMENTS_DEPTH_MAX);
        return false;
    }
    return true;
}

static void
writer_step(struct writer *writer)
{
    struct level *level = &writer->levels[writer->depth - 1];
    const struct node *node = level->next;
    if (node == NULL) {
        writer_close(writer);
        return;
    }
    level->next = node->next;
    if (!may_write(writer, node, level->is_map)) {
        return;
    }
    if (level->is_map) {
        buffer_put_shortstr(writer->table, node->key);
    }
    if (node->kind == NODE_SCALAR) {
        put_scalar(writer->table, node);
    } else {
        writer_open(writer, node);
    }
}

void
arguments_put_map(struct config *config, struct buffer *table, const struct node *map)
{
    struct writer writer = {.config = config, .table = table};
    if (map == NULL) {
        return;
    }
    writer.levels[0] = (struct level){.next = map->first, .is_map = true};
    writer.depth = 1;
    while (writer.depth > 0) {
        writer_step(&writer);
    }
}

struct bytes
arguments_finish(struct config *config, struct buffer *table)
{
    assert(!table->failed); /* at most a few times the file, which is at most 1 MiB */
    struct bytes body = arena_copy(&config->arena, buffer_bytes(table));
    buffer_fini(table);
    return body;
}
