/* SPDX-License-Identifier: Apache-2.0 */
/* The direct exchange: a binding matches when its key equals the routing key, octet for octet
 * (AMQP 0-9-1, 3.1.3.1). */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "exchanges/exchange.h"
#include "routing/target_bag.h"

/* All that is bound under one key. */
struct direct_key {
    struct target_bag targets;
    uint8_t text[]; /* the key: what the map looks at */
};

static void *
direct_new(uint64_t seed)
{
    struct map *keys = xalloc(sizeof(*keys));
    map_init(keys, seed);
    return keys;
}

static void
direct_key_free(struct direct_key *key)
{
    target_bag_fini(&key->targets);
    free(key);
}

static void
direct_free(void *matcher)
{
    struct map *keys = matcher;
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(keys, &position)) != NULL;) {
        direct_key_free(entry->value);
    }
    map_fini(keys);
    free(keys);
}

static enum status
direct_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

static struct direct_key *
add_key(struct map *keys, struct bytes text)
{
    struct direct_key *key = xalloc(sizeof(*key) + text.size);
    if (text.size > 0) {
        memcpy(key->text, text.data, text.size);
    }
    map_put(keys, bytes_make(key->text, text.size), key);
    return key;
}

static void
direct_bind(void *matcher, struct binding *binding)
{
    struct direct_key *key = map_get(matcher, binding->routing_key);
    if (key == NULL) {
        key = add_key(matcher, binding->routing_key);
    }
    target_bag_add(&key->targets, binding->target);
}

static void
direct_unbind(void *matcher, struct binding *binding)
{
    struct direct_key *key = map_get(matcher, binding->routing_key);
    assert(key != NULL);
    target_bag_remove(&key->targets, binding->target);
    if (key->targets.count == 0) {
        (void)map_remove(matcher, binding->routing_key);
        direct_key_free(key);
    }
}

static void
direct_route(void *matcher, const struct exchange_message *message, struct route_set *set)
{
    const struct direct_key *key = map_get(matcher, message->routing_key);
    if (key != NULL) {
        target_bag_collect(&key->targets, set);
    }
}

const struct exchange_type exchange_type_direct = {
    .name = "direct",
    .matcher_new = direct_new,
    .matcher_free = direct_free,
    .check = direct_check,
    .bind = direct_bind,
    .unbind = direct_unbind,
    .route = direct_route,
};
