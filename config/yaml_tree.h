/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML file as a tree of nodes with their places, built from the parser's events. What makes YAML
 * dangerous or surprising is refused on the way: aliases, anchors, tags, merge keys, duplicate
 * keys, directives, several documents, keys that are no text, depth and size without bound. */
#ifndef BOURSE_CONFIG_YAML_TREE_H
#define BOURSE_CONFIG_YAML_TREE_H

#include "config/config.h"

enum {
    YAML_DEPTH_MAX = 32,
    YAML_FILE_SIZE_MAX = 1024 * 1024,
    YAML_SCALAR_SIZE_MAX = 64 * 1024,
    YAML_NODES_MAX = 256 * 1024,
};

enum node_kind {
    NODE_SCALAR,
    NODE_SEQUENCE,
    NODE_MAPPING,
    NODE_BROKEN, /* an error was reported for it: say nothing more */
};

/* Lives in the config's arena. */
struct node {
    enum node_kind kind;
    bool is_plain; /* scalar without quotes: may be a number, a boolean or null */
    struct config_mark mark;
    uint32_t start, end; /* of a scalar, quotes included: characters of the file before it, and
                            before what is behind it */
    struct bytes text;   /* scalar; no NUL inside, one behind; UTF-8 */
    struct bytes key;    /* inside a mapping */
    struct config_mark key_mark;
    struct node *first;
    struct node *last;
    struct node *next; /* the following child of the same parent */
    size_t count;      /* children */
};

/* The text behind a byte order mark, which some editors put in front of a file in UTF-8. */
struct bytes yaml_without_mark(struct bytes text);

/* Parses `text`, which is the content of the file `path` (both borrowed; `path` must live as long
 * as the config). Problems go to the config's report. NULL when the file cannot be understood as a
 * whole: then nothing else should be said about it. `*event_count_out`, if wanted, is the number of
 * parser events that were looked at. */
struct node *yaml_tree_parse(struct config *config, const char *path, struct bytes text,
                             size_t *event_count_out);

/* The value under `key` of a mapping, or NULL. */
const struct node *node_find(const struct node *node, struct bytes key);

/* Makes `child`, which has no parent yet, the last child of `parent`. */
void node_append(struct node *parent, struct node *child);

/* A node with the same content (the children are shared) and no parent. */
struct node *node_copy(struct arena *arena, const struct node *node);

/* True for a plain `~`, `null` or nothing at all. */
bool node_is_null(const struct node *node);

/* "a list", "a map", "text" or "nothing", for messages. */
const char *node_kind_text(const struct node *node);

#endif
