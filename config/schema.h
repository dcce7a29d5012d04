/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that say what a configuration file may contain, and the walker that fills structs from
 * nodes by such tables. The walker is the only place that knows about unknown keys, wrong kinds,
 * missing keys, keys given in two files and keys without effect; a new key is a new row.
 *
 * Every struct that a record_spec describes begins with `const struct node *node` (NULL: not
 * given), and so does every type of member below. All memory is the config's arena. */
#ifndef BOURSE_CONFIG_SCHEMA_H
#define BOURSE_CONFIG_SCHEMA_H

#include "base/map.h"
#include "config/literal.h"

/* Bounds what merging defaults into many objects can cost. */
enum { SCHEMA_RAW_ENTRIES_MAX = 64 };

/* What a field is in the file, and the type of the struct member at `offset`. */
enum field_kind {
    FIELD_LITERAL,        /* one value: struct setting */
    FIELD_LITERALS,       /* a list of values: struct setting_list */
    FIELD_RECORD,         /* a map of known keys: the record itself, embedded */
    FIELD_RECORDS,        /* a list of such maps: struct record_list */
    FIELD_NAMED,          /* a map from names to records: struct named_list */
    FIELD_NAMED_LITERALS, /* a map from names to lists of values: struct named_list */
    FIELD_CHOICE,         /* a name or a record: struct choice */
    FIELD_RAW,            /* a map of any content: const struct node * */
};

enum field_flag {
    FIELD_REQUIRED = 1,
    FIELD_SHARED = 2,      /* several files may contribute (named lists always are shared) */
    FIELD_ONE_OR_MANY = 4, /* of FIELD_LITERALS: a single value is a list of one */
};

struct record_spec;

struct field_spec {
    const char *name;
    enum field_kind kind;
    unsigned flags;
    size_t offset;
    struct literal_rule rule;         /* of literals */
    const struct record_spec *record; /* of records */
};

struct record_spec {
    const char *what; /* "queue", for messages */
    size_t size;      /* of the struct */
    const struct field_spec *fields;
    size_t count;
};

struct setting {
    const struct node *node;
    struct literal value;
};

struct setting_list {
    const struct node *node;
    struct setting *items;
    size_t count;
};

struct record_list {
    const struct node *node;
    void **items;
    size_t count;
};

struct choice {
    const struct node *node;
    struct bytes name; /* when a name was given */
    void *record;      /* when a record was given, else NULL */
};

/* How every record in a named list begins. */
struct named {
    const struct node *node;
    struct bytes name;
    struct config_mark mark; /* of the name */
    size_t position;         /* in its list */
};

struct named_literals {
    struct named named;
    struct setting_list values;
};

struct named_list {
    const struct node *node;
    void **items; /* struct named or what begins like it */
    size_t count;
    size_t capacity;
    struct map index; /* by name; named_list_fini releases it */
};

/* Fills `record`, which `spec` describes, from `node`, reporting what is wrong on the way. Fields
 * that are in error stay as they were. A record that another file filled before gets its missing
 * fields; what is given twice is an error. Iterative: the depth of the file does not matter. */
void schema_read(struct config *config, const struct record_spec *spec, const struct node *node,
                 void *record);

/* Copies from `defaults` every field that `record` was not given, inner records key by key. */
void schema_overlay(struct config *config, const struct record_spec *spec, void *record,
                    const void *defaults);

/* The record called `name`, or NULL. */
void *named_list_find(const struct named_list *list, struct bytes name);

/* Releases the index; the records are the arena's. */
void named_list_fini(struct named_list *list);

#endif
