/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of the simulated disk: which name means which file, and the changes of names that
 * were not flushed. */
#ifndef BOURSE_TESTS_SUPPORT_SIM_NAMES_H
#define BOURSE_TESTS_SUPPORT_SIM_NAMES_H

#include "tests/support/sim_inode.h"

static const uint32_t SIM_NO_INODE = UINT32_MAX;

struct sim_entry {
    char name[SIM_DISK_NAME_SIZE];
    uint32_t inode; /* its place in the disk's table */
};

/* All zero is empty. */
struct sim_names {
    struct sim_entry *entries; /* owned, in the order of creation */
    uint32_t count;
    uint32_t capacity;
};

struct sim_change {
    enum sim_disk_call call; /* SIM_DISK_OPEN is a creation */
    uint32_t inode;
    char name[SIM_DISK_NAME_SIZE];
    char to[SIM_DISK_NAME_SIZE]; /* "" but for a rename */
};

struct sim_changes {
    struct sim_change *changes; /* owned, oldest first */
    uint32_t count;
    uint32_t capacity;
};

/* SIM_NO_INODE: no such name. */
uint32_t sim_names_find(const struct sim_names *names, const char *name);
void sim_names_put(struct sim_names *names, const char *name, uint32_t inode);
void sim_names_remove(struct sim_names *names, const char *name);
void sim_names_apply(struct sim_names *names, const struct sim_change *change);

/* `names` becomes what `from` is. */
void sim_names_assign(struct sim_names *names, const struct sim_names *from);
void sim_changes_push(struct sim_changes *changes, const struct sim_change *change);
void sim_changes_assign(struct sim_changes *changes, const struct sim_changes *from);

/* Brings to `durable` what lives of `changes`, and forgets them. */
void sim_changes_crash(struct sim_changes *changes, struct sim_names *durable,
                       enum sim_disk_policy policy, struct sim_dice *dice);

#endif
