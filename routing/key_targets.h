/* SPDX-License-Identifier: Apache-2.0 */
/* What is bound under one key: the key, and the targets with a count each. While it is one target,
 * added once, the usual case, key and target are the caller's and this takes no memory of its own:
 * there are as many of these as keys. */
#ifndef BOURSE_ROUTING_KEY_TARGETS_H
#define BOURSE_ROUTING_KEY_TARGETS_H

#include "base/bytes.h"
#include "routing/target_bag.h"

enum { KEY_TARGETS_KEY_SIZE_MAX = 255 };

struct key_shared; /* the second target has come, or the first once more */

struct key_targets {
    union {
        struct route_target *only; /* borrowed, while `is_shared` is not set */
        struct key_shared *shared; /* owned */
    };
    const uint8_t *key; /* of whoever added `only`, or in `shared` */
    uint8_t key_size;
    bool is_shared;
    uint8_t tail_at; /* these two are the user's own, where there would be a hole */
    uint32_t place;
};

_Static_assert(sizeof(struct key_targets) == 24, "a million bindings are a million of these");

/* One target under `key`, which is borrowed until a second one is added, or this one removed. */
void key_targets_init(struct key_targets *targets, struct bytes key, struct route_target *target);
void key_targets_fini(struct key_targets *targets);

/* One more under the same key, which need not live any longer. */
void key_targets_add(struct key_targets *targets, struct route_target *target);

/* `target` was added. False when it was the last: nothing is left, and nothing to be freed. */
bool key_targets_remove(struct key_targets *targets, struct route_target *target);

/* Puts what is here into `bag`, which is empty; then nothing is here. */
void key_targets_move(struct key_targets *targets, struct target_bag *bag);

static inline struct bytes
key_targets_key(const struct key_targets *targets)
{
    return bytes_make(targets->key, targets->key_size);
}

void key_targets_collect_shared(const struct key_targets *targets, struct route_set *set);

static inline void
key_targets_collect(const struct key_targets *targets, struct route_set *set)
{
    if (targets->is_shared) {
        key_targets_collect_shared(targets, set);
    } else {
        route_set_add(set, targets->only);
    }
}

#endif
