/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/users/user_record.h"

#include "base/assert.h"
#include "broker/topology/vhost.h"
#include "store/little_endian.h"

/* The second layout has tags behind the password's hash; a user without tags is written in the
 * first. */
enum { USER_RECORD_LAYOUT = 1, USER_RECORD_LAYOUT_TAGS = 2, USER_LOOPBACK_ONLY = 1 };

/* Writing ------------------------------------------------------------------------------------ */

static void
put_u32_little(struct buffer *out, size_t value)
{
    uint8_t octets[sizeof(uint32_t)];
    assert(value <= UINT32_MAX);
    put_u32_le(octets, (uint32_t)value);
    buffer_put(out, octets, sizeof(octets));
}

static void
put_u64_little(struct buffer *out, uint64_t value)
{
    uint8_t octets[sizeof(uint64_t)];
    put_u64_le(octets, value);
    buffer_put(out, octets, sizeof(octets));
}

static void
put_text(struct buffer *out, struct bytes text)
{
    put_u32_little(out, text.size);
    buffer_put_bytes(out, text);
}

static void
put_grant(struct buffer *out, uint64_t vhost, const struct user_grant *grant)
{
    put_u64_little(out, vhost);
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        put_text(out, bytes_of(grant->rights[i]));
    }
    put_u32_little(out, grant->topic_count);
    for (size_t i = 0; i < grant->topic_count; i++) {
        put_text(out, grant->topics[i].exchange);
        put_text(out, bytes_of(grant->topics[i].write));
        put_text(out, bytes_of(grant->topics[i].read));
    }
}

void
user_record_encode(struct buffer *out, struct core *core, const struct user *user)
{
    buffer_put_u8(out, user->tags == NULL ? USER_RECORD_LAYOUT : USER_RECORD_LAYOUT_TAGS);
    buffer_put_u8(out, (uint8_t)user->auth);
    buffer_put_u8(out, (uint8_t)user->role);
    buffer_put_u8(out, user->loopback_only ? USER_LOOPBACK_ONLY : 0);
    put_u64_little(out, (uint64_t)user->connections_max);
    put_u64_little(out, (uint64_t)user->channels_max);
    put_text(out, bytes_of(user->password_hash != NULL ? user->password_hash : ""));
    if (user->tags != NULL) {
        put_text(out, bytes_of(user->tags));
    }
    uint32_t position = 0;
    struct user_grant grant;
    while (user_next_grant(user, &position, &grant)) {
        const struct vhost *vhost = core_find_vhost(core, grant.vhost);
        if (vhost != NULL) {
            put_grant(out, vhost->id, &grant);
        }
    }
}

/* Reading ------------------------------------------------------------------------------------ */

/* Where a record is read; texts of it are copied into the arena, for they end with NUL there. */
struct user_reader {
    struct byte_reader octets;
    struct arena arena;
};

static uint32_t
take_u32(struct user_reader *reader)
{
    const uint8_t *at = byte_reader_step(&reader->octets, sizeof(uint32_t));
    return at == NULL ? 0 : get_u32_le(at);
}

static uint64_t
take_u64(struct user_reader *reader)
{
    const uint8_t *at = byte_reader_step(&reader->octets, sizeof(uint64_t));
    return at == NULL ? 0 : get_u64_le(at);
}

static struct bytes
take_bytes(struct user_reader *reader)
{
    uint32_t size = take_u32(reader);
    return byte_reader_take(&reader->octets, size);
}

/* Never NULL; a text with a NUL in it is none of ours. */
static const char *
take_text(struct user_reader *reader)
{
    struct bytes text = take_bytes(reader);
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        reader->octets.failed = true;
    }
    return reader->octets.failed ? "" : (const char *)arena_copy(&reader->arena, text).data;
}

/* A number of a 64-bit limit: -1 or from 0 on. */
static int64_t
take_limit(struct user_reader *reader)
{
    int64_t limit = (int64_t)take_u64(reader);
    if (limit < -1) {
        reader->octets.failed = true;
    }
    return limit;
}

static void
take_topics(struct user_reader *reader, struct user_grant *grant)
{
    enum { TOPIC_SIZE_MIN = 3 * sizeof(uint32_t) };
    size_t count = take_u32(reader);
    if (count > byte_reader_left(&reader->octets) / TOPIC_SIZE_MIN) {
        reader->octets.failed = true;
        return;
    }
    struct config_topic_right *topics = arena_alloc(&reader->arena, (count + 1) * sizeof(*topics));
    for (size_t i = 0; i < count; i++) {
        topics[i].exchange = take_bytes(reader);
        topics[i].write = take_text(reader);
        topics[i].read = take_text(reader);
    }
    grant->topics = topics;
    grant->topic_count = count;
}

static void
take_grant(struct user_reader *reader, struct user *user, struct core *core,
           const struct map *vhosts)
{
    struct user_grant grant = {.topic_count = 0};
    uint64_t id = take_u64(reader);
    for (size_t i = 0; i < ACCESS_RIGHT_COUNT; i++) {
        grant.rights[i] = take_text(reader);
    }
    take_topics(reader, &grant);
    const struct vhost *vhost = map_get(vhosts, bytes_make(&id, sizeof(id)));
    if (reader->octets.failed || vhost == NULL) {
        return;
    }
    grant.vhost = vhost->name;
    user_restore_grant(user, core, &grant);
}

static void
take_user(struct user_reader *reader, struct user *user)
{
    uint8_t layout = byte_reader_u8(&reader->octets);
    uint8_t auth = byte_reader_u8(&reader->octets);
    uint8_t role = byte_reader_u8(&reader->octets);
    uint8_t flags = byte_reader_u8(&reader->octets);
    if (layout < USER_RECORD_LAYOUT || layout > USER_RECORD_LAYOUT_TAGS ||
        auth > AUTH_CERTIFICATE || role > ROLE_ADMIN || flags > USER_LOOPBACK_ONLY) {
        reader->octets.failed = true;
        return;
    }
    user->auth = (enum config_auth)auth;
    user->role = (enum config_role)role;
    user->loopback_only = flags == USER_LOOPBACK_ONLY;
    user->connections_max = take_limit(reader);
    user->channels_max = take_limit(reader);
    const char *hash = take_text(reader);
    user->password_hash = hash[0] != '\0' ? xstrdup(hash) : NULL;
    user->tags = layout == USER_RECORD_LAYOUT_TAGS ? xstrdup(take_text(reader)) : NULL;
}

enum status
user_record_decode(struct user *user, struct core *core, const struct map *vhosts,
                   struct bytes rest)
{
    struct user_reader reader = {.octets = byte_reader_make(rest)};
    take_user(&reader, user);
    while (!reader.octets.failed && byte_reader_left(&reader.octets) > 0) {
        take_grant(&reader, user, core, vhosts);
    }
    arena_fini(&reader.arena);
    return reader.octets.failed ? STATUS_CORRUPT : STATUS_OK;
}
