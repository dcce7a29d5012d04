/* SPDX-License-Identifier: Apache-2.0 */
#include "config/secrets.h"

#include "base/assert.h"
#include "base/buffer.h"

/* A walk over the characters of a text, which is how nodes count places. */
struct walk {
    struct bytes text;
    size_t octet;
    uint32_t character;
};

/* The octets from here to that character; what is no UTF-8 has not been parsed. */
static struct bytes
walk_to(struct walk *walk, uint32_t character)
{
    size_t start = walk->octet;
    while (walk->character < character && walk->octet < walk->text.size) {
        struct bytes rest =
            bytes_make(walk->text.data + walk->octet, walk->text.size - walk->octet);
        size_t size = bytes_utf8_char(rest);
        walk->octet += size == 0 ? 1 : size;
        walk->character++;
    }
    return bytes_make(walk->text.data + start, walk->octet - start);
}

/* The line end and the spaces that a block scalar takes with it. */
static struct bytes
white_end(struct bytes text)
{
    size_t size = text.size;
    while (size > 0 && (text.data[size - 1] == ' ' || text.data[size - 1] == '\n' ||
                        text.data[size - 1] == '\r')) {
        size--;
    }
    return bytes_make(text.data + size, text.size - size);
}

/* Users stand in the order of the file, and so do the places. */
static void
replace_hash(struct buffer *out, struct walk *walk, const struct node *user)
{
    const struct node *hash = node_find(user, bytes_of("password-hash"));
    if (hash == NULL || hash->kind != NODE_SCALAR) {
        return;
    }
    buffer_put_bytes(out, walk_to(walk, hash->start));
    buffer_put_bytes(out, bytes_of("\"" CONFIG_KEPT_SECRET "\""));
    buffer_put_bytes(out, white_end(walk_to(walk, hash->end)));
}

struct bytes
secrets_replace(struct arena *arena, const struct node *root, struct bytes text)
{
    const struct node *users =
        root->kind == NODE_MAPPING ? node_find(root, bytes_of("users")) : NULL;
    struct walk walk = {.text = text};
    struct buffer out;
    buffer_init(&out);
    if (users != NULL && users->kind == NODE_MAPPING) {
        for (const struct node *user = users->first; user != NULL; user = user->next) {
            if (user->kind == NODE_MAPPING) {
                replace_hash(&out, &walk, user);
            }
        }
    }
    buffer_put_bytes(&out, walk_to(&walk, UINT32_MAX));
    assert(!out.failed); /* at most a little more than a file, which is at most 1 MiB */
    struct bytes copy = arena_copy(arena, buffer_bytes(&out));
    buffer_fini(&out);
    return copy;
}
