/* SPDX-License-Identifier: Apache-2.0 */
/* Names and their changes. A data directory has few files, so tables are walked. */
#include "tests/support/sim_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

static struct sim_entry *
find(const struct sim_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].name, name) == 0) {
            return &names->entries[i];
        }
    }
    return NULL;
}

uint32_t
sim_names_find(const struct sim_names *names, const char *name)
{
    const struct sim_entry *entry = find(names, name);
    return entry == NULL ? SIM_NO_INODE : entry->inode;
}

void
sim_names_put(struct sim_names *names, const char *name, uint32_t inode)
{
    struct sim_entry *entry = find(names, name);
    if (entry != NULL) {
        entry->inode = inode;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity == 0 ? 16 : 2 * names->capacity;
        names->entries = xrealloc(names->entries, names->capacity * sizeof(*names->entries));
    }
    entry = &names->entries[names->count++];
    *entry = (struct sim_entry){.inode = inode};
    memcpy(entry->name, name, strlen(name));
}

void
sim_names_remove(struct sim_names *names, const char *name)
{
    struct sim_entry *entry = find(names, name);
    if (entry != NULL) {
        size_t behind = (size_t)(names->entries + names->count - (entry + 1));
        memmove(entry, entry + 1, behind * sizeof(*entry));
        names->count--;
    }
}

void
sim_names_apply(struct sim_names *names, const struct sim_change *change)
{
    if (change->call != SIM_DISK_OPEN) {
        sim_names_remove(names, change->name);
    }
    if (change->call != SIM_DISK_UNLINK) {
        sim_names_put(names, change->call == SIM_DISK_RENAME ? change->to : change->name,
                      change->inode);
    }
}

void
sim_names_assign(struct sim_names *names, const struct sim_names *from)
{
    names->count = 0;
    if (from->count > names->capacity) {
        names->capacity = from->count;
        names->entries = xrealloc(names->entries, names->capacity * sizeof(*names->entries));
    }
    if (from->count > 0) {
        memcpy(names->entries, from->entries, from->count * sizeof(*from->entries));
    }
    names->count = from->count;
}

void
sim_changes_push(struct sim_changes *changes, const struct sim_change *change)
{
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity == 0 ? 16 : 2 * changes->capacity;
        changes->changes =
            xrealloc(changes->changes, changes->capacity * sizeof(*changes->changes));
    }
    changes->changes[changes->count++] = *change;
}

void
sim_changes_assign(struct sim_changes *changes, const struct sim_changes *from)
{
    changes->count = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        sim_changes_push(changes, &from->changes[i]);
    }
}

static bool
share_a_name(const struct sim_change *one, const struct sim_change *other)
{
    return strcmp(one->name, other->name) == 0 || strcmp(one->name, other->to) == 0 ||
           (one->to[0] != '\0' &&
            (strcmp(one->to, other->name) == 0 || strcmp(one->to, other->to) == 0));
}

static bool
hangs_on_a_lost_one(const struct sim_changes *changes, const bool *is_lost, uint32_t position)
{
    for (uint32_t i = 0; i < position; i++) {
        if (is_lost[i] && share_a_name(&changes->changes[position], &changes->changes[i])) {
            return true;
        }
    }
    return false;
}

static void
keep_some(const struct sim_changes *changes, struct sim_names *durable, struct sim_dice *dice)
{
    bool *is_lost = xalloc(changes->count * sizeof(*is_lost) + 1);
    for (uint32_t i = 0; i < changes->count; i++) {
        is_lost[i] = hangs_on_a_lost_one(changes, is_lost, i) || !sim_dice_throw(dice);
        if (!is_lost[i]) {
            sim_names_apply(durable, &changes->changes[i]);
        }
    }
    free(is_lost);
}

void
sim_changes_crash(struct sim_changes *changes, struct sim_names *durable,
                  enum sim_disk_policy policy, struct sim_dice *dice)
{
    if (policy == SIM_DISK_RANDOM) {
        keep_some(changes, durable, dice);
    } else if (policy != SIM_DISK_NONE) {
        for (uint32_t i = 0; i < changes->count; i++) {
            sim_names_apply(durable, &changes->changes[i]);
        }
    }
    changes->count = 0;
}
