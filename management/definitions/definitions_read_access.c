/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions_read_access.h"

#include <stdio.h>
#include <strings.h>

#include "management/json/json_reader.h"

/* Tags ---------------------------------------------------------------------------------------- */

struct tag_list {
    struct bytes *items;
    size_t count;
};

static void
add_tag(struct definitions_reader *reader, struct tag_list *list, struct bytes tag)
{
    while (tag.size > 0 && tag.data[0] == ' ') {
        tag = bytes_make(tag.data + 1, tag.size - 1);
    }
    while (tag.size > 0 && tag.data[tag.size - 1] == ' ') {
        tag.size--;
    }
    if (tag.size > 0) {
        list->items[list->count++] = reader_keep(reader, tag);
    }
}

/* "a,b" of before 3.9 and of LavinMQ. */
static void
split_tags(struct definitions_reader *reader, struct tag_list *list, struct bytes text)
{
    size_t start = 0;
    list->items = arena_alloc(&reader->definitions->arena, (text.size + 1) * sizeof(*list->items));
    for (size_t at = 0; at <= text.size; at++) {
        if (at == text.size || text.data[at] == ',') {
            add_tag(reader, list, bytes_make(text.data + start, at - start));
            start = at + 1;
        }
    }
}

static bool
read_tags(struct definitions_reader *reader, const json_t *tags, struct tag_list *list)
{
    if (json_is_string(tags)) {
        split_tags(reader, list, bytes_make(json_string_value(tags), json_string_length(tags)));
        return true;
    }
    if (tags != NULL && !json_is_null(tags) && !json_is_array(tags)) {
        return reader_fail(reader, "\"tags\" is neither a list nor a text");
    }
    list->items = arena_alloc(&reader->definitions->arena,
                              (json_array_size(tags) + 1) * sizeof(*list->items));
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        if (!json_is_string(tag)) {
            return reader_fail(reader, "\"tags\" has something that is no text");
        }
        add_tag(reader, list, bytes_make(json_string_value(tag), json_string_length(tag)));
    }
    return true;
}

/* Users --------------------------------------------------------------------------------------- */

static bool
names_algorithm(struct bytes algorithm, const char *name)
{
    size_t size = strlen(name);
    return algorithm.size >= size &&
           strncasecmp((const char *)algorithm.data + algorithm.size - size, name, size) == 0;
}

/* The form says what it is; the name of the algorithm only what it is not. Without a name it is
 * MD5, unless it is too long for that. */
static void
judge_hash(struct definitions_reader *reader, struct definitions_user *user, struct bytes algorithm)
{
    user->hash_kind = definitions_hash_kind(user->hash);
    bool is_contradicted = (user->hash_kind == DEFINITIONS_SHA256 && algorithm.size > 0 &&
                            !names_algorithm(algorithm, "sha256")) ||
                           (user->hash_kind == DEFINITIONS_SHA512 && algorithm.size > 0 &&
                            !names_algorithm(algorithm, "sha512"));
    if (is_contradicted) {
        user->hash_kind = DEFINITIONS_FOREIGN;
    }
    if (user->hash_kind == DEFINITIONS_MD5) {
        definitions_warn(reader->definitions,
                         "user \"%.*s\": a password hash by MD5 cannot stand in a topology file; "
                         "set a new password",
                         BYTES_FORMAT(user->name));
    }
    if (user->hash_kind == DEFINITIONS_FOREIGN) {
        definitions_warn(reader->definitions,
                         "user \"%.*s\": a password hash by %.*s cannot be checked here; set a new "
                         "password",
                         BYTES_FORMAT(user->name),
                         BYTES_FORMAT(algorithm.size > 0 ? algorithm : bytes_of("MD5 or bcrypt")));
    }
}

/* What Bourse says of a user whose password stands in a file or a variable. */
static void
judge_absence(struct definitions_reader *reader, struct definitions_user *user, struct bytes auth)
{
    if (user->hash_kind == DEFINITIONS_NO_HASH && bytes_equal_text(auth, "password")) {
        user->hash_kind = DEFINITIONS_FOREIGN;
        definitions_warn(reader->definitions,
                         "user \"%.*s\": the password stands in a file or a variable and is not "
                         "exported",
                         BYTES_FORMAT(user->name));
    }
}

bool
definitions_read_user(struct definitions_reader *reader, const json_t *row)
{
    struct definitions_user user = {.connections_max = -1, .channels_max = -1};
    struct tag_list tags = {.count = 0};
    struct bytes algorithm = bytes_of("");
    struct bytes name;
    struct bytes hash = bytes_of("");
    struct bytes auth = bytes_of("");
    if (!reader_needed_text(reader, row, "name", &name) ||
        !reader_text(reader, row, "password_hash", &hash) ||
        !reader_text(reader, row, "hashing_algorithm", &algorithm) ||
        !reader_text(reader, row, "auth", &auth) ||
        !read_tags(reader, json_object_get(row, "tags"), &tags) ||
        !reader_limits(reader, json_object_get(row, "limits"), "max-channels",
                       &user.connections_max, &user.channels_max)) {
        return false;
    }
    user.name = reader_keep(reader, name);
    user.hash = reader_keep(reader, hash);
    user.tags = tags.items;
    user.tag_count = tags.count;
    judge_hash(reader, &user, algorithm);
    judge_absence(reader, &user, auth);
    size_t place = reader_place(reader, reader->definitions->users.count, "user", &user.name, 1);
    *reader_row_at(reader, &reader->definitions->users, place) = user;
    return true;
}

/* Vhosts and rights --------------------------------------------------------------------------- */

/* A member that stands in the row, or with what is called metadata; NULL: in neither. */
static const json_t *
described_by(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    bool is_there = value != NULL && !json_is_null(value);
    return is_there ? value : json_object_get(json_object_get(row, "metadata"), name);
}

static bool
read_vhost_text(struct definitions_reader *reader, const json_t *row, const char *name,
                const char **out)
{
    char why[JSON_WHY_SIZE];
    const json_t *value = described_by(row, name);
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value)) {
        (void)snprintf(why, sizeof(why), "\"%s\" is no text", name);
        return reader_fail(reader, why);
    }
    struct bytes text = bytes_make(json_string_value(value), json_string_length(value));
    *out = reader_keep_text(reader, text);
    return reader_has_no_zero(reader, name, text);
}

static bool
read_vhost_tags(struct definitions_reader *reader, const json_t *row, const char **out)
{
    const json_t *value = described_by(row, "tags");
    struct tag_list tags = {.count = 0};
    struct buffer text;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!read_tags(reader, value, &tags)) {
        return false;
    }
    buffer_init(&text);
    for (size_t i = 0; i < tags.count; i++) {
        buffer_put(&text, ",", i == 0 ? 0 : 1);
        buffer_put_bytes(&text, tags.items[i]);
    }
    bool is_good = (!text.failed || reader_fail(reader, "no memory")) &&
                   reader_has_no_zero(reader, "tags", buffer_bytes(&text));
    *out = reader_keep_text(reader, buffer_bytes(&text));
    buffer_fini(&text);
    return is_good;
}

/* "undefined" is what Erlang calls a queue type that nobody chose. */
bool
definitions_read_vhost(struct definitions_reader *reader, const json_t *row)
{
    struct bytes name;
    if (!reader_needed_text(reader, row, "name", &name)) {
        return false;
    }
    if (reader->is_of_one) {
        return true; /* it is about the vhost that they come from */
    }
    struct definitions_vhost *vhost = definitions_put_vhost(reader->definitions, name);
    if (!read_vhost_text(reader, row, "description", &vhost->description) ||
        !read_vhost_text(reader, row, "default_queue_type", &vhost->default_queue_type) ||
        !read_vhost_tags(reader, row, &vhost->tags)) {
        return false;
    }
    if (vhost->default_queue_type != NULL && strcmp(vhost->default_queue_type, "undefined") == 0) {
        vhost->default_queue_type = NULL;
    }
    return reader_limits(reader, json_object_get(row, "limits"), "max-queues",
                         &vhost->connections_max, &vhost->queues_max);
}

bool
definitions_read_permission(struct definitions_reader *reader, const json_t *row)
{
    struct bytes user;
    struct bytes vhost;
    struct bytes rights[3];
    if (!reader_needed_text(reader, row, "user", &user) || !reader_vhost(reader, row, &vhost) ||
        !reader_needed_text(reader, row, "configure", &rights[0]) ||
        !reader_needed_text(reader, row, "write", &rights[1]) ||
        !reader_needed_text(reader, row, "read", &rights[2])) {
        return false;
    }
    size_t place = reader_place(reader, reader->definitions->permissions.count, "permission",
                                (struct bytes[]){user, vhost}, 2);
    *reader_row_at(reader, &reader->definitions->permissions, place) =
        (struct definitions_permission){
            .user = reader_keep(reader, user),
            .vhost = vhost,
            .configure = reader_keep_text(reader, rights[0]),
            .write = reader_keep_text(reader, rights[1]),
            .read = reader_keep_text(reader, rights[2]),
        };
    return true;
}

bool
definitions_read_topic_permission(struct definitions_reader *reader, const json_t *row)
{
    struct bytes user;
    struct bytes vhost;
    struct bytes exchange;
    struct bytes write;
    struct bytes read = bytes_of(".*");
    if (!reader_needed_text(reader, row, "user", &user) || !reader_vhost(reader, row, &vhost) ||
        !reader_needed_text(reader, row, "exchange", &exchange) ||
        !reader_needed_text(reader, row, "write", &write) ||
        !reader_text(reader, row, "read", &read)) {
        return false;
    }
    size_t place = reader_place(reader, reader->definitions->topic_permissions.count, "topic",
                                (struct bytes[]){user, vhost, exchange}, 3);
    *reader_row_at(reader, &reader->definitions->topic_permissions, place) =
        (struct definitions_topic_permission){
            .user = reader_keep(reader, user),
            .vhost = vhost,
            .exchange = reader_keep(reader, exchange),
            .write = reader_keep_text(reader, write),
            .read = reader_keep_text(reader, read),
        };
    return true;
}
