/* SPDX-License-Identifier: Apache-2.0 */
/* What was shared stays so until nothing is left: which of the keys lives longest is not known. */
#include "routing/key_targets.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

struct key_shared {
    struct target_bag targets;
    uint8_t key[];
};

void
key_targets_init(struct key_targets *targets, struct bytes key, struct route_target *target)
{
    assert(key.size <= KEY_TARGETS_KEY_SIZE_MAX);
    *targets = (struct key_targets){.only = target, .key = key.data, .key_size = (uint8_t)key.size};
}

void
key_targets_fini(struct key_targets *targets)
{
    if (targets->is_shared) {
        target_bag_fini(&targets->shared->targets);
        free(targets->shared);
    }
    *targets = (struct key_targets){.key = NULL};
}

static void
share(struct key_targets *targets)
{
    struct key_shared *shared = xalloc(sizeof(*shared) + targets->key_size);
    if (targets->key_size > 0) {
        memcpy(shared->key, targets->key, targets->key_size);
    }
    target_bag_add(&shared->targets, targets->only);
    targets->shared = shared;
    targets->key = shared->key;
    targets->is_shared = true;
}

void
key_targets_add(struct key_targets *targets, struct route_target *target)
{
    if (!targets->is_shared) {
        share(targets);
    }
    target_bag_add(&targets->shared->targets, target);
}

bool
key_targets_remove(struct key_targets *targets, struct route_target *target)
{
    if (targets->is_shared) {
        target_bag_remove(&targets->shared->targets, target);
        if (targets->shared->targets.count > 0) {
            return true;
        }
    } else {
        assert(targets->only == target);
    }
    key_targets_fini(targets);
    return false;
}

void
key_targets_move(struct key_targets *targets, struct target_bag *bag)
{
    assert(bag->count == 0);
    if (targets->is_shared) {
        *bag = targets->shared->targets;
        targets->shared->targets = (struct target_bag){.count = 0};
    } else {
        target_bag_add(bag, targets->only);
    }
    key_targets_fini(targets);
}

void
key_targets_collect_shared(const struct key_targets *targets, struct route_set *set)
{
    target_bag_collect(&targets->shared->targets, set);
}
