/* SPDX-License-Identifier: Apache-2.0 */
/* One map a kind, in order of insertion; a SET of something that is there takes its place, so that
 * the order stays that of the making. */
#include "store/topology_fold.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/little_endian.h"

/* A record that is kept, with the octets that it is known by: an id, or of a binding everything but
 * the flags that do not name it. */
struct fold_object {
    uint32_t key_size;
    uint32_t record_size;
    uint8_t octets[]; /* the key, filled up to a multiple of 8, then the record */
};

enum {
    FLAGS_AT = 24,      /* of a binding's flags in its record */
    BINDING_KEY_AT = 8, /* the key of a binding is its record behind the header */
    ID_KEY_SIZE = 8,
};

static size_t
padded(size_t size)
{
    return (size + RECORD_ALIGNMENT - 1) & ~(size_t)(RECORD_ALIGNMENT - 1);
}

static struct bytes
object_key(const struct fold_object *object)
{
    return bytes_make(object->octets, object->key_size);
}

static struct record
object_record(const struct fold_object *object)
{
    struct bytes octets =
        bytes_make(object->octets + padded(object->key_size), object->record_size);
    struct record record;
    enum status status = record_next(&octets, &record);
    assert(status == STATUS_OK);
    return record;
}

void
topology_fold_init(struct topology_fold *fold)
{
    *fold = (struct topology_fold){.next_id = 1};
    for (int kind = 0; kind < FOLD_KIND_COUNT; kind++) {
        map_init(&fold->objects[kind], 0);
    }
}

void
topology_fold_fini(struct topology_fold *fold)
{
    for (int kind = 0; kind < FOLD_KIND_COUNT; kind++) {
        uint32_t position = 0;
        struct map_entry *entry;
        while ((entry = map_next(&fold->objects[kind], &position)) != NULL) {
            free(entry->value);
        }
        map_fini(&fold->objects[kind]);
    }
}

void
topology_fold_see_id(struct topology_fold *fold, uint64_t id)
{
    id &= ~RECORD_QUEUE_HANDED_OUT;
    if (id >= fold->next_id) {
        fold->next_id = id + 1;
    }
}

/* Changes ---------------------------------------------------------------------------------------
 */

static void
drop(struct topology_fold *fold, enum fold_kind kind, struct bytes key)
{
    struct fold_object *object = map_remove(&fold->objects[kind], key);
    if (object != NULL) {
        fold->octets -= object->record_size;
        free(object);
    }
}

static enum status
keep(struct topology_fold *fold, enum fold_kind kind, struct bytes key, const struct record *record)
{
    size_t start = padded(key.size);
    struct fold_object *object = try_alloc(sizeof(*object) + start + record->octets.size);
    if (object == NULL) {
        return STATUS_NO_MEMORY;
    }
    object->key_size = (uint32_t)key.size;
    object->record_size = (uint32_t)record->octets.size;
    memcpy(object->octets, key.data, key.size);
    memcpy(object->octets + start, record->octets.data, record->octets.size);
    fold->octets += object->record_size;
    struct fold_object *old = map_get(&fold->objects[kind], object_key(object));
    map_put(&fold->objects[kind], object_key(object), object);
    if (old != NULL) {
        fold->octets -= old->record_size;
        free(old);
    }
    return STATUS_OK;
}

static struct bytes
id_key(uint8_t out[static ID_KEY_SIZE], uint64_t id)
{
    put_u64_le(out, id);
    return bytes_make(out, ID_KEY_SIZE);
}

static enum status
keep_by_id(struct topology_fold *fold, enum fold_kind kind, uint64_t id,
           const struct record *record)
{
    uint8_t key[ID_KEY_SIZE];
    topology_fold_see_id(fold, id);
    return keep(fold, kind, id_key(key, id), record);
}

static void
drop_by_id(struct topology_fold *fold, enum fold_kind kind, uint64_t id)
{
    uint8_t key[ID_KEY_SIZE];
    topology_fold_see_id(fold, id);
    drop(fold, kind, id_key(key, id));
}

/* The octets that tell a binding from others, as memory that the caller frees; NULL data when there
 * is none. Who made it does not tell. */
static struct bytes
binding_key_new(const struct record *record)
{
    size_t size = record->octets.size - BINDING_KEY_AT;
    uint8_t *key = try_alloc(size);
    if (key != NULL) {
        memcpy(key, record->octets.data + BINDING_KEY_AT, size);
        put_u32_le(key + FLAGS_AT - BINDING_KEY_AT, record->binding.flags & RECORD_TO_EXCHANGE);
    }
    return bytes_make(key, size);
}

static enum status
apply_binding(struct topology_fold *fold, const struct record *record)
{
    struct bytes key = binding_key_new(record);
    if (key.data == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    if (record->type == RECORD_BINDING_SET) {
        status = keep(fold, FOLD_BINDING, key, record);
    } else {
        drop(fold, FOLD_BINDING, key);
    }
    free((void *)key.data);
    return status;
}

static enum status
apply_fact(struct topology_fold *fold, const struct record *record)
{
    uint8_t octets[2 * ID_KEY_SIZE];
    put_u64_le(octets, record->fact.kind);
    put_u64_le(octets + ID_KEY_SIZE, record->fact.id);
    struct bytes key = bytes_make(octets, sizeof(octets));
    topology_fold_see_id(fold, record->fact.id);
    if (record->type == RECORD_FACT_SET) {
        return keep(fold, FOLD_FACT, key, record);
    }
    drop(fold, FOLD_FACT, key);
    return STATUS_OK;
}

static enum status
apply_handout(struct topology_fold *fold, const struct record *record)
{
    if (topology_fold_handout(fold, record->handout.queue) >= record->handout.lsn) {
        return STATUS_OK;
    }
    return keep_by_id(fold, FOLD_HANDOUT, record->handout.queue, record);
}

enum status
topology_fold_apply(struct topology_fold *fold, const struct record *record)
{
    uint8_t generation_key[ID_KEY_SIZE]; /* generations have numbers of their own */
    switch (record->type) {
    case RECORD_VHOST_SET:
        return keep_by_id(fold, FOLD_VHOST, record->vhost.id, record);
    case RECORD_USER_SET:
        return keep_by_id(fold, FOLD_USER, record->user.id, record);
    case RECORD_EXCHANGE_SET:
        return keep_by_id(fold, FOLD_EXCHANGE, record->exchange.id, record);
    case RECORD_QUEUE_SET:
        return keep_by_id(fold, FOLD_QUEUE, record->queue.id, record);
    case RECORD_BINDING_SET:
    case RECORD_BINDING_DELETE:
        return apply_binding(fold, record);
    case RECORD_POLICY_SET:
        return keep_by_id(fold, FOLD_POLICY, record->policy.id, record);
    case RECORD_GENERATION_SET:
        return keep(fold, FOLD_GENERATION, id_key(generation_key, record->generation.id), record);
    case RECORD_FACT_SET:
    case RECORD_FACT_DELETE:
        return apply_fact(fold, record);
    case RECORD_HANDOUT:
        return apply_handout(fold, record);
    case RECORD_VHOST_DELETE:
        drop_by_id(fold, FOLD_VHOST, record->deleted.id);
        return STATUS_OK;
    case RECORD_USER_DELETE:
        drop_by_id(fold, FOLD_USER, record->deleted.id);
        return STATUS_OK;
    case RECORD_EXCHANGE_DELETE:
        drop_by_id(fold, FOLD_EXCHANGE, record->deleted.id);
        return STATUS_OK;
    case RECORD_QUEUE_DELETE:
        drop_by_id(fold, FOLD_QUEUE, record->deleted.id);
        return STATUS_OK;
    case RECORD_GENERATION_DELETE:
        drop(fold, FOLD_GENERATION, id_key(generation_key, record->deleted.id));
        return STATUS_OK;
    case RECORD_POLICY_DELETE:
        drop_by_id(fold, FOLD_POLICY, record->deleted.id);
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

/* The end -------------------------------------------------------------------------------------- */

static bool
is_held(const struct topology_fold *fold, enum fold_kind kind, const struct record *record)
{
    switch (kind) {
    case FOLD_POLICY:
        return topology_fold_has(fold, FOLD_VHOST, record->policy.vhost);
    case FOLD_EXCHANGE:
        return topology_fold_has(fold, FOLD_VHOST, record->exchange.vhost);
    case FOLD_QUEUE:
        return topology_fold_has(fold, FOLD_VHOST, record->queue.vhost);
    case FOLD_BINDING: {
        bool to_exchange = (record->binding.flags & RECORD_TO_EXCHANGE) != 0;
        return topology_fold_has(fold, FOLD_EXCHANGE, record->binding.source) &&
               topology_fold_has(fold, to_exchange ? FOLD_EXCHANGE : FOLD_QUEUE,
                                 record->binding.target);
    }
    case FOLD_GENERATION:
        return topology_fold_has(fold, FOLD_VHOST, record->generation.vhost);
    case FOLD_HANDOUT:
        return topology_fold_has(fold, FOLD_QUEUE, record->handout.queue);
    default:
        return true;
    }
}

void
topology_fold_finish(struct topology_fold *fold)
{
    for (enum fold_kind kind = FOLD_POLICY; kind < FOLD_KIND_COUNT; kind++) {
        uint32_t position = 0;
        struct map_entry *entry;
        while ((entry = map_next(&fold->objects[kind], &position)) != NULL) {
            struct record record = object_record(entry->value);
            if (!is_held(fold, kind, &record)) {
                drop(fold, kind, map_entry_key(entry));
            }
        }
    }
}

enum status
topology_fold_walk(const struct topology_fold *fold,
                   enum status (*each)(void *context, const struct record *record), void *context)
{
    for (int kind = 0; kind < FOLD_KIND_COUNT; kind++) {
        uint32_t position = 0;
        struct map_entry *entry;
        while ((entry = map_next(&fold->objects[kind], &position)) != NULL) {
            struct record record = object_record(entry->value);
            enum status status = each(context, &record);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* Questions ------------------------------------------------------------------------------------ */

bool
topology_fold_has(const struct topology_fold *fold, enum fold_kind kind, uint64_t id)
{
    uint8_t key[ID_KEY_SIZE];
    return map_get(&fold->objects[kind], id_key(key, id)) != NULL;
}

uint64_t
topology_fold_handout(const struct topology_fold *fold, uint64_t queue)
{
    uint8_t key[ID_KEY_SIZE];
    const struct fold_object *object = map_get(&fold->objects[FOLD_HANDOUT], id_key(key, queue));
    return object == NULL ? 0 : object_record(object).handout.lsn;
}

static int
compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

enum status
topology_fold_queues(const struct topology_fold *fold, uint64_t **ids_out, uint32_t *count_out)
{
    uint32_t count = map_count(&fold->objects[FOLD_QUEUE]);
    *ids_out = NULL;
    *count_out = 0;
    if (count == 0) {
        return STATUS_OK;
    }
    uint64_t *ids = try_alloc(count * sizeof(*ids));
    if (ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint32_t position = 0;
    uint32_t filled = 0;
    const struct map_entry *entry;
    while ((entry = map_next(&fold->objects[FOLD_QUEUE], &position)) != NULL) {
        ids[filled++] = object_record(entry->value).queue.id;
    }
    qsort(ids, count, sizeof(*ids), compare_ids);
    *ids_out = ids;
    *count_out = count;
    return STATUS_OK;
}
