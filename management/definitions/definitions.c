/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions.h"

#include <stdarg.h>
#include <stdio.h>

#include "broker/passwords/password.h"
#include "config/password_hash.h"

enum { WARNING_SIZE = 501, MD5_HASH_TEXT = 28, SHA256_HASH_TEXT = 48 };

void
definitions_init(struct definitions *definitions)
{
    *definitions = (struct definitions){.users.count = 0};
    arena_init(&definitions->arena);
    map_init(&definitions->vhost_places, 0);
}

void
definitions_fini(struct definitions *definitions)
{
    map_fini(&definitions->vhost_places);
    arena_fini(&definitions->arena);
    *definitions = (struct definitions){.users.count = 0};
}

void *
definitions_grow(struct definitions *definitions, void *items, size_t *capacity, size_t item_size)
{
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown = arena_alloc(&definitions->arena, wanted * item_size);
    if (*capacity > 0) {
        memcpy(grown, items, *capacity * item_size);
    }
    *capacity = wanted;
    return grown;
}

/* Names come from elsewhere: nothing in them may move the cursor of a terminal. */
static void
replace_controls(char *text)
{
    for (uint8_t *at = (uint8_t *)text; *at != '\0'; at++) {
        if (*at < 0x20 || *at == 0x7F) {
            *at = '?';
        } else if (at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) {
            at[0] = '?';
            at[1] = '?';
        }
    }
}

void
definitions_warn(struct definitions *definitions, const char *format, ...)
{
    char text[WARNING_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text[bytes_utf8_prefix(bytes_of(text), sizeof(text) - 1)] = '\0';
    replace_controls(text);
    *definitions_add(definitions, &definitions->warnings) = arena_strdup(&definitions->arena, text);
}

static bool
is_vhost_at(const struct definitions *definitions, size_t place, struct bytes name)
{
    return place < definitions->vhosts.count &&
           bytes_equal(definitions->vhosts.items[place].name, name);
}

/* Who leaves some vhosts out has the others move: then they are looked for one by one. */
struct definitions_vhost *
definitions_find_vhost(const struct definitions *definitions, struct bytes name)
{
    const size_t *place = map_get(&definitions->vhost_places, name);
    if (place == NULL) {
        return NULL;
    }
    if (is_vhost_at(definitions, *place, name)) {
        return &definitions->vhosts.items[*place];
    }
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        if (bytes_equal(definitions->vhosts.items[i].name, name)) {
            return &definitions->vhosts.items[i];
        }
    }
    return NULL;
}

struct definitions_vhost *
definitions_put_vhost(struct definitions *definitions, struct bytes name)
{
    struct definitions_vhost *vhost = definitions_find_vhost(definitions, name);
    if (vhost == NULL) {
        vhost = definitions_add(definitions, &definitions->vhosts);
        *vhost = (struct definitions_vhost){
            .name = arena_copy(&definitions->arena, name),
            .connections_max = -1,
            .queues_max = -1,
        };
        size_t *place = arena_alloc(&definitions->arena, sizeof(*place));
        *place = definitions->vhosts.count - 1;
        map_put(&definitions->vhost_places, vhost->name, place);
    }
    return vhost;
}

static bool
is_md5(struct bytes hash)
{
    char text[MD5_HASH_TEXT + 1] = {0};
    if (hash.size != MD5_HASH_TEXT) {
        return false;
    }
    memcpy(text, hash.data, hash.size);
    return password_hash_algorithm(text) != NULL;
}

enum definitions_hash
definitions_hash_kind(struct bytes hash)
{
    if (hash.size == 0) {
        return DEFINITIONS_NO_HASH;
    }
    if (password_hash_problem(hash) != NULL) {
        return is_md5(hash) ? DEFINITIONS_MD5 : DEFINITIONS_FOREIGN;
    }
    if (bytes_starts_with(hash, "$scrypt$")) {
        return DEFINITIONS_SCRYPT;
    }
    return hash.size == SHA256_HASH_TEXT ? DEFINITIONS_SHA256 : DEFINITIONS_SHA512;
}

const char *
definitions_hash_algorithm(enum definitions_hash kind)
{
    switch (kind) {
    case DEFINITIONS_SCRYPT:
        return "bourse_password_hashing_scrypt";
    case DEFINITIONS_SHA512:
        return "rabbit_password_hashing_sha512";
    case DEFINITIONS_MD5:
        return "rabbit_password_hashing_md5";
    case DEFINITIONS_NO_HASH:
    case DEFINITIONS_SHA256:
    case DEFINITIONS_FOREIGN:
        break;
    }
    return "rabbit_password_hashing_sha256";
}
