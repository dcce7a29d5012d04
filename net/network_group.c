/* SPDX-License-Identifier: Apache-2.0 */
#include "net/network_group.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/network_state.h"

struct network_group {
    _Atomic uint64_t opened_octets;  /* of chunks, ever */
    _Atomic uint64_t allowed_octets; /* by the core */
    _Atomic uint32_t waiting_count;  /* members with links that wait for room */
    struct strangers *strangers;     /* owned */
    struct network *members[NET_NETWORKS_MAX];
    uint32_t count;   /* that have joined */
    uint32_t present; /* that have not left */
};

struct network_group *
network_group_new(const struct network_settings *settings)
{
    enum { STRANGERS_MAX = 1024, STRANGERS_PER_SOURCE_MAX = 64 };
    uint32_t max = listeners_unestablished_max();
    max = max < STRANGERS_MAX ? max : STRANGERS_MAX;
    if (settings->unestablished_max != 0) {
        max = settings->unestablished_max;
    }
    uint32_t per_source_max = settings->unestablished_per_source_max;
    struct network_group *group = xalloc_apart(sizeof(*group)); /* read with every publish */
    atomic_init(&group->allowed_octets, UINT64_MAX);
    group->strangers =
        strangers_new(max, per_source_max != 0 ? per_source_max : STRANGERS_PER_SOURCE_MAX);
    return group;
}

void
network_group_free(struct network_group **group_pointer)
{
    struct network_group *group = *group_pointer;
    if (group == NULL) {
        return;
    }
    assert(group->present == 0);
    strangers_free(&group->strangers);
    free(group);
    *group_pointer = NULL;
}

uint32_t
network_group_join(struct network_group *group, struct network *network)
{
    assert(group->count < NET_NETWORKS_MAX);
    assert(group->present == group->count);
    group->members[group->count] = network;
    group->present++;
    return group->count++;
}

void
network_group_leave(struct network_group *group)
{
    assert(group->present > 0);
    group->present--;
}

struct strangers *
network_group_strangers(const struct network_group *group)
{
    return group->strangers;
}

static uint32_t
load_of(const struct network *network)
{
    return atomic_load_explicit(&network->load, memory_order_relaxed);
}

struct network *
network_group_emptiest(const struct network_group *group, struct network *asking)
{
    struct network *emptiest = asking;
    for (uint32_t i = 0; i < group->count; i++) {
        if (load_of(group->members[i]) < load_of(emptiest)) {
            emptiest = group->members[i];
        }
    }
    return emptiest;
}

uint32_t
network_group_link_count(const struct network_group *group)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        count += load_of(group->members[i]);
    }
    return count;
}

void
network_group_note_opened(struct network_group *group, uint64_t octets)
{
    atomic_fetch_add(&group->opened_octets, octets);
}

bool
network_group_has_room(const struct network_group *group)
{
    return atomic_load_explicit(&group->opened_octets, memory_order_relaxed) <
           atomic_load(&group->allowed_octets);
}

/* A member says that it waits before it asks for room once more, and here it is the other way
 * round: one of the two sees the other. */
void
network_group_allow(struct network_group *group, uint64_t octets)
{
    atomic_store(&group->allowed_octets, octets);
    if (atomic_load(&group->waiting_count) == 0 || !network_group_has_room(group)) {
        return;
    }
    for (uint32_t i = 0; i < group->count; i++) {
        network_call(group->members[i]);
    }
}

void
network_group_note_waiting(struct network_group *group, bool is_waiting)
{
    if (is_waiting) {
        atomic_fetch_add(&group->waiting_count, 1);
    } else {
        atomic_fetch_sub(&group->waiting_count, 1);
    }
}
