/* SPDX-License-Identifier: Apache-2.0 */
/* The walker keeps a list of records still to be read instead of calling itself. */
#include "config/schema.h"

#include <stdio.h>

#include "base/assert.h"
#include "config/hints.h"
#include "config/report.h"

/* A record whose node is not read yet. */
struct task {
    struct task *next;
    const struct record_spec *spec;
    const struct node *node;
    const void *defaults; /* schema_overlay only */
    void *record;
};

struct walk {
    struct config *config;
    struct task *first;
    struct task **last; /* where the next task is hung */
};

static void
walk_init(struct walk *walk, struct config *config)
{
    walk->config = config;
    walk->first = NULL;
    walk->last = &walk->first;
}

static struct task *
walk_add(struct walk *walk, const struct record_spec *spec, void *record)
{
    struct task *task = arena_alloc(&walk->config->arena, sizeof(*task));
    task->spec = spec;
    task->record = record;
    *walk->last = task;
    walk->last = &task->next;
    return task;
}

static void
walk_read_later(struct walk *walk, const struct record_spec *spec, const struct node *node,
                void *record)
{
    walk_add(walk, spec, record)->node = node;
}

/* A member of a record, seen as what every member begins with. */
static const struct node **
member_node(void *record, const struct field_spec *field)
{
    return (const struct node **)(void *)((char *)record + field->offset);
}

static bool
is_empty_or(const struct node *node, enum node_kind kind)
{
    return node->kind == kind || node_is_null(node);
}

static void
report_kind(struct walk *walk, const struct node *node, const char *name, const char *wanted)
{
    report_error(walk->config, node->mark, "\"%s\" takes %s, not %s%s", name, wanted,
                 node_kind_text(node), hint_for_shape(name));
}

/* What a template should have filled in is a good name, but hardly the one that was meant. */
static void
warn_of_placeholder(struct walk *walk, struct bytes text, struct config_mark mark)
{
    if (text.size > 0 && memmem(text.data, text.size, "${", 2) != NULL) {
        report_warning(walk->config, mark,
                       "\"%.*s\" is taken as it stands: nothing is filled in here",
                       BYTES_FORMAT(text));
    }
}

/* Literals ----------------------------------------------------------------------------------- */

static bool
read_setting(struct walk *walk, const struct field_spec *field, const struct node *node,
             struct setting *setting)
{
    char why[LITERAL_WHY_SIZE];
    if (node->kind == NODE_BROKEN) {
        return false;
    }
    if (node->kind != NODE_SCALAR) {
        report_kind(walk, node, field->name, "a single value");
        return false;
    }
    if (!literal_parse(&field->rule, node, &setting->value, why)) {
        report_error(walk->config, node->mark, "\"%s\" %s", field->name, why);
        return false;
    }
    if (field->rule.type == LITERAL_NAME || field->rule.type == LITERAL_TEXT) {
        warn_of_placeholder(walk, node->text, node->mark);
    }
    setting->node = node;
    return true;
}

static void
read_settings(struct walk *walk, const struct field_spec *field, const struct node *node,
              struct setting_list *list)
{
    bool is_single = node->kind == NODE_SCALAR && (field->flags & FIELD_ONE_OR_MANY) != 0;
    const struct node *item = is_single ? node : node->first;
    size_t count = is_single ? 1 : node->count;
    if (!is_single && !is_empty_or(node, NODE_SEQUENCE)) {
        report_kind(walk, node, field->name, "a list");
        return;
    }
    struct setting *items =
        arena_alloc(&walk->config->arena, (list->count + count + 1) * sizeof(*items));
    if (list->count > 0) {
        memcpy(items, list->items, list->count * sizeof(*items));
    }
    list->items = items;
    list->node = node;
    for (size_t i = 0; i < count; i++, item = item->next) {
        list->count += read_setting(walk, field, item, &items[list->count]) ? 1 : 0;
    }
}

/* Records ------------------------------------------------------------------------------------ */

static void
read_records(struct walk *walk, const struct field_spec *field, const struct node *node,
             struct record_list *list)
{
    if (!is_empty_or(node, NODE_SEQUENCE)) {
        report_kind(walk, node, field->name, "a list");
        return;
    }
    list->node = node;
    list->items = arena_alloc(&walk->config->arena, (node->count + 1) * sizeof(*list->items));
    for (const struct node *item = node->first; item != NULL; item = item->next) {
        void *record = arena_alloc(&walk->config->arena, field->record->size);
        list->items[list->count++] = record;
        walk_read_later(walk, field->record, item, record);
    }
}

static void
read_choice(struct walk *walk, const struct field_spec *field, const struct node *node,
            struct choice *choice)
{
    if (node->kind == NODE_MAPPING) {
        choice->node = node;
        choice->record = arena_alloc(&walk->config->arena, field->record->size);
        walk_read_later(walk, field->record, node, choice->record);
    } else if (node->kind != NODE_SCALAR || node_is_null(node)) {
        report_kind(walk, node, field->name, "a name or a map");
    } else {
        choice->node = node;
        choice->name = node->text;
    }
}

/* Named things ------------------------------------------------------------------------------- */

void *
named_list_find(const struct named_list *list, struct bytes name)
{
    return map_get(&list->index, name);
}

void
named_list_fini(struct named_list *list)
{
    if (list->items != NULL) {
        map_fini(&list->index);
    }
}

static void
named_list_add(struct config *config, struct named_list *list, struct named *named)
{
    if (list->items == NULL) {
        /* An address is a seed that the author of the file cannot know. */
        map_init(&list->index, (uint64_t)(uintptr_t)config);
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        void **items = arena_alloc(&config->arena, capacity * sizeof(*items));
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->capacity = capacity;
    }
    named->position = list->count;
    list->items[list->count++] = named;
    map_put(&list->index, named->name, named);
}

/* Makes the entry for `node`, or reports why there is none. `what` names the kind of thing. */
static void *
named_list_begin(struct walk *walk, struct named_list *list, const struct node *node, size_t size,
                 const char *what)
{
    const char *problem = literal_name_problem(node->key);
    if (problem != NULL) {
        report_error(walk->config, node->key_mark, "the name of a %s %s", what, problem);
        return NULL;
    }
    const struct named *other = named_list_find(list, node->key);
    if (other != NULL) {
        report_error(walk->config, node->key_mark, "%s \"%.*s\" is already in %s:%u:%u", what,
                     BYTES_FORMAT(node->key), other->mark.file, other->mark.line,
                     other->mark.column);
        return NULL;
    }
    warn_of_placeholder(walk, node->key, node->key_mark);
    struct named *named = arena_alloc(&walk->config->arena, size);
    named->node = node;
    named->name = node->key;
    named->mark = node->key_mark;
    named_list_add(walk->config, list, named);
    return named;
}

static void
read_named(struct walk *walk, const struct field_spec *field, const struct node *node,
           struct named_list *list)
{
    if (!is_empty_or(node, NODE_MAPPING)) {
        report_kind(walk, node, field->name, "a map from names");
        return;
    }
    list->node = node;
    for (const struct node *item = node->first; item != NULL; item = item->next) {
        void *record = named_list_begin(walk, list, item, field->record->size, field->record->what);
        if (record != NULL) {
            walk_read_later(walk, field->record, item, record);
        }
    }
}

static void
read_named_literals(struct walk *walk, const struct field_spec *field, const struct node *node,
                    struct named_list *list)
{
    if (!is_empty_or(node, NODE_MAPPING)) {
        report_kind(walk, node, field->name, "a map from names to lists");
        return;
    }
    list->node = node;
    for (const struct node *item = node->first; item != NULL; item = item->next) {
        struct named_literals *entry =
            named_list_begin(walk, list, item, sizeof(*entry), field->name);
        if (entry != NULL) {
            read_settings(walk, field, item, &entry->values);
        }
    }
}

/* Fields ------------------------------------------------------------------------------------- */

static void
read_raw(struct walk *walk, const struct field_spec *field, const struct node *node, void *record)
{
    if (!is_empty_or(node, NODE_MAPPING)) {
        report_kind(walk, node, field->name, "a map");
    } else if (node->count > SCHEMA_RAW_ENTRIES_MAX) {
        report_error(walk->config, node->mark, "\"%s\" has more than %d entries", field->name,
                     SCHEMA_RAW_ENTRIES_MAX);
    } else {
        *member_node(record, field) = node;
    }
}

static void
read_field(struct walk *walk, const struct field_spec *field, const struct node *node, void *record)
{
    void *member = (char *)record + field->offset;
    switch (field->kind) {
    case FIELD_LITERAL:
        read_setting(walk, field, node, member);
        break;
    case FIELD_LITERALS:
        read_settings(walk, field, node, member);
        break;
    case FIELD_RECORD:
        walk_read_later(walk, field->record, node, member);
        break;
    case FIELD_RECORDS:
        read_records(walk, field, node, member);
        break;
    case FIELD_NAMED:
        read_named(walk, field, node, member);
        break;
    case FIELD_NAMED_LITERALS:
        read_named_literals(walk, field, node, member);
        break;
    case FIELD_CHOICE:
        read_choice(walk, field, node, member);
        break;
    case FIELD_RAW:
        read_raw(walk, field, node, record);
        break;
    }
}

static const struct field_spec *
record_find_field(const struct record_spec *spec, struct bytes name)
{
    for (size_t i = 0; i < spec->count; i++) {
        if (bytes_equal_text(name, spec->fields[i].name)) {
            return &spec->fields[i];
        }
    }
    return NULL;
}

static void
report_unknown_key(struct walk *walk, const struct record_spec *spec, const struct node *node)
{
    char guess[SUGGESTION_TEXT_SIZE];
    const char *hint = hint_for_key(spec->what, node->key);
    if (hint != NULL) {
        report_error(walk->config, node->key_mark, "unknown key \"%.*s\" in %s%s",
                     BYTES_FORMAT(node->key), spec->what, hint);
        return;
    }
    struct suggestion suggestion = suggestion_for(node->key);
    for (size_t i = 0; i < spec->count; i++) {
        suggestion_offer(&suggestion, bytes_of(spec->fields[i].name));
    }
    report_error(walk->config, node->key_mark, "unknown key \"%.*s\" in %s%s",
                 BYTES_FORMAT(node->key), spec->what, suggestion_text(&suggestion, guess));
}

/* True when another file has set the field, which is reported, and only one may. */
static bool
is_given_elsewhere(struct walk *walk, const struct field_spec *field, const struct node *node,
                   void *record)
{
    const struct node *other = *member_node(record, field);
    bool is_shared = field->kind == FIELD_NAMED || (field->flags & FIELD_SHARED) != 0;
    if (other == NULL || is_shared) {
        return false;
    }
    report_error(walk->config, node->key_mark, "\"%s\" is already given in %s:%u:%u", field->name,
                 other->key_mark.file, other->key_mark.line, other->key_mark.column);
    return true;
}

static void
read_child(struct walk *walk, const struct task *task, const struct node *node)
{
    const struct field_spec *field = record_find_field(task->spec, node->key);
    if (field == NULL) {
        report_unknown_key(walk, task->spec, node);
        return;
    }
    if (is_given_elsewhere(walk, field, node, task->record) || node->kind == NODE_BROKEN) {
        return;
    }
    read_field(walk, field, node, task->record);
}

static void
report_missing_keys(struct walk *walk, const struct task *task)
{
    for (size_t i = 0; i < task->spec->count; i++) {
        const struct field_spec *field = &task->spec->fields[i];
        if ((field->flags & FIELD_REQUIRED) != 0 &&
            node_find(task->node, bytes_of(field->name)) == NULL) {
            bool is_version = strcmp(field->name, "bourse") == 0;
            report_error(walk->config, task->node->mark, "\"%s\" is missing in %s%s", field->name,
                         task->spec->what, is_version ? "; it starts with \"bourse: 1\"" : "");
        }
    }
}

static void
read_record(struct walk *walk, const struct task *task)
{
    const struct node *node = task->node;
    if (node->kind == NODE_BROKEN) {
        return;
    }
    if (!is_empty_or(node, NODE_MAPPING)) {
        struct bytes text = node->kind == NODE_SCALAR ? node->text : bytes_make(NULL, 0);
        report_error(walk->config, node->mark, "%s is a map, not %s%s", task->spec->what,
                     node_kind_text(node), hint_for_map(task->spec->what, text));
        return;
    }
    *(const struct node **)task->record = node;
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        read_child(walk, task, child);
    }
    report_missing_keys(walk, task);
}

void
schema_read(struct config *config, const struct record_spec *spec, const struct node *node,
            void *record)
{
    struct walk walk;
    walk_init(&walk, config);
    walk_read_later(&walk, spec, node, record);
    for (const struct task *task = walk.first; task != NULL; task = task->next) {
        read_record(&walk, task);
    }
}

/* Defaults ----------------------------------------------------------------------------------- */

static size_t
member_size(const struct field_spec *field)
{
    switch (field->kind) {
    case FIELD_LITERAL:
        return sizeof(struct setting);
    case FIELD_LITERALS:
        return sizeof(struct setting_list);
    case FIELD_RECORD:
        return field->record->size;
    case FIELD_RECORDS:
        return sizeof(struct record_list);
    case FIELD_NAMED:
    case FIELD_NAMED_LITERALS:
        return sizeof(struct named_list);
    case FIELD_CHOICE:
        return sizeof(struct choice);
    case FIELD_RAW:
        break;
    }
    return sizeof(const struct node *);
}

/* The keys of both maps; where both have one, that of `given`. */
static const struct node *
merge_maps(struct walk *walk, const struct node *given, const struct node *defaults)
{
    struct node *merged = arena_alloc(&walk->config->arena, sizeof(*merged));
    *merged = *given;
    merged->first = NULL;
    merged->last = NULL;
    merged->count = 0;
    for (const struct node *child = given->first; child != NULL; child = child->next) {
        node_append(merged, node_copy(&walk->config->arena, child));
    }
    for (const struct node *child = defaults->first; child != NULL; child = child->next) {
        if (node_find(given, child->key) == NULL) {
            node_append(merged, node_copy(&walk->config->arena, child));
        }
    }
    return merged;
}

static void
overlay_field(struct walk *walk, const struct field_spec *field, const struct task *task)
{
    void *member = (char *)task->record + field->offset;
    const void *other = (const char *)task->defaults + field->offset;
    const struct node *given = *(const struct node *const *)member;
    const struct node *by_default = *(const struct node *const *)other;
    if (by_default == NULL) {
        return;
    }
    if (given == NULL) {
        memcpy(member, other, member_size(field));
    } else if (field->kind == FIELD_RAW) {
        *member_node(task->record, field) = merge_maps(walk, given, by_default);
    } else if (field->kind == FIELD_RECORD) {
        walk_add(walk, field->record, member)->defaults = other;
    } else if (field->kind == FIELD_CHOICE) {
        void *inner = ((struct choice *)member)->record;
        const void *inner_defaults = ((const struct choice *)other)->record;
        if (inner != NULL && inner_defaults != NULL) {
            walk_add(walk, field->record, inner)->defaults = inner_defaults;
        }
    }
}

void
schema_overlay(struct config *config, const struct record_spec *spec, void *record,
               const void *defaults)
{
    struct walk walk;
    walk_init(&walk, config);
    walk_add(&walk, spec, record)->defaults = defaults;
    for (const struct task *task = walk.first; task != NULL; task = task->next) {
        for (size_t i = 0; i < task->spec->count; i++) {
            overlay_field(&walk, &task->spec->fields[i], task);
        }
    }
}
