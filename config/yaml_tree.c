/* SPDX-License-Identifier: Apache-2.0 */
/* Events of libyaml become nodes, one at a time and without recursion: open collections stand on a
 * stack of YAML_DEPTH_MAX. libyaml itself looks ahead at most about a thousand octets, but its work
 * per token grows with the open brackets, so the depth is checked at every event, before it is
 * asked for more. */
#include "config/yaml_tree.h"

#include <stdio.h>
#include <yaml.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/random.h"
#include "config/hints.h"
#include "config/report.h"

/* One collection that is not closed yet. */
struct open_node {
    struct node *node;
    struct map keys; /* of a mapping: those seen so far, each with its mark */
    bool has_key;    /* of a mapping: the next node is the value of `key` */
    struct bytes key;
    struct config_mark key_mark;
    bool key_is_refused; /* its value is parsed, but does not get into the tree */
};

struct builder {
    struct config *config;
    const char *path;
    struct bytes text;
    yaml_parser_t parser;
    struct open_node stack[YAML_DEPTH_MAX];
    size_t depth;
    size_t node_count;
    size_t event_count;
    uint64_t seed;
    struct node *root;
    bool failed; /* no use reading on */
    bool ended;
};

static struct config_mark
builder_mark(const struct builder *builder, yaml_mark_t mark)
{
    return (struct config_mark){.file = builder->path,
                                .line = (uint32_t)mark.line + 1,
                                .column = (uint32_t)mark.column + 1};
}

/* Octets of the line break that begins at `offset`; 0: none does. YAML 1.1 has five, and CRLF. */
static size_t
line_break_at(struct bytes text, size_t offset)
{
    static const char *const breaks[] = {
        "\r\n", "\r", "\n", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9",
    };
    for (size_t i = 0; i < ARRAY_LEN(breaks); i++) {
        size_t size = strlen(breaks[i]);
        if (size <= text.size - offset && memcmp(text.data + offset, breaks[i], size) == 0) {
            return size;
        }
    }
    return 0;
}

static struct config_mark
text_mark(const char *path, struct bytes text, size_t offset)
{
    struct config_mark mark = {.file = path, .line = 1, .column = 1};
    size_t at = 0;
    while (at < offset && at < text.size) {
        size_t line_break = line_break_at(text, at);
        bool starts_character = (text.data[at] & 0xC0) != 0x80;
        if (line_break > 0) {
            mark.line++;
            mark.column = 1;
        } else if (starts_character) {
            mark.column++;
        }
        at += line_break > 0 ? line_break : 1;
    }
    return mark;
}

static void
builder_fail(struct builder *builder, yaml_mark_t mark, const char *text)
{
    report_error(builder->config, builder_mark(builder, mark), "%s", text);
    builder->failed = true;
}

/* Nodes -------------------------------------------------------------------------------------- */

static struct node *
builder_new_node(struct builder *builder, enum node_kind kind, yaml_mark_t mark)
{
    struct node *node = arena_alloc(&builder->config->arena, sizeof(*node));
    node->kind = kind;
    node->mark = builder_mark(builder, mark);
    builder->node_count++;
    return node;
}

/* Puts a finished or just opened node where it belongs. */
static void
builder_place(struct builder *builder, struct node *node)
{
    if (builder->depth == 0) {
        builder->root = node;
        return;
    }
    struct open_node *open = &builder->stack[builder->depth - 1];
    if (open->node->kind == NODE_SEQUENCE) {
        node_append(open->node, node);
        return;
    }
    node->key = open->key;
    node->key_mark = open->key_mark;
    open->has_key = false;
    if (!open->key_is_refused) {
        node_append(open->node, node);
    }
}

static bool
builder_awaits_key(const struct builder *builder)
{
    if (builder->depth == 0) {
        return false;
    }
    const struct open_node *open = &builder->stack[builder->depth - 1];
    return open->node->kind == NODE_MAPPING && !open->has_key;
}

static void
builder_open(struct builder *builder, enum node_kind kind, yaml_mark_t mark)
{
    if (builder_awaits_key(builder)) {
        builder_fail(builder, mark, "a key must be text, not a list or a map");
        return;
    }
    if (builder->depth == YAML_DEPTH_MAX) {
        builder_fail(builder, mark, "nested more than 32 levels deep");
        return;
    }
    struct node *node = builder_new_node(builder, kind, mark);
    builder_place(builder, node);
    struct open_node *open = &builder->stack[builder->depth++];
    memset(open, 0, sizeof(*open));
    open->node = node;
    map_init(&open->keys, builder->seed);
}

static void
builder_close(struct builder *builder)
{
    assert(builder->depth > 0);
    map_fini(&builder->stack[--builder->depth].keys);
}

/* Scalars ------------------------------------------------------------------------------------ */

/* What may not be in a key or a value; NULL when all is well. */
static const char *
scalar_problem(struct bytes text)
{
    if (text.size > YAML_SCALAR_SIZE_MAX) {
        return "a text may have at most 64 KiB";
    }
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        return "a text may not contain a NUL character";
    }
    return NULL;
}

static void
builder_take_key(struct builder *builder, const yaml_event_t *event)
{
    struct open_node *open = &builder->stack[builder->depth - 1];
    struct config_mark mark = builder_mark(builder, event->start_mark);
    struct bytes text = bytes_make(event->data.scalar.value, event->data.scalar.length);
    const char *problem = scalar_problem(text);
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (problem == NULL && is_plain && bytes_equal_text(text, "<<")) {
        problem = "merge keys (<<) are not supported; write the keys out";
    }
    open->key = problem == NULL ? arena_copy(&builder->config->arena, text) : bytes_of("");
    open->key_mark = mark;
    open->has_key = true;
    open->key_is_refused = problem != NULL;
    if (problem != NULL) {
        report_error(builder->config, mark, "%s", problem);
        return;
    }
    const struct config_mark *first = map_get(&open->keys, open->key);
    if (first != NULL) {
        report_error(builder->config, mark, "\"%.*s\" is given twice; the first is in line %u",
                     BYTES_FORMAT(open->key), first->line);
        open->key_is_refused = true;
        return;
    }
    struct config_mark *place = arena_alloc(&builder->config->arena, sizeof(*place));
    *place = mark;
    map_put(&open->keys, open->key, place);
}

static void
builder_take_scalar(struct builder *builder, const yaml_event_t *event)
{
    if (builder_awaits_key(builder)) {
        builder_take_key(builder, event);
        return;
    }
    struct bytes text = bytes_make(event->data.scalar.value, event->data.scalar.length);
    const char *problem = scalar_problem(text);
    struct node *node = builder_new_node(builder, NODE_SCALAR, event->start_mark);
    node->start = (uint32_t)event->start_mark.index;
    node->end = (uint32_t)event->end_mark.index;
    if (problem != NULL) {
        report_error(builder->config, node->mark, "%s", problem);
        node->kind = NODE_BROKEN;
    } else {
        node->text = arena_copy(&builder->config->arena, text);
        node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    }
    builder_place(builder, node);
}

static void
builder_take_alias(struct builder *builder, const yaml_event_t *event)
{
    if (builder_awaits_key(builder)) {
        builder_fail(builder, event->start_mark, "aliases (*name) are not supported");
        return;
    }
    report_error(builder->config, builder_mark(builder, event->start_mark),
                 "aliases (*name) are not supported; write the value out");
    builder_place(builder, builder_new_node(builder, NODE_BROKEN, event->start_mark));
}

/* Events ------------------------------------------------------------------------------------- */

static void
builder_refuse_decoration(struct builder *builder, const yaml_event_t *event,
                          const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL) {
        report_error(builder->config, builder_mark(builder, event->start_mark),
                     "anchors (&name) are not supported");
    }
    if (tag != NULL) {
        report_error(builder->config, builder_mark(builder, event->start_mark),
                     "tags (!name) are not supported");
    }
}

static void
builder_start_document(struct builder *builder, const yaml_event_t *event)
{
    if (builder->root != NULL) {
        builder_fail(builder, event->start_mark, "a second document; a file holds one");
    }
}

static void
builder_handle(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        builder_start_document(builder, event);
        break;
    case YAML_STREAM_END_EVENT:
        builder->ended = true;
        break;
    case YAML_ALIAS_EVENT:
        builder_take_alias(builder, event);
        break;
    case YAML_SCALAR_EVENT:
        builder_refuse_decoration(builder, event, event->data.scalar.anchor,
                                  event->data.scalar.tag);
        builder_take_scalar(builder, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        builder_refuse_decoration(builder, event, event->data.sequence_start.anchor,
                                  event->data.sequence_start.tag);
        builder_open(builder, NODE_SEQUENCE, event->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        builder_refuse_decoration(builder, event, event->data.mapping_start.anchor,
                                  event->data.mapping_start.tag);
        builder_open(builder, NODE_MAPPING, event->start_mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder_close(builder);
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
}

/* The line with that number, from 0 on. */
static struct bytes
line_at(struct bytes text, size_t number)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    const uint8_t *newline;
    while (at != end && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL && number > 0) {
        at = newline + 1;
        number--;
    }
    newline = at == end || number > 0 ? NULL : memchr(at, '\n', (size_t)(end - at));
    return bytes_make(at, (size_t)((newline == NULL ? end : newline) - at));
}

/* What is not closed is noticed in the line behind it. */
static const char *
syntax_hint(const struct builder *builder, size_t line)
{
    if (builder->parser.error == YAML_READER_ERROR) {
        return "";
    }
    const char *hint = hint_for_line(line_at(builder->text, line));
    return hint[0] != '\0' || line == 0 ? hint : hint_for_line(line_at(builder->text, line - 1));
}

static void
builder_report_syntax(struct builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;
    const char *problem = parser->problem == NULL ? "cannot be parsed" : parser->problem;
    struct config_mark mark = builder_mark(builder, parser->problem_mark);
    if (parser->error == YAML_READER_ERROR) {
        mark = text_mark(builder->path, builder->text, parser->problem_offset);
    }
    if (parser->context == NULL) {
        report_error(builder->config, mark, "not valid YAML: %s%s", problem,
                     syntax_hint(builder, parser->problem_mark.line));
    } else {
        size_t line = parser->context_mark.line;
        report_error(builder->config, mark, "not valid YAML: %s (%s, line %zu)%s", problem,
                     parser->context, line + 1, syntax_hint(builder, line));
    }
    builder->failed = true;
}

/* Takes one event from the parser. */
static void
builder_step(struct builder *builder)
{
    yaml_event_t event;
    if (yaml_parser_parse(&builder->parser, &event) == 0) {
        builder_report_syntax(builder);
        return;
    }
    builder->event_count++;
    if (builder->node_count >= YAML_NODES_MAX) {
        builder_fail(builder, event.start_mark, "more than 262,144 values in one file");
    } else {
        builder_handle(builder, &event);
    }
    yaml_event_delete(&event);
}

static void
builder_run(struct builder *builder)
{
    while (!builder->failed && !builder->ended) {
        builder_step(builder);
    }
    while (builder->depth > 0) {
        builder_close(builder);
    }
}

/* The whole text, before the parser sees it -------------------------------------------------- */

/* How many of the first octets are well-formed characters. */
static size_t
utf8_prefix(struct bytes text)
{
    size_t at = 0;
    size_t length = 1;
    while (at < text.size && length > 0) {
        length = bytes_utf8_char(bytes_make(text.data + at, text.size - at));
        at += length;
    }
    return at;
}

/* Directives are of no use here, and libyaml compares each %TAG with all before it. */
static const uint8_t *
find_directive(struct bytes text)
{
    bool starts_line = true;
    size_t at = 0;
    while (at < text.size) {
        if (starts_line && text.data[at] == '%') {
            return text.data + at;
        }
        size_t line_break = line_break_at(text, at);
        starts_line = line_break > 0;
        at += starts_line ? line_break : 1;
    }
    return NULL;
}

static bool
text_is_acceptable(struct config *config, const char *path, struct bytes text)
{
    struct config_mark start = {.file = path, .line = 1, .column = 1};
    if (text.size > YAML_FILE_SIZE_MAX) {
        report_error(config, start, "a configuration file may have at most 1 MiB");
        return false;
    }
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.data, 0, text.size);
    if (nul != NULL) {
        report_error(config, text_mark(path, text, (size_t)(nul - text.data)),
                     "a NUL octet; the file must be text in UTF-8");
        return false;
    }
    size_t good = utf8_prefix(text);
    if (good < text.size) {
        report_error(config, text_mark(path, text, good), "not UTF-8; the file must be text");
        return false;
    }
    const uint8_t *directive = find_directive(text);
    if (directive != NULL) {
        report_error(config, text_mark(path, text, (size_t)(directive - text.data)),
                     "YAML directives (lines that start with %%) are not supported");
        return false;
    }
    return true;
}

struct bytes
yaml_without_mark(struct bytes text)
{
    static const char mark[] = "\xEF\xBB\xBF";
    enum { MARK_SIZE = sizeof(mark) - 1 };
    return bytes_starts_with(text, mark) ? bytes_make(text.data + MARK_SIZE, text.size - MARK_SIZE)
                                         : text;
}

struct node *
yaml_tree_parse(struct config *config, const char *path, struct bytes text, size_t *event_count_out)
{
    struct random_source random = random_system();
    struct builder builder = {
        .config = config, .path = path, .text = text, .seed = random_u64(&random)};
    struct config_mark start = {.file = path, .line = 1, .column = 1};

    if (!text_is_acceptable(config, path, text)) {
        return NULL;
    }
    if (yaml_parser_initialize(&builder.parser) == 0) {
        report_error(config, start, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, text.size == 0 ? (const uint8_t *)"" : text.data,
                                 text.size);
    builder_run(&builder);
    yaml_parser_delete(&builder.parser);
    if (event_count_out != NULL) {
        *event_count_out = builder.event_count;
    }
    if (!builder.failed && builder.root == NULL) {
        report_error(config, start, "the file is empty; it starts with \"bourse: 1\"");
    }
    return builder.failed ? NULL : builder.root;
}

const struct node *
node_find(const struct node *node, struct bytes key)
{
    const struct node *child = node->first;
    while (child != NULL && !bytes_equal(child->key, key)) {
        child = child->next;
    }
    return child;
}

void
node_append(struct node *parent, struct node *child)
{
    assert(child->next == NULL);
    if (parent->last == NULL) {
        parent->first = child;
    } else {
        parent->last->next = child;
    }
    parent->last = child;
    parent->count++;
}

struct node *
node_copy(struct arena *arena, const struct node *node)
{
    struct node *copy = arena_alloc(arena, sizeof(*copy));
    *copy = *node;
    copy->next = NULL;
    return copy;
}

bool
node_is_null(const struct node *node)
{
    return node->kind == NODE_SCALAR && node->is_plain &&
           (node->text.size == 0 || bytes_equal_text(node->text, "~") ||
            bytes_equal_text(node->text, "null"));
}

const char *
node_kind_text(const struct node *node)
{
    switch (node->kind) {
    case NODE_SEQUENCE:
        return "a list";
    case NODE_MAPPING:
        return "a map";
    case NODE_SCALAR:
    case NODE_BROKEN:
        break;
    }
    return node_is_null(node) ? "nothing" : "text";
}
