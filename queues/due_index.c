/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/due_index.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

enum {
    NODE_BYTES = 4096,
    NODE_HEAD_BYTES = 16,
    LEAF_CAPACITY = (NODE_BYTES - NODE_HEAD_BYTES) / sizeof(struct due_row),
    /* A child and the least key below it. */
    BRANCH_CAPACITY = (NODE_BYTES - NODE_HEAD_BYTES) / (sizeof(struct due_key) + sizeof(void *)),
    HEIGHT_MAX = 12, /* of more rows than memory can hold */
};

struct due_node {
    struct due_node *next; /* leaf: the one behind it; NULL: the last */
    uint32_t count;
    union {
        struct due_row rows[LEAF_CAPACITY];
        struct {
            /* The first key of a branch is not looked at: what is before it belongs there too. */
            struct due_key keys[BRANCH_CAPACITY];
            struct due_node *children[BRANCH_CAPACITY];
        };
    };
};

_Static_assert(sizeof(struct due_node) <= NODE_BYTES, "a page each");

/* The way from the root to a leaf: at which child each branch was left. */
struct due_path {
    struct due_node *nodes[HEIGHT_MAX + 1];
    uint32_t at[HEIGHT_MAX + 1];
};

static bool
is_before(const struct due_key *a, const struct due_key *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->position < b->position;
}

static bool
is_same(const struct due_key *a, const struct due_key *b)
{
    return a->due_ms == b->due_ms && a->position == b->position;
}

/* The child below which `key` belongs. */
static uint32_t
child_of(const struct due_node *branch, const struct due_key *key)
{
    uint32_t low = 0;
    uint32_t high = branch->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (is_before(key, &branch->keys[middle])) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return low;
}

/* The first row that is not before `key`; leaf->count when all are. */
static uint32_t
row_of(const struct due_node *leaf, const struct due_key *key)
{
    uint32_t low = 0;
    uint32_t high = leaf->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (is_before(&leaf->rows[middle].key, key)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
find_path(const struct due_index *index, const struct due_key *key, struct due_path *path)
{
    struct due_node *node = index->root;
    for (uint32_t level = index->height; level > 0; level--) {
        path->nodes[level] = node;
        path->at[level] = child_of(node, key);
        node = node->children[path->at[level]];
    }
    path->nodes[0] = node;
    path->at[0] = row_of(node, key);
}

/* NULL when there is no memory. */
static struct due_node *
node_new(void)
{
    struct due_node *node = try_alloc(sizeof(*node));
    if (node != NULL) {
        node->next = NULL;
        node->count = 0;
    }
    return node;
}

/* Adding --------------------------------------------------------------------------------------- */

/* Nodes for every split that an addition asks for, made before anything is changed. */
struct due_spares {
    struct due_node *nodes[HEIGHT_MAX + 2];
    uint32_t count;
};

static void
free_spares(struct due_spares *spares)
{
    while (spares->count > 0) {
        free(spares->nodes[--spares->count]);
    }
}

static enum status
make_spares(struct due_spares *spares, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct due_node *node = node_new();
        if (node == NULL) {
            free_spares(spares);
            return STATUS_NO_MEMORY;
        }
        spares->nodes[spares->count++] = node;
    }
    return STATUS_OK;
}

static struct due_node *
take_spare(struct due_index *index, struct due_spares *spares)
{
    assert(spares->count > 0);
    index->bytes += sizeof(struct due_node);
    return spares->nodes[--spares->count];
}

/* How many nodes are split when a row is added at the end of the path: those that are full from the
 * leaf up, and a new root above when all are. */
static uint32_t
splits_needed(const struct due_index *index, const struct due_path *path)
{
    if (path->nodes[0]->count < LEAF_CAPACITY) {
        return 0;
    }
    uint32_t level = 1;
    while (level <= index->height && path->nodes[level]->count == BRANCH_CAPACITY) {
        level++;
    }
    return level > index->height ? level + 1 : level;
}

/* Where a full node is cut. Rows mostly come at the end, and would leave every node half full if it
 * were cut in the middle. */
static uint32_t
cut_of(uint32_t count, uint32_t at)
{
    return at == count ? count : count / 2;
}

static void
insert_row(struct due_node *leaf, uint32_t at, const struct due_row *row)
{
    memmove(&leaf->rows[at + 1], &leaf->rows[at], (leaf->count - at) * sizeof(*row));
    leaf->rows[at] = *row;
    leaf->count++;
}

static void
insert_child(struct due_node *branch, uint32_t at, const struct due_key *key,
             struct due_node *child)
{
    uint32_t behind = branch->count - at;
    memmove(&branch->keys[at + 1], &branch->keys[at], behind * sizeof(*key));
    memmove(&branch->children[at + 1], &branch->children[at], behind * sizeof(void *));
    branch->keys[at] = *key;
    branch->children[at] = child;
    branch->count++;
}

/* Adds the row to a full leaf; returns the new leaf behind it. */
static struct due_node *
split_leaf(struct due_index *index, struct due_spares *spares, struct due_node *leaf, uint32_t at,
           const struct due_row *row)
{
    struct due_node *behind = take_spare(index, spares);
    uint32_t cut = cut_of(leaf->count, at);
    behind->count = leaf->count - cut;
    memcpy(behind->rows, &leaf->rows[cut], behind->count * sizeof(*row));
    leaf->count = cut;
    behind->next = leaf->next;
    leaf->next = behind;
    if (at > cut || behind->count == 0) {
        insert_row(behind, at - cut, row);
    } else {
        insert_row(leaf, at, row);
    }
    return behind;
}

/* The same for a branch and a child of it; `key_out` is the least key of the new branch. */
static struct due_node *
split_branch(struct due_index *index, struct due_spares *spares, struct due_node *branch,
             uint32_t at, const struct due_key *key, struct due_node *child,
             struct due_key *key_out)
{
    struct due_node *behind = take_spare(index, spares);
    uint32_t cut = cut_of(branch->count, at);
    behind->count = branch->count - cut;
    memcpy(behind->keys, &branch->keys[cut], behind->count * sizeof(*key));
    memcpy(behind->children, &branch->children[cut], behind->count * sizeof(void *));
    branch->count = cut;
    if (at > cut || behind->count == 0) {
        insert_child(behind, at - cut, key, child);
    } else {
        insert_child(branch, at, key, child);
    }
    *key_out = behind->keys[0];
    return behind;
}

static void
raise_root(struct due_index *index, struct due_spares *spares, const struct due_key *key,
           struct due_node *behind)
{
    struct due_node *root = take_spare(index, spares);
    root->count = 2;
    root->keys[0] = (struct due_key){0};
    root->children[0] = index->root;
    root->keys[1] = *key;
    root->children[1] = behind;
    index->root = root;
    index->height++;
    assert(index->height <= HEIGHT_MAX);
}

static void
add_with_splits(struct due_index *index, struct due_spares *spares, const struct due_path *path,
                const struct due_row *row)
{
    struct due_node *behind = split_leaf(index, spares, path->nodes[0], path->at[0], row);
    struct due_key key = behind->rows[0].key;
    for (uint32_t level = 1; level <= index->height; level++) {
        struct due_node *branch = path->nodes[level];
        uint32_t at = path->at[level] + 1;
        if (branch->count < BRANCH_CAPACITY) {
            insert_child(branch, at, &key, behind);
            return;
        }
        struct due_key least;
        behind = split_branch(index, spares, branch, at, &key, behind, &least);
        key = least;
    }
    raise_root(index, spares, &key, behind);
}

static enum status
add_first(struct due_index *index, const struct due_row *row)
{
    struct due_node *leaf = node_new();
    if (leaf == NULL) {
        return STATUS_NO_MEMORY;
    }
    index->bytes += sizeof(*leaf);
    index->root = leaf;
    index->first = leaf;
    insert_row(leaf, 0, row);
    index->count = 1;
    return STATUS_OK;
}

enum status
due_index_add(struct due_index *index, const struct due_row *row)
{
    if (index->root == NULL) {
        return add_first(index, row);
    }
    struct due_path path;
    find_path(index, &row->key, &path);
    struct due_node *leaf = path.nodes[0];
    assert(path.at[0] == leaf->count || !is_same(&leaf->rows[path.at[0]].key, &row->key));
    struct due_spares spares = {.count = 0};
    uint32_t needed = splits_needed(index, &path);
    if (make_spares(&spares, needed) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (needed == 0) {
        insert_row(leaf, path.at[0], row);
    } else {
        add_with_splits(index, &spares, &path, row);
    }
    assert(spares.count == 0);
    index->count++;
    return STATUS_OK;
}

/* Taking --------------------------------------------------------------------------------------- */

static void
free_node(struct due_index *index, struct due_node *node)
{
    index->bytes -= sizeof(*node);
    free(node);
}

static void
remove_child(struct due_node *branch, uint32_t at)
{
    uint32_t behind = branch->count - at - 1;
    memmove(&branch->keys[at], &branch->keys[at + 1], behind * sizeof(branch->keys[0]));
    memmove(&branch->children[at], &branch->children[at + 1], behind * sizeof(void *));
    branch->count--;
}

static struct due_node *
last_leaf_below(struct due_node *node, uint32_t level)
{
    for (; level > 0; level--) {
        node = node->children[node->count - 1];
    }
    return node;
}

/* The leaf in front of that of the path; NULL: it is the first. */
static struct due_node *
leaf_before(const struct due_index *index, const struct due_path *path)
{
    for (uint32_t level = 1; level <= index->height; level++) {
        if (path->at[level] > 0) {
            struct due_node *child = path->nodes[level]->children[path->at[level] - 1];
            return last_leaf_below(child, level - 1);
        }
    }
    return NULL;
}

/* The leaf of the path is empty: it goes, and every branch that runs empty with it. */
static void
remove_leaf(struct due_index *index, const struct due_path *path)
{
    struct due_node *leaf = path->nodes[0];
    struct due_node *before = leaf_before(index, path);
    if (before != NULL) {
        before->next = leaf->next;
    } else {
        index->first = leaf->next;
    }
    free_node(index, leaf);
    for (uint32_t level = 1; level <= index->height; level++) {
        struct due_node *branch = path->nodes[level];
        remove_child(branch, path->at[level]);
        if (branch->count > 0) {
            return;
        }
        free_node(index, branch);
    }
    index->root = NULL;
    index->height = 0;
}

/* A root with one child is no use. */
static void
lower_root(struct due_index *index)
{
    while (index->height > 0 && index->root->count == 1) {
        struct due_node *root = index->root;
        index->root = root->children[0];
        index->height--;
        free_node(index, root);
    }
}

bool
due_index_take(struct due_index *index, const struct due_key *key, struct due_row *row_out)
{
    if (index->root == NULL) {
        return false;
    }
    struct due_path path;
    find_path(index, key, &path);
    struct due_node *leaf = path.nodes[0];
    uint32_t at = path.at[0];
    if (at == leaf->count || !is_same(&leaf->rows[at].key, key)) {
        return false;
    }
    *row_out = leaf->rows[at];
    memmove(&leaf->rows[at], &leaf->rows[at + 1], (leaf->count - at - 1) * sizeof(*row_out));
    leaf->count--;
    index->count--;
    if (leaf->count == 0) {
        remove_leaf(index, &path);
        lower_root(index);
    }
    return true;
}

/* Looking -------------------------------------------------------------------------------------- */

struct due_row *
due_index_first(const struct due_index *index)
{
    return index->first == NULL ? NULL : &index->first->rows[0];
}

struct due_cursor
due_index_seek(const struct due_index *index, const struct due_key *key)
{
    if (index->root == NULL) {
        return (struct due_cursor){0};
    }
    struct due_path path;
    find_path(index, key, &path);
    return (struct due_cursor){.leaf = path.nodes[0], .at = path.at[0]};
}

struct due_row *
due_cursor_next(struct due_cursor *cursor)
{
    if (cursor->leaf != NULL && cursor->at == cursor->leaf->count) {
        *cursor = (struct due_cursor){.leaf = cursor->leaf->next};
    }
    return cursor->leaf == NULL ? NULL : &cursor->leaf->rows[cursor->at++];
}

struct due_row *
due_index_find(const struct due_index *index, const struct due_key *key)
{
    struct due_cursor cursor = due_index_seek(index, key);
    struct due_row *row = due_cursor_next(&cursor);
    return row != NULL && is_same(&row->key, key) ? row : NULL;
}

/* Walking everything --------------------------------------------------------------------------- */

static struct due_path
path_to_root(const struct due_index *index)
{
    struct due_path path;
    path.nodes[index->height] = index->root;
    path.at[index->height] = 0;
    return path;
}

/* The next node of a walk that comes to children before their branch, from a path to the root on;
 * NULL at the end. `level` is where the path stands, and begins with the height. */
static struct due_node *
next_node(const struct due_index *index, struct due_path *path, uint32_t *level)
{
    if (*level > index->height) {
        return NULL;
    }
    while (*level > 0 && path->at[*level] < path->nodes[*level]->count) {
        struct due_node *child = path->nodes[*level]->children[path->at[*level]++];
        path->nodes[--*level] = child;
        path->at[*level] = 0;
    }
    return path->nodes[(*level)++];
}

void
due_index_fini(struct due_index *index)
{
    if (index->root != NULL) {
        struct due_path path = path_to_root(index);
        uint32_t level = index->height;
        for (struct due_node *node; (node = next_node(index, &path, &level)) != NULL;) {
            free_node(index, node);
        }
    }
    assert(index->bytes == 0);
    *index = (struct due_index){0};
}

/* Checking ------------------------------------------------------------------------------------- */

/* What a walk of the tree has seen. */
struct due_walk {
    const struct due_key *last;  /* of the rows so far; NULL: none */
    const struct due_node *leaf; /* the one that comes next in the chain */
    uint64_t count;
};

static void
check_leaf(const struct due_node *node, struct due_walk *walk)
{
    assert(node == walk->leaf);
    walk->leaf = node->next;
    for (uint32_t i = 0; i < node->count; i++) {
        assert(walk->last == NULL || is_before(walk->last, &node->rows[i].key));
        walk->last = &node->rows[i].key;
        walk->count++;
    }
}

/* What a branch says of its children: each has no key before that, and the one before it none that
 * is not. */
static void
check_branch(const struct due_index *index, const struct due_node *branch)
{
    for (uint32_t i = 1; i < branch->count; i++) {
        assert(i == 1 || is_before(&branch->keys[i - 1], &branch->keys[i]));
        const struct due_cursor cursor = due_index_seek(index, &branch->keys[i]);
        assert(cursor.leaf == NULL || cursor.at == cursor.leaf->count ||
               !is_before(&cursor.leaf->rows[cursor.at].key, &branch->keys[i]));
    }
}

void
due_index_check(const struct due_index *index)
{
    struct due_walk walk = {.leaf = index->first};
    uint64_t bytes = 0;
    if (index->root != NULL) {
        struct due_path path = path_to_root(index);
        uint32_t level = index->height;
        for (const struct due_node *node; (node = next_node(index, &path, &level)) != NULL;) {
            assert(node->count > 0);
            bytes += sizeof(*node);
            if (level == 1) {
                check_leaf(node, &walk);
            } else {
                check_branch(index, node);
            }
        }
    }
    assert(walk.leaf == NULL);
    assert(walk.count == index->count);
    assert(bytes == index->bytes);
}
