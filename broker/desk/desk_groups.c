/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/desk_groups.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

void
desk_groups_init(struct desk_groups *groups, uint64_t seed)
{
    *groups = (struct desk_groups){0};
    map_init(&groups->by_key, seed);
    buffer_init(&groups->key);
}

void
desk_groups_fini(struct desk_groups *groups)
{
    uint32_t at = 0;
    struct map_entry *entry;
    while ((entry = map_next(&groups->by_key, &at)) != NULL) {
        free(entry->value);
    }
    map_fini(&groups->by_key);
    buffer_fini(&groups->key);
}

/* A text that is not there is another one than an empty one. */
static void
put_part(struct buffer *key, struct bytes text)
{
    buffer_put_u8(key, text.data != NULL);
    buffer_put_longstr(key, text);
}

static struct bytes
make_key(struct desk_groups *groups, const struct desk_facts *facts)
{
    buffer_clear(&groups->key);
    put_part(&groups->key, facts->origin_queue);
    put_part(&groups->key, facts->reason);
    put_part(&groups->key, facts->error_class);
    put_part(&groups->key, facts->routing_key);
    return buffer_bytes(&groups->key);
}

static struct bytes
read_part(struct byte_reader *reader)
{
    bool is_there = byte_reader_u8(reader) != 0;
    struct bytes text = byte_reader_longstr(reader);
    return is_there ? text : bytes_make(NULL, 0);
}

/* NULL: no memory, or there are enough. */
static struct desk_group *
group_new(struct desk_groups *groups, struct bytes key)
{
    struct desk_group *group =
        map_count(&groups->by_key) < DESK_GROUPS_MAX ? try_alloc(sizeof(*group) + key.size) : NULL;
    if (group == NULL) {
        return NULL;
    }
    uint8_t *copy = (uint8_t *)(group + 1);
    assert(key.data != NULL);
    memcpy(copy, key.data, key.size);
    *group = (struct desk_group){.key = bytes_make(copy, key.size)};
    struct byte_reader reader = byte_reader_make(group->key);
    group->origin_queue = read_part(&reader);
    group->reason = read_part(&reader);
    group->error_class = read_part(&reader);
    group->routing_key = read_part(&reader);
    map_put(&groups->by_key, group->key, group);
    return group;
}

static struct desk_group *
find_group(struct desk_groups *groups, const struct desk_facts *facts)
{
    struct bytes key = make_key(groups, facts);
    if (groups->key.failed) {
        return &groups->others;
    }
    struct desk_group *group = map_get(&groups->by_key, key);
    if (group == NULL) {
        group = group_new(groups, key);
    }
    return group == NULL ? &groups->others : group;
}

void
desk_groups_add(struct desk_groups *groups, const struct desk_row *row,
                const struct desk_facts *facts, uint64_t age_ms)
{
    struct desk_group *group = find_group(groups, facts);
    if (group->count == 0) {
        group->sample =
            (struct desk_id){.position = row->position, .lsn = queue_entry_lsn(&row->entry)};
        group->oldest_ms = age_ms;
        group->newest_ms = age_ms;
    }
    group->count++;
    group->octets += row->entry.size;
    group->oldest_ms = age_ms > group->oldest_ms ? age_ms : group->oldest_ms;
    group->newest_ms = age_ms < group->newest_ms ? age_ms : group->newest_ms;
}

const struct desk_group *
desk_groups_next(const struct desk_groups *groups, uint32_t *at)
{
    const struct map_entry *entry = map_next(&groups->by_key, at);
    return entry == NULL ? NULL : entry->value;
}
