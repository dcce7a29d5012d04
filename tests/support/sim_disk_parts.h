/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that make up the simulated disk share; nobody else includes it. */
#ifndef BOURSE_TESTS_SUPPORT_SIM_DISK_PARTS_H
#define BOURSE_TESTS_SUPPORT_SIM_DISK_PARTS_H

#include "tests/support/sim_names.h"

#include <pthread.h>

struct sim_fault {
    uint64_t left; /* calls until it strikes; 0: none is planned */
    int error;
    size_t octets; /* that a write still writes */
};

struct sim_disk {
    pthread_mutex_t lock;
    struct sim_inode **inodes; /* by number; numbers are never used again, NULL: gone */
    uint32_t inode_count;
    uint32_t inode_capacity;
    struct sim_names current;
    struct sim_names durable;
    struct sim_changes changes; /* that lead from `durable` to `current` */
    bool names_flush_is_broken;
    uint32_t generation; /* one more with each crash */
    uint64_t capacity;
    bool copies_on_write;
    struct sim_fault faults[SIM_DISK_CALL_COUNT];
    uint64_t counts[SIM_DISK_CALL_COUNT];
    sim_disk_hook hook;
    void *hook_context;
    struct sim_recording *recording; /* NULL: none; borrowed */
};

/* The lock is held in all of these. */

/* What each call does to the disk once it is allowed to; also what a replay repeats. */
uint32_t sim_disk_create(struct sim_disk *disk, const char *name);
void sim_disk_change_name(struct sim_disk *disk, enum sim_disk_call call, const char *name,
                          const char *to);
void sim_disk_flush_names(struct sim_disk *disk);

/* Notes a call; `inode` is SIM_NO_INODE where it concerns none, `parts` hold what a write wrote. */
void sim_recording_note(struct sim_recording *recording, const struct sim_disk_op *op,
                        uint32_t inode, const struct iovec *parts);

#endif
